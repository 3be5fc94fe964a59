//! Producers' keys that are remembered: those of the active segment in memory, those of each sealed one in a sorted file behind a Bloom filter.
//!
//! The files live as long as keys are remembered, which has nothing to do with how long their segments do.
//!
//! File: magic, count, CRC32 of the entries, entries of 84 bytes sorted by fingerprint: fingerprint 16, content 16, id 40 (length and text), hooks 4, time 8.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use super::StoreError;
use super::nouns::{ContentHash, Fingerprint, Remembered};
use super::seam::{FaultPoint, Seam};
use super::window::KeyEntry;
use crate::model::{CommitNo, EventId, Timestamp};

const MAGIC: &[u8; 8] = b"THkeys\x00\x01";
const HEAD_BYTES: usize = MAGIC.len() + 8 + 4;
const ENTRY_BYTES: usize = 84;
/// `EventId::new` makes 36 bytes.
const ID_BYTES: usize = 40;

/// Ten bits a key and seven probes: one key in a hundred that was never seen costs a look into the file.
#[derive(Debug)]
struct Bloom {
    bits: Vec<u64>,
}

impl Bloom {
    fn new(keys: usize) -> Self {
        Self { bits: vec![0; (keys * 10).div_ceil(64).max(1)] }
    }

    /// The fingerprint is a keyed hash already, so its halves are as good as two hashes.
    fn probes(&self, key: &Fingerprint) -> impl Iterator<Item = (usize, u64)> + use<> {
        let half = |from: usize| u64::from_le_bytes(key.0[from..from + 8].try_into().expect("eight bytes"));
        let (a, b) = (half(0), half(8) | 1);
        let size = self.bits.len() as u64 * 64;
        (0..7u64).map(move |i| {
            let bit = a.wrapping_add(b.wrapping_mul(i)) % size;
            ((bit / 64) as usize, 1 << (bit % 64))
        })
    }

    fn insert(&mut self, key: &Fingerprint) {
        for (word, bit) in self.probes(key) {
            self.bits[word] |= bit;
        }
    }

    fn may_hold(&self, key: &Fingerprint) -> bool {
        self.probes(key).all(|(word, bit)| self.bits[word] & bit != 0)
    }
}

/// The keys of one sealed segment.
#[derive(Debug)]
pub(super) struct KeySet {
    /// Of the segment.
    first_commit: CommitNo,
    count: u64,
    /// When the youngest was accepted.
    last_at: Timestamp,
    bloom: Bloom,
    entries: Entries,
}

#[derive(Debug)]
enum Entries {
    /// Sealed and not yet written.
    Memory(Arc<Vec<(Fingerprint, KeyEntry)>>),
    File(File, PathBuf),
}

fn write_entry(key: &Fingerprint, entry: &KeyEntry, out: &mut Vec<u8>) {
    let id = entry.remembered.event.as_str().as_bytes();
    let length = id.len().min(ID_BYTES - 1);
    let mut field = [0; ID_BYTES];
    field[0] = length as u8;
    field[1..=length].copy_from_slice(&id[..length]);
    out.extend(key.0);
    out.extend(entry.remembered.content.0);
    out.extend(field);
    out.extend(entry.remembered.deliveries.to_le_bytes());
    out.extend(entry.at.0.to_le_bytes());
}

fn read_entry(bytes: &[u8; ENTRY_BYTES]) -> (Fingerprint, KeyEntry) {
    let array = |from: usize| -> [u8; 16] { bytes[from..from + 16].try_into().expect("sixteen bytes") };
    let length = usize::from(bytes[32]).min(ID_BYTES - 1);
    let id = String::from_utf8_lossy(&bytes[33..33 + length]);
    let remembered = Remembered {
        content: ContentHash(array(16)),
        event: EventId(id.into()),
        deliveries: u32::from_le_bytes(bytes[72..76].try_into().expect("four bytes")),
    };
    let at = Timestamp(i64::from_le_bytes(bytes[76..].try_into().expect("eight bytes")));
    (Fingerprint(array(0)), KeyEntry { remembered, at })
}

impl KeySet {
    /// Of a segment that is being sealed; still in memory. None if it has no keys.
    pub(super) fn sealed(first_commit: CommitNo, keys: impl IntoIterator<Item = (Fingerprint, KeyEntry)>) -> Option<Self> {
        let mut entries: Vec<_> = keys.into_iter().collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        let last_at = entries.iter().map(|(_, entry)| entry.at).max()?;
        let mut bloom = Bloom::new(entries.len());
        entries.iter().for_each(|(key, _)| bloom.insert(key));
        let count = entries.len() as u64;
        Some(Self { first_commit, count, last_at, bloom, entries: Entries::Memory(Arc::new(entries)) })
    }

    /// Writes the file, if that is not done, and gives the set that reads from it.
    fn write(&self, dir: &Path, seam: &Seam) -> Result<Option<Self>, StoreError> {
        let Entries::Memory(entries) = &self.entries else { return Ok(None) };
        let mut lines = Vec::with_capacity(entries.len() * ENTRY_BYTES);
        entries.iter().for_each(|(key, entry)| write_entry(key, entry, &mut lines));
        let mut out = MAGIC.to_vec();
        out.extend((entries.len() as u64).to_le_bytes());
        out.extend(crc32fast::hash(&lines).to_le_bytes());
        out.extend(lines);
        let path = dir.join(format!("{:016x}.keys", self.first_commit.0));
        seam.write_file(FaultPoint::Keys, &path, &out)?;
        Self::load(&path).map(Some).map_err(|what| StoreError::corrupt(path.display().to_string(), what))
    }

    /// From a file, every byte of it checked. The error says why it cannot be used.
    fn load(path: &Path) -> Result<Self, String> {
        let number = path.file_stem().and_then(|stem| u64::from_str_radix(stem.to_str()?, 16).ok()).ok_or("its name is no number")?;
        let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
        let (head, lines) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or("it is cut short")?;
        let count = u64::from_le_bytes(head[8..16].try_into().expect("eight bytes"));
        if &head[..8] != MAGIC || crc32fast::hash(lines).to_le_bytes() != head[16..] {
            return Err("the checksum does not match".into());
        }
        let (lines, rest) = lines.as_chunks::<ENTRY_BYTES>();
        if lines.len() as u64 != count || !rest.is_empty() {
            return Err("it is cut short".into());
        }
        let mut bloom = Bloom::new(lines.len());
        let mut last_at = Timestamp(i64::MIN);
        for line in lines {
            let (key, entry) = read_entry(line);
            bloom.insert(&key);
            last_at = last_at.max(entry.at);
        }
        let file = File::open(path).map_err(|e| e.to_string())?;
        Ok(Self { first_commit: CommitNo(number), count, last_at, bloom, entries: Entries::File(file, path.to_owned()) })
    }

    fn get(&self, key: &Fingerprint) -> Result<Option<KeyEntry>, StoreError> {
        if !self.bloom.may_hold(key) {
            return Ok(None);
        }
        let (file, path) = match &self.entries {
            Entries::Memory(entries) => {
                return Ok(entries.binary_search_by_key(key, |(of, _)| *of).ok().map(|at| entries[at].1.clone()));
            }
            Entries::File(file, path) => (file, path),
        };
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            let mut line = [0; ENTRY_BYTES];
            let at = HEAD_BYTES as u64 + middle * ENTRY_BYTES as u64;
            file.read_exact_at(&mut line, at).map_err(|e| StoreError::file(path, e))?;
            let (found, entry) = read_entry(&line);
            match found.cmp(key) {
                std::cmp::Ordering::Equal => return Ok(Some(entry)),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Ok(None)
    }
}

/// The keys of all sealed segments.
#[derive(Debug)]
pub(super) struct KeyFiles {
    dir: PathBuf,
    /// Oldest first. Replaced whole, so that a reader holds no lock while it reads a file.
    sets: RwLock<Vec<Arc<KeySet>>>,
}

impl KeyFiles {
    /// Loads what is there. What cannot be read is removed and named: those keys are forgotten.
    pub(super) fn load(dir: PathBuf, notes: &mut Vec<String>) -> Result<Self, StoreError> {
        let mut sets = Vec::new();
        for entry in std::fs::read_dir(&dir).map_err(|e| StoreError::file(&dir, e))? {
            let path = entry.map_err(|e| StoreError::file(&dir, e))?.path();
            if path.extension().is_none_or(|extension| extension != "keys") {
                continue;
            }
            match KeySet::load(&path) {
                Ok(set) => sets.push(Arc::new(set)),
                Err(what) => {
                    notes.push(format!("{}: damaged ({what}); the keys in it may be accepted once more", path.display()));
                    std::fs::remove_file(&path).map_err(|e| StoreError::file(&path, e))?;
                }
            }
        }
        sets.sort_by_key(|set| set.first_commit);
        Ok(Self { dir, sets: RwLock::new(sets) })
    }

    fn sets(&self) -> Vec<Arc<KeySet>> {
        self.sets.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<KeySet>>)) {
        change(&mut self.sets.write().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    /// Is there a file, or one to be written, for this segment?
    pub(super) fn has(&self, first_commit: CommitNo) -> bool {
        self.sets().iter().any(|set| set.first_commit == first_commit)
    }

    pub(super) fn add(&self, set: KeySet) {
        self.change(|sets| {
            sets.retain(|old| old.first_commit != set.first_commit);
            sets.push(Arc::new(set));
            sets.sort_by_key(|set| set.first_commit);
        });
    }

    /// The youngest entry of a key that was accepted at `oldest` or later.
    pub(super) fn get(&self, key: &Fingerprint, oldest: Timestamp) -> Result<Option<Remembered>, StoreError> {
        for set in self.sets().iter().rev().filter(|set| set.last_at >= oldest) {
            if let Some(entry) = set.get(key)? {
                return Ok((entry.at >= oldest).then_some(entry.remembered));
            }
        }
        Ok(None)
    }

    pub(super) fn count(&self) -> u64 {
        self.sets().iter().map(|set| set.count).sum()
    }

    /// Writes what is sealed and not yet written.
    pub(super) fn write_sealed(&self, seam: &Seam) -> Result<(), StoreError> {
        for set in self.sets() {
            if let Some(written) = set.write(&self.dir, seam)? {
                self.add(written);
            }
        }
        Ok(())
    }

    /// Removes files whose keys are all older than `oldest`, and the oldest files while there are more than `most` keys. Gives the keys that went early.
    pub(super) fn forget(&self, oldest: Timestamp, most: u64, seam: &Seam) -> Result<u64, StoreError> {
        let mut early = 0;
        let mut count = self.count();
        for set in self.sets() {
            let too_many = count > most;
            let Entries::File(_, path) = &set.entries else { continue };
            if set.last_at >= oldest && !too_many {
                continue;
            }
            seam.remove(FaultPoint::Remove, path)?;
            count -= set.count;
            early += if set.last_at >= oldest { set.count } else { 0 };
            self.change(|sets| sets.retain(|other| other.first_commit != set.first_commit));
        }
        Ok(early)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u64) -> (Fingerprint, KeyEntry) {
        let digest = crate::model::Digest::of(&n.to_le_bytes()).0;
        let key: [u8; 16] = digest[..16].try_into().unwrap();
        let remembered = Remembered { content: ContentHash([n as u8; 16]), event: EventId::new(n as i64), deliveries: n as u32 };
        (Fingerprint(key), KeyEntry { remembered, at: Timestamp(n as i64) })
    }

    #[test]
    fn keys_come_back_from_their_file_and_strangers_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut notes = Vec::new();
        let files = KeyFiles::load(dir.path().to_owned(), &mut notes).unwrap();
        files.add(KeySet::sealed(CommitNo(1), (0..1000).map(entry)).unwrap());
        files.add(KeySet::sealed(CommitNo(9), (1000..1500).map(entry)).unwrap());
        for again in [false, true] {
            for n in 0..1500 {
                let (key, entry) = entry(n);
                let found = files.get(&key, Timestamp(0)).unwrap().unwrap();
                assert_eq!((found.content, found.deliveries), (entry.remembered.content, entry.remembered.deliveries), "{again}");
            }
            assert!((1500..3000).all(|n| files.get(&entry(n).0, Timestamp(0)).unwrap().is_none()));
            files.write_sealed(&Seam::default()).unwrap();
        }
        let files = KeyFiles::load(dir.path().to_owned(), &mut notes).unwrap();
        assert_eq!((files.count(), notes.len()), (1500, 0));
        assert!(files.get(&entry(3).0, Timestamp(4)).unwrap().is_none(), "forgotten by age");
        assert_eq!(files.forget(Timestamp(1000), 10_000, &Seam::default()).unwrap(), 0);
        assert_eq!(files.count(), 500);
        assert_eq!(files.forget(Timestamp(0), 499, &Seam::default()).unwrap(), 500);
        assert_eq!(files.count(), 0);
    }

    #[test]
    fn a_damaged_file_is_named_and_its_keys_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let files = KeyFiles::load(dir.path().to_owned(), &mut Vec::new()).unwrap();
        files.add(KeySet::sealed(CommitNo(1), (0..10).map(entry)).unwrap());
        files.write_sealed(&Seam::default()).unwrap();
        let path = dir.path().join("0000000000000001.keys");
        let good = std::fs::read(&path).unwrap();
        for at in [0, 9, 17, 100, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 4;
            std::fs::write(&path, &bad).unwrap();
            let mut notes = Vec::new();
            assert_eq!(KeyFiles::load(dir.path().to_owned(), &mut notes).unwrap().count(), 0, "byte {at}");
            assert_eq!(notes.len(), 1);
        }
    }
}
