//! Instances that serve more than one attempt.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Bench, bench, bench_with, limits, value};
use crate::model::FailureCode;
use crate::sandbox::{GuestReport, Handler, Limits};

async fn run(bench: &Bench, handler: &Arc<Handler>, config: Value) -> GuestReport {
    let mut invocation = bench.invocation(handler, config);
    invocation.reuse = true;
    bench.sandbox.run(invocation).await
}

#[tokio::test]
async fn a_reused_instance_keeps_its_memory_and_nothing_else() {
    let bench = bench();
    let hostile = bench.load("hostile").await;
    let first = run(&bench, &hostile, json!({ "do": "write" })).await;
    assert_eq!((first.logs.len(), first.usage.reused), (4, false));
    for handled in 2..=5 {
        let report = run(&bench, &hostile, json!({ "do": "echo" })).await;
        assert_eq!(value(&report)["handled"], handled);
        assert_eq!((report.logs.len(), report.usage.reused, report.usage.instantiate_us), (0, true, 0));
        assert!(report.usage.fuel > 1000 && report.usage.fuel < 10_000_000, "{:?}", report.usage);
    }
    let metrics = bench.sandbox.metrics();
    assert_eq!((metrics.fresh, metrics.reused, metrics.living), (1, 4, 1));
    // Who does not want a used one gets a fresh one.
    assert_eq!(value(&bench.run(&hostile, json!({ "do": "echo" })).await)["handled"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_was_stopped_is_dropped() {
    let bench = bench();
    let hostile = bench.load("hostile").await;
    for (what, code) in [
        ("trap", FailureCode::Trap),
        ("panic", FailureCode::Panic),
        ("exit", FailureCode::GuestExit),
        ("loop", FailureCode::FuelLimit),
        ("sleep", FailureCode::Deadline),
        ("log", FailureCode::LogLimit),
    ] {
        run(&bench, &hostile, json!({ "do": "echo" })).await;
        assert_eq!(bench.sandbox.metrics().living, 1);
        let mut invocation = bench.invocation(&hostile, json!({ "do": what }));
        invocation.reuse = true;
        if what == "sleep" {
            invocation.limits.wall = Duration::from_millis(100);
        }
        let report = bench.sandbox.run(invocation).await;
        assert!(report.usage.reused, "{what}");
        assert_eq!(report.outcome.expect_err(what).code, code);
        assert_eq!(bench.sandbox.metrics().living, 0, "{what}");
        assert_eq!(value(&run(&bench, &hostile, json!({ "do": "echo" })).await)["handled"], 1, "after {what}");
        hostile.idle().clear();
    }
    // A handler's own refusal is no reason to drop its instance: the guest came to an end.
    run(&bench, &hostile, json!({ "do": "reject" })).await;
    assert_eq!(bench.sandbox.metrics().living, 1);
}

#[tokio::test]
async fn dropping_the_attempt_drops_the_instance() {
    let bench = bench();
    let hostile = bench.load("hostile").await;
    run(&bench, &hostile, json!({ "do": "echo" })).await;
    let mut invocation = bench.invocation(&hostile, json!({ "do": "sleep" }));
    invocation.reuse = true;
    assert!(tokio::time::timeout(Duration::from_millis(50), bench.sandbox.run(invocation)).await.is_err());
    let metrics = bench.sandbox.metrics();
    assert_eq!((metrics.living, metrics.running), (0, 0));
}

#[tokio::test]
async fn instances_are_retired_within_the_range() {
    let bench = bench_with(Limits { reuse_attempts: 3..=5, ..limits() });
    let hostile = bench.load("hostile").await;
    let mut lives = Vec::new();
    for _ in 0..60 {
        match value(&run(&bench, &hostile, json!({ "do": "echo" })).await)["handled"].as_u64().unwrap() {
            1 => lives.push(1),
            handled => *lives.last_mut().unwrap() = handled,
        }
    }
    lives.pop();
    assert!(lives.iter().all(|life| (3..=5).contains(life)), "{lives:?}");
    assert!(lives.iter().any(|life| *life != lives[0]), "not all at once: {lives:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_instances_are_bounded_and_make_room_for_others() {
    let bench = bench_with(Limits { reuse_idle: 3, instances: 4, ..limits() });
    let hostile = bench.load("hostile").await;
    let naps = (0..10).map(|_| run(&bench, &hostile, json!({ "do": "nap", "ms": 20 })));
    let reports = futures_util::future::join_all(naps).await;
    assert!(reports.iter().all(|report| report.outcome.is_ok()));
    assert_eq!(bench.sandbox.metrics().living, 3);
    let forward = bench.load("forward").await;
    let fresh = (0..6).map(|_| bench.run(&forward, json!({ "url": "https://example.com/" })));
    let reports = futures_util::future::join_all(fresh).await;
    assert!(reports.iter().all(|report| report.outcome.is_ok()));
}

#[tokio::test]
async fn an_instance_that_is_too_large_for_the_next_hook_is_not_used() {
    let bench = bench();
    let hostile = bench.load("hostile").await;
    run(&bench, &hostile, json!({ "do": "echo" })).await;
    let mut invocation = bench.invocation(&hostile, json!({ "do": "echo" }));
    invocation.reuse = true;
    invocation.limits.memory_bytes = 1 << 16;
    let report = bench.sandbox.run(invocation).await;
    assert!(!report.usage.reused);
    assert_eq!(report.outcome.expect_err("no memory").code, FailureCode::MemoryLimit);
}
