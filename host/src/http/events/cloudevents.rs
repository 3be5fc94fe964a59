//! CloudEvents 1.0 over HTTP: structured and batched mode in JSON, and binary mode. `source` and `type` are the event's source and name, `id` is
//! its key; every other attribute is kept beside the event and handed to handlers.
//!
//! Data that is not JSON is kept as base64 in an object `{"data_base64": …}`, as the JSON format writes it.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::envelope::syntax;
use super::native::{Gathered, Keeper, Noted, check_key};
use super::scan::{self, malformed};
use crate::http::Settings;
use crate::http::problem::Problem;
use crate::model::{JsonText, NewEvent, Origin, Timestamp};

pub(super) const SPEC_VERSION: HeaderName = HeaderName::from_static("ce-specversion");

/// Attributes of one event, extensions included; more are an error.
const ATTRIBUTES_MAX: usize = 128;
/// Longest name of an attribute. The specification advises 20.
const NAME_BYTES_MAX: usize = 64;

/// One event as its attributes say it; what is missing or wrong is noted where it is found.
#[derive(Default)]
struct Attributes {
    id: Option<String>,
    source: Option<String>,
    kind: Option<String>,
    version: Option<String>,
    time: Option<Timestamp>,
    /// All others, `specversion` included.
    others: Vec<(String, String)>,
}

impl Attributes {
    /// Takes one attribute. Its name has no prefix.
    fn put(&mut self, name: &str, value: String, noted: &mut Noted<'_>) {
        let is_named_well =
            (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !is_named_well || name == "data" {
            let name: String = name.chars().take(NAME_BYTES_MAX).collect();
            noted.push(format!("{name}: an attribute's name is lower-case letters and digits, at most {NAME_BYTES_MAX}, and not 'data'"));
            return;
        }
        if value.chars().any(char::is_control) {
            noted.push(format!("{name}: control characters are not allowed"));
            return;
        }
        match name {
            "id" => self.id = Some(value),
            "source" => self.source = Some(value),
            "type" => self.kind = Some(value),
            "time" => match Timestamp::from_rfc3339(&value) {
                Some(time) => self.time = Some(time),
                None => noted.push("time: expected an RFC 3339 time such as 2026-01-02T03:04:05Z".into()),
            },
            _ => {
                if name == "specversion" {
                    self.version = Some(value.clone());
                }
                self.others.push((name.to_owned(), value));
            }
        }
    }

    /// The event, if nothing is wrong with it.
    fn event(self, data: JsonText, noted: &mut Noted<'_>) -> Option<NewEvent> {
        match self.version.as_deref() {
            Some("1.0") => {}
            Some(other) => noted.push(format!("specversion: '{other}' is not read here; send 1.0")),
            None => noted.push("specversion: required field missing".into()),
        }
        let key = required("id", self.id, noted).and_then(|id| check_key("id", id, noted));
        let source = required("source", self.source, noted);
        let kind = required("type", self.kind, noted);
        let (key, source, kind) = (key?, source?, kind?);
        noted.is_empty().then(|| NewEvent {
            source: source.into(),
            name: kind.into(),
            data,
            key: Some(key),
            time: self.time,
            attributes: self.others,
            origin: Origin::Producer,
        })
    }
}

fn required(field: &str, value: Option<String>, noted: &mut Noted<'_>) -> Option<String> {
    match value {
        None => noted.note(&format!("{field}: required field missing")),
        Some(value) if value.is_empty() => noted.note(&format!("{field}: length must be at least 1")),
        Some(value) => Some(value),
    }
}

/// Structured mode: one event as a JSON object.
pub(super) fn structured(body: &Bytes, settings: &Settings) -> Result<Vec<NewEvent>, Problem> {
    scan::check(body, 0)?;
    let text = text(body)?;
    let event: &RawValue = serde_json::from_str(text).map_err(|error| not_json(text, &error))?;
    let mut gathered = Gathered::new(settings.max_event, 1);
    gathered.add(|_, noted| object(event, &Keeper::new(body, 0), noted));
    gathered.finish()
}

/// Batched mode: an array of such objects, which may be empty.
pub(super) fn batched(body: &Bytes, settings: &Settings) -> Result<Vec<NewEvent>, Problem> {
    scan::check(body, 0)?;
    let text = text(body)?;
    let mut json = serde_json::Deserializer::from_str(text);
    let events = Array { max: settings.max_batch }.deserialize(&mut json).and_then(|events| json.end().map(|()| events));
    let events = events.map_err(|error| match error.to_string().starts_with(TOO_MANY) {
        true => {
            Problem::TooLarge { what: "the request has more events".into(), limit: settings.max_batch, setting: Some("events.max_batch") }
        }
        false => not_json(text, &error),
    })?;
    let keeper = Keeper::new(body, body.len());
    let mut gathered = Gathered::new(settings.max_event, events.len());
    for event in events {
        gathered.add(|_, noted| object(event, &keeper, noted));
    }
    gathered.finish()
}

fn text(body: &Bytes) -> Result<&str, Problem> {
    std::str::from_utf8(body).map_err(|error| malformed("the body is not valid UTF-8", error.valid_up_to()))
}

fn not_json(text: &str, error: &serde_json::Error) -> Problem {
    let (what, at) = syntax(text, error);
    malformed(&format!("the body is not JSON: {what}"), at)
}

/// One event of structured or batched mode. A member that is null counts as absent, but for the data.
fn object(event: &RawValue, keeper: &Keeper<'_>, noted: &mut Noted<'_>) -> Option<NewEvent> {
    if !event.get().trim_start().starts_with('{') {
        return noted.note("expected an event object");
    }
    let members = match serde_json::Deserializer::from_str(event.get()).deserialize_map(Members) {
        Ok(members) => members,
        Err(error) => return noted.note(&format!("the event cannot be read: {error}")),
    };
    let mut attributes = Attributes::default();
    let (mut data, mut base64) = (None, None);
    for (at, (name, value)) in members.iter().enumerate() {
        if members[..at].iter().any(|(before, _)| before == name) {
            noted.push(format!("{name}: duplicate field"));
            continue;
        }
        match name.as_ref() {
            "data" => data = Some(*value),
            "data_base64" if value.get() == "null" => {}
            "data_base64" => base64 = encoded(value, noted),
            _ if value.get() == "null" => {}
            name => match attribute(value) {
                Some(value) => attributes.put(name, value, noted),
                None => noted.push(format!("{name}: expected a string, a boolean or a 32-bit integer")),
            },
        }
    }
    let content_type = attributes.others.iter().find(|(name, _)| name == "datacontenttype").map(|(_, value)| value.as_str());
    let data = match (data, base64) {
        (Some(_), Some(_)) => return noted.note("data_base64: data and data_base64 exclude each other"),
        (None, Some(base64)) => base64,
        (None, None) => no_data(),
        (Some(data), None) => {
            if let Some(other) = content_type.filter(|said| !is_json(said) && !data.get().starts_with('"')) {
                noted.push(format!("data: expected a string, because datacontenttype is '{other}'"));
            }
            keeper.keep(data)
        }
    };
    attributes.event(data, noted)
}

/// The value of an attribute as text, in its canonical form.
fn attribute(value: &RawValue) -> Option<String> {
    let text = value.get();
    match text.as_bytes().first()? {
        b'"' => serde_json::from_str(text).ok(),
        b't' | b'f' => Some(text.to_owned()),
        _ => text.parse::<i32>().ok().map(|number| number.to_string()),
    }
}

fn encoded(value: &RawValue, noted: &mut Noted<'_>) -> Option<JsonText> {
    let Ok(text) = serde_json::from_str::<Cow<'_, str>>(value.get()) else { return noted.note("data_base64: expected a string") };
    if STANDARD.decode(text.as_bytes()).is_err() {
        return noted.note("data_base64: expected base64 (RFC 4648 section 4, padded)");
    }
    Some(as_base64(&text))
}

fn as_base64(base64: &str) -> JsonText {
    // The alphabet of base64 needs no escapes in JSON.
    JsonText::from_checked(format!("{{\"data_base64\":\"{base64}\"}}"))
}

fn no_data() -> JsonText {
    JsonText::from_checked("{}".into())
}

/// `*/json` or `*/*+json`.
fn is_json(content_type: &str) -> bool {
    let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media.split_once('/').is_some_and(|(_, subtype)| subtype == "json" || subtype.ends_with("+json"))
}

/// Binary mode: the attributes are headers, the body is the data.
pub(super) fn binary(headers: &HeaderMap, body: &Bytes, settings: &Settings) -> Result<Vec<NewEvent>, Problem> {
    let content_type = headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let data = match content_type.as_deref() {
        _ if body.is_empty() => no_data(),
        Some(said) if is_json(said) => {
            scan::check(body, 1)?;
            json(body, text(body)?)?
        }
        Some(_) => as_base64(&STANDARD.encode(body)),
        // Nobody said what it is: JSON if it is that.
        None => {
            let read = scan::check(body, 1).and_then(|()| text(body)).and_then(|text| json(body, text));
            read.unwrap_or_else(|_| as_base64(&STANDARD.encode(body)))
        }
    };
    let mut gathered = Gathered::new(settings.max_event, 1);
    gathered.add(|_, noted| {
        let mut attributes = Attributes::default();
        if let Some(said) = content_type {
            attributes.put("datacontenttype", said, noted);
        }
        let mut named = headers.keys().filter_map(|header| Some((header, header.as_str().strip_prefix("ce-")?)));
        let too_many =
            named.by_ref().take(ATTRIBUTES_MAX).map(|(header, name)| from_header(headers, header, name, &mut attributes, noted)).count();
        if too_many == ATTRIBUTES_MAX && named.next().is_some() {
            noted.push(format!("more than {ATTRIBUTES_MAX} attributes"));
        }
        attributes.event(data, noted)
    });
    gathered.finish()
}

fn json(body: &Bytes, text: &str) -> Result<JsonText, Problem> {
    let data: &RawValue = serde_json::from_str(text).map_err(|error| not_json(text, &error))?;
    Ok(Keeper::new(body, data.get().len()).keep(data))
}

fn from_header(headers: &HeaderMap, header: &HeaderName, name: &str, attributes: &mut Attributes, noted: &mut Noted<'_>) {
    let mut values = headers.get_all(header).into_iter();
    let (first, more) = (values.next(), values.next());
    match (name, first.map(|value| from_header_value(value.as_bytes())), more) {
        ("datacontenttype", ..) => noted.push("ce-datacontenttype: Content-Type says it".into()),
        (_, _, Some(_)) => noted.push(format!("{header}: the header stands there more than once")),
        (_, Some(Some(value)), None) => attributes.put(name, value, noted),
        (_, Some(None) | None, None) => noted.push(format!("{header}: the value is not UTF-8 once it is percent-decoded")),
    }
}

/// Undoes what a sender does to a value that is a header: first a quoted string, as old senders have it, then one round of percent-decoding. None: what
/// comes out is not UTF-8.
fn from_header_value(value: &[u8]) -> Option<String> {
    let unquoted = match value {
        [b'"', inner @ .., b'"'] => Cow::Owned(without_backslashes(inner)),
        _ => Cow::Borrowed(value),
    };
    let mut decoded = Vec::with_capacity(unquoted.len());
    let mut rest = &*unquoted;
    while let Some((&byte, behind)) = rest.split_first() {
        let escaped = match rest {
            [b'%', high, low, ..] => hex(*high).zip(hex(*low)).map(|(high, low)| 16 * high + low),
            _ => None,
        };
        decoded.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { &rest[3..] } else { behind };
    }
    String::from_utf8(decoded).ok()
}

fn without_backslashes(quoted: &[u8]) -> Vec<u8> {
    let mut bytes = quoted.iter();
    let mut plain = Vec::with_capacity(quoted.len());
    while let Some(byte) = bytes.next() {
        plain.push(if *byte == b'\\' { *bytes.next().unwrap_or(byte) } else { *byte });
    }
    plain
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Reads an object as names and the texts of their values, in order and with duplicates.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if members.len() == ATTRIBUTES_MAX {
                return Err(A::Error::custom(format!("more than {ATTRIBUTES_MAX} members")));
            }
            members.push((name.into(), map.next_value()?));
        }
        Ok(members)
    }
}

/// Tells our own error from serde's.
const TOO_MANY: &str = "too many events";

/// Reads an array of values, but not more than `max`.
struct Array {
    max: usize,
}

impl<'de> DeserializeSeed<'de> for Array {
    type Value = Vec<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Array {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of event objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut events = Vec::new();
        while let Some(event) = elements.next_element()? {
            if events.len() == self.max {
                return Err(A::Error::custom(TOO_MANY));
            }
            events.push(event);
        }
        Ok(events)
    }
}

#[cfg(test)]
#[path = "cloudevents_tests.rs"]
mod tests;
