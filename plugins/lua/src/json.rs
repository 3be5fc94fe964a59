//! Between JSON and values.

use std::fmt;

use serde_json::{Map, Value as Json};

use crate::Value;

/// Why a value has no JSON, in cjson's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoJson(String);

impl fmt::Display for NoJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Value {
    /// From JSON text. Null members of objects are left out; a null that is the whole value is nil.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        let value = serde_json::from_str(text)?;
        Ok(if value == Json::Null { Self::Nil } else { from(value) })
    }

    /// As JSON text, as cjson encodes it. Nil is `null`.
    pub fn to_json(&self) -> Result<String, NoJson> {
        let mut out = Vec::new();
        write(&mut out, self, 0)?;
        String::from_utf8(out).map_err(|error| NoJson(error.to_string()))
    }
}

fn from(value: Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(flag),
        Json::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => Value::Bytes(text.into_bytes()),
        Json::Array(items) => Value::List(items.into_iter().map(from).collect()),
        Json::Object(members) => Value::Table(from_members(members)),
    }
}

fn from_members(members: Map<String, Json>) -> Vec<(Value, Value)> {
    let present = members.into_iter().filter(|(_, value)| *value != Json::Null);
    present.map(|(name, value)| (Value::Bytes(name.into_bytes()), from(value))).collect()
}

/// As Lua writes it: `%.14g`.
pub(crate) fn number(number: f64) -> String {
    crate::sys::format_number(number)
}

fn write(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), NoJson> {
    /// cjson's own limit is 1000; nothing deeper than 250 leaves Lua.
    const DEPTH_MAX: usize = crate::codec::DEPTH_MAX;
    if depth > DEPTH_MAX {
        return Err(NoJson("Cannot serialise, excessive depth".into()));
    }
    match value {
        Value::Nil | Value::Null => out.extend(b"null"),
        Value::Bool(flag) => out.extend(if *flag { "true" } else { "false" }.bytes()),
        Value::Number(number) if number.is_finite() => out.extend(self::number(*number).bytes()),
        Value::Number(_) => return Err(NoJson("Cannot serialise number: must not be NaN or Infinity".into())),
        Value::Bytes(bytes) => write_text(out, &String::from_utf8_lossy(bytes)),
        Value::List(items) => write_items(out, items.iter(), depth)?,
        Value::Table(members) => write_table(out, members, depth)?,
        Value::Other(_) | Value::Kept(_) => {
            return Err(NoJson(format!("Cannot serialise {}: type not supported", value.type_name())));
        }
    }
    Ok(())
}

/// With cjson's escapes: the short ones, `\/`, and `\u00XX` for the other control characters and 127.
fn write_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend(b"\\\""),
            b'\\' => out.extend(b"\\\\"),
            b'/' => out.extend(b"\\/"),
            0x08 => out.extend(b"\\b"),
            0x0c => out.extend(b"\\f"),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0..=0x1f | 0x7f => out.extend(format!("\\u{byte:04x}").bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

fn write_items<'a>(out: &mut Vec<u8>, items: impl Iterator<Item = &'a Value>, depth: usize) -> Result<(), NoJson> {
    out.push(b'[');
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, item, depth + 1)?;
    }
    out.push(b']');
    Ok(())
}

/// An array if all keys are whole numbers from 1, with cjson's bound on holes; else an object.
fn write_table(out: &mut Vec<u8>, members: &[(Value, Value)], depth: usize) -> Result<(), NoJson> {
    if let Some(items) = as_items(members)? {
        return write_items(out, items.into_iter(), depth);
    }
    out.push(b'{');
    for (index, (key, value)) in members.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        match key {
            Value::Bytes(name) => write_text(out, &String::from_utf8_lossy(name)),
            Value::Number(number) => write_text(out, &self::number(*number)),
            _ => return Err(NoJson(format!("Cannot serialise {}: table key must be a number or string", key.type_name()))),
        }
        out.push(b':');
        write(out, value, depth + 1)?;
    }
    out.push(b'}');
    Ok(())
}

fn as_items(members: &[(Value, Value)]) -> Result<Option<Vec<&Value>>, NoJson> {
    let mut max = 0_usize;
    for (key, _) in members {
        match key {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number from 1 to 2^32")]
            Value::Number(number) if *number >= 1.0 && number.fract() == 0.0 && *number <= 4_294_967_295.0 => {
                max = max.max(*number as usize)
            }
            _ => return Ok(None),
        }
    }
    if max == 0 {
        return Ok(None);
    }
    if max > 10 && max > members.len() * 2 {
        return Err(NoJson("Cannot serialise table: excessively sparse array".into()));
    }
    let mut items = vec![&Value::Nil; max];
    for (key, value) in members {
        if let Value::Number(number) = key {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as above")]
            let place = items.get_mut(*number as usize - 1);
            if let Some(place) = place {
                *place = value;
            }
        }
    }
    Ok(Some(items))
}
