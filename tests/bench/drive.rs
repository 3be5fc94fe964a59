//! One host, one load, one reckoning: start a variant, send to it, wait until all is delivered, and account for every id.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tenterhook_tests::{Door, Host};

use crate::helper::{EVENT_BYTES, Helper, Latency, SECRET, SOURCE, ids_from, ids_in};
use crate::load::Sent;
use crate::machine::{Used, rss_mb};

/// How long a queue may take to become empty.
const DRAIN_LIMIT: Duration = Duration::from_secs(600);

/// A drain in which nothing arrived for so long has ended: what is missing is owed or lost.
const STALLED: Duration = Duration::from_secs(20);

/// How often the sink is asked during a drain.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Pages of a listing that are read at most.
const PAGES_MAX: usize = 10_000;

/// What all measurements share.
pub(crate) struct Bench {
    pub(crate) binary: PathBuf,
    pub(crate) scratch: tempfile::TempDir,
    pub(crate) sink: Door,
    /// Keeps the sink's process alive.
    pub(crate) sink_process: Helper,
}

/// What the sink says.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SinkStats {
    pub(crate) unique: u64,
    pub(crate) bad_signatures: u64,
    pub(crate) last_ns: u64,
    pub(crate) latency: Latency,
}

/// What one measurement gave.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figures {
    pub(crate) variant: String,
    pub(crate) events: u64,
    pub(crate) accepted_per_s: f64,
    pub(crate) delivered_per_s: f64,
    pub(crate) ack_us: Latency,
    pub(crate) to_sink_us: Latency,
    pub(crate) late: u64,
    pub(crate) refused: u64,
    pub(crate) host_cpu_us_per_delivery: f64,
    pub(crate) rss_mb: f64,
    pub(crate) written_per_event: f64,
}

impl Bench {
    pub(crate) async fn start(binary: PathBuf) -> anyhow::Result<Self> {
        let mut sink = Helper::start(&["sink".into()])?;
        let said = sink.line()?;
        let address = said["address"].as_str().and_then(|text| text.parse().ok()).context("the sink's address")?;
        // Beside the build output: `/tmp` may be memory, and memory needs no fdatasync.
        let scratch = tempfile::tempdir_in(tenterhook_tests::binary::target())?;
        Ok(Self { binary, scratch, sink: Door::new(address, None), sink_process: sink })
    }

    /// Where hooks post to.
    pub(crate) fn sink_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.sink.address())
    }

    /// Starts a host on a new folder.
    pub(crate) async fn host(&self, config: &str) -> Host {
        self.host_with(config, &[]).await
    }

    /// The same with switches of the benchmark.
    pub(crate) async fn host_with(&self, config: &str, switches: &[&'static str]) -> Host {
        let data = self.scratch.path().join(format!("data-{}", crate::now_ns()));
        let builder = Host::builder().binary(&self.binary).data(data).config(config);
        switches.iter().fold(builder, |builder, name| builder.variable(name)).start().await
    }

    pub(crate) async fn reset(&self) -> anyhow::Result<()> {
        let answer = self.sink.post("/reset", &json!({})).await;
        ensure!(answer.status == 200, "the sink does not reset");
        Ok(())
    }

    pub(crate) async fn stats(&self) -> anyhow::Result<SinkStats> {
        Ok(serde_json::from_slice(&self.sink.get("/stats").await.body)?)
    }

    /// Runs a generator to its end.
    pub(crate) async fn load(&self, url: &str, arguments: &[(&str, String)]) -> anyhow::Result<Sent> {
        let mut all = vec!["load".to_owned(), "--url".to_owned(), url.to_owned()];
        for (name, value) in arguments {
            all.push(format!("--{name}"));
            // A switch has no value.
            all.extend(Some(value.clone()).filter(|value| !value.is_empty()));
        }
        let line = tokio::task::spawn_blocking(move || Helper::start(&all)?.line()).await??;
        Ok(serde_json::from_value(line)?)
    }

    /// The bare client against the same sink.
    pub(crate) async fn bare(&self, seconds: f64, rate: Option<u64>) -> anyhow::Result<Sent> {
        self.reset().await?;
        let mut arguments = vec![("bare", String::new()), ("seconds", seconds.to_string())];
        arguments.extend(rate.map(|rate| ("rate", rate.to_string())));
        let sent = self.load(&self.sink_url("/bare"), &arguments).await?;
        ensure!(sent.errors == 0 && sent.events > 0, "the bare loop had errors: {sent:?}");
        Ok(sent)
    }

    /// Sends to a host, waits until everything is delivered, accounts for every id.
    pub(crate) async fn measure(&self, variant: &str, host: &Host, arguments: &[(&str, String)]) -> anyhow::Result<Figures> {
        self.reset().await?;
        let ids = self.scratch.path().join("ids");
        let before = Used::of(host.pid())?;
        let mut all = arguments.to_vec();
        all.push(("ids", ids.display().to_string()));
        let sent = self.load(&format!("http://{}/events", host.events().address()), &all).await?;
        ensure!(sent.errors == 0, "{variant}: {} requests failed", sent.errors);
        let rss = rss_mb(host.pid())?;
        let stats = self.drained(sent.events).await?;
        let used = Used::of(host.pid())?.since(before);
        self.account(variant, host, &ids).await?;
        ensure!(stats.bad_signatures == 0, "{variant}: {} wrong signatures", stats.bad_signatures);
        let delivering = stats.last_ns.saturating_sub(sent.started_ns) as f64 / 1e9;
        Ok(Figures {
            variant: variant.to_owned(),
            events: sent.events,
            accepted_per_s: sent.events as f64 / sent.seconds,
            delivered_per_s: stats.unique as f64 / delivering,
            ack_us: sent.ack,
            to_sink_us: stats.latency,
            late: sent.late,
            refused: sent.refused,
            host_cpu_us_per_delivery: used.cpu_us / stats.unique.max(1) as f64,
            rss_mb: rss,
            written_per_event: used.written as f64 / sent.events.max(1) as f64,
        })
    }

    /// Waits until the sink has that many distinct events, or nothing more comes.
    pub(crate) async fn drained(&self, events: u64) -> anyhow::Result<SinkStats> {
        let (started, mut moved, mut last) = (Instant::now(), Instant::now(), 0);
        loop {
            let stats = self.stats().await?;
            if stats.unique >= events || moved.elapsed() > STALLED || started.elapsed() > DRAIN_LIMIT {
                return Ok(stats);
            }
            if stats.unique != last {
                (last, moved) = (stats.unique, Instant::now());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Accepted must equal delivered, queued and dead, by id.
    pub(crate) async fn account(&self, variant: &str, host: &Host, ids: &Path) -> anyhow::Result<()> {
        let mut missing = ids_from(&std::fs::read(ids)?);
        ensure!(!missing.is_empty(), "{variant}: nothing was accepted");
        let delivered = ids_from(&self.sink.get("/ids").await.body);
        missing.retain(|id| !delivered.contains(id));
        if !missing.is_empty() {
            let listed = listed(host).await?;
            missing.retain(|id| !listed.contains(id));
        }
        ensure!(missing.is_empty(), "{variant}: {} accepted events are neither delivered nor queued nor dead", missing.len());
        Ok(())
    }
}

/// The events of all deliveries that are owed or dead.
async fn listed(host: &Host) -> anyhow::Result<HashSet<u128>> {
    let hooks = host.admin().get("/event-hooks?size=1000").await.json();
    let mut lists = vec!["/dead-letters?size=1000".to_owned()];
    for hook in hooks["data"].as_array().into_iter().flatten().filter_map(|hook| hook["id"].as_str()) {
        lists.extend(["queued", "running", "retrying"].map(|state| format!("/event-hooks/{hook}/deliveries?state={state}&size=1000")));
    }
    let mut found = HashSet::new();
    for list in lists {
        let mut path = list.clone();
        for _ in 0..PAGES_MAX {
            let page = host.admin().get(&path).await;
            ensure!(page.status == 200, "{path}: {}", page.text());
            found.extend(ids_in(&page.body));
            let Some(offset) = page.json()["offset"].as_str().map(str::to_owned) else { break };
            path = format!("{list}&offset={offset}");
        }
    }
    Ok(found)
}

/// A signed webhook hook.
pub(crate) fn webhook(url: &str) -> Value {
    json!({ "source": SOURCE, "handler": "webhook", "config": { "url": url, "secret": SECRET } })
}

/// Creates a hook and gives its id.
pub(crate) async fn create(host: &Host, hook: &Value) -> anyhow::Result<String> {
    let answer = host.admin().post("/event-hooks", hook).await;
    ensure!(answer.status == 201, "the hook was not created: {} {}", answer.status, answer.text());
    answer.json()["id"].as_str().map(str::to_owned).context("the hook's id")
}

/// Bytes of so many events as posted.
pub(crate) fn record_bytes(events: u64) -> f64 {
    (events * EVENT_BYTES as u64) as f64
}
