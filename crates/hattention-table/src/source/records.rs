//! Where the records of a delimited text begin and end.
//!
//! The rules are those of `csv-core`, which decodes the text: a quote opens a quoted field only at the field's start,
//! a doubled quote inside one is a quote, and empty lines are no records. The walk here finds boundaries without
//! copying, so that a text can be cut into blocks of whole records, and finds line numbers for messages.

/// One record of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Offset of the first byte.
    pub(crate) start: usize,
    /// Offset after the line break that ends it.
    pub(crate) end: usize,
    /// Line breaks before it.
    pub(crate) line: u64,
    /// Number of fields.
    pub(crate) fields: usize,
    /// How it ends.
    pub(crate) ending: Ending,
}

/// How a record ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With a line break.
    LineBreak,
    /// With the text, outside quotes.
    Text,
    /// With the text, inside a quoted field.
    Quoted,
}

/// An iterator over the records of a text that begins at the start of a record.
pub(crate) struct Records<'a> {
    text: &'a [u8],
    delimiter: u8,
    position: usize,
    line: u64,
}

impl<'a> Records<'a> {
    pub(crate) fn new(text: &'a [u8], delimiter: u8) -> Self {
        Self { text, delimiter, position: 0, line: 0 }
    }

    /// Passes empty lines.
    fn skip_empty_lines(&mut self) {
        while let Some(&byte) = self.text.get(self.position)
            && (byte == b'\n' || byte == b'\r')
        {
            self.line += u64::from(byte == b'\n');
            self.position += 1;
        }
    }
}

impl Iterator for Records<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        self.skip_empty_lines();
        if self.position >= self.text.len() {
            return None;
        }
        let (start, line) = (self.position, self.line);
        let mut fields = 1;
        let mut at_field_start = true;
        let mut ending = Ending::Text;
        while let Some(&byte) = self.text.get(self.position) {
            self.position += 1;
            if byte == b'"' && at_field_start {
                let quoted = &self.text[self.position..];
                let length = quoted_length(quoted);
                self.line += line_breaks(&quoted[..length.unwrap_or(quoted.len())]);
                match length {
                    Some(length) => self.position += length,
                    None => {
                        self.position = self.text.len();
                        ending = Ending::Quoted;
                        break;
                    }
                }
                at_field_start = false;
            } else if byte == self.delimiter {
                fields += 1;
                at_field_start = true;
            } else if byte == b'\n' || byte == b'\r' {
                if byte == b'\r' && self.text.get(self.position) == Some(&b'\n') {
                    self.position += 1;
                    self.line += 1;
                } else {
                    self.line += u64::from(byte == b'\n');
                }
                ending = Ending::LineBreak;
                break;
            } else {
                at_field_start = false;
            }
        }
        Some(Record { start, end: self.position, line, fields, ending })
    }
}

/// Length of a quoted field's content with its closing quote, or `None` where it does not close.
fn quoted_length(text: &[u8]) -> Option<usize> {
    let mut position = 0;
    loop {
        position += text[position..].iter().position(|&byte| byte == b'"')? + 1;
        if text.get(position) != Some(&b'"') {
            return Some(position);
        }
        position += 1;
    }
}

/// The number of line feeds.
pub(crate) fn line_breaks(text: &[u8]) -> u64 {
    text.iter().filter(|&&byte| byte == b'\n').count() as u64
}

/// Offset after the last whole record, 0 if there is none. `quotes` says whether fields may be quoted.
pub(crate) fn last_boundary(text: &[u8], delimiter: u8, quotes: bool) -> usize {
    if !quotes || !text.contains(&b'"') {
        return text.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
    }
    let whole = |record: &Record| record.ending == Ending::LineBreak && text[record.end - 1] == b'\n';
    Records::new(text, delimiter).filter(whole).last().map_or(0, |record| record.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<(&str, u64, usize)> {
        Records::new(text.as_bytes(), b',')
            .map(|record| (text[record.start..record.end].trim_end(), record.line, record.fields))
            .collect()
    }

    #[test]
    fn records_end_at_line_breaks_outside_quotes() {
        let text = "a,b\r\n\n\"1\n2\",\"x\"\"\n\"\n5\" pipe,3\nlast,";
        assert_eq!(texts(text), [("a,b", 0, 2), ("\"1\n2\",\"x\"\"\n\"", 2, 2), ("5\" pipe,3", 5, 2), ("last,", 6, 2)]);
    }

    #[test]
    fn a_quote_that_never_closes_is_seen() {
        let record = Records::new(b"1,\"two\n3,4\n", b',').next();
        assert_eq!(record.map(|record| record.ending), Some(Ending::Quoted));
    }

    #[test]
    fn the_last_boundary_is_after_the_last_whole_record() {
        assert_eq!(last_boundary(b"1,2\n3,", b',', true), 4);
        assert_eq!(last_boundary(b"1,2\n3,\"\n\n", b',', true), 4);
        assert_eq!(last_boundary(b"1,\"a\n\"\n3,", b',', true), 7);
        assert_eq!(last_boundary(b"1,\"a\n", b',', true), 0);
        assert_eq!(last_boundary(b"{\"a\":\"\"}\n{", b',', false), 9);
    }
}
