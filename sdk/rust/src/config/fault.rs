//! The first mistake that reading a type finds: serde's error, with a path and in Kong's words.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use super::PathPart;

/// One mistake. The path grows from the inside out while the error travels up.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) path: Vec<PathPart>,
    pub(super) message: String,
    pub(super) kind: Kind,
}

/// How the place can be mended so that reading can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// There is a value and it does not fit.
    Wrong,
    /// There is no value.
    Missing,
    /// The key is not one of the type's.
    Unknown,
}

impl Fault {
    /// Of the value itself.
    pub(super) fn wrong(message: impl Into<String>) -> Self {
        Self { path: Vec::new(), message: message.into(), kind: Kind::Wrong }
    }

    /// The same, seen from the parent.
    pub(super) fn under(mut self, part: PathPart) -> Self {
        self.path.insert(0, part);
        self
    }

    fn member(name: &str, message: &str, kind: Kind) -> Self {
        Self { path: vec![PathPart::Key(name.into())], message: message.into(), kind }
    }
}

/// Kong's noun for what serde expected.
fn noun(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" | "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => "an integer".into(),
        "f32" | "f64" => "a number".into(),
        "a sequence" => "an array".into(),
        _ if text.starts_with("struct ") => "a record".into(),
        _ if text.starts_with("enum ") || text == "variant identifier" => "a string".into(),
        _ => text,
    }
}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::wrong(message.to_string())
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::wrong(format!("expected {}", noun(expected)))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        match unexpected {
            Unexpected::Str(text) => Self::wrong(format!("invalid value: {text}")),
            Unexpected::Signed(number) => Self::wrong(format!("invalid value: {number}")),
            Unexpected::Unsigned(number) => Self::wrong(format!("invalid value: {number}")),
            _ => Self::wrong(format!("expected {expected}")),
        }
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::wrong(format!("expected one of: {}", expected.join(", ")))
    }

    fn unknown_field(field: &str, _: &'static [&'static str]) -> Self {
        Self::member(field, "unknown field", Kind::Unknown)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::member(field, "required field missing", Kind::Missing)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}
