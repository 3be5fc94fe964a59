//! JSON in the form of Lua's `inspect` library (3.1): keys sorted, two spaces of indent, an object broken over lines, an array on one.
//!
//! Lua has tables where JSON has objects, arrays and `null`. An empty one of either kind is `{}`. A member that is `null` is left out, because in a
//! Lua table it would not exist; in an array, and alone, it is `nil`.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::number;

/// An object or array that is nested deeper is shown as `{...}`, as `inspect` does with a depth of its own.
const DEPTH_MAX: usize = 64;

/// Appends a JSON value that stands `level` tables deep. Text that is not JSON is appended as a text.
pub(crate) fn push_json(text: &mut String, json: &str, level: usize) {
    let json = json.trim_ascii();
    match json.as_bytes().first() {
        Some(b'{' | b'[') if level > DEPTH_MAX => text.push_str("{...}"),
        Some(b'{') => match serde_json::from_str::<BTreeMap<String, &RawValue>>(json) {
            Ok(members) => push_object(text, &members, level),
            Err(_) => push_text(text, json),
        },
        Some(b'[') => match serde_json::from_str::<Vec<&RawValue>>(json) {
            Ok(items) => push_array(text, &items, level),
            Err(_) => push_text(text, json),
        },
        Some(b'"') => match serde_json::from_str::<String>(json) {
            Ok(string) => push_text(text, &string),
            Err(_) => push_text(text, json),
        },
        Some(b'-' | b'0'..=b'9') => number::push(text, json),
        _ => match json {
            "true" | "false" => text.push_str(json),
            "null" => text.push_str("nil"),
            _ => push_text(text, json),
        },
    }
}

/// `{` a line for each member `}`. The map sorts the keys by their bytes, as Lua does, and keeps the last of those that come twice.
fn push_object(text: &mut String, members: &BTreeMap<String, &RawValue>, level: usize) {
    let mut members = members.iter().filter(|(_, value)| value.get() != "null").peekable();
    if members.peek().is_none() {
        text.push_str("{}");
        return;
    }
    text.push('{');
    while let Some((key, value)) = members.next() {
        new_line(text, level + 1);
        push_key(text, key);
        text.push_str(" = ");
        push_json(text, value.get(), level + 1);
        if members.peek().is_some() {
            text.push(',');
        }
    }
    new_line(text, level);
    text.push('}');
}

/// `{ "a", "b" }`.
fn push_array(text: &mut String, items: &[&RawValue], level: usize) {
    text.push('{');
    for (index, item) in items.iter().enumerate() {
        text.push_str(if index == 0 { " " } else { ", " });
        push_json(text, item.get(), level + 1);
    }
    text.push_str(if items.is_empty() { "}" } else { " }" });
}

fn new_line(text: &mut String, level: usize) {
    text.push('\n');
    text.extend((0..level).map(|_| "  "));
}

/// `name`, or `["odd name"]`. Lua's keywords are not odd here: `inspect` does not know them.
fn push_key(text: &mut String, key: &str) {
    let plain = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric();
    if key.bytes().all(plain) && key.starts_with(|first: char| !first.is_ascii_digit()) {
        text.push_str(key);
        return;
    }
    text.push('[');
    push_text(text, key);
    text.push(']');
}

/// A quoted text: in single quotes if it has double quotes in it and no single ones. Control characters are escaped.
pub(crate) fn push_text(text: &mut String, string: &str) {
    let double = string.contains('"');
    let quote = if double && !string.contains('\'') { '\'' } else { '"' };
    text.push(quote);
    let mut characters = string.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' if quote == '"' => text.push_str("\\\""),
            '\0'..='\x1f' | '\x7f' => push_control(text, character, characters.peek().is_some_and(char::is_ascii_digit)),
            _ => text.push(character),
        }
    }
    text.push(quote);
}

/// `\n`, or the number: with three digits if a digit follows, which would else belong to it.
fn push_control(text: &mut String, character: char, before_digit: bool) {
    match character {
        '\x07' => text.push_str("\\a"),
        '\x08' => text.push_str("\\b"),
        '\t' => text.push_str("\\t"),
        '\n' => text.push_str("\\n"),
        '\x0b' => text.push_str("\\v"),
        '\x0c' => text.push_str("\\f"),
        '\r' => text.push_str("\\r"),
        _ if before_digit => text.push_str(&format!("\\{:03}", u32::from(character))),
        _ => text.push_str(&format!("\\{}", u32::from(character))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspect(json: &str) -> String {
        let mut text = String::new();
        push_json(&mut text, json, 0);
        text
    }

    #[test]
    fn values_look_as_inspect_shows_them() {
        let cases = [
            ("{}", "{}"),
            ("[]", "{}"),
            (r#"["a","b"]"#, r#"{ "a", "b" }"#),
            (r#"{"b":1,"a":true}"#, "{\n  a = true,\n  b = 1\n}"),
            (r#"{"a":{"b":{}}}"#, "{\n  a = {\n    b = {}\n  }\n}"),
            (r#"[{"a":[1,2,{"b":"x"}]},[]]"#, "{ {\n    a = { 1, 2, {\n        b = \"x\"\n      } }\n  }, {} }"),
            (r#"{"B":1,"a":2,"A":3,"_":4,"é":5,"":6}"#, "{\n  [\"\"] = 6,\n  A = 3,\n  B = 1,\n  _ = 4,\n  a = 2,\n  [\"é\"] = 5\n}"),
            (r#"{"odd key":1,"1a":2,"a1":3,"end":4}"#, "{\n  [\"1a\"] = 2,\n  a1 = 3,\n  end = 4,\n  [\"odd key\"] = 1\n}"),
            (r#"{"a":1,"a":2}"#, "{\n  a = 2\n}"),
            (" 7.50 ", "7.5"),
            ("false", "false"),
        ];
        for (json, expected) in cases {
            assert_eq!(inspect(json), expected, "{json}");
        }
    }

    #[test]
    fn a_null_is_what_it_would_be_in_lua() {
        assert_eq!(inspect("null"), "nil");
        assert_eq!(inspect("[1,null]"), "{ 1, nil }");
        assert_eq!(inspect(r#"{"a":null}"#), "{}");
        assert_eq!(inspect(r#"{"a":null,"b":1,"c":null}"#), "{\n  b = 1\n}");
    }

    #[test]
    fn texts_are_quoted_as_inspect_quotes_them() {
        let cases = [
            (r"plain é €", r#""plain é €""#),
            (r#"say "hi""#, r#"'say "hi"'"#),
            ("it's", r#""it's""#),
            (r#"it's "it""#, r#""it's \"it\"""#),
            (r"back\slash", r#""back\\slash""#),
            ("a\nb\tc\rd", r#""a\nb\tc\rd""#),
            ("\x07\x08\x0b\x0c", r#""\a\b\v\f""#),
            ("\0", r#""\0""#),
            ("\x01x\x1b1\x1f", r#""\1x\0271\31""#),
            ("\n1", r#""\n1""#),
            ("\x7f1\x7f", r#""\1271\127""#),
        ];
        for (string, expected) in cases {
            let mut text = String::new();
            push_text(&mut text, string);
            assert_eq!(text, expected, "{string:?}");
        }
    }

    #[test]
    fn what_is_nested_too_deep_is_left_out() {
        let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
        let text = inspect(&deep);
        assert!(text.contains("{ {...} }"));
        assert_eq!(text.matches('{').count(), DEPTH_MAX + 2);
    }

    #[test]
    fn what_is_not_json_is_shown_as_a_text() {
        for json in ["{", "[1,", "nonsense", ""] {
            assert_eq!(inspect(json), format!("\"{json}\""));
        }
    }
}
