//! The catalog: the folded state, as keys and values in one sled database. It knows bytes and shelves, not what they mean; that is `fold` and `recover`.
//!
//! Values longer than a part are kept in parts under consecutive keys, each with its checksum, so that no tree node becomes a blob. Which folder is
//! the catalog is said by the file `catalog`, so that a rewritten one takes the place of the old one in one rename, with both of them open.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use super::StoreError;
use super::guard::guarded;
use super::keys::{Shelf, prefix};
use super::row::{LAST, PART_BYTES, frame, unframe};
use super::seam::{FaultPoint, Seam};
use super::segment::open_sled;

/// sled's own flusher: its garbage collection lives there.
const FLUSH_EVERY_MS: u64 = 500;
/// The file that names the current folder.
const CURRENT: &str = "catalog";
/// A catalog below this is never rewritten: sled's file grows in steps of 4 MiB.
const REWRITE_FROM_BYTES: u64 = 64 * 1024 * 1024;
/// A part's number.
const PART_KEY_BYTES: usize = 2;

/// An open database.
#[derive(Debug)]
struct Database {
    db: sled::Db,
    file: File,
    dir: PathBuf,
    place: String,
}

/// The catalog. Readers take the current database and never wait for the folding.
#[derive(Debug)]
pub(super) struct Catalog {
    dir: PathBuf,
    seam: Seam,
    current: RwLock<Arc<Database>>,
}

impl Database {
    fn open(dir: &Path) -> Result<Self, StoreError> {
        let db = open_sled(dir, Some(FLUSH_EVERY_MS))?;
        let path = dir.join("db");
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(|e| StoreError::file(&path, e))?;
        Ok(Self { db, file, dir: dir.to_owned(), place: dir.display().to_string() })
    }

    fn error(&self, e: sled::Error) -> StoreError {
        StoreError::sled(&*self.place, e)
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let count = value.len().div_ceil(PART_BYTES).max(1);
        guarded(&self.place, || {
            for i in 0..count {
                let slice = &value[i * PART_BYTES..value.len().min((i + 1) * PART_BYTES)];
                let key = part_key(key, i);
                self.db.insert(&key, frame(&key, if i + 1 == count { LAST } else { 0 }, slice)).map_err(|e| self.error(e))?;
            }
            self.cut(key, count)
        })
    }

    /// Removes the parts from `from` on.
    fn cut(&self, key: &[u8], from: usize) -> Result<(), StoreError> {
        for i in from..=usize::from(u16::MAX) {
            if self.db.remove(part_key(key, i)).map_err(|e| self.error(e))?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn sync(&self, point: FaultPoint, seam: &Seam) -> Result<(), StoreError> {
        seam.at(point).map_err(|e| StoreError::io(&*self.place, e))?;
        guarded(&self.place, || self.db.flush().map_err(|e| self.error(e)))?;
        seam.sync_data(point, &self.file, &self.dir.join("db"))?;
        self.sync_blobs(point, seam)
    }

    /// A blob that is there all the same is synced by us, because sled does not.
    fn sync_blobs(&self, point: FaultPoint, seam: &Seam) -> Result<(), StoreError> {
        if super::segment::has_blobs(&self.dir) { seam.sync_tree(point, &self.dir.join("blobs")) } else { Ok(()) }
    }
}

fn part_key(key: &[u8], part: usize) -> Vec<u8> {
    let part = u16::try_from(part).expect("values end at 65 536 parts of 16 KiB").to_be_bytes();
    [key, &part].concat()
}

impl Catalog {
    /// Opens the current catalog. None if there is none yet. Folders that are not the current one are leftovers and go.
    pub(super) fn open(dir: &Path, seam: &Seam) -> Result<Option<Self>, StoreError> {
        let named = match fs::read_to_string(dir.join(CURRENT)) {
            Ok(name) => name.trim().to_owned(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(StoreError::file(&dir.join(CURRENT), e)),
        };
        for number in Self::numbers(dir)? {
            let name = Self::name(number);
            if name != named {
                seam.remove(FaultPoint::Remove, &dir.join(name))?;
            }
        }
        if named.is_empty() {
            return Ok(None);
        }
        if !dir.join(&named).join("db").is_file() {
            return Err(StoreError::corrupt(dir.join(&named).display().to_string(), "the database's file is missing"));
        }
        let database = Database::open(&dir.join(named))?;
        Ok(Some(Self { dir: dir.to_owned(), seam: seam.clone(), current: RwLock::new(Arc::new(database)) }))
    }

    /// Makes one that holds only `key` and `value`, by which it is known to be one, and makes it current.
    pub(super) fn create(dir: &Path, seam: &Seam, key: &[u8], value: &[u8]) -> Result<Self, StoreError> {
        let database = Self::begin(dir, seam, FaultPoint::Setup)?;
        database.put(key, value)?;
        Self::finish(dir, seam, FaultPoint::Setup, &database)?;
        Ok(Self { dir: dir.to_owned(), seam: seam.clone(), current: RwLock::new(Arc::new(database)) })
    }

    /// Sets the current one aside under a name that says so. Gives that name.
    pub(super) fn set_aside(dir: &Path, seam: &Seam) -> Result<Option<PathBuf>, StoreError> {
        let Ok(named) = fs::read_to_string(dir.join(CURRENT)) else { return Ok(None) };
        let from = dir.join(named.trim());
        let to = from.with_extension("bad");
        seam.remove(FaultPoint::Setup, &to)?;
        if from.exists() {
            seam.rename(FaultPoint::Setup, &from, &to)?;
        }
        seam.remove(FaultPoint::Setup, &dir.join(CURRENT))?;
        Ok(Some(to))
    }

    fn name(number: u64) -> String {
        format!("catalog-{number:08}")
    }

    fn numbers(dir: &Path) -> Result<Vec<u64>, StoreError> {
        let entries = fs::read_dir(dir).map_err(|e| StoreError::file(dir, e))?;
        let number = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_prefix("catalog-")?.parse().ok();
        Ok(entries.filter_map(|entry| number(entry.ok()?)).collect())
    }

    fn begin(dir: &Path, seam: &Seam, point: FaultPoint) -> Result<Database, StoreError> {
        let number = Self::numbers(dir)?.into_iter().max().unwrap_or(0) + 1;
        seam.at(point).map_err(|e| StoreError::file(dir, e))?;
        Database::open(&dir.join(Self::name(number)))
    }

    fn finish(dir: &Path, seam: &Seam, point: FaultPoint, database: &Database) -> Result<(), StoreError> {
        database.sync(point, seam)?;
        seam.sync_tree(point, &database.dir)?;
        seam.sync_path(point, dir)?;
        let name = database.dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        seam.write_file(point, &dir.join(CURRENT), name.as_bytes())
    }

    fn database(&self) -> Arc<Database> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets a value.
    pub(super) fn put(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let database = self.database();
        self.seam.at(FaultPoint::Fold).map_err(|e| StoreError::io(&*database.place, e))?;
        database.put(key, value)
    }

    /// Removes a value. False if there was none.
    pub(super) fn remove(&self, key: &[u8]) -> Result<bool, StoreError> {
        let database = self.database();
        self.seam.at(FaultPoint::Fold).map_err(|e| StoreError::io(&*database.place, e))?;
        guarded(&database.place, || {
            let was = database.db.contains_key(part_key(key, 0)).map_err(|e| database.error(e))?;
            database.cut(key, 0)?;
            Ok(was)
        })
    }

    /// A value.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let database = self.database();
        guarded(&database.place, || {
            let mut value = Vec::new();
            for part in 0.. {
                let key = part_key(key, part);
                match database.db.get(&key).map_err(|e| database.error(e))? {
                    None if part == 0 => return Ok(None),
                    None => return Err(StoreError::corrupt(&*database.place, "a value's last part is missing")),
                    Some(row) => {
                        let (flags, slice) = unframe(&key, &row).map_err(|what| StoreError::corrupt(&*database.place, what))?;
                        value.extend_from_slice(slice);
                        if flags & LAST != 0 {
                            break;
                        }
                    }
                }
            }
            Ok(Some(value))
        })
    }

    /// Shows every value of a shelf, in order, with its key behind the prefix, until `each` says false.
    pub(super) fn each(&self, shelf: Shelf, each: impl FnMut(&[u8], &[u8]) -> Result<bool, StoreError>) -> Result<(), StoreError> {
        let prefix = prefix(shelf);
        let mut end = prefix.clone();
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        self.range(prefix.len(), prefix, end, false, each)
    }

    /// Shows the values from `from` to before `to`, forwards or backwards. Keys are shown behind their first `skip` bytes.
    pub(super) fn range(
        &self,
        skip: usize,
        from: Vec<u8>,
        to: Vec<u8>,
        backwards: bool,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let database = self.database();
        let corrupt = |what: &str| StoreError::corrupt(&*database.place, what);
        let mut rows = guarded(&database.place, || Ok(database.db.range(from..to)))?;
        while let Some(row) = guarded(&database.place, || Ok(if backwards { rows.next_back() } else { rows.next() }))? {
            let (key, row) = row.map_err(|e| database.error(e))?;
            let (whole, part) =
                key.split_at_checked(key.len().wrapping_sub(PART_KEY_BYTES)).ok_or_else(|| corrupt("a key is cut short"))?;
            if part != [0, 0] {
                continue;
            }
            let (flags, slice) = unframe(&key, &row).map_err(|what| corrupt(&what))?;
            let long = if flags & LAST == 0 { self.get(whole)? } else { None };
            if !each(&whole[skip..], long.as_deref().unwrap_or(slice))? {
                break;
            }
        }
        Ok(())
    }

    /// Makes what was put durable.
    pub(super) fn sync(&self, point: FaultPoint) -> Result<(), StoreError> {
        self.database().sync(point, &self.seam)
    }

    /// Bytes on disk.
    pub(super) fn disk_bytes(&self) -> u64 {
        super::disk::usage(&self.database().dir)
    }

    /// Writes the catalog anew if it is larger than four times what it holds. Only the folding thread, which alone writes here, may call this.
    pub(super) fn rewrite_if_grown(&self, floor: Option<u64>) -> Result<bool, StoreError> {
        let disk = self.disk_bytes();
        if disk < floor.unwrap_or(REWRITE_FROM_BYTES) {
            return Ok(false);
        }
        let old = self.database();
        let live = guarded(&old.place, || {
            old.db.iter().try_fold(0, |sum, row| row.map(|(key, value)| sum + (key.len() + value.len()) as u64)).map_err(|e| old.error(e))
        })?;
        if disk <= live.saturating_mul(4) {
            return Ok(false);
        }
        self.rewrite(old)?;
        Ok(true)
    }

    /// Writes the catalog anew whatever its size: out of a database that a full disk has left in an error.
    pub(super) fn renew(&self) -> Result<(), StoreError> {
        self.rewrite(self.database())
    }

    fn rewrite(&self, old: Arc<Database>) -> Result<(), StoreError> {
        let new = Self::begin(&self.dir, &self.seam, FaultPoint::Rewrite)?;
        guarded(&new.place, || {
            for row in old.db.iter() {
                let (key, value) = row.map_err(|e| old.error(e))?;
                new.db.insert(key, value).map_err(|e| new.error(e))?;
            }
            Ok(())
        })?;
        Self::finish(&self.dir, &self.seam, FaultPoint::Switch, &new)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        // A reader may still hold the old one; unlinked files stay readable for it, and a start removes what is left.
        let dir = old.dir.clone();
        drop(old);
        self.seam.remove(FaultPoint::Remove, &dir)
    }
}
