//! Is the process alive, and is it ready? Every door answers this, to everybody.

use http::StatusCode;
use serde_json::json;

use crate::http::door::{Inner, Visit};
use crate::http::reply::{self, Response};
use crate::store::Room;

/// `GET /health/live`
pub(crate) fn live() -> Response {
    reply::json(StatusCode::OK, &json!({ "live": true }))
}

/// `GET /health/ready`: 200 only when events are accepted and can be handled.
pub(crate) fn ready(visit: &Visit) -> Response {
    let reasons = reasons(&visit.doors);
    if reasons.is_empty() {
        return reply::json(StatusCode::OK, &json!({ "ready": true }));
    }
    reply::json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "ready": false, "reasons": reasons }))
}

/// Why the host is not ready.
pub(crate) fn reasons(doors: &Inner) -> Vec<String> {
    let mut reasons = Vec::new();
    let pipeline = &doors.pipeline;
    if pipeline.is_stopping() {
        reasons.push("the host is stopping".into());
    }
    if let Err(reason) = pipeline.store().health() {
        reasons.push(format!("the journal takes no writes: {reason}"));
    }
    if let Room::Low { what, free, floor, setting } = pipeline.store().room() {
        reasons.push(format!("{what}: {free} left, less than {floor} (setting {setting})"));
    }
    let handlers = pipeline.catalog().handlers();
    let mut built_in = handlers.iter().filter(|installed| installed.record.built_in).peekable();
    if built_in.peek().is_none() {
        reasons.push("the built-in handlers are being compiled".into());
    }
    for installed in built_in {
        if let Err(reason) = &installed.component {
            reasons.push(format!("handler '{}': {reason}", installed.record.name));
        }
    }
    reasons
}
