//! The time of day, from WASI's wall clock.

/// Whole seconds since 1970 (UTC): what `webhook-timestamp` wants.
#[cfg(target_arch = "wasm32")]
#[allow(clippy::disallowed_methods, reason = "the ban protects the host's own clock; in a guest the clock is the host's by construction")]
pub fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Whole seconds since 1970 (UTC): what `webhook-timestamp` wants. Natively, the test host's time.
#[cfg(not(target_arch = "wasm32"))]
pub fn unix_seconds() -> u64 {
    crate::testing::unix_seconds()
}
