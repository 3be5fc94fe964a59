//! `snooze` and `on_change`. The numbers are the acceptance cases'.

use std::time::Duration;

use serde_json::{Value, json};
use tenterhook_tests::{Host, Sink};

use crate::shared::{barrier, emit, hook_with};

async fn delivered(sink: &Sink) -> Vec<Value> {
    let mut got: Vec<Value> = sink.at("/in").iter().map(|got| got.json()["n"].clone()).collect();
    got.sort_by_key(Value::as_i64);
    got
}

async fn sold(host: &Host, data: &Value) {
    emit(host.events(), "shop", "sold", data).await;
}

#[tokio::test]
async fn case_59_on_change_delivers_what_differs_from_the_last() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_with(&host, &sink, "shop", "/in", &json!({ "on_change": true })).await;
    for n in [1, 1, 2, 2, 1] {
        sold(&host, &json!({ "n": n })).await;
    }
    sink.wait_for("/in", 3).await;
    barrier(&host, &sink).await;
    assert_eq!(delivered(&sink).await, [1, 1, 2]);
}

#[tokio::test]
async fn case_60_snooze_holds_back_for_its_seconds_and_arms_again() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_with(&host, &sink, "shop", "/in", &json!({ "snooze": 60 })).await;
    let mut clock = 0;
    for (n, at) in [0, 0, 50, 70, 100, 131].into_iter().enumerate() {
        host.advance(Duration::from_secs(at - clock)).await;
        clock = at;
        sold(&host, &json!({ "n": n })).await;
    }
    sink.wait_for("/in", 3).await;
    barrier(&host, &sink).await;
    assert_eq!(delivered(&sink).await, [0, 3, 5], "sent at 0, 70 and 131 s");
}

#[tokio::test]
async fn snooze_with_on_change_holds_back_each_content_alone() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_with(&host, &sink, "shop", "/in", &json!({ "snooze": 60, "on_change": true })).await;
    for n in [1, 2, 1, 2] {
        sold(&host, &json!({ "n": n })).await;
    }
    host.advance(Duration::from_secs(61)).await;
    sold(&host, &json!({ "n": 1 })).await;
    sink.wait_for("/in", 3).await;
    barrier(&host, &sink).await;
    assert_eq!(delivered(&sink).await, [1, 1, 2]);
}

#[tokio::test]
async fn snooze_counts_each_event_name_alone() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_with(&host, &sink, "shop", "/in", &json!({ "snooze": 60 })).await;
    for name in ["sold", "bought", "sold"] {
        emit(host.events(), "shop", name, &json!({ "n": 1 })).await;
    }
    sink.wait_for("/in", 2).await;
    barrier(&host, &sink).await;
    assert_eq!(sink.at("/in").len(), 2);
}

#[tokio::test]
async fn case_76_snooze_0_is_off() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_with(&host, &sink, "shop", "/in", &json!({ "snooze": 0 })).await;
    for _ in 0..2 {
        sold(&host, &json!({ "n": 1 })).await;
    }
    sink.wait_for("/in", 2).await;
}

#[tokio::test]
async fn on_change_looks_at_the_registered_unique_fields_alone() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    host.admin().put("/event-hooks/sources/shop/sold", &json!({ "unique": ["item"] })).await.expect(201);
    hook_with(&host, &sink, "shop", "/in", &json!({ "on_change": true })).await;
    for (n, item) in [(1, "a"), (2, "a"), (3, "b")] {
        sold(&host, &json!({ "n": n, "item": item })).await;
    }
    sink.wait_for("/in", 2).await;
    barrier(&host, &sink).await;
    assert_eq!(delivered(&sink).await, [1, 3]);
}

#[tokio::test]
async fn throttle_memory_outlives_a_restart_and_ends_with_a_change_of_the_hook() {
    let (mut host, sink) = (Host::start().await, Sink::start().await);
    let hook = hook_with(&host, &sink, "shop", "/in", &json!({ "on_change": true })).await;
    sold(&host, &json!({ "n": 1 })).await;
    sink.wait_for("/in", 1).await;
    host.restart().await;
    sold(&host, &json!({ "n": 1 })).await;
    barrier(&host, &sink).await;
    assert_eq!(sink.at("/in").len(), 1, "remembered");
    host.admin().patch(&format!("/event-hooks/{hook}"), &json!({ "event": null })).await.expect(200);
    sold(&host, &json!({ "n": 1 })).await;
    sink.wait_for("/in", 2).await;
}
