//! `multipart/form-data` (RFC 7578): each part's name and text.

use super::{FIELDS_MAX, Field, few};

/// The parameter `boundary` of a content type: at most 70 characters (RFC 2046 section 5.1.1).
pub(super) fn boundary(content_type: &str) -> Option<&str> {
    parameter(content_type, "boundary").filter(|boundary| !boundary.is_empty() && boundary.len() <= 70)
}

/// Cuts the body. What stands before the first boundary and behind the last one does not count.
pub(super) fn read(body: &[u8], boundary: &str) -> Result<Vec<Field>, String> {
    let delimiter = format!("\r\n--{boundary}").into_bytes();
    let mut rest = match body.strip_prefix(&delimiter[2..]) {
        Some(rest) => rest,
        None => split(body, &delimiter).ok_or("the boundary does not occur in the body")?.1,
    };
    let mut fields = Vec::new();
    while !rest.starts_with(b"--") {
        let (part, after) = split(rest, &delimiter).ok_or("the last boundary is missing")?;
        fields.push(field(part)?);
        if fields.len() > FIELDS_MAX {
            break;
        }
        rest = after;
    }
    few(fields)
}

fn field(part: &[u8]) -> Result<Field, String> {
    // White space may stand between a boundary and its line's end.
    let (_, part) = split(part, b"\r\n").ok_or("a part has no headers")?;
    let (head, text) = match part.strip_prefix(b"\r\n") {
        Some(text) => (&[][..], text),
        None => split(part, b"\r\n\r\n").ok_or("a part's headers do not end")?,
    };
    let head = std::str::from_utf8(head).map_err(|_| "a part's headers are not UTF-8")?;
    let disposition = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    });
    let name = disposition.and_then(|value| parameter(value, "name")).filter(|name| !name.is_empty()).ok_or("a part has no name")?;
    let text = std::str::from_utf8(text).map_err(|_| format!("'{name}' is not UTF-8"))?;
    Ok((name.to_owned(), text.to_owned()))
}

fn split<'a>(bytes: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let start = bytes.windows(at.len()).position(|window| window == at)?;
    Some((&bytes[..start], &bytes[start + at.len()..]))
}

/// A parameter of a header's value, with or without quotes.
fn parameter<'a>(value: &'a str, wanted: &str) -> Option<&'a str> {
    let mut rest = value;
    loop {
        let (_, after) = rest.split_once(';')?;
        let (name, text) = after.split_once('=')?;
        let (text, behind) = match text.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => {
                let end = text.find(';').unwrap_or(text.len());
                (text[..end].trim(), &text[end..])
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(text);
        }
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_are_read_with_and_without_quotes() {
        assert_eq!(boundary("multipart/form-data; boundary=abc"), Some("abc"));
        assert_eq!(boundary("multipart/form-data; charset=utf-8; Boundary=\"a;b\"; x=y"), Some("a;b"));
        for wrong in ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary"] {
            assert_eq!(boundary(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn parts_are_names_and_texts() {
        let body = "preamble\r\n--b \r\nContent-Disposition: form-data; name=\"source\"\r\n\r\ncrud\r\n--b\r\n\
                    content-type: text/plain\r\ncontent-disposition: form-data; filename=\"f.lua\"; name=\"config.functions\"\r\n\r\n\
                    return\r\n1\r\n--b--\r\n";
        let fields = read(body.as_bytes(), "b").unwrap();
        assert_eq!(fields, [("source".to_owned(), "crud".to_owned()), ("config.functions".to_owned(), "return\r\n1".to_owned())]);
        assert_eq!(read(b"--b--", "b"), Ok(vec![]));
    }

    #[test]
    fn broken_bodies_are_told_how() {
        let cases = [
            ("", "the boundary does not occur in the body"),
            ("--b\r\nx", "the last boundary is missing"),
            ("--b\r\nx\r\n--b--", "a part's headers do not end"),
            ("--b\r\n\r\nx\r\n--b--", "a part has no name"),
            ("--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--", "a part has no name"),
        ];
        for (body, message) in cases {
            assert_eq!(read(body.as_bytes(), "b"), Err(message.to_owned()), "{body:?}");
        }
    }
}
