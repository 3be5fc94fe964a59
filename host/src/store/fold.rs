//! Folding: what changed in memory goes into the catalog as absolute values, and then, when they are durable, the number of the commit they stand for.
//!
//! The values are taken when memory and synced journal are the same, so the catalog never knows what the journal might still lose. Doing it twice, or
//! half and then again, ends in the same catalog: reading the journal on from the old number ends where these values are. For that to hold, dead
//! letters and hooks go first: a settlement that is read again over an owed set that is ahead of it must not be what makes its dead letter.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::StoreError;
use super::entity::{HookStateV1, write_handler, write_hook, write_source};
use super::index::write_summary;
use super::item::{Dead, DeadV1, Waiting};
use super::keys::{self, Shelf};
use super::nouns::EventBrief;
use super::record::{Blob, read, write};
use super::seam::FaultPoint;
use super::shared::Shared;
use super::state::{DeadEntry, Dirty, State};
use super::throttle::{Mark, MarkKey};
use crate::model::{CommitNo, DeliveryId, EventId, EventNo, HandlerRecord, Hook, HookNo, HookState, SourceEvent, ThrottleMark, Timestamp};

/// One value to set, or to remove where it is None.
#[derive(Debug)]
enum Put {
    Dead(DeliveryId, Option<Arc<DeadEntry>>),
    Hook(HookNo, Option<Arc<Hook>>),
    HookState(HookNo, Option<HookState>),
    Source(String, String, Option<SourceEvent>),
    Handler(String, Option<Arc<HandlerRecord>>),
    Mark(MarkKey, Option<Mark>),
    Owed(HookNo, u64, Option<Vec<u8>>),
    Waiting(DeliveryId, Option<Waiting>),
    Replay(DeliveryId, Option<EventNo>),
    Moved(EventNo, Option<CommitNo>),
}

/// What is folded in one go.
#[derive(Debug)]
pub(super) struct Folding {
    upto: CommitNo,
    next_hook: HookNo,
    next_event: EventNo,
    puts: Vec<Put>,
    /// What it is about, for when it fails.
    dirty: Dirty,
}

/// What the catalog says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MetaV1 {
    pub(super) folded: u64,
    pub(super) next_hook: u32,
    pub(super) next_event: u64,
}

/// The key of `MetaV1`.
pub(super) const META: &str = "folded";

/// A throttle mark: revision, digest, until.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MarkV1(pub(super) u64, pub(super) Blob, pub(super) i64);

/// A dead letter in the catalog: how it died, and its event's id, source, name, time.
#[derive(Debug, Serialize, Deserialize)]
struct DeadRowV1(DeadV1, Option<(String, String, String, i64)>);

/// A dead letter as the catalog keeps it.
pub(super) fn write_dead(entry: &DeadEntry) -> Vec<u8> {
    let brief = entry.brief.as_ref().map(|b| (b.id.to_string(), b.source.to_string(), b.name.to_string(), b.time.0));
    write(1, &DeadRowV1(DeadV1::from(&entry.dead), brief))
}

/// A dead letter from the catalog.
pub(super) fn read_dead(bytes: &[u8]) -> Result<DeadEntry, StoreError> {
    let DeadRowV1(dead, brief) = read("catalog, dead letters", bytes)?;
    let brief = brief.map(|(id, source, name, time)| EventBrief {
        id: EventId(id.into()),
        source: source.into(),
        name: name.into(),
        time: Timestamp(time),
    });
    Ok(DeadEntry { dead: Dead::try_from(dead).map_err(|e| StoreError::corrupt("catalog, dead letters", e))?, brief })
}

impl MarkV1 {
    pub(super) fn into_mark(self) -> Result<Mark, String> {
        let digest = self.1.0.try_into().map_err(|_| "a digest that is not 16 bytes long")?;
        Ok((self.0, ThrottleMark { digest, until: Timestamp(self.2) }))
    }
}

impl State {
    /// Takes the values of all that changed, if memory and synced journal are the same and something did.
    pub(super) fn take_folding(&mut self) -> Option<Folding> {
        if self.last != self.synced || self.folded == self.last || self.fold_taken.is_some() {
            return None;
        }
        let dirty = std::mem::take(&mut self.dirty);
        let mut puts = Vec::with_capacity(dirty.len());
        puts.extend(dirty.dead.iter().map(|id| Put::Dead(*id, self.dead.fresh.get(id).cloned().flatten())));
        puts.extend(dirty.hooks.iter().map(|no| Put::Hook(*no, self.hooks.get(no).map(|entry| entry.hook.clone()))));
        puts.extend(dirty.states.iter().map(|no| Put::HookState(*no, self.hooks.get(no).map(|entry| entry.state.clone()))));
        puts.extend(dirty.sources.iter().map(|(source, event)| {
            let about = self.sources.get(source).and_then(|events| events.get(event)).cloned();
            Put::Source(source.clone(), event.clone(), about)
        }));
        puts.extend(dirty.handlers.iter().map(|name| Put::Handler(name.clone(), self.handlers.get(name).cloned())));
        puts.extend(dirty.marks.iter().map(|key| Put::Mark(*key, self.throttle.get(*key))));
        puts.extend(dirty.replays.iter().map(|id| Put::Replay(*id, self.queue(id.hook).and_then(|q| q.replay((id.event, id.generation))))));
        puts.extend(
            dirty.waiting.iter().map(|id| Put::Waiting(*id, self.queue(id.hook).and_then(|q| q.waiting((id.event, id.generation))))),
        );
        puts.extend(
            dirty.owed.iter().map(|(no, chunk)| Put::Owed(*no, *chunk, self.queue(*no).and_then(|q| q.owed().chunk_bytes(*chunk)))),
        );
        puts.extend(dirty.moved.iter().map(|no| Put::Moved(*no, self.moved.get(no).copied())));
        Some(Folding { upto: self.last, next_hook: self.next_hook, next_event: self.next_event, puts, dirty })
    }

    fn queue(&self, hook: HookNo) -> Option<&super::queue::Queue> {
        self.hooks.get(&hook).map(|entry| &entry.queue)
    }
}

/// Dead letters that came into and went from the catalog.
#[derive(Debug, Default)]
struct DeadTally {
    count: i64,
    bytes: i64,
}

impl Shared {
    /// Folds what there is. False if there was nothing, or it must wait for a sync.
    pub(super) fn fold(&self) -> Result<bool, StoreError> {
        let folding = {
            let mut state = self.state();
            let taken = state.fold_taken.take().or_else(|| state.take_folding());
            state.fold_wanted = taken.is_none() && state.folded != state.last;
            taken
        };
        let Some(folding) = folding else { return Ok(false) };
        match self.write_folding(&folding) {
            Ok(tally) => {
                self.folded(folding, &tally)?;
                Ok(true)
            }
            Err(e) => {
                self.state().dirty.merge(folding.dirty);
                Err(e)
            }
        }
    }

    fn write_folding(&self, folding: &Folding) -> Result<DeadTally, StoreError> {
        let mut tally = DeadTally::default();
        for put in &folding.puts {
            self.put(put, &mut tally)?;
        }
        for slot in self.journal.slots() {
            let key = keys::segment(slot.first_commit);
            if let Some(summary) = slot.summary()
                && self.catalog.get(&key)?.is_none()
            {
                self.catalog.put(&key, &write_summary(summary))?;
            }
        }
        self.catalog.sync(FaultPoint::FoldSync)?;
        let meta = MetaV1 { folded: folding.upto.0, next_hook: folding.next_hook.0, next_event: folding.next_event.0 };
        self.catalog.put(&keys::meta(META), &write(1, &meta))?;
        self.catalog.sync(FaultPoint::FoldMark)?;
        Ok(tally)
    }

    fn put(&self, put: &Put, tally: &mut DeadTally) -> Result<(), StoreError> {
        let (key, value) = match put {
            Put::Dead(id, entry) => return self.put_dead(*id, entry.as_deref(), tally),
            Put::Hook(no, hook) => {
                let value = hook.as_ref().map(|hook| write_hook(hook, &self.sealer)).transpose()?;
                (keys::hook(Shelf::Hook, *no), value)
            }
            Put::HookState(no, state) => {
                (keys::hook(Shelf::HookState, *no), state.as_ref().map(|state| write(1, &HookStateV1::from(state))))
            }
            Put::Source(source, event, about) => {
                (keys::source(source, event), about.as_ref().map(|about| write_source(source, event, about)))
            }
            Put::Handler(name, handler) => (keys::handler(name), handler.as_ref().map(|handler| write_handler(handler))),
            Put::Mark(key, mark) => {
                let value = mark.map(|(revision, mark)| write(1, &MarkV1(revision, Blob(mark.digest.to_vec()), mark.until.0)));
                (keys::mark(*key), value)
            }
            Put::Owed(no, chunk, bytes) => (keys::owed(*no, *chunk), bytes.clone()),
            Put::Waiting(id, waiting) => (keys::delivery(Shelf::Waiting, *id), waiting.map(|waiting| write(1, &waiting.to_record()))),
            Put::Replay(id, after) => (keys::delivery(Shelf::Replay, *id), after.map(|after| write(1, &after.0))),
            Put::Moved(no, commit) => (keys::moved(*no), commit.map(|commit| write(1, &commit.0))),
        };
        match value {
            Some(value) => self.catalog.put(&key, &value),
            None => self.catalog.remove(&key).map(drop),
        }
    }

    fn put_dead(&self, id: DeliveryId, entry: Option<&DeadEntry>, tally: &mut DeadTally) -> Result<(), StoreError> {
        let key = keys::dead(id);
        let before = self.catalog.get(&key)?;
        tally.count -= i64::from(before.is_some());
        tally.bytes -= before.map_or(0, |row| row.len()).cast_signed() as i64;
        let Some(entry) = entry else { return self.catalog.remove(&key).map(drop) };
        // The settling thread did not wait for the journal to learn what lists show of the event; here is the time.
        let brief = match &entry.brief {
            Some(brief) => Some(brief.clone()),
            // One whose event was lost to damage is listed without it.
            None => match self.event(id.event) {
                Err(StoreError::Corrupt { .. }) => None,
                event => event?.map(|event| EventBrief::from(&*event)),
            },
        };
        let row = write_dead(&DeadEntry { dead: entry.dead.clone(), brief });
        tally.count += 1;
        tally.bytes += row.len().cast_signed() as i64;
        self.catalog.put(&key, &row)
    }

    /// The catalog holds it, durably: memory may let go.
    fn folded(&self, folding: Folding, tally: &DeadTally) -> Result<(), StoreError> {
        let mut removed = Vec::new();
        {
            let mut state = self.state();
            state.folded = folding.upto;
            state.dead.folded_count = state.dead.folded_count.saturating_add_signed(tally.count);
            state.dead.folded_bytes = state.dead.folded_bytes.saturating_add_signed(tally.bytes);
            for id in &folding.dirty.dead {
                if !state.dirty.dead.contains(id) && state.dead.fresh.remove(id) == Some(None) {
                    removed.push(id.event);
                }
            }
        }
        removed.into_iter().try_for_each(|event| self.unpin_dead(event))
    }

    /// A dead letter of this event went; if it was the last one, the event's record is no longer kept for it.
    pub(super) fn unpin_dead(&self, event: EventNo) -> Result<(), StoreError> {
        let (from, to) = (keys::dead_of(event), keys::dead_of(event.next()));
        let mut others = false;
        self.catalog.range(0, from, to, false, |_, _| {
            others = true;
            Ok(false)
        })?;
        let mut state = self.state();
        let fresh = state.dead.fresh.iter().any(|(id, entry)| id.event == event && entry.is_some());
        if !others && !fresh {
            state.dead.events.remove(event);
        }
        Ok(())
    }
}
