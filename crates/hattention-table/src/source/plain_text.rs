//! Delimited text without quotes: its cells are slices, found without copying.

use memchr::{memchr2, memchr2_iter};

/// Begin and end of a cell.
pub(crate) type Cell = (u32, u32);

/// A text of whole records in which nothing is quoted. The rules are those of [`Records`](super::records::Records).
pub(crate) struct PlainText<'a> {
    text: &'a str,
    delimiter: u8,
    /// Cells of a record.
    fields: usize,
    position: usize,
}

/// A record with another number of cells.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ragged;

impl<'a> PlainText<'a> {
    /// The text, if it is one: without quotes, with lines that end in `\n` or `\r\n`, of UTF-8.
    pub(crate) fn of(bytes: &'a [u8], delimiter: u8, fields: usize) -> Option<Self> {
        let mut from = 0;
        while let Some(found) = memchr2(b'"', b'\r', &bytes[from..]) {
            let at = from + found;
            if bytes[at] == b'"' || bytes.get(at + 1).is_some_and(|next| *next != b'\n') {
                return None;
            }
            from = at + 1;
        }
        let short = u32::try_from(bytes.len()).is_ok();
        let text = std::str::from_utf8(bytes).ok().filter(|_| short)?;
        Some(Self { text, delimiter, fields, position: 0 })
    }

    /// A cell's text.
    pub(crate) fn shown(&self, (start, end): Cell) -> &'a str {
        &self.text[start as usize..end as usize]
    }

    /// Finds the next records, at most so many: the cells of field `f` are added to `cells[places[f]]`, if that is a list.
    /// Gives the number of records; zero at the end.
    pub(crate) fn next(&mut self, places: &[usize], rows: usize, cells: &mut [Vec<Cell>]) -> Result<usize, Ragged> {
        let bytes = self.text.as_bytes();
        let base = self.position;
        let (mut start, mut field, mut found) = (base, 0, 0);
        let mut add = |field: usize, start: usize, end: usize| {
            let place = *places.get(field).ok_or(Ragged)?;
            if let Some(list) = cells.get_mut(place) {
                list.push((start as u32, end as u32));
            }
            Ok(())
        };
        for at in memchr2_iter(self.delimiter, b'\n', &bytes[base..]).map(|at| base + at) {
            if bytes[at] == self.delimiter {
                add(field, start, at)?;
                (start, field) = (at + 1, field + 1);
                continue;
            }
            let end = without_return(bytes, start, at);
            if field > 0 || end > start {
                add(field, start, end)?;
                if field + 1 != self.fields {
                    return Err(Ragged);
                }
                found += 1;
            }
            (start, field) = (at + 1, 0);
            if found == rows {
                self.position = start;
                return Ok(found);
            }
        }
        let end = without_return(bytes, start, bytes.len());
        if field > 0 || end > start {
            add(field, start, end)?;
            if field + 1 != self.fields {
                return Err(Ragged);
            }
            found += 1;
        }
        self.position = bytes.len();
        Ok(found)
    }
}

/// The end of a line without the carriage return before it.
fn without_return(bytes: &[u8], start: usize, end: usize) -> usize {
    if end > start && bytes[end - 1] == b'\r' { end - 1 } else { end }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields 1 and 0 of all records, so many at a time.
    fn read(text: &str, fields: usize, rows: usize) -> Result<Vec<[String; 2]>, Ragged> {
        let mut plain = PlainText::of(text.as_bytes(), b',', fields).unwrap();
        let mut places = vec![usize::MAX; fields];
        (places[1], places[0]) = (0, 1);
        let mut all = Vec::new();
        loop {
            let mut cells = vec![Vec::new(); 2];
            if plain.next(&places, rows, &mut cells)? == 0 {
                return Ok(all);
            }
            let shown = |cell: &Cell| plain.shown(*cell).to_owned();
            all.extend(cells[0].iter().zip(&cells[1]).map(|(a, b)| [shown(a), shown(b)]));
        }
    }

    #[test]
    fn cells_are_found_whatever_ends_the_lines() {
        for rows in [1, 2, 100] {
            let text = "a,1,x\r\n\r\n\n,2,\nc,,z";
            assert_eq!(read(text, 3, rows).unwrap(), [["1", "a"], ["2", ""], ["", "c"]]);
            assert_eq!(read(&format!("{text}\r"), 3, rows).unwrap().len(), 3);
            assert_eq!(read("a,b\nc,d\n", 2, rows).unwrap(), [["b", "a"], ["d", "c"]]);
        }
    }

    #[test]
    fn other_lengths_and_other_texts_are_seen() {
        assert_eq!(read("a,1,x\nb,2\n", 3, 10), Err(Ragged));
        assert_eq!(read("a,1,x\nb,2,y,z\n", 3, 10), Err(Ragged));
        assert_eq!(read("a,1,x\nb,2", 3, 1), Err(Ragged));
        assert!(PlainText::of(b"a,\"b\"\n", b',', 2).is_none());
        assert!(PlainText::of(b"a\rb\n", b',', 2).is_none());
        assert!(PlainText::of(b"a,\xff\n", b',', 2).is_none());
    }
}
