//! Kong's collapse: what is the same as an event of the last 5 s is not delivered again, except changes of entities. In memory, for hooks of
//! profile `kong` alone.

use std::collections::HashMap;
use std::time::Duration;

use crate::model::{HookNo, Timestamp};

/// How long an event is remembered.
const WINDOW: Duration = Duration::from_secs(5);
/// Events remembered at a time. Beyond it the oldest half is forgotten: repeats of it are delivered.
const REMEMBERED_MAX: usize = 100_000;

/// A hash of source, event and digest.
pub type Sameness = [u8; 16];

/// Does this source take part?
pub fn applies_to(source: &str) -> bool {
    !matches!(source, "crud" | "dao:crud")
}

/// What was let through in the last 5 s.
#[derive(Debug, Default)]
pub struct Collapse(HashMap<(HookNo, Sameness), Timestamp>);

impl Collapse {
    /// True for the first one within 5 s. A repeat does not begin a new window.
    pub fn passes(&mut self, hook: HookNo, event: Sameness, now: Timestamp) -> bool {
        if self.0.get(&(hook, event)).is_some_and(|until| now < *until) {
            return false;
        }
        if self.0.len() >= REMEMBERED_MAX {
            self.0.retain(|_, until| now < *until);
            if self.0.len() >= REMEMBERED_MAX {
                let mut untils: Vec<Timestamp> = self.0.values().copied().collect();
                let (_, middle, _) = untils.select_nth_unstable(REMEMBERED_MAX / 2);
                let middle = *middle;
                self.0.retain(|_, until| *until > middle);
            }
        }
        self.0.insert((hook, event), now.plus(WINDOW));
        true
    }

    /// Forgets everything: what it remembers may not have been accepted after all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_within_five_seconds_do_not_pass() {
        let mut collapse = Collapse::default();
        let mut pass = |hook, event: u8, ms| collapse.passes(HookNo(hook), [event; 16], Timestamp(ms));
        let times = [0, 1, 4999, 5000, 9999, 10_000];
        assert_eq!(times.map(|ms| pass(1, 1, ms)), [true, false, false, true, false, true]);
        assert!(pass(2, 1, 10_001) && pass(1, 2, 10_001));
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut collapse = Collapse::default();
        for n in 0..=REMEMBERED_MAX as i64 {
            assert!(collapse.passes(HookNo(1), u128::from(n.unsigned_abs()).to_be_bytes(), Timestamp(0)));
        }
        assert!(collapse.0.len() <= REMEMBERED_MAX);
    }
}
