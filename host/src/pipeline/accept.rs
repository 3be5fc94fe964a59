//! Accepting events, the part that runs in each request's own task: admit, match, hash, encode against an immutable snapshot, then hand over to
//! the one loop and wait for its commit. Only what needs order is left to the loop.

use std::time::Duration;

use tokio::sync::oneshot;

use crate::model::{Event, EventId, EventNo, Hook, HookNo, NewEvent, Profile, Skip, SourceEvent};
use crate::policy::admit::{Admission, admit};
use crate::policy::collapse::{self, Sameness};
use crate::policy::throttle::{self, Throttle};
use crate::store::{ContentHash, EncodedEvent, Fingerprint, Room};

use super::committer::Item;
use super::stats::Counters;
use super::{AcceptError, Accepted, Catalog, Pipeline};

/// A client that is refused for lack of room is asked to come back after this.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// An event, ready for the one loop: nothing about it needs working out any more.
pub(super) struct Prepared {
    pub(super) event: EncodedEvent,
    pub(super) id: EventId,
    pub(super) key: Option<String>,
    /// Of `(source, key)`, and of what stands under it.
    pub(super) remember: Option<(Fingerprint, ContentHash)>,
    pub(super) matches: Vec<Match>,
    pub(super) not_queued: Vec<(HookNo, Skip)>,
}

/// A hook that wants an event.
pub(super) struct Match {
    pub(super) hook: HookNo,
    pub(super) throttle: Option<Throttle>,
    /// Kong's collapse, for hooks of profile `kong`.
    pub(super) collapse: Option<Sameness>,
}

/// What a request is told.
pub(super) type AcceptResult = Result<Vec<Accepted>, AcceptError>;

/// One request's events.
pub(super) struct Batch {
    pub(super) events: Vec<Prepared>,
    /// Events that register themselves.
    pub(super) register: Vec<(String, String, SourceEvent)>,
    pub(super) answer: oneshot::Sender<AcceptResult>,
    /// Given back when the batch is decided.
    pub(super) _bytes: tokio::sync::OwnedSemaphorePermit,
}

pub(super) async fn accept(pipeline: &Pipeline, events: Vec<NewEvent>) -> AcceptResult {
    let result = try_accept(pipeline, events).await;
    let counters = &pipeline.0.counters;
    match &result {
        Ok(accepted) => {
            let duplicates = accepted.iter().filter(|event| event.duplicate).count() as u64;
            Counters::add(&counters.duplicates, duplicates);
            Counters::add(&counters.accepted, accepted.len() as u64 - duplicates);
        }
        Err(_) => Counters::add(&counters.refused, 1),
    }
    result
}

async fn try_accept(pipeline: &Pipeline, events: Vec<NewEvent>) -> AcceptResult {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let inner = &pipeline.0;
    has_room(pipeline)?;
    let (events, register) = prepare(pipeline, events)?;
    let bytes = events.iter().map(|event| event.event.len()).sum::<usize>().min(inner.limits.queued_bytes);
    let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
    let permit = inner.queued_bytes.clone().try_acquire_many_owned(permits).map_err(|_| AcceptError::Full {
        reason: format!("{} bytes of events wait to be written (setting events.queued_bytes)", inner.limits.queued_bytes),
        retry_after: RETRY_AFTER,
    })?;
    let (answer, answered) = oneshot::channel();
    let batch = Batch { events, register, answer, _bytes: permit };
    inner.items.send(Item::Accept(batch)).await.map_err(|_| AcceptError::Stopping)?;
    // The sender is dropped without an answer only when the committer is gone.
    answered.await.unwrap_or(Err(AcceptError::Stopping))
}

fn has_room(pipeline: &Pipeline) -> Result<(), AcceptError> {
    let inner = &pipeline.0;
    if pipeline.is_stopping() {
        return Err(AcceptError::Stopping);
    }
    if let Room::Low { what, free, floor, setting } = inner.store.room() {
        let reason = format!("{what}: {free}, less than {floor} (setting {setting})");
        return Err(AcceptError::Full { reason, retry_after: RETRY_AFTER });
    }
    Ok(())
}

type Register = Vec<(String, String, SourceEvent)>;

fn prepare(pipeline: &Pipeline, events: Vec<NewEvent>) -> Result<(Vec<Prepared>, Register), AcceptError> {
    let catalog = pipeline.0.catalog.load();
    let unregistered = pipeline.0.settings.load().unregistered;
    let mut register: Register = Vec::new();
    let mut prepared = Vec::with_capacity(events.len());
    for (index, event) in events.into_iter().enumerate() {
        match admit(&event.source, &event.name, &event.data, catalog.sources(), unregistered) {
            Admission::Known => {}
            Admission::Refuse(message) => {
                tracing::warn!("failed to emit event: {message}");
                return Err(AcceptError::Unregistered { index, message });
            }
            Admission::Register(about) => {
                let is_new = !register.iter().any(|(source, name, _)| **source == *event.source && **name == *event.name);
                if is_new {
                    register.push((event.source.to_string(), event.name.to_string(), about));
                }
            }
        }
        if let Some(schema) = catalog.schema(&event.source, &event.name) {
            schema.check(&event.data).map_err(|message| AcceptError::Unfit { index, message })?;
        }
        prepared.push(prepare_one(pipeline, &catalog, event));
    }
    Ok((prepared, register))
}

fn prepare_one(pipeline: &Pipeline, catalog: &Catalog, event: NewEvent) -> Prepared {
    let about = catalog.sources().get(&*event.source).and_then(|events| events.get(&*event.name));
    let unique = about.and_then(|about| about.unique.as_deref());
    let (mut matches, mut not_queued) = (Vec::new(), Vec::new());
    for hook in catalog.matching(&event.source, &event.name) {
        if !hook.is_enabled() {
            not_queued.push((hook.no, Skip::Disabled));
        } else if !is_wanted(catalog, &hook, &event) {
            not_queued.push((hook.no, Skip::Filtered));
        } else {
            let throttle = throttle::plan(&hook, &event.source, &event.name, &event.data, unique);
            matches.push(Match { hook: hook.no, throttle, collapse: sameness(pipeline, &hook, &event, unique) });
        }
    }
    let remember = event.key.as_ref().map(|key| {
        let store = &pipeline.0.store;
        (store.fingerprint(&event.source, key), content_hash(&event))
    });
    let (id, key) = (EventId::new(pipeline.0.clock.now().0), event.key.clone());
    Prepared { event: encode(pipeline, id.clone(), event), id, key, remember, matches, not_queued }
}

/// What the hook's filter says. An event that it cannot judge does not match, as an event without the field that it asks for.
fn is_wanted(catalog: &Catalog, hook: &Hook, event: &NewEvent) -> bool {
    let entry = catalog.entry(hook.no).filter(|entry| entry.filter.is_some());
    let Some(filter) = entry.and_then(|entry| entry.filter.as_ref()) else { return true };
    let judged = match filter {
        Ok(filter) => filter.matches(&event.source, &event.name, &event.data),
        Err(message) => Err(message.clone()),
    };
    judged.unwrap_or_else(|error| {
        tracing::warn!(hook = %hook.id, source = %event.source, event = %event.name, error, "a filter cannot judge an event; it is not queued");
        false
    })
}

fn sameness(pipeline: &Pipeline, hook: &Hook, event: &NewEvent, unique: Option<&[String]>) -> Option<Sameness> {
    let applies = pipeline.profile(hook) == Profile::Kong && collapse::applies_to(&event.source);
    applies.then(|| throttle::sameness(&event.source, &event.name, &event.data, unique))
}

/// The store's form of an event that is the host's own idea: a ping.
pub(super) fn prepare_for(pipeline: &Pipeline, hook: HookNo, event: NewEvent) -> Prepared {
    let id = EventId::new(pipeline.0.clock.now().0);
    let matches = vec![Match { hook, throttle: None, collapse: None }];
    Prepared { event: encode(pipeline, id.clone(), event), id, key: None, remember: None, matches, not_queued: Vec::new() }
}

/// The same content is the same source, name and data by JSON value; time and attributes do not count.
fn content_hash(event: &NewEvent) -> ContentHash {
    use sha2::Digest as _;
    let mut hash = sha2::Sha256::new();
    for part in [&*event.source, &*event.name] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    // Members are sorted in a Value, so that their order does not count.
    hash.update(event.data.to_value().to_string());
    let digest: [u8; 32] = hash.finalize().into();
    let mut first = [0; 16];
    first.copy_from_slice(&digest[..16]);
    ContentHash(first)
}

fn encode(pipeline: &Pipeline, id: EventId, event: NewEvent) -> EncodedEvent {
    let NewEvent { source, name, data, key, time, attributes, origin } = event;
    let time = time.unwrap_or_else(|| pipeline.0.clock.now());
    EncodedEvent::new(Event { no: EventNo(0), id, source, name, time, data, key, attributes, origin })
}
