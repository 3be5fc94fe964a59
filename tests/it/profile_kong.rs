//! The delivery profile `kong`, for the whole host or one hook. The numbers are the acceptance cases'.

use std::time::Duration;

use serde_json::{Value, json};
use tenterhook_tests::sink::closed_port;
use tenterhook_tests::{Host, Reply, Sink, eventually, fixtures};

use crate::shared::{barrier, created, dead_letters, delivery_in, emit, hook_to, hook_with, id};

const KONG: &str = "[delivery]\nprofile = \"kong\"\n";
const REGISTERING: &str = "[delivery]\nprofile = \"kong\"\n[events]\nunregistered = \"register\"\n";

fn exceeded(n: u32, ip: &str) -> Value {
    json!({ "consumer": {}, "ip": ip, "service": { "name": "demo" }, "rate": n, "limit": 3, "window": "minute" })
}

#[tokio::test]
async fn case_63_what_is_the_same_within_five_seconds_is_delivered_once() {
    let (host, sink) = (Host::builder().config(REGISTERING).start().await, Sink::start().await);
    hook_to(&host, &sink, "rate-limiting-advanced", "/in").await;
    hook_to(&host, &sink, "crud", "/crud").await;
    let limited = async |n, ip| emit(host.events(), "rate-limiting-advanced", "rate-limit-exceeded", &exceeded(n, ip)).await;
    limited(1, "10.0.0.1").await;
    limited(2, "10.0.0.1").await;
    limited(3, "10.0.0.2").await;
    for _ in 0..2 {
        emit(host.events(), "crud", "consumers", &fixtures::consumer_created()).await;
    }
    host.advance(Duration::from_secs(6)).await;
    limited(4, "10.0.0.1").await;
    sink.wait_for("/in", 3).await;
    sink.wait_for("/crud", 2).await;
    barrier(&host, &sink).await;
    let rates: Vec<Value> = sink.at("/in").iter().map(|got| got.json()["rate"].clone()).collect();
    assert_eq!((rates, sink.at("/crud").len()), (vec![json!(1), json!(3), json!(4)], 2));
}

#[tokio::test]
async fn in_profile_durable_nothing_is_collapsed() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_to(&host, &sink, "rate-limiting-advanced", "/in").await;
    for n in 1..=2 {
        emit(host.events(), "rate-limiting-advanced", "rate-limit-exceeded", &exceeded(n, "10.0.0.1")).await;
    }
    sink.wait_for("/in", 2).await;
}

#[tokio::test]
async fn case_66_any_answer_is_delivered_for_a_hook_of_this_profile_alone() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    let kong = hook_with(&host, &sink, "shop", "/kong", &json!({ "delivery": { "profile": "kong" } })).await;
    let durable = hook_to(&host, &sink, "shop", "/durable").await;
    for path in ["/kong", "/durable"] {
        sink.on(path, Reply::status(302).header("location", &sink.url("/elsewhere")));
    }
    emit(host.events(), "shop", "sold", &json!({})).await;
    delivery_in(&host, &kong, "delivered", 1).await;
    delivery_in(&host, &durable, "retrying", 1).await;
    assert_eq!((sink.at("/kong").len(), sink.at("/elsewhere").len()), (1, 0));
}

#[tokio::test]
async fn case_65_what_is_given_up_is_a_dead_letter_with_kongs_words() {
    let host = Host::builder().config(KONG).start().await;
    let body = fixtures::webhook("crud", &format!("http://{}/", closed_port()));
    let hook = id(&created(host.admin().post("/event-hooks", &body).await));
    emit(host.events(), "crud", "consumers", &fixtures::consumer_created()).await;
    // Instant failures come at 0, .01, .03 … s; the clock is moved until a minute has passed.
    let dead = eventually("a dead letter", async || {
        host.advance(Duration::from_secs(5)).await;
        dead_letters(&host, &hook).await.into_iter().find(|dead| dead["source"] == "crud" || dead["event"]["source"] == "crud")
    });
    let dead = dead.await;
    let words = "could not send entries due to max_retry_time exceeded. 1 queue entries were lost";
    assert_eq!(dead["reason"], words, "{dead}");
    for line in [words, "handler could not process entries: "] {
        eventually(line, async || host.log().find(&format!("[] queue event-hooks: {line}"))).await;
    }
}

#[tokio::test]
async fn a_hook_of_this_profile_is_first_in_first_out() {
    let (host, sink) = (Host::builder().config(REGISTERING).start().await, Sink::start().await);
    hook_to(&host, &sink, "shop", "/in").await;
    sink.on("/in", Reply::status(200).after(Duration::from_millis(20)));
    for n in 0..20 {
        emit(host.events(), "shop", "sold", &json!({ "n": n })).await;
    }
    let order: Vec<i64> = sink.wait_for("/in", 20).await.iter().filter_map(|got| got.json()["n"].as_i64()).collect();
    assert_eq!(order, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn case_74_an_unregistered_source_is_refused_until_it_is_registered() {
    let (host, sink) = (Host::builder().config(KONG).start().await, Sink::start().await);
    hook_with(&host, &sink, "foo", "/in", &json!({ "event": "bar" })).await;
    let event = fixtures::event("foo", "bar", &json!({ "n": 1 }));
    let refused = host.events().post("/events", &event).await.expect(422).json();
    assert_eq!(refused["message"], "source 'foo' is not registered");
    let line = "failed to emit event: source 'foo' is not registered";
    eventually(line, async || host.log().find(line)).await;
    host.admin().put("/event-hooks/sources/foo/baz", &json!({})).await.expect(201);
    let refused = host.events().post("/events", &event).await.expect(422).json();
    assert_eq!(refused["message"], "source 'foo' has no 'bar' event");
    host.admin().put("/event-hooks/sources/foo/bar", &json!({})).await.expect(201);
    host.events().post("/events", &event).await.expect(202);
    assert_eq!(sink.wait_for("/in", 1).await[0].json(), json!({ "n": 1, "event": "bar", "source": "foo" }));
}
