//! Waiting on conditions, never on luck: a wait ends when its condition holds and panics, saying what was waited for, when it does not.

use std::time::{Duration, Instant};

/// How long a condition may take. Generous, because a loaded machine of two cores runs these tests; no test waits this long when it passes.
pub const DEADLINE: Duration = Duration::from_secs(45);

/// How often a condition that nobody signals is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(15);

/// Looks at `condition` until it gives something, and gives it back.
///
/// # Panics
/// With `what` when `DEADLINE` has passed.
pub async fn eventually<T>(what: &str, condition: impl AsyncFnMut() -> Option<T>) -> T {
    within(DEADLINE, what, condition).await
}

/// As `eventually`, with a deadline of its own.
///
/// # Panics
/// With `what` when `limit` has passed.
pub async fn within<T>(limit: Duration, what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let until = Instant::now() + limit;
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(Instant::now() < until, "waited {limit:?} in vain: {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
