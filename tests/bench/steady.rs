//! Bars 1 to 7: throughput of each variant against the bare loop, and latencies at half of what the built-in webhook can do.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, ensure};
use http::Method;
use serde_json::{Value, json};
use tenterhook_tests::Host;

use crate::bars::{Reached, median};
use crate::drive::{Bench, Figures, create, webhook};
use crate::helper::{SECRET, SOURCE};
use crate::machine::Machine;
use crate::plan::Lengths;
use crate::say;

/// Events of one request in bar 3.
const BATCH: u64 = 100;

/// A variant of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    Uploaded,
    Webhook,
    Batches,
    Native,
    NativeNoJournal,
}

impl Variant {
    const ALL: [Self; 5] = [Self::Uploaded, Self::Webhook, Self::Batches, Self::Native, Self::NativeNoJournal];

    fn name(self) -> &'static str {
        match self {
            Self::Uploaded => "uploaded handler, fresh instance",
            Self::Webhook => "webhook, signed",
            Self::Batches => "webhook, signed, batches of 100",
            Self::Native => "native handler",
            Self::NativeNoJournal => "native handler, no journal",
        }
    }

    /// The switches of a host that was built for the benchmark.
    fn switches(self) -> &'static [&'static str] {
        match self {
            Self::Uploaded | Self::Webhook | Self::Batches => &[],
            Self::Native => &["TENTERHOOK_BENCH_NATIVE_HANDLER"],
            Self::NativeNoJournal => &["TENTERHOOK_BENCH_NATIVE_HANDLER", "TENTERHOOK_BENCH_NO_JOURNAL"],
        }
    }

    fn batch(self) -> u64 {
        if self == Self::Batches { BATCH } else { 1 }
    }
}

/// Bars 1 to 5. Gives the figures and what the bare loop did in each round.
pub(crate) async fn throughput(
    bench: &Bench,
    lengths: &Lengths,
    forward: &[u8],
    reached: &mut Reached,
) -> anyhow::Result<(Vec<Figures>, Vec<f64>)> {
    let (mut all, mut bares) = (Vec::new(), Vec::new());
    for round in 1..=lengths.rounds {
        say(&format!("round {round} of {}", lengths.rounds));
        let before = bare_rate(bench, lengths).await?;
        let mut figures = Vec::new();
        for variant in Variant::ALL {
            figures.push((variant, one(bench, variant, lengths, forward).await?));
        }
        let after = bare_rate(bench, lengths).await?;
        bares.extend([before, after]);
        set(reached, &figures, f64::midpoint(before, after));
        all.extend(figures.into_iter().map(|(_, figures)| figures));
    }
    Ok((all, bares))
}

fn set(reached: &mut Reached, figures: &[(Variant, Figures)], bare: f64) {
    let rate = |variant| figures.iter().find(|(of, _)| *of == variant).map(|(_, figures)| figures.delivered_per_s);
    let mut ratio = |bar, over: Option<f64>, under: Option<f64>| {
        if let Some((over, under)) = over.zip(under) {
            reached.set(bar, over / under);
        }
    };
    ratio("1", rate(Variant::Uploaded), Some(bare));
    ratio("2", rate(Variant::Webhook), Some(bare));
    ratio("3", rate(Variant::Batches), Some(bare));
    ratio("4", rate(Variant::Uploaded), rate(Variant::Native));
    ratio("5", rate(Variant::Native), rate(Variant::NativeNoJournal));
}

async fn bare_rate(bench: &Bench, lengths: &Lengths) -> anyhow::Result<f64> {
    let sent = bench.bare(lengths.bare_s, None).await?;
    let rate = sent.events as f64 / sent.seconds;
    say(&format!("  {:<34} {rate:>9.0}/s   p50 {} p99 {} µs", "bare loop", sent.ack.p50, sent.ack.p99));
    Ok(rate)
}

async fn one(bench: &Bench, variant: Variant, lengths: &Lengths, forward: &[u8]) -> anyhow::Result<Figures> {
    let host = bench.host_with("", variant.switches()).await;
    let hook = match variant {
        Variant::Uploaded => uploaded(bench, &host, forward).await?,
        Variant::Webhook | Variant::Batches | Variant::Native | Variant::NativeNoJournal => webhook(&bench.sink_url("/in")),
    };
    create(&host, &hook).await?;
    let batch = ("batch", variant.batch().to_string());
    bench.measure("warm-up", &host, &[("seconds", lengths.warm_s.to_string()), batch.clone()]).await?;
    let figures = bench.measure(variant.name(), &host, &[("seconds", lengths.load_s.to_string()), batch]).await?;
    print(&figures);
    Ok(figures)
}

/// Installs the forwarding guest under a new name and gives a hook of it.
async fn uploaded(bench: &Bench, host: &Host, component: &[u8]) -> anyhow::Result<Value> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!("forward-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let call =
        host.admin().call(Method::PUT, &format!("/handlers/{name}?wait=60s&grant=asked")).body("application/wasm", component.to_vec());
    let answer = call.send().await;
    ensure!((200..300).contains(&answer.status), "the component was refused: {} {}", answer.status, answer.text());
    Ok(json!({ "source": SOURCE, "handler": name, "config": { "url": bench.sink_url("/in"), "secret": SECRET } }))
}

/// Bars 6 and 7: the open loop at half of what the built-in webhook delivered.
pub(crate) async fn latency(
    bench: &Bench,
    lengths: &Lengths,
    machine: &Machine,
    figures: &[Figures],
    reached: &mut Reached,
) -> anyhow::Result<Vec<Figures>> {
    let ceilings = figures.iter().filter(|figures| figures.variant == Variant::Webhook.name()).map(|figures| figures.delivered_per_s);
    let ceiling = median(ceilings).context("the webhook's ceiling")?;
    let mut all = Vec::new();
    for percent in [50, 80] {
        let rate = (ceiling * f64::from(percent) / 100.0) as u64;
        let bare = bench.bare(lengths.open_s, Some(rate)).await?;
        let host = bench.host("").await;
        create(&host, &webhook(&bench.sink_url("/in"))).await?;
        let arguments = |seconds: f64| [("seconds", seconds.to_string()), ("rate", rate.to_string())];
        bench.measure("warm-up", &host, &arguments(lengths.warm_s)).await?;
        let figures = bench.measure(&format!("open loop at {percent} %, {rate}/s"), &host, &arguments(lengths.open_s)).await?;
        print(&figures);
        say(&format!("  {:<34} {rate:>9}/s   p50 {} p99 {} µs", "  bare loop at that rate", bare.ack.p50, bare.ack.p99));
        if percent == 50 {
            reached.set("6", figures.ack_us.p99 as f64 / machine.fdatasync_p50_us);
            reached.set("7", figures.to_sink_us.p99 as f64 / bare.ack.p99.max(1) as f64);
        }
        all.push(figures);
    }
    Ok(all)
}

pub(crate) fn print(figures: &Figures) {
    say(&format!(
        "  {:<34} {:>9.0}/s accepted {:>8.0}/s   ack p50 {} p95 {} p99 {} µs   to sink p50 {} p95 {} p99 {} µs   {:.1} µs CPU, {:.0} MB, {:.0} B written an event{}{}",
        figures.variant,
        figures.delivered_per_s,
        figures.accepted_per_s,
        figures.ack_us.p50,
        figures.ack_us.p95,
        figures.ack_us.p99,
        figures.to_sink_us.p50,
        figures.to_sink_us.p95,
        figures.to_sink_us.p99,
        figures.host_cpu_us_per_delivery,
        figures.rss_mb,
        figures.written_per_event,
        if figures.late > 0 { format!("   {} late", figures.late) } else { String::new() },
        if figures.refused > 0 { format!("   {} refused", figures.refused) } else { String::new() },
    ));
}
