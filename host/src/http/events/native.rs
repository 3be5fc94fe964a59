//! Events as the event object writes them: from the members' texts to [`NewEvent`]s, or every error with its index.
//!
//! The data is never parsed into values: its text is kept. Of a large body the events keep slices, of a small one they keep copies, because a slice
//! keeps the whole buffer of the connection alive, which is many times larger than a small event.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::envelope::{self, Envelope, NoEnvelopes};
use super::scan::{self, malformed};
use crate::http::Settings;
use crate::http::problem::{EventError, Problem};
use crate::model::{JsonText, NewEvent, Origin, Timestamp};

/// Longest key in bytes.
const KEY_BYTES_MAX: usize = 256;

/// Bodies beyond this are a buffer of their own, not a connection's, and their events may share it.
const SHARE_FROM: usize = 64 << 10;

/// Reads a body of `POST /events` that has passed the scan.
pub(super) fn read(body: &Bytes, settings: &Settings) -> Result<Vec<NewEvent>, Problem> {
    let text = text(body)?;
    let envelopes = envelope::read(text, settings.max_batch).map_err(|error| match error {
        NoEnvelopes::TooMany => {
            Problem::TooLarge { what: "the request has more events".into(), limit: settings.max_batch, setting: Some("events.max_batch") }
        }
        NoEnvelopes::Syntax(what, at) => malformed(&format!("the body is not JSON: {what}"), at),
    })?;
    let keeper = Keeper::new(body, envelopes.iter().filter_map(|envelope| envelope.data).map(|data| data.get().len()).sum());
    let mut gathered = Gathered::new(settings.max_event, envelopes.len());
    for envelope in envelopes {
        gathered.add(|before, noted| to_event(envelope, &keeper, before, noted));
    }
    gathered.finish()
}

/// Reads one line of NDJSON. What is wrong with it is noted: an error is one event's, and the lines behind it are read all the same.
pub(super) fn read_line(line: &Bytes, number: usize, gathered: &mut Gathered) {
    gathered.add(|before, noted| {
        let read = scan::check(line, 0)
            .and_then(|()| text(line))
            .and_then(|text| envelope::read_one(text).map_err(|(what, at)| malformed(&format!("the line is not JSON: {what}"), at)));
        match read {
            Ok(envelope) => to_event(envelope, &Keeper::copying(line), before, noted),
            Err(Problem::Malformed(what)) => noted.note(&format!("line {number}: {what} of the line")),
            Err(_) => noted.note(&format!("line {number}: it cannot be read")),
        }
    });
}

/// Reads a body of `POST /events/{source}/{event}` that has passed the scan: the data alone.
pub(super) fn read_data(body: &Bytes, source: &str, name: &str, key: Option<&[u8]>, settings: &Settings) -> Result<NewEvent, Problem> {
    let text = text(body)?;
    let data: &RawValue = serde_json::from_str(text).map_err(|error| {
        let (what, at) = envelope::syntax(text, &error);
        malformed(&format!("the body is not JSON: {what}"), at)
    })?;
    let mut errors = Errors::default();
    let mut noted = errors.of(0);
    let key = key.and_then(|key| match std::str::from_utf8(key) {
        Ok(key) => check_key("key", key.to_owned(), &mut noted),
        Err(_) => noted.note("key: expected UTF-8"),
    });
    let data = Keeper::new(body, data.get().len()).keep(data);
    let event =
        NewEvent { source: source.into(), name: name.into(), data, key, time: None, attributes: Vec::new(), origin: Origin::Producer };
    errors.measure(0, &event, settings.max_event);
    errors.or(event, settings.max_event)
}

/// The scan has checked it, or the MessagePack reader has written it.
fn text(body: &Bytes) -> Result<&str, Problem> {
    std::str::from_utf8(body).map_err(|error| malformed("the body is not valid UTF-8", error.valid_up_to()))
}

/// One event. None if something is wrong with it, which is then noted. Names that are the same as in the event before are shared with it.
fn to_event(envelope: Envelope<'_>, keeper: &Keeper<'_>, before: Option<&NewEvent>, noted: &mut Noted<'_>) -> Option<NewEvent> {
    let Envelope { source, event, data, key, time, errors } = envelope;
    let is_sound = errors.is_empty();
    let is_object = !errors.iter().any(|error| error == "expected an event object");
    errors.into_iter().for_each(|error| noted.push(error));
    if !is_object {
        return None;
    }
    let source = name("source", source, before.map(|before| &before.source), noted);
    let name = name("event", event, before.map(|before| &before.name), noted);
    let key = optional("key", key, noted).and_then(|key| check_key("key", key, noted));
    let time = optional("time", time, noted).and_then(|time| match Timestamp::from_rfc3339(&time) {
        Some(time) => Some(time),
        None => noted.note("time: expected an RFC 3339 time such as 2026-01-02T03:04:05Z"),
    });
    let (source, name) = (source?, name?);
    (is_sound && noted.is_empty()).then(|| NewEvent {
        source,
        name,
        data: data.map_or_else(|| JsonText::from_checked("{}".into()), |data| keeper.keep(data)),
        key,
        time,
        attributes: Vec::new(),
        origin: Origin::Producer,
    })
}

/// `source` and `event`: required, not empty.
fn name(field: &str, value: Option<&RawValue>, before: Option<&Arc<str>>, noted: &mut Noted<'_>) -> Option<Arc<str>> {
    let Some(value) = value.filter(|value| value.get() != "null") else {
        return noted.note(&format!("{field}: required field missing"));
    };
    let name = string(field, value, noted)?;
    if name.is_empty() {
        return noted.note(&format!("{field}: length must be at least 1"));
    }
    Some(before.filter(|before| ***before == *name).cloned().unwrap_or_else(|| name.into()))
}

/// An optional text; null is none.
fn optional(field: &str, value: Option<&RawValue>, noted: &mut Noted<'_>) -> Option<String> {
    let value = value.filter(|value| value.get() != "null")?;
    string(field, value, noted).map(std::borrow::Cow::into_owned)
}

fn string<'a>(field: &str, value: &'a RawValue, noted: &mut Noted<'_>) -> Option<std::borrow::Cow<'a, str>> {
    let text = value.get();
    let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return noted.note(&format!("{field}: expected a string"));
    };
    if !inner.contains('\\') {
        return Some(inner.into());
    }
    match serde_json::from_str::<String>(text) {
        Ok(unescaped) => Some(unescaped.into()),
        Err(error) => noted.note(&format!("{field}: {error}")),
    }
}

/// The producer's own id of an event: `key`, or what takes its place.
pub(super) fn check_key(field: &str, key: String, noted: &mut Noted<'_>) -> Option<String> {
    match key.len() {
        0 => noted.note(&format!("{field}: length must be at least 1")),
        1..=KEY_BYTES_MAX if key.chars().any(char::is_control) => noted.note(&format!("{field}: control characters are not allowed")),
        1..=KEY_BYTES_MAX => Some(key),
        length => noted.note(&format!("{field}: {length} bytes, more than the limit of {KEY_BYTES_MAX}")),
    }
}

/// Keeps the text of data: as a slice of the body, or as a copy.
pub(super) struct Keeper<'a> {
    body: &'a Bytes,
    shares: bool,
}

impl<'a> Keeper<'a> {
    /// Events share a body only if it is mostly theirs: a slice keeps all of it alive.
    pub(super) fn new(body: &'a Bytes, data_bytes: usize) -> Self {
        Self { body, shares: body.len() > SHARE_FROM && 2 * data_bytes >= body.len() }
    }

    /// For bodies that are read piece by piece.
    fn copying(body: &'a Bytes) -> Self {
        Self { body, shares: false }
    }

    pub(super) fn keep(&self, data: &RawValue) -> JsonText {
        let text = data.get().as_bytes();
        JsonText::from_checked_bytes(if self.shares { self.body.slice_ref(text) } else { Bytes::copy_from_slice(text) })
    }
}

/// A request's events while they are read, and everything that is wrong with them.
pub(super) struct Gathered {
    events: Vec<NewEvent>,
    errors: Errors,
    seen: usize,
    max_event: usize,
}

impl Gathered {
    pub(super) fn new(max_event: usize, expected: usize) -> Self {
        Self { events: Vec::with_capacity(expected), errors: Errors::default(), seen: 0, max_event }
    }

    /// Events so far, the wrong ones included.
    pub(super) fn seen(&self) -> usize {
        self.seen
    }

    /// Reads the next event; `read` is given the one before, and notes what is wrong.
    pub(super) fn add(&mut self, read: impl FnOnce(Option<&NewEvent>, &mut Noted<'_>) -> Option<NewEvent>) {
        let index = self.seen;
        self.seen += 1;
        if let Some(event) = read(self.events.last(), &mut self.errors.of(index)) {
            self.errors.measure(index, &event, self.max_event);
            self.events.push(event);
        }
    }

    pub(super) fn finish(self) -> Result<Vec<NewEvent>, Problem> {
        self.errors.or(self.events, self.max_event)
    }
}

/// Everything that is wrong with a request's events.
#[derive(Default)]
struct Errors {
    invalid: Vec<EventError>,
    too_large: Vec<EventError>,
}

impl Errors {
    fn of(&mut self, index: usize) -> Noted<'_> {
        let from = self.invalid.len();
        Noted { index, from, errors: &mut self.invalid }
    }

    fn measure(&mut self, index: usize, event: &NewEvent, max: usize) {
        let length = event.source.len() + event.name.len() + event.data.len() + event.key.as_ref().map_or(0, String::len);
        let length = length + event.attributes.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        if length > max {
            self.too_large.push(EventError { index, message: format!("{length} bytes") });
        }
    }

    fn or<T>(self, value: T, max: usize) -> Result<T, Problem> {
        if !self.invalid.is_empty() {
            return Err(Problem::Events(self.invalid));
        }
        if !self.too_large.is_empty() {
            return Err(Problem::EventTooLarge { errors: self.too_large, limit: max });
        }
        Ok(value)
    }
}

/// What is wrong with one event.
pub(super) struct Noted<'a> {
    index: usize,
    from: usize,
    errors: &'a mut Vec<EventError>,
}

impl Noted<'_> {
    pub(super) fn push(&mut self, message: String) {
        if self.errors.len() - self.from < envelope::ERRORS_MAX {
            self.errors.push(EventError { index: self.index, message });
        }
    }

    /// Notes, and is no value.
    pub(super) fn note<T>(&mut self, message: &str) -> Option<T> {
        self.push(message.to_owned());
        None
    }

    pub(super) fn is_empty(&self) -> bool {
        self.errors.len() == self.from
    }
}

#[cfg(test)]
#[path = "native_tests.rs"]
pub(super) mod tests;
