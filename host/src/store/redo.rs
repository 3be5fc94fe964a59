//! What an operator has done again, taken back or forgotten. Whether it still makes sense is looked at when it is committed: between a list and a
//! change, deliveries go on.

use super::group::Group;
use super::item::Effect;
use super::nouns::{Change, Redo, Settled};
use crate::model::{DeliveryId, Timestamp};

impl Group<'_> {
    /// Adds one of them to the group. False: it no longer applies, and nothing is added.
    pub fn redo(&mut self, redo: Redo, now: Timestamp) -> bool {
        match redo {
            Redo::Retry(id) => self.change_if(self.is_dead(id) && self.hook_is_there(id), Change::Replay(id)),
            Redo::Replay(id) => {
                let next = DeliveryId { generation: id.generation.next(), ..id };
                let is_new = self.hook_is_there(id) && !self.shared().owes(id) && !self.shared().owes(next);
                self.change_if(is_new, Change::Replay(id))
            }
            Redo::Cancel(id) => self.change_if(self.shared().owes(id), Change::Cancel(id)),
            Redo::Forget(id) => self.change_if(self.is_dead(id), Change::Forget(id)),
            Redo::Hasten(id) => self.hasten(id, now),
            Redo::Bury(id, kind, reason) => {
                let applies = self.shared().owes(id) && !self.shared().is_running(id);
                if applies {
                    self.settle_unclaimed(id, Settled::Dead { kind, reason });
                }
                applies
            }
        }
    }

    fn change_if(&mut self, applies: bool, change: Change) -> bool {
        if applies {
            self.change(change);
        }
        applies
    }

    /// A delivery between attempts is due at once.
    fn hasten(&mut self, id: DeliveryId, now: Timestamp) -> bool {
        let waiting = {
            let state = self.shared().state();
            let queue = state.hooks.get(&id.hook).map(|entry| &entry.queue);
            let key = (id.event, id.generation);
            queue.filter(|queue| !queue.is_running(key)).and_then(|queue| queue.waiting(key))
        };
        let Some(waiting) = waiting else { return false };
        let (spent, first_tried, crashes) = (waiting.spent, waiting.first_tried, waiting.crashes);
        self.settle_unclaimed(id, Settled::RetryAt { due: now, spent, first_tried, crashes });
        true
    }

    fn settle_unclaimed(&mut self, id: DeliveryId, verdict: Settled) {
        self.put_settle(id, &verdict);
        self.put_effect(Effect::Settle { id, verdict, attempt: None, hook_state: None });
    }

    fn hook_is_there(&self, id: DeliveryId) -> bool {
        self.hook_exists(id.hook) && !self.shared().state().hooks.get(&id.hook).is_some_and(|entry| entry.state.retired)
    }

    /// An error of the catalog counts as not dead: the operator asks again.
    fn is_dead(&self, id: DeliveryId) -> bool {
        self.shared().dead_letter_state(id).is_ok_and(|state| state.is_some())
    }
}
