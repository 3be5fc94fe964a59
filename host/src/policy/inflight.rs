//! How many attempts of one hook may run at once: the in-flight rule.
//!
//! A hook starts small, doubles on quick successes up to its `delivery.concurrency`, and halves on a timeout down to one, so that a hanging
//! destination soon holds one slot instead of all of them.

use std::time::Duration;

/// Where every hook starts.
pub const FIRST: u32 = 4;

/// A success faster than this lets the window grow.
pub const QUICK: Duration = Duration::from_secs(1);

/// One hook's window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    size: u32,
    /// Quick successes since the last growth: a window doubles once it has been filled with them.
    quick: u32,
}

impl Default for Window {
    fn default() -> Self {
        Self { size: FIRST, quick: 0 }
    }
}

/// What the window needs to know of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Delivered in this time.
    Delivered(Duration),
    /// The destination or the handler ran into a time limit.
    TimedOut,
    /// Failed in another way: says nothing about how much the destination can take.
    Failed,
}

impl Window {
    /// Attempts that may run, at most `cap` (`delivery.concurrency`).
    pub fn size(&self, cap: u32) -> u32 {
        self.size.min(cap).max(1)
    }

    /// Attempts among them that may be retries: at most half, and never none.
    pub fn retries(&self, cap: u32) -> u32 {
        (self.size(cap) / 2).max(1)
    }

    /// Learns from a finished attempt.
    pub fn learn(&mut self, seen: Seen, cap: u32) {
        match seen {
            Seen::Delivered(took) if took <= QUICK => {
                self.quick += 1;
                if self.quick >= self.size {
                    *self = Self { size: (self.size * 2).min(cap.max(1)), quick: 0 };
                }
            }
            Seen::TimedOut => *self = Self { size: (self.size / 2).max(1), quick: 0 },
            Seen::Delivered(_) | Seen::Failed => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_doubles_on_quick_successes_and_halves_on_timeouts() {
        let mut window = Window::default();
        let mut sizes = vec![window.size(64)];
        for _ in 0..64 {
            window.learn(Seen::Delivered(Duration::from_millis(3)), 64);
            if sizes.last() != Some(&window.size(64)) {
                sizes.push(window.size(64));
            }
        }
        assert_eq!(sizes, [4, 8, 16, 32, 64]);
        for expected in [32, 16, 8, 4, 2, 1, 1] {
            window.learn(Seen::TimedOut, 64);
            assert_eq!(window.size(64), expected);
        }
        window.learn(Seen::Delivered(Duration::from_secs(20)), 64);
        window.learn(Seen::Failed, 64);
        assert_eq!((window.size(64), window.retries(64)), (1, 1));
    }
}
