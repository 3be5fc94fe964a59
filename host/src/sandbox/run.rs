//! The two calls that hooks make of a loaded handler: `validate` when they change, `handle` for every event.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::abi::{Asked, Reply};
use super::gate::Place;
use super::instance::{Instance, Trace, Turn};
use super::limits::{Budget, Exceeded};
use super::load::NO_HOOK;
use super::{GuestReport, Handler, Inner, Invocation, Sandbox};
use crate::model::{Answer, Failure, FailureCode, GuestRequest, HeaderValue, HookNo, JsonText, Violation};

/// A reason that a handler gives is shown and stored: longer ones are cut.
const REASON_BYTES: usize = 4 << 10;

impl Sandbox {
    /// Asks a handler about a hook's config. The outer failure is the handler's own; violations are relative to `config`.
    pub async fn validate(
        &self,
        handler: &Handler,
        config: &JsonText,
        settings: &JsonText,
    ) -> Result<Result<JsonText, Vec<Violation>>, Failure> {
        let inner = &*self.0;
        let budget = Budget::for_validate(&inner.limits);
        let mut instance = inner.fresh(NO_HOOK).await;
        let turn = Turn { running: &inner.running, hook: NO_HOOK, clock: &inner.clock, budget: &budget, grants: None };
        let (config, settings) = (config.clone(), settings.clone());
        let validated = instance.call(&*handler.bound, turn, |exports, store| exports.validate(store, config, settings)).await?;
        match validated {
            Ok(config) => Ok(Ok(json(config, "the config that validate gave back")?)),
            Err(violations) => Ok(Err(violations)),
        }
    }

    /// Makes one attempt. Whatever the guest does, a report comes back. Dropping the future ends the attempt and drops the instance.
    pub async fn run(&self, invocation: Invocation) -> GuestReport {
        let inner = &*self.0;
        let Invocation { handler, snapshot, hook, limits, grants, .. } = &invocation;
        // What was prepared for one hook is no other hook's business, and an instance of it that was used is no longer what was prepared.
        let reuse = invocation.reuse && snapshot.is_none();
        let bound = snapshot.as_ref().map_or(&*handler.bound, |snapshot| &*snapshot.bound);
        let budget = Budget::for_handle(&inner.limits, *limits);
        let mut instance = match inner.used(handler, reuse, &budget) {
            Some(instance) => instance,
            None => inner.fresh(*hook).await,
        };
        let turn = Turn { running: &inner.running, hook: *hook, clock: &inner.clock, budget: &budget, grants: Some(grants.clone()) };
        let asked = asked(&invocation);
        let reply = instance.call(bound, turn, |exports, store| exports.handle(store, asked)).await;
        let Trace { usage, logs, calls } = instance.finish();
        let counter = match (usage.reused, snapshot) {
            (true, _) => &inner.reused,
            (false, Some(_)) => &inner.prepared,
            (false, None) => &inner.fresh,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if reuse && reply.is_ok() {
            inner.keep(handler, instance);
        }
        GuestReport { usage, logs, calls, outcome: reply.and_then(|reply| answer(reply, &budget)) }
    }
}

impl Inner {
    /// A place for one more instance; one that only waits for reuse makes room for it.
    pub(super) async fn place(&self, hook: HookNo) -> Place {
        if let Some(place) = self.living.try_acquire(hook) {
            return place;
        }
        let handlers: Vec<_> = self.loaded().values().filter_map(std::sync::Weak::upgrade).collect();
        let idle = handlers.iter().find_map(|handler| handler.idle().pop());
        drop(idle);
        self.living.acquire(hook).await
    }

    pub(super) async fn fresh(&self, hook: HookNo) -> Instance {
        let place = self.place(hook).await;
        Instance::new(&self.engine, self.egress.clone(), self.clock.clone(), place, self.attempts())
    }

    /// An instance that was used before and has no more memory already than this attempt may have.
    fn used(&self, handler: &Handler, reuse: bool, budget: &Budget) -> Option<Instance> {
        let instance = if reuse { handler.idle().pop() } else { None };
        instance.filter(|instance| instance.memory() <= budget.run.memory_bytes)
    }

    /// Keeps an instance for the next attempt, unless its time has come or there are enough.
    fn keep(&self, handler: &Handler, mut instance: Instance) {
        instance.attempts_left = instance.attempts_left.saturating_sub(1);
        let mut idle = handler.idle();
        if instance.attempts_left > 0 && idle.len() < self.limits.reuse_idle {
            idle.push(instance);
        } else {
            // Dropping an instance returns its memory to the system: not under the lock.
            drop(idle);
            drop(instance);
        }
    }

    /// How many attempts a new instance may serve.
    fn attempts(&self) -> u32 {
        let (first, last) = (*self.limits.reuse_attempts.start(), *self.limits.reuse_attempts.end());
        let span = u64::from(last.saturating_sub(first)) + 1;
        first + u32::try_from(random() % span).unwrap_or(0)
    }
}

fn asked(invocation: &Invocation) -> Asked {
    Asked {
        event: invocation.event.clone(),
        delivery_id: invocation.delivery_id.clone(),
        hook_id: invocation.hook_id.to_string(),
        number: invocation.number,
        first_tried: invocation.first_tried,
        deadline: invocation.limits.wall,
        test: invocation.test,
        seed: random(),
        config: invocation.config.clone(),
        settings: invocation.settings.clone(),
    }
}

/// From the process's own generator, which the system seeds: a system call for every attempt would cost more than the seed is worth.
fn random() -> u64 {
    // Both halves together, because each alone has bits that every UUID shares.
    let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
    high ^ low
}

/// What the guest said, checked.
fn answer(reply: Reply, budget: &Budget) -> Result<Answer, Failure> {
    let too_large = |bytes: usize| if bytes > budget.answer_bytes { Err(budget.failure(Exceeded::Answer)) } else { Ok(()) };
    match reply {
        Reply::Done(None) => Ok(Answer::Done(None)),
        Reply::Done(Some(text)) => {
            too_large(text.len())?;
            Ok(Answer::Done(Some(json(text, "the value of done")?)))
        }
        Reply::Send(request) => {
            too_large(request_bytes(&request))?;
            Ok(Answer::Send(request))
        }
        Reply::Retry { reason, after } => Err(given(FailureCode::Retry, reason, after)),
        Reply::Reject(reason) => Err(given(FailureCode::Reject, reason, None)),
        Reply::PauseHook(reason) => Err(given(FailureCode::PauseHook, reason, None)),
    }
}

fn request_bytes(request: &GuestRequest) -> usize {
    let value = |value: &HeaderValue| match value {
        HeaderValue::Text(bytes) => bytes.len(),
        HeaderValue::Secret { prefix, name } => prefix.len() + name.len(),
    };
    let headers: usize = request.headers.iter().map(|(name, text)| name.len() + value(text)).sum();
    request.method.len() + request.url.len() + headers + request.body.as_ref().map_or(0, bytes::Bytes::len)
}

fn given(code: FailureCode, reason: String, after: Option<Duration>) -> Failure {
    Failure { code, detail: shortened(reason), after }
}

/// A reason as it may be shown.
pub(super) fn shortened(mut reason: String) -> String {
    if reason.len() > REASON_BYTES {
        let mut end = REASON_BYTES;
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        reason.truncate(end);
        reason.push_str(" …");
    }
    reason
}

fn json(text: String, what: &str) -> Result<JsonText, Failure> {
    JsonText::parse(text.into()).map_err(|error| Failure::new(FailureCode::DecodeError, format!("{what} is not JSON: {error}")))
}
