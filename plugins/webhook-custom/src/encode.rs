//! How a payload becomes a body or a query: as the header `content-type` says (Kong's `webhook-custom`, spec section 3.7).

use std::fmt::Write as _;

/// The boundary of every multipart body, as Kong has it.
const BOUNDARY: &str = "8fd84e9444e3946c";

/// Names and rendered values, sorted by name.
pub(crate) type Fields = Vec<(String, Vec<u8>)>;

/// The forms that a payload can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Form,
    /// Also where no type is given.
    Multipart,
    /// Any other type: Kong sends an empty body.
    Nothing,
}

impl Encoding {
    /// Of a `content-type`, or of none.
    pub(crate) fn of(content_type: Option<&str>) -> Self {
        let Some(said) = content_type.map(str::to_ascii_lowercase) else { return Self::Multipart };
        if said.contains("application/json") {
            Self::Json
        } else if said.contains("www-form-urlencoded") {
            Self::Form
        } else if said.trim() == "multipart/form-data" {
            Self::Multipart
        } else {
            Self::Nothing
        }
    }
}

/// An object of texts. Bytes that are no UTF-8 are replaced: JSON has no others.
pub(crate) fn json(fields: &Fields) -> Vec<u8> {
    let members = fields.iter().map(|(name, value)| (name.clone(), String::from_utf8_lossy(value).into_owned().into()));
    serde_json::Value::Object(members.collect()).to_string().into_bytes()
}

/// `name=value&name`: an empty value is a bare name. `raw` leaves every byte as it is, as Kong does in bodies.
pub(crate) fn form(fields: &Fields, raw: bool) -> Vec<u8> {
    let mut text = Vec::new();
    for (name, value) in fields {
        if !text.is_empty() {
            text.push(b'&');
        }
        push(&mut text, name.as_bytes(), raw);
        if !value.is_empty() {
            text.push(b'=');
            push(&mut text, value, raw);
        }
    }
    text
}

/// All but the unreserved characters of RFC 3986 become `%XX`.
fn push(text: &mut Vec<u8>, bytes: &[u8], raw: bool) {
    for byte in bytes {
        if raw || byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            text.push(*byte);
        } else {
            text.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
}

/// The parts, and the boundary that stands between them: Kong's, or a longer one if a value holds it.
pub(crate) fn multipart(fields: &Fields) -> (Vec<u8>, String) {
    let mut boundary = BOUNDARY.to_owned();
    while fields.iter().any(|(_, value)| value.windows(boundary.len()).any(|part| part == boundary.as_bytes())) {
        let _ = write!(boundary, "{}", boundary.len());
    }
    let mut body = Vec::new();
    for (name, value) in fields {
        // As browsers do it (HTML, multipart/form-data encoding algorithm).
        let name = name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A");
        body.extend_from_slice(format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n").as_bytes());
        body.extend_from_slice(value);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    (body, boundary)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
    }

    #[test]
    fn the_type_decides() {
        let cases = [
            (None, Encoding::Multipart),
            (Some("application/json"), Encoding::Json),
            (Some("Application/JSON; charset=utf-8"), Encoding::Json),
            (Some("application/x-www-form-urlencoded"), Encoding::Form),
            (Some("multipart/form-data"), Encoding::Multipart),
            (Some("text/plain"), Encoding::Nothing),
        ];
        for (said, encoding) in cases {
            assert_eq!(Encoding::of(said), encoding, "{said:?}");
        }
    }

    #[test]
    fn forms_are_escaped_unless_raw() {
        let given = fields(&[("a b", "c&d=é"), ("e", ""), ("~f", "g")]);
        assert_eq!(form(&given, false), b"a%20b=c%26d%3D%C3%A9&e&~f=g");
        assert_eq!(form(&given, true), "a b=c&d=é&e&~f=g".as_bytes());
        assert_eq!(form(&fields(&[]), false), b"");
    }

    #[test]
    fn json_is_an_object_of_texts() {
        assert_eq!(json(&fields(&[("a", "1"), ("b", "\"\n/")])), br#"{"a":"1","b":"\"\n/"}"#);
    }

    #[test]
    fn parts_stand_between_boundaries_that_no_value_holds() {
        let (body, boundary) = multipart(&fields(&[("k", "v"), ("a\"b\r\n", "w")]));
        assert_eq!(boundary, BOUNDARY);
        let expected = "--8fd84e9444e3946c\r\nContent-Disposition: form-data; name=\"k\"\r\n\r\nv\r\n--8fd84e9444e3946c\r\n\
                        Content-Disposition: form-data; name=\"a%22b%0D%0A\"\r\n\r\nw\r\n--8fd84e9444e3946c--\r\n";
        assert_eq!(String::from_utf8(body).unwrap(), expected);
        let (body, longer) = multipart(&fields(&[("k", &format!("--{BOUNDARY}--"))]));
        assert!(longer.len() > BOUNDARY.len() && body.starts_with(format!("--{longer}\r\n").as_bytes()));
    }
}
