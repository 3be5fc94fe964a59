//! Handlers prepared for a hook: what an event finds, and everything that can go wrong on the way.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Bench, bench, bench_with, limits, sandbox_in, value};
use crate::model::{Answer, Digest, HookNo, JsonText, LogLine};
use crate::sandbox::{GuestReport, Handler, Invocation, Limits, Preparation, RunLimits, Snapshot};

fn preparation(bench: &Bench, handler: &Arc<Handler>, config: &Value) -> Preparation {
    Preparation {
        handler: handler.clone(),
        hook: HookNo(1),
        config: JsonText::from_value(config),
        settings: JsonText::from_value(&json!({})),
        limits: RunLimits::from(bench.sandbox.limits()),
    }
}

async fn prepared(bench: &Bench, handler: &Arc<Handler>, config: &Value) -> Arc<Snapshot> {
    let report = bench.sandbox.prepare(preparation(bench, handler, config)).await;
    report.outcome.unwrap_or_else(|reason| panic!("{config}: {reason}; {:?}", report.logs))
}

async fn refused(bench: &Bench, handler: &Arc<Handler>, config: &Value) -> String {
    bench.sandbox.prepare(preparation(bench, handler, config)).await.outcome.expect_err("a reason")
}

async fn run_from(bench: &Bench, handler: &Arc<Handler>, snapshot: &Arc<Snapshot>, config: &Value) -> GuestReport {
    bench.sandbox.run(Invocation { snapshot: Some(snapshot.clone()), reuse: true, ..bench.invocation(handler, config.clone()) }).await
}

fn files(bench: &Bench) -> Vec<PathBuf> {
    let folder = std::fs::read_dir(bench.folder.path().join("data/code")).unwrap();
    folder.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|found| found == "snapshot")).collect()
}

#[tokio::test]
async fn every_event_starts_from_its_own_copy_of_what_prepare_left() {
    let bench = bench();
    let handler = bench.load("prepared").await;
    let config = json!({ "words": "one two" });
    let snapshot = prepared(&bench, &handler, &config).await;
    let mut seeds = HashSet::new();
    for _ in 0..3 {
        let found = value(&run_from(&bench, &handler, &snapshot, &json!({ "words": "one two", "secret": "S" })).await);
        assert_eq!(found["prepared"], json!({ "config": config, "settings": {} }));
        // Nothing of the event before, although the operator allows reuse.
        assert_eq!((&found["handled"], &found["config"]["secret"]), (&json!(1), &json!("S")));
        seeds.insert(found["seed"].to_string());
    }
    assert_eq!(seeds.len(), 3);
    let plain = value(&bench.run(&handler, config).await);
    assert_eq!((&plain["prepared"], &plain["handled"]), (&json!(null), &json!(1)));
    let metrics = bench.sandbox.metrics();
    assert_eq!((metrics.prepared, metrics.fresh, metrics.reused, metrics.living), (3, 1, 0, 0));
}

#[tokio::test]
async fn memories_and_globals_of_every_plain_type_are_kept() {
    let bench = bench();
    let handler = bench.load("prepare-memories").await;
    let snapshot = prepared(&bench, &handler, &json!({})).await;
    for _ in 0..2 {
        let report = run_from(&bench, &handler, &snapshot, &json!({})).await;
        assert!(matches!(report.outcome, Ok(Answer::Done(None))), "{:?}", report.outcome);
    }
    assert!(bench.run(&handler, json!({})).await.outcome.is_err());
}

#[tokio::test]
async fn a_large_memory_is_kept_byte_for_byte_up_to_the_limit() {
    let bench = bench();
    let handler = bench.load("prepared").await;
    let config = json!({ "prepare": "keep" });
    let snapshot = prepared(&bench, &handler, &config).await;
    assert!(snapshot.bytes() > 6 << 20);
    let found = value(&run_from(&bench, &handler, &snapshot, &config).await);
    assert_eq!((&found["kept"], &found["sound"]), (&json!(6 << 20), &json!(true)));
    let bench = bench_with(Limits { snapshot_bytes: 1 << 20, ..limits() });
    let handler = bench.load("prepared").await;
    let reason = refused(&bench, &handler, &config).await;
    assert!(reason.contains("at most 1048576 are allowed (setting limits.snapshot_bytes)"), "{reason}");
    assert!(files(&bench).is_empty());
}

#[tokio::test]
async fn whatever_prepare_does_wrong_is_a_reason_and_the_plain_path_works() {
    let bench = bench();
    let handler = bench.load("prepared").await;
    let table = [
        ("panic", "prepare failed (panic)"),
        ("loop", "fuel limit of 1000000000 units exceeded (setting limits.fuel)"),
        ("error", "prepare gave an error: the config is not to my taste"),
        ("eat", "memory limit of 16777216 bytes exceeded (setting limits.memory_bytes)"),
        ("handle", "prepare left a handle open"),
        ("log", "log limit of 10000 bytes exceeded"),
        ("send", "prepare gave an error: Err(Denied("),
    ];
    for (what, named) in table {
        let config = json!({ "prepare": what, "url": "http://127.0.0.1:9/" });
        let reason = refused(&bench, &handler, &config).await;
        assert!(reason.contains(named), "{what}: {reason}");
        assert_eq!(value(&bench.run(&handler, config).await)["prepared"], json!(null), "{what}");
    }
    assert!(files(&bench).is_empty());
    let metrics = bench.sandbox.metrics();
    assert_eq!((metrics.living, metrics.running, metrics.snapshot_hits), (0, 0, 0));
}

#[tokio::test]
async fn prepare_has_its_own_time_and_the_hooks_if_that_is_less() {
    let bench = bench();
    let handler = bench.load("prepared").await;
    let config = json!({ "prepare": "sleep" });
    let reason = refused(&bench, &handler, &config).await;
    assert!(reason.contains("deadline of 5000 ms exceeded (fixed for prepare)"), "{reason}");
    let mut short = preparation(&bench, &handler, &config);
    short.limits.wall = Duration::from_millis(50);
    let reason = bench.sandbox.prepare(short).await.outcome.unwrap_err();
    assert!(reason.contains("deadline of 50 ms exceeded"), "{reason}");
}

#[tokio::test]
async fn lines_written_in_prepare_are_reported_and_standard_output_is_a_handle() {
    let bench = bench();
    let handler = bench.load("prepared").await;
    let lines = |logs: &[LogLine]| logs.iter().map(|line| line.text.clone()).collect::<Vec<_>>();
    let config = json!({ "print": true });
    let report = bench.sandbox.prepare(preparation(&bench, &handler, &config)).await;
    assert_eq!(lines(&report.logs), ["preparing"]);
    let report = run_from(&bench, &handler, &report.outcome.unwrap(), &config).await;
    assert_eq!(lines(&report.logs), ["from handle"], "{:?}", report.outcome);
    // Rust keeps the stream open for the life of the program.
    let report = bench.sandbox.prepare(preparation(&bench, &handler, &json!({ "prepare": "print" }))).await;
    assert_eq!(lines(&report.logs), ["preparing", "from prepare"]);
    assert!(report.outcome.unwrap_err().contains("standard output is one"));
}

#[tokio::test]
async fn what_the_snapshot_tool_cannot_hold_is_a_reason() {
    let bench = bench();
    for (name, named) in [
        ("prepare-vector", "v128"),
        ("prepare-table", "table.set"),
        ("prepare-own-maximum", "what prepare left cannot be read"),
        ("prepare-own-resource", "resources of its own"),
    ] {
        let handler = bench.load(name).await;
        assert!(handler.prepares(), "{name}");
        let reason = refused(&bench, &handler, &json!({})).await;
        assert!(reason.contains(named), "{name}: {reason}");
        let report = bench.run(&handler, json!({})).await;
        assert!(matches!(report.outcome, Ok(Answer::Done(None))), "{name}: {:?}", report.outcome);
    }
    assert_eq!((bench.sandbox.metrics().living, files(&bench).len()), (0, 0));
}

#[tokio::test]
async fn only_small_components_that_export_prepare_are_prepared() {
    let bench = bench();
    assert!(!bench.load("hostile").await.prepares());
    let bench = bench_with(Limits { snapshot_component_bytes: 100_000, ..limits() });
    let handler = bench.load("prepared").await;
    assert!(!handler.prepares());
    assert!(refused(&bench, &handler, &json!({})).await.contains("too large"));
}

#[tokio::test]
async fn a_restart_loads_the_stored_one_and_a_damaged_one_is_made_again() {
    let bench = bench();
    let handler = bench.load("prepared").await;
    let config = json!({ "words": "kept" });
    drop(prepared(&bench, &handler, &config).await);
    let metrics = bench.sandbox.metrics();
    assert_eq!((metrics.snapshot_hits, metrics.snapshot_misses), (0, 1));
    drop(handler);

    let again = Bench { sandbox: sandbox_in(&bench.folder, limits()), folder: bench.folder };
    let handler = again.load("prepared").await;
    let report = again.sandbox.prepare(preparation(&again, &handler, &config)).await;
    // Not run again: it would have written a line.
    assert!(report.logs.is_empty());
    let found = value(&run_from(&again, &handler, &report.outcome.unwrap(), &config).await);
    assert_eq!(found["prepared"]["config"], config);
    let metrics = again.sandbox.metrics();
    assert_eq!((metrics.snapshot_hits, metrics.snapshot_misses, metrics.compiled), (1, 0, 0));

    let file = files(&again).remove(0);
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let report = again.sandbox.prepare(preparation(&again, &handler, &config)).await;
    assert_eq!((report.logs.len(), report.outcome.is_ok()), (1, true));
    let metrics = again.sandbox.metrics();
    assert_eq!((metrics.snapshot_misses, metrics.cache_rejected), (1, 1));
}

#[tokio::test]
async fn what_is_not_needed_is_removed_from_disk() {
    let bench = bench();
    let handler = bench.load("prepared").await;
    let keys: Vec<Digest> = ["a", "b", "c"].map(|words| preparation(&bench, &handler, &json!({ "words": words })).key()).to_vec();
    assert_eq!(keys.iter().collect::<HashSet<_>>().len(), 3);
    for words in ["a", "b", "c"] {
        drop(prepared(&bench, &handler, &json!({ "words": words })).await);
    }
    bench.sandbox.forget_snapshot(keys[0]);
    bench.sandbox.forget_snapshot(keys[0]);
    assert_eq!(files(&bench).len(), 2);
    bench.sandbox.keep_snapshots(&HashSet::from([keys[1]]));
    let [left] = &files(&bench)[..] else { panic!("one file") };
    assert!(left.file_name().unwrap().to_str().unwrap().starts_with(&keys[1].to_string()));
}

#[tokio::test]
async fn a_snapshot_fits_only_what_it_was_made_from_and_room_for_its_memory() {
    let bench = bench();
    let handler = bench.load("prepared").await;
    let other = bench.load("hostile").await;
    let snapshot = prepared(&bench, &handler, &json!({ "prepare": "keep" })).await;
    let settings = |text: &Value| JsonText::from_value(text);
    let run = RunLimits::from(bench.sandbox.limits());
    assert!(snapshot.fits(&handler, &settings(&json!({})), &run));
    assert!(!snapshot.fits(&other, &settings(&json!({})), &run));
    assert!(!snapshot.fits(&handler, &settings(&json!({ "profile": "kong" })), &run));
    assert!(!snapshot.fits(&handler, &settings(&json!({})), &RunLimits { memory_bytes: 4 << 20, ..run }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_a_preparation_ends_its_guest() {
    let bench = bench_with(Limits { fuel: u64::MAX / 2, ..limits() });
    let handler = bench.load("prepared").await;
    let preparing = bench.sandbox.prepare(preparation(&bench, &handler, &json!({ "prepare": "loop" })));
    let mut preparing = Box::pin(preparing);
    // Until the guest runs.
    while bench.sandbox.metrics().living == 0 {
        assert!(tokio::time::timeout(Duration::from_millis(10), &mut preparing).await.is_err());
    }
    drop(preparing);
    let gone = async {
        while bench.sandbox.metrics().living > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(4), gone).await.expect("the guest has ended before its own limit");
}
