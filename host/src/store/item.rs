//! A commit's body: its head and its items, and what each item means for the memory.
//!
//! Body: format number, time, number of the first event, then the items, each as kind, length, bytes. Events are numbered in the order in which
//! they stand. The same `Effect` is applied when a commit is made and when it is read again at start, so both end in the same memory.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::StoreError;
use super::entity::{HookStateV1, read_handler, read_hook, read_source, write_handler, write_hook, write_source};
use super::nouns::{Change, DeadKind, Settled};
use super::record::{AcceptNote, AcceptV1, AttemptV1, DeliveryV1, read, read_event, read_id, write, write_id};
use super::secret::Sealer;
use crate::model::{AttemptSummary, CommitNo, DeliveryId, Event, EventId, EventNo, HookNo, HookState, Timestamp};

const FORMAT: u8 = 1;
/// Format, time, first event.
const HEAD_BYTES: usize = 17;

/// The kinds of items. The numbers are on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Accept = 1,
    Settle = 2,
    PutHook = 3,
    DeleteHook = 4,
    PutHookState = 5,
    PutSource = 6,
    DeleteSource = 7,
    PutHandler = 8,
    DeleteHandler = 9,
    Copy = 10,
    Replay = 11,
    Forget = 12,
}

impl Kind {
    const ALL: [Self; 12] = [
        Self::Accept,
        Self::Settle,
        Self::PutHook,
        Self::DeleteHook,
        Self::PutHookState,
        Self::PutSource,
        Self::DeleteSource,
        Self::PutHandler,
        Self::DeleteHandler,
        Self::Copy,
        Self::Replay,
        Self::Forget,
    ];

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// What one item means.
#[derive(Debug, Clone)]
pub(super) enum Effect {
    /// An event was accepted. The id is there if its key is remembered.
    Accept { no: EventNo, id: Option<EventId>, note: AcceptNote },
    /// An attempt ended, or a delivery was canceled.
    Settle { id: DeliveryId, verdict: Settled, attempt: Option<AttemptSummary>, hook_state: Option<HookState> },
    /// Something of the operator's changed.
    Change(Change),
    /// An event's record moved to this commit, with what is owed of it.
    Copy { no: EventNo, standing: Standing },
}

/// What an event still holds: a segment may be dropped when this is written elsewhere.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Standing {
    /// Owed, and how far its attempts are.
    pub(super) owed: Vec<(DeliveryId, Option<Waiting>)>,
    /// Dead letters: kind, reason, when, last attempt.
    pub(super) dead: Vec<(DeliveryId, Dead)>,
}

/// A delivery between attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Waiting {
    pub(super) due: Timestamp,
    pub(super) spent: u32,
    pub(super) first_tried: Timestamp,
    pub(super) crashes: u32,
}

/// A dead letter, as it is settled.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Dead {
    pub(super) kind: DeadKind,
    pub(super) reason: String,
    pub(super) at: Timestamp,
    pub(super) attempt: Option<AttemptSummary>,
}

/// Due, spent, first tried, crashes.
type WaitingV1 = (i64, u32, i64, u32);

impl Waiting {
    pub(super) fn to_record(self) -> WaitingV1 {
        (self.due.0, self.spent, self.first_tried.0, self.crashes)
    }

    pub(super) fn from_record((due, spent, first_tried, crashes): WaitingV1) -> Self {
        Self { due: Timestamp(due), spent, first_tried: Timestamp(first_tried), crashes }
    }
}

/// A dead letter: kind (0 exhausted, 1 quarantined), reason, when, last attempt.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DeadV1(u8, String, i64, Option<AttemptV1>);

impl From<&Dead> for DeadV1 {
    fn from(dead: &Dead) -> Self {
        let kind = match dead.kind {
            DeadKind::Exhausted => 0,
            DeadKind::Quarantined => 1,
        };
        Self(kind, dead.reason.clone(), dead.at.0, dead.attempt.as_ref().map(AttemptV1::from))
    }
}

impl TryFrom<DeadV1> for Dead {
    type Error = String;

    fn try_from(DeadV1(kind, reason, at, attempt): DeadV1) -> Result<Self, String> {
        let kind = match kind {
            0 => DeadKind::Exhausted,
            1 => DeadKind::Quarantined,
            other => return Err(format!("kind {other} of a dead letter is not known to this version")),
        };
        Ok(Self { kind, reason, at: Timestamp(at), attempt: attempt.map(AttemptSummary::try_from).transpose()? })
    }
}

#[derive(Debug, Serialize, Deserialize)]
enum VerdictV1 {
    Delivered,
    RetryAt(WaitingV1),
    Dead(u8, String),
    Canceled,
    Released,
}

#[derive(Debug, Serialize, Deserialize)]
struct SettleV1 {
    delivery: DeliveryV1,
    verdict: VerdictV1,
    attempt: Option<AttemptV1>,
    hook_state: Option<HookStateV1>,
}

#[derive(Debug, Serialize, Deserialize)]
struct CopyV1 {
    event: u64,
    owed: Vec<(DeliveryV1, Option<WaitingV1>)>,
    dead: Vec<(DeliveryV1, DeadV1)>,
}

/// A commit's body while it grows.
#[derive(Debug, Default)]
pub(super) struct Body {
    items: Vec<u8>,
}

impl Body {
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    fn put(&mut self, kind: Kind, parts: &[&[u8]]) {
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        self.items.push(kind as u8);
        self.items.extend(u32::try_from(bytes).expect("bodies end at 256 MiB").to_be_bytes());
        parts.iter().for_each(|part| self.items.extend_from_slice(part));
    }

    /// An event's bytes behind their length, then what stands beside the event.
    fn put_event(&mut self, kind: Kind, event: &[u8], beside: &[u8]) {
        let length = u32::try_from(event.len()).expect("bodies end at 256 MiB").to_be_bytes();
        self.put(kind, &[&length, event, beside]);
    }

    pub(super) fn accept(&mut self, event: &[u8], note: &AcceptNote) {
        self.put_event(Kind::Accept, event, &write(1, &AcceptV1::from(note)));
    }

    /// `event` and `note` as they stand in the record that is copied.
    pub(super) fn copy(&mut self, no: EventNo, event: &[u8], note: &[u8], standing: &Standing) {
        let copy = CopyV1 {
            event: no.0,
            owed: standing.owed.iter().map(|(id, waiting)| (write_id(*id), waiting.map(Waiting::to_record))).collect(),
            dead: standing.dead.iter().map(|(id, dead)| (write_id(*id), DeadV1::from(dead))).collect(),
        };
        let copy = write(1, &copy);
        let length = u32::try_from(note.len()).expect("bodies end at 256 MiB").to_be_bytes();
        self.put_event(Kind::Copy, event, &[&length, note, &copy].concat());
    }

    pub(super) fn settle(&mut self, id: DeliveryId, verdict: &Settled, attempt: Option<&AttemptSummary>, state: Option<&HookState>) {
        let verdict = match verdict.clone() {
            Settled::Delivered => VerdictV1::Delivered,
            Settled::RetryAt { due, spent, first_tried, crashes } => {
                VerdictV1::RetryAt(Waiting { due, spent, first_tried, crashes }.to_record())
            }
            Settled::Dead { kind: DeadKind::Exhausted, reason } => VerdictV1::Dead(0, reason),
            Settled::Dead { kind: DeadKind::Quarantined, reason } => VerdictV1::Dead(1, reason),
            Settled::Canceled => VerdictV1::Canceled,
            Settled::Released => VerdictV1::Released,
        };
        let record =
            SettleV1 { delivery: write_id(id), verdict, attempt: attempt.map(AttemptV1::from), hook_state: state.map(HookStateV1::from) };
        self.put(Kind::Settle, &[&write(1, &record)]);
    }

    pub(super) fn change(&mut self, change: &Change, sealer: &Sealer) -> Result<(), StoreError> {
        match change {
            Change::PutHook(hook) => self.put(Kind::PutHook, &[&write_hook(hook, sealer)?]),
            Change::DeleteHook(no) => self.put(Kind::DeleteHook, &[&write(1, &no.0)]),
            Change::PutHookState(no, state) => self.put(Kind::PutHookState, &[&write(1, &(no.0, HookStateV1::from(state)))]),
            Change::PutSource { source, event, about } => self.put(Kind::PutSource, &[&write_source(source, event, about)]),
            Change::DeleteSource { source, event } => self.put(Kind::DeleteSource, &[&write(1, &(source, event))]),
            Change::PutHandler(handler) => self.put(Kind::PutHandler, &[&write_handler(handler)]),
            Change::DeleteHandler(name) => self.put(Kind::DeleteHandler, &[&write(1, name)]),
            Change::Cancel(id) => self.settle(*id, &Settled::Canceled, None, None),
            Change::Replay(id) => self.put(Kind::Replay, &[&write(1, &write_id(*id))]),
            Change::Forget(id) => self.put(Kind::Forget, &[&write(1, &write_id(*id))]),
        }
        Ok(())
    }

    /// The whole body.
    pub(super) fn finish(self, at: Timestamp, first_event: EventNo) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_BYTES + self.items.len());
        out.push(FORMAT);
        out.extend(at.0.to_be_bytes());
        out.extend(first_event.0.to_be_bytes());
        out.extend(self.items);
        out
    }
}

/// A commit that was read.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) no: CommitNo,
    pub(super) at: Timestamp,
    pub(super) first_event: EventNo,
    place: String,
    body: Vec<u8>,
}

/// One item of it, not yet understood.
#[derive(Clone, Copy)]
pub(super) struct Item<'a> {
    pub(super) kind: Kind,
    /// Of an accepted event.
    pub(super) no: EventNo,
    bytes: &'a [u8],
}

/// The bytes behind a length, and the rest.
fn behind_length(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}

impl Commit {
    /// Understands the head. `place` names the segment.
    pub(super) fn new(place: &str, no: CommitNo, body: Vec<u8>) -> Result<Self, StoreError> {
        let place = format!("{place} commit {no}");
        let head = body.first_chunk::<HEAD_BYTES>().ok_or_else(|| StoreError::corrupt(&*place, "the head is cut short"))?;
        if head[0] != FORMAT {
            return Err(StoreError::corrupt(place, format!("commit format {} is not known to this version", head[0])));
        }
        let number = |from: usize| u64::from_be_bytes(head[from..from + 8].try_into().expect("eight bytes"));
        Ok(Self { no, at: Timestamp(number(1).cast_signed()), first_event: EventNo(number(9)), place, body })
    }

    fn wrong(&self, what: &str) -> StoreError {
        StoreError::corrupt(&*self.place, what)
    }

    /// The items, in order.
    pub(super) fn items(&self) -> Result<Vec<Item<'_>>, StoreError> {
        let mut rest = &self.body[HEAD_BYTES..];
        let mut items = Vec::new();
        let mut next = self.first_event;
        while let Some((number, behind)) = rest.split_first() {
            let kind = Kind::from_number(*number).ok_or_else(|| self.wrong(&format!("item kind {number} is not known to this version")))?;
            let (bytes, behind) = behind_length(behind).ok_or_else(|| self.wrong("an item is cut short"))?;
            items.push(Item { kind, no: next, bytes });
            if kind == Kind::Accept {
                next = next.next();
            }
            rest = behind;
        }
        Ok(items)
    }

    /// Event and what stands beside it, as bytes, of an `Accept` or `Copy`.
    pub(super) fn event_bytes<'a>(&self, item: Item<'a>) -> Result<(&'a [u8], &'a [u8]), StoreError> {
        let (event, beside) = behind_length(item.bytes).ok_or_else(|| self.wrong("an event is cut short"))?;
        if item.kind != Kind::Copy {
            return Ok((event, beside));
        }
        let (note, _) = behind_length(beside).ok_or_else(|| self.wrong("a copy is cut short"))?;
        Ok((event, note))
    }

    /// The number of the event that an `Accept` or `Copy` holds.
    pub(super) fn event_no(&self, item: Item<'_>) -> Result<Option<EventNo>, StoreError> {
        Ok(match item.kind {
            Kind::Accept => Some(item.no),
            Kind::Copy => Some(EventNo(self.read_copy(item)?.event)),
            Kind::Settle | Kind::PutHook | Kind::DeleteHook | Kind::PutHookState | Kind::PutSource | Kind::DeleteSource => None,
            Kind::PutHandler | Kind::DeleteHandler | Kind::Replay | Kind::Forget => None,
        })
    }

    /// The event that an `Accept` or `Copy` holds.
    pub(super) fn event(&self, item: Item<'_>) -> Result<Option<Arc<Event>>, StoreError> {
        let Some(no) = self.event_no(item)? else { return Ok(None) };
        let (bytes, _) = self.event_bytes(item)?;
        Ok(Some(Arc::new(read_event(&self.place, no, bytes)?)))
    }

    /// What stands beside an accepted event.
    pub(super) fn note(&self, item: Item<'_>) -> Result<AcceptNote, StoreError> {
        let (_, note) = self.event_bytes(item)?;
        read::<AcceptV1>(&self.place, note)?.try_into().map_err(|e: String| self.wrong(&e))
    }

    fn read_copy(&self, item: Item<'_>) -> Result<CopyV1, StoreError> {
        let beside = behind_length(item.bytes).and_then(|(_, beside)| behind_length(beside));
        let (_, copy) = beside.ok_or_else(|| self.wrong("a copy is cut short"))?;
        read(&self.place, copy)
    }

    /// What the item means.
    pub(super) fn effect(&self, item: Item<'_>, sealer: &Sealer) -> Result<Effect, StoreError> {
        let place = self.place.as_str();
        let change = match item.kind {
            Kind::Accept => return self.accept_effect(item),
            Kind::Settle => return self.settle_effect(item),
            Kind::Copy => return self.copy_effect(item),
            Kind::PutHook => Change::PutHook(read_hook(place, item.bytes, sealer)?),
            Kind::DeleteHook => Change::DeleteHook(HookNo(read(place, item.bytes)?)),
            Kind::PutHookState => {
                let (no, state): (u32, HookStateV1) = read(place, item.bytes)?;
                Change::PutHookState(HookNo(no), state.into())
            }
            Kind::PutSource => {
                let (source, event, about) = read_source(place, item.bytes)?;
                Change::PutSource { source, event, about }
            }
            Kind::DeleteSource => {
                let (source, event) = read(place, item.bytes)?;
                Change::DeleteSource { source, event }
            }
            Kind::PutHandler => Change::PutHandler(read_handler(place, item.bytes)?),
            Kind::DeleteHandler => Change::DeleteHandler(read(place, item.bytes)?),
            Kind::Replay => Change::Replay(read_id(read(place, item.bytes)?)),
            Kind::Forget => Change::Forget(read_id(read(place, item.bytes)?)),
        };
        Ok(Effect::Change(change))
    }

    fn accept_effect(&self, item: Item<'_>) -> Result<Effect, StoreError> {
        let note = self.note(item)?;
        // The event itself is only worth decoding for the id under which its key is remembered.
        let id = if note.remember.is_some() { self.event(item)?.map(|event| event.id.clone()) } else { None };
        Ok(Effect::Accept { no: item.no, id, note })
    }

    fn settle_effect(&self, item: Item<'_>) -> Result<Effect, StoreError> {
        let record: SettleV1 = read(&self.place, item.bytes)?;
        let verdict = match record.verdict {
            VerdictV1::Delivered => Settled::Delivered,
            VerdictV1::RetryAt(waiting) => {
                let Waiting { due, spent, first_tried, crashes } = Waiting::from_record(waiting);
                Settled::RetryAt { due, spent, first_tried, crashes }
            }
            VerdictV1::Dead(0, reason) => Settled::Dead { kind: DeadKind::Exhausted, reason },
            VerdictV1::Dead(1, reason) => Settled::Dead { kind: DeadKind::Quarantined, reason },
            VerdictV1::Dead(kind, _) => return Err(self.wrong(&format!("kind {kind} of a dead letter is not known to this version"))),
            VerdictV1::Canceled => Settled::Canceled,
            VerdictV1::Released => Settled::Released,
        };
        let attempt = record.attempt.map(AttemptSummary::try_from).transpose().map_err(|e| self.wrong(&e))?;
        Ok(Effect::Settle { id: read_id(record.delivery), verdict, attempt, hook_state: record.hook_state.map(HookState::from) })
    }

    fn copy_effect(&self, item: Item<'_>) -> Result<Effect, StoreError> {
        let copy = self.read_copy(item)?;
        let dead = |(id, dead): (DeliveryV1, DeadV1)| Ok((read_id(id), Dead::try_from(dead).map_err(|e| self.wrong(&e))?));
        let standing = Standing {
            owed: copy.owed.into_iter().map(|(id, waiting)| (read_id(id), waiting.map(Waiting::from_record))).collect(),
            dead: copy.dead.into_iter().map(dead).collect::<Result<_, StoreError>>()?,
        };
        Ok(Effect::Copy { no: EventNo(copy.event), standing })
    }
}
