//! The one seam to the disk and to randomness: what is written, synced, renamed and removed goes through here, at named points.
//!
//! In production nobody watches and a point costs one branch. Tests watch: they make a point fail, stop everything at it, or keep a second disk
//! that holds only what was synced. It is no file system abstraction: reading needs no seam.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::StoreError;

/// A folder that does not stay empty is removed again this often, in steps of so long.
const REMOVE_TRIES: u32 = 200;
const REMOVE_STEP: Duration = Duration::from_millis(5);

/// Where something reaches the disk. In the order in which an event's life meets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FaultPoint {
    /// A part of a commit is put into the active segment.
    Insert,
    /// sled is told to write what it holds.
    Flush,
    /// The active segment's file is synced.
    Sync,
    /// The last synced number goes to the side file.
    Mark,
    /// A spare segment is made.
    Spare,
    /// The spare gets its number.
    Rotate,
    /// A sealed segment's index is written.
    Seal,
    /// A sealed segment's remembered keys are written.
    Keys,
    /// Folded values go into the catalog.
    Fold,
    /// The catalog is synced.
    FoldSync,
    /// The folded number goes into the catalog.
    FoldMark,
    /// The entities are exported.
    Export,
    /// A segment is renamed to `*.gone`.
    Drop,
    /// Its files are removed.
    Remove,
    /// The catalog is rewritten.
    Rewrite,
    /// The new catalog becomes the current one.
    Switch,
    /// A component is written.
    Component,
    /// Keys, format mark, reserve.
    Setup,
}

impl FaultPoint {
    /// All of them, for tests that try each.
    pub const ALL: [Self; 18] = [
        Self::Insert,
        Self::Flush,
        Self::Sync,
        Self::Mark,
        Self::Spare,
        Self::Rotate,
        Self::Seal,
        Self::Keys,
        Self::Fold,
        Self::FoldSync,
        Self::FoldMark,
        Self::Export,
        Self::Drop,
        Self::Remove,
        Self::Rewrite,
        Self::Switch,
        Self::Component,
        Self::Setup,
    ];
}

/// Somebody who watches, or breaks, what reaches the disk.
pub trait Observer: Send + Sync {
    /// Called before the thing is done; an error is what the disk would have said, and the thing is not done.
    fn at(&self, point: FaultPoint) -> io::Result<()>;
    /// This file's content, or this folder's list of names, is now durable.
    fn synced(&self, path: &Path);
    /// False takes the fdatasync out, to show that the power-loss test sees it missing.
    fn wants_sync(&self) -> bool {
        true
    }
}

/// The seam. Clones share the observer.
#[derive(Clone, Default)]
pub struct Seam(Option<Arc<dyn Observer>>);

impl std::fmt::Debug for Seam {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Seam(watched)" } else { "Seam" })
    }
}

impl Seam {
    /// A seam that somebody watches.
    pub fn watched(observer: Arc<dyn Observer>) -> Self {
        Self(Some(observer))
    }

    /// Passes a point.
    pub(super) fn at(&self, point: FaultPoint) -> io::Result<()> {
        match &self.0 {
            None => Ok(()),
            Some(observer) => observer.at(point),
        }
    }

    fn synced(&self, path: &Path) {
        if let Some(observer) = &self.0 {
            observer.synced(path);
        }
    }

    /// fdatasync of an open file that lies at `path`.
    pub(super) fn sync_data(&self, point: FaultPoint, file: &File, path: &Path) -> Result<(), StoreError> {
        self.at(point).map_err(|e| StoreError::file(path, e))?;
        if self.0.as_ref().is_some_and(|observer| !observer.wants_sync()) {
            return Ok(());
        }
        file.sync_data().map_err(|e| StoreError::file(path, e))?;
        self.synced(path);
        Ok(())
    }

    /// fsync of whatever lies at `path`, file or folder.
    pub(super) fn sync_path(&self, point: FaultPoint, path: &Path) -> Result<(), StoreError> {
        let sync = || {
            self.at(point)?;
            File::open(path)?.sync_all()
        };
        sync().map_err(|e| StoreError::file(path, e))?;
        self.synced(path);
        Ok(())
    }

    /// fsync of everything below `dir`, and of `dir` itself, deepest first.
    pub(super) fn sync_tree(&self, point: FaultPoint, dir: &Path) -> Result<(), StoreError> {
        for entry in fs::read_dir(dir).map_err(|e| StoreError::file(dir, e))? {
            let path = entry.map_err(|e| StoreError::file(dir, e))?.path();
            if path.is_dir() {
                self.sync_tree(point, &path)?;
            } else {
                self.sync_path(point, &path)?;
            }
        }
        self.sync_path(point, dir)
    }

    /// Writes a file whole: temporary file, fsync, rename, fsync of the folder. Mode 0600.
    pub(super) fn write_file(&self, point: FaultPoint, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let temporary = path.with_extension("tmp");
        let write = || {
            self.at(point)?;
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(bytes)?;
            self.at(point)?;
            file.sync_all()
        };
        write().map_err(|e| StoreError::file(&temporary, e))?;
        self.synced(&temporary);
        self.rename(point, &temporary, path)
    }

    /// Renames within one folder and syncs the folder.
    pub(super) fn rename(&self, point: FaultPoint, from: &Path, to: &Path) -> Result<(), StoreError> {
        self.at(point).and_then(|()| fs::rename(from, to)).map_err(|e| StoreError::file(from, e))?;
        self.sync_parent(point, to)
    }

    /// fsync of the folder that `path` is in.
    pub(super) fn sync_parent(&self, point: FaultPoint, path: &Path) -> Result<(), StoreError> {
        match path.parent() {
            Some(parent) => self.sync_path(point, parent),
            None => Ok(()),
        }
    }

    /// Removes a file or a folder with all that is in it; what is not there is fine.
    pub(super) fn remove(&self, point: FaultPoint, path: &Path) -> Result<(), StoreError> {
        let remove = || {
            self.at(point)?;
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
        };
        let mut tries = 0;
        loop {
            match remove() {
                // sled's threads may still write into a folder whose database was just closed.
                Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty && tries < REMOVE_TRIES => {
                    tries += 1;
                    std::thread::sleep(REMOVE_STEP);
                }
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(StoreError::file(path, e)),
                Ok(()) | Err(_) => return Ok(()),
            }
        }
    }

    /// Fills `bytes` with randomness.
    pub(super) fn random(&self, bytes: &mut [u8]) -> Result<(), StoreError> {
        getrandom::fill(bytes).map_err(|e| StoreError::io("random numbers of the system", io::Error::other(e.to_string())))
    }
}
