//! The events door's limits: each is named in the refusal, with its setting.

use http::Method;
use serde_json::{Value, json};
use tenterhook_tests::{Answer, Host};

use crate::events::assert_error;

#[track_caller]
fn assert_names(answer: &Answer, setting: &str) {
    assert_error(answer);
    let message = answer.json()["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains(setting), "{setting} in {message}");
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let host = Host::builder().config("[events]\nmax_body = 65536\n").start().await;
    let body = json!([{ "source": "s", "event": "e", "data": "x".repeat(70_000) }]).to_string();
    let answer = host.events().call(Method::POST, "/events").body("application/json", body).send().await.expect(413);
    assert_names(&answer, "max_body");
    // Refused by its announced length while the client is still writing: the answer arrives, and not a reset.
    for _ in 0..20 {
        let body = "x".repeat(8 << 20);
        host.events().call(Method::POST, "/events").body("application/json", body).send().await.expect(413);
    }
    host.events().post("/events", &json!({ "source": "s", "event": "e", "data": "x".repeat(60_000) })).await.expect(202);
}

#[tokio::test]
async fn an_event_over_a_mebibyte_is_413() {
    let host = Host::start().await;
    let event = |bytes: usize| json!({ "source": "s", "event": "e", "data": "x".repeat(bytes) });
    assert_names(&host.events().post("/events", &event(1_100_000)).await.expect(413), "max_event");
    host.events().post("/events", &event(1_000_000)).await.expect(202);
    // Eight of them fill a body; the limit counts each event alone.
    let many: Vec<Value> = (0..7).map(|_| event(1_000_000)).collect();
    host.events().post("/events", &json!(many)).await.expect(202);
}

#[tokio::test]
async fn more_events_than_a_batch_may_hold_are_413() {
    let host = Host::start().await;
    let batch = |n: usize| Value::Array(vec![json!({ "source": "s", "event": "e" }); n]);
    assert_names(&host.events().post("/events", &batch(10_001)).await.expect(413), "max_batch");
    let answer = host.events().post("/events", &batch(10_000)).await.expect(202).json();
    assert_eq!(answer["events"].as_array().map(Vec::len), Some(10_000));
}
