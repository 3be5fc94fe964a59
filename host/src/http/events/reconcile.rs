//! `POST /events/reconcile {"ids": […]}`: what became of events, for a producer that wants to be sure. An event of a source that the token may not emit
//! is unknown to it.

use axum::body::Body;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::http::auth::{Action, authorize};
use crate::http::body::{self, Limit};
use crate::http::door::Visit;
use crate::http::problem::Problem;
use crate::http::reply::{self, Response};
use crate::model::{DeliveryId, EventId};
use crate::store::{DeliveryState, PastEvent, StoreError};

/// Ids of one request.
const IDS_MAX: usize = 10_000;
/// An id of ours has 36 bytes.
const BODY_MAX: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    ids: Vec<String>,
}

#[derive(Serialize)]
struct Answer {
    events: Vec<Standing>,
}

#[derive(Serialize)]
struct Standing {
    id: String,
    state: &'static str,
    deliveries: Vec<Delivery>,
}

#[derive(Serialize)]
struct Delivery {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hook_id: Option<uuid::Uuid>,
    state: &'static str,
}

/// Serves one request.
pub(super) async fn serve(visit: &Visit, body: Body) -> Result<Response, Problem> {
    let headers = &visit.head.headers;
    if !body::media_type(headers).is_some_and(|said| said.eq_ignore_ascii_case("application/json")) {
        let said = body::media_type(headers).map(str::to_owned);
        return Err(Problem::MediaType { said, accept: "application/json", example: "Content-Type: application/json" });
    }
    let limit = Limit { bytes: BODY_MAX, setting: None, wait: visit.settings.body_wait };
    let bytes = body::read(headers, body, limit).await?;
    let question: Question =
        serde_json::from_slice(&bytes).map_err(|error| Problem::Malformed(format!("the body is not {{\"ids\": […]}}: {error}")))?;
    if question.ids.len() > IDS_MAX {
        return Err(Problem::TooLarge { what: format!("the request has {} ids", question.ids.len()), limit: IDS_MAX, setting: None });
    }
    let ids: Vec<EventId> = question.ids.iter().map(|id| EventId(id.as_str().into())).collect();
    let store = visit.doors.pipeline.store().clone();
    let read = tokio::task::spawn_blocking(move || {
        let found = store.find_events(&ids)?;
        let known: Vec<&PastEvent> = found.iter().flatten().collect();
        let states = store.latest_states(&known)?;
        Ok::<_, StoreError>((found, states))
    });
    let read = read.await.map_err(|error| Problem::Internal(error.to_string()))?;
    let (found, states) = read.map_err(|error| match error {
        StoreError::Conflict(what) => Problem::Query(what),
        StoreError::Io { .. } | StoreError::Corrupt { .. } | StoreError::Full { .. } => Problem::Internal(error.to_string()),
    })?;
    let who = visit.who();
    let mut states = states.into_iter();
    let events = question.ids.into_iter().zip(found).map(|(id, past)| {
        let states = past.as_ref().and_then(|_| states.next());
        let past = past.filter(|past| authorize(&who, Action::Emit(&past.event.source)).is_ok());
        match (past, states) {
            (Some(_), Some(states)) => standing(visit, id, &states),
            _ => Standing { id, state: "unknown", deliveries: Vec::new() },
        }
    });
    let answer = Answer { events: events.collect() };
    Ok(reply::json(StatusCode::OK, &answer))
}

fn standing(visit: &Visit, id: String, deliveries: &[(DeliveryId, DeliveryState)]) -> Standing {
    let catalog = visit.doors.pipeline.catalog();
    let states: Vec<DeliveryState> = deliveries.iter().map(|(_, state)| *state).collect();
    let deliveries = deliveries.iter().map(|(id, state)| {
        let hook_id = catalog.hook_by_no(id.hook).map(|hook| hook.id);
        Delivery { id: id.to_string(), hook_id, state: state.as_str() }
    });
    Standing { id, state: together(&states), deliveries: deliveries.collect() }
}

/// The event's state: what is still to come counts most, then what went wrong.
fn together(states: &[DeliveryState]) -> &'static str {
    let has = |state| states.contains(&state);
    match states {
        [] => "suppressed",
        _ if has(DeliveryState::Queued) || has(DeliveryState::Running) || has(DeliveryState::Retrying) => "pending",
        _ if has(DeliveryState::Quarantined) => "quarantined",
        _ if has(DeliveryState::Exhausted) => "exhausted",
        _ if has(DeliveryState::Delivered) => "delivered",
        _ => "canceled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_come_counts_most_and_then_what_went_wrong() {
        use DeliveryState::{Canceled, Delivered, Exhausted, Quarantined, Queued, Retrying, Running};
        for (states, expected) in [
            (vec![], "suppressed"),
            (vec![Delivered, Queued, Exhausted], "pending"),
            (vec![Running], "pending"),
            (vec![Delivered, Retrying], "pending"),
            (vec![Delivered, Exhausted, Quarantined], "quarantined"),
            (vec![Delivered, Exhausted], "exhausted"),
            (vec![Delivered, Canceled], "delivered"),
            (vec![Canceled], "canceled"),
        ] {
            assert_eq!(together(&states), expected, "{states:?}");
        }
    }
}
