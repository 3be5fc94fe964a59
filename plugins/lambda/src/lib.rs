//! The handler `lambda`: runs a chain of Lua functions on each event, in a sandbox, as Kong's handler of this name.
//!
//! Each function is called as `f(data, event, source, pid)`: the first with the event's data, each further one with what the one before it returned.
//! A second result is an error. The event is delivered when the last function returns exactly `true`; anything else is tried again.

mod chain;
mod outside;
mod settings;

use serde::{Deserialize, Serialize};
use tenterhook_sdk::{Answer, Attempt, Check, Description, Event, Failure, Handler, PreparedHandler, Settings};

use settings::Untrusted;

/// For forms and documentation.
const CONFIG_SCHEMA: &str = include_str!("config.schema.json");

/// What a hook is configured with, as Kong has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Lua chunks, each of which returns a function.
    functions: Vec<String>,
}

/// The handler.
#[derive(Debug)]
pub struct Lambda;

impl Handler for Lambda {
    type Config = Config;

    fn describe(about: Description) -> Description {
        let mut described = Description { name: "lambda".into(), config_schema: CONFIG_SCHEMA.into(), ..about };
        // For `resty.http`, which scripts get with untrusted_lua = "lax" only.
        described.asks.http_hosts = vec!["*".into()];
        described
    }

    fn check(config: &Config, settings: &Settings, check: &mut Check) {
        let untrusted = settings::read(settings);
        if let Ok(Untrusted { deprecated: Some(word), .. }) = &untrusted {
            tenterhook_sdk::log::warn(format!("untrusted_lua = \"{word}\" is read as \"lax\": say so in [handlers.lambda]"));
        }
        for (index, message) in chain::faults(config, untrusted) {
            check.field("functions").index(index).refuse(message);
        }
    }

    fn handle(event: Event, attempt: Attempt, config: Config, settings: Settings) -> Result<Answer, Failure> {
        chain::run(&event, &attempt, config, &settings)
    }
}

impl PreparedHandler for Lambda {
    fn prepare(config: &str, settings: &Settings) -> Result<(), String> {
        chain::prepare(config, settings)
    }
}

tenterhook_sdk::export_prepared!(Lambda);

#[cfg(test)]
mod tests;
