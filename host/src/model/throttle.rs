//! What a hook remembers about events it has let through, and why a matched event was not queued.

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// What a mark is about: a hash of source and event and, for `on_change` with `snooze`, the digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ThrottleKey(pub [u8; 16]);

/// What is remembered under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThrottleMark {
    /// MD5 of the normal form of the data that was let through.
    pub digest: [u8; 16],
    /// Repeats are held back until then.
    pub until: Timestamp,
}

/// Why an event that matched a hook was not queued for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Skip {
    /// `snooze` holds repeats back.
    Snoozed,
    /// `on_change`: nothing changed.
    Unchanged,
    /// The hook is not enabled.
    Disabled,
    /// The hook's `filter` does not match.
    Filtered,
    /// Profile `kong`: the same event came within the last 5 s.
    Collapsed,
}

impl Skip {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Snoozed => "snoozed",
            Self::Unchanged => "unchanged",
            Self::Disabled => "disabled",
            Self::Filtered => "filtered",
            Self::Collapsed => "collapsed",
        }
    }
}
