//! `POST /test-clock {"advance_ms"}`: moves the host's one clock, so that tests need not wait for hours. Never in releases.

use axum::body::Body;
use http::StatusCode;
use serde_json::{Value, json};

use crate::http::body;
use crate::http::door::Visit;
use crate::http::problem::Problem;
use crate::http::reply::{self, Response};

/// Moves the clock and tells its new time.
pub(super) async fn advance(visit: &Visit, body: Body) -> Result<Response, Problem> {
    let members = body::read_object(&visit.head.headers, body, visit.settings.body_wait).await?;
    let millis = members.get("advance_ms").and_then(Value::as_i64);
    let millis = millis.ok_or_else(|| Problem::Query("advance_ms: expected a whole number of milliseconds".into()))?;
    visit.doors.clock.advance(millis);
    Ok(reply::json(StatusCode::OK, &json!({ "now": visit.doors.clock.now().to_rfc3339() })))
}
