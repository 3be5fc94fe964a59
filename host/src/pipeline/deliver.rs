//! Claiming: one task serves the hooks in turn, one claim each, so that no hook can get ahead of another by having more to do. What a hook may
//! have running is the in-flight rule's business (`policy::inflight`); whether a claim exists is the store's.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use crate::model::{Hook, HookNo, Order, Profile, Timestamp};
use crate::policy::inflight::{Seen, Window};
use crate::store::Claim;

use super::committer::{Action, Item, Request};
use super::{HookEntry, Pipeline, attempt};

/// How others wake the claimer.
#[derive(Default)]
pub(super) struct Dispatch {
    news: Mutex<News>,
    arrived: Notify,
}

#[derive(Default)]
struct News {
    /// Hooks that may have something to claim. May hold one more than once.
    woken: Vec<HookNo>,
    /// Attempts that have ended.
    ended: Vec<Ended>,
    /// The store could not write: claiming more would only repeat attempts.
    rest: bool,
}

/// What the claimer learns from an attempt.
pub(super) struct Ended {
    pub(super) hook: HookNo,
    pub(super) was_retry: bool,
    pub(super) seen: Seen,
}

impl Dispatch {
    /// These hooks owe something new, or something of theirs was settled or changed.
    pub(super) fn wake(&self, hooks: Vec<HookNo>) {
        self.tell(!hooks.is_empty(), |news| news.woken.extend(hooks));
    }

    /// An attempt has ended and its settlement is on its way.
    pub(super) fn ended(&self, ended: Ended) {
        self.tell(true, |news| news.ended.push(ended));
    }

    /// Claim nothing for a moment.
    pub(super) fn rest(&self) {
        self.tell(true, |news| news.rest = true);
    }

    fn tell(&self, worth_it: bool, how: impl FnOnce(&mut News)) {
        if worth_it {
            how(&mut self.news.lock().unwrap_or_else(PoisonError::into_inner));
            self.arrived.notify_one();
        }
    }

    fn take(&self) -> News {
        std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Starts the claimer; it ends when the pipeline stops.
pub(super) fn start(pipeline: &Pipeline) -> tokio::task::JoinHandle<()> {
    let claimer = Claimer {
        in_flight: Arc::new(Semaphore::new(pipeline.0.limits.in_flight)),
        pipeline: pipeline.clone(),
        lanes: HashMap::new(),
        ready: VecDeque::new(),
        timers: BTreeSet::new(),
    };
    #[allow(clippy::disallowed_methods, reason = "`Running::stop` waits for this task by its handle")]
    tokio::spawn(claimer.run())
}

struct Claimer {
    pipeline: Pipeline,
    in_flight: Arc<Semaphore>,
    lanes: HashMap<HookNo, Lane>,
    /// Hooks to serve, each at most once.
    ready: VecDeque<HookNo>,
    /// When to look at a hook again, at most one entry a hook.
    timers: BTreeSet<(Timestamp, HookNo)>,
}

/// What the claimer knows of one hook. Gone when nothing runs and nothing waits.
#[derive(Default)]
struct Lane {
    window: Window,
    running: u32,
    retries: u32,
    is_ready: bool,
    timer: Option<Timestamp>,
}

/// What serving a hook came to.
enum Served {
    /// An attempt was started; there may be more.
    Started,
    /// Nothing to do until then, or until it is woken.
    Idle(Option<Timestamp>),
}

impl Claimer {
    async fn run(mut self) {
        // All of them, not only those that owe: a retired one that owes nothing any more is forgotten.
        for hook in self.pipeline.0.store.hooks() {
            self.wake(hook.no);
        }
        let stopping = self.pipeline.0.stopping.clone();
        while !stopping.is_cancelled() {
            let resting = self.take_news();
            self.wake_due();
            let blocked = if resting { false } else { self.serve_round() };
            self.wait(resting, blocked).await;
        }
    }

    /// Serves hooks in turn until there is nothing to do, no slot, or it has been at it for a while. True if a slot is missing.
    fn serve_round(&mut self) -> bool {
        // One round is bounded so that news are taken in and other tasks of this thread run.
        const CLAIMS: usize = 64;
        for _ in 0..CLAIMS {
            let Some(hook) = self.ready.pop_front() else { return false };
            let Ok(permit) = self.in_flight.clone().try_acquire_owned() else {
                self.ready.push_front(hook);
                return true;
            };
            match self.serve(hook, permit) {
                Served::Started => self.ready.push_back(hook),
                Served::Idle(timer) => self.park(hook, timer),
            }
        }
        false
    }

    async fn wait(&mut self, resting: bool, blocked: bool) {
        const REST: Duration = Duration::from_secs(1);
        let inner = &self.pipeline.0;
        if resting {
            tokio::time::sleep(REST).await;
            return;
        }
        if !self.ready.is_empty() && !blocked {
            tokio::task::yield_now().await;
            return;
        }
        let timer = self.timers.first().map_or(Timestamp::FAR, |(due, _)| *due);
        tokio::select! {
            () = inner.stopping.cancelled() => {}
            () = inner.dispatch.arrived.notified() => {}
            () = inner.clock.sleep_until(timer) => {}
            // The permit itself is given back: the next round takes its own.
            _ = self.in_flight.acquire(), if blocked => {}
        }
    }

    fn take_news(&mut self) -> bool {
        let News { woken, ended, rest } = self.pipeline.0.dispatch.take();
        for Ended { hook, was_retry, seen } in ended {
            let cap = self.concurrency(hook);
            let lane = self.lanes.entry(hook).or_default();
            lane.running = lane.running.saturating_sub(1);
            lane.retries = lane.retries.saturating_sub(u32::from(was_retry));
            lane.window.learn(seen, cap);
            self.wake(hook);
        }
        woken.into_iter().for_each(|hook| self.wake(hook));
        rest
    }

    fn wake(&mut self, hook: HookNo) {
        let lane = self.lanes.entry(hook).or_default();
        if !lane.is_ready {
            lane.is_ready = true;
            self.ready.push_back(hook);
        }
    }

    fn wake_due(&mut self) {
        let now = self.pipeline.0.clock.now();
        while let Some((due, hook)) = self.timers.first().copied().filter(|(due, _)| *due <= now) {
            self.timers.remove(&(due, hook));
            if let Some(lane) = self.lanes.get_mut(&hook) {
                lane.timer = None;
            }
            self.wake(hook);
        }
    }

    fn park(&mut self, hook: HookNo, timer: Option<Timestamp>) {
        let Some(lane) = self.lanes.get_mut(&hook) else { return };
        lane.is_ready = false;
        if let Some(old) = lane.timer.take() {
            self.timers.remove(&(old, hook));
        }
        lane.timer = timer;
        match timer {
            Some(due) => drop(self.timers.insert((due, hook))),
            None if lane.running == 0 && lane.window == Window::default() => drop(self.lanes.remove(&hook)),
            None => {}
        }
    }

    fn concurrency(&self, hook: HookNo) -> u32 {
        let default = self.pipeline.0.settings.load().concurrency;
        let catalog = self.pipeline.0.catalog.load();
        catalog.hook_by_no(hook).and_then(|hook| hook.delivery.concurrency).map_or(default, std::num::NonZeroU32::get)
    }

    /// Starts at most one attempt of this hook.
    fn serve(&mut self, no: HookNo, permit: OwnedSemaphorePermit) -> Served {
        let Some(entry) = self.entry(no) else { return Served::Idle(None) };
        let inner = &self.pipeline.0;
        let (now, state) = (inner.clock.now(), inner.store.hook_state(no));
        if entry.hook.is_paused() || state.paused_by_host.is_some() {
            return Served::Idle(None);
        }
        if let Some(gate) = state.not_before.filter(|gate| *gate > now) {
            return Served::Idle(Some(gate));
        }
        let cap = self.concurrency(no);
        let lane = self.lanes.entry(no).or_default();
        if lane.running >= lane.window.size(cap) {
            return Served::Idle(None);
        }
        let may_retry = lane.retries < lane.window.retries(cap);
        let claim = match self.pipeline.order(&entry.hook) {
            Order::None => self.pipeline.claim_any(no, now, may_retry),
            Order::Hook => self.pipeline.claim_in_order(no, now),
        };
        match claim {
            Ok(claim) => {
                let was_retry = claim.spent > 0;
                lane.running += 1;
                lane.retries += u32::from(was_retry);
                let task = attempt::deliver(self.pipeline.clone(), entry, claim, was_retry, permit);
                self.pipeline.0.attempts.spawn(task);
                Served::Started
            }
            Err(timer) => Served::Idle(timer),
        }
    }

    /// The hook's entry; of a deleted hook only as long as its last ping is owed.
    fn entry(&self, no: HookNo) -> Option<Arc<HookEntry>> {
        let inner = &self.pipeline.0;
        if let Some(entry) = inner.catalog.load().entry(no) {
            return Some(entry.clone());
        }
        let hook = inner.store.hook(no).filter(|_| inner.store.hook_state(no).retired)?;
        if inner.store.counts(no).owed == 0 {
            let (answer, _nobody_waits) = oneshot::channel();
            let request = Request { action: Action::Forget(no), answer };
            // If the queue is full it is forgotten at the next start.
            let _ = inner.items.try_send(Item::Change(Box::new(request)));
            return None;
        }
        Some(Arc::new(HookEntry::new(hook)))
    }
}

impl Pipeline {
    pub(super) fn profile(&self, hook: &Hook) -> Profile {
        hook.delivery.profile.unwrap_or_else(|| self.0.settings.load().profile)
    }

    /// Kong's queue is FIFO; ours promises order only where a hook asks for it.
    fn order(&self, hook: &Hook) -> Order {
        hook.delivery.order.unwrap_or(match self.profile(hook) {
            Profile::Durable => Order::None,
            Profile::Kong => Order::Hook,
        })
    }

    /// A due retry if there may be another one, else the next first attempt. The error is when to look again.
    fn claim_any(&self, no: HookNo, now: Timestamp, may_retry: bool) -> Result<Claim, Option<Timestamp>> {
        let store = &self.0.store;
        let due = store.next_due(no);
        let is_due = may_retry && due.is_some_and(|due| due <= now);
        if let Some(claim) = is_due.then(|| store.claim_due(no, now)).flatten() {
            return Ok(claim);
        }
        let full = due.is_some() && store.counts(no).between_attempts >= self.0.limits.between_attempts;
        let first = if full { None } else { store.claim_first(no) };
        // A retry that is due but has no slot is looked at again when an attempt ends.
        first.ok_or(due.filter(|due| *due > now))
    }

    /// One at a time, and nothing overtakes a delivery that waits for its next attempt.
    fn claim_in_order(&self, no: HookNo, now: Timestamp) -> Result<Claim, Option<Timestamp>> {
        let store = &self.0.store;
        if store.counts(no).running > 0 {
            return Err(None);
        }
        match store.next_due(no) {
            Some(due) if due > now => Err(Some(due)),
            Some(_) => store.claim_due(no, now).ok_or(None),
            None => store.claim_first(no).ok_or(None),
        }
    }
}
