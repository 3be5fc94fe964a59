//! `tenterhook config`: prints the reference manual of the settings, or checks what is written without starting.

use clap::Args;

use super::serve::ServeArgs;
use crate::config::{ConfigError, DEFAULT_TOML};

/// `tenterhook config`
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// Read the file, the environment and the flags as `serve` would, and say what is wrong
    #[arg(long)]
    pub check: bool,
    /// What `serve` would be given; for --check.
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// The text for standard output; an error ends the process with exit code 2, as it would end `serve`.
pub fn run(args: &ConfigArgs) -> Result<String, ConfigError> {
    if !args.check {
        return Ok(DEFAULT_TOML.to_owned());
    }
    let notes = args.serve.settings()?.notes;
    let notes: String = notes.iter().map(|note| format!("note: {note}\n")).collect();
    Ok(format!("{notes}the settings are valid\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_is_printed_unless_something_is_checked() {
        let print = ConfigArgs { check: false, serve: ServeArgs::default() };
        assert_eq!(run(&print).unwrap(), DEFAULT_TOML);
        let good = ConfigArgs { check: true, serve: ServeArgs { log_level: Some("debug".to_owned()), ..ServeArgs::default() } };
        assert!(run(&good).unwrap().ends_with("valid\n"));
        let bad = ConfigArgs { check: true, serve: ServeArgs { profile: Some("fast".to_owned()), ..ServeArgs::default() } };
        assert_eq!(run(&bad).unwrap_err().key, "delivery.profile");
    }
}
