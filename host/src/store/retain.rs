//! Retention: which sealed segments go, and what must be copied out of them first.
//!
//! A segment may go when its commits are folded, retention no longer wants it, and nobody needs an event's record in it. If less than a tenth of its
//! events are needed, they are copied, by the committer, as an ordinary commit. One that is needed more is backlog and stays.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use super::StoreError;
use super::item::Dead;
use super::journal::Slot;
use super::keys::{self, Shelf, Tail};
use super::owed::OwedSet;
use super::seam::FaultPoint;
use super::shared::Shared;
use crate::model::{CommitNo, DeliveryId, EventNo, Timestamp};

/// A segment goes when fewer than one in this many of its events are needed.
const COPY_ONE_IN: u64 = 10;
/// Records are read ahead for copying up to this.
const COPY_AHEAD_BYTES: usize = 8 * 1024 * 1024;

/// A record that waits for the committer to copy it.
#[derive(Debug)]
pub(super) struct Straggler {
    pub(super) no: EventNo,
    /// The event and what stands beside it, as they lie in the journal.
    pub(super) event: Vec<u8>,
    pub(super) note: Vec<u8>,
    pub(super) dead: Vec<(DeliveryId, Dead)>,
}

/// The stragglers between keeper and committer.
#[derive(Debug, Default)]
pub(super) struct Stragglers(Mutex<VecDeque<Straggler>>);

impl Stragglers {
    fn queue(&self) -> std::sync::MutexGuard<'_, VecDeque<Straggler>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, stragglers: Vec<Straggler>) {
        self.queue().extend(stragglers);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue().is_empty()
    }

    /// Up to `bytes` of them, at least one if there is one.
    pub(super) fn take(&self, bytes: usize) -> Vec<Straggler> {
        let mut queue = self.queue();
        let mut taken = Vec::new();
        let mut left = bytes;
        while let Some(next) = queue.front() {
            let size = next.event.len() + next.note.len();
            if !taken.is_empty() && size > left {
                break;
            }
            left = left.saturating_sub(size);
            taken.extend(queue.pop_front());
        }
        taken
    }
}

impl Shared {
    /// Drops what may be dropped, and prepares the copies for what may nearly.
    pub(super) fn retain(&self) -> Result<(), StoreError> {
        self.forget_moved();
        for slot in self.unwanted() {
            match self.retain_slot(&slot) {
                // A segment that cannot be read keeps what it has; the others go on.
                Err(error @ StoreError::Corrupt { .. }) => {
                    tracing::error!(%error, "a segment cannot be read for copying and is kept as it is");
                    slot.damaged.store(true, Ordering::Relaxed);
                }
                other => other?,
            }
        }
        Ok(())
    }

    fn retain_slot(&self, slot: &Arc<Slot>) -> Result<(), StoreError> {
        let needed = self.needed(slot)?;
        let (folded, last) = {
            let state = self.state();
            (state.folded, state.last)
        };
        if needed.is_empty() {
            // That nobody needs it must be in the catalog, and durable, before the records go: at the next look, if folding has come that far.
            match slot.unneeded_at.load(Ordering::Relaxed) {
                0 => slot.unneeded_at.store(last.0.max(1), Ordering::Relaxed),
                at if folded.0 >= at => self.drop_segment(slot)?,
                _ => {}
            }
            return Ok(());
        }
        slot.unneeded_at.store(0, Ordering::Relaxed);
        let records = slot.summary().map_or(0, |summary| summary.events) + self.index(slot)?.copies().len() as u64;
        if needed.len() * COPY_ONE_IN < records && self.stragglers.is_empty() {
            self.stragglers.put(self.read_stragglers(&needed)?);
        }
        Ok(())
    }

    /// Sealed segments that retention does not want, oldest first.
    fn unwanted(&self) -> Vec<Arc<Slot>> {
        let now = self.clock.now();
        let mut kept_bytes = 0;
        let mut unwanted = Vec::new();
        for slot in self.journal.slots().into_iter().rev() {
            let Some(summary) = slot.summary().filter(|_| !slot.damaged.load(Ordering::Relaxed)) else { continue };
            let owed = self.state().pinned(summary.first_event, summary.last_event()).len();
            // Backlog does not count as retention, and is not looked at before it shrinks.
            if owed > 0 && owed * COPY_ONE_IN >= summary.events {
                continue;
            }
            kept_bytes += summary.bytes;
            let too_old = now.since(summary.last_at) >= self.limits.retention;
            if too_old || kept_bytes > self.limits.retention_bytes || self.limits.keeps_nothing() {
                unwanted.push(slot);
            }
        }
        unwanted.reverse();
        unwanted
    }

    /// The events whose only record lies in this segment and is needed.
    fn needed(&self, slot: &Slot) -> Result<OwedSet, StoreError> {
        let Some(summary) = slot.summary() else { return Ok(OwedSet::default()) };
        let index = self.index(slot)?;
        let state = self.state();
        let mut needed = OwedSet::default();
        for no in state.pinned(summary.first_event, summary.last_event()).iter() {
            if !state.moved.contains_key(&no) {
                needed.insert(no);
            }
        }
        if let (Some((first, _)), Some((last, _))) = (index.copies().first(), index.copies().last()) {
            let pinned = state.pinned(*first, *last);
            for (no, _) in index.copies().iter().filter(|(no, commit)| state.moved.get(no) == Some(commit) && pinned.contains(*no)) {
                needed.insert(*no);
            }
        }
        Ok(needed)
    }

    /// Where a record was copied to need not be known once nobody needs it.
    fn forget_moved(&self) {
        let mut state = self.state();
        let (Some(first), Some(last)) = (state.moved.keys().next(), state.moved.keys().next_back()) else { return };
        let pinned = state.pinned(*first, *last);
        let done: Vec<EventNo> = state.moved.keys().copied().filter(|no| !pinned.contains(*no)).collect();
        for no in done {
            state.moved.remove(&no);
            state.dirty.moved.insert(no);
        }
    }

    fn read_stragglers(&self, needed: &OwedSet) -> Result<Vec<Straggler>, StoreError> {
        let mut stragglers = Vec::new();
        let mut bytes = 0;
        for no in needed.iter() {
            let Some(commit) = self.commit_with(no)? else { continue };
            for item in commit.items()? {
                if commit.event_no(item)? == Some(no) {
                    let (event, note) = commit.event_bytes(item)?;
                    bytes += event.len() + note.len();
                    stragglers.push(Straggler { no, event: event.to_vec(), note: note.to_vec(), dead: self.dead_of(no)? });
                }
            }
            if bytes > COPY_AHEAD_BYTES {
                break;
            }
        }
        Ok(stragglers)
    }

    /// The dead letters of an event, wherever they are.
    fn dead_of(&self, no: EventNo) -> Result<Vec<(DeliveryId, Dead)>, StoreError> {
        let mut dead = std::collections::BTreeMap::new();
        let skip = keys::prefix(Shelf::Dead).len();
        self.catalog.range(skip, keys::dead_of(no), keys::dead_of(no.next()), false, |key, row| {
            let id = Tail(key).dead().map_err(|what| StoreError::corrupt("catalog, dead letters", what))?;
            dead.insert(id, super::fold::read_dead(row)?.dead);
            Ok(true)
        })?;
        for (id, entry) in self.state().dead.fresh.iter().filter(|(id, _)| id.event == no) {
            match entry {
                Some(entry) => dead.insert(*id, entry.dead.clone()),
                None => dead.remove(id),
            };
        }
        Ok(dead.into_iter().collect())
    }

    /// Rename, sync, remove. What a crash leaves as `*.gone` goes at the next start.
    fn drop_segment(&self, slot: &Arc<Slot>) -> Result<(), StoreError> {
        // What the export does not hold yet may be in this segment alone, should the catalog be damaged later.
        self.export()?;
        self.journal.take_out(slot);
        let summary = slot.summary().cloned().unwrap_or_default();
        self.state().samples.retain(|no, _| !summary.holds_event(*no));
        let gone = slot.dir.with_extension("gone");
        self.seam.rename(FaultPoint::Drop, &slot.dir, &gone)?;
        self.seam.remove(FaultPoint::Remove, &slot.index_path())?;
        self.seam.remove(FaultPoint::Remove, &gone)?;
        self.catalog.remove(&keys::segment(slot.first_commit)).map(drop)
    }

    /// Removes dead letters that are too old, and the oldest while there are too many bytes of them.
    pub(super) fn bury_old_dead(&self) -> Result<(), StoreError> {
        let (mut bytes, count) = {
            let state = self.state();
            (state.dead.folded_bytes, state.dead.folded_count)
        };
        if count == 0 {
            return Ok(());
        }
        let oldest =
            Timestamp(self.clock.now().0.saturating_sub(i64::try_from(self.limits.dead_letters_age.as_millis()).unwrap_or(i64::MAX / 4)));
        let mut going = Vec::new();
        self.catalog.each(Shelf::Dead, |key, row| {
            let id = Tail(key).dead().map_err(|what| StoreError::corrupt("catalog, dead letters", what))?;
            if bytes > self.limits.dead_letters_bytes || super::fold::read_dead(row)?.dead.at < oldest {
                bytes -= row.len() as u64;
                going.push((id, row.len() as u64));
            }
            Ok(true)
        })?;
        for (id, size) in going {
            self.catalog.remove(&keys::dead(id))?;
            {
                let mut state = self.state();
                state.dead.folded_count = state.dead.folded_count.saturating_sub(1);
                state.dead.folded_bytes = state.dead.folded_bytes.saturating_sub(size);
            }
            self.unpin_dead(id.event)?;
            self.figures.dead_removed.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Do the last commits of this segment wait for nothing but time? Then an idle one may be sealed.
    pub(super) fn active_is_done(&self, idle_since: Timestamp) -> bool {
        let state = self.state();
        let summary = &state.window.summary;
        summary.last_commit != CommitNo(0)
            && summary.last_at <= idle_since
            && state.pinned(summary.first_event, summary.last_event()).is_empty()
    }
}
