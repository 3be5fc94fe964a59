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

/// A handler that the host prepares once for each hook: `export!(Mine, prepared)`.
///
/// When a hook is created or changed, `prepare` runs on a fresh instance, and the memory that results is what every event of this hook starts from.
/// Parse the config or compile a script there and keep it in a `thread_local!`; [`Handler::handle`] must work without it too, because a host need
/// not prepare. Take what was kept rather than borrow it where an event could change it.
pub trait Prepare: Handler {
    /// `config` is as [`Handler::validate`] gave it back, without its secret fields, hence text: it may lack what the type requires. Nothing but
    /// [`log`](crate::log) and clocks may be used. An error fails the preparation, never the hook.
    fn prepare(config: &str, settings: &Settings) -> Result<(), String>;
}
