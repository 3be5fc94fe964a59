//! `/events`: what was accepted and is still kept. Lists are without data; one event comes with its deliveries and with what was decided about it.

use http::StatusCode;
use serde_json::{Value, json};

use super::deliveries::{show_delivery, time};
use super::{blocking, page};
use crate::http::door::Visit;
use crate::http::path::Parameters;
use crate::http::problem::Problem;
use crate::http::reply::{self, Response};
use crate::model::{EventId, EventNo};
use crate::pipeline::Catalog;
use crate::store::{PastEvent, Store};

/// A page that finds nothing after reading so many stretches of the journal ends, with an offset to go on from.
const STRETCHES_MAX: usize = 2_000;

/// `GET /events?source=&event=&from=&to=&size=&offset=`: newest first.
pub(super) async fn list(visit: &Visit) -> Result<Response, Problem> {
    let parameters = Parameters::of(&visit.head.uri)?;
    let size = page::size(&parameters)?;
    let (from, to) = (time(&parameters, "from")?, time(&parameters, "to")?);
    let (source, event) = (parameters.get("source").map(str::to_owned), parameters.get("event").map(str::to_owned));
    let offset = parameters.get("offset").map(|offset| {
        let number = offset.parse().map_err(|_| Problem::InvalidOffset(offset.to_owned(), "bad content"));
        number.map(EventNo)
    });
    let offset = offset.transpose()?;
    let wanted = move |past: &PastEvent| {
        let named = |wanted: &Option<String>, has: &str| wanted.as_ref().is_none_or(|wanted| wanted == has);
        named(&source, &past.event.source)
            && named(&event, &past.event.name)
            && from.is_none_or(|from| past.accepted_at >= from)
            && to.is_none_or(|to| past.accepted_at < to)
    };
    let store = visit.doors.pipeline.store().clone();
    let (events, next) = blocking(move || {
        let (first, end) = store.event_numbers(from, to);
        let before = offset.map_or(end, |offset| offset.min(end));
        newest(&store, first, before, size, wanted).map_err(|error| Problem::Internal(error.to_string()))
    })
    .await?;
    let data: Vec<Value> = events.iter().map(show).collect();
    let names = ["source", "event", "from", "to"];
    let filters: Vec<_> = names.into_iter().filter_map(|name| Some((name, parameters.get(name)?))).collect();
    Ok(page::answer("/events", &filters, size, &data, next.map(|next| next.to_string())))
}

type Found = (Vec<PastEvent>, Option<EventNo>);

/// The newest events from `first` up to `before` that are wanted, and where to go on.
fn newest(
    store: &Store,
    first: EventNo,
    mut before: EventNo,
    size: usize,
    wanted: impl Fn(&PastEvent) -> bool,
) -> Result<Found, crate::store::StoreError> {
    let mut found = Vec::new();
    for _ in 0..STRETCHES_MAX {
        let Some(begin) = store.past_before(before)?.filter(|_| before > first) else { return Ok((found, None)) };
        let (events, _) = store.past_events(begin)?;
        for past in events.into_iter().rev().filter(|past| past.event.no < before && wanted(past)) {
            if found.len() == size {
                let next = found.last().map(|past: &PastEvent| past.event.no);
                return Ok((found, next));
            }
            found.push(past);
        }
        before = begin;
    }
    Ok((found, Some(before)))
}

/// `GET /events/{id}`
pub(super) async fn one(visit: &Visit, id: &str) -> Result<Response, Problem> {
    let found = visit.doors.pipeline.past_event(EventId(id.into())).await.map_err(Problem::Internal)?;
    let (past, deliveries) = found.ok_or(Problem::NotFound)?;
    let catalog = visit.doors.pipeline.catalog();
    let mut shown = show(&past);
    shown["data"] = past.event.data.to_value();
    shown["deliveries"] = deliveries.iter().map(|delivery| show_delivery(&catalog, delivery)).collect();
    shown["not_queued"] =
        past.not_queued.iter().map(|(no, skip)| json!({ "hook_id": hook_id(&catalog, *no), "why": skip.as_str() })).collect();
    Ok(reply::json(StatusCode::OK, &shown))
}

fn hook_id(catalog: &Catalog, no: crate::model::HookNo) -> Value {
    json!(catalog.hook_by_no(no).map(|hook| hook.id))
}

fn show(past: &PastEvent) -> Value {
    let event = &past.event;
    let attributes: serde_json::Map<String, Value> = event.attributes.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    json!({
        "id": event.id.as_str(),
        "source": &*event.source,
        "event": &*event.name,
        "key": event.key,
        "time": event.time.to_rfc3339(),
        "accepted_at": past.accepted_at.to_rfc3339(),
        "data_bytes": event.data.len(),
        "attributes": attributes,
        "queued_for": past.owes.len(),
    })
}
