//! Installed handlers.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// SHA-256 of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// From 64 hex digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut out = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (i, byte) in out.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
        }
        Some(Self(out))
    }
}

impl fmt::Display for Digest {
    /// Lower-case hex.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a handler would like to be allowed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Asks {
    /// Outbound hosts; `*` for any.
    pub http_hosts: Vec<String>,
    /// Names of secrets.
    pub secrets: Vec<String>,
    /// A small store of its own for each hook.
    pub kv: bool,
    /// To queue further events.
    pub emit: bool,
}

/// What a handler says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Lower case, digits, hyphens.
    pub name: String,
    /// Semantic version.
    pub version: String,
    /// One line for people.
    pub summary: String,
    /// JSON Schema of `config`.
    pub config_schema: serde_json::Value,
    /// Hooks of this handler get pings.
    pub wants_pings: bool,
    /// What it would like to be allowed.
    pub asks: Asks,
}

/// One installed handler: which component answers to a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerRecord {
    /// The name hooks use.
    pub name: String,
    /// Of the component; names its file in the store.
    pub digest: Digest,
    /// Size of the component in bytes.
    pub bytes: u64,
    /// Ships with the binary: replaced at every start by the binary's own.
    pub built_in: bool,
    /// What it says about itself.
    pub description: Description,
    /// What the operator allows: outbound hosts as in `Asks::http_hosts`.
    pub granted: Asks,
    /// One instance may serve many events of many hooks. Only for handlers that run no user's code.
    pub reuse_across_hooks: bool,
    /// When this component was installed.
    pub installed_at: Timestamp,
}
