//! What an operator does about deliveries: retry, cancel, bulk work as jobs, replay, purge.

use std::collections::HashSet;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tenterhook_tests::{Answer, Host, Reply, Sink, eventually};

use crate::shared::{barrier, dead_letters, deliveries, delivery_in, emit, hook_to, hook_with, id};

/// One attempt, and then a dead letter.
fn one_try() -> Value {
    json!({ "delivery": { "retry": { "schedule_ms": [] } } })
}

/// Waits for the end of a job that an answer named; gives it.
pub(crate) async fn job_ended(host: &Host, answer: Answer) -> Value {
    let job = id(&answer.expect(202).json());
    eventually("the job ends", async || {
        let job = host.admin().get(&format!("/jobs/{job}")).await.expect(200).json();
        (job["state"] != "running").then_some(job)
    })
    .await
}

async fn dead(host: &Host, hook: &str, n: usize) -> Vec<Value> {
    eventually(&format!("{n} dead letters"), async || Some(dead_letters(host, hook).await).filter(|all| all.len() == n)).await
}

#[tokio::test]
async fn a_dead_letter_is_retried_as_a_new_delivery() {
    let (mut host, sink) = (Host::start().await, Sink::start().await);
    sink.on_each("/in", |_, nth| Reply::status(if nth == 1 { 500 } else { 200 }));
    let hook = hook_with(&host, &sink, "shop", "/in", &one_try()).await;
    let event = emit(host.events(), "shop", "sold", &json!({ "n": 1 })).await;
    let letter = id(&dead(&host, &hook, 1).await[0]);
    let queued = host.admin().post(&format!("/deliveries/{letter}/retry"), &json!({})).await.expect(202).json();
    assert_ne!(id(&queued), letter, "a new delivery");
    let got = sink.wait_for("/in", 2).await;
    assert_eq!((got[1].id(), got[1].json()["n"].as_i64()), (event.as_str(), Some(1)), "the same event");
    dead(&host, &hook, 0).await;
    host.restart().await;
    let all = deliveries(&host, &hook).await;
    let states: HashSet<&str> =
        all.iter().filter(|one| one["event_id"] == event.as_str()).filter_map(|one| one["state"].as_str()).collect();
    assert!(states.contains("delivered"), "{all:?}");
    assert!(dead_letters(&host, &hook).await.is_empty(), "it stays removed across a restart");
}

#[tokio::test]
async fn a_delivery_between_attempts_is_due_at_once_when_it_is_retried() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    sink.on_each("/in", |_, nth| Reply::status(if nth == 1 { 500 } else { 200 }));
    let day = json!({ "delivery": { "retry": { "schedule_ms": [86_400_000] } } });
    let hook = hook_with(&host, &sink, "shop", "/in", &day).await;
    emit(host.events(), "shop", "sold", &json!({})).await;
    let waiting = id(&delivery_in(&host, &hook, "retrying", 1).await);
    let queued = host.admin().post(&format!("/deliveries/{waiting}/retry"), &json!({})).await.expect(202).json();
    assert_eq!(id(&queued), waiting, "the same delivery");
    let done = delivery_in(&host, &hook, "delivered", 2).await;
    assert_eq!(id(&done), waiting);
    // What is delivered may be sent once more, as a delivery of its own.
    host.admin().post(&format!("/deliveries/{waiting}/retry"), &json!({})).await.expect(202);
    sink.wait_for("/in", 3).await;
    assert_eq!(sink.unique_ids("/in").len(), 1);
}

#[tokio::test]
async fn a_canceled_delivery_is_not_attempted_and_says_so_after_a_restart() {
    let (mut host, sink) = (Host::start().await, Sink::start().await);
    let hook = hook_with(&host, &sink, "shop", "/in", &json!({ "paused": true })).await;
    emit(host.events(), "shop", "sold", &json!({ "n": 1 })).await;
    emit(host.events(), "shop", "sold", &json!({ "n": 2 })).await;
    let all: Vec<Value> = deliveries(&host, &hook).await.into_iter().filter(|one| one["event"] == "sold").collect();
    let first = id(all.last().expect("two deliveries"));
    host.admin().post(&format!("/deliveries/{first}/retry"), &json!({})).await.expect(409);
    let canceled = host.admin().post(&format!("/deliveries/{first}/cancel"), &json!({})).await.expect(200).json();
    assert_eq!(canceled["state"], "canceled");
    let again = host.admin().post(&format!("/deliveries/{first}/cancel"), &json!({})).await.expect(409).json();
    assert!(again["message"].as_str().is_some_and(|message| message.contains("canceled")), "{again}");
    host.restart().await;
    assert_eq!(host.admin().get(&format!("/deliveries/{first}")).await.expect(200).json()["state"], "canceled");
    host.admin().patch(&format!("/event-hooks/{hook}"), &json!({ "paused": false })).await.expect(200);
    assert_eq!(sink.wait_for("/in", 1).await[0].json()["n"], 2);
    barrier(&host, &sink).await;
    assert_eq!(sink.at("/in").len(), 1);
    host.admin().post("/deliveries/dlv_0000000001000000010000/cancel", &json!({})).await;
    host.admin().post("/deliveries/nonsense/retry", &json!({})).await.expect(404);
}

#[tokio::test]
async fn dead_letters_are_retried_in_bulk_by_filter() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    let broken = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    for path in ["/a", "/b"] {
        let broken = broken.clone();
        sink.on_each(path, move |_, _| Reply::status(if broken.load(std::sync::atomic::Ordering::SeqCst) { 500 } else { 200 }));
    }
    let a = hook_with(&host, &sink, "shop", "/a", &one_try()).await;
    let b = hook_with(&host, &sink, "bank", "/b", &one_try()).await;
    let batch =
        |source: &str, n: usize| -> Value { (0..n).map(|n| json!({ "source": source, "event": "sold", "data": { "n": n } })).collect() };
    host.events().post("/events", &batch("shop", 700)).await.expect(202);
    host.events().post("/events", &batch("bank", 20)).await.expect(202);
    eventually("all are dead letters", async || {
        let count = host.admin().post("/dead-letters/retry", &json!({ "all": true, "dry_run": true })).await.expect(200).json();
        (count["count"] == 720).then_some(())
    })
    .await;
    let refused = host.admin().post("/dead-letters/retry", &json!({})).await.expect(400);
    assert!(refused.text().contains("all"), "{}", refused.text());
    let unknown = host.admin().post("/dead-letters/retry", &json!({ "hook": a, "sorce": "x" })).await.expect(400);
    assert!(unknown.text().contains("sorce"), "{}", unknown.text());
    for (filter, count) in [(json!({ "hook": b }), 20), (json!({ "source": "shop" }), 700), (json!({ "kind": "quarantined" }), 0)] {
        let dry = tenterhook_tests::fixtures::with(filter.clone(), &json!({ "dry_run": true }));
        host.admin().post("/dead-letters/retry", &dry).await.expect_json(200, &json!({ "count": count }));
    }
    let code = dead_letters(&host, &b).await[0]["attempt"]["failure"]["code"].as_str().expect("a code").to_owned();
    let dry = json!({ "hook": b, "code": code, "dry_run": true });
    host.admin().post("/dead-letters/retry", &dry).await.expect_json(200, &json!({ "count": 20 }));
    broken.store(false, std::sync::atomic::Ordering::SeqCst);
    let job = job_ended(&host, host.admin().post("/dead-letters/retry", &json!({ "source": "shop" })).await).await;
    assert_eq!((&job["state"], &job["done"], &job["kind"]), (&json!("done"), &json!(700), &json!("dead-letters-retry")));
    sink.wait_for("/a", 1_400).await;
    assert_eq!(sink.unique_ids("/a").len(), 700);
    assert_eq!((dead(&host, &a, 0).await.len(), dead(&host, &b, 20).await.len()), (0, 20), "others stay");
    let listed = host.admin().get("/jobs").await.expect(200).json();
    assert_eq!(listed["data"][0]["id"], job["id"]);
}

#[tokio::test]
async fn dead_letters_are_purged_for_good() {
    let (mut host, sink) = (Host::start().await, Sink::start().await);
    sink.on("/in", Reply::status(500));
    let hook = hook_with(&host, &sink, "shop", "/in", &one_try()).await;
    for n in 0..5 {
        emit(host.events(), "shop", "sold", &json!({ "n": n })).await;
    }
    dead(&host, &hook, 5).await;
    host.admin().delete("/dead-letters").await.expect(400);
    let job = job_ended(&host, host.admin().delete(&format!("/dead-letters?hook={hook}")).await).await;
    assert_eq!((&job["state"], &job["done"]), (&json!("done"), &json!(5)));
    host.restart().await;
    assert!(dead_letters(&host, &hook).await.is_empty());
    barrier(&host, &sink).await;
    assert_eq!(sink.at("/in").len(), 5, "nothing was attempted again");
}

#[tokio::test]
async fn retained_events_are_replayed_by_time_and_go_last() {
    let (mut host, sink) = (Host::start().await, Sink::start().await);
    let hook = hook_to(&host, &sink, "shop", "/in").await;
    for n in 0..3 {
        emit(host.events(), "shop", "sold", &json!({ "n": n })).await;
    }
    sink.wait_for("/in", 3).await;
    let middle = host.advance(Duration::from_secs(3600)).await;
    for n in 3..5 {
        emit(host.events(), "shop", "sold", &json!({ "n": n })).await;
    }
    emit(host.events(), "bank", "paid", &json!({})).await;
    sink.wait_for("/in", 5).await;
    host.admin().post(&format!("/event-hooks/{hook}/replay"), &json!({})).await.expect(400);
    host.admin().post(&format!("/event-hooks/{hook}/replay"), &json!({ "from": "yesterday" })).await.expect(400);
    let count = |range: Value| async {
        let range = tenterhook_tests::fixtures::with(range, &json!({ "dry_run": true }));
        host.admin().post(&format!("/event-hooks/{hook}/replay"), &range).await.expect(200).json()["count"].clone()
    };
    assert_eq!(count(json!({ "to": middle })).await, 3);
    assert_eq!(count(json!({ "from": middle })).await, 2);
    assert_eq!(count(json!({ "all": true })).await, 5);
    assert_eq!(count(json!({ "all": true, "only": "missing" })).await, 0);
    let replay = host.admin().post(&format!("/event-hooks/{hook}/replay"), &json!({ "to": middle })).await;
    let job = job_ended(&host, replay).await;
    assert_eq!((&job["state"], &job["done"]), (&json!("done"), &json!(3)), "{job}");
    let got = sink.wait_for("/in", 8).await;
    assert_eq!(sink.unique_ids("/in").len(), 5, "a replay is the same event");
    let replayed: HashSet<i64> = got[5..].iter().filter_map(|got| got.json()["n"].as_i64()).collect();
    assert_eq!(replayed, HashSet::from([0, 1, 2]));
    // A second replay after a restart makes deliveries of their own again.
    eventually("the replay is settled", async || {
        let all = deliveries(&host, &hook).await;
        all.iter().all(|one| one["state"] == "delivered").then_some(())
    })
    .await;
    host.restart().await;
    job_ended(&host, host.admin().post(&format!("/event-hooks/{hook}/replay"), &json!({ "to": middle })).await).await;
    sink.wait_for("/in", 11).await;
    assert_eq!(deliveries(&host, &hook).await.iter().filter(|one| one["event"] == "sold").count(), 11);
}

#[tokio::test]
async fn what_matched_and_was_never_attempted_is_replayed_as_missing() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    let hook = hook_to(&host, &sink, "shop", "/in").await;
    emit(host.events(), "shop", "sold", &json!({ "n": 0 })).await;
    sink.wait_for("/in", 1).await;
    let set = async |change: Value| drop(host.admin().patch(&format!("/event-hooks/{hook}"), &change).await.expect(200));
    set(json!({ "enabled": false })).await;
    let disabled = emit(host.events(), "shop", "sold", &json!({ "n": 1 })).await;
    set(json!({ "enabled": true, "paused": true })).await;
    emit(host.events(), "shop", "sold", &json!({ "n": 2 })).await;
    let waiting: Vec<Value> =
        deliveries(&host, &hook).await.into_iter().filter(|one| one["state"] == "queued" && one["event"] == "sold").collect();
    host.admin().post(&format!("/deliveries/{}/cancel", id(&waiting[0])), &json!({})).await.expect(200);
    set(json!({ "paused": false })).await;
    let job =
        job_ended(&host, host.admin().post(&format!("/event-hooks/{hook}/replay"), &json!({ "all": true, "only": "missing" })).await).await;
    assert_eq!((&job["state"], &job["done"]), (&json!("done"), &json!(2)), "{job}");
    sink.wait_for("/in", 3).await;
    let told = host.admin().get(&format!("/events/{disabled}")).await.expect(200).json();
    assert_eq!(told["not_queued"][0]["why"], "disabled", "{told}");
    assert_eq!(told["deliveries"][0]["hook_id"], hook.as_str(), "{told}");
}

#[tokio::test]
async fn a_job_can_be_canceled_and_only_so_many_run() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    let hook = hook_with(&host, &sink, "shop", "/in", &json!({ "paused": true })).await;
    let batch: Value = (0..10_000).map(|n| json!({ "source": "shop", "event": "sold", "data": n })).collect();
    host.events().post("/events", &batch).await.expect(202);
    // The hook is owed as much as a replay lets wait, so these jobs wait.
    let replay = async || host.admin().post(&format!("/event-hooks/{hook}/replay"), &json!({ "all": true })).await;
    let mut jobs = Vec::new();
    for _ in 0..4 {
        jobs.push(id(&replay().await.expect(202).json()));
    }
    let refused = replay().await.expect(503);
    assert!(refused.text().contains("jobs run already") && !refused.header("retry-after").is_empty(), "{}", refused.text());
    for job in &jobs {
        host.admin().call(Method::DELETE, &format!("/jobs/{job}")).send().await.expect(202);
    }
    for job in &jobs {
        let ended = eventually("it ends", async || {
            let job = host.admin().get(&format!("/jobs/{job}")).await.expect(200).json();
            (job["state"] != "running").then_some(job)
        });
        assert_eq!(ended.await["state"], "canceled");
    }
    host.admin().get("/jobs/job_nope").await.expect(404);
}
