//! The event object as it is written: which members it has, and the text of each. Nothing is copied and nothing is judged here but the form; what
//! is wrong with an event is noted beside it, so that one pass finds every error of a request.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Errors noted for one event. An object with a million unknown members is told about the first of them.
pub(super) const ERRORS_MAX: usize = 16;

/// Longest name of an unknown member that is shown.
const NAME_SHOWN_MAX: usize = 64;

/// One event object.
#[derive(Debug, Default)]
pub(super) struct Envelope<'a> {
    pub(super) source: Option<&'a RawValue>,
    pub(super) event: Option<&'a RawValue>,
    pub(super) data: Option<&'a RawValue>,
    pub(super) key: Option<&'a RawValue>,
    pub(super) time: Option<&'a RawValue>,
    /// What is wrong with it so far.
    pub(super) errors: Vec<String>,
}

impl Envelope<'_> {
    fn note(&mut self, error: String) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(error);
        }
    }

    fn not_an_object() -> Self {
        Self { errors: vec!["expected an event object".into()], ..Self::default() }
    }
}

/// A member's name.
enum Field {
    Source,
    Event,
    Data,
    Key,
    Time,
    Unknown(String),
}

impl Field {
    fn of(name: &str) -> Self {
        match name {
            "source" => Self::Source,
            "event" => Self::Event,
            "data" => Self::Data,
            "key" => Self::Key,
            "time" => Self::Time,
            unknown => Self::Unknown(unknown.chars().take(NAME_SHOWN_MAX).collect()),
        }
    }
}

impl<'de> serde::Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Field;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member's name")
            }
            fn visit_str<E>(self, name: &str) -> Result<Field, E> {
                Ok(Field::of(name))
            }
        }
        deserializer.deserialize_str(Name)
    }
}

/// Reads one value as an event object; any other value becomes one with an error.
struct One;

impl<'de> DeserializeSeed<'de> for One {
    type Value = Envelope<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Envelope<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for One {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Envelope<'de>, A::Error> {
        let mut envelope = Envelope::default();
        while let Some(field) = members.next_key::<Field>()? {
            let (name, slot) = match field {
                Field::Source => ("source", &mut envelope.source),
                Field::Event => ("event", &mut envelope.event),
                Field::Data => ("data", &mut envelope.data),
                Field::Key => ("key", &mut envelope.key),
                Field::Time => ("time", &mut envelope.time),
                Field::Unknown(name) => {
                    members.next_value::<IgnoredAny>()?;
                    envelope.note(format!("{name}: unknown field"));
                    continue;
                }
            };
            let before = slot.replace(members.next_value()?);
            if before.is_some() {
                envelope.note(format!("{name}: duplicate field"));
            }
        }
        Ok(envelope)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Envelope<'de>, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Envelope::not_an_object())
    }

    fn visit_str<E>(self, _: &str) -> Result<Envelope<'de>, E> {
        Ok(Envelope::not_an_object())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Envelope<'de>, E> {
        Ok(Envelope::not_an_object())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Envelope<'de>, E> {
        Ok(Envelope::not_an_object())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Envelope<'de>, E> {
        Ok(Envelope::not_an_object())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Envelope<'de>, E> {
        Ok(Envelope::not_an_object())
    }

    fn visit_unit<E>(self) -> Result<Envelope<'de>, E> {
        Ok(Envelope::not_an_object())
    }
}

/// Reads an array of event objects, but not more than `max`.
struct Many {
    max: usize,
}

impl<'de> Visitor<'de> for Many {
    type Value = Vec<Envelope<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of event objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<Envelope<'de>>, A::Error> {
        let mut envelopes = Vec::new();
        while let Some(envelope) = elements.next_element_seed(One)? {
            if envelopes.len() == self.max {
                return Err(A::Error::custom(TOO_MANY));
            }
            envelopes.push(envelope);
        }
        Ok(envelopes)
    }
}

/// Tells one of our own errors from serde's.
const TOO_MANY: &str = "too many events";

/// Why a body has no envelopes.
#[derive(Debug)]
pub(super) enum NoEnvelopes {
    /// More than the limit.
    TooMany,
    /// Not JSON: what, and at which byte.
    Syntax(String, usize),
}

/// Reads a body: one event object, or an array of them.
pub(super) fn read(text: &str, max: usize) -> Result<Vec<Envelope<'_>>, NoEnvelopes> {
    let mut json = serde_json::Deserializer::from_str(text);
    let envelopes = match text.bytes().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[') => json.deserialize_seq(Many { max }),
        Some(_) | None => One.deserialize(&mut json).map(|one| vec![one]),
    };
    envelopes.and_then(|envelopes| json.end().map(|()| envelopes)).map_err(|error| match error.to_string() {
        message if message.starts_with(TOO_MANY) => NoEnvelopes::TooMany,
        message => NoEnvelopes::Syntax(without_place(message), offset(text, &error)),
    })
}

/// Reads one event object and nothing behind it. The error is what, and at which byte.
pub(super) fn read_one(text: &str) -> Result<Envelope<'_>, (String, usize)> {
    let mut json = serde_json::Deserializer::from_str(text);
    let envelope = One.deserialize(&mut json).and_then(|envelope| json.end().map(|()| envelope));
    envelope.map_err(|error| syntax(text, &error))
}

fn without_place(mut message: String) -> String {
    let end = message.rfind(" at line ").unwrap_or(message.len());
    message.truncate(end);
    message
}

/// serde_json tells line and column, from 1 and in bytes.
pub(super) fn offset(text: &str, error: &serde_json::Error) -> usize {
    let before: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    (before + error.column().saturating_sub(1)).min(text.len())
}

/// The error of a text that should be JSON.
pub(super) fn syntax(text: &str, error: &serde_json::Error) -> (String, usize) {
    (without_place(error.to_string()), offset(text, error))
}
