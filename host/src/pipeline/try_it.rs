//! `/ping` and `/test`: an attempt now, for an operator to look at, past queue and throttle. Nothing is stored.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::model::{Event, EventId, EventNo, Hook, JsonText, Origin, Report, ResponseSummary};

use super::attempt::{self, Try};
use super::{HookEntry, Pipeline, TryError};

/// What `/test` shows.
#[derive(Debug, Clone)]
pub struct Tested {
    /// The posted body with `event` and `source` added.
    pub data: Value,
    /// The destination's answer (`body`, `headers`, `status`) or `done`'s value.
    pub result: Option<Value>,
    /// The whole attempt.
    pub report: Report,
}

/// Sends Kong's ping: any HTTP answer will do.
pub(super) async fn ping(pipeline: &Pipeline, hook: &Hook) -> Result<(), TryError> {
    let catalog = pipeline.catalog();
    let installed = catalog.handler(&hook.handler);
    if !installed.is_some_and(|installed| installed.record.description.wants_pings) {
        return Err(TryError::NoPing(hook.handler.clone()));
    }
    let mut entity = hook.to_entity();
    if !pipeline.0.settings.load().ping_includes_secret {
        pipeline.hide_secrets(&hook.handler, &mut entity);
    }
    let data = JsonText::from_value(&json!({ "event_hooks": entity }));
    let report = run(pipeline, hook, PING_SOURCE, PING_EVENT, data).await;
    match report.outcome {
        Ok(_) => Ok(()),
        Err(failure) => Err(TryError::Failed(failure.detail)),
    }
}

/// The event that announces a hook to its destination.
pub(super) const PING_SOURCE: &str = "kong:event_hooks";
/// See [`PING_SOURCE`].
pub(super) const PING_EVENT: &str = "ping";

/// Runs the handler with `data` as the hook's own event.
pub(super) async fn test(pipeline: &Pipeline, hook: &Hook, data: Value) -> Result<Tested, TryError> {
    let text = JsonText::from_value(&data);
    let report = run(pipeline, hook, &hook.source, hook.event.as_deref().unwrap_or_default(), text).await;
    let data = match data {
        Value::Object(mut members) => {
            members.insert("event".into(), json!(hook.event));
            members.insert("source".into(), json!(hook.source));
            Value::Object(members)
        }
        other => other,
    };
    match &report.outcome {
        Ok(done) => {
            let done = done.as_ref().map(JsonText::to_value);
            let result = report.response.as_ref().map(shown).or(done);
            Ok(Tested { data, result, report })
        }
        Err(failure) => Err(TryError::Failed(failure.detail.clone())),
    }
}

async fn run(pipeline: &Pipeline, hook: &Hook, source: &str, name: &str, data: JsonText) -> Report {
    let now = pipeline.0.clock.now();
    let event = Event {
        no: EventNo(0),
        id: EventId::new(now.0),
        source: source.into(),
        name: name.into(),
        time: now,
        data,
        key: None,
        attributes: Vec::new(),
        origin: Origin::Host,
    };
    let entry = HookEntry::new(Arc::new(hook.clone()));
    let delivery_id = format!("test_{}", uuid::Uuid::new_v4().simple());
    attempt::run(pipeline, Try { entry: &entry, event: Arc::new(event), delivery_id, number: 1, first_tried: now, test: true }).await
}

fn shown(response: &ResponseSummary) -> Value {
    let mut headers = Map::new();
    for (name, value) in &response.headers {
        let value = String::from_utf8_lossy(value);
        let joined = match headers.get(name).and_then(Value::as_str) {
            Some(earlier) => format!("{earlier}, {value}"),
            None => value.into_owned(),
        };
        headers.insert(name.clone(), joined.into());
    }
    json!({ "body": String::from_utf8_lossy(&response.body), "headers": headers, "status": response.status })
}
