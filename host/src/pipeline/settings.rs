//! What the pipeline is told: bounds that stay for the life of the process, and settings that SIGHUP may change.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::model::{Hook, JsonText, Profile};
use crate::policy::admit::Unregistered;
use crate::policy::retry;
use crate::sandbox::RunLimits;

/// Bounds of queues and loops.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Requests, settlements and changes that wait for the one loop. Beyond it they wait outside.
    pub queued_items: usize,
    /// Bytes of events that wait for the one loop. Beyond it a request gets 503.
    pub queued_bytes: usize,
    /// A group is committed when it has this many bytes.
    pub group_bytes: usize,
    /// A group is committed when deciding it has taken this long.
    pub group_deciding: Duration,
    /// While requests come close together, groups begin at least this far apart.
    pub group_gap: Duration,
    /// Settlements are synced this long after the first unsynced one: a crash repeats that much, and loses nothing.
    pub sync_lag: Duration,
    /// Attempts in flight over all hooks. Beyond it nothing is claimed.
    pub in_flight: usize,
    /// Deliveries of one hook between attempts. Beyond it the hook starts no first attempts.
    pub between_attempts: usize,
    /// Snapshots made or loaded at the same time. More wait.
    pub preparing: usize,
    /// Bytes of snapshots that are loaded. Beyond it those used longest ago are dropped from memory, and loaded again when their hooks have events.
    pub snapshot_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queued_items: 4096,
            queued_bytes: 64 << 20,
            group_bytes: 1 << 20,
            group_deciding: Duration::from_millis(2),
            group_gap: Duration::from_millis(2),
            sync_lag: Duration::from_millis(200),
            in_flight: 1024,
            between_attempts: 100_000,
            preparing: 2,
            snapshot_bytes: 256 << 20,
        }
    }
}

/// The operator's caps on what one attempt may use; a hook may only lower them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunCaps {
    /// Units of fuel.
    pub fuel: u64,
    /// Sum over the component's memories.
    pub memory_bytes: u64,
    /// Log lines.
    pub log_bytes: u64,
    /// Requests through `http`.
    pub http_requests: u32,
}

/// What SIGHUP may change.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What happens to an event that nobody registered.
    pub unregistered: Unregistered,
    /// Delivery semantics of hooks that name none.
    pub profile: Profile,
    /// The gaps between attempts in profile `durable`, of hooks that name none.
    pub schedule: Vec<Duration>,
    /// The whole attempt, of hooks that name none; also the operator's cap.
    pub timeout: Duration,
    /// Attempts in flight of one hook that names none.
    pub concurrency: u32,
    /// Deliveries of one hook that may wait, of hooks that name none.
    pub max_queued: u64,
    /// How long a delivery may wait, of hooks that name none.
    pub max_wait: Duration,
    /// `sha256` or `sha1`: the algorithm of `X-Kong-Signature`.
    pub signature: String,
    /// Automatic pings carry secret config fields.
    pub ping_includes_secret: bool,
    /// The operator's `[handlers.<name>]` tables.
    pub handlers: BTreeMap<String, Map<String, Value>>,
    /// The operator's caps.
    pub caps: RunCaps,
    /// The built-in `webhook` is done by the host itself: what the sandbox costs is the difference.
    #[cfg(feature = "bench")]
    pub native_handler: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            unregistered: Unregistered::Register,
            profile: Profile::Durable,
            schedule: retry::DURABLE.to_vec(),
            timeout: Duration::from_secs(30),
            concurrency: 64,
            max_queued: 1_000_000,
            max_wait: Duration::from_secs(7 * 86_400),
            signature: "sha256".into(),
            ping_includes_secret: false,
            handlers: BTreeMap::new(),
            caps: RunCaps { fuel: 2_000_000_000, memory_bytes: 64 << 20, log_bytes: 64 << 10, http_requests: 16 },
            #[cfg(feature = "bench")]
            native_handler: false,
        }
    }
}

impl Settings {
    /// What a handler receives as `settings`: the operator's table, `profile`, `signature` and `pid`.
    pub fn for_handler(&self, handler: &str, profile: Profile, pid: u32) -> JsonText {
        let mut table = self.table(handler, profile);
        table.insert("pid".into(), pid.into());
        JsonText::from_value(&Value::Object(table))
    }

    /// What its `prepare` receives: without `pid`, because what it makes outlives the process.
    pub fn for_prepare(&self, handler: &str, profile: Profile) -> JsonText {
        JsonText::from_value(&Value::Object(self.table(handler, profile)))
    }

    fn table(&self, handler: &str, profile: Profile) -> Map<String, Value> {
        let mut table = self.handlers.get(handler).cloned().unwrap_or_default();
        table.remove("pid");
        table.insert("profile".into(), profile.as_str().into());
        table.insert("signature".into(), self.signature.clone().into());
        table
    }

    /// What one attempt of a hook may use: its wishes, no larger than the operator's caps.
    pub(super) fn run_limits(&self, hook: &Hook) -> RunLimits {
        let (caps, wish) = (self.caps, &hook.limits);
        RunLimits {
            wall: hook.delivery.timeout(self.timeout).min(self.timeout),
            fuel: caps.fuel.min(wish.fuel.unwrap_or(u64::MAX)),
            memory_bytes: caps.memory_bytes.min(wish.memory_bytes.unwrap_or(u64::MAX)),
            log_bytes: caps.log_bytes.min(wish.log_bytes.unwrap_or(u64::MAX)),
            http_requests: caps.http_requests.min(wish.http_requests.unwrap_or(u32::MAX)),
        }
    }
}
