//! Deliveries and dead letters: lists and single ones, with what is kept of their attempts.

use http::StatusCode;
use serde_json::{Value, json};

use super::hooks::find;
use super::{blocking, page};
use crate::http::door::Visit;
use crate::http::path::Parameters;
use crate::http::problem::Problem;
use crate::http::reply::{self, Response};
use crate::model::{AttemptSummary, DeliveryId, Failure, HookNo, Timestamp};
use crate::pipeline::Catalog;
use crate::store::{DeadKind, DeadLetter, DeadLetterFilter, DeliveryRecord, DeliveryState, EventBrief, Page, StoreError};

/// `GET /event-hooks/{id}/deliveries?state=&size=&offset=`
pub(super) async fn of_hook(visit: &Visit, id: &str) -> Result<Response, Problem> {
    let hook = find(visit, id)?;
    let parameters = Parameters::of(&visit.head.uri)?;
    let size = page::size(&parameters)?;
    let state = parameters.get("state").map(state).transpose()?;
    let offset = parameters.get("offset").map(str::to_owned);
    let (store, no) = (visit.doors.pipeline.store().clone(), hook.no);
    let Page { items, next } = blocking(move || {
        let page = store.deliveries(no, state, offset.as_deref(), size);
        page.map_err(|error| listing(error, offset))
    })
    .await?;
    let catalog = visit.doors.pipeline.catalog();
    let data: Vec<Value> = items.iter().map(|delivery| show_delivery(&catalog, delivery)).collect();
    let path = format!("/event-hooks/{}/deliveries", hook.id);
    let filters: Vec<_> = state.map(|state| ("state", state.as_str())).into_iter().collect();
    Ok(page::answer(&path, &filters, size, &data, next))
}

/// `GET /deliveries/{id}`
pub(super) async fn one(visit: &Visit, id: &str) -> Result<Response, Problem> {
    show_one(visit, id.parse().map_err(|()| Problem::NotFound)?, StatusCode::OK).await
}

pub(super) async fn show_one(visit: &Visit, id: DeliveryId, status: StatusCode) -> Result<Response, Problem> {
    let store = visit.doors.pipeline.store().clone();
    let found = blocking(move || store.delivery(id).map_err(|error| Problem::Internal(error.to_string()))).await?;
    let delivery = found.ok_or(Problem::NotFound)?;
    Ok(reply::json(status, &show_delivery(&visit.doors.pipeline.catalog(), &delivery)))
}

/// `GET /dead-letters?hook=&source=&event=&kind=&code=&from=&to=`
pub(super) async fn dead_letters(visit: &Visit) -> Result<Response, Problem> {
    let parameters = Parameters::of(&visit.head.uri)?;
    let size = page::size(&parameters)?;
    let filter = DeadLetterFilter {
        hook: parameters.get("hook").map(|id| find(visit, id).map(|hook| hook.no)).transpose()?,
        source: parameters.get("source").map(str::to_owned),
        event: parameters.get("event").map(str::to_owned),
        kind: parameters.get("kind").map(kind).transpose()?,
        code: parameters.get("code").map(str::to_owned),
        from: time(&parameters, "from")?,
        to: time(&parameters, "to")?,
    };
    let offset = parameters.get("offset").map(str::to_owned);
    let store = visit.doors.pipeline.store().clone();
    let Page { items, next } = blocking(move || {
        let page = store.dead_letters(&filter, offset.as_deref(), size);
        page.map_err(|error| listing(error, offset))
    })
    .await?;
    let catalog = visit.doors.pipeline.catalog();
    let data: Vec<Value> = items.iter().map(|letter| show_dead_letter(&catalog, letter)).collect();
    let names = ["hook", "source", "event", "kind", "code", "from", "to"];
    let filters: Vec<_> = names.into_iter().filter_map(|name| Some((name, parameters.get(name)?))).collect();
    Ok(page::answer("/dead-letters", &filters, size, &data, next))
}

fn state(name: &str) -> Result<DeliveryState, Problem> {
    DeliveryState::from_name(name).ok_or_else(|| {
        let known = "queued, running, retrying, delivered, exhausted, quarantined, canceled";
        Problem::Query(format!("state: '{name}' is not one of {known}"))
    })
}

pub(super) fn kind(name: &str) -> Result<DeadKind, Problem> {
    [DeadKind::Exhausted, DeadKind::Quarantined]
        .into_iter()
        .find(|kind| kind.as_str() == name)
        .ok_or_else(|| Problem::Query(format!("kind: '{name}' is not one of exhausted, quarantined")))
}

pub(super) fn time(parameters: &Parameters, name: &str) -> Result<Option<Timestamp>, Problem> {
    parameters.get(name).map(|said| time_of(name, said)).transpose()
}

pub(super) fn time_of(name: &str, said: &str) -> Result<Timestamp, Problem> {
    // A plus sign that was not escaped arrives as a space.
    let read = Timestamp::from_rfc3339(&said.replace(' ', "+"));
    read.ok_or_else(|| Problem::Query(format!("{name}: '{said}' is not an RFC 3339 time such as 2026-01-02T03:04:05Z")))
}

/// The store refuses an offset that it did not give out.
fn listing(error: StoreError, offset: Option<String>) -> Problem {
    match (error, offset) {
        (StoreError::Conflict(_), Some(offset)) => Problem::InvalidOffset(offset, "bad content"),
        (error, _) => Problem::Internal(error.to_string()),
    }
}

pub(super) fn show_delivery(catalog: &Catalog, delivery: &DeliveryRecord) -> Value {
    let event = delivery.event.as_deref().map(EventBrief::from);
    let mut shown = show_event(event.as_ref());
    shown["id"] = delivery.id.to_string().into();
    shown["hook_id"] = hook_id(catalog, delivery.id.hook);
    shown["state"] = delivery.state.as_str().into();
    shown["due"] = json!(delivery.due.map(Timestamp::to_rfc3339));
    shown["attempts"] = delivery.attempts.iter().map(show_attempt).collect();
    shown
}

fn show_dead_letter(catalog: &Catalog, letter: &DeadLetter) -> Value {
    let mut shown = show_event(letter.event.as_ref());
    shown["id"] = letter.id.to_string().into();
    shown["hook_id"] = hook_id(catalog, letter.id.hook);
    shown["kind"] = letter.kind.as_str().into();
    shown["reason"] = letter.reason.as_str().into();
    shown["at"] = letter.at.to_rfc3339().into();
    shown["attempt"] = letter.attempt.as_ref().map(show_attempt).into();
    shown
}

/// Null where the event's record is no longer kept.
fn show_event(event: Option<&EventBrief>) -> Value {
    json!({
        "event_id": event.map(|event| event.id.as_str()),
        "source": event.map(|event| &*event.source),
        "event": event.map(|event| &*event.name),
        "time": event.map(|event| event.time.to_rfc3339()),
    })
}

/// Null once the hook is deleted.
fn hook_id(catalog: &Catalog, no: HookNo) -> Value {
    json!(catalog.hook_by_no(no).map(|hook| hook.id))
}

fn show_attempt(attempt: &AttemptSummary) -> Value {
    let outcome = attempt.failure.as_ref().map_or("delivered", |failure| failure.code.as_str());
    let headers: Vec<Value> = attempt.response_headers.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    json!({
        "number": attempt.number,
        "started": attempt.started.to_rfc3339(),
        "duration_ms": attempt.duration_ms,
        "fuel": attempt.usage.fuel,
        "memory_bytes": attempt.usage.memory_bytes,
        "instantiate_us": attempt.usage.instantiate_us,
        "run_us": attempt.usage.run_us,
        "reused": attempt.usage.reused,
        "outcome": outcome,
        "status": attempt.status,
        "failure": attempt.failure.as_ref().map(show_failure),
        "logs": attempt.logs,
        "calls": attempt.calls,
        "response_headers": headers,
        "response_body": attempt.response_body,
    })
}

fn show_failure(failure: &Failure) -> Value {
    json!({
        "code": failure.code.as_str(),
        "blame": failure.code.blame().as_str(),
        "detail": failure.detail,
        "after_ms": failure.after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_say_what_they_know() {
        assert_eq!(state("retrying").ok(), Some(DeliveryState::Retrying));
        assert!(matches!(state("done"), Err(Problem::Query(message)) if message.starts_with("state: 'done' is not one of queued,")));
        assert_eq!(kind("quarantined").ok(), Some(DeadKind::Quarantined));
        assert!(matches!(kind("x"), Err(Problem::Query(_))));
        let parameters = Parameters::of(&"/x?from=2026-01-02T04:04:05.678+01:00&to=noon".parse().unwrap()).ok().unwrap();
        assert_eq!(time(&parameters, "from").ok().flatten(), Some(Timestamp(1_767_323_045_678)));
        assert!(matches!(time(&parameters, "to"), Err(Problem::Query(_))));
    }
}
