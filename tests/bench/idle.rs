//! Bars 9a and 9b: what a host costs that does nothing, and how long a start takes until the first event is accepted.

use std::time::{Duration, Instant};

use anyhow::ensure;
use tenterhook_tests::fixtures;

use crate::bars::Reached;
use crate::drive::{Bench, create, webhook};
use crate::machine::rss_mb;
use crate::say;

/// Starts measured; the median counts.
const STARTS: usize = 5;

/// The host is idle so long before its memory is looked at.
const IDLE: Duration = Duration::from_secs(2);

pub(crate) async fn measure(bench: &Bench, reached: &mut Reached) -> anyhow::Result<()> {
    // The first start compiles the built-in handlers into the cache of the data folder.
    let mut host = bench.host("").await;
    create(&host, &webhook(&bench.sink_url("/in"))).await?;
    for _ in 0..STARTS {
        host.terminate().await;
        let started = Instant::now();
        host.restart().await;
        let ready = started.elapsed();
        let answer = host.events().post("/events", &fixtures::event("idle", "started", &serde_json::json!({}))).await;
        let first = started.elapsed();
        ensure!(answer.status == 202, "{}", answer.text());
        reached.set("9b", first.as_secs_f64() * 1e3);
        tokio::time::sleep(IDLE).await;
        let rss = rss_mb(host.pid())?;
        reached.set("9a", rss);
        say(&format!("  start: ready after {ready:.1?}, first 202 after {first:.1?}, {rss:.1} MB idle"));
    }
    Ok(())
}
