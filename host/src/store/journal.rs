//! The journal: the segments in order, which of them are open, and the side file with the last synced commit.
//!
//! One slot per segment. The last slot is the active one. Opening a sealed segment or its index takes tens of milliseconds, so that is done under
//! the slot's own lock: it makes others wait who want the same segment, and nobody else.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak};

use super::StoreError;
use super::index::{self, Index};
use super::item::Commit;
use super::seam::{FaultPoint, Seam};
use super::segment::{Segment, has_blobs};
use super::window::Summary;
use crate::model::{CommitNo, EventNo};

/// Sealed segments that stay open for reads.
const OPEN_SEALED_MAX: usize = 8;
/// Indexes that stay in memory beside those not written yet: one of a full segment takes up to 10 MB.
const INDEXES_MAX: usize = 4;
/// Commits that stay decoded for listings, which look at neighbours.
const COMMITS_MAX: usize = 8;
/// The folder of an empty segment that waits for its number.
const SPARE: &str = "spare.new";
/// The file with the last synced commit.
const MARK: &str = "synced";

/// One segment.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) dir: PathBuf,
    pub(super) first_commit: CommitNo,
    /// Set when it is sealed.
    summary: OnceLock<Summary>,
    handle: Mutex<Handle>,
    index: Mutex<Option<Arc<Index>>>,
    /// The index lies in its file.
    index_written: OnceLock<()>,
    /// When it was last used, in uses of the journal.
    used: AtomicU64,
    /// The last commit when nobody was found to need it; 0: it is needed, or was not looked at.
    pub(super) unneeded_at: AtomicU64,
    /// It could not be read for copying; it is left alone until the next start.
    pub(super) damaged: AtomicBool,
}

/// An open database is kept by `held`, or by whoever still reads from it; there must never be two.
#[derive(Debug, Default)]
struct Handle {
    held: Option<Arc<Segment>>,
    seen: Weak<Segment>,
}

impl Slot {
    pub(super) fn new(dir: PathBuf, first_commit: CommitNo) -> Self {
        Self {
            dir,
            first_commit,
            summary: OnceLock::new(),
            handle: Mutex::default(),
            index: Mutex::default(),
            index_written: OnceLock::new(),
            used: AtomicU64::new(0),
            unneeded_at: AtomicU64::new(0),
            damaged: AtomicBool::new(false),
        }
    }

    /// Its figures; None while it is the active one.
    pub(super) fn summary(&self) -> Option<&Summary> {
        self.summary.get()
    }

    /// It is sealed. `index` is Some until it lies in its file.
    pub(super) fn seal(&self, summary: Summary, index: Option<Index>) {
        let _ = self.summary.set(summary);
        match index {
            Some(index) => *lock(&self.index) = Some(Arc::new(index)),
            None => {
                let _ = self.index_written.set(());
            }
        }
    }

    pub(super) fn index_path(&self) -> PathBuf {
        self.dir.with_extension("index")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The folder of a segment. The number is in hex so that names sort as numbers do.
pub(super) fn segment_dir(dir: &Path, first: CommitNo) -> PathBuf {
    dir.join(format!("seg-{:016x}", first.0))
}

/// The number in a segment folder's name.
pub(super) fn segment_no(path: &Path) -> Option<CommitNo> {
    u64::from_str_radix(path.file_name()?.to_str()?.strip_prefix("seg-")?, 16).ok().map(CommitNo)
}

/// All segments.
#[derive(Debug)]
pub(super) struct Journal {
    dir: PathBuf,
    seam: Seam,
    slots: RwLock<Vec<Arc<Slot>>>,
    uses: AtomicU64,
    commits: Mutex<VecDeque<Arc<Commit>>>,
    /// Held while a spare is made or taken.
    spare: Mutex<()>,
    mark: File,
}

impl Journal {
    /// The journal in `dir` with these segments, oldest first.
    pub(super) fn new(dir: PathBuf, seam: Seam, slots: Vec<Arc<Slot>>) -> Result<Self, StoreError> {
        let path = dir.join(MARK);
        if !path.exists() {
            seam.write_file(FaultPoint::Setup, &path, &mark_bytes(CommitNo(0)))?;
        }
        let mark = OpenOptions::new().read(true).write(true).open(&path).map_err(|e| StoreError::file(&path, e))?;
        Ok(Self { dir, seam, slots: RwLock::new(slots), uses: AtomicU64::new(0), commits: Mutex::default(), spare: Mutex::new(()), mark })
    }

    pub(super) fn slots(&self) -> Vec<Arc<Slot>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The segment that a commit would lie in.
    pub(super) fn slot_of_commit(&self, commit: CommitNo) -> Option<Arc<Slot>> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let after = slots.partition_point(|slot| slot.first_commit <= commit);
        slots.get(after.checked_sub(1)?).cloned()
    }

    /// The sealed segment that accepted an event.
    pub(super) fn slot_of_event(&self, no: EventNo) -> Option<Arc<Slot>> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.iter().rev().find(|slot| slot.summary().is_some_and(|summary| summary.holds_event(no))).cloned()
    }

    /// The open database of a slot.
    pub(super) fn open(&self, slot: &Slot) -> Result<Arc<Segment>, StoreError> {
        slot.used.store(self.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        let mut handle = lock(&slot.handle);
        if let Some(open) = handle.held.clone().or_else(|| handle.seen.upgrade()) {
            handle.held = Some(open.clone());
            return Ok(open);
        }
        let open = Arc::new(Segment::open(&slot.dir)?);
        *handle = Handle { held: Some(open.clone()), seen: Arc::downgrade(&open) };
        Ok(open)
    }

    /// The database of the active segment, opened anew after the disk was full.
    pub(super) fn reopen(&self, slot: &Slot) -> Result<Arc<Segment>, StoreError> {
        *lock(&slot.handle) = Handle::default();
        self.open(slot)
    }

    /// The index of a sealed segment: memory, file, or a scan if the file cannot be used.
    pub(super) fn index(&self, slot: &Slot, rebuild: impl FnOnce(&Segment) -> Result<Index, StoreError>) -> Result<Arc<Index>, StoreError> {
        slot.used.store(self.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        let mut kept = lock(&slot.index);
        if let Some(index) = &*kept {
            return Ok(index.clone());
        }
        let index = match index::load(&slot.index_path()) {
            Ok(index) => index,
            Err(_) => rebuild(&*self.open(slot)?)?,
        };
        let index = Arc::new(index);
        *kept = Some(index.clone());
        Ok(index)
    }

    /// A commit, from whichever segment it lies in.
    pub(super) fn commit(&self, no: CommitNo) -> Result<Option<Arc<Commit>>, StoreError> {
        if let Some(commit) = lock(&self.commits).iter().find(|commit| commit.no == no) {
            return Ok(Some(commit.clone()));
        }
        let Some(slot) = self.slot_of_commit(no) else { return Ok(None) };
        let Some(commit) = self.open(&slot)?.read(no)? else { return Ok(None) };
        let commit = Arc::new(commit);
        let mut commits = lock(&self.commits);
        commits.push_back(commit.clone());
        if commits.len() > COMMITS_MAX {
            commits.pop_front();
        }
        Ok(Some(commit))
    }

    /// Forgets decoded commits from `from` on: they are about to be written anew.
    pub(super) fn forget_commits(&self, from: CommitNo) {
        lock(&self.commits).retain(|commit| commit.no < from);
    }

    /// Makes the empty segment that the next rotation takes, unless there is one.
    pub(super) fn make_spare(&self) -> Result<(), StoreError> {
        let _guard = lock(&self.spare);
        let path = self.dir.join(SPARE);
        if path.exists() { Ok(()) } else { Segment::make(&path, &self.seam) }
    }

    /// Begins a segment with commit `first`; it becomes the active one. The caller has synced the one before.
    pub(super) fn begin(&self, first: CommitNo) -> Result<(Arc<Slot>, Arc<Segment>), StoreError> {
        let dir = segment_dir(&self.dir, first);
        if let Some(before) = self.slots().last()
            && has_blobs(&before.dir)
        {
            return Err(StoreError::corrupt(before.dir.display().to_string(), "it has blobs, which are never synced: this is a bug"));
        }
        self.make_spare()?;
        self.has_descriptors()?;
        let guard = lock(&self.spare);
        self.seam.rename(FaultPoint::Rotate, &self.dir.join(SPARE), &dir)?;
        drop(guard);
        let slot = Arc::new(Slot::new(dir, first));
        let open = match self.open(&slot) {
            Ok(open) => open,
            Err(e) => {
                // The segment before goes on with this number, so no other may claim to begin with it.
                self.seam
                    .remove(FaultPoint::Rotate, &slot.dir)
                    .map_err(|left| StoreError::io(left.to_string(), std::io::Error::other(e.to_string())))?;
                return Err(e);
            }
        };
        self.slots.write().unwrap_or_else(PoisonError::into_inner).push(slot.clone());
        Ok((slot, open))
    }

    /// Are there file descriptors for a rotation? Once the folder has its new name there is no way back without them.
    fn has_descriptors(&self) -> Result<(), StoreError> {
        const NEEDED: usize = 16;
        let tried: std::io::Result<Vec<File>> = (0..NEEDED).map(|_| File::open(&self.dir)).collect();
        tried.map(drop).map_err(|e| StoreError::file(&self.dir, e))
    }

    /// Takes a segment out: nobody finds it any more.
    pub(super) fn take_out(&self, slot: &Arc<Slot>) {
        self.slots.write().unwrap_or_else(PoisonError::into_inner).retain(|other| !Arc::ptr_eq(other, slot));
        *lock(&slot.handle) = Handle::default();
    }

    /// Notes the last synced commit, after the sync. It is written and not synced: behind is fine, ahead is impossible.
    pub(super) fn mark_synced(&self, commit: CommitNo) -> Result<(), StoreError> {
        let path = self.dir.join(MARK);
        self.seam.at(FaultPoint::Mark).map_err(|e| StoreError::file(&path, e))?;
        self.mark.write_all_at(&mark_bytes(commit), 0).map_err(|e| StoreError::file(&path, e))
    }

    /// The last synced commit, as far as the side file knows. 0 if it cannot be read.
    pub(super) fn marked(&self) -> CommitNo {
        let mut bytes = [0; 12];
        let read = self.mark.read_exact_at(&mut bytes, 0);
        let (number, crc) = bytes.split_at(8);
        let whole = read.is_ok() && crc32fast::hash(number).to_be_bytes() == crc;
        CommitNo(if whole { u64::from_be_bytes(number.try_into().expect("eight bytes")) } else { 0 })
    }

    /// Writes the index files of what is sealed.
    pub(super) fn write_indexes(&self) -> Result<(), StoreError> {
        for slot in self.slots() {
            let (Some(summary), None) = (slot.summary(), slot.index_written.get()) else { continue };
            let Some(index) = lock(&slot.index).clone() else { continue };
            index::write(&slot.index_path(), summary, &index, &self.seam)?;
            let _ = slot.index_written.set(());
        }
        Ok(())
    }

    /// Closes what was not used lately. The active segment stays open, and so does an index that is nowhere else.
    pub(super) fn close_idle(&self) {
        let mut slots: Vec<_> = self.slots().into_iter().filter(|slot| slot.summary().is_some()).collect();
        slots.sort_by_key(|slot| std::cmp::Reverse(slot.used.load(Ordering::Relaxed)));
        let open: Vec<_> = slots.iter().filter(|slot| lock(&slot.handle).held.is_some()).collect();
        for slot in open.into_iter().skip(OPEN_SEALED_MAX) {
            // Dropped outside of the lock: closing takes tens of milliseconds. A reader who comes now waits for sled's own lock.
            let _closed = lock(&slot.handle).held.take();
        }
        for slot in slots.iter().filter(|slot| slot.index_written.get().is_some()).skip(INDEXES_MAX) {
            lock(&slot.index).take();
        }
    }
}

fn mark_bytes(commit: CommitNo) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&commit.0.to_be_bytes());
    let crc = crc32fast::hash(&bytes[..8]);
    bytes[8..].copy_from_slice(&crc.to_be_bytes());
    bytes
}
