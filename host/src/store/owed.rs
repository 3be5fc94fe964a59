//! A set of event numbers that stays small while it is large: one compressed bitmap for every 65 536 numbers.
//!
//! A hook's set of what it is owed is one of these; ten million numbers take about a megabyte. A bitmap is also the unit in which the set is
//! folded into the catalog.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;

use crate::model::EventNo;

/// The bitmaps, by number >> 16.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct OwedSet {
    chunks: BTreeMap<u64, RoaringBitmap>,
    len: u64,
}

/// The chunk of a number and its place in it.
fn split(no: EventNo) -> (u64, u32) {
    (no.0 >> 16, (no.0 & 0xffff) as u32)
}

fn join(chunk: u64, low: u32) -> EventNo {
    EventNo(chunk << 16 | u64::from(low))
}

impl OwedSet {
    /// The chunk that holds `no`.
    pub(super) fn chunk_of(no: EventNo) -> u64 {
        split(no).0
    }

    /// False if it was there.
    pub(super) fn insert(&mut self, no: EventNo) -> bool {
        let (chunk, low) = split(no);
        let new = self.chunks.entry(chunk).or_default().insert(low);
        self.len += u64::from(new);
        new
    }

    /// False if it was not there.
    pub(super) fn remove(&mut self, no: EventNo) -> bool {
        let (chunk, low) = split(no);
        let Some(bitmap) = self.chunks.get_mut(&chunk) else { return false };
        let was = bitmap.remove(low);
        if bitmap.is_empty() {
            self.chunks.remove(&chunk);
        }
        self.len -= u64::from(was);
        was
    }

    pub(super) fn contains(&self, no: EventNo) -> bool {
        let (chunk, low) = split(no);
        self.chunks.get(&chunk).is_some_and(|bitmap| bitmap.contains(low))
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The smallest number that is not below `from`. Independent of how many there are.
    pub(super) fn next_from(&self, from: EventNo) -> Option<EventNo> {
        let (first, low) = split(from);
        for (chunk, bitmap) in self.chunks.range(first..) {
            let mut numbers = bitmap.iter();
            if *chunk == first {
                numbers.advance_to(low);
            }
            if let Some(found) = numbers.next() {
                return Some(join(*chunk, found));
            }
        }
        None
    }

    /// The largest number below `before`.
    pub(super) fn last_before(&self, before: EventNo) -> Option<EventNo> {
        let last = EventNo(before.0.checked_sub(1)?);
        let (top, low) = split(last);
        for (chunk, bitmap) in self.chunks.range(..=top).rev() {
            let mut numbers = bitmap.iter();
            if *chunk == top {
                numbers.advance_back_to(low);
            }
            if let Some(found) = numbers.next_back() {
                return Some(join(*chunk, found));
            }
        }
        None
    }

    /// The numbers from `first` to `last`, both included, put into `into`.
    pub(super) fn collect_range(&self, first: EventNo, last: EventNo, into: &mut OwedSet) {
        if first > last {
            return;
        }
        for (chunk, bitmap) in self.chunks.range(split(first).0..=split(last).0) {
            let mut part = bitmap.clone();
            if *chunk == split(first).0 {
                part.remove_range(..split(first).1);
            }
            if *chunk == split(last).0 {
                part.remove_range(split(last).1 + 1..);
            }
            if part.is_empty() {
                continue;
            }
            let target = into.chunks.entry(*chunk).or_default();
            let before = target.len();
            *target |= part;
            into.len += target.len() - before;
        }
    }

    /// All numbers, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = EventNo> + '_ {
        self.chunks.iter().flat_map(|(chunk, bitmap)| bitmap.iter().map(|low| join(*chunk, low)))
    }

    /// The chunks that are there.
    pub(super) fn chunk_numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.chunks.keys().copied()
    }

    /// One chunk as bytes; None if it is empty.
    pub(super) fn chunk_bytes(&self, chunk: u64) -> Option<Vec<u8>> {
        let bitmap = self.chunks.get(&chunk)?;
        let mut out = Vec::with_capacity(bitmap.serialized_size());
        bitmap.serialize_into(&mut out).expect("a Vec takes every byte");
        Some(out)
    }

    /// Puts a chunk back. The error is roaring's.
    pub(super) fn load_chunk(&mut self, chunk: u64, bytes: &[u8]) -> Result<(), String> {
        let bitmap = RoaringBitmap::deserialize_from(bytes).map_err(|e| e.to_string())?;
        if bitmap.max().is_some_and(|max| max > 0xffff) {
            return Err("a chunk of the owed set has more than 65 536 numbers".into());
        }
        self.len += bitmap.len();
        if let Some(old) = self.chunks.insert(chunk, bitmap) {
            self.len -= old.len();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    proptest::proptest! {
        #[test]
        fn it_is_a_set_of_numbers(moves in proptest::collection::vec((proptest::bool::ANY, 0u64..400_000), 0..300), probes in proptest::collection::vec(0u64..400_000, 30)) {
            let mut set = OwedSet::default();
            let mut plain = BTreeSet::new();
            for (put, no) in moves {
                if put {
                    assert_eq!(set.insert(EventNo(no)), plain.insert(no));
                } else {
                    assert_eq!(set.remove(EventNo(no)), plain.remove(&no));
                }
            }
            assert_eq!(set.len(), plain.len() as u64);
            assert!(set.iter().map(|no| no.0).eq(plain.iter().copied()));
            for pair in probes.windows(2) {
                let (a, b) = (pair[0].min(pair[1]), pair[0].max(pair[1]));
                assert_eq!(set.next_from(EventNo(a)).map(|no| no.0), plain.range(a..).next().copied());
                assert_eq!(set.last_before(EventNo(a)).map(|no| no.0), plain.range(..a).next_back().copied());
                let mut part = OwedSet::default();
                set.collect_range(EventNo(a), EventNo(b), &mut part);
                assert!(part.iter().map(|no| no.0).eq(plain.range(a..=b).copied()));
                assert_eq!(part.len(), plain.range(a..=b).count() as u64);
            }
            let mut copy = OwedSet::default();
            for chunk in set.chunk_numbers() {
                copy.load_chunk(chunk, &set.chunk_bytes(chunk).unwrap()).unwrap();
            }
            assert_eq!(copy, set);
        }
    }
}
