//! The host's one clock. Everybody is given it; nobody asks the system.
//!
//! Due times are wall time, because they are stored and outlive the process; waiting for them is done on the monotonic clock, so that a wall
//! clock that jumps back does not stretch a wait that already runs.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Wall time in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Later than anything real.
    pub const FAR: Self = Self(i64::MAX / 4);

    /// Whole seconds since 1970, as Kong's entities carry.
    pub fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This time and `by`.
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX / 4)))
    }

    /// How long from `earlier` to this; zero if it is not later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// RFC 3339 in UTC with milliseconds: `2026-01-02T03:04:05.678Z`.
    pub fn to_rfc3339(self) -> String {
        const FORM: &[time::format_description::BorrowedFormatItem<'static>] =
            time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
        time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .ok()
            .and_then(|at| at.format(FORM).ok())
            .unwrap_or_else(|| "9999-12-31T23:59:59.999Z".into())
    }

    /// Reads RFC 3339, any offset. None if it is not one.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let at = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
        i64::try_from(at.unix_timestamp_nanos().div_euclid(1_000_000)).ok().map(Self)
    }
}

/// The clock. Clones share it.
#[derive(Debug, Clone)]
pub struct Clock {
    /// Milliseconds that the test clock has been moved by; sent again at each move, so that waiters look again.
    moved: Arc<watch::Sender<i64>>,
}

impl Default for Clock {
    fn default() -> Self {
        Self { moved: Arc::new(watch::Sender::new(0)) }
    }
}

impl Clock {
    /// Now, as wall time.
    #[allow(clippy::disallowed_methods, reason = "this is the clock that the lint sends everybody else to")]
    pub fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX / 4) + *self.moved.borrow())
    }

    /// A reading of the monotonic clock, for measuring durations.
    #[allow(clippy::disallowed_methods, reason = "this is the clock that the lint sends everybody else to")]
    pub fn instant(&self) -> std::time::Instant {
        std::time::Instant::now()
    }

    /// Waits until `due`. A wait is at most an hour long before the wall clock is read again, so a clock that was set forward is noticed.
    pub async fn sleep_until(&self, due: Timestamp) {
        let mut moves = self.moved.subscribe();
        loop {
            let left = due.since(self.now());
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(left.min(Duration::from_secs(3600))) => {}
                _ = moves.changed() => {}
            }
        }
    }

    /// Moves the clock by `millis` and wakes everybody who waits on it.
    #[cfg(feature = "test-clock")]
    pub fn advance(&self, millis: i64) {
        self.moved.send_modify(|moved| *moved += millis);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read_as_rfc_3339() {
        let at = Timestamp(1_767_323_045_678);
        assert_eq!(at.to_rfc3339(), "2026-01-02T03:04:05.678Z");
        assert_eq!(Timestamp::from_rfc3339("2026-01-02T04:04:05.678+01:00"), Some(at));
        assert_eq!(Timestamp::from_rfc3339("yesterday"), None);
    }
}
