//! What the active segment holds, in memory: where its events and settlements are, and which keys it remembers.
//!
//! When the segment is sealed this becomes its index file and its file of remembered keys.

use std::collections::HashMap;
use std::time::Duration;

use super::item::Effect;
use super::nouns::{Change, ContentHash, Fingerprint, Remembered};
use crate::model::{CommitNo, DeliveryId, EventNo, Generation, HookNo, Timestamp};

/// Times of events are sampled this often; what is shown of a backlog's age needs no more.
pub(super) const SAMPLE_EVERY: Duration = Duration::from_secs(10);

/// What is remembered of a key, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyEntry {
    pub(super) remembered: Remembered,
    pub(super) at: Timestamp,
}

/// The figures of a segment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Summary {
    pub(super) first_commit: CommitNo,
    /// 0 while it has none.
    pub(super) last_commit: CommitNo,
    /// The event that is accepted next when it begins.
    pub(super) first_event: EventNo,
    pub(super) events: u64,
    /// Of its rows.
    pub(super) bytes: u64,
    /// Of its first and its last commit.
    pub(super) first_at: Timestamp,
    pub(super) last_at: Timestamp,
    /// Event and time of acceptance, sampled.
    pub(super) samples: Vec<(EventNo, Timestamp)>,
}

impl Summary {
    /// The last event accepted in it; below the first one if there is none.
    pub(super) fn last_event(&self) -> EventNo {
        EventNo((self.first_event.0 + self.events).saturating_sub(1))
    }

    pub(super) fn holds_event(&self, no: EventNo) -> bool {
        self.first_event <= no && no <= self.last_event() && self.events > 0
    }
}

/// One settlement in an index: which delivery, in which commit.
pub(super) type Settle = (EventNo, Generation, CommitNo);

/// The active segment.
#[derive(Debug, Default)]
pub(super) struct Window {
    pub(super) summary: Summary,
    /// First event of each commit that has any.
    pub(super) accepts: Vec<(EventNo, CommitNo)>,
    /// Events whose record was copied here.
    pub(super) copies: Vec<(EventNo, CommitNo)>,
    /// By hook, in the order of commits.
    pub(super) settles: HashMap<HookNo, Vec<Settle>>,
    pub(super) keys: HashMap<Fingerprint, KeyEntry>,
}

impl Window {
    /// An empty one.
    pub(super) fn new(first_commit: CommitNo, first_event: EventNo) -> Self {
        Self { summary: Summary { first_commit, first_event, ..Summary::default() }, ..Self::default() }
    }

    /// Notes that a commit of `bytes` lies here.
    pub(super) fn commit(&mut self, no: CommitNo, at: Timestamp, bytes: u64) {
        if self.summary.last_commit == CommitNo(0) {
            self.summary.first_at = at;
        }
        self.summary.last_commit = no;
        self.summary.last_at = at;
        self.summary.bytes += bytes;
    }

    /// Notes one item of commit `no`.
    pub(super) fn item(&mut self, no: CommitNo, at: Timestamp, effect: &Effect) {
        match effect {
            Effect::Accept { no: event, id, note } => {
                self.event(*event, no, at);
                if let (Some((key, content)), Some(id)) = (note.remember, id) {
                    let deliveries = u32::try_from(note.owes.len()).unwrap_or(u32::MAX);
                    let remembered = Remembered { content: ContentHash(content), event: id.clone(), deliveries };
                    self.keys.insert(Fingerprint(key), KeyEntry { remembered, at });
                }
            }
            Effect::Settle { id, .. } | Effect::Change(Change::Cancel(id)) => self.settled(*id, no),
            Effect::Copy { no: event, .. } => self.copies.push((*event, no)),
            Effect::Change(_) => {}
        }
    }

    fn settled(&mut self, id: DeliveryId, commit: CommitNo) {
        self.settles.entry(id.hook).or_default().push((id.event, id.generation, commit));
    }

    fn event(&mut self, event: EventNo, commit: CommitNo, at: Timestamp) {
        if self.summary.events == 0 {
            self.summary.first_event = event;
        }
        self.summary.events += 1;
        if self.accepts.last().is_none_or(|(_, last)| *last != commit) {
            self.accepts.push((event, commit));
        }
        if self.summary.samples.last().is_none_or(|(_, last)| at.since(*last) >= SAMPLE_EVERY) {
            self.summary.samples.push((event, at));
        }
    }
}

/// The commit that accepted `event`, from (first event, commit) pairs in order.
pub(super) fn commit_of(accepts: &[(EventNo, CommitNo)], event: EventNo) -> Option<CommitNo> {
    let after = accepts.partition_point(|(first, _)| *first <= event);
    Some(accepts.get(after.checked_sub(1)?)?.1)
}
