//! `/endpoints` and `/schemas/event_hooks`: what is there, in Kong's form.

use axum::body::Body;
use http::StatusCode;
use serde_json::{Value, json};

use super::forms;
use crate::http::door::Visit;
use crate::http::problem::Problem;
use crate::http::reply::{self, Response};
use crate::pipeline::HookBody;

/// Every path of this door, sorted.
pub(super) const ENDPOINTS: &[&str] = &[
    "/",
    "/dead-letters",
    "/deliveries/{deliveries}",
    "/endpoints",
    "/event-hooks",
    "/event-hooks/sources",
    "/event-hooks/sources/{source}",
    "/event-hooks/sources/{source}/{event}",
    "/event-hooks/{event_hooks}",
    "/event-hooks/{event_hooks}/deliveries",
    "/event-hooks/{event_hooks}/ping",
    "/event-hooks/{event_hooks}/test",
    "/handlers",
    "/handlers/{handlers}",
    "/health/live",
    "/health/ready",
    "/metrics",
    "/schemas/event_hooks",
    "/schemas/event_hooks/validate",
    "/status",
    "/{workspaces}/event-hooks",
    "/{workspaces}/event-hooks/sources",
    "/{workspaces}/event-hooks/sources/{source}",
    "/{workspaces}/event-hooks/sources/{source}/{event}",
    "/{workspaces}/event-hooks/{event_hooks}",
    "/{workspaces}/event-hooks/{event_hooks}/deliveries",
    "/{workspaces}/event-hooks/{event_hooks}/ping",
    "/{workspaces}/event-hooks/{event_hooks}/test",
];

/// `GET /endpoints`
pub(super) fn endpoints() -> Response {
    reply::json(StatusCode::OK, &json!({ "data": ENDPOINTS, "next": Value::Null }))
}

/// `GET /schemas/event_hooks`: Kong's fields, then ours. What `config` holds is the handler's to say: `GET /handlers/{handler}`.
pub(super) fn event_hooks() -> Response {
    let text = json!({ "type": "string", "required": false, "len_min": 1 });
    let flag = json!({ "type": "boolean", "required": false });
    let whole = json!({ "type": "integer", "required": false });
    let fields = json!([
        { "id": { "type": "string", "uuid": true, "auto": true } },
        { "created_at": { "type": "integer", "timestamp": true, "auto": true } },
        { "updated_at": { "type": "integer", "timestamp": true, "auto": true } },
        { "source": { "type": "string", "required": true, "len_min": 1 } },
        { "event": text },
        { "handler": { "type": "string", "required": true } },
        { "on_change": flag },
        { "snooze": { "type": "integer", "required": false, "gt": -1 } },
        { "config": { "type": "record", "abstract": true, "required": true } },
        { "name": { "type": "string", "required": false, "unique": true } },
        { "tags": { "type": "set", "elements": { "type": "string" }, "required": false } },
        { "description": text },
        { "enabled": { "type": "boolean", "required": false, "default": true } },
        { "paused": { "type": "boolean", "required": false, "default": false } },
        { "filter": text },
        { "delivery": { "type": "record", "required": false, "fields": [
            { "profile": { "type": "string", "one_of": ["durable", "kong"] } },
            { "order": { "type": "string", "one_of": ["none", "hook"] } },
            { "concurrency": whole },
            { "timeout_ms": whole },
            { "retry": { "type": "record", "fields": [{ "schedule_ms": { "type": "array", "elements": { "type": "integer" } } }] } }
        ] } },
        { "limits": { "type": "record", "required": false, "fields": [
            { "fuel": whole }, { "memory_bytes": whole }, { "log_bytes": whole }, { "http_requests": whole }
        ] } }
    ]);
    reply::json(StatusCode::OK, &json!({ "fields": fields }))
}

/// `POST /schemas/event_hooks/validate`: saves, pings and emits nothing.
pub(super) async fn validate(visit: &Visit, body: Body) -> Result<Response, Problem> {
    let members = forms::read_hook(visit, body).await?;
    visit.doors.pipeline.validate_hook(HookBody(members)).await.map_err(Problem::Change)?;
    Ok(reply::json(StatusCode::OK, &json!({ "message": "schema validation successful" })))
}
