//! Rows kept by group: records of doubles in pages, a chain of pages a group; what no longer fits is folded into sums.

use std::collections::HashMap;

use super::folded::Folded;
use super::layout::{Layout, NONE, Reader};
use crate::block::{Block, Column};
use crate::error::Error;

/// Rows of a group that are kept as they are, by default.
pub const ROWS_KEPT: usize = 128;
/// Numbers of a block of pages.
const BLOCK: usize = 1 << 17;
/// Numbers of a page of several rows at most.
const LONGEST_PAGE: u32 = 1 << 24;
/// Rows of the first page of a group, and of its largest.
const PAGE_ROWS: (u32, u32) = (8, 4096);

/// What is kept of the rows of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Rows that are kept as they are; more are added to the group's exact sums.
    pub rows: usize,
    /// Sums without weights are needed too: for orthogonal polynomials of weighted rows.
    pub unweighted: bool,
    /// Columns that are kept with the rows, and are no part of sums: codes of clusters.
    pub apart: Vec<usize>,
}

impl Default for Keep {
    fn default() -> Self {
        Self { rows: ROWS_KEPT, unweighted: false, apart: Vec::new() }
    }
}

/// The rows of many regressions, by group, in one pass and any order.
///
/// Groups have numbers from 0, which the caller gives. Several threads gather each for itself; [`super::Groups`] reads
/// them together.
///
/// # Numerics
/// A group of up to [`Keep::rows`] rows is kept as it is, one double a number. When a row more comes, they are added to
/// the group's exact sums ([`crate::Moments`], about 24 bytes a pair of columns). So memory is bounded by the number of
/// groups, not by that of rows.
#[derive(Debug)]
pub struct GroupedRows {
    keep: Keep,
    layouts: Vec<Layout>,
    blocks: Vec<Vec<f64>>,
    /// Full pages.
    chain: Vec<Page>,
    /// Places of pages that were folded, by their size.
    free: Vec<(u32, Vec<[u32; 2]>)>,
    groups: Vec<Group>,
}

/// Some records of one layout.
#[derive(Clone, Copy, Debug, Default)]
struct Page {
    block: u32,
    start: u32,
    words: u32,
    rows: u32,
    layout: u32,
    /// One more than the place in the chain of the page before.
    before: u32,
}

#[derive(Debug, Default)]
struct Group {
    open: Page,
    /// Rows in pages.
    kept: u32,
    rows: u64,
    folded: Option<Box<Folded>>,
}

impl GroupedRows {
    /// No rows.
    pub fn new(keep: Keep) -> Self {
        Self { keep, layouts: vec![], blocks: vec![], chain: vec![], free: vec![], groups: vec![] }
    }

    /// Adds the rows of a block: `ids` are the columns' numbers, targets among them, and `groups` the rows' groups.
    ///
    /// # Shapes
    /// `ids`: `[columns]`; `groups`: `[rows]`.
    ///
    /// # Errors
    /// As [`crate::Moments::push`], [`Error::Shape`] also for lists of other lengths; and [`Error::Parameter`] for more
    /// groups than 2³¹, or a column beyond 2²⁰ that is not kept apart.
    pub fn push(&mut self, block: &Block<'_>, ids: &[usize], groups: &[u32]) -> Result<(), Error> {
        check(block, ids, groups, &self.keep.apart)?;
        let reader = Reader::of(block, ids);
        let layout = self.layout(&reader.layout) as u32;
        let width = reader.layout.width() as u32;
        if let Some(most) = groups.iter().max().filter(|most| **most as usize >= self.groups.len()) {
            self.groups.resize_with(*most as usize + 1, Group::default);
        }
        // Places first and numbers then: a place far away is on its way while the next is looked up.
        let mut places: Vec<[u32; 2]> = Vec::with_capacity(block.rows);
        let mut written = 0;
        for number in groups {
            let number = *number as usize;
            let Group { open, kept, .. } = &self.groups[number];
            if *kept as usize >= self.keep.rows || (open.rows + 1) * width > open.words || open.layout != layout {
                if *kept as usize >= self.keep.rows {
                    self.write(&reader, written, &places);
                    written += places.len();
                    places.clear();
                    self.fold(number)?;
                }
                self.turn(number, layout, width);
            }
            let group = &mut self.groups[number];
            places.push([group.open.block, group.open.start + group.open.rows * width]);
            group.open.rows += 1;
            group.kept += 1;
            group.rows += 1;
        }
        self.write(&reader, written, &places);
        Ok(())
    }

    /// Writes the records of a block's rows from one on.
    fn write(&mut self, reader: &Reader<'_>, first: usize, places: &[[u32; 2]]) {
        let width = reader.layout.width();
        for (row, [block, start]) in (first..).zip(places) {
            let start = *start as usize;
            if let Some(pages) = self.blocks.get_mut(*block as usize) {
                reader.read(row, &mut pages[start..start + width]);
            }
        }
    }

    /// Heap memory in bytes.
    pub fn bytes(&self) -> usize {
        let sums = self.groups.iter().filter_map(|group| group.folded.as_ref()).map(|folded| folded.bytes());
        let pages = self.blocks.iter().map(|block| 8 * block.capacity());
        let lists = self.chain.capacity() * size_of::<Page>() + self.groups.capacity() * size_of::<Group>();
        sums.sum::<usize>() + pages.sum::<usize>() + lists
    }

    /// Rows that are kept of a group at most.
    pub(super) fn kept(&self) -> usize {
        self.keep.rows
    }

    /// Rows of a group, those without weight among them.
    pub fn rows(&self, group: usize) -> u64 {
        self.groups.get(group).map_or(0, |group| group.rows)
    }

    /// The sums of a group, if it had more rows than are kept.
    pub(super) fn folded(&self, group: usize) -> Option<&Folded> {
        self.groups.get(group)?.folded.as_deref()
    }

    /// The records of the rows that a group keeps, page by page.
    pub(super) fn pages(&self, group: usize) -> impl Iterator<Item = (&Layout, &[f64])> {
        let open = self.groups.get(group).map(|group| group.open);
        let pages = std::iter::successors(open, |page| page.before.checked_sub(1).map(|at| self.chain[at as usize]));
        pages.filter(|page| page.rows > 0).map(|page| self.records(page))
    }

    /// Whether rows have levels: columns that are there for some rows only.
    pub(super) fn has_levels(&self) -> bool {
        self.layouts.iter().any(|layout| !layout.families.is_empty())
    }

    /// The columns of levels that the rows of a group have.
    pub(super) fn levels(&self, group: usize, levels: &mut Vec<usize>) {
        levels.extend(self.folded(group).into_iter().flat_map(|folded| folded.levels.iter().copied()));
        for (layout, records) in self.pages(group) {
            for record in records.chunks_exact(layout.width().max(1)) {
                for at in layout.family_places() {
                    if record[at] != NONE {
                        levels.push(record[at] as usize);
                    }
                }
            }
        }
    }

    fn records(&self, page: Page) -> (&Layout, &[f64]) {
        let layout = &self.layouts[page.layout as usize];
        let (start, length) = (page.start as usize, page.rows as usize * layout.width());
        (layout, self.blocks.get(page.block as usize).map_or(&[], |block| &block[start..start + length]))
    }

    fn layout(&mut self, layout: &Layout) -> usize {
        self.layouts.iter().position(|known| known == layout).unwrap_or_else(|| {
            self.layouts.push(layout.clone());
            self.layouts.len() - 1
        })
    }

    /// Opens a page for the next row of a group.
    fn turn(&mut self, number: usize, layout: u32, width: u32) {
        let kept = self.groups[number].kept;
        let mut open = self.groups[number].open;
        if open.rows > 0 {
            self.chain.push(open);
            open = Page { before: self.chain.len() as u32, ..Page::default() };
        }
        let (least, most) = PAGE_ROWS;
        // (Rows of very many columns stand in shorter pages.)
        let most = (LONGEST_PAGE / width.max(1)).clamp(1, most);
        let words = kept.clamp(least.min(most), most) * width;
        let [block, start] = self.place(words);
        self.groups[number].open = Page { block, start, words, rows: 0, layout, before: open.before };
    }

    /// Room for a page.
    fn place(&mut self, words: u32) -> [u32; 2] {
        let freed = self.free.iter_mut().find(|(size, _)| *size == words);
        if let Some(place) = freed.and_then(|(_, places)| places.pop()) {
            return place;
        }
        let words = words as usize;
        if self.blocks.last().is_none_or(|block| block.len() + words > block.capacity()) {
            self.blocks.push(Vec::with_capacity(BLOCK.max(words)));
        }
        let last = self.blocks.len() - 1;
        let block = &mut self.blocks[last];
        let start = block.len();
        block.resize(start + words, 0.0);
        [last as u32, start as u32]
    }

    /// Adds the rows that a group keeps to its sums.
    fn fold(&mut self, number: usize) -> Result<(), Error> {
        let mut folded =
            self.groups[number].folded.take().unwrap_or_else(|| Box::new(Folded::new(self.keep.unweighted)));
        folded.add(self.pages(number), &self.keep.apart)?;
        let group = &mut self.groups[number];
        group.folded = Some(folded);
        group.kept = 0;
        let mut page = Some(std::mem::take(&mut group.open));
        while let Some(Page { block, start, words, before, .. }) = page {
            match self.free.iter_mut().find(|(size, _)| *size == words) {
                Some((_, places)) => places.push([block, start]),
                None => self.free.push((words, vec![[block, start]])),
            }
            page = before.checked_sub(1).map(|at| self.chain[at as usize]);
        }
        Ok(())
    }
}

/// Guards the door.
fn check(block: &Block<'_>, ids: &[usize], groups: &[u32], apart: &[usize]) -> Result<(), Error> {
    let same = |what: &'static str, expected: usize, got: usize| {
        if expected == got { Ok(()) } else { Err(Error::Shape { what, expected, got }) }
    };
    same("the list of columns", block.columns.len(), ids.len())?;
    same("the list of groups", block.rows, groups.len())?;
    let mut seen = HashMap::new();
    for id in ids {
        if seen.insert(*id, ()).is_some() {
            let (name, allowed) = ("the list of columns", "every column at most once");
            return Err(Error::Parameter { name, got: format!("column {id} twice"), allowed });
        }
        if *id >= 1 << 20 && !apart.contains(id) {
            return Err(Error::Parameter { name: "a column", got: id.to_string(), allowed: "less than 2^20" });
        }
    }
    if let Some(group) = groups.iter().find(|group| **group >= 1 << 31) {
        return Err(Error::Parameter { name: "a group", got: group.to_string(), allowed: "less than 2^31" });
    }
    let mut known: Option<&[f64]> = None;
    for (column, values) in block.columns.iter().enumerate() {
        let numbers: [Option<&[f64]>; 2] = match values {
            Column::Dense(values) => [Some(values), None],
            Column::Pair { hi, lo } => [Some(hi), Some(lo)],
            Column::Indicator { .. } => [None, None],
            Column::Within { hi, lo, .. } => [Some(hi), *lo],
        };
        if let Column::Indicator { codes, .. } | Column::Within { codes, .. } = values {
            same("a column", block.rows, codes.len())?;
        }
        for numbers in numbers.into_iter().flatten() {
            // The levels of a term share their numbers.
            if known.is_some_and(|known| std::ptr::eq(known, numbers)) {
                continue;
            }
            known = Some(numbers);
            same("a column", block.rows, numbers.len())?;
            if let Some(row) = first_not_finite(numbers) {
                return Err(Error::NonFinite { row, column, value: numbers[row] });
            }
        }
    }
    if let Some(weights) = block.weights {
        same("the weights", block.rows, weights.len())?;
        if let Some(row) = weights.iter().position(|w| !w.is_finite() || *w < 0.0) {
            return Err(Error::Weight { row, value: weights[row] });
        }
    }
    Ok(())
}

fn first_not_finite(numbers: &[f64]) -> Option<usize> {
    let all = numbers.iter().fold(true, |all, x| all & x.is_finite());
    if all { None } else { numbers.iter().position(|x| !x.is_finite()) }
}
