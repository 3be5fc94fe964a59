//! What an operator does about deliveries: retry, cancel, replay, purge, and the jobs that do it in bulk; and why an event would reach a hook.

use std::sync::atomic::Ordering;

use axum::body::Body;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::deliveries::{kind, show_one};
use super::hooks::find;
use crate::http::body;
use crate::http::door::Visit;
use crate::http::path::Parameters;
use crate::http::problem::Problem;
use crate::http::reply::{self, Response};
use crate::model::{DeliveryId, EventId, JsonText, NewEvent, Origin, Timestamp};
use crate::pipeline::{Bulk, Explanation, Job, JobEnd, Range, RedoError, again};
use crate::store::DeadLetterFilter;

/// `POST /deliveries/{id}/retry`: 202 and the delivery that is queued now.
pub(super) async fn retry(visit: &Visit, id: &str) -> Result<Response, Problem> {
    let queued = visit.doors.pipeline.retry(delivery(id)?).await.map_err(problem)?;
    show_one(visit, queued, StatusCode::ACCEPTED).await
}

/// `POST /deliveries/{id}/cancel`: 200 and the delivery.
pub(super) async fn cancel(visit: &Visit, id: &str) -> Result<Response, Problem> {
    let id = delivery(id)?;
    visit.doors.pipeline.cancel(id).await.map_err(problem)?;
    show_one(visit, id, StatusCode::OK).await
}

fn delivery(id: &str) -> Result<DeliveryId, Problem> {
    id.parse().map_err(|()| Problem::NotFound)
}

fn problem(error: RedoError) -> Problem {
    match error {
        RedoError::NotFound => Problem::NotFound,
        RedoError::Conflict(why) => Problem::Conflict(why),
        RedoError::Change(error) => Problem::Change(error),
    }
}

/// `POST /dead-letters/retry`, `DELETE /dead-letters`: a job over what the filter finds. The filter may stand in the query, in the body, or in both.
pub(super) async fn bulk(visit: &Visit, body: Body, what: Bulk) -> Result<Response, Problem> {
    const FILTERS: [&str; 7] = ["hook", "source", "event", "kind", "code", "from", "to"];
    let mut members = Wishes::read(visit, body).await?;
    let (all, dry_run) = (members.flag("all")?, members.flag("dry_run")?);
    if !all && !FILTERS.iter().any(|name| members.has(name)) {
        let what = format!("say which dead letters: one of {}; or \"all\": true for all of them", FILTERS.join(", "));
        return Err(Problem::Query(what));
    }
    let filter = DeadLetterFilter {
        hook: members.text("hook")?.map(|id| find(visit, &id).map(|hook| hook.no)).transpose()?,
        source: members.text("source")?,
        event: members.text("event")?,
        kind: members.text("kind")?.map(|name| kind(&name)).transpose()?,
        code: members.text("code")?,
        from: members.time("from")?,
        to: members.time("to")?,
    };
    members.end()?;
    let pipeline = &visit.doors.pipeline;
    if dry_run {
        let count = pipeline.count_dead(filter).await.map_err(Problem::Change)?;
        return Ok(reply::json(StatusCode::OK, &json!({ "count": count })));
    }
    let job = pipeline.bulk(what, filter).map_err(Problem::Change)?;
    Ok(reply::json(StatusCode::ACCEPTED, &show_job(&job)))
}

/// `POST /event-hooks/{id}/replay` `{"from"?,"to"?,"only"?,"all"?,"dry_run"?}`
pub(super) async fn replay(visit: &Visit, id: &str, body: Body) -> Result<Response, Problem> {
    let hook = find(visit, id)?;
    let mut members = Wishes::read(visit, body).await?;
    let (all, dry_run) = (members.flag("all")?, members.flag("dry_run")?);
    let (from, to) = (members.time("from")?, members.time("to")?);
    let missing = match members.text("only")?.as_deref() {
        None => false,
        Some("missing") => true,
        Some(other) => return Err(Problem::Query(format!("only: '{other}' is not 'missing'"))),
    };
    members.end()?;
    if from.is_none() && to.is_none() && !all {
        return Err(Problem::Query("say which events: from, to, or both; or \"all\": true for every one that is kept".into()));
    }
    let range = Range { from, to, missing };
    let pipeline = &visit.doors.pipeline;
    if dry_run {
        let count = pipeline.count_replay(hook.no, range).await.map_err(Problem::Change)?;
        return Ok(reply::json(StatusCode::OK, &json!({ "count": count })));
    }
    let job = pipeline.replay(hook.no, range).map_err(Problem::Change)?;
    Ok(reply::json(StatusCode::ACCEPTED, &show_job(&job)))
}

/// `GET /jobs`
pub(super) fn jobs(visit: &Visit) -> Response {
    let data: Vec<Value> = visit.doors.pipeline.jobs().iter().map(|job| show_job(job)).collect();
    reply::json(StatusCode::OK, &json!({ "data": data, "next": Value::Null }))
}

/// `GET /jobs/{id}`; `DELETE` cancels.
pub(super) fn job(visit: &Visit, id: &str, cancel: bool) -> Result<Response, Problem> {
    let job = visit.doors.pipeline.jobs().into_iter().find(|job| job.id == id).ok_or(Problem::NotFound)?;
    if cancel {
        job.cancel();
    }
    Ok(reply::json(if cancel { StatusCode::ACCEPTED } else { StatusCode::OK }, &show_job(&job)))
}

fn show_job(job: &Job) -> Value {
    let (state, ended_at, error) = match job.end() {
        None => ("running", None, None),
        Some((at, JobEnd::Done)) => ("done", Some(at), None),
        Some((at, JobEnd::Canceled)) => ("canceled", Some(at), None),
        Some((at, JobEnd::Failed(error))) => ("failed", Some(at), Some(error)),
    };
    json!({
        "id": job.id,
        "kind": job.kind,
        "state": state,
        "created_at": job.created_at.to_rfc3339(),
        "ended_at": ended_at.map(Timestamp::to_rfc3339),
        "looked_at": job.looked_at.load(Ordering::Relaxed),
        "done": job.done.load(Ordering::Relaxed),
        "error": error,
    })
}

/// `POST /event-hooks/{id}/explain`: an event, or `{"event_id"}` of a retained one.
pub(super) async fn explain(visit: &Visit, id: &str, body: Body) -> Result<Response, Problem> {
    let hook = find(visit, id)?;
    let mut members = Wishes::read(visit, body).await?;
    let pipeline = &visit.doors.pipeline;
    let Some(event_id) = members.text("event_id")? else {
        let event = event(&mut members)?;
        members.end()?;
        return Ok(reply::json(StatusCode::OK, &show_explanation(&pipeline.explain(&hook, &event))));
    };
    members.end()?;
    let found = pipeline.past_event(EventId(event_id.into())).await.map_err(Problem::Internal)?;
    let (past, deliveries) = found.ok_or(Problem::NotFound)?;
    let mut shown = show_explanation(&pipeline.explain(&hook, &again(&past)));
    let skipped = past.not_queued.iter().find(|(no, _)| *no == hook.no).map(|(_, skip)| skip.as_str());
    let of_hook: Vec<Value> = deliveries
        .iter()
        .filter(|delivery| delivery.id.hook == hook.no)
        .map(|delivery| json!({ "id": delivery.id.to_string(), "state": delivery.state.as_str() }))
        .collect();
    let decided = if past.owes.contains(&hook.no) { "queued" } else { skipped.unwrap_or("not-matched") };
    shown["stored"] = json!({ "decision": decided, "accepted_at": past.accepted_at.to_rfc3339(), "deliveries": of_hook });
    Ok(reply::json(StatusCode::OK, &shown))
}

fn event(members: &mut Wishes) -> Result<NewEvent, Problem> {
    let name = |value: Option<String>, field: &str| {
        value.filter(|value| !value.is_empty()).ok_or_else(|| Problem::Query(format!("{field}: required field missing")))
    };
    let source = name(members.text("source")?, "source")?;
    let event = name(members.text("event")?, "event")?;
    let (key, time) = (members.text("key")?, members.time("time")?);
    let data = members.take("data").unwrap_or_else(|| json!({}));
    let data = JsonText::from_value(&data);
    Ok(NewEvent { source: source.into(), name: event.into(), data, key, time, attributes: Vec::new(), origin: Origin::Producer })
}

fn show_explanation(explanation: &Explanation) -> Value {
    let steps: Vec<Value> =
        explanation.steps.iter().map(|step| json!({ "step": step.name, "passes": step.passes, "detail": step.detail })).collect();
    json!({ "fires": explanation.fires, "queued": explanation.queued, "steps": steps })
}

/// What a call wishes: the members of its body, and the parameters of its query. Each is taken once; what is left in the end is not known.
struct Wishes(Map<String, Value>);

impl Wishes {
    async fn read(visit: &Visit, body: Body) -> Result<Self, Problem> {
        let mut members = body::read_object(&visit.head.headers, body, visit.settings.body_wait).await?;
        for (name, value) in Parameters::of(&visit.head.uri)?.all() {
            members.entry(name.to_owned()).or_insert_with(|| Value::String(value.to_owned()));
        }
        members.retain(|_, value| !value.is_null());
        Ok(Self(members))
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Problem::Query(format!("{name}: expected a string"))),
        }
    }

    /// A query has no booleans of its own.
    fn flag(&mut self, name: &str) -> Result<bool, Problem> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(Value::String(text)) if text == "true" => Ok(true),
            Some(Value::String(text)) if text == "false" => Ok(false),
            Some(_) => Err(Problem::Query(format!("{name}: expected true or false"))),
        }
    }

    fn time(&mut self, name: &str) -> Result<Option<Timestamp>, Problem> {
        self.text(name)?.map(|said| super::deliveries::time_of(name, &said)).transpose()
    }

    fn end(self) -> Result<(), Problem> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(Problem::Query(format!("{name}: unknown field"))),
        }
    }
}
