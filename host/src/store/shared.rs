//! What the readers, the writer and the keeper share: the memory under its lock, the journal, the catalog, and the figures.

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use super::StoreError;
use super::catalog::Catalog;
use super::index::Index;
use super::item::Commit;
use super::journal::{Journal, Slot};
use super::limits::Limits;
use super::nouns::{Room, Stats};
use super::remembered::KeyFiles;
use super::seam::Seam;
use super::secret::Sealer;
use super::segment::Segment;
use super::state::State;
use super::window::{Window, commit_of};
use crate::model::{Clock, CommitNo, Event, EventNo};

/// Counters, each on its own.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) commits: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) sync_us_total: AtomicU64,
    pub(super) sync_us_last: AtomicU64,
    pub(super) keys_forgotten: AtomicU64,
    pub(super) dead_removed: AtomicU64,
    pub(super) disk_bytes: AtomicU64,
    /// Free disk, as last looked at.
    pub(super) free_bytes: AtomicU64,
}

/// Everything that is shared.
pub(super) struct Shared {
    pub(super) dir: PathBuf,
    pub(super) limits: Limits,
    pub(super) clock: Clock,
    pub(super) seam: Seam,
    pub(super) sealer: Sealer,
    pub(super) journal: Journal,
    pub(super) catalog: Catalog,
    pub(super) keys: KeyFiles,
    /// Between keeper and committer.
    pub(super) stragglers: super::retain::Stragglers,
    state: Mutex<State>,
    /// Told when the keeper has something to do, and when it is to stop.
    pub(super) bell: Condvar,
    pub(super) wanted: Mutex<super::keeper::Wanted>,
    /// Why nothing is written any more, until the next start.
    pub(super) poison: OnceLock<String>,
    pub(super) figures: Figures,
    /// Held as long as anybody uses the data folder.
    pub(super) _lock: File,
}

/// What `Shared` is made of.
pub(super) struct Parts {
    pub(super) dir: PathBuf,
    pub(super) limits: Limits,
    pub(super) clock: Clock,
    pub(super) seam: Seam,
    pub(super) sealer: Sealer,
    pub(super) journal: Journal,
    pub(super) catalog: Catalog,
    pub(super) keys: KeyFiles,
    pub(super) state: State,
    pub(super) lock: File,
}

impl Shared {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { dir, limits, clock, seam, sealer, journal, catalog, keys, state, lock } = parts;
        let figures = Figures { free_bytes: AtomicU64::new(u64::MAX), ..Figures::default() };
        Self {
            dir,
            limits,
            clock,
            seam,
            sealer,
            journal,
            catalog,
            keys,
            stragglers: super::retain::Stragglers::default(),
            state: Mutex::new(state),
            bell: Condvar::new(),
            wanted: Mutex::default(),
            poison: OnceLock::new(),
            figures,
            _lock: lock,
        }
    }

    /// The memory. Never held while waiting for a disk.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An event: memory, else journal. Its neighbours in the commit come along, because claims go on in order.
    pub(super) fn event(&self, no: EventNo) -> Result<Option<Arc<Event>>, StoreError> {
        if let Some(event) = self.state().cache.get(no) {
            return Ok(Some(event));
        }
        let Some(commit) = self.commit_with(no)? else { return Ok(None) };
        let mut found = None;
        let mut neighbours = Vec::new();
        for item in commit.items()? {
            if let Some(event) = commit.event(item)? {
                if event.no == no {
                    found = Some(event.clone());
                }
                neighbours.push(event);
            }
        }
        let mut state = self.state();
        neighbours.into_iter().filter(|event| event.no >= no).for_each(|event| state.cache.read(event));
        Ok(found)
    }

    /// The commit that holds the record of an event. None if it is not kept, or lost to damage.
    pub(super) fn commit_with(&self, no: EventNo) -> Result<Option<Arc<Commit>>, StoreError> {
        let in_memory = {
            let state = self.state();
            let here = state.windows().find(|window| window.summary.holds_event(no)).and_then(|window| commit_of(&window.accepts, no));
            state.moved.get(&no).copied().or(here)
        };
        let commit = match in_memory {
            Some(commit) => Some(commit),
            None => match self.journal.slot_of_event(no) {
                Some(slot) => self.index(&slot)?.accepted(no),
                None => None,
            },
        };
        commit.map_or(Ok(None), |commit| self.journal.commit(commit))
    }

    /// The index of a sealed segment.
    pub(super) fn index(&self, slot: &Slot) -> Result<Arc<Index>, StoreError> {
        self.journal.index(slot, |segment| Ok(Index::of(&self.rescan(segment, slot.first_commit)?)))
    }

    /// Reads a whole segment for what its index should say.
    fn rescan(&self, segment: &Segment, first: CommitNo) -> Result<Window, StoreError> {
        let mut window = Window::new(first, EventNo(0));
        segment.scan(CommitNo(0), |commit, bytes| {
            window.commit(commit.no, commit.at, bytes);
            for item in commit.items()? {
                window.item(commit.no, commit.at, &commit.effect(item, &self.sealer)?);
            }
            Ok(())
        })?;
        Ok(window)
    }

    /// Fails if the store is poisoned.
    pub(super) fn healthy(&self) -> Result<(), StoreError> {
        match self.poison.get() {
            None => Ok(()),
            Some(why) => Err(StoreError::Io { place: "store".into(), source: std::io::Error::other(why.clone()) }),
        }
    }

    /// Nothing is written any more. The first reason stays.
    pub(super) fn poison(&self, error: &StoreError) {
        let _ = self.poison.set(format!("closed for writes after: {error}"));
    }

    /// Is there room for more events?
    pub(super) fn room(&self) -> Room {
        let free = self.figures.free_bytes.load(Ordering::Relaxed);
        if free < self.limits.disk_floor {
            return Room::Low { what: "free disk (bytes)", free, floor: self.limits.disk_floor, setting: "store.free_floor_bytes" };
        }
        if self.figures.disk_bytes.load(Ordering::Relaxed) >= self.limits.disk_max {
            return Room::Low { what: "room in the data folder (bytes)", free: 0, floor: self.limits.disk_max, setting: "store.max_bytes" };
        }
        let owed = self.state().owed_total;
        if owed >= self.limits.queued_max {
            return Room::Low { what: "room for queued deliveries", free: 0, floor: self.limits.queued_max, setting: "delivery.max_owed" };
        }
        Room::Ok
    }

    /// Looks at the disk.
    pub(super) fn measure(&self) {
        if let Ok(free) = super::disk::free(&self.dir) {
            self.figures.free_bytes.store(free, Ordering::Relaxed);
        }
        // The reserve is given back when it counts; it holds nothing.
        let reserve = super::disk::file_usage(&self.dir.join(super::keeper::RESERVE));
        self.figures.disk_bytes.store(super::disk::usage(&self.dir).saturating_sub(reserve), Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> Stats {
        let load = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        let (segments, keys) = (self.journal.slots().len(), self.keys.count());
        let figures = &self.figures;
        let state = self.state();
        let oldest = state.hooks.values().filter_map(|entry| entry.queue.oldest()).min();
        let fresh = state.dead.fresh.values().filter(|entry| entry.is_some()).count() as u64;
        Stats {
            commits: load(&figures.commits),
            bytes_written: load(&figures.bytes),
            syncs: load(&figures.syncs),
            sync_us_total: load(&figures.sync_us_total),
            sync_us_last: load(&figures.sync_us_last),
            segments,
            disk_bytes: load(&figures.disk_bytes),
            owed: state.owed_total,
            oldest_owed_at: oldest.and_then(|no| state.accepted_at(no)),
            keys: keys + state.window.keys.len() as u64,
            keys_forgotten: load(&figures.keys_forgotten),
            throttle_forgotten: state.throttle_forgotten,
            dead_letters: state.dead.folded_count + fresh,
            dead_letters_removed: load(&figures.dead_removed),
            folded: state.folded.0,
            last_commit: state.last.0,
        }
    }
}
