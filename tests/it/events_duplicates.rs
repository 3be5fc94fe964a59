//! Keys: the same event sent again is accepted once, across requests that run at the same time, restarts and kills.

use http::Method;
use serde_json::{Value, json};
use tenterhook_tests::{Host, Sink};

use crate::events::assert_error;
use crate::shared::{barrier, hook_to, id};

fn keyed(key: &str, n: u64) -> Value {
    json!({ "source": "shop", "event": "sold", "data": { "n": n }, "key": key })
}

#[tokio::test]
async fn a_key_seen_before_is_answered_with_the_first_id_and_not_delivered_again() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_to(&host, &sink, "shop", "/in").await;
    let first = host.events().post("/events", &keyed("a", 1)).await.expect(202).json();
    let again = host.events().post("/events", &keyed("a", 1)).await.expect(202).json();
    assert_eq!((&first["events"][0]["duplicate"], &again["events"][0]["duplicate"]), (&json!(false), &json!(true)));
    assert_eq!((&again["events"][0]["id"], &again["events"][0]["key"]), (&first["events"][0]["id"], &json!("a")));
    barrier(&host, &sink).await;
    assert_eq!(sink.at("/in").len(), 1);
}

#[tokio::test]
async fn a_key_is_the_sources_own() {
    let host = Host::start().await;
    for source in ["shop", "bank"] {
        let mut event = keyed("a", 1);
        event["source"] = source.into();
        let answer = host.events().post("/events", &event).await.expect(202).json();
        assert_eq!(answer["events"][0]["duplicate"], false, "{source}");
    }
}

#[tokio::test]
async fn a_key_used_with_other_content_is_409_and_nothing_is_accepted() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_to(&host, &sink, "shop", "/in").await;
    host.events().post("/events", &keyed("a", 1)).await.expect(202);
    let conflict = host.events().post("/events", &json!([keyed("b", 2), keyed("a", 3)])).await.expect(409);
    assert_error(&conflict);
    let answer = host.events().post("/events", &keyed("b", 2)).await.expect(202).json();
    assert_eq!(answer["events"][0]["duplicate"], false, "the refused request remembered nothing");
    barrier(&host, &sink).await;
    assert_eq!(sink.at("/in").len(), 2);
}

#[tokio::test]
async fn same_content_is_the_same_json_value_and_time_does_not_count() {
    let host = Host::start().await;
    let post = async |body: &str| {
        let call = host.events().call(Method::POST, "/events").body("application/json", body.to_owned());
        call.send().await.expect(202).json()["events"][0]["duplicate"].clone()
    };
    assert_eq!(post(r#"{"source":"s","event":"e","key":"k","data":{"a":1,"b":[2]}}"#).await, false);
    assert_eq!(post(r#"{"source":"s","event":"e","key":"k","data":{ "b": [2], "a": 1 },"time":"2020-01-01T00:00:00Z"}"#).await, true);
}

#[tokio::test]
async fn a_key_twice_in_one_request_is_one_event() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_to(&host, &sink, "shop", "/in").await;
    let answer = host.events().post("/events", &json!([keyed("a", 1), keyed("a", 1)])).await.expect(202).json();
    assert_eq!((&answer["events"][0]["duplicate"], &answer["events"][1]["duplicate"]), (&json!(false), &json!(true)));
    assert_eq!(id(&answer["events"][0]), id(&answer["events"][1]));
    host.events().post("/events", &json!([keyed("c", 1), keyed("c", 2)])).await.expect(409);
    barrier(&host, &sink).await;
    assert_eq!(sink.at("/in").len(), 1);
}

#[tokio::test]
async fn of_requests_with_one_key_at_the_same_time_exactly_one_is_first() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_to(&host, &sink, "shop", "/in").await;
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let events = host.events().clone();
        requests.spawn(async move { events.post("/events", &keyed("a", 1)).await.expect(202).json()["events"][0].clone() });
    }
    let answers = requests.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer["duplicate"] == false).count(), 1, "{answers:?}");
    assert!(answers.iter().all(|answer| answer["id"] == answers[0]["id"]), "{answers:?}");
    barrier(&host, &sink).await;
    assert_eq!(sink.at("/in").len(), 1);
}

#[tokio::test]
async fn keys_are_remembered_across_a_restart_and_a_kill() {
    let (mut host, sink) = (Host::start().await, Sink::start().await);
    hook_to(&host, &sink, "shop", "/in").await;
    let first = host.events().post("/events", &keyed("a", 1)).await.expect(202).json();
    sink.wait_for("/in", 1).await;
    host.restart().await;
    let stopped = host.events().post("/events", &keyed("a", 1)).await.expect(202).json();
    host.kill9();
    host.restart().await;
    let killed = host.events().post("/events", &keyed("a", 1)).await.expect(202).json();
    for again in [stopped, killed] {
        assert_eq!((&again["events"][0]["duplicate"], &again["events"][0]["id"]), (&json!(true), &first["events"][0]["id"]));
    }
    host.events().post("/events", &keyed("a", 2)).await.expect(409);
    // The kill may repeat an attempt that was not settled on disk; it must not make a second event.
    barrier(&host, &sink).await;
    assert_eq!(sink.unique_ids("/in").len(), 1);
}

#[tokio::test]
async fn a_key_is_forgotten_after_a_day() {
    let host = Host::start().await;
    host.events().post("/events", &keyed("a", 1)).await.expect(202);
    host.advance(std::time::Duration::from_secs(23 * 3600)).await;
    assert_eq!(host.events().post("/events", &keyed("a", 1)).await.expect(202).json()["events"][0]["duplicate"], true);
    // Forgetting goes by whole sorted files, so a key may live longer than a day, but not two more.
    host.advance(std::time::Duration::from_secs(49 * 3600)).await;
    host.events().post("/events", &keyed("a", 2)).await.expect(202);
}
