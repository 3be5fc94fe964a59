//! The words of the store's interface: what is given to it and what it gives back. No behaviour beyond their own rules.

use std::sync::Arc;

use super::record::write_event;
use crate::model::{
    AttemptSummary, DeliveryId, Event, EventId, EventNo, HandlerRecord, Hook, HookNo, HookState, Skip, SourceEvent, ThrottleKey,
    ThrottleMark, Timestamp,
};

/// The keyed fingerprint of a producer's (source, key); made by `Store::fingerprint`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 16]);

/// A hash of source, event and data by JSON value: what makes two uses of one key the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentHash(pub [u8; 16]);

/// What is remembered of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// Of the first event with this key.
    pub content: ContentHash,
    /// The first event with this key.
    pub event: EventId,
    /// How many hooks it was queued for.
    pub deliveries: u32,
}

/// An event and its bytes. Made in the caller's task, so that the one committer only copies.
#[derive(Debug, Clone)]
pub struct EncodedEvent {
    pub(super) event: Event,
    pub(super) bytes: Vec<u8>,
}

impl EncodedEvent {
    /// Encodes. The event's number is ignored: the store numbers it.
    pub fn new(event: Event) -> Self {
        let bytes = write_event(&event);
        Self { event, bytes }
    }

    /// The event, with whatever number it was made with.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// Bytes in the journal, before compression.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// An encoded event is never empty.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// An event to accept, with what was decided about it.
#[derive(Debug, Clone)]
pub struct Accept {
    /// The event.
    pub event: EncodedEvent,
    /// The hooks it is queued for. One that is deleted by now is left out.
    pub owes: Vec<HookNo>,
    /// The hooks that matched but for which it is not queued, and why; the first 256 are kept.
    pub not_queued: Vec<(HookNo, Skip)>,
    /// Its key and content, for duplicates.
    pub remember: Option<(Fingerprint, ContentHash)>,
    /// Throttle memory: hook, revision of the hook, key, mark.
    pub throttle: Vec<(HookNo, u64, ThrottleKey, ThrottleMark)>,
}

/// How an attempt ended, for its delivery.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// What becomes of the delivery.
    pub verdict: Settled,
    /// The attempt, if one was made.
    pub attempt: Option<AttemptSummary>,
    /// The hook's state, if it changed.
    pub hook_state: Option<HookState>,
}

/// What becomes of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// Done.
    Delivered,
    /// To be tried again.
    RetryAt {
        /// Not before this.
        due: Timestamp,
        /// Attempts so far.
        spent: u32,
        /// When the first one started.
        first_tried: Timestamp,
        /// Attempts so far in which the handler crashed.
        crashes: u32,
    },
    /// Given up.
    Dead {
        /// How.
        kind: DeadKind,
        /// Why, for people; starts with a stable word.
        reason: String,
    },
    /// Somebody took it back.
    Canceled,
    /// Nothing was spent; it is as it was.
    Released,
}

/// How a dead letter came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DeadKind {
    /// Refused, or out of tries.
    Exhausted,
    /// Trap, limit, decode error.
    Quarantined,
}

impl DeadKind {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::Quarantined => "quarantined",
        }
    }
}

/// A change of what the operator owns. Synced before the commit returns.
#[derive(Debug, Clone)]
pub enum Change {
    /// Makes or replaces a hook, by its number.
    PutHook(Hook),
    /// Removes a hook: what waits for it is canceled.
    DeleteHook(HookNo),
    /// What the host knows about a hook.
    PutHookState(HookNo, HookState),
    /// Registers an event of a source.
    PutSource {
        /// The source.
        source: String,
        /// The event.
        event: String,
        /// What is known.
        about: SourceEvent,
    },
    /// Removes an event of a source, and the source with its last one.
    DeleteSource {
        /// The source.
        source: String,
        /// The event.
        event: String,
    },
    /// Installs a handler.
    PutHandler(HandlerRecord),
    /// Removes a handler.
    DeleteHandler(String),
    /// Takes back a delivery that is owed. One that is running ends as it ends, and that no longer counts.
    Cancel(DeliveryId),
    /// Queues a delivery again, as the next generation, behind what is queued now; removes its dead letter.
    Replay(DeliveryId),
    /// Removes a dead letter.
    Forget(DeliveryId),
}

/// What an operator has done about deliveries. Each is looked at again when it is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redo {
    /// Queues a dead letter again.
    Retry(DeliveryId),
    /// Queues what ended, or never was, again as the next generation.
    Replay(DeliveryId),
    /// A delivery between attempts is due at once.
    Hasten(DeliveryId),
    /// Takes back what is owed.
    Cancel(DeliveryId),
    /// Removes a dead letter.
    Forget(DeliveryId),
    /// Gives up what is owed and does not run: kind and reason.
    Bury(DeliveryId, DeadKind, String),
}

impl Redo {
    /// Which delivery it is about.
    pub fn delivery(&self) -> DeliveryId {
        match self {
            Self::Retry(id) | Self::Replay(id) | Self::Hasten(id) | Self::Cancel(id) | Self::Forget(id) | Self::Bury(id, ..) => *id,
        }
    }
}

/// A retained event, with what was decided when it was accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct PastEvent {
    /// The event.
    pub event: Arc<Event>,
    /// When it came in.
    pub accepted_at: Timestamp,
    /// The hooks it was queued for.
    pub owes: Vec<HookNo>,
    /// The hooks that matched and for which it was not queued, and why.
    pub not_queued: Vec<(HookNo, Skip)>,
}

/// When a commit returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// After the fsync.
    Synced,
    /// At once; `Writer::sync` follows. A group that accepts or changes something is synced all the same.
    Lazy,
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// Never attempted.
    Queued,
    /// Being attempted.
    Running,
    /// Between attempts.
    Retrying,
    /// Done.
    Delivered,
    /// A dead letter.
    Exhausted,
    /// A dead letter.
    Quarantined,
    /// Taken back.
    Canceled,
}

impl DeliveryState {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Delivered => "delivered",
            Self::Exhausted => "exhausted",
            Self::Quarantined => "quarantined",
            Self::Canceled => "canceled",
        }
    }

    /// From the stable name.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Queued, Self::Running, Self::Retrying, Self::Delivered, Self::Exhausted, Self::Quarantined, Self::Canceled];
        all.into_iter().find(|state| state.as_str() == name)
    }
}

/// A delivery, for lists.
#[derive(Debug, Clone, PartialEq)]
pub struct DeliveryRecord {
    /// Which.
    pub id: DeliveryId,
    /// The event; None if its record is no longer kept.
    pub event: Option<Arc<Event>>,
    /// Where it stands.
    pub state: DeliveryState,
    /// When it is tried again.
    pub due: Option<Timestamp>,
    /// What is still kept of its attempts, oldest first.
    pub attempts: Vec<AttemptSummary>,
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// Which.
    pub id: DeliveryId,
    /// The event: id, source, name, time; None if it was lost to damage.
    pub event: Option<EventBrief>,
    /// How.
    pub kind: DeadKind,
    /// Why.
    pub reason: String,
    /// When it was given up.
    pub at: Timestamp,
    /// The last attempt.
    pub attempt: Option<AttemptSummary>,
}

/// What lists show of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventBrief {
    /// Its public id.
    pub id: EventId,
    /// Who said so.
    pub source: Arc<str>,
    /// What it is called.
    pub name: Arc<str>,
    /// When it happened.
    pub time: Timestamp,
}

impl From<&Event> for EventBrief {
    fn from(event: &Event) -> Self {
        Self { id: event.id.clone(), source: event.source.clone(), name: event.name.clone(), time: event.time }
    }
}

/// Which dead letters. Unset: all.
#[derive(Debug, Clone, Default)]
pub struct DeadLetterFilter {
    /// Of this hook.
    pub hook: Option<HookNo>,
    /// Of this source.
    pub source: Option<String>,
    /// Of this event name.
    pub event: Option<String>,
    /// Of this kind.
    pub kind: Option<DeadKind>,
    /// Whose last attempt failed with this code, or whose reason begins with this word.
    pub code: Option<String>,
    /// Given up at this time or later.
    pub from: Option<Timestamp>,
    /// Given up before this time.
    pub to: Option<Timestamp>,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// In order, newest first.
    pub items: Vec<T>,
    /// Opaque; gives the next page. None: this was the last.
    pub next: Option<String>,
}

/// What a hook is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// All of it.
    pub owed: u64,
    /// Of that, being attempted.
    pub running: usize,
    /// Of that, between attempts (running ones are not counted).
    pub between_attempts: usize,
    /// The oldest event that is owed.
    pub oldest: Option<EventNo>,
    /// When that was accepted, to about ten seconds.
    pub oldest_at: Option<Timestamp>,
}

/// What one hook may be owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueBounds {
    /// Deliveries.
    pub most: u64,
    /// None that was queued before this.
    pub oldest: Timestamp,
}

/// Which bound a delivery is beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooMuch {
    /// More wait than may.
    Queued,
    /// It waited too long.
    Wait,
}

/// Is there room for more events?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Room {
    /// Yes.
    Ok,
    /// No: refuse events until there is.
    Low {
        /// What is short: `free disk (bytes)`, `room for queued deliveries`.
        what: &'static str,
        /// What there is of it.
        free: u64,
        /// What there must be.
        floor: u64,
        /// The setting that says so.
        setting: &'static str,
    },
}

/// Figures for the metrics. Counters start at 0 with the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Commits.
    pub commits: u64,
    /// Bytes of their rows.
    pub bytes_written: u64,
    /// fdatasyncs of the journal.
    pub syncs: u64,
    /// Microseconds they took, together.
    pub sync_us_total: u64,
    /// Microseconds of the last one.
    pub sync_us_last: u64,
    /// Segments, the active one included.
    pub segments: usize,
    /// Bytes on disk of journal, catalog and remembered keys.
    pub disk_bytes: u64,
    /// Deliveries owed, all hooks.
    pub owed: u64,
    /// When the oldest of them was accepted.
    pub oldest_owed_at: Option<Timestamp>,
    /// Remembered keys.
    pub keys: u64,
    /// Keys forgotten early because there were more than `store.keys_max`.
    pub keys_forgotten: u64,
    /// Throttle marks forgotten because there were more than the limit.
    pub throttle_forgotten: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Dead letters removed by age or size.
    pub dead_letters_removed: u64,
    /// The last commit that the catalog holds.
    pub folded: u64,
    /// The last commit.
    pub last_commit: u64,
}
