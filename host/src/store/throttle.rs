//! Throttle memory: a bounded number of marks, of which the oldest goes.

use std::collections::{BTreeMap, HashMap};

use crate::model::{HookNo, ThrottleKey, ThrottleMark};

/// Whose mark.
pub(super) type MarkKey = (HookNo, ThrottleKey);

/// A mark and the hook's revision it belongs to.
pub(super) type Mark = (u64, ThrottleMark);

/// The marks of all hooks.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    marks: HashMap<MarkKey, (Mark, u64)>,
    /// By age.
    order: BTreeMap<u64, MarkKey>,
    next: u64,
}

impl Throttle {
    pub(super) fn get(&self, key: MarkKey) -> Option<Mark> {
        self.marks.get(&key).map(|(mark, _)| *mark)
    }

    pub(super) fn put(&mut self, key: MarkKey, mark: Mark) {
        self.next += 1;
        if let Some((_, old)) = self.marks.insert(key, (mark, self.next)) {
            self.order.remove(&old);
        }
        self.order.insert(self.next, key);
    }

    pub(super) fn remove(&mut self, key: MarkKey) {
        if let Some((_, old)) = self.marks.remove(&key) {
            self.order.remove(&old);
        }
    }

    /// Removes the oldest while there are more than `most`.
    pub(super) fn pop_over(&mut self, most: usize) -> Option<MarkKey> {
        if self.marks.len() <= most {
            return None;
        }
        let (_, key) = self.order.pop_first()?;
        self.marks.remove(&key);
        Some(key)
    }

    /// The marks of one hook, for when it goes.
    pub(super) fn of_hook(&self, hook: HookNo) -> Vec<MarkKey> {
        self.marks.keys().filter(|(of, _)| *of == hook).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn the_oldest_mark_goes_and_a_renewed_one_is_young() {
        let mut throttle = Throttle::default();
        let key = |n| (HookNo(1), ThrottleKey([n; 16]));
        let mark = (1, ThrottleMark { digest: [0; 16], until: Timestamp(0) });
        throttle.put(key(1), mark);
        throttle.put(key(2), mark);
        throttle.put(key(1), mark);
        assert_eq!(throttle.pop_over(2), None);
        assert_eq!(throttle.pop_over(1), Some(key(2)));
        assert_eq!(throttle.get(key(1)), Some(mark));
    }
}
