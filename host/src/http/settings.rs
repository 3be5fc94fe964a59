//! What the doors are told. One immutable value, swapped as a whole; a request uses the one that was current when it came in.

use std::time::Duration;

use super::auth::Auth;

/// Limits and tokens of the doors.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Longest body of a request to the events door (`events.max_body`). Beyond it: 413.
    pub max_body: usize,
    /// Longest event: its source, name, key and data together, the data as JSON text (`events.max_event`). Beyond it: 413.
    pub max_event: usize,
    /// Most events in a request (`events.max_batch`). Beyond it: 413.
    pub max_batch: usize,
    /// Bytes of bodies that producers are sending, all requests together (`events.arriving_bytes`). Beyond it: 503. Only the first value counts.
    pub arriving_bytes: usize,
    /// Largest component that can be uploaded (`limits.component_bytes`). Beyond it: 413.
    pub component_bytes: usize,
    /// A body must have arrived whole within this. Beyond it: 408, and the connection is closed.
    pub body_wait: Duration,
    /// Web origins that may call the Admin API from a browser, or `*` (`admin.cors_origins`).
    pub cors_origins: Vec<String>,
    /// Who may come in (`[auth]`).
    pub auth: Auth,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_body: 8 << 20,
            max_event: 1 << 20,
            max_batch: 10_000,
            arriving_bytes: 256 << 20,
            component_bytes: 32 << 20,
            body_wait: Duration::from_secs(30),
            cors_origins: Vec::new(),
            auth: Auth::default(),
        }
    }
}
