//! The writer: the one who commits. Insert, flush, fdatasync, side file, and only then the memory; if anything fails, nothing in memory has changed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Instant;

use super::StoreError;
use super::group::Group;
use super::index::Index;
use super::item::{Body, Effect, Standing};
use super::journal::Slot;
use super::keeper::RESERVE;
use super::nouns::Durability;
use super::remembered::KeySet;
use super::seam::FaultPoint;
use super::segment::Segment;
use super::shared::Shared;
use super::window::Window;
use crate::model::{CommitNo, Event, EventNo, Timestamp};

/// Bytes of records that are copied in one commit, so that events that come meanwhile do not wait long.
const COPY_BYTES: usize = 256 * 1024;

/// The writer. There is exactly one.
pub struct Writer {
    pub(super) shared: Arc<Shared>,
    slot: Arc<Slot>,
    /// None only while the segment is opened anew.
    segment: Option<Arc<Segment>>,
    /// Commits that are not synced yet: settlements of the last 200 ms. Kept to be written again should the disk be full.
    unsynced: Vec<(CommitNo, Vec<u8>)>,
    unsynced_since: Option<Instant>,
    /// The disk was full and the segment is still in that error.
    stuck: bool,
    keeper: Option<JoinHandle<()>>,
}

/// A group that is ready to be written.
pub(super) struct Ready {
    pub(super) body: Body,
    pub(super) effects: Vec<Effect>,
    /// Accepted events and their deliveries.
    pub(super) events: Vec<(Event, usize)>,
    pub(super) first_event: EventNo,
    pub(super) durability: Durability,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, slot: Arc<Slot>, segment: Arc<Segment>, keeper: Option<JoinHandle<()>>) -> Self {
        Self { shared, slot, segment: Some(segment), unsynced: Vec::new(), unsynced_since: None, stuck: false, keeper }
    }

    /// Begins a group: what it holds is committed together or not at all.
    pub fn begin(&mut self) -> Group<'_> {
        Group::new(self)
    }

    /// When the oldest commit was made that is not synced yet.
    pub fn unsynced_since(&self) -> Option<Instant> {
        self.unsynced_since
    }

    /// Syncs what was committed lazily. To be called within 200 ms of it.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        if self.unsynced_since.is_none() {
            return Ok(());
        }
        self.shared.healthy()?;
        if self.stuck {
            self.recover()?;
        }
        match self.sync_segment() {
            Ok(()) => self.synced(),
            Err(e) => Err(self.failed(e)),
        }
    }

    /// What only the committer may do: copies that retention waits for, and sealing a segment by age. Cheap when there is nothing to do. True: there is
    /// more; call again soon.
    pub fn maintain(&mut self) -> Result<bool, StoreError> {
        self.shared.healthy()?;
        if !self.shared.limits.journals() {
            return Ok(false);
        }
        let now = self.shared.clock.now();
        let idle = i64::try_from(self.shared.limits.idle_seal.as_millis()).unwrap_or(i64::MAX / 4);
        let idle_since = Timestamp(now.0 - idle);
        let old = {
            let state = self.shared.state();
            let summary = &state.window.summary;
            summary.last_commit != CommitNo(0) && now.since(summary.first_at) >= self.shared.limits.segment_age
        };
        if old || (self.shared.limits.keeps_nothing() && self.shared.active_is_done(idle_since)) {
            self.rotate()?;
        }
        self.copy()?;
        Ok(!self.shared.stragglers.is_empty())
    }

    /// Folds, seals, exports and drops on this thread, for stores without a keeper.
    pub fn tend(&mut self) -> Result<(), StoreError> {
        self.sync()?;
        self.shared.tend()
    }

    /// Syncs, folds, exports, and closes.
    pub fn close(mut self) -> Result<(), StoreError> {
        let synced = self.sync();
        self.stop_keeper();
        synced?;
        self.shared.healthy()?;
        self.shared.fold()?;
        self.shared.seal()?;
        self.shared.export()
    }

    fn stop_keeper(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            self.shared.stop_keeper();
            let _ = keeper.join();
        }
    }

    fn segment(&self) -> Result<&Arc<Segment>, StoreError> {
        self.segment.as_ref().ok_or_else(|| StoreError::Full { place: self.slot.dir.display().to_string() })
    }

    /// Commits a group.
    pub(super) fn commit(&mut self, mut ready: Ready) -> Result<CommitNo, StoreError> {
        self.shared.healthy()?;
        if !self.shared.limits.journals() {
            let no = self.shared.state().last.next();
            let at = self.shared.clock.now();
            self.applied(no, at, 0, true, ready);
            return Ok(no);
        }
        if self.stuck {
            self.recover()?;
        }
        self.rotate_if_full()?;
        let no = self.shared.state().last.next();
        let at = self.shared.clock.now();
        let body = std::mem::take(&mut ready.body).finish(at, ready.first_event);
        let synced = ready.durability == Durability::Synced;
        let written = self.segment()?.insert(no, &body, &self.shared.seam);
        let bytes = match written.and_then(|bytes| if synced { self.sync_segment().map(|()| bytes) } else { Ok(bytes) }) {
            Ok(bytes) => bytes,
            Err(e) => return Err(self.failed(e)),
        };
        if synced {
            self.mark(no)?;
        } else {
            self.unsynced.push((no, body));
            self.unsynced_since.get_or_insert_with(|| self.shared.clock.instant());
        }
        self.applied(no, at, bytes, synced, ready);
        Ok(no)
    }

    fn sync_segment(&self) -> Result<(), StoreError> {
        let started = self.shared.clock.instant();
        self.segment()?.sync(&self.shared.seam)?;
        let took = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let figures = &self.shared.figures;
        figures.syncs.fetch_add(1, Ordering::Relaxed);
        figures.sync_us_total.fetch_add(took, Ordering::Relaxed);
        figures.sync_us_last.store(took, Ordering::Relaxed);
        Ok(())
    }

    /// Commit `no` and all before it are synced.
    fn mark(&mut self, no: CommitNo) -> Result<(), StoreError> {
        self.unsynced.clear();
        self.unsynced_since = None;
        let marked = self.shared.journal.mark_synced(no);
        marked.map_err(|e| self.failed(e))
    }

    /// The last commit is synced, and the memory may say so.
    fn synced(&mut self) -> Result<(), StoreError> {
        let last = self.shared.state().last;
        self.mark(last)?;
        let mut state = self.shared.state();
        state.synced = last;
        self.offer_folding(&mut state);
        Ok(())
    }

    /// Memory and synced journal are the same just now: if the keeper waits for that, it gets its values.
    fn offer_folding(&self, state: &mut super::state::State) {
        if state.fold_wanted {
            state.fold_wanted = false;
            state.fold_taken = state.take_folding();
            self.shared.ring();
        }
    }

    /// It is on disk: now the memory changes.
    fn applied(&self, no: CommitNo, at: Timestamp, bytes: u64, synced: bool, ready: Ready) {
        self.shared.figures.commits.fetch_add(1, Ordering::Relaxed);
        self.shared.figures.bytes.fetch_add(bytes, Ordering::Relaxed);
        let mut state = self.shared.state();
        state.window.commit(no, at, bytes);
        for (event, wanted) in ready.events {
            state.cache.accepted(Arc::new(event), wanted);
        }
        for effect in ready.effects {
            state.window.item(no, at, &effect);
            state.apply(no, at, effect);
        }
        if let Some(sample) = state.window.summary.samples.last().copied() {
            state.samples.insert(sample.0, sample.1);
        }
        state.last = no;
        if synced {
            state.synced = no;
            self.offer_folding(&mut state);
        }
    }

    fn rotate_if_full(&mut self) -> Result<(), StoreError> {
        let bytes = self.shared.state().window.summary.bytes;
        if bytes >= self.shared.limits.rotate_at() { self.rotate() } else { Ok(()) }
    }

    /// Seals the active segment and begins the next. The old one is synced first, so that a start sees a journal without holes.
    fn rotate(&mut self) -> Result<(), StoreError> {
        if self.unsynced_since.is_some() {
            self.sync()?;
        }
        let first = self.shared.state().last.next();
        let (slot, segment) = match self.shared.journal.begin(first) {
            Ok(begun) => begun,
            // No room for the next one: this one goes on, and its own writes say whether the disk is really full.
            Err(StoreError::Full { .. }) => {
                self.shared.measure();
                return Ok(());
            }
            Err(e) => return Err(self.failed(e)),
        };
        let window = {
            let mut state = self.shared.state();
            let next = Window::new(first, state.next_event);
            let window = Arc::new(std::mem::replace(&mut state.window, next));
            state.sealing = Some(window.clone());
            window
        };
        // Sorting takes a while and is not done under the lock; meanwhile readers look into `sealing`.
        self.slot.seal(window.summary.clone(), Some(Index::of(&window)));
        if let Some(keys) = KeySet::sealed(window.summary.first_commit, window.keys.iter().map(|(key, entry)| (*key, entry.clone()))) {
            self.shared.keys.add(keys);
        }
        self.shared.state().sealing = None;
        (self.slot, self.segment) = (slot, Some(segment));
        self.shared.ring();
        Ok(())
    }

    /// A write or a sync of the active segment failed: what is on disk is unknown.
    fn failed(&mut self, error: StoreError) -> StoreError {
        match &error {
            StoreError::Conflict(_) => return error,
            StoreError::Full { .. } => {
                self.shared.measure();
                self.stuck = true;
                if let Err(again) = self.recover() {
                    tracing::warn!(error = %again, "the disk is full; the next commit tries again");
                }
            }
            StoreError::Io { .. } | StoreError::Corrupt { .. } => self.shared.poison(&error),
        }
        error
    }

    /// After a full disk: the reserve makes room, the segment is opened anew, what nobody was told about is removed, what was settled lazily is written
    /// again, and the segment is sealed at the next chance.
    fn recover(&mut self) -> Result<(), StoreError> {
        let shared = self.shared.clone();
        shared.seam.remove(FaultPoint::Setup, &shared.dir.join(RESERVE))?;
        self.segment = None;
        let segment = shared.journal.reopen(&self.slot)?;
        let last = shared.state().last;
        shared.journal.forget_commits(last.next());
        segment.cut_after(last)?;
        for (no, body) in &self.unsynced {
            segment.insert(*no, body, &shared.seam)?;
        }
        segment.sync(&shared.seam)?;
        self.segment = Some(segment);
        self.stuck = false;
        tracing::info!(commit = last.0, "the journal is open again after the disk was full");
        shared.journal.mark_synced(last)?;
        self.unsynced.clear();
        self.unsynced_since = None;
        let mut state = shared.state();
        state.synced = last;
        self.offer_folding(&mut state);
        Ok(())
    }

    /// Copies the records that retention waits for.
    fn copy(&mut self) -> Result<(), StoreError> {
        let stragglers = self.shared.stragglers.take(COPY_BYTES);
        let mut body = Body::default();
        let mut effects = Vec::new();
        for straggler in stragglers {
            let standing = {
                let state = self.shared.state();
                // It may be done by now.
                if !state.is_pinned(straggler.no) {
                    continue;
                }
                Standing { owed: state.owed_of(straggler.no), dead: straggler.dead }
            };
            body.copy(straggler.no, &straggler.event, &straggler.note, &standing);
            effects.push(Effect::Copy { no: straggler.no, standing });
        }
        if effects.is_empty() {
            return Ok(());
        }
        let first_event = self.shared.state().next_event;
        self.commit(Ready { body, effects, events: Vec::new(), first_event, durability: Durability::Synced }).map(drop)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop_keeper();
    }
}
