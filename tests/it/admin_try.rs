//! `/test` and `/ping`: a hook is tried while the operator waits.

use serde_json::{Value, json};
use tenterhook_tests::sink::closed_port;
use tenterhook_tests::{Host, Reply, Sink, fixtures};

use crate::shared::{created, hook_with, id};

const UNKNOWN: &str = "c57340ab-9fed-40fd-bb7e-1cef8d37c2df";

async fn hook_1(host: &Host, sink: &Sink) -> String {
    let hook = hook_with(host, sink, "crud", "/in", &json!({ "event": "consumers", "on_change": true })).await;
    sink.wait_for_pings("/in", 1).await;
    hook
}

#[tokio::test]
async fn case_53_test_runs_the_handler_and_shows_what_came_back() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    let hook = hook_1(&host, &sink).await;
    sink.on("/in", Reply::status(201).header("x-token-id", "t").body("thanks"));
    let body = json!({ "consumer": { "username": "Jane Austen" } });
    // Twice the same: neither on_change nor the queue is in the way.
    for n in 1..=2 {
        let answer = host.admin().post(&format!("/event-hooks/{hook}/test"), &body).await.expect(200).json();
        let data = json!({ "consumer": { "username": "Jane Austen" }, "event": "consumers", "source": "crud" });
        assert_eq!(answer["data"], data);
        assert_eq!((&answer["result"]["status"], &answer["result"]["body"]), (&json!(201), &json!("thanks")));
        let headers = answer["result"]["headers"].as_object().expect("headers are an object");
        let token = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-token-id"));
        assert_eq!(token.map(|(_, value)| value), Some(&json!("t")));
        assert_eq!(sink.wait_for("/in", n).await.last().expect("one").json(), data);
    }
}

#[tokio::test]
async fn a_test_shows_an_answer_that_is_no_success_too() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    let hook = hook_1(&host, &sink).await;
    sink.on("/in", Reply::status(500).body("no"));
    let answer = host.admin().post(&format!("/event-hooks/{hook}/test"), &json!({})).await.expect(200).json();
    assert_eq!((&answer["result"]["status"], &answer["result"]["body"]), (&json!(500), &json!("no")));
}

#[tokio::test]
async fn testing_a_log_hook_has_no_result() {
    let host = Host::start().await;
    let hook = created(host.admin().post("/event-hooks", &json!({ "source": "crud", "handler": "log" })).await);
    let answer = host.admin().post(&format!("/event-hooks/{}/test", id(&hook)), &json!({ "a": 1 })).await.expect(200).json();
    let members: Vec<&String> = answer.as_object().expect("an object").keys().collect();
    assert_eq!(members, ["data"], "{answer}");
    assert_eq!(answer["data"], json!({ "a": 1, "event": null, "source": "crud" }));
}

#[tokio::test]
async fn case_55_a_test_that_cannot_reach_the_sink_is_500_with_kongs_spelling() {
    let host = Host::start().await;
    let body = fixtures::webhook("crud", &format!("http://{}/", closed_port()));
    let hook = created(host.admin().post("/event-hooks", &body).await);
    let answer = host.admin().post(&format!("/event-hooks/{}/test", id(&hook)), &json!({})).await.expect(500).json();
    assert_eq!(answer["message"], "An unexpected error ocurred");
    assert!(answer["err"].as_str().is_some_and(|err| !err.is_empty()), "{answer}");
}

#[tokio::test]
async fn case_56_ping_sends_the_entity_with_its_nulls_and_no_operation() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    let hook = hook_1(&host, &sink).await;
    let answer = host.admin().get(&format!("/event-hooks/{hook}/ping")).await.expect(200);
    assert!(answer.body.is_empty(), "{}", answer.text());
    let pings: Vec<Value> = sink.wait_for_pings("/in", 2).await.iter().map(|ping| ping.json()).collect();
    let ping = pings.iter().find(|ping| ping.get("operation").is_none()).expect("a ping without operation");
    let entity = ping["event_hooks"].as_object().expect("an object");
    assert_eq!((&entity["id"], entity.get("snooze")), (&json!(hook), Some(&json!(null))));
    assert_eq!(entity["config"]["headers"], json!({ "content-type": "application/json" }));
}

#[tokio::test]
async fn a_ping_succeeds_with_any_answer_and_fails_without_one() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    let hook = hook_1(&host, &sink).await;
    sink.on_pings("/in", Reply::status(500));
    host.admin().get(&format!("/event-hooks/{hook}/ping")).await.expect(200);
    sink.on_pings("/in", Reply::close());
    let answer = host.admin().get(&format!("/event-hooks/{hook}/ping")).await.expect(400).json();
    assert!(answer["message"].as_str().is_some_and(|message| !message.is_empty()), "{answer}");
}

#[tokio::test]
async fn case_57_a_log_hook_cannot_be_pinged() {
    let host = Host::start().await;
    let hook = created(host.admin().post("/event-hooks", &json!({ "source": "crud", "handler": "log" })).await);
    let expected = json!({ "message": "handler 'log' does not support 'ping'" });
    host.admin().get(&format!("/event-hooks/{}/ping", id(&hook))).await.expect_json(400, &expected);
}

#[tokio::test]
async fn case_58_an_unknown_hook_can_be_neither_pinged_nor_tested() {
    let host = Host::start().await;
    let expected = json!({ "message": "Not found" });
    host.admin().get(&format!("/event-hooks/{UNKNOWN}/ping")).await.expect_json(404, &expected);
    host.admin().post(&format!("/event-hooks/{UNKNOWN}/test"), &json!({})).await.expect_json(404, &expected);
}
