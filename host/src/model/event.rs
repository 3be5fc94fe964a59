//! Events.

use std::sync::Arc;

use bytes::Bytes;

use super::{EventId, EventNo, Timestamp};

/// JSON text that is known to be valid UTF-8 and valid JSON. Cheap to clone: the bytes are shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonText(Bytes);

impl JsonText {
    /// Takes text that the caller has just parsed or written itself.
    pub fn from_checked(text: String) -> Self {
        Self(Bytes::from(text))
    }

    /// Takes bytes that the caller has just checked to be valid UTF-8 and valid JSON.
    pub fn from_checked_bytes(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// Parses and keeps. The error is serde's own.
    pub fn parse(bytes: Bytes) -> Result<Self, serde_json::Error> {
        serde_json::from_slice::<&serde_json::value::RawValue>(&bytes)?;
        Ok(Self(bytes))
    }

    /// Writes a value as compact JSON.
    pub fn from_value(value: &serde_json::Value) -> Self {
        Self::from_checked(value.to_string())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // Both constructors start from valid UTF-8, so the fallback is never taken.
        std::str::from_utf8(&self.0).unwrap_or("null")
    }

    /// The bytes, shared.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// The value. `null` where the text nests deeper than serde_json goes, which the doors refuse.
    pub fn to_value(&self) -> serde_json::Value {
        serde_json::from_slice(&self.0).unwrap_or_default()
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// JSON text is never empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Who made an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A producer, over HTTP.
    Producer,
    /// A handler, this many events away from a producer's.
    Handler {
        /// 1 for an event emitted while handling a producer's.
        depth: u8,
    },
    /// The host itself. Handling one never makes the host emit another.
    Host,
}

/// An event that has come in and is not yet accepted.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Who says so.
    pub source: Arc<str>,
    /// What it is called (`event` on the wire).
    pub name: Arc<str>,
    /// Any JSON value.
    pub data: JsonText,
    /// The producer's own id of the event, for duplicates.
    pub key: Option<String>,
    /// When it happened, if the producer said.
    pub time: Option<Timestamp>,
    /// `traceparent`, CloudEvents attributes.
    pub attributes: Vec<(String, String)>,
    /// Who made it.
    pub origin: Origin,
}

/// An accepted event. Never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The store's number.
    pub no: EventNo,
    /// The public id.
    pub id: EventId,
    /// Who says so.
    pub source: Arc<str>,
    /// What it is called (`event` on the wire).
    pub name: Arc<str>,
    /// When it happened, or when it was accepted.
    pub time: Timestamp,
    /// Any JSON value.
    pub data: JsonText,
    /// The producer's own id of the event.
    pub key: Option<String>,
    /// `traceparent`, CloudEvents attributes.
    pub attributes: Vec<(String, String)>,
    /// Who made it.
    pub origin: Origin,
}
