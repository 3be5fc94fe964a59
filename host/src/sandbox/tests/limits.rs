//! Every limit is real, has its own code, says its number and its setting, and leaves the handler usable.

use std::time::Duration;

use futures_util::FutureExt;
use serde_json::json;

use super::{bench, bench_with, limits, value};
use crate::model::FailureCode;
use crate::sandbox::instance::Turn;
use crate::sandbox::limits::Budget;
use crate::sandbox::load::NO_HOOK;
use crate::sandbox::{GuestReport, RunLimits};

/// The code, and what the detail starts with.
fn assert_failed(report: &GuestReport, code: FailureCode, detail: &str) {
    match &report.outcome {
        Err(failure) => {
            assert_eq!(failure.code, code, "{}", failure.detail);
            assert!(failure.detail.starts_with(detail), "expected {detail:?}, got {:?}", failure.detail);
        }
        Ok(answer) => panic!("expected {code:?}, got {answer:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_to_misbehave_has_its_code_and_the_next_event_works() {
    let bench = bench();
    let hostile = bench.load("hostile").await;
    let memory = "memory limit of 16777216 bytes exceeded (setting limits.memory_bytes)";
    let cases = [
        ("loop", FailureCode::FuelLimit, "fuel limit of 1000000000 units exceeded (setting limits.fuel)"),
        ("memory", FailureCode::MemoryLimit, memory),
        // Rust's own stack lies in the guest's memory; running out of it reads before the memory's start.
        ("stack", FailureCode::Trap, "wasm trap: out of bounds memory access\n  0: hostile::deep"),
        ("panic", FailureCode::Panic, "wasm trap: wasm `unreachable` instruction executed\n  0: "),
        ("trap", FailureCode::Trap, "wasm trap: out of bounds memory access"),
        ("exit", FailureCode::GuestExit, "the handler called exit with status 1"),
        ("log", FailureCode::LogLimit, "log limit of 10000 bytes exceeded (setting limits.log_bytes)"),
        ("lines", FailureCode::LogLimit, "log limit of 10000 bytes exceeded (setting limits.log_bytes)"),
        ("stdout", FailureCode::LogLimit, "log limit of 10000 bytes exceeded (setting limits.log_bytes)"),
        ("hostcall", FailureCode::HostcallLimit, "a call to the host passed more than 4194304 bytes (setting limits.hostcall_bytes)"),
        ("answer", FailureCode::AnswerLimit, "the answer is larger than 2097152 bytes (setting limits.answer_bytes)"),
        ("answer-too-large-to-copy", FailureCode::AnswerLimit, "the answer is larger than 2097152 bytes (setting limits.answer_bytes)"),
        ("handles", FailureCode::HandleLimit, "limit of 100 open handles exceeded (setting limits.handles)"),
        ("random", FailureCode::Trap, "requested len 1048576 exceeds limit 65536"),
        ("json", FailureCode::DecodeError, "the value of done is not JSON: "),
    ];
    for (what, code, detail) in cases {
        let report = bench.run(&hostile, json!({ "do": what })).await;
        assert_failed(&report, code, detail);
        assert!(report.usage.fuel > 0 && report.usage.memory_bytes > 0, "{what}: {:?}", report.usage);
        assert_eq!(value(&bench.run(&hostile, json!({ "do": "echo" })).await)["name"], "consumers", "after {what}");
    }
    assert_eq!(bench.sandbox.metrics().living, 0);
}

#[tokio::test]
async fn what_no_rust_program_does_is_stopped_too() {
    let bench = bench();
    let memory = "memory limit of 16777216 bytes exceeded (setting limits.memory_bytes)";
    let cases = [
        ("many-memories", FailureCode::MemoryLimit, memory),
        ("shy-memory", FailureCode::MemoryLimit, memory),
        ("table", FailureCode::TableLimit, "table limit of 20000 elements exceeded (setting limits.table_elements)"),
        ("own-resource", FailureCode::HandleLimit, "limit of 100 open handles exceeded (setting limits.handles)"),
        ("stack", FailureCode::StackOverflow, "wasm trap: call stack exhausted\n  0: "),
        ("bad-text", FailureCode::DecodeError, "what handle gave back cannot be read: invalid utf-8"),
    ];
    for (name, code, detail) in cases {
        let handler = bench.load(name).await;
        let report = bench.run(&handler, json!({})).await;
        assert_failed(&report, code, detail);
        assert!(report.usage.memory_bytes <= 16 << 20, "{name}: {:?}", report.usage);
    }
    let handler = bench.load("own-maximum").await;
    assert!(bench.run(&handler, json!({})).await.outcome.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_ends_loops_sleeps_and_floods_of_host_calls() {
    let bench = bench_with(super::Limits { fuel: u64::MAX / 2, ..limits() });
    let hostile = bench.load("hostile").await;
    for what in ["loop", "sleep", "flood"] {
        let mut invocation = bench.invocation(&hostile, json!({ "do": what }));
        invocation.limits.wall = Duration::from_millis(200);
        let clock = crate::model::Clock::default();
        let started = clock.instant();
        let report = bench.sandbox.run(invocation).await;
        let took = clock.instant() - started;
        assert_failed(
            &report,
            FailureCode::Deadline,
            "deadline of 200 ms exceeded (setting limits.wall, or the hook's delivery.timeout_ms)",
        );
        assert!(took < Duration::from_secs(2), "{what} took {took:?}");
    }
    assert_eq!(bench.sandbox.metrics().living, 0);
    assert_eq!(value(&bench.run(&hostile, json!({ "do": "echo" })).await)["name"], "consumers");
}

#[tokio::test]
async fn a_flood_of_host_calls_costs_fuel() {
    let bench = bench_with(super::Limits { fuel: 20_000_000, ..limits() });
    let hostile = bench.load("hostile").await;
    let report = bench.run(&hostile, json!({ "do": "flood" })).await;
    assert_failed(&report, FailureCode::FuelLimit, "fuel limit of 20000000 units exceeded");
}

#[tokio::test]
async fn a_hook_may_lower_its_limits() {
    let bench = bench();
    let hostile = bench.load("hostile").await;
    let lower = RunLimits { memory_bytes: 2 << 20, fuel: 5_000_000, log_bytes: 500, ..RunLimits::from(bench.sandbox.limits()) };
    for (what, detail) in [
        ("memory", "memory limit of 2097152 bytes exceeded"),
        ("loop", "fuel limit of 5000000 units exceeded"),
        ("lines", "log limit of 500 bytes exceeded"),
    ] {
        let mut invocation = bench.invocation(&hostile, json!({ "do": what }));
        invocation.limits = lower;
        let report = bench.sandbox.run(invocation).await;
        let failure = report.outcome.expect_err(what);
        assert!(failure.detail.starts_with(detail), "{what}: {}", failure.detail);
    }
}

#[tokio::test]
async fn a_backtrace_names_functions_and_is_bounded() {
    let bench = bench();
    let hostile = bench.load("hostile").await;
    let panic = bench.run(&hostile, json!({ "do": "panic" })).await;
    let detail = panic.outcome.expect_err("it panics").detail;
    assert!(detail.contains("std::") || detail.contains("core::panicking::panic_fmt"), "{detail}");
    assert!(!detail.contains("_ZN") && !detail.contains("_RN"), "{detail}");
    assert_eq!(panic.logs.last().map(|line| line.text.contains("as configured") || line.text.contains("RUST_BACKTRACE")), Some(true));
    let stack = bench.run(&hostile, json!({ "do": "stack" })).await.outcome.expect_err("it overflows").detail;
    assert_eq!(stack.lines().count(), 21, "{stack}");
    assert!(stack.contains("hostile::deep"), "{stack}");
    assert!(stack.len() < 9 << 10);
}

#[tokio::test]
async fn the_log_is_kept_up_to_the_limit() {
    let bench = bench();
    let hostile = bench.load("hostile").await;
    let report = bench.run(&hostile, json!({ "do": "log" })).await;
    // 10 000 bytes hold nine lines of 1000 and 16, and 840 bytes of the tenth.
    let lengths: Vec<usize> = report.logs.iter().map(|line| line.text.len()).collect();
    assert_eq!(lengths, [1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 840]);
}

#[tokio::test]
async fn a_panic_of_the_host_is_caught_and_named() {
    let bench = bench();
    let hostile = bench.load("hostile").await;
    let inner = &bench.sandbox.0;
    let budget = Budget::for_handle(&inner.limits, RunLimits::from(&inner.limits));
    let mut instance = inner.fresh(NO_HOOK).await;
    let turn = Turn { running: &inner.running, hook: NO_HOOK, clock: &inner.clock, budget: &budget, grants: None };
    let ended: Result<(), _> = instance.call(&*hostile.bound, turn, |_, _| async { panic!("a bug of ours") }.boxed()).await;
    let failure = ended.expect_err("it panicked");
    assert_eq!((failure.code, &*failure.detail), (FailureCode::HostBug, "the host panicked: a bug of ours"));
    drop(instance);
    let metrics = bench.sandbox.metrics();
    assert_eq!((metrics.living, metrics.running), (0, 0));
    assert_eq!(value(&bench.run(&hostile, json!({ "do": "echo" })).await)["name"], "consumers");
}

#[tokio::test]
async fn more_memory_than_allowed_at_the_start_is_a_memory_limit() {
    let bench = bench();
    let error = bench.sandbox.load(super::built::component("large-at-start").into()).await.expect_err("too large");
    assert_eq!(error.code, "describe");
    assert_eq!(error.message, "describe failed (memory-limit): memory limit of 16777216 bytes exceeded (setting limits.memory_bytes)");
}
