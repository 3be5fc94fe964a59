//! What was accepted: listed, shown with its decisions, explained, and reconciled with a producer.

use http::Method;
use serde_json::{Value, json};
use tenterhook_tests::{Host, Reply, Sink, eventually};

use crate::shared::{emit, hook_to, hook_with, id};

async fn explain(host: &Host, hook: &str, event: &Value) -> Value {
    host.admin().post(&format!("/event-hooks/{hook}/explain"), event).await.expect(200).json()
}

/// The steps that stop an event.
fn stops(explanation: &Value) -> Vec<&str> {
    let steps = explanation["steps"].as_array().expect("steps").iter();
    steps.filter(|step| step["passes"] == false).filter_map(|step| step["step"].as_str()).collect()
}

#[tokio::test]
async fn decisions_are_stored_with_the_event_and_survive_restarts() {
    let (mut host, sink) = (Host::start().await, Sink::start().await);
    let open = hook_to(&host, &sink, "shop", "/open").await;
    let snoozed = hook_with(&host, &sink, "shop", "/snoozed", &json!({ "snooze": 3600 })).await;
    let unchanged = hook_with(&host, &sink, "shop", "/unchanged", &json!({ "on_change": true })).await;
    let disabled = hook_with(&host, &sink, "shop", "/disabled", &json!({ "enabled": false })).await;
    let first = emit(host.events(), "shop", "sold", &json!({ "n": 1 })).await;
    let second = emit(host.events(), "shop", "sold", &json!({ "n": 1 })).await;
    sink.wait_for("/open", 2).await;
    sink.wait_for("/snoozed", 1).await;
    let check = async |host: &Host| {
        let told = host.admin().get(&format!("/events/{second}")).await.expect(200).json();
        assert_eq!((&told["id"], &told["data"], &told["source"]), (&json!(second), &json!({ "n": 1 }), &json!("shop")));
        assert_eq!(told["deliveries"].as_array().map(Vec::len), Some(1), "{told}");
        assert_eq!((&told["deliveries"][0]["hook_id"], &told["deliveries"][0]["state"]), (&json!(open), &json!("delivered")));
        let why = |hook: &str| {
            told["not_queued"].as_array().expect("a list").iter().find(|one| one["hook_id"] == hook).map(|one| one["why"].clone())
        };
        assert_eq!(
            (why(&snoozed), why(&unchanged), why(&disabled)),
            (Some(json!("snoozed")), Some(json!("unchanged")), Some(json!("disabled")))
        );
        let told = host.admin().get(&format!("/events/{first}")).await.expect(200).json();
        assert_eq!(told["deliveries"].as_array().map(Vec::len), Some(3), "{told}");
        let explained = explain(host, &snoozed, &json!({ "event_id": second })).await;
        assert_eq!((&explained["stored"]["decision"], stops(&explained)), (&json!("snoozed"), vec!["throttle"]), "{explained}");
        let explained = explain(host, &open, &json!({ "event_id": second })).await;
        assert_eq!(
            (&explained["stored"]["decision"], &explained["stored"]["deliveries"][0]["state"]),
            (&json!("queued"), &json!("delivered"))
        );
    };
    eventually("the delivery is settled", async || {
        let told = host.admin().get(&format!("/events/{second}")).await.expect(200).json();
        (told["deliveries"][0]["state"] == "delivered").then_some(())
    })
    .await;
    check(&host).await;
    host.restart().await;
    check(&host).await;
    host.kill9();
    host.restart().await;
    check(&host).await;
    host.admin().get("/events/evt_0190a0b0c0d07000800000000000000a").await.expect(404);
    host.admin().get("/events/nonsense").await.expect(404);
}

#[tokio::test]
async fn an_explanation_names_the_step_that_stops_an_event() {
    let (host, sink) = (Host::builder().config("[events]\nunregistered = \"refuse\"\n").start().await, Sink::start().await);
    let hook = hook_with(&host, &sink, "crud", "/in", &json!({ "event": "consumers*" })).await;
    let event = |source: &str, name: &str| json!({ "source": source, "event": name, "data": { "a": 1 } });
    let fine = explain(&host, &hook, &event("crud", "consumers")).await;
    assert_eq!((stops(&fine), &fine["fires"], &fine["queued"]), (vec![], &json!(true), &json!(true)), "{fine}");
    assert_eq!(stops(&explain(&host, &hook, &event("crud", "routes")).await), ["event"]);
    assert_eq!(stops(&explain(&host, &hook, &event("dog", "consumers")).await), ["registered", "source"]);
    host.admin().patch(&format!("/event-hooks/{hook}"), &json!({ "paused": true })).await.expect(200);
    let paused = explain(&host, &hook, &event("crud", "consumers")).await;
    assert_eq!((stops(&paused), &paused["fires"], &paused["queued"]), (vec!["paused"], &json!(false), &json!(true)), "{paused}");
    host.admin().patch(&format!("/event-hooks/{hook}"), &json!({ "paused": false, "enabled": false })).await.expect(200);
    let disabled = explain(&host, &hook, &event("crud", "consumers")).await;
    assert_eq!((stops(&disabled), &disabled["queued"]), (vec!["enabled"], &json!(false)));
    let filtered = json!({ "enabled": true, "filter": "data.a == 2" });
    host.admin().patch(&format!("/event-hooks/{hook}"), &filtered).await.expect(200);
    assert_eq!(stops(&explain(&host, &hook, &event("crud", "consumers")).await), ["filter"]);
    let path = format!("/event-hooks/{hook}/explain");
    host.admin().post(&path, &json!({ "event": "consumers" })).await.expect(400);
    host.admin().post(&path, &json!({ "event_id": "evt_1", "data": 1 })).await.expect(400);
    host.admin().post(&path, &json!({ "event_id": "evt_1" })).await.expect(404);
    assert!(sink.at("/in").is_empty(), "explaining delivers nothing");
}

#[tokio::test]
async fn events_are_listed_newest_first_in_pages_and_by_filter() {
    let (host, _sink) = (Host::start().await, Sink::start().await);
    let mut ids = Vec::new();
    for n in 0..25 {
        ids.push(emit(host.events(), if n % 5 == 0 { "bank" } else { "shop" }, "sold", &json!({ "n": n })).await);
    }
    ids.reverse();
    let (mut listed, mut path) = (Vec::new(), "/events?size=7".to_owned());
    loop {
        let page = host.admin().get(&path).await.expect(200).json();
        let data = page["data"].as_array().expect("a list");
        assert!(data.len() <= 7 && data.iter().all(|event| event.get("data").is_none()), "{page}");
        listed.extend(data.iter().map(id));
        let Some(next) = page["next"].as_str() else { break };
        path = next.to_owned();
    }
    assert_eq!(listed, ids);
    let bank = host.admin().get("/events?source=bank&event=sold").await.expect(200).json();
    assert_eq!(bank["data"].as_array().map(Vec::len), Some(5));
    let none = host.admin().get("/events?to=2020-01-01T00:00:00Z").await.expect(200).json();
    assert_eq!(none["data"], json!([]));
    host.admin().get("/events?offset=nonsense").await.expect(400);
}

#[tokio::test]
async fn a_producer_reconciles_what_became_of_its_events() {
    let (mut host, sink) = (Host::start().await, Sink::start().await);
    sink.on("/dead", Reply::status(500));
    hook_to(&host, &sink, "good", "/in").await;
    hook_with(&host, &sink, "dead", "/dead", &json!({ "delivery": { "retry": { "schedule_ms": [] } } })).await;
    hook_with(&host, &sink, "slow", "/in", &json!({ "paused": true })).await;
    let mut ids = Vec::new();
    for source in ["good", "dead", "slow", "unheard"] {
        ids.push(emit(host.events(), source, "sold", &json!({})).await);
    }
    ids.push("evt_0190a0b0c0d07000800000000000000a".into());
    ids.push("nonsense".into());
    let expected = ["delivered", "exhausted", "pending", "suppressed", "unknown", "unknown"];
    let ask = async |host: &Host| {
        let answer = host.events().post("/events/reconcile", &json!({ "ids": ids })).await.expect(200).json();
        let events = answer["events"].as_array().expect("a list").clone();
        assert!(events.iter().zip(&ids).all(|(event, id)| event["id"] == id.as_str()), "in the order of the question: {answer}");
        events.iter().map(|event| event["state"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    eventually("all is settled", async || (ask(&host).await == expected).then_some(())).await;
    host.restart().await;
    assert_eq!(ask(&host).await, expected);
    let many: Vec<String> = vec![ids[0].clone(); 10_001];
    host.events().post("/events/reconcile", &json!({ "ids": many })).await.expect(413);
    let wrong = host.events().post("/events/reconcile", &json!({ "id": [] })).await.expect(400);
    assert!(wrong.text().contains("ids"), "{}", wrong.text());
    host.events().call(Method::POST, "/events/reconcile").untyped("{}").send().await.expect(415);
}

#[tokio::test]
async fn ten_thousand_ids_are_reconciled_at_once() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_to(&host, &sink, "shop", "/in").await;
    hook_with(&host, &sink, "slow", "/slow", &json!({ "paused": true })).await;
    let source = |n: usize| if n.is_multiple_of(20) { "shop" } else { "slow" };
    let batch: Value = (0..10_000).map(|n| json!({ "source": source(n), "event": "sold", "data": n })).collect();
    let answer = host.events().post("/events", &batch).await.expect(202).json();
    let ids: Vec<String> = answer["events"].as_array().expect("a list").iter().map(id).collect();
    sink.wait_for("/in", 500).await;
    eventually("every one is told", async || {
        let answer = host.events().post("/events/reconcile", &json!({ "ids": ids })).await.expect(200).json();
        let all = answer["events"].as_array().expect("a list").clone();
        let expected = |n: usize| if source(n) == "shop" { "delivered" } else { "pending" };
        all.iter().enumerate().all(|(n, event)| event["state"] == expected(n)).then_some(())
    })
    .await;
}
