//! Hooks: which events go to which handler, and how.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{HookNo, Timestamp};

/// A hook, as it is meant: validated, defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Hook {
    /// The store's number.
    pub no: HookNo,
    /// Counts the changes; throttle memory belongs to one revision.
    pub revision: u64,
    /// The public id.
    pub id: Uuid,
    /// Which source it listens to. May end in `*`.
    pub source: String,
    /// Which event; none is every event of the source. May end in `*`.
    pub event: Option<String>,
    /// The installed handler's name.
    pub handler: String,
    /// Deliver only when the digest of the data differs from the last one.
    pub on_change: Option<bool>,
    /// Seconds to hold back repeats; 0 is off.
    pub snooze: Option<i64>,
    /// The handler's config, an object, defaults filled in by `validate`.
    pub config: serde_json::Value,
    /// Seconds since 1970.
    pub created_at: i64,
    /// Seconds since 1970.
    pub updated_at: i64,
    /// Unique; usable in place of the id.
    pub name: Option<String>,
    /// For lists.
    pub tags: Option<Vec<String>>,
    /// For people.
    pub description: Option<String>,
    /// False: events are not queued for it. Unset: true.
    pub enabled: Option<bool>,
    /// True: events queue, nothing is attempted. Unset: false.
    pub paused: Option<bool>,
    /// A condition over the event, CEL text.
    pub filter: Option<String>,
    /// How its events are delivered.
    pub delivery: DeliverySettings,
    /// Lower than the operator's caps.
    pub limits: HookLimits,
}

impl Hook {
    /// Are events queued for it?
    pub fn is_enabled(&self) -> bool {
        self.enabled.unwrap_or(true)
    }

    /// The entity as the Admin API shows it: Kong's fields always, nulls included; ours only when they are set.
    pub fn to_entity(&self) -> serde_json::Map<String, serde_json::Value> {
        use serde_json::json;
        let mut entity = serde_json::Map::new();
        let mut put = |name: &str, value: serde_json::Value| entity.insert(name.to_owned(), value);
        put("id", json!(self.id));
        put("created_at", json!(self.created_at));
        put("updated_at", json!(self.updated_at));
        put("source", json!(self.source));
        put("event", json!(self.event));
        put("handler", json!(self.handler));
        put("on_change", json!(self.on_change));
        put("snooze", json!(self.snooze));
        put("config", self.config.clone());
        let ours = [
            ("name", json!(self.name)),
            ("tags", json!(self.tags)),
            ("description", json!(self.description)),
            ("enabled", json!(self.enabled)),
            ("paused", json!(self.paused)),
            ("filter", json!(self.filter)),
            ("delivery", json!(self.delivery)),
            ("limits", json!(self.limits)),
        ];
        let is_set = |value: &serde_json::Value| !value.is_null() && value.as_object().is_none_or(|map| !map.is_empty());
        for (name, value) in ours.into_iter().filter(|(_, value)| is_set(value)) {
            put(name, value);
        }
        entity
    }

    /// Did its owner pause it?
    pub fn is_paused(&self) -> bool {
        self.paused.unwrap_or(false)
    }
}

/// The hook's wishes for delivery; unset ones fall back to the configuration.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeliverySettings {
    /// Kong's semantics or ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// What is promised about order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// Attempts in flight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<NonZeroU32>,
    /// Whole attempt, wall clock, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<NonZeroU32>,
    /// When to try again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetrySchedule>,
    /// Deliveries that may wait; beyond it the oldest become dead letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_queued: Option<NonZeroU64>,
    /// Seconds that a delivery may wait; then it becomes a dead letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_wait: Option<NonZeroU32>,
}

/// Delivery semantics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// 2xx is delivered, everything else is retried for days.
    #[default]
    Durable,
    /// As Kong: any HTTP response is delivered.
    Kong,
}

impl Profile {
    /// The name in settings and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Durable => "durable",
            Self::Kong => "kong",
        }
    }
}

/// What is promised about the order of one hook's deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// First attempts start in order; nothing more is promised.
    None,
    /// Strict: the next event waits until the one before it is delivered or dead.
    Hook,
}

/// When to try again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetrySchedule {
    /// The gaps between attempts, milliseconds; after the last one the delivery is exhausted.
    pub schedule_ms: Vec<u64>,
}

/// Limits of one hook's attempts; each is met with the operator's by `min`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HookLimits {
    /// Units of fuel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    /// Sum over the component's memories.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Log lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_bytes: Option<u64>,
    /// Requests of one attempt through `http`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_requests: Option<u32>,
}

/// What the host knows about a hook beside the entity; stored, and no edit of the hook.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HookState {
    /// The gate: no attempt starts before this.
    pub not_before: Option<Timestamp>,
    /// The host paused it.
    pub paused_by_host: Option<PausedByHost>,
    /// Quarantines in a row.
    pub quarantines: u32,
    /// The hook was deleted and is kept, hidden, until its last ping is settled.
    pub retired: bool,
}

/// Why and when the host paused a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PausedByHost {
    /// When.
    pub at: Timestamp,
    /// For the operator.
    pub reason: String,
}

impl DeliverySettings {
    /// The wall-clock limit of one attempt.
    pub fn timeout(&self, default: Duration) -> Duration {
        self.timeout_ms.map_or(default, |ms| Duration::from_millis(u64::from(ms.get())))
    }
}
