//! The memory of the store: what the journal says, applied. One lock holds it, and nothing that waits for a disk happens under it.
//!
//! `apply` is the one way in, for a commit that was just made and for one that is read again at start. It also notes what changed, so that folding
//! need not look for it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::cache::Cache;
use super::fold::Folding;
use super::item::{Dead, Effect, Standing, Waiting};
use super::nouns::{Change, Counts, EventBrief, Settled};
use super::owed::OwedSet;
use super::queue::Queue;
use super::record::AcceptNote;
use super::throttle::{MarkKey, Throttle};
use super::window::Window;
use crate::model::{AttemptSummary, CommitNo, DeliveryId, EventNo, Generation, HandlerRecord, Hook, HookNo, HookState, Sources, Timestamp};

/// One hook.
#[derive(Debug)]
pub(super) struct HookEntry {
    pub(super) hook: Arc<Hook>,
    pub(super) state: HookState,
    pub(super) queue: Queue,
}

/// A dead letter and, once somebody has looked, what lists show of its event.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DeadEntry {
    pub(super) dead: Dead,
    pub(super) brief: Option<EventBrief>,
}

/// The dead letters that the catalog does not hold yet, and which events have any at all.
#[derive(Debug, Default)]
pub(super) struct DeadLetters {
    /// None: removed.
    pub(super) fresh: BTreeMap<DeliveryId, Option<Arc<DeadEntry>>>,
    /// Events with a dead letter, in memory or in the catalog. Such an event's record is kept.
    pub(super) events: OwedSet,
    /// In the catalog.
    pub(super) folded_count: u64,
    pub(super) folded_bytes: u64,
}

/// What changed since it was last folded.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    pub(super) hooks: BTreeSet<HookNo>,
    pub(super) states: BTreeSet<HookNo>,
    pub(super) sources: BTreeSet<(String, String)>,
    pub(super) handlers: BTreeSet<String>,
    pub(super) marks: HashSet<MarkKey>,
    pub(super) owed: BTreeSet<(HookNo, u64)>,
    pub(super) waiting: HashSet<DeliveryId>,
    pub(super) replays: BTreeSet<DeliveryId>,
    pub(super) dead: BTreeSet<DeliveryId>,
    pub(super) moved: BTreeSet<EventNo>,
}

impl Dirty {
    pub(super) fn len(&self) -> usize {
        let entities = self.hooks.len() + self.states.len() + self.sources.len() + self.handlers.len();
        let deliveries = self.owed.len() + self.waiting.len() + self.replays.len() + self.dead.len();
        entities + deliveries + self.marks.len() + self.moved.len()
    }

    /// Puts back what could not be folded.
    pub(super) fn merge(&mut self, other: Dirty) {
        self.hooks.extend(other.hooks);
        self.states.extend(other.states);
        self.sources.extend(other.sources);
        self.handlers.extend(other.handlers);
        self.marks.extend(other.marks);
        self.owed.extend(other.owed);
        self.waiting.extend(other.waiting);
        self.replays.extend(other.replays);
        self.dead.extend(other.dead);
        self.moved.extend(other.moved);
    }
}

/// Everything.
#[derive(Debug)]
pub(super) struct State {
    pub(super) hooks: BTreeMap<HookNo, HookEntry>,
    pub(super) next_hook: HookNo,
    pub(super) next_event: EventNo,
    /// The last commit that is applied here.
    pub(super) last: CommitNo,
    /// The last commit that is known to be synced. What lies between the two are settlements.
    pub(super) synced: CommitNo,
    /// The last commit that the catalog holds, durably.
    pub(super) folded: CommitNo,
    pub(super) sources: Arc<Sources>,
    pub(super) handlers: BTreeMap<String, Arc<HandlerRecord>>,
    pub(super) throttle: Throttle,
    pub(super) throttle_most: usize,
    pub(super) throttle_forgotten: u64,
    pub(super) dead: DeadLetters,
    /// Events whose record was copied out of a segment that went, and where to.
    pub(super) moved: BTreeMap<EventNo, CommitNo>,
    pub(super) cache: Cache,
    pub(super) window: Window,
    /// The segment that was just sealed, until its slot has index and summary.
    pub(super) sealing: Option<Arc<Window>>,
    /// When events were accepted, sampled, for all segments.
    pub(super) samples: BTreeMap<EventNo, Timestamp>,
    pub(super) owed_total: u64,
    pub(super) dirty: Dirty,
    /// Entities changed since they were exported.
    pub(super) unexported: bool,
    /// The keeper would fold, but the last commits are not synced: whoever syncs them takes the values.
    pub(super) fold_wanted: bool,
    /// The values, taken.
    pub(super) fold_taken: Option<Folding>,
}

/// A hook's key of a delivery.
fn key(id: DeliveryId) -> (EventNo, Generation) {
    (id.event, id.generation)
}

fn delivery(hook: HookNo, (event, generation): (EventNo, Generation)) -> DeliveryId {
    DeliveryId { event, hook, generation }
}

impl State {
    /// An empty store.
    pub(super) fn new(cache: Cache, throttle_most: usize) -> Self {
        Self {
            hooks: BTreeMap::new(),
            next_hook: HookNo(1),
            next_event: EventNo(1),
            last: CommitNo(0),
            synced: CommitNo(0),
            folded: CommitNo(0),
            sources: Arc::default(),
            handlers: BTreeMap::new(),
            throttle: Throttle::default(),
            throttle_most,
            throttle_forgotten: 0,
            dead: DeadLetters::default(),
            moved: BTreeMap::new(),
            cache,
            window: Window::new(CommitNo(1), EventNo(1)),
            sealing: None,
            samples: BTreeMap::new(),
            owed_total: 0,
            dirty: Dirty::default(),
            unexported: false,
            fold_wanted: false,
            fold_taken: None,
        }
    }

    /// Takes in what one item of commit `commit` means.
    pub(super) fn apply(&mut self, commit: CommitNo, at: Timestamp, effect: Effect) {
        match effect {
            Effect::Accept { no, note, .. } => self.accept(no, note),
            Effect::Settle { id, verdict, attempt, hook_state } => {
                if let Some(state) = hook_state {
                    self.put_hook_state(id.hook, state);
                }
                self.settle(id, at, verdict, attempt);
            }
            Effect::Change(change) => self.change(at, change),
            Effect::Copy { no, standing } => self.copy(commit, no, standing),
        }
    }

    fn accept(&mut self, no: EventNo, note: AcceptNote) {
        self.next_event = self.next_event.max(no.next());
        for hook in note.owes {
            self.owe(delivery(hook, (no, Generation(0))));
        }
        for (hook, revision, mark_key, mark) in note.throttle {
            if self.hooks.contains_key(&hook) {
                self.throttle.put((hook, mark_key), (revision, mark));
                self.dirty.marks.insert((hook, mark_key));
            }
        }
        while let Some(forgotten) = self.throttle.pop_over(self.throttle_most) {
            self.throttle_forgotten += 1;
            self.dirty.marks.insert(forgotten);
        }
    }

    /// Nothing happens if the hook is gone or owes it already.
    fn owe(&mut self, id: DeliveryId) {
        let after = EventNo(self.next_event.0.saturating_sub(1));
        let Some(entry) = self.hooks.get_mut(&id.hook) else { return };
        if entry.queue.owe(key(id), after) {
            self.owed_total += 1;
            self.touch(id);
        }
    }

    /// The delivery's place in the owed set has changed.
    fn touch(&mut self, id: DeliveryId) {
        if id.generation == Generation(0) {
            self.dirty.owed.insert((id.hook, OwedSet::chunk_of(id.event)));
        } else {
            self.dirty.replays.insert(id);
        }
    }

    /// Nothing is owed under this id any more. False if nothing was.
    fn done(&mut self, id: DeliveryId) -> bool {
        let Some(entry) = self.hooks.get_mut(&id.hook) else { return false };
        let waited = entry.queue.waiting(key(id)).is_some();
        if !entry.queue.done(key(id)) {
            return false;
        }
        if waited {
            self.dirty.waiting.insert(id);
        }
        self.owed_total -= 1;
        self.touch(id);
        self.cache.done(id.event);
        true
    }

    fn settle(&mut self, id: DeliveryId, at: Timestamp, verdict: Settled, attempt: Option<AttemptSummary>) {
        match verdict {
            Settled::Delivered | Settled::Canceled => {
                self.done(id);
            }
            Settled::Dead { kind, reason } => {
                let gone = !self.hooks.contains_key(&id.hook);
                let brief = self.cache.get(id.event).map(|event| EventBrief::from(&*event));
                // What was canceled while it ran is settled already. Of a hook that is gone the record is kept.
                if self.done(id) || gone {
                    self.bury(id, Some(DeadEntry { dead: Dead { kind, reason, at, attempt }, brief }));
                }
            }
            Settled::RetryAt { due, spent, first_tried, crashes } => self.wait(id, Waiting { due, spent, first_tried, crashes }),
            Settled::Released => {
                if let Some(entry) = self.hooks.get_mut(&id.hook) {
                    entry.queue.give_back(key(id));
                }
            }
        }
    }

    fn wait(&mut self, id: DeliveryId, waiting: Waiting) {
        let Some(entry) = self.hooks.get_mut(&id.hook) else { return };
        if entry.queue.wait(key(id), waiting) {
            self.dirty.waiting.insert(id);
        }
    }

    fn bury(&mut self, id: DeliveryId, entry: Option<DeadEntry>) {
        if entry.is_some() {
            self.dead.events.insert(id.event);
        }
        self.dead.fresh.insert(id, entry.map(Arc::new));
        self.dirty.dead.insert(id);
    }

    fn change(&mut self, at: Timestamp, change: Change) {
        match change {
            Change::PutHook(hook) => self.put_hook(hook),
            Change::DeleteHook(no) => self.delete_hook(no),
            Change::PutHookState(no, state) => {
                self.unexported = true;
                self.put_hook_state(no, state);
            }
            Change::PutSource { source, event, about } => {
                Arc::make_mut(&mut self.sources).entry(source.clone()).or_default().insert(event.clone(), about);
                self.source_changed(source, event);
            }
            Change::DeleteSource { source, event } => {
                let sources = Arc::make_mut(&mut self.sources);
                if let Some(events) = sources.get_mut(&source) {
                    events.remove(&event);
                    if events.is_empty() {
                        sources.remove(&source);
                    }
                }
                self.source_changed(source, event);
            }
            Change::PutHandler(handler) => {
                self.handler_changed(handler.name.clone());
                self.handlers.insert(handler.name.clone(), Arc::new(handler));
            }
            Change::DeleteHandler(name) => {
                self.handlers.remove(&name);
                self.handler_changed(name);
            }
            Change::Cancel(id) => self.settle(id, at, Settled::Canceled, None),
            Change::Replay(id) => {
                self.bury(id, None);
                self.owe(DeliveryId { generation: id.generation.next(), ..id });
            }
            Change::Forget(id) => self.bury(id, None),
        }
    }

    fn source_changed(&mut self, source: String, event: String) {
        self.unexported = true;
        self.dirty.sources.insert((source, event));
    }

    fn handler_changed(&mut self, name: String) {
        self.unexported = true;
        self.dirty.handlers.insert(name);
    }

    fn put_hook(&mut self, hook: Hook) {
        let no = hook.no;
        self.next_hook = self.next_hook.max(no.next());
        let hook = Arc::new(hook);
        match self.hooks.get_mut(&no) {
            Some(entry) => entry.hook = hook,
            None => {
                self.hooks.insert(no, HookEntry { hook, state: HookState::default(), queue: Queue::default() });
            }
        }
        self.unexported = true;
        self.dirty.hooks.insert(no);
    }

    fn put_hook_state(&mut self, no: HookNo, state: HookState) {
        if let Some(entry) = self.hooks.get_mut(&no) {
            entry.state = state;
            self.dirty.states.insert(no);
        }
    }

    fn delete_hook(&mut self, no: HookNo) {
        let Some(entry) = self.hooks.remove(&no) else { return };
        self.owed_total -= entry.queue.len();
        for key in entry.queue.all() {
            self.cache.done(key.0);
        }
        self.dirty.owed.extend(entry.queue.owed().chunk_numbers().map(|chunk| (no, chunk)));
        self.dirty.waiting.extend(entry.queue.waiting_keys().map(|key| delivery(no, key)));
        self.dirty.replays.extend(entry.queue.replay_keys().map(|key| delivery(no, key)));
        for mark in self.throttle.of_hook(no) {
            self.throttle.remove(mark);
            self.dirty.marks.insert(mark);
        }
        self.unexported = true;
        self.dirty.hooks.insert(no);
        self.dirty.states.insert(no);
    }

    /// When the copy was made its standing was what the memory says; only a memory that was rebuilt from a journal with gaps learns from it.
    fn copy(&mut self, commit: CommitNo, no: EventNo, standing: Standing) {
        self.moved.insert(no, commit);
        self.dirty.moved.insert(no);
        for (id, waiting) in standing.owed {
            self.owe(id);
            let queue = self.hooks.get(&id.hook).map(|entry| &entry.queue);
            let unknown = queue.is_some_and(|queue| queue.waiting(key(id)).is_none() && !queue.is_running(key(id)));
            if let (Some(waiting), true) = (waiting, unknown) {
                self.wait(id, waiting);
            }
        }
        if !self.dead.events.contains(no) {
            for (id, dead) in standing.dead {
                self.bury(id, Some(DeadEntry { dead, brief: None }));
            }
        }
    }

    /// The segments that only the memory knows where things are in: the one being sealed, the active one.
    pub(super) fn windows(&self) -> impl Iterator<Item = &Window> {
        self.sealing.as_deref().into_iter().chain([&self.window])
    }

    /// What a hook is owed.
    pub(super) fn counts(&self, hook: HookNo) -> Counts {
        let Some(entry) = self.hooks.get(&hook) else { return Counts::default() };
        let oldest = entry.queue.oldest();
        Counts {
            owed: entry.queue.len(),
            running: entry.queue.running_count(),
            between_attempts: entry.queue.due_count(),
            oldest,
            oldest_at: oldest.and_then(|no| self.accepted_at(no)),
        }
    }

    /// About when an event was accepted.
    pub(super) fn accepted_at(&self, no: EventNo) -> Option<Timestamp> {
        self.samples.range(..=no).next_back().or_else(|| self.samples.iter().next()).map(|(_, at)| *at)
    }

    /// The events between two numbers whose records somebody still needs.
    pub(super) fn pinned(&self, first: EventNo, last: EventNo) -> OwedSet {
        let mut pinned = OwedSet::default();
        for entry in self.hooks.values() {
            entry.queue.collect_owed(first, last, &mut pinned);
        }
        self.dead.events.collect_range(first, last, &mut pinned);
        pinned
    }

    /// Does anybody need this event's record?
    pub(super) fn is_pinned(&self, no: EventNo) -> bool {
        self.dead.events.contains(no) || self.hooks.values().any(|entry| !entry.queue.of_event(no).is_empty())
    }

    /// What is owed of an event.
    pub(super) fn owed_of(&self, no: EventNo) -> Vec<(DeliveryId, Option<Waiting>)> {
        let of_hook = |(hook, entry): (&HookNo, &HookEntry)| {
            let with_waiting = |key| (delivery(*hook, key), entry.queue.waiting(key));
            entry.queue.of_event(no).into_iter().map(with_waiting).collect::<Vec<_>>()
        };
        self.hooks.iter().flat_map(of_hook).collect()
    }
}
