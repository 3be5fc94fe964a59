//! One attempt: the guest, then the request it asked for, then the verdict, handed to the one loop to be settled.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use crate::model::{
    Answer, AttemptSummary, Event, Failure, FailureCode, GuestRequest, HeaderValue, LogLevel, LogLine, Profile, Report, ResponseSummary,
    Timestamp, Usage,
};
use crate::policy::inflight::Seen;
use crate::policy::retry::{self, Attempted, Effect, Verdict};
use crate::sandbox::{GuestReport, Invocation, RunLimits};
use crate::store::{Claim, DeadKind, Settled, Settlement};

use super::committer::{Finished, Item};
use super::deliver::Ended;
use super::stats::{Counters, Outcome};
use super::{HookEntry, Installed, Pipeline, snapshots};

/// What an attempt is about.
pub(super) struct Try<'a> {
    pub(super) entry: &'a HookEntry,
    pub(super) event: Arc<Event>,
    pub(super) delivery_id: String,
    pub(super) number: u32,
    pub(super) first_tried: Timestamp,
    /// For `/test` and `/ping`.
    pub(super) test: bool,
}

/// The task of a claimed delivery.
pub(super) async fn deliver(pipeline: Pipeline, entry: Arc<HookEntry>, claim: Claim, was_retry: bool, permit: OwnedSemaphorePermit) {
    let inner = &pipeline.0;
    Counters::add(&inner.counters.running, 1);
    let hook = claim.id.hook;
    let started = inner.clock.now();
    let first_tried = claim.first_tried.unwrap_or(started);
    let (finished, seen) = match load(&pipeline, &claim).await {
        Ok(event) => {
            let number = claim.spent + 1;
            let one = Try { entry: &entry, event, delivery_id: claim.id.to_string(), number, first_tried, test: false };
            let report = run(&pipeline, one).await;
            let seen = seen(&report);
            (settlement(&pipeline, &entry, &claim, first_tried, report), seen)
        }
        Err(reason) => {
            let verdict = Settled::Dead { kind: DeadKind::Quarantined, reason };
            ((Settlement { verdict, attempt: None, hook_state: None }, Effect::None), Seen::Failed)
        }
    };
    // Fails only when the committer is gone: the claim is dropped and the attempt is made again at the next start.
    let (settlement, effect) = finished;
    let _ = inner.items.send(Item::Settle(Box::new(Finished { claim, settlement, effect }))).await;
    inner.counters.running.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    inner.dispatch.ended(Ended { hook, was_retry, seen });
    drop(permit);
}

/// The event, from memory or, for older ones, from the journal.
async fn load(pipeline: &Pipeline, claim: &Claim) -> Result<Arc<Event>, String> {
    let (store, no) = (&pipeline.0.store, claim.id.event);
    if let Some(event) = store.cached_event(no) {
        return Ok(event);
    }
    let store = store.clone();
    match tokio::task::spawn_blocking(move || store.event(no)).await {
        Ok(Ok(Some(event))) => Ok(event),
        Ok(Ok(None)) => Err("the event is no longer in the journal".into()),
        Ok(Err(error)) => Err(format!("the event cannot be read: {error}")),
        Err(panic) => Err(format!("the event cannot be read: {panic}")),
    }
}

/// Runs the handler and, for `send`, the request after it. Never fails: a failure is in the report.
pub(super) async fn run(pipeline: &Pipeline, one: Try<'_>) -> Report {
    let clock = &pipeline.0.clock;
    let (started, since) = (clock.now(), clock.instant());
    let mut report = match AssertUnwindSafe(guest_and_request(pipeline, &one)).catch_unwind().await {
        Ok(report) => report,
        Err(_) => failed(Failure::new(FailureCode::HostBug, "the host panicked; its log has the backtrace")),
    };
    report.started = started;
    report.duration = clock.instant() - since;
    log_lines(&one.entry.hook.id, &one.delivery_id, &report.logs);
    report
}

async fn guest_and_request(pipeline: &Pipeline, one: &Try<'_>) -> Report {
    let inner = &pipeline.0;
    let hook = &one.entry.hook;
    let catalog = inner.catalog.load_full();
    let Some(installed) = catalog.handler(&hook.handler) else {
        return failed(Failure::new(FailureCode::HandlerUnusable, format!("handler '{}' is not installed", hook.handler)));
    };
    let limits = inner.settings.load().run_limits(hook);
    let deadline = limits.wall;
    let since = inner.clock.instant();
    let guest = match guest(pipeline, one, installed, limits).await {
        Ok(guest) => guest,
        Err(failure) => return failed(failure),
    };
    let GuestReport { usage, logs, calls, outcome } = guest;
    let mut report = Report { usage, logs, calls, ..failed(Failure::new(FailureCode::HostBug, "")) };
    report.outcome = match outcome {
        Ok(Answer::Done(value)) => Ok(value),
        Ok(Answer::Send(request)) => {
            let left = deadline.saturating_sub(inner.clock.instant() - since);
            let request = with_traceparent(*request, &one.event);
            match inner.egress.send(request, &installed.grants, left).await {
                Ok(response) => {
                    report.response = Some(response);
                    Ok(None)
                }
                Err(error) => Err(Failure::new(error.code, format!("{}: {}", error.target, error.detail))),
            }
        }
        Err(failure) => Err(failure),
    };
    report
}

async fn guest(pipeline: &Pipeline, one: &Try<'_>, installed: &Installed, limits: RunLimits) -> Result<GuestReport, Failure> {
    let inner = &pipeline.0;
    let (hook, settings) = (&one.entry.hook, inner.settings.load());
    let profile = pipeline.profile(hook);
    #[cfg(feature = "bench")]
    if settings.native_handler && hook.handler == "webhook" {
        return Ok(super::native::webhook(one.entry, &one.event, inner.clock.now()));
    }
    let handler = installed.component.clone().map_err(|reason| Failure::new(FailureCode::HandlerUnusable, reason))?;
    let snapshot = snapshots::of(pipeline, one.entry, &handler, installed.prepare_settings(profile), &limits);
    // Kong runs `/test` under the pid 42.
    let text = if one.test { settings.for_handler(&hook.handler, profile, 42) } else { installed.settings(profile).clone() };
    let invocation = Invocation {
        handler,
        snapshot,
        hook: hook.no,
        hook_id: hook.id,
        delivery_id: one.delivery_id.clone(),
        event: one.event.clone(),
        number: one.number,
        first_tried: one.first_tried,
        test: one.test,
        config: one.entry.config.clone(),
        settings: text,
        limits,
        grants: installed.grants.clone(),
        reuse: installed.record.reuse_across_hooks,
    };
    drop(settings);
    Ok(inner.sandbox.run(invocation).await)
}

fn failed(failure: Failure) -> Report {
    Report {
        started: Timestamp::default(),
        duration: Duration::ZERO,
        usage: Usage::default(),
        logs: Vec::new(),
        calls: Vec::new(),
        response: None,
        outcome: Err(failure),
    }
}

/// Adds `traceparent` (W3C Trace Context) where the handler set none: the producer's trace with a span of our own, or a trace named after the event.
fn with_traceparent(mut request: GuestRequest, event: &Event) -> GuestRequest {
    if request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("traceparent")) {
        return request;
    }
    let given = event.attributes.iter().find(|(name, _)| name == "traceparent").map(|(_, value)| value.as_str());
    let (trace, flags) = match given.map(|value| value.split('-').collect::<Vec<_>>()).as_deref() {
        Some([_, trace, _, flags]) => ((*trace).to_owned(), (*flags).to_owned()),
        _ => (event.id.as_str().trim_start_matches("evt_").to_owned(), "00".to_owned()),
    };
    let span = uuid::Uuid::new_v4().as_u64_pair().1;
    let value = format!("00-{trace}-{span:016x}-{flags}");
    request.headers.push(("traceparent".into(), HeaderValue::Text(value.into_bytes())));
    request
}

fn seen(report: &Report) -> Seen {
    match &report.outcome {
        Ok(_) if report.response.as_ref().is_none_or(|response| (200..300).contains(&response.status)) => Seen::Delivered(report.duration),
        Ok(_) => Seen::Failed,
        Err(failure) if matches!(failure.code, FailureCode::Timeout | FailureCode::Deadline) => Seen::TimedOut,
        Err(_) => Seen::Failed,
    }
}

/// Judges the attempt and words the settlement. What it means for the hook is applied by the one loop.
fn settlement(pipeline: &Pipeline, entry: &HookEntry, claim: &Claim, first_tried: Timestamp, report: Report) -> (Settlement, Effect) {
    let inner = &pipeline.0;
    let (hook, settings) = (&entry.hook, inner.settings.load());
    let own = hook.delivery.retry.as_ref().map(|retry| retry.schedule_ms.iter().copied().map(Duration::from_millis).collect::<Vec<_>>());
    let now = inner.clock.now();
    let attempted = Attempted {
        spent: claim.spent,
        crashes: claim.crashes,
        first_tried,
        now,
        jitter: jitter(),
        profile: pipeline.profile(hook),
        schedule: own.as_deref().unwrap_or(&settings.schedule),
    };
    let judgement = retry::judge(&attempted, ended(&report, now));
    let (verdict, outcome) = match judgement.verdict {
        Verdict::Delivered => (Settled::Delivered, Outcome::Delivered),
        Verdict::RetryAt { due, spent, crashes } => (Settled::RetryAt { due, spent, first_tried, crashes }, Outcome::Retry),
        Verdict::Exhausted(reason) => (Settled::Dead { kind: DeadKind::Exhausted, reason }, Outcome::Exhausted),
        Verdict::Quarantined(reason) => (Settled::Dead { kind: DeadKind::Quarantined, reason }, Outcome::Quarantined),
    };
    inner.counters.attempt(outcome, failure_code(&report, outcome), report.usage.fuel);
    log_settled(entry, claim, &report, outcome);
    if attempted.profile == Profile::Kong {
        log_as_kong(&report, outcome);
    }
    let summary = summary(claim.spent + 1, report, outcome == Outcome::Delivered);
    (Settlement { verdict, attempt: Some(summary), hook_state: None }, judgement.effect)
}

fn ended(report: &Report, now: Timestamp) -> retry::Ended<'_> {
    match (&report.outcome, &report.response) {
        (Err(failure), _) => retry::Ended::Failed(failure),
        (Ok(_), None) => retry::Ended::Done,
        (Ok(_), Some(response)) => retry::Ended::Answered {
            status: response.status,
            retry_after: header(response, "retry-after").and_then(|value| retry::retry_after(value, now)),
            control: header(response, "webhook-delivery"),
        },
    }
}

fn header<'a>(response: &'a ResponseSummary, name: &str) -> Option<&'a str> {
    let (_, value) = response.headers.iter().find(|(header, _)| header == name)?;
    std::str::from_utf8(value).ok()
}

fn failure_code(report: &Report, outcome: Outcome) -> Option<FailureCode> {
    match (&report.outcome, outcome) {
        (Err(failure), _) => Some(failure.code),
        (Ok(_), Outcome::Delivered) => None,
        (Ok(_), Outcome::Retry | Outcome::Exhausted | Outcome::Quarantined) => Some(FailureCode::Status),
    }
}

/// What is stored: of a delivered attempt the figures, of a failed one also what helps to understand it.
pub(super) fn summary(number: u32, report: Report, delivered: bool) -> AttemptSummary {
    const BODY_MAX: usize = 16 << 10;
    let status = report.response.as_ref().map(|response| response.status);
    let (logs, calls) = if delivered { (Vec::new(), Vec::new()) } else { (report.logs, report.calls) };
    let response = report.response.filter(|_| !delivered);
    let failure = match report.outcome {
        Err(failure) => Some(failure),
        Ok(_) if delivered => None,
        Ok(_) => Some(Failure::new(FailureCode::Status, format!("the destination answered {}", status.unwrap_or_default()))),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(BODY_MAX)]).into_owned();
    AttemptSummary {
        number,
        started: report.started,
        duration_ms: u64::try_from(report.duration.as_millis()).unwrap_or(u64::MAX),
        usage: report.usage,
        status,
        failure,
        logs,
        calls,
        response_headers: response.iter().flat_map(|response| &response.headers).map(|(name, value)| (name.clone(), text(value))).collect(),
        response_body: response.map(|response| text(&response.body)).unwrap_or_default(),
    }
}

/// 0 to 1. From the random bits of a UUID: good enough to spread retries.
fn jitter() -> f64 {
    let bits = uuid::Uuid::new_v4().as_u64_pair().1 & 0xffff_ffff;
    bits as f64 / f64::from(u32::MAX)
}

fn log_settled(entry: &HookEntry, claim: &Claim, report: &Report, outcome: Outcome) {
    let (hook, delivery) = (&entry.hook.id, claim.id);
    let (attempt, ms, fuel) = (claim.spent + 1, report.duration.as_millis() as u64, report.usage.fuel);
    let status = report.response.as_ref().map(|response| response.status);
    match outcome {
        Outcome::Delivered => tracing::debug!(%hook, %delivery, attempt, ms, fuel, status, outcome = outcome.as_str(), "delivery.settled"),
        Outcome::Retry | Outcome::Exhausted | Outcome::Quarantined => {
            let (code, detail) = match &report.outcome {
                Err(failure) => (failure.code.as_str(), failure.detail.as_str()),
                Ok(_) => (FailureCode::Status.as_str(), ""),
            };
            tracing::warn!(%hook, %delivery, attempt, ms, fuel, status, outcome = outcome.as_str(), code, detail, "delivery.settled");
        }
    }
}

/// The lines of Kong's queue, for whoever watches its log for them.
fn log_as_kong(report: &Report, outcome: Outcome) {
    const QUEUE: &str = "[] queue event-hooks:";
    if let Err(failure) = &report.outcome {
        tracing::warn!("{QUEUE} handler could not process entries: {}", failure.detail);
    }
    if outcome == Outcome::Exhausted {
        tracing::error!("{QUEUE} {}", retry::KONG_GAVE_UP);
    }
}

/// What handlers write goes to the host's log as well, at the nearest of its levels.
pub(super) fn log_lines(hook: &Uuid, delivery: &str, lines: &[LogLine]) {
    for LogLine { level, text } in lines {
        let kong = level.as_str();
        match level {
            LogLevel::Debug => tracing::debug!(target: "handler", %hook, %delivery, level = kong, "{text}"),
            LogLevel::Info | LogLevel::Notice => tracing::info!(target: "handler", %hook, %delivery, level = kong, "{text}"),
            LogLevel::Warn => tracing::warn!(target: "handler", %hook, %delivery, level = kong, "{text}"),
            LogLevel::Err | LogLevel::Crit | LogLevel::Alert | LogLevel::Emerg => {
                tracing::error!(target: "handler", %hook, %delivery, level = kong, "{text}");
            }
        }
    }
}
