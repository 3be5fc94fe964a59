//! One segment: a small sled database that holds a stretch of the journal.
//!
//! sled's `flush` is no fsync on Linux (it calls `sync_file_range`), so after it the database's file is synced through a handle of our own. sled
//! neither syncs what it puts under `blobs/`, so nothing may ever get there. It is called only inside `guarded`.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::StoreError;
use super::guard::guarded;
use super::item::Commit;
use super::row::{self, Assembler};
use super::seam::{FaultPoint, Seam};
use crate::model::CommitNo;

/// A node larger than a quarter of this would become a blob; `row::PART_BYTES` is chosen against it.
const SLED_SEGMENT_BYTES: usize = 4 * 1024 * 1024;
/// Of each open database.
const SLED_CACHE_BYTES: u64 = 8 * 1024 * 1024;
/// A database that was just closed keeps its lock until sled's threads let go of it.
const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_STEP: Duration = Duration::from_millis(2);

/// An open segment.
#[derive(Debug)]
pub(super) struct Segment {
    db: sled::Db,
    file: File,
    dir: PathBuf,
    place: String,
}

/// What a scan found beside whole commits.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ScanNotes {
    /// A commit without its last part at the very end: it was being written when the process ended, and nobody was told that it is there.
    pub(super) unfinished: Option<CommitNo>,
    /// Commits whose rows do not check; each is left out.
    pub(super) damaged: Vec<String>,
}

/// The settings of every database of ours. `flush_every`: sled's own flusher, which the journal must not have.
pub(super) fn open_sled(dir: &Path, flush_every: Option<u64>) -> Result<sled::Db, StoreError> {
    let place = dir.display().to_string();
    let config = sled::Config::new()
        .path(dir)
        .segment_size(SLED_SEGMENT_BYTES)
        .cache_capacity(SLED_CACHE_BYTES)
        .flush_every_ms(flush_every)
        .use_compression(false);
    let mut waited = Duration::ZERO;
    loop {
        match guarded(&place, || Ok(config.open()))? {
            Ok(db) => return Ok(db),
            Err(sled::Error::Io(e)) if waited < LOCK_WAIT && is_lock(&e) => {
                waited += LOCK_STEP;
                std::thread::sleep(LOCK_STEP);
            }
            Err(e) => return Err(StoreError::sled(place, e)),
        }
    }
}

/// sled words its lock error itself.
fn is_lock(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::WouldBlock || error.to_string().contains("could not acquire lock")
}

/// Is `blobs/` as empty as it must be?
pub(super) fn has_blobs(dir: &Path) -> bool {
    std::fs::read_dir(dir.join("blobs")).is_ok_and(|mut entries| entries.next().is_some())
}

impl Segment {
    /// Makes an empty database at `dir`, closed, with all its files and folders synced.
    pub(super) fn make(dir: &Path, seam: &Seam) -> Result<(), StoreError> {
        seam.remove(FaultPoint::Spare, dir)?;
        seam.at(FaultPoint::Spare).map_err(|e| StoreError::file(dir, e))?;
        let db = open_sled(dir, None)?;
        guarded(&dir.display().to_string(), || db.flush().map_err(|e| StoreError::sled(dir.display().to_string(), e)))?;
        drop(db);
        seam.sync_tree(FaultPoint::Spare, dir)?;
        seam.sync_parent(FaultPoint::Spare, dir)
    }

    /// Opens a segment that is there.
    pub(super) fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join("db");
        if !path.is_file() {
            return Err(StoreError::corrupt(dir.display().to_string(), "the database's file is missing"));
        }
        let db = open_sled(dir, None)?;
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(|e| StoreError::file(&path, e))?;
        Ok(Self { db, file, dir: dir.to_owned(), place: dir.display().to_string() })
    }

    /// Writes a commit's rows, the last part last. They are not durable before `sync`. Gives the bytes.
    pub(super) fn insert(&self, commit: CommitNo, body: &[u8], seam: &Seam) -> Result<u64, StoreError> {
        let mut bytes = 0;
        for (key, value) in row::rows(commit, body)? {
            seam.at(FaultPoint::Insert).map_err(|e| StoreError::io(self.at(commit), e))?;
            bytes += (key.len() + value.len()) as u64;
            guarded(&self.place, || self.db.insert(key, value).map_err(|e| StoreError::sled(self.at(commit), e)))?;
        }
        Ok(bytes)
    }

    fn at(&self, commit: CommitNo) -> String {
        format!("{} commit {commit}", self.place)
    }

    /// Makes everything that was inserted durable.
    pub(super) fn sync(&self, seam: &Seam) -> Result<(), StoreError> {
        seam.at(FaultPoint::Flush).map_err(|e| StoreError::io(&*self.place, e))?;
        guarded(&self.place, || self.db.flush().map_err(|e| StoreError::sled(&*self.place, e)))?;
        seam.sync_data(FaultPoint::Sync, &self.file, &self.dir.join("db"))
    }

    /// One commit. None if it is not here, or not whole.
    pub(super) fn read(&self, commit: CommitNo) -> Result<Option<Commit>, StoreError> {
        let body = guarded(&self.place, || {
            let mut assembler = Assembler::default();
            for row in self.db.scan_prefix(commit.0.to_be_bytes()) {
                let (key, value) = row.map_err(|e| StoreError::sled(self.at(commit), e))?;
                if let Some(body) = assembler.push(&self.place, &key, &value)? {
                    return Ok(Some(body));
                }
            }
            Ok(None)
        })?;
        body.map(|body| Commit::new(&self.place, commit, body)).transpose()
    }

    /// Shows every whole commit from `from` on, in order. An error means that nothing here can be trusted.
    pub(super) fn scan(
        &self,
        from: CommitNo,
        mut each: impl FnMut(Commit, u64) -> Result<(), StoreError>,
    ) -> Result<ScanNotes, StoreError> {
        let mut notes = ScanNotes::default();
        let mut at = from;
        let mut bytes = 0;
        let mut assembler = Assembler::default();
        let mut open: Option<CommitNo> = None;
        let mut rows = guarded(&self.place, || Ok(self.db.range(row::key(at, 0)..)))?;
        while let Some(row) = guarded(&self.place, || Ok(rows.next()))? {
            let (key, value) = row.map_err(|e| StoreError::sled(&*self.place, e))?;
            let Some((commit, _)) = row::read_key(&key) else {
                return Err(StoreError::corrupt(&*self.place, "a key that is not a commit's"));
            };
            if open != Some(commit) {
                if let Some(before) = open {
                    notes.damaged.push(format!("{}: the last part is missing", self.at(before)));
                }
                (assembler, open, at, bytes) = (Assembler::default(), Some(commit), commit, 0);
            }
            bytes += (key.len() + value.len()) as u64;
            match assembler.push(&self.place, &key, &value).and_then(|body| body.map(|b| Commit::new(&self.place, at, b)).transpose()) {
                Ok(None) => {}
                Ok(Some(whole)) => {
                    open = None;
                    each(whole, bytes)?;
                }
                Err(e) => {
                    notes.damaged.push(e.to_string());
                    open = None;
                    rows = guarded(&self.place, || Ok(self.db.range(row::key(at.next(), 0)..)))?;
                }
            }
        }
        notes.unfinished = open;
        Ok(notes)
    }

    /// Removes what lies above `last`, which nobody was told about.
    pub(super) fn cut_after(&self, last: CommitNo) -> Result<(), StoreError> {
        guarded(&self.place, || {
            for key in self.db.range(row::key(last.next(), 0)..).keys() {
                let key = key.map_err(|e| StoreError::sled(&*self.place, e))?;
                self.db.remove(key).map_err(|e| StoreError::sled(&*self.place, e))?;
            }
            Ok(())
        })
    }
}
