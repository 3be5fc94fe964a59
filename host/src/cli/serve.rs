//! The flags of `tenterhook serve`, and how they become settings. Running the host is `app`'s.

use std::path::PathBuf;

use clap::Args;

use crate::config::{self, ConfigError, Flag, Loaded};

/// `tenterhook serve`
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = EXAMPLES)]
pub struct ServeArgs {
    /// Data folder; made when it is missing
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// File of settings, TOML
    #[arg(long, value_name = "FILE", env = "TENTERHOOK_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where producers post events [default: 127.0.0.1:8010]
    #[arg(long, value_name = "ADDRESS")]
    pub events_listen: Option<String>,
    /// Where operators manage hooks [default: 127.0.0.1:8001]
    #[arg(long, value_name = "ADDRESS")]
    pub admin_listen: Option<String>,
    /// Where probes and scrapers ask without a token [default: off]
    #[arg(long, value_name = "ADDRESS")]
    pub status_listen: Option<String>,
    /// Let everybody in who reaches the listeners, also on addresses that are not loopback
    #[arg(long)]
    pub no_auth: bool,
    /// Delivery of hooks that say nothing themselves: durable or kong [default: durable]
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<String>,
    /// auto, human or json [default: auto]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// off, error, warn, info, debug, trace, or by part: info,tenterhook::pipeline=debug [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  tenterhook serve --data ./data
  tenterhook serve --data /var/lib/tenterhook --config /etc/tenterhook.toml --status-listen 0.0.0.0:8007
  TENTERHOOK_DATA=./data TENTERHOOK_PROFILE=kong tenterhook serve

Each flag is a setting, and each setting a variable; `tenterhook config` prints them all.
SIGHUP reads the settings again, SIGTERM and SIGINT stop.";

impl ServeArgs {
    /// The settings that were said as flags. Their values are checked with all others.
    pub fn flags(&self) -> Vec<Flag> {
        // A folder whose name is no Unicode cannot be a setting; the replacement characters show in the error of opening it.
        let data = self.data.as_ref().map(|dir| dir.to_string_lossy().into_owned());
        let said = [
            ("--data", "store.dir", data),
            ("--events-listen", "events.listen", self.events_listen.clone()),
            ("--admin-listen", "admin.listen", self.admin_listen.clone()),
            ("--status-listen", "status.listen", self.status_listen.clone()),
            ("--no-auth", "auth.no_auth", self.no_auth.then(|| "true".to_owned())),
            ("--profile", "delivery.profile", self.profile.clone()),
            ("--log-format", "log.format", self.log_format.clone()),
            ("--log-level", "log.level", self.log_level.clone()),
        ];
        said.into_iter().filter_map(|(flag, key, value)| value.map(|value| Flag { flag, key, value })).collect()
    }

    /// Reads the settings: defaults, file, environment, these flags. Also for a reload; blocking.
    pub fn settings(&self) -> Result<Loaded, ConfigError> {
        // Variables that are no Unicode cannot be ours: all our names are.
        let environment =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())));
        config::load(self.config.as_deref(), environment, self.flags())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::model::Profile;

    fn parsed(words: &[&str]) -> ServeArgs {
        match Cli::try_parse_from(["tenterhook", "serve"].iter().chain(words)).unwrap().command {
            Command::Serve(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_flag_is_a_setting() {
        let args = parsed(&[
            "--data",
            "d",
            "--events-listen",
            "0.0.0.0:1",
            "--admin-listen",
            "[::1]:2",
            "--status-listen",
            "127.0.0.1:3",
            "--no-auth",
            "--profile",
            "kong",
            "--log-format",
            "json",
            "--log-level",
            "info,tenterhook=debug",
        ]);
        let config = config::load(None, [], args.flags()).unwrap().config;
        assert_eq!(config.store.dir, PathBuf::from("d"));
        assert_eq!((config.events.listen.port(), config.admin.listen.port(), config.status.map(|at| at.port())), (1, 2, Some(3)));
        assert_eq!((config.delivery.profile, config.log.format), (Profile::Kong, config::LogFormat::Json));
        assert_eq!(config.log.level, "info,tenterhook=debug");
        assert!(config.auth.no_auth);
    }

    #[test]
    fn a_wrong_value_names_its_flag() {
        for (words, flag) in [
            (["--profile", "fast"], "flag --profile"),
            (["--events-listen", "8010"], "flag --events-listen"),
            (["--events-listen", "0.0.0.0:8010"], "flag --events-listen"),
            (["--log-level", "loud"], "flag --log-level"),
        ] {
            let error = config::load(None, [], parsed(&words).flags()).unwrap_err();
            assert_eq!(error.place.as_deref(), Some(flag), "{error}");
        }
    }

    #[test]
    fn nothing_said_changes_nothing() {
        assert!(parsed(&[]).flags().is_empty());
    }
}
