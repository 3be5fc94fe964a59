//! Bars 10 and 11: many hooks that do not match, and one hook in ten that hangs.

use anyhow::ensure;
use serde_json::json;
use tokio::task::JoinSet;

use crate::bars::Reached;
use crate::drive::{Bench, Figures, create, webhook};
use crate::plan::Lengths;
use crate::{say, steady};

/// Hooks of bar 10.
const MANY: usize = 10_000;

/// Hooks that are created at the same time.
const AT_ONCE: usize = 32;

/// Hooks of bar 11, and events a second.
const HOOKS: usize = 10;
const RATE: u64 = 100;

pub(crate) async fn many_hooks(bench: &Bench, lengths: &Lengths, reached: &mut Reached) -> anyhow::Result<Vec<Figures>> {
    let seconds = [("seconds", lengths.load_s.to_string())];
    let mut all = Vec::new();
    for hooks in [1, MANY] {
        let host = bench.host("").await;
        create(&host, &webhook(&bench.sink_url("/in"))).await?;
        let mut creating = JoinSet::new();
        for n in 1..hooks {
            let admin = host.admin().clone();
            let hook = json!({ "source": format!("other-{n}"), "handler": "log" });
            creating.spawn(async move { admin.post("/event-hooks", &hook).await.status });
            while creating.len() >= AT_ONCE
                && let Some(status) = creating.join_next().await
            {
                ensure!(status? == 201, "a hook was not created");
            }
        }
        while let Some(status) = creating.join_next().await {
            ensure!(status? == 201, "a hook was not created");
        }
        bench.measure("warm-up", &host, &[("seconds", lengths.warm_s.to_string())]).await?;
        let figures = bench.measure(&format!("{hooks} hooks of which one matches"), &host, &seconds).await?;
        steady::print(&figures);
        all.push(figures);
    }
    reached.set("10", all[1].accepted_per_s / all[0].accepted_per_s);
    Ok(all)
}

pub(crate) async fn hanging(bench: &Bench, lengths: &Lengths, reached: &mut Reached) -> anyhow::Result<Vec<Figures>> {
    let arguments = [("seconds", lengths.open_s.to_string()), ("rate", RATE.to_string())];
    let mut all = Vec::new();
    for hanging in [0, 1] {
        let host = bench.host("").await;
        for n in 0..HOOKS {
            let path = if n < hanging { "/hang" } else { "/in" };
            create(&host, &webhook(&bench.sink_url(path))).await?;
        }
        let figures = bench.measure(&format!("{hanging} of {HOOKS} hooks hanging, {RATE}/s"), &host, &arguments).await?;
        steady::print(&figures);
        all.push(figures);
    }
    let p99 = |figures: &Figures| figures.to_sink_us.p99.max(1) as f64;
    reached.set("11", p99(&all[1]) / p99(&all[0]));
    say(&format!("  healthy hooks' p99: {} µs with, {} µs without a hanging one", p99(&all[1]), p99(&all[0])));
    Ok(all)
}
