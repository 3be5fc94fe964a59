//! How entities lie on disk, in the journal, in the catalog and in the export alike: hooks, their state, sources, handlers.
//!
//! A hook's config may hold secrets in fields that only its handler's schema knows, so the whole config is sealed, not single fields.

use serde::{Deserialize, Serialize};

use super::StoreError;
use super::record::{Blob, read, read_either, write};
use super::secret::Sealer;
use crate::model::{
    Asks, DeliverySettings, Digest, HandlerRecord, Hook, HookLimits, HookNo, HookState, PausedByHost, SourceEvent, Timestamp,
};

/// A hook. `config` is sealed JSON; `delivery` and `limits` are JSON, because their fields come and go with versions.
#[derive(Debug, Serialize, Deserialize)]
struct HookV1 {
    no: u32,
    revision: u64,
    id: Blob,
    source: String,
    event: Option<String>,
    handler: String,
    on_change: Option<bool>,
    snooze: Option<i64>,
    config: Blob,
    created_at: i64,
    updated_at: i64,
    name: Option<String>,
    tags: Option<Vec<String>>,
    description: Option<String>,
    enabled: Option<bool>,
    paused: Option<bool>,
    delivery: String,
    limits: String,
}

/// A hook with a filter. One without is still written as `HookV1`.
#[derive(Debug, Serialize, Deserialize)]
struct HookV2 {
    base: HookV1,
    filter: Option<String>,
}

impl From<HookV1> for HookV2 {
    fn from(base: HookV1) -> Self {
        Self { base, filter: None }
    }
}

/// JSON of one of our own types.
fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("our own types have string keys only")
}

/// One of our own types from its JSON.
fn from_json<T: serde::de::DeserializeOwned>(place: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::corrupt(place, e.to_string()))
}

/// A hook as bytes.
pub(super) fn write_hook(hook: &Hook, sealer: &Sealer) -> Result<Vec<u8>, StoreError> {
    let record = HookV1 {
        no: hook.no.0,
        revision: hook.revision,
        id: Blob(hook.id.as_bytes().to_vec()),
        source: hook.source.clone(),
        event: hook.event.clone(),
        handler: hook.handler.clone(),
        on_change: hook.on_change,
        snooze: hook.snooze,
        config: Blob(sealer.seal(json(&hook.config).as_bytes())?),
        created_at: hook.created_at,
        updated_at: hook.updated_at,
        name: hook.name.clone(),
        tags: hook.tags.clone(),
        description: hook.description.clone(),
        enabled: hook.enabled,
        paused: hook.paused,
        delivery: json(&hook.delivery),
        limits: json(&hook.limits),
    };
    Ok(match hook.filter.clone() {
        None => write(1, &record),
        filter => write(2, &HookV2 { base: record, filter }),
    })
}

/// A hook from its bytes.
pub(super) fn read_hook(place: &str, bytes: &[u8], sealer: &Sealer) -> Result<Hook, StoreError> {
    let HookV2 { base: record, filter } = read_either::<HookV1, HookV2>(place, bytes)?;
    let config = sealer.open(&record.config.0).ok_or_else(|| {
        StoreError::corrupt(place, format!("the config of hook {} was sealed with another key than the one in the data folder", record.no))
    })?;
    Ok(Hook {
        no: HookNo(record.no),
        revision: record.revision,
        id: uuid::Uuid::from_slice(&record.id.0).map_err(|e| StoreError::corrupt(place, e.to_string()))?,
        source: record.source,
        event: record.event,
        handler: record.handler,
        on_change: record.on_change,
        snooze: record.snooze,
        config: serde_json::from_slice(&config).map_err(|e| StoreError::corrupt(place, e.to_string()))?,
        created_at: record.created_at,
        updated_at: record.updated_at,
        name: record.name,
        tags: record.tags,
        description: record.description,
        enabled: record.enabled,
        paused: record.paused,
        filter,
        delivery: from_json::<DeliverySettings>(place, &record.delivery)?,
        limits: from_json::<HookLimits>(place, &record.limits)?,
    })
}

/// What the host knows about a hook.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct HookStateV1 {
    not_before: Option<i64>,
    paused_by_host: Option<(i64, String)>,
    quarantines: u32,
    retired: bool,
}

impl From<&HookState> for HookStateV1 {
    fn from(state: &HookState) -> Self {
        Self {
            not_before: state.not_before.map(|at| at.0),
            paused_by_host: state.paused_by_host.as_ref().map(|paused| (paused.at.0, paused.reason.clone())),
            quarantines: state.quarantines,
            retired: state.retired,
        }
    }
}

impl From<HookStateV1> for HookState {
    fn from(record: HookStateV1) -> Self {
        Self {
            not_before: record.not_before.map(Timestamp),
            paused_by_host: record.paused_by_host.map(|(at, reason)| PausedByHost { at: Timestamp(at), reason }),
            quarantines: record.quarantines,
            retired: record.retired,
        }
    }
}

/// What is known about an event of a source.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SourceV1 {
    source: String,
    event: String,
    fields: Option<Vec<String>>,
    unique: Option<Vec<String>>,
    description: Option<String>,
}

/// A registered event with a schema, as JSON text. One without is still written as `SourceV1`.
#[derive(Debug, Serialize, Deserialize)]
struct SourceV2 {
    base: SourceV1,
    schema: Option<String>,
}

impl From<SourceV1> for SourceV2 {
    fn from(base: SourceV1) -> Self {
        Self { base, schema: None }
    }
}

/// A registered event as bytes.
pub(super) fn write_source(source: &str, event: &str, about: &SourceEvent) -> Vec<u8> {
    let SourceEvent { fields, unique, description, schema } = about.clone();
    let base = SourceV1 { source: source.into(), event: event.into(), fields, unique, description };
    match schema {
        None => write(1, &base),
        Some(schema) => write(2, &SourceV2 { base, schema: Some(schema.to_string()) }),
    }
}

/// Source, event, and what is known.
pub(super) fn read_source(place: &str, bytes: &[u8]) -> Result<(String, String, SourceEvent), StoreError> {
    let SourceV2 { base, schema } = read_either::<SourceV1, SourceV2>(place, bytes)?;
    let SourceV1 { source, event, fields, unique, description } = base;
    let schema = schema.map(|text| from_json(place, &text)).transpose()?;
    Ok((source, event, SourceEvent { fields, unique, description, schema }))
}

/// An installed handler. Description and grant are JSON, because their fields come and go with versions.
#[derive(Debug, Serialize, Deserialize)]
struct HandlerV1 {
    name: String,
    digest: Blob,
    bytes: u64,
    built_in: bool,
    description: String,
    granted: String,
    reuse_across_hooks: bool,
    installed_at: i64,
}

/// A handler as bytes.
pub(super) fn write_handler(handler: &HandlerRecord) -> Vec<u8> {
    let record = HandlerV1 {
        name: handler.name.clone(),
        digest: Blob(handler.digest.0.to_vec()),
        bytes: handler.bytes,
        built_in: handler.built_in,
        description: json(&handler.description),
        granted: json(&handler.granted),
        reuse_across_hooks: handler.reuse_across_hooks,
        installed_at: handler.installed_at.0,
    };
    write(1, &record)
}

/// A handler from its bytes.
pub(super) fn read_handler(place: &str, bytes: &[u8]) -> Result<HandlerRecord, StoreError> {
    let record: HandlerV1 = read(place, bytes)?;
    let digest = record.digest.0.as_slice().try_into().map_err(|_| StoreError::corrupt(place, "a digest that is not 32 bytes long"))?;
    Ok(HandlerRecord {
        name: record.name,
        digest: Digest(digest),
        bytes: record.bytes,
        built_in: record.built_in,
        description: from_json(place, &record.description)?,
        granted: from_json::<Asks>(place, &record.granted)?,
        reuse_across_hooks: record.reuse_across_hooks,
        installed_at: Timestamp(record.installed_at),
    })
}
