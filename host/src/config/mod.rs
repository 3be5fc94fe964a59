//! The settings: `raw` is what was written, `resolved` is what is meant, `default.toml` is both the defaults and the reference manual.
//!
//! | file | does |
//! |---|---|
//! | `layers` | reads the defaults, the file, the environment and the flags, and finds unknown keys |
//! | `raw` | the tables and keys |
//! | `forms` | the forms of single values |
//! | `resolve` | checks, and fills in what depends on other settings |
//! | `resolved` | the one immutable `Config` |
//! | `token` | makes tokens and their hashes |

mod error;
mod forms;
mod layers;
mod raw;
mod resolve;
mod resolved;
mod token;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use error::ConfigError;
pub use forms::{EventsToken, TokenHash};
pub use layers::DEFAULT_TOML;
pub use raw::{LogFormat, Signature, Unregistered};
pub use resolve::loopback_only;
pub use resolved::{Admin, Auth, Config, Delivery, Egress, Events, Http, Limits, Log, Store, TlsFiles};
pub use token::new_token;

use layers::Layer;

/// A setting that was said on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// As it is typed, such as `--events-listen`; for messages.
    pub flag: &'static str,
    /// The key it sets, such as `events.listen`.
    pub key: &'static str,
    /// The value.
    pub value: String,
}

/// The settings, and what the log should say about how they were read.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// Warnings.
    pub notes: Vec<String>,
}

/// Lays file, environment and flags over the defaults, in this order, and checks the result. Reads the file; blocking.
pub fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: impl IntoIterator<Item = Flag>,
) -> Result<Loaded, ConfigError> {
    let mut all = figment::Figment::from(Layer::defaults()?);
    if let Some(path) = file {
        all = all.merge(Layer::file(path)?);
    }
    let (variables, notes) = layers::environment(environment)?;
    let flags = flags.into_iter().map(|Flag { flag, key, value }| Layer::single(format!("flag {flag}"), key, &value));
    for layer in variables.into_iter().chain(flags) {
        all = all.merge(layer);
    }
    let raw: raw::RawConfig = all.extract().map_err(ConfigError::from_figment)?;
    let config = resolve::resolve(raw).map_err(|error| {
        let place = all.find_metadata(&error.key).map(|about| about.name.to_string()).filter(|_| error.place.is_none());
        ConfigError { place, ..error }
    })?;
    Ok(Loaded { config, notes })
}

impl Default for Config {
    fn default() -> Self {
        load(None, [], []).expect("a test loads the compiled-in defaults").config
    }
}
