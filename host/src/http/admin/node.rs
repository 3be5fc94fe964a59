//! `/` and `/status`: which node this is, and how it is doing, in a few figures.

use http::StatusCode;
use serde_json::{Value, json};

use super::health;
use crate::http::door::Visit;
use crate::http::reply::{self, Response};

/// `GET /`
pub(super) fn node(visit: &Visit) -> Response {
    let doors = &visit.doors;
    let feature = cfg!(feature = "test-clock").then_some("test-clock");
    let mut node = json!({
        "name": "tenterhook",
        "version": env!("CARGO_PKG_VERSION"),
        "tagline": "An event comes in, a sandboxed handler runs, nothing is lost",
        "pid": std::process::id(),
        "started_at": doors.started.to_rfc3339(),
        "uptime_seconds": uptime(visit),
    });
    if let Some(feature) = feature {
        node["features"] = json!([feature]);
    }
    reply::json(StatusCode::OK, &node)
}

/// `GET /status`
pub(super) fn status(visit: &Visit) -> Response {
    let doors = &visit.doors;
    let (pipeline, store) = (doors.pipeline.stats(), doors.pipeline.store().stats());
    let reasons = health::reasons(doors);
    let catalog = doors.pipeline.catalog();
    let status = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": uptime(visit),
        "ready": reasons.is_empty(),
        "reasons": reasons,
        "events": { "accepted": pipeline.accepted, "duplicates": pipeline.duplicates, "throttled": pipeline.throttled },
        "deliveries": { "owed": store.owed, "running": pipeline.running, "oldest_owed_at": oldest(&store) },
        "dead_letters": store.dead_letters,
        "hooks": catalog.hooks().len(),
        "handlers": catalog.handlers().len(),
        "store": { "commits": store.commits, "segments": store.segments, "disk_bytes": store.disk_bytes },
    });
    reply::json(StatusCode::OK, &status)
}

fn uptime(visit: &Visit) -> u64 {
    visit.doors.clock.now().since(visit.doors.started).as_secs()
}

fn oldest(store: &crate::store::Stats) -> Value {
    json!(store.oldest_owed_at.map(|at| at.to_rfc3339()))
}
