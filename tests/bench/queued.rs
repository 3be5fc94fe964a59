//! Bars 8 and 9c: what a long queue costs in memory, on the disk and at a start, and what is left of it after the drain.

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::json;

use crate::bars::Reached;
use crate::drive::{Bench, create, record_bytes, webhook};
use crate::machine::{disk_bytes, rss_mb};
use crate::plan::Lengths;
use crate::say;

/// Events of one request while the queue is filled.
const BATCH: u64 = 500;

/// The journal's segments in this measurement, and its configuration: nothing is retained that is not owed.
const SEGMENT_BYTES: u64 = 64 << 20;
const CONFIG: &str = "[store]\nsegment_bytes = \"64 MiB\"\nretention_bytes = 0\n";

/// The bar looks at the disk so long after the drain.
const AFTER_DRAIN: Duration = Duration::from_secs(10);

pub(crate) async fn measure(bench: &Bench, lengths: &Lengths, reached: &mut Reached) -> anyhow::Result<()> {
    let mut host = bench.host(CONFIG).await;
    let mut hook = webhook(&bench.sink_url("/in"));
    hook["paused"] = true.into();
    let id = create(&host, &hook).await?;
    let (idle_mb, empty) = (rss_mb(host.pid())?, disk_bytes(host.data()));
    bench.reset().await?;
    let ids = bench.scratch.path().join("queued-ids");
    let arguments = [
        ("seconds", "600".to_owned()),
        ("events", lengths.queued.to_string()),
        ("batch", BATCH.to_string()),
        ("concurrency", "4".to_owned()),
        ("ids", ids.display().to_string()),
    ];
    let sent = bench.load(&format!("http://{}/events", host.events().address()), &arguments).await?;
    ensure!(sent.errors == 0 && sent.events >= lengths.queued, "the queue was not filled: {sent:?}");
    let (full_mb, full) = (rss_mb(host.pid())?, disk_bytes(host.data()));
    reached.set("8a", full_mb - idle_mb);
    reached.set("8b", full as f64 / record_bytes(sent.events));
    host.terminate().await;
    let started = Instant::now();
    host.restart().await;
    let reopened = started.elapsed();
    reached.set("9c", reopened.as_secs_f64());
    say(&format!(
        "  {} events queued in {:.1} s: RSS {idle_mb:.0} → {full_mb:.0} MB, disk {:.0} MB ({:.0} MB empty); reopened in {reopened:?}",
        sent.events,
        sent.seconds,
        full as f64 / 1e6,
        empty as f64 / 1e6
    ));
    let started = Instant::now();
    let answer = host.admin().patch(&format!("/event-hooks/{id}"), &json!({ "paused": false })).await;
    ensure!(answer.status == 200, "the hook was not resumed: {}", answer.text());
    let stats = bench.drained(sent.events).await?;
    let drained = started.elapsed();
    bench.account("queued events", &host, &ids).await?;
    ensure!(stats.unique >= sent.events, "{} of {} were delivered", stats.unique, sent.events);
    tokio::time::sleep(AFTER_DRAIN).await;
    let left = disk_bytes(host.data());
    let allowed = SEGMENT_BYTES as f64 + 0.05 * full as f64;
    reached.set("8c", left.saturating_sub(empty) as f64 / allowed);
    let rate = sent.events as f64 / drained.as_secs_f64();
    say(&format!("  drained in {drained:.1?} ({rate:.0}/s); disk {:.0} MB {AFTER_DRAIN:?} later", left as f64 / 1e6));
    Ok(())
}
