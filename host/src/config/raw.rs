//! The settings as they are written: one struct for each table of `default.toml`, one field for each key.
//!
//! Nothing is checked here beyond the form of a value, and no default lives here: `default.toml` is the lowest layer of every load, so a field
//! that is not an `Option` always has a value. What the settings mean is in `resolved`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::forms::{EventsToken, Listen, Size, Span, TokenHash, list};
use crate::model::Profile;

/// A table of free keys, as JSON.
pub(crate) type FreeTable = serde_json::Map<String, serde_json::Value>;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawConfig {
    pub(crate) events: RawEvents,
    pub(crate) admin: RawAdmin,
    pub(crate) status: RawStatus,
    pub(crate) http: RawHttp,
    pub(crate) auth: RawAuth,
    pub(crate) delivery: RawDelivery,
    pub(crate) limits: RawLimits,
    pub(crate) egress: RawEgress,
    pub(crate) store: RawStore,
    /// Free: each table is its handler's own.
    #[serde(default)]
    pub(crate) handlers: BTreeMap<String, FreeTable>,
    pub(crate) log: RawLog,
    pub(crate) shutdown: RawShutdown,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawEvents {
    pub(crate) listen: Listen,
    pub(crate) max_body: Size,
    pub(crate) max_event: Size,
    pub(crate) max_batch: u32,
    pub(crate) queued_bytes: Size,
    pub(crate) arriving_bytes: Size,
    pub(crate) unregistered: Option<Unregistered>,
    #[serde(default)]
    pub(crate) tls: RawTls,
}

/// What an event of an unregistered source or name does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unregistered {
    /// It registers them.
    Register,
    /// It is refused with 422.
    Refuse,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTls {
    pub(crate) cert_file: Option<PathBuf>,
    pub(crate) key_file: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawAdmin {
    pub(crate) listen: Listen,
    #[serde(deserialize_with = "list")]
    pub(crate) cors_origins: Vec<String>,
    #[serde(default)]
    pub(crate) tls: RawTls,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawStatus {
    pub(crate) listen: Listen,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawHttp {
    pub(crate) max_connections: u32,
    pub(crate) header_timeout: Span,
    pub(crate) body_timeout: Span,
    pub(crate) handshake_timeout: Span,
    pub(crate) max_header: Size,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawAuth {
    #[serde(deserialize_with = "list")]
    pub(crate) admin_tokens: Vec<TokenHash>,
    #[serde(deserialize_with = "list")]
    pub(crate) events_tokens: Vec<EventsToken>,
    pub(crate) no_auth: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawDelivery {
    pub(crate) profile: Profile,
    pub(crate) timeout_ms: u32,
    pub(crate) concurrency: u32,
    pub(crate) max_in_flight: u32,
    pub(crate) max_between_attempts: u32,
    pub(crate) max_owed: u64,
    pub(crate) max_queued: u64,
    pub(crate) max_wait: Span,
    #[serde(deserialize_with = "list")]
    pub(crate) schedule_ms: Vec<u64>,
    pub(crate) signature: Signature,
    pub(crate) ping_includes_secret: bool,
}

/// The hash in `X-Kong-Signature`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signature {
    /// HMAC-SHA256.
    Sha256,
    /// HMAC-SHA1, for receivers of older Kongs.
    Sha1,
}

impl Signature {
    /// The name in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha1 => "sha1",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawLimits {
    pub(crate) wall: Span,
    pub(crate) fuel: u64,
    pub(crate) memory_bytes: Size,
    pub(crate) table_elements: u64,
    pub(crate) hostcall_bytes: Size,
    pub(crate) handles: u32,
    pub(crate) log_bytes: Size,
    pub(crate) http_requests: u32,
    pub(crate) http_url_bytes: Size,
    pub(crate) http_header_bytes: Size,
    pub(crate) http_request_bytes: Size,
    pub(crate) http_response_bytes: Size,
    pub(crate) answer_bytes: Size,
    pub(crate) component_bytes: Size,
    pub(crate) compiles: u32,
    pub(crate) instances: u32,
    pub(crate) slots: u32,
    pub(crate) cache_bytes: Size,
    pub(crate) snapshot_component_bytes: Size,
    pub(crate) snapshot_bytes: Size,
    pub(crate) snapshots_loaded_bytes: Size,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawEgress {
    #[serde(deserialize_with = "list")]
    pub(crate) deny: Vec<String>,
    #[serde(deserialize_with = "list")]
    pub(crate) allow: Vec<String>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) connect_timeout: Span,
    pub(crate) total_timeout: Span,
    pub(crate) in_flight: u32,
    pub(crate) response_header_bytes: Size,
    pub(crate) idle_timeout: Span,
    pub(crate) idle_per_destination: u32,
    pub(crate) idle_connections: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawStore {
    pub(crate) dir: PathBuf,
    pub(crate) segment_bytes: Size,
    pub(crate) segment_age: Span,
    pub(crate) retention_bytes: Size,
    pub(crate) retention_age: Span,
    pub(crate) dead_letter_bytes: Size,
    pub(crate) dead_letter_age: Span,
    pub(crate) free_floor_bytes: Size,
    pub(crate) max_bytes: Size,
    pub(crate) keys_window: Span,
    pub(crate) keys_max: u64,
    pub(crate) throttle_max: u64,
    pub(crate) event_cache_bytes: Size,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawLog {
    pub(crate) format: LogFormat,
    pub(crate) level: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Human on a terminal, else JSON.
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawShutdown {
    pub(crate) drain: Span,
}
