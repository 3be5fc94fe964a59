//! The settings as they are meant: plain typed values, checked against each other, with the defaults that depend on others filled in.
//!
//! `app` fills each module's own `Limits` from here; nothing below `app` reads a `Config`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::raw::FreeTable;
use super::{EventsToken, LogFormat, Signature, TokenHash, Unregistered};
use crate::model::Profile;

/// All settings. One immutable value; a reload makes a new one.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The events listener and what a request may hold.
    pub events: Events,
    /// The admin listener.
    pub admin: Admin,
    /// The token-free listener for probes, if there is one.
    pub status: Option<SocketAddr>,
    /// What every listener keeps to.
    pub http: Http,
    /// Who may come in.
    pub auth: Auth,
    /// How events are delivered.
    pub delivery: Delivery,
    /// What attempts may use.
    pub limits: Limits,
    /// Where deliveries and handlers may connect to.
    pub egress: Egress,
    /// What is kept, and for how long.
    pub store: Store,
    /// Each handler's own table.
    pub handlers: BTreeMap<String, FreeTable>,
    /// How and how much is logged.
    pub log: Log,
    /// How long a stop waits for running requests and attempts.
    pub drain_limit: Duration,
    /// Every key's value as JSON text, for comparing and showing.
    pub(crate) written: BTreeMap<String, String>,
}

/// `[events]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Events {
    /// Where.
    pub listen: SocketAddr,
    /// TLS, if it is on.
    pub tls: Option<TlsFiles>,
    /// Bytes of a body, decoded.
    pub max_body: u64,
    /// Bytes of one event.
    pub max_event: u64,
    /// Events of one request.
    pub max_batch: usize,
    /// Bytes of events that wait to be written.
    pub queued_bytes: usize,
    /// Bytes of bodies that are being read.
    pub arriving_bytes: usize,
    /// What an event of an unregistered source or name does.
    pub unregistered: Unregistered,
}

/// Two PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

/// `[admin]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Where.
    pub listen: SocketAddr,
    /// TLS, if it is on.
    pub tls: Option<TlsFiles>,
    /// Web origins that may call; `*` is any.
    pub cors_origins: Vec<String>,
}

/// `[http]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Open connections of one listener.
    pub max_connections: usize,
    /// For the head of a request, the idle time before it included.
    pub header_timeout: Duration,
    /// For the body of a request to arrive whole.
    pub body_timeout: Duration,
    /// For a TLS handshake.
    pub handshake_timeout: Duration,
    /// Bytes of a request's head.
    pub max_header: usize,
}

/// `[auth]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// Who may use the Admin API.
    pub admin_tokens: Vec<TokenHash>,
    /// Who may post events of which sources.
    pub events_tokens: Vec<EventsToken>,
    /// Everybody may do everything; then there are no tokens.
    pub no_auth: bool,
}

/// `[delivery]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Of hooks that say none.
    pub profile: Profile,
    /// Of one attempt, wall clock.
    pub timeout: Duration,
    /// Attempts in flight for one hook.
    pub concurrency: u32,
    /// Attempts in flight for all hooks.
    pub max_in_flight: usize,
    /// Deliveries of one hook between attempts.
    pub max_between_attempts: usize,
    /// Deliveries that all hooks together may owe.
    pub max_owed: u64,
    /// Deliveries of one hook that may wait.
    pub max_queued: u64,
    /// How long a delivery may wait.
    pub max_wait: Duration,
    /// Gaps between attempts, of hooks of profile `durable`, without the jitter.
    pub schedule: Vec<Duration>,
    /// In `X-Kong-Signature`.
    pub signature: Signature,
    /// Pings carry the hook's secret.
    pub ping_includes_secret: bool,
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Wall clock of one attempt inside the guest.
    pub wall: Duration,
    /// Units of fuel.
    pub fuel: u64,
    /// Sum over the component's memories.
    pub memory_bytes: u64,
    /// Sum over the component's tables.
    pub table_elements: u64,
    /// Copied by one call.
    pub hostcall_bytes: u64,
    /// Open handles of an instance.
    pub handles: u32,
    /// Log lines of an attempt.
    pub log_bytes: u64,
    /// Requests of an attempt.
    pub http_requests: u32,
    /// URL of one request.
    pub http_url_bytes: usize,
    /// Headers of one request.
    pub http_header_bytes: usize,
    /// Body of one request.
    pub http_request_bytes: usize,
    /// Response bytes of an attempt.
    pub http_response_bytes: u64,
    /// A handler's answer.
    pub answer_bytes: u64,
    /// An uploaded component.
    pub component_bytes: u64,
    /// Compilations at the same time.
    pub compiles: usize,
    /// Living instances.
    pub instances: u32,
    /// Guests running at the same time; none is one for each core.
    pub slots: Option<usize>,
    /// Compiled code on disk.
    pub cache_bytes: u64,
    /// Largest component of which snapshots are made.
    pub snapshot_component_bytes: u64,
    /// Largest snapshot.
    pub snapshot_bytes: u64,
    /// Snapshots in memory.
    pub snapshots_loaded_bytes: u64,
}

/// `[egress]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Egress {
    /// `private`, networks, hosts; egress reads them.
    pub deny: Vec<String>,
    /// Networks and hosts that are allowed all the same.
    pub allow: Vec<String>,
    /// PEM file of certificates trusted in addition.
    pub ca_file: Option<PathBuf>,
    /// TLS included.
    pub connect_timeout: Duration,
    /// Until the response is complete.
    pub total_timeout: Duration,
    /// Requests in flight.
    pub in_flight: usize,
    /// Head of a response.
    pub response_header_bytes: usize,
    /// How long a connection is kept for the next request.
    pub idle_timeout: Duration,
    /// Connections kept for one destination.
    pub idle_per_destination: usize,
    /// Connections kept in all.
    pub idle_connections: usize,
}

/// `[store]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// The data folder.
    pub dir: PathBuf,
    /// When a segment is closed: bytes.
    pub segment_bytes: u64,
    /// When a segment is closed: age.
    pub segment_age: Duration,
    /// What passed through is kept: bytes.
    pub retention_bytes: u64,
    /// What passed through is kept: age.
    pub retention_age: Duration,
    /// Dead letters are kept: bytes.
    pub dead_letter_bytes: u64,
    /// Dead letters are kept: age.
    pub dead_letter_age: Duration,
    /// Below this much free disk events are refused.
    pub free_floor_bytes: u64,
    /// Bytes of the data folder from which events are refused.
    pub max_bytes: u64,
    /// How long keys are remembered.
    pub keys_window: Duration,
    /// How many keys are remembered.
    pub keys_max: u64,
    /// How many throttle marks are kept.
    pub throttle_max: usize,
    /// Accepted events in memory.
    pub event_cache_bytes: u64,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// A level, or levels by part.
    pub level: String,
}

/// Keys that take effect without a restart. TLS files are read again too, but another path needs a restart.
const RELOADED: [&str; 22] = [
    "admin.cors_origins",
    "auth.admin_tokens",
    "auth.events_tokens",
    "auth.no_auth",
    "delivery.concurrency",
    "delivery.max_queued",
    "delivery.max_wait",
    "delivery.ping_includes_secret",
    "delivery.profile",
    "delivery.schedule_ms",
    "delivery.signature",
    "delivery.timeout_ms",
    "events.max_batch",
    "events.max_body",
    "events.max_event",
    "events.unregistered",
    "handlers",
    "http.body_timeout",
    "limits.fuel",
    "limits.http_requests",
    "limits.log_bytes",
    "log.level",
];

impl Config {
    /// The keys that differ between two configurations and take effect only after a restart.
    pub fn restart_needed(old: &Self, new: &Self) -> Vec<&'static str> {
        let changed = |key: &&'static str| old.written.get(*key) != new.written.get(*key);
        let all = super::layers::known_keys().iter().map(String::as_str).chain(["handlers"]);
        all.filter(|key| !RELOADED.contains(key)).filter(changed).collect()
    }

    /// Does somebody need a token to use the Admin API?
    pub fn admin_needs_token(&self) -> bool {
        !self.auth.admin_tokens.is_empty()
    }

    /// Does somebody need a token to post events?
    pub fn events_need_token(&self) -> bool {
        !self.auth.events_tokens.is_empty()
    }
}
