//! One hook's guests do not slow another's.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Bench, bench_with, limits};
use crate::model::{Clock, HookNo};
use crate::sandbox::{Handler, Limits};

/// Guests of these hooks that never end by themselves.
fn keep_busy(bench: &Bench, handler: &Arc<Handler>, hooks: &[u32], what: &str) -> JoinSet<()> {
    let mut busy = JoinSet::new();
    for hook in hooks {
        let mut invocation = bench.invocation(handler, json!({ "do": what }));
        invocation.hook = HookNo(*hook);
        let sandbox = bench.sandbox.clone();
        busy.spawn(async move {
            let report = sandbox.run(invocation).await;
            panic!("it ended: {:?}", report.outcome);
        });
    }
    busy
}

/// Runs one attempt after the other for hook 9; gives the 50th and 99th of 100 and the longest.
async fn latencies(bench: &Bench, handler: &Arc<Handler>, count: usize, config: &Value) -> [Duration; 3] {
    let invocations: Vec<_> = (0..count).map(|_| bench.invocation(handler, config.clone())).collect();
    let sandbox = bench.sandbox.clone();
    // In a task: the test itself has a thread of its own, which the loops cannot take from it.
    let mut measured = JoinSet::new();
    measured.spawn(async move {
        let clock = Clock::default();
        let mut took = Vec::with_capacity(invocations.len());
        for mut invocation in invocations {
            invocation.hook = HookNo(9);
            let started = clock.instant();
            let report = sandbox.run(invocation).await;
            took.push(clock.instant() - started);
            assert!(report.outcome.is_ok(), "{:?}", report.outcome);
        }
        took
    });
    let mut took = measured.join_next().await.unwrap().unwrap();
    took.sort_unstable();
    [took[count / 2], took[count * 99 / 100], took[count - 1]]
}

fn busy_bench() -> Bench {
    bench_with(Limits { wall: Duration::from_secs(120), fuel: u64::MAX / 2, ..limits() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_looping_hooks_leave_a_third_its_latency() {
    let bench = busy_bench();
    let hostile = bench.load("hostile").await;
    let mut busy = keep_busy(&bench, &hostile, &[1, 2], "loop");
    let [p50, p99, max] = latencies(&bench, &hostile, 200, &json!({ "do": "echo" })).await;
    eprintln!("beside two loops: p50 {p50:?}, p99 {p99:?}, max {max:?}");
    assert!(p99 < Duration::from_millis(50), "{p99:?}");
    busy.shutdown().await;
    assert_eq!(bench.sandbox.metrics().living, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_looping_guests_of_one_hook_count_as_one() {
    let bench = busy_bench();
    let hostile = bench.load("hostile").await;
    let mut busy = keep_busy(&bench, &hostile, &[1; 20], "loop");
    let [p50, p99, max] = latencies(&bench, &hostile, 200, &json!({ "do": "echo" })).await;
    eprintln!("beside twenty loops of one hook: p50 {p50:?}, p99 {p99:?}, max {max:?}");
    assert!(p99 < Duration::from_millis(50), "{p99:?}");
    busy.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_host_calls_yield_too() {
    let bench = busy_bench();
    let hostile = bench.load("hostile").await;
    let mut busy = keep_busy(&bench, &hostile, &[1, 2], "flood");
    let [p50, p99, max] = latencies(&bench, &hostile, 200, &json!({ "do": "echo" })).await;
    eprintln!("beside two floods: p50 {p50:?}, p99 {p99:?}, max {max:?}");
    assert!(p99 < Duration::from_millis(50), "{p99:?}");
    busy.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_and_sockets_are_served_beside_loops() {
    let bench = busy_bench();
    let hostile = bench.load("hostile").await;
    let mut busy = keep_busy(&bench, &hostile, &[1, 2], "loop");
    let [p50, p99, max] = latencies(&bench, &hostile, 100, &json!({ "do": "nap", "ms": 1 })).await;
    eprintln!("naps of 1 ms beside two loops: p50 {p50:?}, p99 {p99:?}, max {max:?}");
    // The median, because of a hundred the 99th is the longest, and that depends on what else the machine does.
    assert!(p50 < Duration::from_millis(25), "{p50:?}");
    busy.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_guests_hold_no_slot() {
    let bench = busy_bench();
    let hostile = bench.load("hostile").await;
    let mut busy = keep_busy(&bench, &hostile, &[1, 2, 3, 4, 5, 6, 7, 8], "sleep");
    let [p50, p99, max] = latencies(&bench, &hostile, 100, &json!({ "do": "echo" })).await;
    eprintln!("beside eight sleepers: p50 {p50:?}, p99 {p99:?}, max {max:?}");
    assert!(p99 < Duration::from_millis(50), "{p99:?}");
    busy.shutdown().await;
}

/// Not a test of speed: it prints what a run costs on this machine, and holds only that reuse is cheaper.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_instance_is_cheaper_than_a_fresh_one() {
    let bench = bench_with(limits());
    let forward = bench.load("forward").await;
    let clock = Clock::default();
    let mut medians = Vec::new();
    for reuse in [false, true] {
        let mut took = Vec::new();
        for _ in 0..2000 {
            let mut invocation = bench.invocation(&forward, json!({ "url": "https://example.com/", "secret": "k" }));
            invocation.reuse = reuse;
            let started = clock.instant();
            let report = bench.sandbox.run(invocation).await;
            took.push(clock.instant() - started);
            assert!(report.outcome.is_ok());
        }
        took.sort_unstable();
        eprintln!("forward, reuse {reuse}: p50 {:?}, p99 {:?}", took[1000], took[1980]);
        medians.push(took[1000]);
    }
    assert!(medians[1] < medians[0], "{medians:?}");
}
