//! Order: what `delivery.order` promises.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tenterhook_tests::{Host, Reply, Sink};

use crate::shared::{emit, hook_with};

fn numbers(sink: &Sink) -> Vec<i64> {
    sink.at("/in").iter().filter_map(|got| got.json()["n"].as_i64()).collect()
}

#[tokio::test]
async fn order_hook_is_strict_even_when_attempts_fail() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    // Every third request fails, so many an event is attempted twice; the next one must wait for it.
    sink.on_each("/in", |_, nth| Reply::status(if nth % 3 == 0 { 500 } else { 200 }));
    let more = json!({ "delivery": { "order": "hook", "retry": { "schedule_ms": [20, 20, 20, 20, 20, 20] } } });
    hook_with(&host, &sink, "shop", "/in", &more).await;
    for n in 0..30 {
        emit(host.events(), "shop", "sold", &json!({ "n": n })).await;
    }
    let last = |sink: &Sink| numbers(sink).iter().filter(|n| **n == 29).count();
    sink.wait_until("event 29", |sink| (last(sink) >= 1).then_some(())).await;
    let got = numbers(&sink);
    assert!(got.is_sorted(), "an event came before its predecessor was done: {got:?}");
    assert!(got.len() > 30, "some were attempted twice");
    let unique: std::collections::BTreeSet<i64> = got.into_iter().collect();
    assert_eq!(unique.len(), 30);
}

#[tokio::test]
async fn order_hook_goes_on_after_a_dead_letter() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    sink.on_each("/in", |got, _| Reply::status(if got.json()["n"] == 0 { 500 } else { 200 }));
    let more = json!({ "delivery": { "order": "hook", "retry": { "schedule_ms": [10, 10] } } });
    let hook = hook_with(&host, &sink, "shop", "/in", &more).await;
    for n in 0..3 {
        emit(host.events(), "shop", "sold", &json!({ "n": n })).await;
    }
    sink.wait_until("event 2", |sink| numbers(sink).contains(&2).then_some(())).await;
    assert_eq!(numbers(&sink), [0, 0, 0, 1, 2]);
    assert_eq!(crate::shared::dead_letters(&host, &hook).await.len(), 1);
}

#[tokio::test]
async fn order_none_lets_a_later_event_pass_a_failed_one() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    sink.on_each("/in", |got, _| Reply::status(if got.json()["n"] == 0 { 500 } else { 200 }));
    hook_with(&host, &sink, "shop", "/in", &json!({ "delivery": { "order": "none" } })).await;
    for n in 0..3 {
        emit(host.events(), "shop", "sold", &json!({ "n": n })).await;
    }
    sink.wait_until("events 1 and 2", |sink| (numbers(sink).contains(&1) && numbers(sink).contains(&2)).then_some(())).await;
}

#[tokio::test]
async fn a_hooks_attempts_in_flight_stay_within_its_concurrency() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    // An answer takes 30 ms; what arrived less than that ago is still in flight.
    let taken = Duration::from_millis(30);
    sink.on("/in", Reply::status(200).after(taken));
    hook_with(&host, &sink, "shop", "/in", &json!({ "delivery": { "concurrency": 3 } })).await;
    let events: Vec<Value> = (0..60).map(|n| json!({ "source": "shop", "event": "sold", "data": { "n": n } })).collect();
    host.events().post("/events", &json!(events)).await.expect(202);
    let got = sink.wait_for("/in", 60).await;
    let in_flight = |at: Instant| got.iter().filter(|other| other.at <= at && at.duration_since(other.at) < taken).count();
    let most = got.iter().map(|one| in_flight(one.at)).max().unwrap_or_default();
    assert!((1..=3).contains(&most), "{most} in flight at once");
}
