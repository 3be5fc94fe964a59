//! Events in memory: those just accepted, until their deliveries are done, and those just read from the journal.
//!
//! Two queues, so that a backlog that floods the one with its newest events leaves the other to the oldest, which are the ones being claimed.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::model::{Event, EventNo};

/// Beside the data: names, ids, the entry.
const EVENT_OVERHEAD_BYTES: usize = 256;

/// A share of the cache for events that were read from the journal.
const READ_SHARE: usize = 4;

#[derive(Debug)]
struct Entry {
    event: Arc<Event>,
    bytes: usize,
    /// Deliveries of it that are not settled; at 0 nobody needs it.
    wanted: usize,
}

/// One queue with a bound.
#[derive(Debug, Default)]
struct Ring {
    entries: HashMap<EventNo, Entry>,
    order: VecDeque<EventNo>,
    bytes: usize,
}

impl Ring {
    fn put(&mut self, event: Arc<Event>, wanted: usize, most: usize) {
        let no = event.no;
        let bytes = event.data.len() + EVENT_OVERHEAD_BYTES;
        if bytes > most || self.entries.contains_key(&no) {
            return;
        }
        self.bytes += bytes;
        self.entries.insert(no, Entry { event, bytes, wanted });
        self.order.push_back(no);
        while self.bytes > most {
            let Some(oldest) = self.order.pop_front() else { break };
            self.remove(oldest);
        }
    }

    fn remove(&mut self, no: EventNo) {
        if let Some(entry) = self.entries.remove(&no) {
            self.bytes -= entry.bytes;
        }
        // What was removed out of turn leaves its number in the order; it must not outgrow what is there.
        if self.order.len() > 2 * self.entries.len() + 1024 {
            let entries = &self.entries;
            self.order.retain(|no| entries.contains_key(no));
        }
    }

    fn done(&mut self, no: EventNo) {
        let Some(entry) = self.entries.get_mut(&no) else { return };
        entry.wanted = entry.wanted.saturating_sub(1);
        if entry.wanted == 0 {
            self.remove(no);
        }
    }
}

/// The cache.
#[derive(Debug)]
pub(super) struct Cache {
    accepted: Ring,
    read: Ring,
    accepted_most: usize,
    read_most: usize,
}

impl Cache {
    pub(super) fn new(bytes: usize) -> Self {
        let read_most = bytes / READ_SHARE;
        Self { accepted: Ring::default(), read: Ring::default(), accepted_most: bytes - read_most, read_most }
    }

    /// Keeps everything: without a journal there is nowhere to read it from.
    #[cfg(feature = "bench")]
    pub(super) fn unbounded() -> Self {
        Self { accepted: Ring::default(), read: Ring::default(), accepted_most: usize::MAX, read_most: 0 }
    }

    /// An accepted event with this many deliveries.
    pub(super) fn accepted(&mut self, event: Arc<Event>, wanted: usize) {
        if wanted > 0 {
            self.accepted.put(event, wanted, self.accepted_most);
        }
    }

    /// An event that was read.
    pub(super) fn read(&mut self, event: Arc<Event>) {
        self.read.put(event, usize::MAX, self.read_most);
    }

    pub(super) fn get(&self, no: EventNo) -> Option<Arc<Event>> {
        self.accepted.entries.get(&no).or_else(|| self.read.entries.get(&no)).map(|entry| entry.event.clone())
    }

    /// One delivery of it is settled for good.
    pub(super) fn done(&mut self, no: EventNo) {
        self.accepted.done(no);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EventId, JsonText, Origin, Timestamp};

    fn event(no: u64) -> Arc<Event> {
        Arc::new(Event {
            no: EventNo(no),
            id: EventId("evt_x".into()),
            source: "s".into(),
            name: "n".into(),
            time: Timestamp(0),
            data: JsonText::from_checked("1".repeat(1000)),
            key: None,
            attributes: Vec::new(),
            origin: Origin::Producer,
        })
    }

    #[test]
    fn an_event_stays_until_its_last_delivery_and_the_bound_holds() {
        let mut cache = Cache::new(20_000);
        cache.accepted(event(1), 2);
        cache.done(EventNo(1));
        assert!(cache.get(EventNo(1)).is_some());
        cache.done(EventNo(1));
        assert!(cache.get(EventNo(1)).is_none());
        for no in 2..10_000 {
            cache.accepted(event(no), 1);
        }
        assert!(cache.accepted.bytes <= 15_000 && cache.accepted.entries.len() == 11);
        for no in 2..10_000 {
            cache.done(EventNo(no));
        }
        assert!(cache.accepted.order.len() < 2048 && cache.accepted.bytes == 0);
    }
}
