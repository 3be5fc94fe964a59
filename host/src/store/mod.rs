//! The store: what was answered is on disk, and what is on disk is found again. sled lives here and nowhere else.
//!
//! The journal is a log of commits in segments (`row`, `segment`, `journal`); the catalog is the folded state (`catalog`, `fold`); the memory (`state`) is
//! what both say together. One thread writes (`writer`, `group`); readers never wait for it. A crash between any two lines needs no repair: a start
//! reads the catalog and then the journal from where the catalog ends (`recover`).
//!
//! It decides nothing about when a delivery is attempted or given up; that is `policy`.

mod blobs;
mod bounds;
mod cache;
mod catalog;
mod claim;
mod disk;
mod entity;
mod error;
mod export;
mod fold;
mod group;
mod guard;
mod index;
mod item;
mod journal;
mod keeper;
mod keys;
mod limits;
mod listing;
mod load;
mod nouns;
mod owed;
mod past;
mod queue;
mod record;
mod recover;
mod redo;
mod remembered;
mod retain;
mod row;
mod seam;
mod secret;
mod segment;
mod shared;
mod state;
#[cfg(test)]
mod tests;
mod throttle;
mod window;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

pub use claim::Claim;
pub use error::StoreError;
pub use group::Group;
pub use limits::Limits;
pub use nouns::{
    Accept, Change, ContentHash, Counts, DeadKind, DeadLetter, DeadLetterFilter, DeliveryRecord, DeliveryState, Durability, EncodedEvent,
    EventBrief, Fingerprint, Page, PastEvent, QueueBounds, Redo, Remembered, Room, Settled, Settlement, Stats, TooMuch,
};
pub use seam::{FaultPoint, Observer, Seam};
pub use writer::Writer;

use crate::model::{
    Clock, DeliveryId, Digest, Event, EventId, EventNo, Generation, HandlerRecord, Hook, HookNo, HookState, Sources, ThrottleKey,
    ThrottleMark, Timestamp,
};

/// An open store.
pub struct Opened {
    /// For readers; clone it freely.
    pub store: Store,
    /// For the one committer.
    pub writer: Writer,
    /// Damage and recovery, for the log.
    pub notes: Vec<String>,
}

/// Opens the data folder, which is made if it is missing. Blocking; takes a second for a million queued events.
pub fn open(dir: &Path, limits: Limits, clock: Clock, seam: Seam) -> Result<Opened, StoreError> {
    recover::open(dir, limits, clock, seam)
}

/// What readers see. Cheap to clone. Nothing here waits for the writer; what may read the disk says so.
#[derive(Clone)]
pub struct Store(Arc<shared::Shared>);

impl Store {
    /// All hooks, by number.
    pub fn hooks(&self) -> Vec<Arc<Hook>> {
        self.0.state().hooks.values().map(|entry| entry.hook.clone()).collect()
    }

    /// One hook.
    pub fn hook(&self, no: HookNo) -> Option<Arc<Hook>> {
        self.0.state().hooks.get(&no).map(|entry| entry.hook.clone())
    }

    /// What the host knows about a hook; the default if there is no such hook.
    pub fn hook_state(&self, no: HookNo) -> HookState {
        self.0.state().hooks.get(&no).map(|entry| entry.state.clone()).unwrap_or_default()
    }

    /// The registered sources.
    pub fn sources(&self) -> Arc<Sources> {
        self.0.state().sources.clone()
    }

    /// The installed handlers, by name.
    pub fn handlers(&self) -> Vec<Arc<HandlerRecord>> {
        self.0.state().handlers.values().cloned().collect()
    }

    /// Keeps a component, synced; to be called before the commit that names it. Blocking.
    pub fn put_component(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        self.0.put_component(bytes)
    }

    /// A component's bytes. Blocking.
    pub fn component(&self, digest: &Digest) -> Result<Bytes, StoreError> {
        self.0.component(digest)
    }

    /// The fingerprint under which a producer's key is remembered.
    pub fn fingerprint(&self, source: &str, key: &str) -> Fingerprint {
        Fingerprint(self.0.sealer.fingerprint(source, key))
    }

    /// Claims the hook's oldest delivery that was never attempted and does not run.
    pub fn claim_first(&self, hook: HookNo) -> Option<Claim> {
        let (event, generation) = self.0.state().hooks.get_mut(&hook)?.queue.claim_first()?;
        let id = DeliveryId { event, hook, generation };
        Some(Claim { id, spent: 0, first_tried: None, crashes: 0, owner: Some(self.0.clone()) })
    }

    /// Claims the hook's delivery between attempts that is due first, if it is due by `now`.
    pub fn claim_due(&self, hook: HookNo, now: Timestamp) -> Option<Claim> {
        let ((event, generation), waiting) = self.0.state().hooks.get_mut(&hook)?.queue.claim_due(now)?;
        let id = DeliveryId { event, hook, generation };
        let first_tried = Some(waiting.first_tried);
        Some(Claim { id, spent: waiting.spent, first_tried, crashes: waiting.crashes, owner: Some(self.0.clone()) })
    }

    /// When the hook's next delivery between attempts is due.
    pub fn next_due(&self, hook: HookNo) -> Option<Timestamp> {
        self.0.state().hooks.get(&hook)?.queue.next_due()
    }

    /// What a hook is owed.
    pub fn counts(&self, hook: HookNo) -> Counts {
        self.0.state().counts(hook)
    }

    /// The hooks that are owed something.
    pub fn owing_hooks(&self) -> Vec<HookNo> {
        self.0.state().hooks.iter().filter(|(_, entry)| entry.queue.len() > 0).map(|(no, _)| *no).collect()
    }

    /// What is too much for its hook by these bounds: at most `most` deliveries, the oldest of each hook, none of which runs. Blocking.
    pub fn too_much(&self, bounds: impl Fn(&Hook) -> QueueBounds, most: usize) -> Vec<(DeliveryId, TooMuch)> {
        self.0.too_much(bounds, most)
    }

    /// An event's record, from memory or the journal. None if it is not kept, or was lost to damage. Blocking.
    pub fn event(&self, no: EventNo) -> Result<Option<Arc<Event>>, StoreError> {
        self.0.event(no)
    }

    /// An event's record, if it is in memory.
    pub fn cached_event(&self, no: EventNo) -> Option<Arc<Event>> {
        self.0.state().cache.get(no)
    }

    /// A hook's deliveries, newest event first. `state` leaves the others out; `offset` is the `next` of the page before. Blocking.
    pub fn deliveries(
        &self,
        hook: HookNo,
        state: Option<DeliveryState>,
        offset: Option<&str>,
        size: usize,
    ) -> Result<Page<DeliveryRecord>, StoreError> {
        self.0.deliveries(hook, state, offset, size)
    }

    /// One delivery; None if there never was one, or nothing is kept of it. Blocking.
    pub fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryRecord>, StoreError> {
        self.0.delivery(id)
    }

    /// Dead letters, newest event first. Blocking.
    pub fn dead_letters(&self, filter: &DeadLetterFilter, offset: Option<&str>, size: usize) -> Result<Page<DeadLetter>, StoreError> {
        self.0.dead_letters(filter, offset, size)
    }

    /// The retained events from number `from` on, as many as one read gives, in order; and the number to go on from, if there may be more. Blocking.
    pub fn past_events(&self, from: EventNo) -> Result<(Vec<PastEvent>, Option<EventNo>), StoreError> {
        self.0.past_events(from)
    }

    /// Where to begin a read that ends before `before`; None: nothing is kept below it. Blocking.
    pub fn past_before(&self, before: EventNo) -> Result<Option<EventNo>, StoreError> {
        self.0.past_before(before)
    }

    /// The numbers between which the events lie that came in at `from` or later, and before `to`; others lie between them too.
    pub fn event_numbers(&self, from: Option<Timestamp>, to: Option<Timestamp>) -> (EventNo, EventNo) {
        self.0.event_numbers(from, to)
    }

    /// Events by id, in the order of `ids`; None: never accepted, or no longer kept. Blocking.
    pub fn find_events(&self, ids: &[EventId]) -> Result<Vec<Option<PastEvent>>, StoreError> {
        self.0.find_events(ids)
    }

    /// All deliveries of an event, replays included, in the order of hooks. Blocking.
    pub fn deliveries_of(&self, past: &PastEvent) -> Result<Vec<DeliveryRecord>, StoreError> {
        self.0.deliveries_of(past)
    }

    /// For each event, where the deliveries stand that it was queued for; of a replayed one the last replay. Blocking.
    pub fn latest_states(&self, events: &[&PastEvent]) -> Result<Vec<Vec<(DeliveryId, DeliveryState)>>, StoreError> {
        self.0.latest_states(events)
    }

    /// Of the events of a hook from `first` to `last` that were settled, as far as that is kept: the last generation. Blocking.
    pub fn generations(&self, hook: HookNo, first: EventNo, last: EventNo) -> Result<BTreeMap<EventNo, Generation>, StoreError> {
        self.0.generations(hook, first, last)
    }

    /// What of an event a hook is owed now: the generations.
    pub fn owed_generations(&self, hook: HookNo, event: EventNo) -> Vec<Generation> {
        let state = self.0.state();
        let keys = state.hooks.get(&hook).map(|entry| entry.queue.of_event(event)).unwrap_or_default();
        keys.into_iter().map(|(_, generation)| generation).collect()
    }

    /// A hook's throttle mark, if it was made under this revision of the hook.
    pub fn throttle_mark(&self, hook: HookNo, revision: u64, key: &ThrottleKey) -> Option<ThrottleMark> {
        self.0.state().throttle.get((hook, *key)).filter(|(of, _)| *of == revision).map(|(_, mark)| mark)
    }

    /// Figures for the metrics.
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }

    /// Is there room for more events?
    pub fn room(&self) -> Room {
        self.0.room()
    }

    /// Err: nothing is written any more until the next start, and why.
    pub fn health(&self) -> Result<(), String> {
        self.0.poison.get().map_or(Ok(()), |why| Err(why.clone()))
    }
}
