//! Compiled code on disk: believed only with its seal.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::json;

use super::{Bench, bench, bench_with, built, limits, sandbox_in, value};
use crate::model::{Clock, Digest};
use crate::sandbox::Limits;
use crate::sandbox::cache::{Cache, Kind};
use crate::sandbox::engine::{Pool, engine_config};

fn entries(bench: &Bench) -> Vec<PathBuf> {
    let folder = bench.folder.path().join("data/code");
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn a_restart_loads_what_was_compiled() {
    let bench = bench();
    drop(bench.load("hostile").await);
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(bench.folder.path().join("data/code")), 0o700);
    assert_eq!(mode(bench.folder.path().join("data/cache.key")), 0o600);
    assert_eq!(bench.sandbox.metrics().compiled, 1);

    let again = Bench { sandbox: sandbox_in(&bench.folder, limits()), folder: bench.folder };
    let hostile = again.load("hostile").await;
    let metrics = again.sandbox.metrics();
    assert_eq!((metrics.compiled, metrics.cache_hits, metrics.cache_rejected), (0, 1, 0));
    assert_eq!(value(&again.run(&hostile, json!({ "do": "echo" })).await)["name"], "consumers");
}

#[tokio::test]
async fn a_changed_entry_is_compiled_again_and_replaced() {
    let bench = bench();
    drop(bench.load("hostile").await);
    let [entry] = &entries(&bench)[..] else { panic!("one entry") };
    let sound = fs::read(entry).unwrap();
    let middle = sound.len() / 2;
    let mut flipped = sound.clone();
    flipped[middle] ^= 1;
    let cut = sound[..middle].to_vec();
    let foreign = [&b"thkcode1"[..], &[0; 32], b"not machine code"].concat();
    for (round, unsound) in [flipped, cut, foreign, Vec::new()].into_iter().enumerate() {
        fs::write(entry, unsound).unwrap();
        drop(bench.load("hostile").await);
        let metrics = bench.sandbox.metrics();
        let rounds = round as u64 + 1;
        assert_eq!((metrics.compiled, metrics.cache_hits, metrics.cache_rejected), (1 + rounds, 0, rounds));
        assert_eq!(fs::read(entry).unwrap().len(), sound.len());
    }
    drop(bench.load("hostile").await);
    assert_eq!(bench.sandbox.metrics().cache_hits, 1);
}

#[tokio::test]
async fn an_entry_cannot_pass_for_another_component() {
    let bench = bench();
    drop(bench.load("hostile").await);
    let [hostile] = &entries(&bench)[..] else { panic!("one entry") };
    let code = fs::read(hostile).unwrap();
    drop(bench.load("forward").await);
    let forward = entries(&bench).into_iter().find(|path| path != hostile).unwrap();
    fs::write(&forward, code).unwrap();
    let loaded = bench.load("forward").await;
    assert_eq!(loaded.description().name, "forward");
    assert_eq!(bench.sandbox.metrics().cache_rejected, 1);
}

#[tokio::test]
async fn the_budget_evicts_what_was_used_longest_ago() {
    let small = bench_with(Limits { cache_bytes: 1, ..limits() });
    drop(small.load("table").await);
    assert_eq!(entries(&small).len(), 0);

    let bench = bench();
    drop(bench.load("table").await);
    let entry = fs::metadata(&entries(&bench)[0]).unwrap().len();
    let engine = wasmtime::Engine::new(&engine_config(&limits(), Pool::OnDemand)).unwrap();
    let folder = bench.folder.path().join("other/code");
    let cache = Cache::open(&folder, 3 * entry, &engine, Clock::default()).unwrap();
    let code = engine.precompile_component(&built::component("table")).unwrap();
    let digest = |n: u8| Digest([n; 32]);
    let age = |n: u8, seconds: u64| {
        let path = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&digest(n).to_string()));
        let then = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        fs::File::options().append(true).open(path.unwrap()).unwrap().set_modified(then).unwrap();
    };
    for n in 1..=3 {
        cache.put(&engine, Kind::Component, digest(n), &code).unwrap();
    }
    for (n, seconds) in [(1, 1000), (2, 3000), (3, 2000)] {
        age(n, seconds);
    }
    // The oldest is used now, so that the second oldest goes.
    assert!(cache.get(&engine, Kind::Component, digest(1)).is_some());
    cache.put(&engine, Kind::Component, digest(4), &code).unwrap();
    let kept: Vec<bool> = (1..=4).map(|n| cache.get(&engine, Kind::Component, digest(n)).is_some()).collect();
    assert_eq!(kept, [true, true, false, true]);
}

#[tokio::test]
async fn code_compiled_by_one_engine_loads_in_another() {
    let folder = tempfile::tempdir().unwrap();
    let pooled = wasmtime::Engine::new(&engine_config(&limits(), Pool::Pooling)).unwrap();
    let plain = wasmtime::Engine::new(&engine_config(&Limits { instances: 3, ..limits() }, Pool::OnDemand)).unwrap();
    let component = built::component("forward");
    let digest = Digest::of(&component);
    let code = plain.precompile_component(&component).unwrap();
    let open = |engine| Cache::open(&folder.path().join("code"), 1 << 30, engine, Clock::default()).unwrap();
    open(&plain).put(&plain, Kind::Component, digest, &code).unwrap();
    assert!(open(&pooled).get(&pooled, Kind::Component, digest).is_some());
}

#[tokio::test]
async fn without_address_space_for_the_pool_instances_are_mapped_one_by_one() {
    // 80 000 memories of 4 GiB are more than 47 bits.
    let bench = bench_with(Limits { instances: 20_000, ..limits() });
    assert_eq!(bench.sandbox.metrics().pool, Pool::OnDemand);
    let hostile = bench.load("hostile").await;
    assert_eq!(value(&bench.run(&hostile, json!({ "do": "echo" })).await)["name"], "consumers");
    assert_eq!(super::bench().sandbox.metrics().pool, Pool::Pooling);
}
