//! How a commit becomes rows of a segment and how it is found whole again.
//!
//! Key: commit number and part, big-endian. Value: format number, flags, a slice of the body, CRC32 over key and all of that. The parts are
//! written in order; the last one carries a flag, and only with it the commit exists. A body above 4 KiB is compressed when that makes it smaller.

use super::StoreError;
use crate::model::CommitNo;

/// A slice of a body. sled moves tree nodes that are larger than a quarter of its segments (4 MiB) into files that nobody syncs; a leaf has up to
/// 17 values, so 48 KiB would be the most. At 16 KiB a commit of 1 MiB is a quarter faster than at 48 KiB.
pub(super) const PART_BYTES: usize = 16 * 1024;
/// Below this, compressing costs more than it saves.
const COMPRESS_FROM: usize = 4 * 1024;
/// No commit is larger: the committer groups at most 1 MiB and one large request. What says so is damaged.
const BODY_BYTES_MAX: usize = 256 * 1024 * 1024;

const FORMAT: u8 = 1;
/// The flag of the last part.
pub(super) const LAST: u8 = 1;
const LZ4: u8 = 2;
/// Format and flags.
const HEAD_BYTES: usize = 2;
const CRC_BYTES: usize = 4;

/// A key and its value.
pub(super) type Row = ([u8; 10], Vec<u8>);

/// The key of one part.
pub(super) fn key(commit: CommitNo, part: u16) -> [u8; 10] {
    let mut key = [0; 10];
    key[..8].copy_from_slice(&commit.0.to_be_bytes());
    key[8..].copy_from_slice(&part.to_be_bytes());
    key
}

/// Commit and part of a key.
pub(super) fn read_key(key: &[u8]) -> Option<(CommitNo, u16)> {
    let (commit, part) = key.split_first_chunk::<8>()?;
    Some((CommitNo(u64::from_be_bytes(*commit)), u16::from_be_bytes(part.try_into().ok()?)))
}

fn checksum(key: &[u8], value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(value);
    hasher.finalize()
}

/// A value for `key`: format number, flags, slice, checksum.
pub(super) fn frame(key: &[u8], flags: u8, slice: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(HEAD_BYTES + slice.len() + CRC_BYTES);
    value.extend([FORMAT, flags]);
    value.extend_from_slice(slice);
    value.extend(checksum(key, &value).to_be_bytes());
    value
}

/// Flags and slice of a value that checks. The error says what is wrong with it.
pub(super) fn unframe<'a>(key: &[u8], value: &'a [u8]) -> Result<(u8, &'a [u8]), String> {
    let (checked, crc) = value.split_last_chunk::<CRC_BYTES>().ok_or("the row is cut short")?;
    if checksum(key, checked) != u32::from_be_bytes(*crc) {
        return Err("the checksum does not match".into());
    }
    let (&[format, flags], slice) = checked.split_first_chunk::<HEAD_BYTES>().ok_or("the row is cut short")?;
    if format != FORMAT {
        return Err(format!("row format {format} is not known to this version"));
    }
    Ok((flags, slice))
}

/// The rows of a commit, in the order in which they must be written.
pub(super) fn rows(commit: CommitNo, body: &[u8]) -> Result<Vec<Row>, StoreError> {
    if body.len() > BODY_BYTES_MAX {
        return Err(StoreError::Conflict(format!("a commit of {} bytes is larger than {BODY_BYTES_MAX}", body.len())));
    }
    let compressed = (body.len() > COMPRESS_FROM).then(|| lz4_flex::compress_prepend_size(body)).filter(|small| small.len() < body.len());
    let (stored, lz4) = compressed.as_deref().map_or((body, 0), |small| (small, LZ4));
    let count = stored.len().div_ceil(PART_BYTES).max(1);
    let row = |i: usize| {
        let slice = &stored[i * PART_BYTES..stored.len().min((i + 1) * PART_BYTES)];
        let key = key(commit, u16::try_from(i).expect("the longest body has 16 384 parts"));
        (key, frame(&key, lz4 | if i + 1 == count { LAST } else { 0 }, slice))
    };
    Ok((0..count).map(row).collect())
}

/// Puts the parts of one commit together again.
#[derive(Default)]
pub(super) struct Assembler {
    stored: Vec<u8>,
    parts: u16,
    lz4: bool,
}

impl Assembler {
    /// Takes the next part; gives the body after the last one. `place` names the segment.
    pub(super) fn push(&mut self, place: &str, key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let Some((commit, part)) = read_key(key) else { return Err(StoreError::corrupt(place, "a key that is not a commit's")) };
        let wrong = |what: &str| StoreError::corrupt(format!("{place} commit {commit} part {part}"), what);
        let (flags, slice) = unframe(key, value).map_err(|what| wrong(&what))?;
        if part != self.parts {
            return Err(wrong(&format!("part {} is missing", self.parts)));
        }
        self.parts += 1;
        self.lz4 = flags & LZ4 != 0;
        self.stored.extend_from_slice(slice);
        if flags & LAST == 0 {
            return Ok(None);
        }
        self.finish().map(Some).map_err(|what| wrong(&what))
    }

    fn finish(&mut self) -> Result<Vec<u8>, String> {
        let stored = std::mem::take(&mut self.stored);
        self.parts = 0;
        if !self.lz4 {
            return Ok(stored);
        }
        let (size, packed) = lz4_flex::block::uncompressed_size(&stored).map_err(|e| e.to_string())?;
        if size > BODY_BYTES_MAX {
            return Err(format!("it claims to hold {size} bytes"));
        }
        lz4_flex::decompress(packed, size).map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put_together(rows: &[Row]) -> Result<Option<Vec<u8>>, StoreError> {
        let mut assembler = Assembler::default();
        let mut whole = None;
        for (key, value) in rows {
            whole = assembler.push("seg", key, value)?;
        }
        Ok(whole)
    }

    fn noise(bytes: usize) -> Vec<u8> {
        (0..bytes as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 29) as u8 ^ (i >> 3) as u8).collect()
    }

    #[test]
    fn bodies_of_every_length_come_back() {
        for bytes in [0, 1, 4096, 4097, PART_BYTES, PART_BYTES + 1, 49_153, 1 << 20] {
            for body in [noise(bytes), vec![b'a'; bytes]] {
                let rows = rows(CommitNo(7), &body).unwrap();
                assert!(rows.iter().all(|(_, value)| value.len() <= PART_BYTES + HEAD_BYTES + CRC_BYTES));
                assert_eq!(put_together(&rows).unwrap(), Some(body));
            }
        }
    }

    #[test]
    fn a_commit_without_its_last_part_is_not_one() {
        let rows = rows(CommitNo(7), &noise(100_000)).unwrap();
        assert!(rows.len() > 3);
        assert_eq!(put_together(&rows[..rows.len() - 1]).unwrap(), None);
        assert!(put_together(&rows[1..]).is_err());
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let rows = rows(CommitNo(7), b"what is written is what is read").unwrap();
        for bit in 0..rows[0].1.len() * 8 {
            let mut bad = rows.clone();
            bad[0].1[bit / 8] ^= 1 << (bit % 8);
            assert!(put_together(&bad).is_err(), "bit {bit}");
        }
        let mut elsewhere = rows;
        elsewhere[0].0 = key(CommitNo(8), 0);
        assert!(put_together(&elsewhere).is_err());
    }
}
