//! What was answered 202 is delivered, whatever happens to the process in between.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};
use tenterhook_tests::{Host, Reply, Sink};

use crate::shared::{emit, hook_to, hook_with, id};

async fn emit_many(host: &Host, n: usize) -> HashSet<String> {
    let events: Vec<Value> = (0..n).map(|n| json!({ "source": "shop", "event": "sold", "data": { "n": n } })).collect();
    let answer = host.events().post("/events", &json!(events)).await.expect(202).json();
    answer["events"].as_array().expect("a list").iter().map(id).collect()
}

#[tokio::test]
async fn sigterm_lets_running_attempts_finish_and_loses_nothing() {
    let (mut host, sink) = (Host::start().await, Sink::start().await);
    sink.on("/in", Reply::status(200).after(Duration::from_millis(150)));
    hook_to(&host, &sink, "shop", "/in").await;
    let ids = emit_many(&host, 300).await;
    sink.wait_for("/in", 4).await;
    let status = host.terminate().await;
    assert!(status.success(), "{status}");
    let before = sink.at("/in").len();
    assert!(before < ids.len(), "the stop came in the middle");
    sink.on("/in", Reply::status(200));
    host.restart().await;
    sink.wait_until("every acknowledged event", |sink| (sink.unique_ids("/in") == ids).then_some(())).await;
    assert_eq!(sink.at("/in").len(), ids.len(), "a stop repeats no attempt: what ran was waited for");
}

#[tokio::test]
async fn a_stop_does_not_wait_longer_than_its_limit() {
    let mut host = Host::builder().config("[shutdown]\ndrain = \"500 ms\"\n").start().await;
    let sink = Sink::start().await;
    sink.on("/in", Reply::hang());
    hook_to(&host, &sink, "shop", "/in").await;
    let event = emit(host.events(), "shop", "sold", &json!({})).await;
    sink.wait_for("/in", 1).await;
    let started = std::time::Instant::now();
    assert!(host.terminate().await.success());
    // The attempt would run for 30 s.
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    sink.on("/in", Reply::status(200));
    host.restart().await;
    let got = sink.wait_for("/in", 2).await;
    assert!(got.iter().all(|got| got.id() == event));
}

#[tokio::test]
async fn what_a_paused_hook_is_owed_survives_a_kill() {
    let (mut host, sink) = (Host::start().await, Sink::start().await);
    let hook = hook_with(&host, &sink, "shop", "/in", &json!({ "paused": true })).await;
    let ids = emit_many(&host, 500).await;
    host.kill9();
    host.restart().await;
    host.kill9();
    host.restart().await;
    host.admin().patch(&format!("/event-hooks/{hook}"), &json!({ "paused": false })).await.expect(200);
    sink.wait_until("every acknowledged event", |sink| (sink.unique_ids("/in") == ids).then_some(())).await;
    assert_eq!(sink.at("/in").len(), ids.len(), "nothing was attempted before, so nothing is repeated");
}

#[tokio::test]
async fn what_was_delivered_long_ago_is_not_delivered_again_after_a_kill() {
    let (mut host, sink) = (Host::start().await, Sink::start().await);
    let hook = hook_to(&host, &sink, "shop", "/in").await;
    let ids = emit_many(&host, 100).await;
    sink.wait_until("all of them", |sink| (sink.unique_ids("/in") == ids).then_some(())).await;
    // The marks are on disk 200 ms after the last attempt was settled at the latest; a stop makes sure of it.
    host.restart().await;
    let before = sink.at("/in").len();
    for _ in 0..3 {
        host.kill9();
        host.restart().await;
        crate::shared::barrier(&host, &sink).await;
    }
    assert_eq!(sink.at("/in").len(), before);
    let states = crate::shared::deliveries(&host, &hook).await;
    assert!(states.iter().all(|delivery| delivery["state"] == "delivered"), "{states:?}");
}

#[tokio::test]
async fn large_events_survive_a_kill_byte_for_byte() {
    let (mut host, sink) = (Host::start().await, Sink::start().await);
    let hook = hook_with(&host, &sink, "shop", "/in", &json!({ "paused": true })).await;
    let sizes = [100, 4_000, 49_000, 200_000, 900_000];
    for size in sizes {
        emit(host.events(), "shop", "sold", &json!({ "size": size, "text": text(size) })).await;
    }
    host.kill9();
    host.restart().await;
    host.admin().patch(&format!("/event-hooks/{hook}"), &json!({ "paused": false })).await.expect(200);
    for got in sink.wait_for("/in", sizes.len()).await {
        let body = got.json();
        let size = usize::try_from(body["size"].as_u64().expect("a number")).expect("fits");
        assert!(body["text"] == text(size).as_str(), "the event of {size} bytes was changed on the way");
    }
}

/// Text of that length that does not compress to nothing.
fn text(bytes: usize) -> String {
    let mut state = 0x9e37_79b9_u64 ^ bytes as u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'a' + (state % 26) as u8)
    })
    .take(bytes)
    .collect()
}
