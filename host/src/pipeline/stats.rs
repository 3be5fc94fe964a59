//! Counters of the pipeline since the start, for the metrics.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::FailureCode;

/// How an attempt ended for its delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Delivered.
    Delivered,
    /// Will be tried again.
    Retry,
    /// A dead letter: refused, or out of tries.
    Exhausted,
    /// A dead letter: the handler crashed.
    Quarantined,
}

impl Outcome {
    /// The label in the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retry => "retry",
            Self::Exhausted => "exhausted",
            Self::Quarantined => "quarantined",
        }
    }
}

/// A reading of all counters.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Events on disk.
    pub accepted: u64,
    /// Events recognised as seen before.
    pub duplicates: u64,
    /// Requests that were not accepted.
    pub refused: u64,
    /// Events a hook's throttle held back.
    pub throttled: u64,
    /// Attempts, by outcome and, where one failed, by code.
    pub attempts: BTreeMap<(Outcome, Option<FailureCode>), u64>,
    /// Units of fuel, over all attempts.
    pub fuel: u64,
    /// Attempts running now.
    pub running: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) accepted: AtomicU64,
    pub(super) duplicates: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) throttled: AtomicU64,
    pub(super) running: AtomicU64,
    delivered: AtomicU64,
    fuel: AtomicU64,
    /// Attempts that were not delivered: rare enough for a lock.
    failed: Mutex<BTreeMap<(Outcome, Option<FailureCode>), u64>>,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }

    pub(super) fn attempt(&self, outcome: Outcome, code: Option<FailureCode>, fuel: u64) {
        Self::add(&self.fuel, fuel);
        if outcome == Outcome::Delivered {
            return Self::add(&self.delivered, 1);
        }
        let mut failed = self.failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *failed.entry((outcome, code)).or_default() += 1;
    }

    pub(super) fn read(&self) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut attempts = self.failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        attempts.insert((Outcome::Delivered, None), get(&self.delivered));
        Stats {
            accepted: get(&self.accepted),
            duplicates: get(&self.duplicates),
            refused: get(&self.refused),
            throttled: get(&self.throttled),
            attempts,
            fuel: get(&self.fuel),
            running: get(&self.running),
        }
    }
}
