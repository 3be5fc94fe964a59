//! What lies in the journal: one type per kind of item and version, each with one conversion from and to the domain.
//!
//! The forms are MessagePack arrays, so their fields never move: a change is a new type with a new format byte and one more arm in `read`.
//! A released type is never edited; `tests/golden/store` keeps a record of each. Entities (hooks, handlers, sources) are in `entity`.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::model::{
    AttemptSummary, CallOutcome, CapabilityCall, DeliveryId, Event, EventId, EventNo, Failure, FailureCode, Generation, HookNo, JsonText,
    LogLevel, LogLine, Origin, Skip, ThrottleKey, ThrottleMark, Timestamp, Usage,
};

/// Bytes, written as MessagePack `bin` and not as an array of numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blob(pub(super) Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Blob;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(bytes.to_vec()))
            }
        }
        d.deserialize_bytes(Visitor)
    }
}

impl Blob {
    /// Exactly `N` bytes.
    fn array<const N: usize>(&self) -> Result<[u8; N], String> {
        self.0.as_slice().try_into().map_err(|_| format!("{} bytes where {N} belong", self.0.len()))
    }
}

/// A record with its format number in front.
pub(super) fn write<T: Serialize>(format: u8, record: &T) -> Vec<u8> {
    let mut out = vec![format];
    rmp_serde::encode::write(&mut out, record).expect("our records have no map with odd keys, and a Vec takes every byte");
    out
}

/// The record behind the format number. `None` if it is another format.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    rmp_serde::from_slice(bytes).map_err(|e| e.to_string())
}

/// Reads a record of a kind that has two formats; the second holds what the first does not know of.
pub(super) fn read_either<A: DeserializeOwned, B: DeserializeOwned + From<A>>(place: &str, bytes: &[u8]) -> Result<B, StoreError> {
    match bytes.split_first() {
        Some((2, rest)) => parse(rest).map_err(|e| StoreError::corrupt(place, e)),
        _ => read::<A>(place, bytes).map(B::from),
    }
}

/// Reads a record of a kind that has one format so far.
pub(super) fn read<T: DeserializeOwned>(place: &str, bytes: &[u8]) -> Result<T, StoreError> {
    match bytes.split_first() {
        Some((1, rest)) => parse(rest).map_err(|e| StoreError::corrupt(place, e)),
        Some((format, _)) => Err(StoreError::corrupt(place, format!("record format {format} is not known to this version"))),
        None => Err(StoreError::corrupt(place, "an empty record")),
    }
}

/// An event. Its number is not in it: it follows from the commit.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EventV1<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    time: i64,
    #[serde(borrow)]
    data: Cow<'a, str>,
    key: Option<String>,
    attributes: Vec<(String, String)>,
    /// 0 a producer, 255 the host, else the depth of a handler.
    origin: u8,
}

/// An event as bytes, format number in front.
pub(super) fn write_event(event: &Event) -> Vec<u8> {
    let origin = match event.origin {
        Origin::Producer => 0,
        Origin::Handler { depth } => depth.clamp(1, 254),
        Origin::Host => 255,
    };
    write(
        1,
        &EventV1 {
            id: event.id.as_str().into(),
            source: (&*event.source).into(),
            name: (&*event.name).into(),
            time: event.time.0,
            data: event.data.as_str().into(),
            key: event.key.clone(),
            attributes: event.attributes.clone(),
            origin,
        },
    )
}

/// The event with number `no`.
pub(super) fn read_event(place: &str, no: EventNo, bytes: &[u8]) -> Result<Event, StoreError> {
    let (format, rest) = bytes.split_first().ok_or_else(|| StoreError::corrupt(place, "an empty event"))?;
    if *format != 1 {
        return Err(StoreError::corrupt(place, format!("event format {format} is not known to this version")));
    }
    let event: EventV1<'_> = rmp_serde::from_slice(rest).map_err(|e| StoreError::corrupt(place, e.to_string()))?;
    Ok(Event {
        no,
        id: EventId(event.id.into()),
        source: event.source.into(),
        name: event.name.into(),
        time: Timestamp(event.time),
        data: JsonText::from_checked(event.data.into_owned()),
        key: event.key,
        attributes: event.attributes,
        origin: match event.origin {
            0 => Origin::Producer,
            255 => Origin::Host,
            depth => Origin::Handler { depth },
        },
    })
}

/// The id of an event, without reading the rest of it into memory of its own. None if the record cannot be read.
pub(super) fn read_event_id(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let (format, rest) = bytes.split_first()?;
    let event: EventV1<'_> = (*format == 1).then(|| rmp_serde::from_slice(rest).ok()).flatten()?;
    Some(event.id)
}

/// What stands beside an accepted event.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct AcceptV1 {
    /// Hooks it was queued for.
    pub(super) owes: Vec<u32>,
    /// Hooks that matched and were not queued, and why.
    not_queued: Vec<(u32, u8)>,
    /// Fingerprint of (source, key), hash of the content.
    remember: Option<(Blob, Blob)>,
    /// Hook, revision, key, digest, until.
    throttle: Vec<(u32, u64, Blob, Blob, i64)>,
}

/// What a commit says about one accepted event, beside the event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct AcceptNote {
    pub(super) owes: Vec<HookNo>,
    pub(super) not_queued: Vec<(HookNo, Skip)>,
    pub(super) remember: Option<([u8; 16], [u8; 16])>,
    pub(super) throttle: Vec<(HookNo, u64, ThrottleKey, ThrottleMark)>,
}

impl From<&AcceptNote> for AcceptV1 {
    fn from(note: &AcceptNote) -> Self {
        let skip = |skip: Skip| match skip {
            Skip::Snoozed => 0,
            Skip::Unchanged => 1,
            Skip::Disabled => 2,
            Skip::Filtered => 3,
            Skip::Collapsed => 4,
        };
        Self {
            owes: note.owes.iter().map(|hook| hook.0).collect(),
            not_queued: note.not_queued.iter().map(|(hook, why)| (hook.0, skip(*why))).collect(),
            remember: note.remember.map(|(key, content)| (Blob(key.to_vec()), Blob(content.to_vec()))),
            throttle: note
                .throttle
                .iter()
                .map(|(hook, rev, key, mark)| (hook.0, *rev, Blob(key.0.to_vec()), Blob(mark.digest.to_vec()), mark.until.0))
                .collect(),
        }
    }
}

impl TryFrom<AcceptV1> for AcceptNote {
    type Error = String;

    fn try_from(record: AcceptV1) -> Result<Self, String> {
        let skip = |code| match code {
            0 => Ok(Skip::Snoozed),
            1 => Ok(Skip::Unchanged),
            2 => Ok(Skip::Disabled),
            3 => Ok(Skip::Filtered),
            4 => Ok(Skip::Collapsed),
            other => Err(format!("reason {other} is not known to this version")),
        };
        let mark = |(hook, revision, key, digest, until): (u32, u64, Blob, Blob, i64)| {
            let mark = ThrottleMark { digest: digest.array()?, until: Timestamp(until) };
            Ok::<_, String>((HookNo(hook), revision, ThrottleKey(key.array()?), mark))
        };
        Ok(Self {
            owes: record.owes.into_iter().map(HookNo).collect(),
            not_queued: record.not_queued.into_iter().map(|(hook, why)| Ok((HookNo(hook), skip(why)?))).collect::<Result<_, String>>()?,
            remember: record.remember.map(|(key, content)| Ok::<_, String>((key.array()?, content.array()?))).transpose()?,
            throttle: record.throttle.into_iter().map(mark).collect::<Result<_, _>>()?,
        })
    }
}

/// Event, hook, generation.
pub(super) type DeliveryV1 = (u64, u32, u32);

/// A delivery's id as numbers.
pub(super) fn write_id(id: DeliveryId) -> DeliveryV1 {
    (id.event.0, id.hook.0, id.generation.0)
}

/// A delivery's id from its numbers.
pub(super) fn read_id((event, hook, generation): DeliveryV1) -> DeliveryId {
    DeliveryId { event: EventNo(event), hook: HookNo(hook), generation: Generation(generation) }
}

/// Target, status or code and text, microseconds.
type CallV1 = (String, Result<u16, (String, String)>, u64);

/// One attempt.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct AttemptV1 {
    number: u32,
    started: i64,
    duration_ms: u64,
    /// Fuel, memory bytes, instantiate µs, run µs, reused.
    usage: (u64, u64, u64, u64, bool),
    status: Option<u16>,
    /// Code, detail, the delay the handler asked for in milliseconds.
    failure: Option<(String, String, Option<u64>)>,
    logs: Vec<(u8, String)>,
    calls: Vec<CallV1>,
    response_headers: Vec<(String, String)>,
    response_body: String,
}

const LEVELS: [LogLevel; 8] =
    [LogLevel::Debug, LogLevel::Info, LogLevel::Notice, LogLevel::Warn, LogLevel::Err, LogLevel::Crit, LogLevel::Alert, LogLevel::Emerg];

/// The stable names of failure codes are what is stored.
fn read_code(name: &str) -> Result<FailureCode, String> {
    use serde::de::IntoDeserializer as _;
    let name: serde::de::value::StrDeserializer<'_, serde::de::value::Error> = name.into_deserializer();
    FailureCode::deserialize(name).map_err(|e| e.to_string())
}

impl From<&AttemptSummary> for AttemptV1 {
    fn from(attempt: &AttemptSummary) -> Self {
        let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        let outcome = |outcome: &CallOutcome| match outcome {
            CallOutcome::Status(status) => Ok(*status),
            CallOutcome::Failed(code, text) => Err((code.as_str().to_owned(), text.clone())),
        };
        let usage = attempt.usage;
        Self {
            number: attempt.number,
            started: attempt.started.0,
            duration_ms: attempt.duration_ms,
            usage: (usage.fuel, usage.memory_bytes, usage.instantiate_us, usage.run_us, usage.reused),
            status: attempt.status,
            failure: attempt.failure.as_ref().map(|f| (f.code.as_str().to_owned(), f.detail.clone(), f.after.map(millis))),
            logs: attempt.logs.iter().map(|line| (line.level as u8, line.text.clone())).collect(),
            calls: attempt.calls.iter().map(|c| (c.target.to_string(), outcome(&c.outcome), c.duration_us)).collect(),
            response_headers: attempt.response_headers.clone(),
            response_body: attempt.response_body.clone(),
        }
    }
}

impl TryFrom<AttemptV1> for AttemptSummary {
    type Error = String;

    fn try_from(record: AttemptV1) -> Result<Self, String> {
        let failure = |(code, detail, after): (String, String, Option<u64>)| {
            Ok::<_, String>(Failure { code: read_code(&code)?, detail, after: after.map(Duration::from_millis) })
        };
        let line = |(level, text): (u8, String)| {
            let level = *LEVELS.get(usize::from(level)).ok_or_else(|| format!("log level {level} is not known to this version"))?;
            Ok::<_, String>(LogLine { level, text })
        };
        let call = |(target, outcome, duration_us): CallV1| {
            let outcome = match outcome {
                Ok(status) => CallOutcome::Status(status),
                Err((code, text)) => CallOutcome::Failed(read_code(&code)?, text),
            };
            Ok::<_, String>(CapabilityCall { target: Arc::from(target), outcome, duration_us })
        };
        let (fuel, memory_bytes, instantiate_us, run_us, reused) = record.usage;
        Ok(Self {
            number: record.number,
            started: Timestamp(record.started),
            duration_ms: record.duration_ms,
            usage: Usage { fuel, memory_bytes, instantiate_us, run_us, reused },
            status: record.status,
            failure: record.failure.map(failure).transpose()?,
            logs: record.logs.into_iter().map(line).collect::<Result<_, _>>()?,
            calls: record.calls.into_iter().map(call).collect::<Result<_, _>>()?,
            response_headers: record.response_headers,
            response_body: record.response_body,
        })
    }
}
