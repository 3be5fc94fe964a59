//! The benchmark: the release binary between a generator and a sink, beside a bare client that posts the same body to the same sink.
//!
//! `bench` starts everything, `bench sink` and `bench load` are the helper processes; `bench lambda` is a run of its own. The bars and their
//! numbers are ratios within one run; a run in which the bare loop moved by more than a tenth is void. All traffic stays on loopback, bounded in
//! time and count.
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time and owns its tasks")]

mod bars;
mod drive;
mod helper;
mod idle;
mod lambda;
mod load;
mod machine;
mod neighbours;
mod plan;
mod queued;
mod sink;
mod steady;

use std::process::ExitCode;

use clap::Parser;

/// Measures the host against a bare loop.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Command {
    #[command(flatten)]
    run: plan::Arguments,
    #[command(subcommand)]
    helper: Option<Process>,
}

/// The processes that a run starts, and other runs.
#[derive(Debug, clap::Subcommand)]
enum Process {
    /// Receive and count.
    Sink,
    /// Send.
    Load(load::Arguments),
    /// Measure what an event costs in users' Lua, beside native Lua.
    Lambda(lambda::Arguments),
}

fn main() -> ExitCode {
    let done = start(Command::parse());
    if let Err(error) = &done {
        say(&format!("FAILED: {error:#}"));
    }
    if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn start(command: Command) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match command.helper {
        None => runtime.block_on(plan::run(command.run)),
        Some(Process::Sink) => runtime.block_on(sink::run()),
        Some(Process::Load(arguments)) => runtime.block_on(load::run(arguments)),
        Some(Process::Lambda(arguments)) => runtime.block_on(lambda::run(arguments)),
    }
}

/// Writes a line for people or for the parent process.
#[allow(clippy::print_stdout, reason = "the benchmark's one printer")]
fn say(line: &str) {
    println!("{line}");
}

/// Nanoseconds since 1970: the one clock that all processes of the run share.
fn now_ns() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
