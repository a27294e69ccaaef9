//! What stands where in the record of a row.

use std::collections::HashMap;

use crate::block::{Block, Column};

/// The number of no level.
pub(super) const NONE: f64 = -1.0;

/// The words of a record: numbers of plain columns, each with what it rounds away if it is a pair; the weight; and for
/// each family of levels the column of the row's level, with its number if it has one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layout {
    /// Columns, and whether they are pairs.
    pub(super) dense: Vec<(usize, bool)>,
    pub(super) weighted: bool,
    pub(super) families: Vec<Family>,
}

/// Columns of which a row has at most one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    /// One for the level of the row.
    Indicator,
    /// A number for the level of the row.
    Within,
    /// A pair for the level of the row.
    WithinPair,
}

impl Family {
    pub(super) fn words(self) -> usize {
        match self {
            Self::Indicator => 1,
            Self::Within => 2,
            Self::WithinPair => 3,
        }
    }
}

impl Layout {
    /// Words of a record.
    pub(super) fn width(&self) -> usize {
        self.families_at() + self.families.iter().map(|family| family.words()).sum::<usize>()
    }

    /// Where the weight stands, if there is one.
    pub(super) fn weight_at(&self) -> usize {
        self.dense.iter().map(|(_, pair)| 1 + usize::from(*pair)).sum()
    }

    fn families_at(&self) -> usize {
        self.weight_at() + usize::from(self.weighted)
    }

    /// Where the columns of levels stand.
    pub(super) fn family_places(&self) -> impl Iterator<Item = usize> {
        let mut at = self.families_at();
        self.families.iter().map(move |family| {
            let place = at;
            at += family.words();
            place
        })
    }
}

/// The columns of a block, ready to be read row by row.
pub(super) struct Reader<'a> {
    pub(super) layout: Layout,
    dense: Vec<(&'a [f64], Option<&'a [f64]>)>,
    weights: Option<&'a [f64]>,
    families: Vec<Levels<'a>>,
}

struct Levels<'a> {
    kind: Family,
    codes: &'a [u32],
    numbers: Option<&'a [f64]>,
    low: Option<&'a [f64]>,
    /// The column of every code.
    columns: HashMap<u32, usize>,
}

impl<'a> Reader<'a> {
    pub(super) fn of(block: &Block<'a>, ids: &[usize]) -> Self {
        let mut layout = Layout { dense: vec![], weighted: block.weights.is_some(), families: vec![] };
        let (mut dense, mut families) = (Vec::new(), Vec::<Levels<'a>>::new());
        for (column, id) in block.columns.iter().zip(ids) {
            let (kind, codes, code, numbers, low) = match *column {
                Column::Dense(hi) => {
                    layout.dense.push((*id, false));
                    dense.push((hi, None));
                    continue;
                }
                Column::Pair { hi, lo } => {
                    layout.dense.push((*id, true));
                    dense.push((hi, Some(lo)));
                    continue;
                }
                Column::Indicator { codes, code } => (Family::Indicator, codes, code, None, None),
                Column::Within { codes, code, hi, lo: None } => (Family::Within, codes, code, Some(hi), None),
                Column::Within { codes, code, hi, lo } => (Family::WithinPair, codes, code, Some(hi), lo),
            };
            let same = |a: Option<&[f64]>, b: Option<&[f64]>| a.map(<[f64]>::as_ptr) == b.map(<[f64]>::as_ptr);
            let known = families.iter_mut().find(|family| {
                let alike = same(family.numbers, numbers) && same(family.low, low);
                std::ptr::eq(family.codes, codes) && alike && !family.columns.contains_key(&code)
            });
            match known {
                Some(family) => _ = family.columns.insert(code, *id),
                None => families.push(Levels { kind, codes, numbers, low, columns: HashMap::from([(code, *id)]) }),
            }
        }
        // Families of a kind are alike: records name the columns.
        families.sort_by_key(|family| family.kind);
        layout.families = families.iter().map(|family| family.kind).collect();
        Self { layout, dense, weights: block.weights, families }
    }

    /// Writes the record of a row.
    #[inline]
    pub(super) fn read(&self, row: usize, record: &mut [f64]) {
        let mut at = 0;
        let mut put = |x: f64| {
            record[at] = x;
            at += 1;
        };
        for (hi, lo) in &self.dense {
            put(hi[row]);
            if let Some(lo) = lo {
                put(lo[row]);
            }
        }
        if let Some(weights) = self.weights {
            put(weights[row]);
        }
        for family in &self.families {
            put(family.columns.get(&family.codes[row]).map_or(NONE, |column| *column as f64));
            family.numbers.into_iter().chain(family.low).for_each(|numbers| put(numbers[row]));
            if family.kind == Family::WithinPair && family.low.is_none() {
                put(0.0);
            }
        }
    }
}
