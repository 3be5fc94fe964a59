//! The index of a sealed segment: where its events and settlements are. A file of its own beside the segment, rebuilt by a scan if it is missing.
//!
//! File: magic, format number, length and CRC32 of the summary, summary; length and CRC32 of the lists, lists. The summary stands apart, because every
//! start reads it, and the lists only somebody who looks something up.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::StoreError;
use super::seam::{FaultPoint, Seam};
use super::window::{Settle, Summary, Window, commit_of};
use crate::model::{CommitNo, DeliveryId, EventNo, Generation, HookNo, Timestamp};

const MAGIC: &[u8; 8] = b"THindex\x01";

/// Accepts, copies, settlements, each sorted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Index {
    accepts: Vec<(EventNo, CommitNo)>,
    copies: Vec<(EventNo, CommitNo)>,
    settles: Vec<(HookNo, Settle)>,
}

impl Index {
    /// Of a segment that is being sealed.
    pub(super) fn of(window: &Window) -> Self {
        let mut settles: Vec<_> = window.settles.iter().flat_map(|(hook, settles)| settles.iter().map(|settle| (*hook, *settle))).collect();
        settles.sort_unstable();
        let mut copies = window.copies.clone();
        copies.sort_unstable();
        Self { accepts: window.accepts.clone(), copies, settles }
    }

    /// The commit of this segment that accepted `no`, if one did. The caller knows that the segment's range holds it.
    pub(super) fn accepted(&self, no: EventNo) -> Option<CommitNo> {
        commit_of(&self.accepts, no)
    }

    /// The first event of each commit that accepted any.
    pub(super) fn accepts(&self) -> &[(EventNo, CommitNo)] {
        &self.accepts
    }

    /// The settlements of one hook that are about these events.
    pub(super) fn settles_between(&self, hook: HookNo, first: EventNo, last: EventNo) -> impl Iterator<Item = Settle> + '_ {
        let from = self.settles.partition_point(|(of, settle)| (*of, settle.0) < (hook, first));
        let to = self.settles.partition_point(|(of, settle)| (*of, settle.0) <= (hook, last));
        self.settles[from..to.max(from)].iter().map(|(_, settle)| *settle)
    }

    /// The deliveries of one event that were settled here, whatever their hook.
    pub(super) fn settles_of_event(&self, no: EventNo) -> impl Iterator<Item = DeliveryId> + '_ {
        let of_event = self.settles.iter().filter(move |(_, settle)| settle.0 == no);
        of_event.map(|(hook, (event, generation, _))| DeliveryId { event: *event, hook: *hook, generation: *generation })
    }

    /// The events that were copied here.
    pub(super) fn copies(&self) -> &[(EventNo, CommitNo)] {
        &self.copies
    }

    /// The settlements of one hook, by event, generation, commit.
    pub(super) fn settles(&self, hook: HookNo) -> impl DoubleEndedIterator<Item = Settle> + '_ {
        let from = self.settles.partition_point(|(of, _)| *of < hook);
        let to = self.settles.partition_point(|(of, _)| *of <= hook);
        self.settles[from..to].iter().map(|(_, settle)| *settle)
    }
}

/// Numbers, one after the other.
#[derive(Default)]
struct Numbers(Vec<u8>);

impl Numbers {
    fn put(&mut self, numbers: &[u64]) {
        numbers.iter().for_each(|n| self.0.extend(n.to_le_bytes()));
    }

    fn block(self, out: &mut Vec<u8>) {
        out.extend((self.0.len() as u64).to_le_bytes());
        out.extend(crc32fast::hash(&self.0).to_le_bytes());
        out.extend(self.0);
    }
}

/// Takes numbers off the front.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn next(&mut self) -> Result<u64, String> {
        let (number, rest) = self.0.split_first_chunk::<8>().ok_or("it is cut short")?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*number))
    }

    fn hook(&mut self) -> Result<HookNo, String> {
        u32::try_from(self.next()?).map(HookNo).map_err(|_| "a hook number is too large".into())
    }

    fn generation(&mut self) -> Result<Generation, String> {
        u32::try_from(self.next()?).map(Generation).map_err(|_| "a generation is too large".into())
    }

    /// A counted list. The count is checked against what is left before anything is reserved.
    fn list<T>(&mut self, width: usize, mut each: impl FnMut(&mut Self) -> Result<T, String>) -> Result<Vec<T>, String> {
        let count = usize::try_from(self.next()?).map_err(|e| e.to_string())?;
        if count > self.0.len() / (8 * width) {
            return Err("a list is longer than the file".into());
        }
        (0..count).map(|_| each(self)).collect()
    }
}

fn summary_numbers(summary: &Summary) -> Numbers {
    let mut numbers = Numbers::default();
    let Summary { first_commit, last_commit, first_event, events, bytes, first_at, last_at, samples } = summary;
    numbers.put(&[first_commit.0, last_commit.0, first_event.0, *events, *bytes, first_at.0.cast_unsigned(), last_at.0.cast_unsigned()]);
    numbers.put(&[samples.len() as u64]);
    samples.iter().for_each(|(no, at)| numbers.put(&[no.0, at.0.cast_unsigned()]));
    numbers
}

/// A summary as bytes, as the catalog keeps it.
pub(super) fn write_summary(summary: &Summary) -> Vec<u8> {
    summary_numbers(summary).0
}

/// A summary from its bytes.
pub(super) fn read_summary(bytes: &[u8]) -> Result<Summary, String> {
    let mut numbers = Reader(bytes);
    Ok(Summary {
        first_commit: CommitNo(numbers.next()?),
        last_commit: CommitNo(numbers.next()?),
        first_event: EventNo(numbers.next()?),
        events: numbers.next()?,
        bytes: numbers.next()?,
        first_at: Timestamp(numbers.next()?.cast_signed()),
        last_at: Timestamp(numbers.next()?.cast_signed()),
        samples: numbers.list(2, |n| Ok((EventNo(n.next()?), Timestamp(n.next()?.cast_signed()))))?,
    })
}

/// Writes the index file.
pub(super) fn write(path: &Path, summary: &Summary, index: &Index, seam: &Seam) -> Result<(), StoreError> {
    let mut out = MAGIC.to_vec();
    summary_numbers(summary).block(&mut out);
    let mut lists = Numbers::default();
    for list in [&index.accepts, &index.copies] {
        lists.put(&[list.len() as u64]);
        list.iter().for_each(|(no, commit)| lists.put(&[no.0, commit.0]));
    }
    lists.put(&[index.settles.len() as u64]);
    for (hook, (no, generation, commit)) in &index.settles {
        lists.put(&[u64::from(hook.0), no.0, u64::from(generation.0), commit.0]);
    }
    lists.block(&mut out);
    seam.write_file(FaultPoint::Seal, path, &out)
}

/// One block from where the file stands, checked.
fn read_block(file: &mut std::fs::File, left: u64) -> Result<Vec<u8>, String> {
    let mut head = [0; 12];
    file.read_exact(&mut head).map_err(|e| e.to_string())?;
    let length = u64::from_le_bytes(head[..8].try_into().expect("eight bytes"));
    if length > left {
        return Err("it is cut short".into());
    }
    let mut bytes = vec![0; usize::try_from(length).map_err(|e| e.to_string())?];
    file.read_exact(&mut bytes).map_err(|e| e.to_string())?;
    if crc32fast::hash(&bytes) != u32::from_le_bytes(head[8..].try_into().expect("four bytes")) {
        return Err("the checksum does not match".into());
    }
    Ok(bytes)
}

fn open(path: &Path) -> Result<(std::fs::File, u64), String> {
    let mut file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    let length = file.metadata().map_err(|e| e.to_string())?.len();
    let mut magic = [0; MAGIC.len()];
    file.read_exact(&mut magic).map_err(|e| e.to_string())?;
    if &magic != MAGIC {
        return Err("this is no index file of a known format".into());
    }
    Ok((file, length))
}

/// Only the summary. The error says why the file cannot be used.
pub(super) fn load_summary(path: &Path) -> Result<Summary, String> {
    let (mut file, length) = open(path)?;
    read_summary(&read_block(&mut file, length)?)
}

/// The lists. The error says why the file cannot be used.
pub(super) fn load(path: &Path) -> Result<Index, String> {
    let (mut file, length) = open(path)?;
    let summary = read_block(&mut file, length)?;
    file.seek(SeekFrom::Start((MAGIC.len() + 12 + summary.len()) as u64)).map_err(|e| e.to_string())?;
    let lists = read_block(&mut file, length)?;
    let mut numbers = Reader(&lists);
    let pair = |n: &mut Reader<'_>| Ok((EventNo(n.next()?), CommitNo(n.next()?)));
    Ok(Index {
        accepts: numbers.list(2, pair)?,
        copies: numbers.list(2, pair)?,
        settles: numbers.list(4, |n| Ok((n.hook()?, (EventNo(n.next()?), n.generation()?, CommitNo(n.next()?)))))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window() -> Window {
        let mut window = Window::new(CommitNo(5), EventNo(10));
        window.summary.events = 4;
        window.summary.last_commit = CommitNo(9);
        window.summary.samples = vec![(EventNo(10), Timestamp(-3))];
        window.accepts = vec![(EventNo(10), CommitNo(5)), (EventNo(12), CommitNo(7))];
        window.copies = vec![(EventNo(3), CommitNo(8)), (EventNo(2), CommitNo(9))];
        window.settles.insert(HookNo(2), vec![(EventNo(11), Generation(0), CommitNo(9)), (EventNo(10), Generation(1), CommitNo(6))]);
        window.settles.insert(HookNo(1), vec![(EventNo(10), Generation(0), CommitNo(6))]);
        window
    }

    #[test]
    fn an_index_comes_back_from_its_file_and_finds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seg.index");
        let window = window();
        write(&path, &window.summary, &Index::of(&window), &Seam::default()).unwrap();
        assert_eq!(load_summary(&path).unwrap(), window.summary);
        let index = load(&path).unwrap();
        assert_eq!(index, Index::of(&window));
        assert_eq!(index.accepted(EventNo(11)), Some(CommitNo(5)));
        assert_eq!(index.accepted(EventNo(13)), Some(CommitNo(7)));
        assert_eq!(index.accepted(EventNo(9)), None);
        let settles: Vec<_> = index.settles(HookNo(2)).collect();
        assert_eq!(settles, [(EventNo(10), Generation(1), CommitNo(6)), (EventNo(11), Generation(0), CommitNo(9))]);
        assert_eq!(index.settles(HookNo(3)).count(), 0);
    }

    #[test]
    fn a_cut_or_flipped_index_is_refused_and_never_panics() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seg.index");
        let window = window();
        write(&path, &window.summary, &Index::of(&window), &Seam::default()).unwrap();
        let good = std::fs::read(&path).unwrap();
        for length in 0..good.len() {
            std::fs::write(&path, &good[..length]).unwrap();
            assert!(load(&path).is_err(), "cut at {length}");
        }
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &bad).unwrap();
            assert!(load(&path).is_err(), "bit {bit}");
        }
    }
}
