//! What the operator has set for a handler, the same for all its hooks.

use std::borrow::Cow;

use serde::Deserialize;

/// The operator's table `[handlers.<name>]`, with `profile`, `signature` and `pid` added by the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings(String);

/// How the host delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Persistent retries; only a 2xx is delivered.
    Durable,
    /// As Kong does.
    Kong,
}

/// The algorithm of `X-Kong-Signature`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HmacAlgorithm {
    /// `sha256=<hex>`, Kong 3.14 and later.
    Sha256,
    /// `sha1=<hex>`, for receivers of older Kongs.
    Sha1,
}

impl HmacAlgorithm {
    /// `sha256` or `sha1`: the setting, and what stands before the `=`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha1 => "sha1",
        }
    }
}

/// The members that every handler gets.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Common<'a> {
    #[serde(borrow)]
    profile: Cow<'a, str>,
    #[serde(borrow)]
    signature: Cow<'a, str>,
    pid: u64,
}

impl Settings {
    /// From JSON text.
    pub fn from_json(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The JSON text.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// The settings as a type of yours. Do not deny unknown fields: the host adds some.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.0)
    }

    /// The delivery profile; `durable` unless the host says `kong`.
    pub fn profile(&self) -> Profile {
        if self.common().profile == "kong" { Profile::Kong } else { Profile::Durable }
    }

    /// The algorithm for `X-Kong-Signature`; SHA-256 unless the host says `sha1`.
    pub fn signature(&self) -> HmacAlgorithm {
        if self.common().signature == "sha1" { HmacAlgorithm::Sha1 } else { HmacAlgorithm::Sha256 }
    }

    /// The host's process id; 0 when it does not say.
    pub fn pid(&self) -> u64 {
        self.common().pid
    }

    /// Read on every call, because most events need none of it.
    fn common(&self) -> Common<'_> {
        self.parse().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_members_are_read() {
        let settings = Settings::from_json(r#"{"profile":"kong","signature":"sha1","pid":68854,"own":{"x":1}}"#);
        assert_eq!((settings.profile(), settings.signature(), settings.pid()), (Profile::Kong, HmacAlgorithm::Sha1, 68_854));
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let settings = Settings::from_json("{}");
        assert_eq!((settings.profile(), settings.signature(), settings.pid()), (Profile::Durable, HmacAlgorithm::Sha256, 0));
    }

    #[test]
    fn an_operators_own_table_is_read_as_a_type() {
        #[derive(Deserialize)]
        struct Own<'a> {
            region: &'a str,
        }
        let settings = Settings::from_json(r#"{"profile":"durable","region":"eu"}"#);
        assert_eq!(settings.parse::<Own>().unwrap().region, "eu");
    }
}
