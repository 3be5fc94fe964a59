//! What one hook may be owed: which deliveries are beyond it. What becomes of them is not decided here.

use std::time::Duration;

use super::nouns::{QueueBounds, TooMuch};
use super::queue::Key;
use super::shared::Shared;
use super::state::{HookEntry, State};
use super::window::SAMPLE_EVERY;
use crate::model::{DeliveryId, EventNo, Hook, HookNo, Timestamp};

/// Deliveries of one hook whose events are looked up, because nothing in memory tells their time. More come with the next look.
const LOOKED_UP: usize = 64;

/// A hook's oldest deliveries, queued before the oldest time that the memory knows; and the time before which none may have been queued.
type Ancient = (HookNo, Vec<(EventNo, Key)>, Timestamp);

impl Shared {
    /// See `Store::too_much`.
    pub(super) fn too_much(&self, bounds: impl Fn(&Hook) -> QueueBounds, most: usize) -> Vec<(DeliveryId, TooMuch)> {
        let mut found = Vec::new();
        let mut ancient: Vec<Ancient> = Vec::new();
        {
            let state = self.state();
            for entry in state.hooks.values().filter(|entry| entry.queue.len() > 0 && !entry.state.retired) {
                let bounds = bounds(&entry.hook);
                let before = found.len();
                found.extend(state.beyond(entry, bounds, most - before));
                if found.len() == most {
                    return found;
                }
                if found.len() == before {
                    ancient.extend(state.ancient(entry).map(|turns| (entry.hook.no, turns, bounds.oldest)));
                }
            }
        }
        for (hook, turns, oldest) in ancient {
            // Oldest first: the first one that may still wait ends it. One whose event cannot be read waits on.
            let old = turns.into_iter().take_while(|(turn, _)| {
                let event = self.event(*turn).ok().flatten();
                event.and_then(|event| event.id.unix_millis()).is_some_and(|at| Timestamp(at) < oldest)
            });
            let old = old.map(|(_, (event, generation))| (DeliveryId { event, hook, generation }, TooMuch::Wait));
            found.extend(old.take(most - found.len()));
        }
        found
    }
}

impl State {
    fn beyond(&self, entry: &HookEntry, bounds: QueueBounds, most: usize) -> Vec<(DeliveryId, TooMuch)> {
        let over = entry.queue.len().saturating_sub(bounds.most);
        let is_old = |turn: EventNo| self.accepted_by(turn).is_some_and(|at| at < bounds.oldest);
        if over == 0 && !entry.queue.oldest_turn().is_some_and(is_old) {
            return Vec::new();
        }
        let oldest = entry.queue.oldest_first(most).into_iter().enumerate();
        let beyond = oldest.map_while(|(at, (turn, (event, generation)))| {
            let why = if (at as u64) < over { Some(TooMuch::Queued) } else { is_old(turn).then_some(TooMuch::Wait) };
            why.map(|why| (DeliveryId { event, hook: entry.hook.no, generation }, why))
        });
        beyond.collect()
    }

    /// A time by which an event had been accepted for certain: times are sampled, so it may be a little later than the truth.
    fn accepted_by(&self, no: EventNo) -> Option<Timestamp> {
        self.accepted_at(no).map(|sampled| sampled.plus(SAMPLE_EVERY).plus(Duration::from_millis(1)))
    }

    /// What was queued before the first sample: its segment is gone, and only its record was copied.
    fn ancient(&self, entry: &HookEntry) -> Option<Vec<(EventNo, Key)>> {
        let (first, _) = self.samples.first_key_value()?;
        let turns = (entry.queue.oldest_turn()? < *first).then(|| entry.queue.oldest_first(LOOKED_UP))?;
        Some(turns.into_iter().filter(|(turn, _)| turn < first).collect())
    }
}
