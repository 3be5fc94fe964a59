//! One pass over the bytes of a JSON body before it is parsed: it is UTF-8, it is not too deep, and everything in it has a value. Whether it is JSON
//! at all is the parser's to say.
//!
//! The data of an event is kept as text and read later by others. What the grammar of JSON allows and a reader would still stumble over is
//! refused here, while the producer can be told: half a surrogate pair, a number beyond the range of a double.

use crate::http::problem::Problem;

/// Levels of arrays and objects, the event object itself counted. serde_json reads one less than its limit of 128 below an event object.
pub(super) const DEPTH_MAX: usize = 128;

/// Checks a body that stands `around` levels deep.
pub(super) fn check(bytes: &[u8], around: usize) -> Result<(), Problem> {
    if let Err(error) = std::str::from_utf8(bytes) {
        return Err(malformed("the body is not valid UTF-8", error.valid_up_to()));
    }
    let mut depth = around;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at = match byte {
            b'"' => end_of_string(bytes, at + 1)?,
            b'[' | b'{' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(malformed(&format!("JSON nests deeper than {DEPTH_MAX} levels"), at));
                }
                at + 1
            }
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                at + 1
            }
            b'-' | b'0'..=b'9' => end_of_number(bytes, at)?,
            _ => at + 1,
        };
    }
    Ok(())
}

/// The error that names a place.
pub(super) fn malformed(what: &str, offset: usize) -> Problem {
    Problem::Malformed(format!("{what} at byte {offset}"))
}

fn end_of_string(bytes: &[u8], mut at: usize) -> Result<usize, Problem> {
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => return Ok(at + 1),
            b'\\' => at = end_of_escape(bytes, at)?,
            _ => at += 1,
        }
    }
    Ok(at)
}

/// `at` is the backslash. An escape that is cut short or no escape is left to the parser.
fn end_of_escape(bytes: &[u8], at: usize) -> Result<usize, Problem> {
    match escaped_unit(bytes, at) {
        Some(0xD800..=0xDBFF) => match escaped_unit(bytes, at + 6) {
            Some(0xDC00..=0xDFFF) => Ok(at + 12),
            Some(_) | None => Err(malformed("half a surrogate pair", at)),
        },
        Some(0xDC00..=0xDFFF) => Err(malformed("half a surrogate pair", at)),
        Some(_) => Ok(at + 6),
        None => Ok(at + 2),
    }
}

fn escaped_unit(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |unit, digit| Some(16 * unit + char::from(*digit).to_digit(16)?))
}

fn end_of_number(bytes: &[u8], at: usize) -> Result<usize, Problem> {
    /// Shorter numbers without an exponent are all within range.
    const CERTAIN: usize = 300;
    let is_of_number = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
    let length = bytes[at..].iter().take_while(|byte| is_of_number(byte)).count();
    let number = &bytes[at..at + length];
    let may_be_large = length > CERTAIN || number.iter().any(|byte| matches!(byte, b'e' | b'E'));
    let value = may_be_large.then(|| std::str::from_utf8(number).ok()?.parse::<f64>().ok()).flatten();
    if value.is_some_and(f64::is_infinite) {
        return Err(malformed("a number beyond the range of a double", at));
    }
    Ok(at + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: impl AsRef<[u8]>, around: usize) -> Option<String> {
        match check(text.as_ref(), around) {
            Ok(()) => None,
            Err(Problem::Malformed(message)) => Some(message),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn depth_is_counted_outside_strings() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(refused(nested(128), 0), None);
        assert_eq!(refused(nested(129), 0).unwrap(), "JSON nests deeper than 128 levels at byte 128");
        assert_eq!(refused(nested(127), 1), None);
        assert!(refused(nested(128), 1).is_some());
        assert_eq!(refused(format!("[\"{}\\\"[\"]", "[".repeat(200)), 0), None);
        assert_eq!(refused("[]".repeat(500), 0), None);
    }

    #[test]
    fn whatever_passes_can_be_read_as_values() {
        let nested = format!(r#"{{"data":{}{}}}"#, "[".repeat(126), "]".repeat(126));
        assert_eq!(refused(&nested, 0), None);
        let data = format!("{}{}", "[".repeat(127), "]".repeat(127));
        assert_eq!(refused(&data, 1), None);
        serde_json::from_str::<serde_json::Value>(&data).unwrap();
        serde_json::from_str::<serde_json::Value>(&nested).unwrap();
    }

    #[test]
    fn the_first_byte_that_is_not_utf_8_is_named() {
        assert_eq!(refused(b"{\"a\":\"\xff\"}", 0).unwrap(), "the body is not valid UTF-8 at byte 6");
    }

    #[test]
    fn half_a_surrogate_pair_is_named() {
        for (text, at) in [(r#"["\ud800"]"#, 2), (r#"["a\udc00"]"#, 3), (r#"["\ud800\u0041"]"#, 2), (r#"["\uD83Dx"]"#, 2)] {
            assert_eq!(refused(text, 0), Some(format!("half a surrogate pair at byte {at}")), "{text}");
            assert!(serde_json::from_str::<serde_json::Value>(text).is_err(), "a reader would stumble over {text}");
        }
        for text in [r#""\ud83d\ude00""#, r#""\\ud800""#, r#""\u00e9\n""#, r#""\"#, r#""\u12"#] {
            assert_eq!(refused(text, 0), None, "{text}");
        }
    }

    #[test]
    fn numbers_have_to_fit_a_double() {
        assert_eq!(refused("[1,1e999]", 0).unwrap(), "a number beyond the range of a double at byte 3");
        assert_eq!(refused(format!("-{}", "9".repeat(400)), 0).unwrap(), "a number beyond the range of a double at byte 0");
        for text in ["1e308", "1e-999", "-0.5", "12345678901234567890123", "1-2e", "\"1e999\""] {
            assert_eq!(refused(text, 0), None, "{text}");
        }
    }
}
