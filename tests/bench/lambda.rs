//! `bench lambda`: what one event costs in users' Lua, beside native Lua on the same machine with the same event and function.
//!
//! The host's figures are those of the attempts themselves: making the instance, and from its first instruction to the answer. Every attempt has
//! an instance of its own; with a snapshot it starts from memory in which the functions are compiled already.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::Serialize;
use serde_json::{Value, json};
use tenterhook_tests::{Host, binary};

use crate::bars::median;
use crate::drive::create;
use crate::machine::Machine;
use crate::say;

/// The hook's source.
const SOURCE: &str = "orders";

/// Events of one request.
const BATCH: usize = 100;

/// Deliveries of one page.
const PAGE: usize = 1000;

/// How long events are sent before any of them counts: snapshots are made in the background.
const WARM: Duration = Duration::from_secs(4);

/// How long a batch may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Hooks whose creation is timed.
const CREATED: usize = 5;

/// Native Lua, and how it is called.
const NATIVE: [(&str, &str, &[&str]); 3] =
    [("luajit -joff", "luajit", &["-joff"]), ("luajit", "luajit", &[]), ("lua5.1 with lua-cjson", "lua5.1", &[])];

/// Settings that differ between variants, if the host knows them.
const VARIANTS: [(&str, &str); 2] = [("fresh, as configured", ""), ("fresh, without snapshot", "snapshot_component_bytes = 0")];

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// A tenth of the events: about half a minute. Its figures are rough.
    #[arg(long)]
    quick: bool,
    /// The binary to measure; without it, the release binary is built.
    #[arg(long, env = "TENTERHOOK_BENCH_BIN")]
    binary: Option<PathBuf>,
}

/// Median and the slowest of a hundred, microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
struct Spread {
    p50: f64,
    p99: f64,
}

/// What one variant of the host came to.
#[derive(Debug, Clone, Serialize)]
struct Hosted {
    variant: &'static str,
    attempts: usize,
    instantiate_us: Spread,
    run_us: Spread,
    total_us: Spread,
    fuel: f64,
    memory_kib: f64,
    component_bytes: u64,
    create_hook_ms: f64,
}

/// What a native Lua came to.
#[derive(Debug, Clone, Serialize)]
struct Native {
    name: &'static str,
    /// The function compiled once.
    warm_us: f64,
    /// The function compiled for each event.
    compiled_us: f64,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let events = if arguments.quick { 500 } else { 5000 };
    let path = arguments.binary.unwrap_or_else(|| binary::build(&["--release", "--features", "bench"], "release"));
    let machine = Machine::look(&binary::target())?;
    say(&format!("machine: {}", serde_json::to_string(&machine)?));
    let before = natives(events)?;
    let mut hosted = Vec::new();
    for (variant, setting) in VARIANTS {
        if knows(&path, setting)? {
            hosted.push(measure(&path, variant, setting, events).await?);
        } else {
            say(&format!("{variant}: left out, this host has no such setting"));
        }
    }
    let after = natives(events)?;
    let natives: Vec<Native> = before.into_iter().zip(after).map(|(before, after)| before.better(&after)).collect();
    print(&hosted, &natives);
    let result = json!({ "machine": machine, "quick": arguments.quick, "event_bytes": file("event.json").len(), "hosted": hosted, "native": natives });
    let to = binary::target().join("bench/lambda.json");
    std::fs::create_dir_all(to.parent().context("a file in a folder")?)?;
    std::fs::write(&to, serde_json::to_string_pretty(&result)? + "\n")?;
    say(&format!("written to {}", to.display()));
    Ok(())
}

fn folder() -> PathBuf {
    binary::root().join("tests/bench/lambda")
}

fn file(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}")).trim_end().to_owned()
}

/// Has the binary's manual a key of this name?
fn knows(binary: &Path, setting: &str) -> anyhow::Result<bool> {
    let manual = Command::new(binary).arg("config").output()?.stdout;
    let key = setting.split(' ').next().unwrap_or_default();
    Ok(String::from_utf8_lossy(&manual).lines().any(|line| key.is_empty() || line.starts_with(&format!("{key} ="))))
}

/// The native Luas that this machine has.
fn natives(events: usize) -> anyhow::Result<Vec<Native>> {
    let mut all = Vec::new();
    for (name, program, flags) in NATIVE {
        let mut command = Command::new(program);
        command
            .args(flags)
            .args([folder().join("native.lua"), folder().join("event.json"), folder().join("function.lua")])
            .arg(events.to_string());
        match command.output() {
            Ok(done) if done.status.success() => {
                let said: Value = serde_json::from_slice(&done.stdout)?;
                let number = |key: &str| said[key].as_f64().context("a native figure");
                all.push(Native { name, warm_us: number("warm_us")?, compiled_us: number("compiled_us")? });
            }
            Ok(failed) => say(&format!("{name}: left out: {}", String::from_utf8_lossy(&failed.stderr).trim())),
            Err(error) => say(&format!("{name}: left out: {error} (apt-get install luajit lua5.1 lua-cjson)")),
        }
    }
    Ok(all)
}

impl Native {
    /// Of two runs the one that was disturbed less.
    fn better(&self, other: &Self) -> Self {
        Self { name: self.name, warm_us: self.warm_us.min(other.warm_us), compiled_us: self.compiled_us.min(other.compiled_us) }
    }
}

async fn measure(binary: &Path, variant: &'static str, setting: &str, events: usize) -> anyhow::Result<Hosted> {
    let host = Host::builder().binary(binary).config(format!("[limits]\n{setting}\n")).start().await;
    let component_bytes = host.admin().get("/handlers/lambda").await.json()["bytes"].as_u64().context("the size of the component")?;
    let hook = json!({
        "source": SOURCE, "handler": "lambda", "config": { "functions": [file("function.lua")] }, "delivery": { "concurrency": 1 }
    });
    let mut created = Vec::new();
    let mut id = String::new();
    for _ in 0..CREATED {
        if !id.is_empty() {
            host.admin().delete(&format!("/event-hooks/{id}")).await;
        }
        let started = Instant::now();
        id = create(&host, &hook).await?;
        created.push(started.elapsed().as_secs_f64() * 1e3);
    }
    let warm_until = Instant::now() + WARM;
    let mut sent = 0;
    while Instant::now() < warm_until {
        send(&host, &id, &mut sent).await?;
    }
    let first = sent;
    while sent < first + events {
        send(&host, &id, &mut sent).await?;
    }
    let attempts = attempts(&host, &id, events).await?;
    let spread = |of: &dyn Fn(&Value) -> f64| Spread::of(attempts.iter().map(of).collect());
    let number = |attempt: &Value, key: &str| attempt[key].as_f64().unwrap_or(0.0);
    Ok(Hosted {
        variant,
        attempts: attempts.len(),
        instantiate_us: spread(&|attempt| number(attempt, "instantiate_us")),
        run_us: spread(&|attempt| number(attempt, "run_us")),
        total_us: spread(&|attempt| number(attempt, "instantiate_us") + number(attempt, "run_us")),
        fuel: spread(&|attempt| number(attempt, "fuel")).p50,
        memory_kib: spread(&|attempt| number(attempt, "memory_bytes")).p50 / 1024.0,
        component_bytes,
        create_hook_ms: median(created.into_iter()).unwrap_or(0.0),
    })
}

/// Sends a batch and waits until it is delivered.
async fn send(host: &Host, hook: &str, sent: &mut usize) -> anyhow::Result<()> {
    let data: Value = serde_json::from_str(&file("event.json"))?;
    let events: Vec<Value> = (0..BATCH).map(|_| json!({ "source": SOURCE, "event": "create", "data": data })).collect();
    let answer = host.events().post("/events", &json!(events)).await;
    ensure!(answer.status == 202, "{}", answer.text());
    *sent += BATCH;
    let started = Instant::now();
    loop {
        let owed = ["queued", "running", "retrying"].map(|state| format!("/event-hooks/{hook}/deliveries?state={state}&size=1"));
        let mut left = 0;
        for path in owed {
            left += host.admin().get(&path).await.json()["data"].as_array().map_or(0, Vec::len);
        }
        if left == 0 {
            return Ok(());
        }
        ensure!(started.elapsed() < PATIENCE, "a batch was not delivered within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The newest attempts, all of them delivered.
async fn attempts(host: &Host, hook: &str, count: usize) -> anyhow::Result<Vec<Value>> {
    let list = format!("/event-hooks/{hook}/deliveries?size={PAGE}");
    let (mut found, mut path) = (Vec::new(), list.clone());
    while found.len() < count {
        let page = host.admin().get(&path).await.json();
        for delivery in page["data"].as_array().context("a list")? {
            ensure!(delivery["state"] == "delivered", "{delivery}");
            found.extend(delivery["attempts"].as_array().into_iter().flatten().cloned());
        }
        let Some(offset) = page["offset"].as_str() else { break };
        path = format!("{list}&offset={offset}");
    }
    found.truncate(count);
    ensure!(found.len() == count, "{} of {count} attempts are listed", found.len());
    Ok(found)
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |percent: usize| values.get((values.len() * percent / 100).min(values.len().saturating_sub(1))).copied().unwrap_or(0.0);
        Self { p50: at(50), p99: at(99) }
    }
}

fn print(hosted: &[Hosted], natives: &[Native]) {
    let (least, with) = (natives.first(), |base: f64, value: f64| if base > 0.0 { value / base } else { 0.0 });
    say(&format!("\n  {:<26} {:>12} {:>10} {:>16} {:>9}", "", "instance µs", "run µs", "both p50/p99 µs", "ratio"));
    let base = least.map_or(0.0, |native| native.warm_us);
    for one in hosted {
        let (total, ratio) = (format!("{:.0} / {:.0}", one.total_us.p50, one.total_us.p99), with(base, one.total_us.p50));
        say(&format!("  {:<26} {:>12.0} {:>10.0} {total:>16} {ratio:>8.1}×", one.variant, one.instantiate_us.p50, one.run_us.p50));
    }
    for one in natives {
        let ratio = with(base, one.warm_us);
        say(&format!(
            "  {:<26} {:>12} {:>10.1} {:>16} {ratio:>8.1}×",
            one.name,
            "",
            one.warm_us,
            format!("{:.1} compiling", one.compiled_us)
        ));
    }
    for one in hosted {
        say(&format!(
            "  {}: component {} bytes, a hook is created in {:.0} ms, {:.0} fuel and {:.0} KiB an event, {} attempts",
            one.variant, one.component_bytes, one.create_hook_ms, one.fuel, one.memory_kib, one.attempts
        ));
    }
    say("  the ratio is to luajit -joff with the function compiled once");
}
