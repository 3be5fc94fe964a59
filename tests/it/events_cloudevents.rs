//! CloudEvents 1.0 in each mode, as producers' libraries send them.

use http::Method;
use serde_json::{Value, json};
use tenterhook_tests::{Host, Sink};

use crate::events::assert_error;
use crate::shared::{barrier, hook_to, hook_with, id};

fn cloud_event(id: &str, data: &Value) -> Value {
    json!({ "specversion": "1.0", "id": id, "source": "/shops/7", "type": "com.example.sold", "data": data })
}

async fn structured(host: &Host, event: &Value) -> tenterhook_tests::Answer {
    let call = host.events().call(Method::POST, "/events").body("application/cloudevents+json; charset=UTF-8", event.to_string());
    call.send().await
}

#[tokio::test]
async fn source_type_and_id_are_the_hooks_source_and_event_and_the_key() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_with(&host, &sink, "/shops/7", "/in", &json!({ "event": "com.example.sold" })).await;
    let first = structured(&host, &cloud_event("A-1", &json!({ "n": 1 }))).await.expect(202).json();
    assert_eq!((&first["events"][0]["key"], &first["events"][0]["deliveries"]), (&json!("A-1"), &json!(1)));
    let got = sink.wait_for("/in", 1).await;
    assert_eq!(got[0].json(), json!({ "n": 1, "source": "/shops/7", "event": "com.example.sold" }));
    let again = structured(&host, &cloud_event("A-1", &json!({ "n": 1 }))).await.expect(202).json();
    assert_eq!((&again["events"][0]["duplicate"], &again["events"][0]["id"]), (&json!(true), &first["events"][0]["id"]));
    structured(&host, &cloud_event("A-1", &json!({ "n": 2 }))).await.expect(409);
}

#[tokio::test]
async fn a_batch_is_all_or_nothing_and_may_be_empty() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_to(&host, &sink, "/shops/7", "/in").await;
    let post = async |batch: &Value| {
        host.events().call(Method::POST, "/events").body("application/cloudevents-batch+json", batch.to_string()).send().await
    };
    post(&json!([])).await.expect_json(202, &json!({ "events": [] }));
    let mut wrong = cloud_event("2", &json!(2));
    wrong["specversion"] = "0.3".into();
    let refused = post(&json!([cloud_event("1", &json!(1)), wrong])).await.expect(400);
    assert_error(&refused);
    assert_eq!(refused.json()["errors"][0]["index"], 1);
    let answer = post(&json!([cloud_event("1", &json!(1)), cloud_event("2", &json!(2))])).await.expect(202).json();
    assert_eq!(answer["events"].as_array().map(Vec::len), Some(2));
    assert!(answer["events"].as_array().is_some_and(|events| events.iter().all(|event| event["duplicate"] == false)), "{answer}");
    barrier(&host, &sink).await;
    assert_eq!(sink.at("/in").len(), 2);
}

#[tokio::test]
async fn binary_mode_reads_the_attributes_from_headers() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_to(&host, &sink, "urn:a b\"c%d:€", "/in").await;
    let post = async |content_type: &str, id: &str, body: &[u8]| {
        let call = host.events().call(Method::POST, "/events").header("ce-specversion", "1.0").header("ce-id", id);
        let call =
            call.header("ce-source", "urn:a%20b%22c%25d:%E2%82%AC").header("ce-type", "sold").header("ce-time", "2026-01-02T03:04:05Z");
        call.body(content_type, body.to_vec()).send().await
    };
    post("application/json", "1", b"{\"n\":1}").await.expect(202);
    post("application/octet-stream", "2", &[1, 2, 0xff]).await.expect(202);
    let got = sink.wait_for("/in", 2).await;
    let bodies: Vec<Value> = got.iter().map(tenterhook_tests::Received::json).collect();
    let names = json!({ "source": "urn:a b\"c%d:€", "event": "sold" });
    assert!(bodies.contains(&tenterhook_tests::fixtures::with(names.clone(), &json!({ "n": 1 }))), "{bodies:?}");
    assert!(bodies.contains(&tenterhook_tests::fixtures::with(names, &json!({ "data_base64": "AQL/" }))), "{bodies:?}");
    let wrong = host.events().call(Method::POST, "/events").header("ce-specversion", "1.0").header("ce-id", "%C0%A0");
    let answer = wrong.header("ce-source", "s").header("ce-type", "t").untyped("1").send().await.expect(400);
    assert!(answer.text().contains("ce-id"), "{}", answer.text());
}

/// CloudEvents' sources are one URI for each instance: hooks hear a prefix.
#[tokio::test]
async fn a_trailing_asterisk_hears_every_source_with_that_prefix() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_to(&host, &sink, "/shops/*", "/prefix").await;
    hook_with(&host, &sink, "/shops/7", "/typed", &json!({ "event": "com.example.*" })).await;
    hook_to(&host, &sink, "*", "/all").await;
    let mut events = Vec::new();
    for (source, kind) in [("/shops/7", "com.example.sold"), ("/shops/8", "com.example.sold"), ("/shop", "x"), ("/shops/7", "org.other")] {
        let event = json!({ "specversion": "1.0", "id": source, "source": source, "type": kind });
        let event = tenterhook_tests::fixtures::with(event, &json!({ "id": format!("{source}{kind}") }));
        events.push(id(&structured(&host, &event).await.expect(202).json()["events"][0]));
    }
    sink.wait_for("/all", 4).await;
    barrier(&host, &sink).await;
    let ids = |indexes: &[usize]| indexes.iter().map(|index| events[*index].clone()).collect::<std::collections::HashSet<_>>();
    assert_eq!(sink.unique_ids("/prefix"), ids(&[0, 1, 3]));
    assert_eq!(sink.unique_ids("/typed"), ids(&[0]));
}

#[tokio::test]
async fn a_sender_that_asks_for_consent_gets_it() {
    let host = Host::start().await;
    let call = host.events().call(Method::OPTIONS, "/events").header("webhook-request-origin", "sender.example");
    let answer = call.header("webhook-request-rate", "120").send().await.expect(204);
    assert_eq!((answer.header("webhook-allowed-origin"), answer.header("webhook-allowed-rate")), ("sender.example", "*"));
    let plain = host.events().call(Method::OPTIONS, "/events").send().await.expect(204);
    assert_eq!(plain.header("webhook-allowed-origin"), "");
}
