//! What comes in: the event, and what is known about this attempt at handling it.

use std::time::Duration;

use serde::Deserialize;

/// What happened. The same event always has the same `id`, on every attempt and for every hook.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The host's own id, `evt_` and a UUID. Receivers see it as `webhook-id`; use it to recognise repeats.
    pub id: String,
    /// Who says so: `crud`, `balancer`, or any name a producer chose.
    pub source: String,
    /// What it is called: `consumers`, `health`. (The JSON that producers send calls it `event`.)
    pub name: String,
    /// When it happened, RFC 3339 with milliseconds, UTC.
    pub time: String,
    /// The event's data as JSON text. Any value; usually an object. Numbers have their digits as the producer wrote them.
    pub data: String,
    /// What travelled with the event and is not data: `traceparent`, CloudEvents extension attributes.
    pub attributes: Vec<(String, String)>,
    /// Additions of later hosts. Ignore names you do not know.
    pub extra: Vec<(String, String)>,
}

impl Event {
    /// The data as a type of yours, which may borrow from the text. A `?` turns the error into [`Failure::Reject`](crate::Failure::Reject).
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.data)
    }

    /// The attribute of this name.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Is this the host's own ping (see [`Description::wants_pings`](crate::Description))? Its data is `{"event_hooks": {…}, "operation": …}`:
    /// the hook itself, and `create`, `update` or `delete`; without `operation` when an operator asked for it.
    pub fn is_ping(&self) -> bool {
        self.source == "kong:event_hooks" && self.name == "ping"
    }
}

/// One try at handling one event for one hook.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// Names the delivery (this event for this hook); the same on every attempt.
    pub delivery_id: String,
    /// The hook's UUID.
    pub hook_id: String,
    /// 1 for the first attempt.
    pub number: u32,
    /// When the first attempt started, RFC 3339 with milliseconds, UTC.
    pub first_tried: String,
    /// What is left for this attempt. When it is over the instance is dropped, wherever it is.
    pub deadline: Duration,
    /// True when an operator called `/test` or `/ping`: nothing is retried and the answer is shown to them.
    pub test: bool,
    /// Fresh random bits for this attempt. An instance may start from a stored memory image: seed from this, never from memory.
    pub seed: u64,
    /// Additions of later hosts. Ignore names you do not know.
    pub extra: Vec<(String, String)>,
}
