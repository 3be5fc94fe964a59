//! The one thing an author writes.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::{self, Check};
use crate::{Answer, Attempt, Description, Event, Failure, Settings, Violations};

/// A handler. Only [`handle`](Handler::handle) has to be written.
///
/// When each function is called: `describe` once, when the component is installed. `validate` when a hook is created or changed. `handle` for every
/// event. Each call may be made on a fresh instance, so there is no `self`: what one call keeps in memory is not there for the next.
///
/// A panic ends the attempt; the host records it with its message, tries again a few times and then puts the delivery aside (*quarantined*).
pub trait Handler {
    /// What a hook of this handler is configured with. `#[serde(deny_unknown_fields)]` refuses misspelt keys, `#[serde(default)]` makes a field
    /// optional. [`NoConfig`](crate::NoConfig) is a config without fields.
    type Config: DeserializeOwned + Serialize;

    /// Handle one event.
    ///
    /// Deliveries are at-least-once: the same event may come again, with the same `event.id`, after a crash or a timeout. `config` has passed
    /// [`validate`](Handler::validate).
    fn handle(event: Event, attempt: Attempt, config: Self::Config, settings: Settings) -> Result<Answer, Failure>;

    /// Say what this handler is. `about` is already filled in from your `Cargo.toml`: change what should be different.
    ///
    /// Called without any capability: [`log`](crate::log) and [`http`](crate::http) are not to be used here.
    fn describe(about: Description) -> Description {
        about
    }

    /// Rules that types cannot express: this URL must have a host, that number lies in a range.
    ///
    /// Called with a config of the right types. Where a field had a wrong type, `config` holds an empty value in its place and what is found there
    /// is not reported, so a rule never has to care.
    fn check(_config: &Self::Config, _settings: &Settings, _check: &mut Check) {}

    /// Check a hook's config; what comes back is stored, with defaults filled in, and is what [`handle`](Handler::handle) receives.
    ///
    /// By default: read the type, then [`check`](Handler::check). Every violation is reported, not only the first.
    fn validate(config: &str, settings: &Settings) -> Result<Self::Config, Violations> {
        config::read(config, |config, check| Self::check(config, settings, check))
    }
}

/// A handler with work that each hook needs once, not for every event: a template to parse, a script to compile. Export it with
/// [`export_prepared!`](crate::export_prepared) in place of `export!`.
///
/// When a hook is created or changed, the host calls [`prepare`](PreparedHandler::prepare) in the background on a fresh instance and keeps the
/// memory that results. Every event of the hook then starts from that memory, each from a copy of its own: put what is worth keeping into a
/// `static`, as a `OnceLock`. Nothing is promised: an event may come before the memory is ready, or the host may decline to make it, so
/// [`handle`](Handler::handle) must be able to do the same work itself.
///
/// ```
/// use std::sync::OnceLock;
///
/// use serde::{Deserialize, Serialize};
/// use serde_json::json;
/// use tenterhook_sdk::testing::Host;
/// use tenterhook_sdk::{Answer, Attempt, Event, Failure, Handler, PreparedHandler, Settings};
///
/// static WORDS: OnceLock<Vec<String>> = OnceLock::new();
///
/// #[derive(Deserialize, Serialize)]
/// struct Config {
///     words: String,
/// }
///
/// /// What is costly.
/// fn split(words: &str) -> Vec<String> {
///     words.split(' ').map(str::to_owned).collect()
/// }
///
/// struct Listens;
///
/// impl Handler for Listens {
///     type Config = Config;
///
///     fn handle(event: Event, _: Attempt, config: Config, _: Settings) -> Result<Answer, Failure> {
///         let words = WORDS.get_or_init(|| split(&config.words));
///         Ok(Answer::done_with(&words.iter().filter(|word| event.data.contains(&***word)).collect::<Vec<_>>())?)
///     }
/// }
///
/// impl PreparedHandler for Listens {
///     fn prepare(config: &str, _: &Settings) -> Result<(), String> {
///         let config: Config = serde_json::from_str(config).map_err(|error| error.to_string())?;
///         WORDS.set(split(&config.words)).map_err(|_| "prepared twice".into())
///     }
/// }
///
/// tenterhook_sdk::export_prepared!(Listens);
///
/// assert_eq!(Host::new().prepare::<Listens>(&json!({ "words": "down failed" })), Ok(()));
/// ```
pub trait PreparedHandler: Handler {
    /// Does the hook's work once. An error, a panic or a limit fails the preparation, never the hook; the operator sees why.
    ///
    /// `config` is JSON text: what [`validate`](Handler::validate) gave back *without the fields that the schema marks `"x-secret": true`*, so a
    /// type with a required secret does not read it. Only [`log`](crate::log) and [`clock`](crate::clock) can be used, for at most five
    /// seconds; `println!` keeps a stream open, and with that there is no snapshot. Random numbers drawn here are the same for every event that follows: draw from [`Attempt::seed`] in `handle`.
    fn prepare(config: &str, settings: &Settings) -> Result<(), String>;
}
