//! What a file's first bytes say about it.

/// The format whose mark the content begins with, for messages about a wrong extension.
pub(crate) fn known_content(head: &[u8]) -> Option<&'static str> {
    let marks: [(&[u8], &str); 7] = [
        (b"PAR1", "a Parquet file"),
        (b"ARROW1", "an Arrow IPC file"),
        (b"\x1f\x8b", "a gzip file"),
        (b"PK\x03\x04", "a zip or Excel file"),
        (b"\x28\xb5\x2f\xfd", "a zstd file"),
        (b"\xff\xfe", "text in UTF-16"),
        (b"\xfe\xff", "text in UTF-16"),
    ];
    marks.iter().find(|(mark, _)| head.starts_with(mark)).map(|&(_, name)| name)
}

/// The first bytes for a message: what they are known as, else as they stand.
pub(crate) fn shown_content(head: &[u8]) -> String {
    match known_content(head) {
        Some(name) => name.to_owned(),
        None => {
            let bytes: Vec<String> = head.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            format!("a file that begins with {}", bytes.join(" "))
        }
    }
}
