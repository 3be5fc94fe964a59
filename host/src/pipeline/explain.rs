//! Why an event would reach a hook, or would not: the steps of the way of an event, each looked at and none taken.

use std::sync::Arc;

use crate::model::{EventId, Hook, NewEvent, Skip};
use crate::policy::admit::{Admission, admit};
use crate::policy::filter::Filter;
use crate::policy::matching::is_heard;
use crate::policy::throttle;
use crate::store::{DeliveryRecord, PastEvent};

use super::Pipeline;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// `registered`, `source`, `event`, `enabled`, `filter`, `throttle`, `handler`, `paused`, `gate`.
    pub name: &'static str,
    /// It lets the event on.
    pub passes: bool,
    /// Why, for people.
    pub detail: String,
}

/// What would happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The steps, in order; all of them, also behind one that stops.
    pub steps: Vec<Step>,
    /// A delivery would be queued.
    pub queued: bool,
    /// And attempted at once.
    pub fires: bool,
}

/// Steps that decide whether a delivery is queued; those behind them decide when it is attempted.
const QUEUEING: usize = 6;

impl Pipeline {
    /// Explains what `event` would meet if it came in now.
    pub fn explain(&self, hook: &Hook, event: &NewEvent) -> Explanation {
        let mut steps = Vec::new();
        let mut step = |name, passes, detail: String| steps.push(Step { name, passes, detail });
        self.explain_queueing(hook, event, &mut step);
        self.explain_attempt(hook, &mut step);
        let queued = steps.iter().take(QUEUEING).all(|step| step.passes);
        let fires = steps.iter().all(|step| step.passes);
        Explanation { steps, queued, fires }
    }

    fn explain_queueing(&self, hook: &Hook, event: &NewEvent, step: &mut impl FnMut(&'static str, bool, String)) {
        let (catalog, settings) = (self.catalog(), self.0.settings.load());
        match admit(&event.source, &event.name, &event.data, catalog.sources(), settings.unregistered) {
            Admission::Known => step("registered", true, "source and event are registered".into()),
            Admission::Register(_) => {
                step("registered", true, "not registered; it would register itself (setting events.unregistered)".into())
            }
            Admission::Refuse(why) => step("registered", false, format!("{why} (setting events.unregistered)")),
        }
        let heard = |pattern: &str, said: &str, what: &str| {
            let passes = is_heard(pattern, said);
            (passes, format!("the hook listens to {what} '{pattern}', and this is '{said}'"))
        };
        let (passes, detail) = heard(&hook.source, &event.source, "source");
        step("source", passes, detail);
        let (passes, detail) = match &hook.event {
            Some(pattern) => heard(pattern, &event.name, "event"),
            None => (true, "the hook listens to every event of its source".into()),
        };
        step("event", passes, detail);
        let enabled = if hook.is_enabled() { "the hook is enabled" } else { "the hook is not enabled: events are not queued for it" };
        step("enabled", hook.is_enabled(), enabled.into());
        let (passes, detail) = match hook.filter.as_deref().map(|text| (text, Filter::read(text))) {
            None => (true, "the hook has no filter".to_owned()),
            Some((text, filter)) => match filter.and_then(|filter| filter.matches(&event.source, &event.name, &event.data)) {
                Ok(true) => (true, format!("the filter '{text}' matches")),
                Ok(false) => (false, format!("the filter '{text}' does not match")),
                Err(why) => (false, format!("the filter '{text}' cannot judge this event: {why}")),
            },
        };
        step("filter", passes, detail);
        let unique =
            catalog.sources().get(&*event.source).and_then(|events| events.get(&*event.name)).and_then(|about| about.unique.as_deref());
        let (passes, detail) = match throttle::plan(hook, &event.source, &event.name, &event.data, unique) {
            None => (true, "the hook has neither on_change nor snooze".into()),
            Some(throttle) => {
                let mark = self.store().throttle_mark(hook.no, hook.revision, &throttle.key);
                match throttle.decide(mark, self.clock().now()) {
                    Ok(_) => (true, "on_change and snooze let it through".into()),
                    Err(Skip::Unchanged) => (false, "on_change: the data is the same as the last time".into()),
                    Err(Skip::Snoozed) => {
                        let until = mark.map(|mark| mark.until.to_rfc3339()).unwrap_or_default();
                        (false, format!("snooze: the same event was let through, and repeats wait until {until}"))
                    }
                    Err(other @ (Skip::Disabled | Skip::Filtered | Skip::Collapsed)) => (false, other.as_str().into()),
                }
            }
        };
        step("throttle", passes, detail);
    }

    fn explain_attempt(&self, hook: &Hook, step: &mut impl FnMut(&'static str, bool, String)) {
        let catalog = self.catalog();
        let (passes, detail) = match catalog.handler(&hook.handler).map(|installed| &installed.component) {
            Some(Ok(_)) => (true, format!("handler '{}' is installed", hook.handler)),
            Some(Err(why)) => (false, format!("handler '{}' cannot be used: {why}", hook.handler)),
            None => (false, format!("handler '{}' is not installed", hook.handler)),
        };
        step("handler", passes, detail);
        let state = self.store().hook_state(hook.no);
        let (passes, detail) = match &state.paused_by_host {
            _ if hook.is_paused() => (false, "the hook is paused: deliveries queue and nothing is attempted".into()),
            Some(paused) => (false, format!("the host paused the hook at {}: {}", paused.at.to_rfc3339(), paused.reason)),
            None => (true, "the hook is not paused".into()),
        };
        step("paused", passes, detail);
        let gate = state.not_before.filter(|gate| *gate > self.clock().now());
        let detail = match gate {
            Some(gate) => format!("no attempt of this hook starts before {}", gate.to_rfc3339()),
            None => format!("the gate is open; {} deliveries wait before it", self.store().counts(hook.no).owed),
        };
        step("gate", gate.is_none(), detail);
    }

    /// Retained events by id; None: never accepted, or no longer kept.
    pub async fn past_events(&self, ids: Vec<EventId>) -> Result<Vec<Option<PastEvent>>, String> {
        self.read(move |store| store.find_events(&ids)).await
    }

    /// One retained event with all its deliveries.
    pub async fn past_event(&self, id: EventId) -> Result<Option<(PastEvent, Vec<DeliveryRecord>)>, String> {
        self.read(move |store| {
            let found = store.find_events(std::slice::from_ref(&id))?.pop().flatten();
            found.map(|past| store.deliveries_of(&past).map(|deliveries| (past, deliveries))).transpose()
        })
        .await
    }
}

/// A retained event as if it came in again.
pub fn again(past: &PastEvent) -> NewEvent {
    let event = &past.event;
    NewEvent {
        source: Arc::clone(&event.source),
        name: Arc::clone(&event.name),
        data: event.data.clone(),
        key: None,
        time: Some(event.time),
        attributes: event.attributes.clone(),
        origin: event.origin,
    }
}
