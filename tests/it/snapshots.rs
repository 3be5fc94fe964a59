//! Handlers that are prepared once for each hook: who starts prepared, what is kept over a restart, what goes when its hook goes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use tenterhook_tests::components::component;
use tenterhook_tests::{Host, Sink, eventually};

use crate::shared::{created, delivery_in, emit, hook_to, id};

const SECRET: &str = "hunter2-and-three-more";

async fn install(host: &Host, guest: &str) {
    let call = host.admin().call(Method::PUT, "/handlers/mine?wait=60s").body("application/wasm", component(guest));
    let answer = call.send().await;
    assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
}

async fn hook(host: &Host, source: &str, config: Value) -> String {
    let body = json!({ "source": source, "event": "x", "handler": "mine", "config": config });
    id(&created(host.admin().post("/event-hooks", &body).await))
}

/// A metric without labels.
async fn metric(host: &Host, name: &str) -> u64 {
    let text = host.admin().get("/metrics").await.expect(200).text();
    let line = text.lines().find_map(|line| line.strip_prefix("tenterhook_")?.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no metric {name} in\n{text}"))
}

async fn loaded(host: &Host, count: u64) {
    eventually("the snapshots are in memory", async || (metric(host, "snapshots").await == count).then_some(())).await;
}

/// What an event of this hook finds, by `/test`.
async fn found(host: &Host, hook: &str) -> Value {
    host.admin().post(&format!("/event-hooks/{hook}/test"), &json!({})).await.expect(200).json()["result"].clone()
}

/// The stored snapshots.
fn files(host: &Host) -> Vec<PathBuf> {
    let mut folders = vec![host.data().to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "snapshot") {
                found.push(path);
            }
        }
    }
    found
}

async fn only_file(host: &Host, what: &str, fits: impl Fn(&PathBuf) -> bool) -> PathBuf {
    eventually(what, async || match &files(host)[..] {
        [file] if fits(file) => Some(file.clone()),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_prepared_hook_gives_every_event_its_own_copy_and_outlives_a_restart() {
    let mut host = Host::start().await;
    install(&host, "prepared").await;
    let one = hook(&host, "shop", json!({ "words": "one two" })).await;
    loaded(&host, 1).await;
    assert_eq!((metric(&host, "snapshot_hits_total").await, metric(&host, "snapshot_misses_total").await), (0, 1));
    for n in 1..=3 {
        emit(host.events(), "shop", "x", &json!({ "n": n })).await;
        eventually("a prepared instance", async || (metric(&host, "instances_prepared_total").await == n).then_some(())).await;
    }
    for kill in [false, true] {
        let result = found(&host, &one).await;
        assert_eq!((&result["prepared"]["config"], &result["handled"]), (&json!({ "words": "one two" }), &json!(1)), "{result}");
        assert_eq!(result["prepared"]["settings"]["profile"], "durable");
        if kill {
            host.kill9();
        }
        host.restart().await;
        loaded(&host, 1).await;
        assert_eq!((metric(&host, "snapshot_hits_total").await, metric(&host, "snapshot_misses_total").await), (1, 0));
        assert!(metric(&host, "snapshot_bytes").await > 0);
    }
    assert_eq!(found(&host, &one).await["handled"], 1);
}

#[tokio::test]
async fn secrets_are_given_to_handle_alone_and_are_not_in_the_stored_file() {
    let host = Host::start().await;
    install(&host, "prepared").await;
    let config = json!({
        "words": "plainly-seen", "secret": SECRET, "inner": { "secret": SECRET, "a": 1 }, "list": [{ "secret": SECRET }, { "b": 2 }],
    });
    let one = hook(&host, "shop", config.clone()).await;
    loaded(&host, 1).await;
    let result = found(&host, &one).await;
    assert_eq!(result["prepared"]["config"], json!({ "words": "plainly-seen", "inner": { "a": 1 }, "list": [{}, { "b": 2 }] }));
    assert_eq!(result["config"], config);
    let bytes = std::fs::read(&files(&host)[0]).expect("the file can be read");
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    // The first shows that the second would be seen.
    assert!(holds("plainly-seen") && !holds(SECRET));
}

#[tokio::test]
async fn a_changed_config_makes_another_one_and_a_deleted_hook_leaves_none() {
    let host = Host::start().await;
    install(&host, "prepared").await;
    let one = hook(&host, "shop", json!({ "words": "before" })).await;
    let first = only_file(&host, "the first snapshot", |_| true).await;
    let change = json!({ "config": { "words": "after" } });
    host.admin().patch(&format!("/event-hooks/{one}"), &change).await.expect(200);
    let second = only_file(&host, "another snapshot alone", |file| *file != first).await;
    eventually("the new snapshot is used", async || (found(&host, &one).await["prepared"]["config"]["words"] == "after").then_some(()))
        .await;
    // What the handler does not see makes no difference, and two hooks that need the same share it.
    host.admin().patch(&format!("/event-hooks/{one}"), &json!({ "tags": ["a"] })).await.expect(200);
    let two = hook(&host, "crm", json!({ "words": "after" })).await;
    eventually("the second hook is prepared", async || found(&host, &two).await["prepared"].is_object().then_some(())).await;
    assert_eq!(metric(&host, "snapshot_misses_total").await, 2);
    host.admin().delete(&format!("/event-hooks/{one}")).await.expect(204);
    assert_eq!(found(&host, &two).await["prepared"]["config"]["words"], "after");
    assert_eq!(files(&host), [second]);
    host.admin().delete(&format!("/event-hooks/{two}")).await.expect(204);
    eventually("no snapshot", async || files(&host).is_empty().then_some(())).await;
    loaded(&host, 0).await;
}

#[tokio::test]
async fn a_replaced_handler_is_prepared_anew() {
    let mut host = Host::start().await;
    install(&host, "prepared").await;
    let one = hook(&host, "shop", json!({ "words": "a" })).await;
    only_file(&host, "the snapshot", |_| true).await;
    install(&host, "hostile").await;
    // The old code sees no event from here on.
    assert_eq!(found(&host, &one).await["test"], true);
    eventually("no snapshot", async || files(&host).is_empty().then_some(())).await;
    install(&host, "prepared").await;
    loaded(&host, 1).await;
    assert!(found(&host, &one).await["prepared"].is_object());
    // What was stored for a hook that went away unseen is removed at the next start.
    let stray = files(&host)[0].with_file_name(format!("{}-0123456789abcdef.snapshot", "0".repeat(64)));
    std::fs::write(&stray, "left behind").expect("a file can be written");
    host.restart().await;
    loaded(&host, 1).await;
    assert_eq!((files(&host).len(), stray.exists()), (1, false));
}

#[tokio::test]
async fn a_hook_that_cannot_be_prepared_works_and_one_warning_says_why() {
    let host = Host::start().await;
    install(&host, "prepared").await;
    for (n, (what, named)) in
        [("error", "the config is not to my taste"), ("panic", "prepare failed (panic)"), ("handle", "left a handle open")]
            .into_iter()
            .enumerate()
    {
        let one = hook(&host, what, json!({ "prepare": what })).await;
        eventually("the failure is counted", async || (metric(&host, "snapshot_failures_total").await == n as u64 + 1).then_some(())).await;
        for _ in 0..3 {
            assert_eq!(found(&host, &one).await["prepared"], json!(null));
        }
        emit(host.events(), what, "x", &json!({})).await;
        delivery_in(&host, &one, "delivered", 1).await;
        // A change that the handler does not see is no reason to try again.
        host.admin().patch(&format!("/event-hooks/{one}"), &json!({ "tags": ["a"] })).await.expect(200);
        let warnings = host.log().lines().into_iter().filter(|line| line.contains("hook.not_prepared") && line.contains(&one));
        let warnings: Vec<_> = warnings.collect();
        assert!(warnings.len() == 1 && warnings[0].contains(named), "{warnings:?}");
    }
    assert_eq!((metric(&host, "snapshots").await, metric(&host, "snapshot_failures_total").await), (0, 3));
    assert!(files(&host).is_empty());
}

#[tokio::test]
async fn what_does_not_fit_into_memory_is_loaded_again_when_it_is_needed() {
    let host = Host::builder().config("[limits]\nsnapshots_loaded_bytes = \"1 KiB\"\n").start().await;
    install(&host, "prepared").await;
    let one = hook(&host, "shop", json!({ "words": "a" })).await;
    loaded(&host, 1).await;
    let two = hook(&host, "crm", json!({ "words": "b" })).await;
    eventually("the second hook is prepared", async || found(&host, &two).await["prepared"].is_object().then_some(())).await;
    assert_eq!((metric(&host, "snapshots").await, files(&host).len()), (1, 2));
    eventually("the first is loaded again", async || found(&host, &one).await["prepared"].is_object().then_some(())).await;
    assert_eq!((metric(&host, "snapshots").await, metric(&host, "snapshot_misses_total").await), (1, 2));
    assert!(metric(&host, "snapshot_hits_total").await >= 1);
}

#[tokio::test]
async fn others_keep_their_latency_while_hooks_are_prepared() {
    const PROMPT: Duration = Duration::from_secs(5);
    let (host, sink) = (Host::start().await, Sink::start().await);
    install(&host, "prepared").await;
    hook_to(&host, &sink, "shop", "/in").await;
    for n in 0..6 {
        hook(&host, "busy", json!({ "prepare": if n % 2 == 0 { "loop" } else { "keep" }, "n": n })).await;
    }
    let mut slowest = Duration::ZERO;
    for n in 1..=40 {
        let sent = Instant::now();
        emit(host.events(), "shop", "sold", &json!({ "n": n })).await;
        sink.wait_for("/in", n).await;
        slowest = slowest.max(sent.elapsed());
    }
    assert!(slowest < PROMPT, "the other hook's slowest event took {slowest:?}");
    loaded(&host, 3).await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_prepare() {
    let mut host = Host::start().await;
    install(&host, "prepared").await;
    hook(&host, "shop", json!({ "prepare": "sleep" })).await;
    eventually("the guest sleeps", async || (metric(&host, "instances_living").await > 0).then_some(())).await;
    let since = Instant::now();
    assert!(host.terminate().await.success());
    assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());
}
