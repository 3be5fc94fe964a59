//! The run: calibrate, measure, calibrate again, and say what it came to.

use std::path::PathBuf;

use anyhow::Context;
use serde_json::json;
use tenterhook_tests::{binary, components};

use crate::bars::{Reached, median};
use crate::drive::Bench;
use crate::machine::Machine;
use crate::{idle, neighbours, queued, say, steady};

/// A bare loop that moved by more than this share voids the run.
const MOVED_MAX: f64 = 0.10;

/// Loops of one calibration; the median counts.
const CALIBRATIONS: usize = 3;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// One round of short measurements: about a minute. Its figures are rough.
    #[arg(long)]
    quick: bool,
    /// The release binary with the feature `bench`; without it, it is built.
    #[arg(long, env = "TENTERHOOK_BENCH_BIN")]
    binary: Option<PathBuf>,
}

/// How long and how much.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lengths {
    pub(crate) rounds: usize,
    pub(crate) bare_s: f64,
    pub(crate) warm_s: f64,
    pub(crate) load_s: f64,
    pub(crate) open_s: f64,
    pub(crate) queued: u64,
}

const FULL: Lengths = Lengths { rounds: 5, bare_s: 3.0, warm_s: 2.0, load_s: 6.0, open_s: 30.0, queued: 1_000_000 };
const QUICK: Lengths = Lengths { rounds: 1, bare_s: 1.5, warm_s: 0.5, load_s: 1.5, open_s: 4.0, queued: 50_000 };

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let lengths = if arguments.quick { QUICK } else { FULL };
    let path = arguments.binary.unwrap_or_else(|| binary::build(&["--release", "--features", "bench"], "release"));
    let forward = components::component("forward");
    let bench = Bench::start(path).await?;
    let machine = Machine::look(bench.scratch.path())?;
    say(&format!("machine: {}", serde_json::to_string(&machine)?));
    let mut reached = Reached::default();
    let first = calibrate(&bench, &lengths).await?;
    let (mut figures, bares) = steady::throughput(&bench, &lengths, &forward, &mut reached).await?;
    let open = steady::latency(&bench, &lengths, &machine, &figures, &mut reached).await?;
    figures.extend(open);
    say("start and idle");
    idle::measure(&bench, &mut reached).await?;
    say("a long queue");
    queued::measure(&bench, &lengths, &mut reached).await?;
    say("neighbours");
    figures.extend(neighbours::hanging(&bench, &lengths, &mut reached).await?);
    if !arguments.quick {
        figures.extend(neighbours::many_hooks(&bench, &lengths, &mut reached).await?);
    }
    let last = calibrate(&bench, &lengths).await?;
    let moved = (last / first - 1.0).abs();
    let void = moved > MOVED_MAX;
    reached.print();
    let range = |pick: fn(f64, f64) -> f64| bares.iter().copied().reduce(pick).unwrap_or(0.0);
    let (least, most) = (range(f64::min), range(f64::max));
    say(&format!(
        "\nbare loop: {first:.0}/s before, {last:.0}/s after (moved {:.1} %), {least:.0} to {most:.0} in the rounds",
        moved * 100.0
    ));
    if void {
        say("VOID: the bare loop moved by more than 10 %, so nothing above counts");
    }
    let result = json!({
        "machine": machine, "void": void, "quick": arguments.quick, "bars": reached.json(),
        "bare_loop": { "before": first, "after": last, "moved": moved, "rounds": bares }, "figures": figures,
        "sink_cpu_us": crate::machine::Used::of(bench.sink_process.pid())?.cpu_us
    });
    let file = binary::target().join("bench/result.json");
    std::fs::create_dir_all(file.parent().context("a file in a folder")?)?;
    std::fs::write(&file, serde_json::to_string_pretty(&result)? + "\n")?;
    say(&format!("written to {}", file.display()));
    Ok(())
}

async fn calibrate(bench: &Bench, lengths: &Lengths) -> anyhow::Result<f64> {
    let mut rates = Vec::new();
    for _ in 0..CALIBRATIONS {
        let sent = bench.bare(lengths.bare_s, None).await?;
        rates.push(sent.events as f64 / sent.seconds);
    }
    median(rates.into_iter()).context("a calibration measures something")
}
