//! What receivers get, and how one hook's trouble stays its own.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use tenterhook_tests::{Host, Reply, Sink, eventually, fixtures};

use crate::shared::{barrier, created, deliveries, delivery_in, emit, hook_to, hook_with, id};

#[tokio::test]
async fn case_35_one_event_is_exactly_one_post() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    let body =
        json!({ "source": "crud", "event": "consumers", "handler": "webhook", "on_change": true, "config": { "url": sink.url("/in") } });
    created(host.admin().post("/event-hooks", &body).await);
    host.events().post("/events", &fixtures::consumer_event()).await.expect(202);
    sink.wait_for("/in", 1).await;
    barrier(&host, &sink).await;
    let got = sink.at("/in");
    assert_eq!((got.len(), got[0].json()), (1, fixtures::consumer_created_on_the_wire()));
}

#[tokio::test]
async fn a_signed_delivery_carries_both_signatures_over_the_bytes_sent() {
    use base64::Engine as _;
    let (host, sink) = (Host::start().await, Sink::start().await);
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    hook_with(&host, &sink, "shop", "/in", &json!({ "config": { "url": sink.url("/in"), "secret": secret } })).await;
    emit(host.events(), "shop", "sold", &json!({ "price": "3 €" })).await;
    let got = sink.wait_for("/in", 1).await[0].clone();
    // Kong's signature is keyed with the text, Standard Webhooks' with the decoded bytes.
    assert_eq!(got.header("x-kong-signature"), format!("sha256={}", fixtures::hmac_sha256_hex(secret.as_bytes(), &got.body)));
    let key = base64::prelude::BASE64_STANDARD.decode(&secret["whsec_".len()..]).expect("the secret is base64");
    let signed = [got.id().as_bytes(), b".", got.header("webhook-timestamp").as_bytes(), b".", &got.body].concat();
    let hex = fixtures::hmac_sha256_hex(&key, &signed);
    let raw: Vec<u8> = (0..32).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hex")).collect();
    assert_eq!(got.header("webhook-signature"), format!("v1,{}", base64::prelude::BASE64_STANDARD.encode(raw)));
}

#[tokio::test]
async fn case_40_without_a_secret_nothing_is_signed() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_to(&host, &sink, "shop", "/in").await;
    let event = emit(host.events(), "shop", "sold", &json!({})).await;
    let got = sink.wait_for("/in", 1).await[0].clone();
    for absent in ["x-kong-signature", "webhook-signature"] {
        assert!(!got.headers.contains_key(absent), "{absent}: {:?}", got.headers);
    }
    assert_eq!(got.id(), event);
    assert!(got.header("webhook-timestamp").parse::<u64>().is_ok_and(|at| at > 1_600_000_000), "{:?}", got.headers);
}

#[tokio::test]
async fn older_receivers_get_sha1_where_the_setting_says_so() {
    let (host, sink) = (Host::builder().config("[delivery]\nsignature = \"sha1\"\n").start().await, Sink::start().await);
    hook_with(&host, &sink, "some_source", "/in", &json!({ "config": { "url": sink.url("/in"), "secret": "hunter2" } })).await;
    emit(host.events(), "some_source", "some_event", &json!({ "some": "data" })).await;
    let got = sink.wait_for("/in", 1).await[0].clone();
    assert_eq!(got.json(), json!({ "event": "some_event", "some": "data", "source": "some_source" }));
    assert_eq!(got.header("x-kong-signature").len(), "sha1=".len() + 40);
    if got.body == r#"{"event":"some_event","some":"data","source":"some_source"}"# {
        assert_eq!(got.header("x-kong-signature"), "sha1=5735919d84815191abc598a3587f876a63931231");
    }
}

#[tokio::test]
async fn the_trace_of_the_request_goes_on_to_the_receiver() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_to(&host, &sink, "crud", "/in").await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let call = host.events().call(Method::POST, "/events").header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
    call.json(&fixtures::consumer_event()).send().await.expect(202);
    let got = sink.wait_for("/in", 1).await[0].clone();
    let parts: Vec<&str> = got.header("traceparent").split('-').collect();
    assert_eq!((parts.len(), parts.get(1)), (4, Some(&trace)), "{:?}", got.headers);
}

#[tokio::test]
async fn a_delivered_attempt_is_listed_with_its_figures() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    let hook = hook_to(&host, &sink, "shop", "/in").await;
    let event = emit(host.events(), "shop", "sold", &json!({})).await;
    let delivery = delivery_in(&host, &hook, "delivered", 1).await;
    assert!(delivery.to_string().contains(&event), "{delivery}");
    let attempt = &delivery["attempts"][0];
    assert_eq!((&attempt["number"], &attempt["status"]), (&json!(1), &json!(200)), "{attempt}");
    assert!(attempt.to_string().contains("fuel"), "{attempt}");
}

#[tokio::test]
async fn case_73_the_log_handler_writes_kongs_line() {
    let host = Host::start().await;
    created(host.admin().post("/event-hooks", &json!({ "source": "crud", "event": "consumers", "handler": "log" })).await);
    host.events().post("/events", &fixtures::consumer_event()).await.expect(202);
    let text = eventually("the log handler's line in the host's log", async || {
        let text = strings(&host.log().lines());
        text.contains("log callback: ").then_some(text)
    })
    .await;
    let at = |needle: &str| text.find(needle).unwrap_or_else(|| panic!("{needle} in {text}"));
    let order = [
        at("\"log callback: \" { \"consumers\", \"crud\", {"),
        at("entity = {"),
        at("username = \"my-consumer\""),
        at("operation = \"create\""),
        at("schema = \"consumers\""),
    ];
    assert!(order.is_sorted(), "{text}");
    assert!(text.contains("notice"), "{text}");
}

/// Every string in the JSON lines, line by line: what a person reads of them.
fn strings(lines: &[String]) -> String {
    fn collect(value: &Value, into: &mut String) {
        match value {
            Value::String(text) => {
                into.push_str(text);
                into.push('\n');
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, into)),
            Value::Object(members) => members.values().for_each(|member| collect(member, into)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let mut text = String::new();
    for line in lines {
        collect(&serde_json::from_str(line).unwrap_or(Value::Null), &mut text);
    }
    text
}

#[tokio::test]
async fn case_78_a_hanging_hook_does_not_slow_another() {
    slow_neighbour(Reply::hang()).await;
}

#[tokio::test]
async fn a_failing_hook_does_not_slow_another() {
    slow_neighbour(Reply::status(500)).await;
}

#[tokio::test]
async fn a_hook_whose_connections_are_refused_does_not_slow_another() {
    slow_neighbour(Reply::close()).await;
}

/// Two hooks hear the same events; one of them gets `trouble` for an answer. The other must not notice: its events, sent one after another,
/// each arrive at once.
async fn slow_neighbour(trouble: Reply) {
    const EVENTS: usize = 150;
    // Far below the 30 s that one hanging attempt takes, far above what a busy machine needs.
    const PROMPT: Duration = Duration::from_secs(5);
    let (host, sink) = (Host::start().await, Sink::start().await);
    sink.on("/trouble", trouble);
    hook_to(&host, &sink, "shop", "/trouble").await;
    hook_to(&host, &sink, "shop", "/healthy").await;
    let mut slowest = Duration::ZERO;
    for n in 0..EVENTS {
        let sent = Instant::now();
        emit(host.events(), "shop", "sold", &json!({ "n": n })).await;
        sink.wait_for("/healthy", n + 1).await;
        slowest = slowest.max(sent.elapsed());
    }
    assert!(slowest < PROMPT, "the healthy hook's slowest event took {slowest:?}");
    assert!(!sink.at("/trouble").is_empty(), "the other hook was tried");
}

#[tokio::test]
async fn deleting_a_hook_cancels_what_waits() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    sink.on("/in", Reply::status(500));
    let hook = hook_to(&host, &sink, "shop", "/in").await;
    emit(host.events(), "shop", "sold", &json!({})).await;
    delivery_in(&host, &hook, "retrying", 1).await;
    host.admin().delete(&format!("/event-hooks/{hook}")).await.expect(204);
    let before = sink.at("/in").len();
    host.advance(Duration::from_secs(100 * 3600)).await;
    barrier(&host, &sink).await;
    assert_eq!(sink.at("/in").len(), before, "nothing was attempted for a hook that is gone");
}

#[tokio::test]
async fn a_queued_delivery_uses_the_hook_as_it_is_when_the_attempt_starts() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    let hook = hook_with(&host, &sink, "shop", "/old", &json!({ "paused": true })).await;
    emit(host.events(), "shop", "sold", &json!({})).await;
    let change = json!({ "paused": false, "config": { "url": sink.url("/new") } });
    host.admin().patch(&format!("/event-hooks/{hook}"), &change).await.expect(200);
    sink.wait_for("/new", 1).await;
    assert_eq!(sink.at("/old").len(), 0);
}

#[tokio::test]
async fn the_list_of_deliveries_is_filtered_by_state_and_paged() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    sink.on_each("/in", |got, _| Reply::status(if got.json()["n"] == 0 { 500 } else { 200 }));
    let hook = hook_to(&host, &sink, "shop", "/in").await;
    for n in 0..5 {
        emit(host.events(), "shop", "sold", &json!({ "n": n })).await;
    }
    let count = async |query: &str| {
        let page = host.admin().get(&format!("/event-hooks/{hook}/deliveries?{query}")).await.expect(200).json();
        let rows = page["data"].as_array().expect("a list").iter().filter(|row| !crate::shared::is_ping(row)).count();
        (rows, page)
    };
    eventually("four delivered and one retrying", async || {
        (count("state=delivered").await.0 == 4 && count("state=retrying").await.0 == 1).then_some(())
    })
    .await;
    let (_, page) = count("size=2").await;
    assert_eq!(page["data"].as_array().map(Vec::len), Some(2));
    let offset = page["offset"].as_str().unwrap_or_else(|| panic!("an offset: {page}"));
    let second = host.admin().get(&format!("/event-hooks/{hook}/deliveries?size=2&offset={offset}")).await.expect(200).json();
    let first: Vec<String> = page["data"].as_array().expect("a list").iter().map(id).collect();
    assert!(second["data"].as_array().expect("a list").iter().all(|row| !first.contains(&id(row))), "{page} then {second}");
    assert!(deliveries(&host, &hook).await.len() >= 5);
}
