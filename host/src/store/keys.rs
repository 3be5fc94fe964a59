//! The keys of the catalog: a workspace number, 0 today, a letter for the kind, then numbers big-endian, so that a range is a list in order.

use crate::model::{CommitNo, DeliveryId, EventNo, Generation, HookNo, ThrottleKey};

/// The only workspace so far.
const WORKSPACE: [u8; 2] = [0, 0];

/// What the catalog holds. The letters are on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shelf {
    Meta = b'm' as isize,
    Hook = b'h' as isize,
    HookState = b's' as isize,
    Source = b'r' as isize,
    Handler = b'p' as isize,
    Mark = b't' as isize,
    Owed = b'o' as isize,
    Waiting = b'w' as isize,
    Replay = b'q' as isize,
    Dead = b'd' as isize,
    Moved = b'v' as isize,
    Segment = b'g' as isize,
}

fn key(shelf: Shelf, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = prefix(shelf);
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

/// What all keys of a kind begin with.
pub(super) fn prefix(shelf: Shelf) -> Vec<u8> {
    vec![WORKSPACE[0], WORKSPACE[1], shelf as u8]
}

pub(super) fn meta(name: &str) -> Vec<u8> {
    key(Shelf::Meta, &[name.as_bytes()])
}

pub(super) fn hook(shelf: Shelf, no: HookNo) -> Vec<u8> {
    key(shelf, &[&no.0.to_be_bytes()])
}

/// Names hold no NUL: they come from JSON text that was checked, and a NUL would only misplace a row, not lose it.
pub(super) fn source(source: &str, event: &str) -> Vec<u8> {
    key(Shelf::Source, &[source.as_bytes(), &[0], event.as_bytes()])
}

pub(super) fn handler(name: &str) -> Vec<u8> {
    key(Shelf::Handler, &[name.as_bytes()])
}

pub(super) fn mark((hook, mark): (HookNo, ThrottleKey)) -> Vec<u8> {
    key(Shelf::Mark, &[&hook.0.to_be_bytes(), &mark.0])
}

pub(super) fn owed(hook: HookNo, chunk: u64) -> Vec<u8> {
    key(Shelf::Owed, &[&hook.0.to_be_bytes(), &chunk.to_be_bytes()])
}

/// By hook, for what a hook is owed.
pub(super) fn delivery(shelf: Shelf, id: DeliveryId) -> Vec<u8> {
    key(shelf, &[&id.hook.0.to_be_bytes(), &id.event.0.to_be_bytes(), &id.generation.0.to_be_bytes()])
}

/// By event, for dead letters.
pub(super) fn dead(id: DeliveryId) -> Vec<u8> {
    key(Shelf::Dead, &[&id.event.0.to_be_bytes(), &id.hook.0.to_be_bytes(), &id.generation.0.to_be_bytes()])
}

/// All dead letters of an event.
pub(super) fn dead_of(event: EventNo) -> Vec<u8> {
    key(Shelf::Dead, &[&event.0.to_be_bytes()])
}

pub(super) fn moved(event: EventNo) -> Vec<u8> {
    key(Shelf::Moved, &[&event.0.to_be_bytes()])
}

pub(super) fn segment(first: CommitNo) -> Vec<u8> {
    key(Shelf::Segment, &[&first.0.to_be_bytes()])
}

/// Reads a key back, behind its prefix.
pub(super) struct Tail<'a>(pub(super) &'a [u8]);

impl Tail<'_> {
    pub(super) fn u32(&mut self) -> Result<u32, String> {
        let (number, rest) = self.0.split_first_chunk().ok_or("the key is cut short")?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*number))
    }

    pub(super) fn u64(&mut self) -> Result<u64, String> {
        let (number, rest) = self.0.split_first_chunk().ok_or("the key is cut short")?;
        self.0 = rest;
        Ok(u64::from_be_bytes(*number))
    }

    pub(super) fn delivery(&mut self) -> Result<DeliveryId, String> {
        let hook = HookNo(self.u32()?);
        Ok(DeliveryId { hook, event: EventNo(self.u64()?), generation: Generation(self.u32()?) })
    }

    pub(super) fn dead(&mut self) -> Result<DeliveryId, String> {
        let event = EventNo(self.u64()?);
        Ok(DeliveryId { event, hook: HookNo(self.u32()?), generation: Generation(self.u32()?) })
    }

    pub(super) fn mark(&mut self) -> Result<(HookNo, ThrottleKey), String> {
        let hook = HookNo(self.u32()?);
        Ok((hook, ThrottleKey(self.0.try_into().map_err(|_| "the key is cut short")?)))
    }
}
