//! Values as bytes, for the crossing between Rust and C: see `c/codec.c`.
//!
//! A tag, then: a number as 8 bytes; a text as its length and its bytes; a table as the number of its list's items and of its other members, the items,
//! and the members as key and value. Lengths are 4 bytes; everything is in the machine's byte order.

use crate::Value;

pub(crate) const NIL: u8 = 0;
pub(crate) const FALSE: u8 = 1;
pub(crate) const TRUE: u8 = 2;
pub(crate) const NUMBER: u8 = 3;
pub(crate) const TEXT: u8 = 4;
pub(crate) const TABLE: u8 = 5;
pub(crate) const NULL: u8 = 6;
pub(crate) const OTHER: u8 = 7;
/// To Lua only: the handle of a value that is kept there.
pub(crate) const KEPT: u8 = 8;

/// As in `c/codec.c`.
pub(crate) const DEPTH_MAX: usize = 250;

/// Appends a value.
pub(crate) fn encode(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Nil => out.push(NIL),
        Value::Bool(false) => out.push(FALSE),
        Value::Bool(true) => out.push(TRUE),
        Value::Number(number) => push_number(out, *number),
        Value::Bytes(bytes) => push_text(out, bytes),
        Value::Null => out.push(NULL),
        // Nothing else can stand for it.
        Value::Other(_) => out.push(NIL),
        Value::Kept(kept) => {
            out.push(KEPT);
            out.extend(kept.handle.to_ne_bytes());
        }
        Value::List(items) => {
            out.push(TABLE);
            push_count(out, items.len());
            push_count(out, 0);
            items.iter().for_each(|item| encode(out, item));
        }
        Value::Table(members) => {
            out.push(TABLE);
            push_count(out, 0);
            push_count(out, members.len());
            for (key, value) in members {
                encode(out, key);
                encode(out, value);
            }
        }
    }
}

pub(crate) fn push_number(out: &mut Vec<u8>, number: f64) {
    out.push(NUMBER);
    out.extend(number.to_ne_bytes());
}

pub(crate) fn push_text(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(TEXT);
    push_count(out, bytes.len());
    out.extend(bytes);
}

/// What does not fit is cut to nothing and refused by the other side, where the bytes then end too late. (It would be 4 GiB.)
pub(crate) fn push_count(out: &mut Vec<u8>, count: usize) {
    out.extend(u32::try_from(count).unwrap_or(0).to_ne_bytes());
}

/// Reads this many values. `None` if these are not bytes of `c/codec.c`.
pub(crate) fn decode(bytes: &[u8], count: usize) -> Option<Vec<Value>> {
    let mut input = bytes;
    (0..count).map(|_| decode_one(&mut input, 0)).collect()
}

fn decode_one(input: &mut &[u8], depth: usize) -> Option<Value> {
    let (tag, rest) = input.split_first()?;
    *input = rest;
    Some(match *tag {
        NIL => Value::Nil,
        FALSE => Value::Bool(false),
        TRUE => Value::Bool(true),
        NUMBER => Value::Number(f64::from_ne_bytes(take(input, 8)?.try_into().ok()?)),
        TEXT => Value::Bytes(take_text(input)?.to_vec()),
        NULL => Value::Null,
        OTHER => Value::Other(String::from_utf8_lossy(take_text(input)?).into_owned()),
        TABLE if depth <= DEPTH_MAX => {
            let (_items, members) = (take_count(input)?, take_count(input)?);
            let pair = |_| Some((decode_one(input, depth + 1)?, decode_one(input, depth + 1)?));
            Value::Table((0..members).map(pair).collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

fn take<'a>(input: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = input.split_at_checked(len)?;
    *input = rest;
    Some(taken)
}

fn take_count(input: &mut &[u8]) -> Option<usize> {
    let count = u32::from_ne_bytes(take(input, 4)?.try_into().ok()?);
    usize::try_from(count).ok()
}

fn take_text<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = take_count(input)?;
    take(input, len)
}
