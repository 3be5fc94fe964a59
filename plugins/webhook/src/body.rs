//! The body of the POST: the members of the data, and `event` and `source` beside them.
//!
//! This is the hot path of the whole host, so the data is not built up as values and written again: its members are copied as they stand. That is
//! also what keeps every digit of every number.

use std::fmt;

use serde::Deserializer;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use tenterhook_sdk::Event;

/// Compact JSON. Data that is not an object goes into a member `data`.
pub(crate) fn write(event: &Event) -> Result<Vec<u8>, serde_json::Error> {
    let mut body = Vec::with_capacity(event.data.len() + event.name.len() + event.source.len() + 32);
    body.push(b'{');
    if event.data.trim_ascii_start().starts_with('{') {
        serde_json::Deserializer::from_str(&event.data).deserialize_map(CopyMembers(&mut body))?;
    } else {
        body.extend_from_slice(b"\"data\":");
        push_compact(&mut body, &event.data);
        body.push(b',');
    }
    body.extend_from_slice(b"\"event\":");
    serde_json::to_writer(&mut body, &event.name)?;
    body.extend_from_slice(b",\"source\":");
    serde_json::to_writer(&mut body, &event.source)?;
    body.push(b'}');
    Ok(body)
}

/// Copies each member, with a comma after it, except those that are overwritten.
struct CopyMembers<'a>(&'a mut Vec<u8>);

impl<'de> Visitor<'de> for CopyMembers<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Self(body) = self;
        while let Some((key, value)) = members.next_entry::<&RawValue, &RawValue>()? {
            if is_overwritten(key.get()) {
                continue;
            }
            body.extend_from_slice(key.get().as_bytes());
            body.push(b':');
            push_compact(body, value.get());
            body.push(b',');
        }
        Ok(())
    }
}

/// Is this key, with its quotes, one that every body has? It may be spelt with escapes.
fn is_overwritten(key: &str) -> bool {
    match key {
        r#""event""# | r#""source""# => true,
        _ if key.contains('\\') => serde_json::from_str::<String>(key).is_ok_and(|key| matches!(key.as_str(), "event" | "source")),
        _ => false,
    }
}

/// Copies JSON text without the white space between its tokens: run by run, because most texts have spaces in their strings and nowhere else.
fn push_compact(body: &mut Vec<u8>, json: &str) {
    let bytes = json.as_bytes();
    let (mut copied, mut at) = (0, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = after_string(bytes, at + 1),
            b' ' | b'\n' | b'\r' | b'\t' => {
                body.extend_from_slice(&bytes[copied..at]);
                at += 1;
                copied = at;
            }
            _ => at += 1,
        }
    }
    body.extend_from_slice(&bytes[copied..]);
}

/// Where the string ends whose first character stands at `at`.
fn after_string(bytes: &[u8], mut at: usize) -> usize {
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tenterhook_sdk::testing::event;

    use super::*;

    fn body(data: &str) -> String {
        let mut event = event("some_source", "some_event", json!(null));
        event.data = data.into();
        String::from_utf8(write(&event).unwrap()).unwrap()
    }

    #[test]
    fn the_data_is_copied_and_event_and_source_are_added() {
        let tail = r#""event":"some_event","source":"some_source"}"#;
        let cases = [
            (r#"{"some":"data"}"#, r#"{"some":"data","#),
            ("{}", "{"),
            (" { } ", "{"),
            // Every digit, and whatever a producer nested.
            (
                r#"{"n":12345678901234567890123456789.10e+0,"m":[1E400,-0,{"x":null}]}"#,
                r#"{"n":12345678901234567890123456789.10e+0,"m":[1E400,-0,{"x":null}],"#,
            ),
            // White space goes, except in texts.
            ("{\r\n\t\"a b\" : { \"c\" : [ 1 , \"x \\\" \\\\\" , \" \" ] } }", r#"{"a b":{"c":[1,"x \" \\"," "]},"#),
            // Members of these names are overwritten, however they are spelt and however often they come.
            (r#"{"event":1,"a":2,"source":{},"\u0065vent":3,"event":[]}"#, r#"{"a":2,"#),
            (r#"{"\u0061":1,"events":{"event":1}}"#, r#"{"\u0061":1,"events":{"event":1},"#),
            // What is no object goes into `data`.
            ("null", r#"{"data":null,"#),
            (" [ 1, 2.50 ] ", r#"{"data":[1,2.50],"#),
            (r#""a { b""#, r#"{"data":"a { b","#),
            ("7", r#"{"data":7,"#),
        ];
        for (data, head) in cases {
            assert_eq!(body(data), format!("{head}{tail}"), "{data}");
        }
    }

    #[test]
    fn event_and_source_are_escaped() {
        let event = event("a\"b", "ü\n", json!({}));
        assert_eq!(write(&event).unwrap(), "{\"event\":\"ü\\n\",\"source\":\"a\\\"b\"}".as_bytes());
    }

    #[test]
    fn deep_nesting_is_no_deep_recursion() {
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(body(&deep).len(), deep.len() + r#","event":"some_event","source":"some_source""#.len());
    }

    #[test]
    fn what_is_not_json_is_an_error() {
        let mut event = event("s", "e", json!({}));
        event.data = r#"{"a":}"#.into();
        assert!(write(&event).is_err());
    }
}
