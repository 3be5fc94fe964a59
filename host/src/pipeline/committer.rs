//! The one loop: everything that needs order is decided here, on its own thread, and committed in groups. A group is one row in the journal; while
//! its fsync runs, the next group gathers in the queue.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use crate::model::{HookNo, HookState, Skip};
use crate::policy::collapse::Collapse;
use crate::policy::retry::Effect;
use crate::store::{Accept, Change, Claim, Durability, Fingerprint, Group, Remembered, Settlement, StoreError, Writer};

use super::accept::{AcceptResult, Batch, Prepared};
use super::stats::Counters;
use super::{AcceptError, Accepted, ChangeError, Installed, Pipeline};

mod change;

pub(super) use change::{Action, ChangeRefused, ChangeResult, PingOf, Request};

/// What waits for the one loop.
pub(super) enum Item {
    /// A request's events.
    Accept(Batch),
    /// A finished attempt.
    Settle(Box<Finished>),
    /// A change of hooks, sources or handlers.
    Change(Box<Request>),
    /// The host stops; nothing comes after it.
    Stop,
}

/// A finished attempt. `effect` makes the settlement's hook state, here, where settlements have an order.
pub(super) struct Finished {
    pub(super) claim: Claim,
    pub(super) settlement: Settlement,
    pub(super) effect: Effect,
}

/// Starts the loop's thread.
pub(super) fn spawn(pipeline: Pipeline, writer: Writer, queue: mpsc::Receiver<Item>) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Handle::current();
    std::thread::Builder::new().name("committer".into()).spawn(move || {
        let last = (pipeline.0.clock.instant(), 0);
        Loop { pipeline, queue, runtime, last, more: false, collapse: RefCell::default() }.run(writer);
    })
}

struct Loop {
    pipeline: Pipeline,
    queue: mpsc::Receiver<Item>,
    runtime: tokio::runtime::Handle,
    /// When the last group was begun, and how many requests it held.
    last: (Instant, usize),
    /// The store has more to copy.
    more: bool,
    /// What hooks of profile `kong` were given in the last seconds.
    collapse: RefCell<Collapse>,
}

/// What has to happen once a group is on disk, or has failed.
#[derive(Default)]
struct After {
    batches: Vec<(oneshot::Sender<AcceptResult>, Vec<Accepted>)>,
    changes: Vec<(oneshot::Sender<ChangeResult>, ChangeResult)>,
    /// Hooks that owe something new, or of which something was settled or changed.
    woken: Vec<HookNo>,
    /// Hooks whose state this group changes.
    states: HashMap<HookNo, HookState>,
    throttled: u64,
    /// Hooks that this group makes, changes or deletes.
    changed: Vec<HookNo>,
    hooks_changed: bool,
    sources_changed: bool,
    installed: Vec<Installed>,
    must_sync: bool,
    stop: bool,
}

impl Loop {
    fn run(mut self, mut writer: Writer) {
        loop {
            let first = match self.next(&writer) {
                Next::Item(item) => item,
                Next::SyncDue => {
                    log_failure(writer.sync());
                    self.maintain(&mut writer);
                    continue;
                }
                Next::Closed => break,
            };
            if self.group(&mut writer, first) {
                break;
            }
            self.maintain(&mut writer);
        }
        log_failure(writer.close());
    }

    /// Lets the store do what only the committer may do.
    fn maintain(&mut self, writer: &mut Writer) {
        let more = writer.maintain();
        self.more = matches!(more, Ok(true));
        log_failure(more);
    }

    /// Waits for an item, or until settlements have to be synced, or until it is time to look after the segments.
    fn next(&mut self, writer: &Writer) -> Next {
        const IDLE: Duration = Duration::from_secs(1);
        const BUSY: Duration = Duration::from_millis(5);
        let limit = match writer.unsynced_since() {
            Some(since) => self.pipeline.0.limits.sync_lag.saturating_sub(self.pipeline.0.clock.instant() - since),
            None if self.more => BUSY,
            None => IDLE,
        };
        match self.queue.try_recv() {
            Ok(item) => return Next::Item(item),
            Err(mpsc::error::TryRecvError::Disconnected) => return Next::Closed,
            Err(mpsc::error::TryRecvError::Empty) => {}
        }
        match self.runtime.block_on(async { tokio::time::timeout(limit, self.queue.recv()).await }) {
            Ok(Some(item)) => Next::Item(item),
            Ok(None) => Next::Closed,
            Err(_) => Next::SyncDue,
        }
    }

    /// Decides and commits one group. True when the host stops.
    fn group(&mut self, writer: &mut Writer, first: Item) -> bool {
        let limits = self.pipeline.0.limits.clone();
        let clock = self.pipeline.0.clock.clone();
        self.gather(&first);
        let started = clock.instant();
        let lag_is_over = writer.unsynced_since().is_some_and(|since| started - since >= limits.sync_lag);
        let mut after = After { must_sync: lag_is_over, ..After::default() };
        let mut group = writer.begin();
        let mut next = Some(first);
        while let Some(item) = next {
            let ends_group = matches!(item, Item::Change(_) | Item::Stop);
            self.decide(item, &mut group, &mut after);
            if ends_group || group.bytes() >= limits.group_bytes || clock.instant() - started >= limits.group_deciding {
                break;
            }
            next = self.queue.try_recv().ok();
        }
        self.last = (started, after.batches.len());
        let durability = if after.must_sync { Durability::Synced } else { Durability::Lazy };
        let committed = if group.is_empty() { Ok(None) } else { group.commit(durability) };
        self.finish(committed.map(drop), after)
    }

    /// When requests come close together, waits a moment for more of them to share the sync: each one costs a good part of a millisecond of
    /// processor time, whatever it holds. A lone request never waits.
    fn gather(&self, first: &Item) {
        const SIBLINGS: usize = 4;
        let (begun, requests) = self.last;
        if requests < SIBLINGS || !matches!(first, Item::Accept(_) | Item::Settle(_)) {
            return;
        }
        let gap = self.pipeline.0.limits.group_gap.saturating_sub(self.pipeline.0.clock.instant() - begun);
        std::thread::sleep(gap);
    }

    fn decide(&self, item: Item, group: &mut Group<'_>, after: &mut After) {
        match item {
            Item::Accept(batch) => {
                after.must_sync = true;
                self.decide_batch(batch, group, after);
            }
            Item::Settle(settled) => {
                let Finished { claim, settlement, effect } = *settled;
                let hook = claim.id.hook;
                let hook_state = effect.on(&self.state_of(hook, after));
                if let Some(state) = &hook_state {
                    after.states.insert(hook, state.clone());
                }
                after.woken.push(hook);
                group.settle(claim, Settlement { hook_state, ..settlement });
            }
            Item::Change(request) => {
                after.must_sync = true;
                let Request { action, answer } = *request;
                let result = self.decide_change(action, group, after);
                after.changes.push((answer, result));
            }
            Item::Stop => {
                after.must_sync = true;
                after.stop = true;
            }
        }
    }

    /// A hook's state as this group leaves it so far.
    fn state_of(&self, hook: HookNo, after: &After) -> HookState {
        after.states.get(&hook).cloned().unwrap_or_else(|| self.pipeline.0.store.hook_state(hook))
    }

    /// All of a request or nothing: every key is looked at before the first event is taken.
    fn decide_batch(&self, batch: Batch, group: &mut Group<'_>, after: &mut After) {
        let Batch { events, register, answer, _bytes } = batch;
        let duplicates = match find_duplicates(&events, group) {
            Ok(duplicates) => duplicates,
            Err(error) => {
                // Whoever asked may have gone away; the answer is then nobody's.
                let _ = answer.send(Err(error));
                return;
            }
        };
        let known = self.pipeline.0.catalog.load();
        for (source, event, about) in register {
            if !known.sources().get(&source).is_some_and(|events| events.contains_key(&event)) {
                after.sources_changed = true;
                group.change(Change::PutSource { source, event, about });
            }
        }
        let accepted = events.into_iter().zip(duplicates).map(|(event, duplicate)| match duplicate {
            Some(first) => Accepted { id: first.event, key: event.key, deliveries: first.deliveries, duplicate: true },
            None => self.take(event, group, after),
        });
        let accepted = accepted.collect();
        after.batches.push((answer, accepted));
    }

    /// Takes one event: what is left is to ask each hook's throttle, in order.
    fn take(&self, event: Prepared, group: &mut Group<'_>, after: &mut After) -> Accepted {
        let Prepared { event, id, key, remember, matches, mut not_queued } = event;
        let now = self.pipeline.0.clock.now();
        let (mut owes, mut marks) = (Vec::with_capacity(matches.len()), Vec::new());
        for wanted in matches {
            // A hook that was deleted since the snapshot was taken gets nothing.
            let Some(revision) = group.hook_revision(wanted.hook) else { continue };
            if wanted.collapse.is_some_and(|event| !self.collapse.borrow_mut().passes(wanted.hook, event, now)) {
                after.throttled += 1;
                not_queued.push((wanted.hook, Skip::Collapsed));
                continue;
            }
            if let Some(throttle) = wanted.throttle {
                match throttle.decide(group.throttle_mark(wanted.hook, revision, &throttle.key), now) {
                    Ok(mark) => marks.push((wanted.hook, revision, throttle.key, mark)),
                    Err(skip) => {
                        after.throttled += 1;
                        tracing::warn!(hook = %wanted.hook, event = %id, why = skip.as_str(), "ignoring event_hooks event");
                        not_queued.push((wanted.hook, skip));
                        continue;
                    }
                }
            }
            owes.push(wanted.hook);
        }
        let deliveries = u32::try_from(owes.len()).unwrap_or(u32::MAX);
        after.woken.extend_from_slice(&owes);
        group.accept(Accept { event, owes, not_queued, remember, throttle: marks });
        Accepted { id, key, deliveries, duplicate: false }
    }

    /// Tells everybody how the group ended. True when the host stops.
    fn finish(&self, committed: Result<(), StoreError>, after: After) -> bool {
        let inner = &self.pipeline.0;
        if let Err(error) = &committed {
            tracing::error!(%error, "a commit failed; nothing of its group was accepted");
            inner.dispatch.rest();
            self.collapse.borrow_mut().clear();
        } else {
            self.renew_catalog(&after);
            self.log_pauses(&after);
            Counters::add(&inner.counters.throttled, after.throttled);
        }
        let After { batches, changes, woken, stop, .. } = after;
        for (answer, accepted) in batches {
            // A requester that has gone away is not told; its events are accepted all the same.
            let _ = answer.send(committed.as_ref().map(|()| accepted).map_err(store_is_down));
        }
        for (answer, result) in changes {
            let result = match &committed {
                Ok(()) => result,
                Err(error) => Err(ChangeRefused::Error(change_is_down(error))),
            };
            let _ = answer.send(result);
        }
        inner.dispatch.wake(woken);
        stop
    }

    fn log_pauses(&self, after: &After) {
        for (no, state) in &after.states {
            let (Some(paused), Some(hook)) = (&state.paused_by_host, self.pipeline.0.store.hook(*no)) else { continue };
            tracing::error!(hook = %hook.id, reason = paused.reason, "hook.paused: its events queue and nothing is attempted until `paused` is written");
        }
    }

    fn renew_catalog(&self, after: &After) {
        let inner = &self.pipeline.0;
        if !after.hooks_changed && !after.sources_changed && after.installed.is_empty() {
            return;
        }
        let mut catalog = (*inner.catalog.load_full()).clone();
        if after.hooks_changed {
            catalog = catalog.with_hooks(&inner.store);
        }
        if after.sources_changed {
            catalog = catalog.with_sources(inner.store.sources());
        }
        for installed in &after.installed {
            catalog = catalog.with_handler(installed.clone());
        }
        inner.catalog.store(Arc::new(catalog));
        inner.snapshots.changed(&after.changed);
        if !after.installed.is_empty() {
            inner.snapshots.all_changed();
        }
    }
}

enum Next {
    Item(Item),
    SyncDue,
    Closed,
}

/// For each event the first one with its key, if its key was seen before with the same content.
fn find_duplicates(events: &[Prepared], group: &Group<'_>) -> Result<Vec<Option<Remembered>>, AcceptError> {
    let mut here: HashMap<Fingerprint, Remembered> = HashMap::new();
    let mut duplicates = Vec::with_capacity(events.len());
    for (index, event) in events.iter().enumerate() {
        let Some((fingerprint, content)) = &event.remember else {
            duplicates.push(None);
            continue;
        };
        let first = here.get(fingerprint).cloned().or_else(|| group.remembered(fingerprint));
        match first {
            Some(first) if first.content == *content => duplicates.push(Some(first)),
            Some(_) => return Err(AcceptError::KeyReused { index, key: event.key.clone().unwrap_or_default() }),
            None => {
                let deliveries = u32::try_from(event.matches.len()).unwrap_or(u32::MAX);
                here.insert(*fingerprint, Remembered { content: *content, event: event.id.clone(), deliveries });
                duplicates.push(None);
            }
        }
    }
    Ok(duplicates)
}

fn store_is_down(error: &StoreError) -> AcceptError {
    match error {
        StoreError::Full { .. } => AcceptError::Full { reason: error.to_string(), retry_after: Duration::from_secs(5) },
        StoreError::Io { .. } | StoreError::Corrupt { .. } | StoreError::Conflict { .. } => AcceptError::Store(error.to_string()),
    }
}

fn change_is_down(error: &StoreError) -> ChangeError {
    match error {
        StoreError::Full { .. } => ChangeError::Busy(error.to_string()),
        StoreError::Io { .. } | StoreError::Corrupt { .. } | StoreError::Conflict { .. } => ChangeError::Store(error.to_string()),
    }
}

fn log_failure<T>(result: Result<T, StoreError>) {
    if let Err(error) = result {
        tracing::error!(%error, "the store failed");
    }
}
