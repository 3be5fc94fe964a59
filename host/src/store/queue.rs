//! What one hook is owed, in memory: which deliveries, which of them run, which are between attempts, and which is next.
//!
//! `owed` and `waiting` are what the journal says; `running`, `returned` and the cursor are of this process alone, and a crash forgets them. It
//! decides nothing about when a hook may be served.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::item::Waiting;
use super::owed::OwedSet;
use crate::model::{EventNo, Generation, Timestamp};

/// A delivery of this hook.
pub(super) type Key = (EventNo, Generation);

/// The queue of one hook.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// First deliveries that are owed, whatever else is true of them.
    owed: OwedSet,
    /// Replays that are owed, and the last event that was accepted before each was asked for.
    replays: BTreeMap<Key, EventNo>,
    /// Replays that were never attempted and do not run, in the order of their turn.
    replay_turns: BTreeSet<(EventNo, EventNo, Generation)>,
    /// Owed, with attempts behind them. A running retry stays here until it is settled.
    waiting: HashMap<Key, Waiting>,
    /// The waiting ones that do not run, by due time.
    due: BTreeSet<(Timestamp, EventNo, Generation)>,
    running: HashSet<Key>,
    /// Every owed event below it is running, waiting or returned, so that a search never passes over those again.
    cursor: EventNo,
    /// First deliveries below the cursor that were claimed and given back.
    returned: BTreeSet<EventNo>,
}

impl Queue {
    /// Owes a delivery. `after` is the last event accepted so far and orders a replay behind it. False if it was owed already.
    pub(super) fn owe(&mut self, key: Key, after: EventNo) -> bool {
        if key.1 == Generation(0) {
            let new = self.owed.insert(key.0);
            // An accepted event has the highest number and so lies above the cursor. A first delivery that is owed again (a copy that is read at
            // start) may lie below.
            if new && key.0 < self.cursor {
                self.returned.insert(key.0);
            }
            return new;
        }
        let new = self.replays.insert(key, after).is_none();
        if new {
            self.replay_turns.insert((after, key.0, key.1));
        }
        new
    }

    /// Nothing is owed under this key any more. False if nothing was.
    pub(super) fn done(&mut self, key: Key) -> bool {
        self.running.remove(&key);
        self.forget_waiting(key);
        if key.1 == Generation(0) {
            self.returned.remove(&key.0);
            return self.owed.remove(key.0);
        }
        let Some(after) = self.replays.remove(&key) else { return false };
        self.replay_turns.remove(&(after, key.0, key.1));
        true
    }

    fn forget_waiting(&mut self, key: Key) -> bool {
        let Some(old) = self.waiting.remove(&key) else { return false };
        self.due.remove(&(old.due, key.0, key.1));
        true
    }

    /// An attempt is behind it and the next one is due. False if the delivery is not owed.
    pub(super) fn wait(&mut self, key: Key, waiting: Waiting) -> bool {
        if !self.owes(key) {
            return false;
        }
        self.running.remove(&key);
        self.forget_waiting(key);
        if key.1 == Generation(0) {
            self.returned.remove(&key.0);
        } else if let Some(after) = self.replays.get(&key) {
            self.replay_turns.remove(&(*after, key.0, key.1));
        }
        self.waiting.insert(key, waiting);
        self.due.insert((waiting.due, key.0, key.1));
        true
    }

    /// A claim ended without a verdict: the delivery is as it was before.
    pub(super) fn give_back(&mut self, key: Key) {
        if !self.running.remove(&key) || !self.owes(key) {
            return;
        }
        if let Some(waiting) = self.waiting.get(&key) {
            self.due.insert((waiting.due, key.0, key.1));
        } else if let Some(after) = self.replays.get(&key) {
            self.replay_turns.insert((*after, key.0, key.1));
        } else {
            self.returned.insert(key.0);
        }
    }

    /// Claims the oldest delivery that was never attempted and does not run.
    pub(super) fn claim_first(&mut self) -> Option<Key> {
        let first = self.next_first();
        let turn = self.replay_turns.first().copied();
        let key = match (first, turn) {
            (Some(no), Some((after, ..))) if no <= after => (no, Generation(0)),
            (_, Some((after, no, generation))) => {
                self.replay_turns.remove(&(after, no, generation));
                (no, generation)
            }
            (Some(no), None) => (no, Generation(0)),
            (None, None) => return None,
        };
        if key.1 == Generation(0) && !self.returned.remove(&key.0) {
            self.cursor = key.0.next();
        }
        self.running.insert(key);
        Some(key)
    }

    /// The oldest first delivery that was never attempted and does not run. Moves the cursor over those that wait or run.
    fn next_first(&mut self) -> Option<EventNo> {
        if let Some(no) = self.returned.first() {
            return Some(*no);
        }
        loop {
            let no = self.owed.next_from(self.cursor)?;
            let key = (no, Generation(0));
            if !self.waiting.contains_key(&key) && !self.running.contains(&key) {
                return Some(no);
            }
            self.cursor = no.next();
        }
    }

    /// Claims the delivery between attempts that is due first, if it is due.
    pub(super) fn claim_due(&mut self, now: Timestamp) -> Option<(Key, Waiting)> {
        let (due, no, generation) = *self.due.first()?;
        if due > now {
            return None;
        }
        self.due.pop_first();
        let key = (no, generation);
        self.running.insert(key);
        self.waiting.get(&key).map(|waiting| (key, *waiting))
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, ..)| *due)
    }

    pub(super) fn owes(&self, key: Key) -> bool {
        if key.1 == Generation(0) { self.owed.contains(key.0) } else { self.replays.contains_key(&key) }
    }

    pub(super) fn is_running(&self, key: Key) -> bool {
        self.running.contains(&key)
    }

    pub(super) fn waiting(&self, key: Key) -> Option<Waiting> {
        self.waiting.get(&key).copied()
    }

    pub(super) fn len(&self) -> u64 {
        self.owed.len() + self.replays.len() as u64
    }

    pub(super) fn running_count(&self) -> usize {
        self.running.len()
    }

    pub(super) fn due_count(&self) -> usize {
        self.due.len()
    }

    /// The oldest event that is owed.
    pub(super) fn oldest(&self) -> Option<EventNo> {
        let replay = self.replays.keys().next().map(|(no, _)| *no);
        self.owed.next_from(EventNo(0)).into_iter().chain(replay).min()
    }

    /// When the oldest that waits was queued, as an event's number: of a replay the last event before it was asked for.
    pub(super) fn oldest_turn(&self) -> Option<EventNo> {
        let replay = self.replays.values().copied().min();
        self.owed.next_from(EventNo(0)).into_iter().chain(replay).min()
    }

    /// The `most` oldest that do not run, in the order in which they were queued, each with its turn.
    pub(super) fn oldest_first(&self, most: usize) -> Vec<(EventNo, Key)> {
        let first = self.owed.iter().map(|no| (no, (no, Generation(0)))).filter(|(_, key)| !self.running.contains(key)).take(most);
        let mut turns: Vec<(EventNo, Key)> = first.collect();
        turns.extend(self.replays.iter().filter(|(key, _)| !self.running.contains(*key)).map(|(key, after)| (*after, *key)));
        turns.sort_unstable();
        turns.truncate(most);
        turns
    }

    /// The largest owed key below `before`, for lists.
    pub(super) fn last_before(&self, before: Key) -> Option<Key> {
        let replay = self.replays.range(..before).next_back().map(|(key, _)| *key);
        // (event, 0) lies below (event, generation) for every later generation.
        let ceiling = if before.1 == Generation(0) { before.0 } else { EventNo(before.0.0.saturating_add(1)) };
        self.owed.last_before(ceiling).map(|no| (no, Generation(0))).into_iter().chain(replay).max()
    }

    /// All owed events from `first` to `last`, put into `into`.
    pub(super) fn collect_owed(&self, first: EventNo, last: EventNo, into: &mut OwedSet) {
        self.owed.collect_range(first, last, into);
        if first <= last {
            for ((no, _), _) in self.replays.range((first, Generation(0))..=(last, Generation(u32::MAX))) {
                into.insert(*no);
            }
        }
    }

    /// The deliveries of one event that are owed.
    pub(super) fn of_event(&self, no: EventNo) -> Vec<Key> {
        let replays = self.replays.range((no, Generation(0))..=(no, Generation(u32::MAX))).map(|(key, _)| *key);
        self.owed.contains(no).then_some((no, Generation(0))).into_iter().chain(replays).collect()
    }

    /// All that is owed, for a hook that goes.
    pub(super) fn all(&self) -> impl Iterator<Item = Key> + '_ {
        self.owed.iter().map(|no| (no, Generation(0))).chain(self.replays.keys().copied())
    }

    /// The set of first deliveries, for folding.
    pub(super) fn owed(&self) -> &OwedSet {
        &self.owed
    }

    /// When a replay was asked for, for folding.
    pub(super) fn replay(&self, key: Key) -> Option<EventNo> {
        self.replays.get(&key).copied()
    }

    /// The keys between attempts, for folding.
    pub(super) fn waiting_keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.waiting.keys().copied()
    }

    /// Replays that are owed, for folding.
    pub(super) fn replay_keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.replays.keys().copied()
    }

    /// Takes a chunk of first deliveries from the catalog, before anything is claimed.
    pub(super) fn load_chunk(&mut self, chunk: u64, bytes: &[u8]) -> Result<(), String> {
        self.owed.load_chunk(chunk, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Generation = Generation(0);

    fn key(no: u64) -> Key {
        (EventNo(no), FIRST)
    }

    fn waiting(due: i64) -> Waiting {
        Waiting { due: Timestamp(due), spent: 1, first_tried: Timestamp(0), crashes: 0 }
    }

    fn queue(events: u64) -> Queue {
        let mut queue = Queue::default();
        for no in 1..=events {
            queue.owe(key(no), EventNo(0));
        }
        queue
    }

    #[test]
    fn first_attempts_start_in_order_and_a_returned_one_goes_first() {
        let mut queue = queue(3);
        assert_eq!(queue.claim_first(), Some(key(1)));
        assert_eq!(queue.claim_first(), Some(key(2)));
        queue.give_back(key(1));
        assert_eq!(queue.claim_first(), Some(key(1)));
        assert_eq!(queue.claim_first(), Some(key(3)));
        assert_eq!(queue.claim_first(), None);
    }

    #[test]
    fn what_waits_is_not_a_first_attempt() {
        let mut queue = queue(2);
        let first = queue.claim_first().unwrap();
        queue.wait(first, waiting(100));
        assert_eq!(queue.claim_first(), Some(key(2)));
        assert_eq!(queue.claim_first(), None);
        assert_eq!(queue.claim_due(Timestamp(99)), None);
        assert_eq!(queue.claim_due(Timestamp(100)).unwrap().0, first);
        assert_eq!(queue.claim_due(Timestamp(100)), None);
        queue.give_back(first);
        assert_eq!(queue.next_due(), Some(Timestamp(100)));
        assert!(queue.done(first));
        assert_eq!((queue.len(), queue.next_due()), (1, None));
    }

    #[test]
    fn a_replay_waits_for_what_was_queued_before_it_and_not_for_what_came_later() {
        let mut queue = queue(2);
        queue.owe((EventNo(1), Generation(1)), EventNo(2));
        queue.owe(key(3), EventNo(2));
        let order: Vec<Key> = std::iter::from_fn(|| queue.claim_first()).collect();
        assert_eq!(order, [key(1), key(2), (EventNo(1), Generation(1)), key(3)]);
    }

    #[test]
    fn the_oldest_are_those_that_were_queued_first_and_do_not_run() {
        let mut queue = queue(3);
        queue.owe((EventNo(1), Generation(1)), EventNo(2));
        assert_eq!(queue.claim_first(), Some(key(1)));
        let oldest = |most| queue.oldest_first(most).into_iter().map(|(_, key)| key).collect::<Vec<_>>();
        assert_eq!(oldest(2), [(EventNo(1), Generation(1)), key(2)]);
        assert_eq!(oldest(9).len(), 3);
        assert_eq!(queue.oldest_turn(), Some(EventNo(1)));
    }

    #[test]
    fn lists_see_owed_keys_from_the_newest() {
        let mut queue = queue(3);
        queue.owe((EventNo(2), Generation(1)), EventNo(3));
        let mut at = (EventNo(u64::MAX), Generation(0));
        let mut seen = Vec::new();
        while let Some(next) = queue.last_before(at) {
            seen.push(next);
            at = next;
        }
        assert_eq!(seen, [key(3), (EventNo(2), Generation(1)), key(2), key(1)]);
    }

    /// A search that passed over everything that runs or waits would take 20 000 × 20 000 steps here.
    #[test]
    fn a_claim_does_not_pass_over_what_runs_and_waits() {
        let mut queue = queue(1_000_000);
        for i in 0..20_000 {
            let claimed = queue.claim_first().unwrap();
            assert_eq!(claimed, key(i + 1));
            if i % 2 == 0 {
                queue.wait(claimed, waiting(i as i64));
            }
        }
        assert_eq!((queue.running_count(), queue.due_count(), queue.cursor), (10_000, 10_000, EventNo(20_001)));
    }
}
