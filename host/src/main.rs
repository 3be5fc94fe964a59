//! The binary: reads the command line and runs what it asks for.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use tenterhook::app::{self, Outside};
use tenterhook::cli::{self, Cli, Command, config_cmd, demo, logging, serve::ServeArgs, token};
use tenterhook::config::{Config, ConfigError};
use tenterhook::http::listen::Inherited;

/// Every attempt is a task of a few kilobytes, made on one thread and freed on another; the system's allocator consolidates its heap at each.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The settings are wrong: nothing was started.
const WRONG_SETTINGS: u8 = 2;

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[allow(clippy::print_stderr, reason = "the last word of a command goes to the terminal, whatever the log is set to")]
            {
                eprintln!("tenterhook: {error:#}");
            }
            if error.is::<ConfigError>() { ExitCode::from(WRONG_SETTINGS) } else { ExitCode::FAILURE }
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Serve(args) => serve(*args),
        Command::Demo => runtime()?.block_on(demo::run(&mut demo::Output::stdout())),
        Command::Token(args) => Ok(cli::print(&token::run(&args)?)?),
        Command::Config(args) => Ok(cli::print(&config_cmd::run(&args)?)?),
    }
}

fn serve(args: ServeArgs) -> Result<()> {
    // Before any thread: the sockets are found through the environment.
    let inherited = Inherited::from_env()?;
    let loaded = args.settings()?;
    let log = logging::start(loaded.config.log.format, &loaded.config.log.level)?;
    loaded.notes.iter().for_each(|note| tracing::warn!("{note}"));
    runtime()?.block_on(app::serve(loaded.config, inherited, &Terminal { args, log }))
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")
}

/// The host's view of the command line that started it.
struct Terminal {
    args: ServeArgs,
    log: logging::Logging,
}

impl Outside for Terminal {
    fn reload(&self) -> Result<Config> {
        let loaded = self.args.settings()?;
        loaded.notes.iter().for_each(|note| tracing::warn!("{note}"));
        Ok(loaded.config)
    }

    fn reloaded(&self, config: &Config) {
        if let Err(error) = self.log.set_level(&config.log.level) {
            tracing::error!(%error, "the log level stays as it was");
        }
    }

    /// One line of JSON for scripts; a person at a terminal also gets something to copy.
    fn ready(&self, addresses: &serde_json::Value) -> Result<()> {
        use std::io::IsTerminal as _;
        let mut text = format!("{addresses}\n");
        if std::io::stdout().is_terminal() {
            let address = |name: &str| addresses[name].as_str().unwrap_or_default().to_owned();
            text += &format!(
                "\nTry it:\n  curl -sS http://{}/event-hooks -H 'content-type: application/json' \\\n    -d '{{\"source\":\"crud\",\"event\":\"consumers\",\"handler\":\"log\"}}'\n  \
                 curl -sS http://{}/events -H 'content-type: application/json' \\\n    -d '{{\"source\":\"crud\",\"event\":\"consumers\",\"data\":{{\"operation\":\"create\"}}}}'\n\n",
                address("admin"),
                address("events"),
            );
        }
        Ok(cli::print(&text)?)
    }
}
