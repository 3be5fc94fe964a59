//! `/event-hooks/{id}/ping` and `/test`: one attempt now, for an operator to look at.

use axum::body::Body;
use http::StatusCode;
use serde_json::json;

use super::forms;
use super::hooks::find;
use crate::http::door::Visit;
use crate::http::problem::Problem;
use crate::http::reply::{self, Response};
use crate::pipeline::TryError;

/// `GET /event-hooks/{id}/ping`: 200 with an empty body when any answer came.
pub(super) async fn ping(visit: &Visit, id: &str) -> Result<Response, Problem> {
    let hook = find(visit, id)?;
    visit.doors.pipeline.ping(&hook).await.map_err(|error| Problem::Ping(error.to_string()))?;
    Ok(reply::empty(StatusCode::OK))
}

/// `POST /event-hooks/{id}/test`: the handler with the body as data, past queue and throttle.
pub(super) async fn test(visit: &Visit, id: &str, body: Body) -> Result<Response, Problem> {
    let data = forms::read_any(visit, body).await?;
    let hook = find(visit, id)?;
    let tested = visit.doors.pipeline.test(&hook, data).await.map_err(|error| match error {
        TryError::NoPing(_) | TryError::Failed(_) => Problem::Test(error.to_string()),
    })?;
    let mut answer = json!({ "data": tested.data });
    if let Some(result) = tested.result {
        answer["result"] = result;
    }
    Ok(reply::json(StatusCode::OK, &answer))
}
