//! The command line: what can be typed, one file for each subcommand. It reads and prints; what happens is elsewhere.

pub mod config_cmd;
pub mod demo;
pub mod logging;
pub mod serve;
pub mod token;

use std::io::{self, Write};

use clap::{Parser, Subcommand};

/// Events in over HTTP, sandboxed handlers out, nothing lost.
#[derive(Debug, Parser)]
#[command(name = "tenterhook", version, about, after_help = EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the host
    Serve(Box<serve::ServeArgs>),
    /// Show the way of an event, a crash in the middle included, with nothing else running
    Demo,
    /// Make a token, and the hash of it that the settings hold
    Token(token::TokenArgs),
    /// Print every setting with its default, or check a file of settings
    Config(config_cmd::ConfigArgs),
}

const EXAMPLES: &str = "\
Examples:
  tenterhook demo
  tenterhook serve --data ./data
  tenterhook serve --data ./data --config tenterhook.toml --log-level debug
  tenterhook token --events --source 'shop'
  tenterhook config > tenterhook.toml

Every setting is also a variable of the environment: events.listen is TENTERHOOK_EVENTS_LISTEN.
Flags win over the environment, the environment over the file, the file over the defaults.";

/// Writes to standard output for a subcommand. A reader that went away, as in `tenterhook config | head`, is no error.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_shows_examples_that_parse() {
        for line in EXAMPLES.lines().filter_map(|line| line.strip_prefix("  tenterhook ")) {
            let words = line.split(" > ").next().unwrap_or_default().split_whitespace().map(|word| word.trim_matches('\''));
            Cli::try_parse_from(std::iter::once("tenterhook").chain(words)).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
        assert!(Cli::command().render_help().to_string().contains("tenterhook serve --data ./data"));
    }
}
