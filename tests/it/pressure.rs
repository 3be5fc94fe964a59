//! Back-pressure: what is refused, with which answer, and what becomes of what one hook owes too much of. Nothing is dropped in silence.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tenterhook_tests::{Host, Sink, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::events::assert_error;
use crate::shared::{barrier, dead_letters, emit, hook_to, hook_with, id};

fn batch(source: &str, n: usize) -> Value {
    (0..n).map(|n| json!({ "source": source, "event": "sold", "data": { "n": n } })).collect()
}

#[tokio::test]
async fn what_a_hook_owes_too_much_of_becomes_dead_letters_oldest_first() {
    let (mut host, sink) = (Host::start().await, Sink::start().await);
    let bounds = json!({ "paused": true, "delivery": { "max_queued": 10 } });
    let hook = hook_with(&host, &sink, "shop", "/in", &bounds).await;
    hook_to(&host, &sink, "shop", "/other").await;
    host.events().post("/events", &batch("shop", 35)).await.expect(202);
    let letters = eventually("the oldest are dead letters", async || {
        // The hook's ping is owed too, and older than any event.
        let letters = dead_letters(&host, &hook).await;
        (letters.iter().filter(|letter| letter["source"] == "shop").count() == 25).then_some(letters)
    })
    .await;
    for letter in &letters {
        assert_eq!(letter["kind"], "exhausted", "{letter}");
        assert!(letter["reason"].as_str().is_some_and(|reason| reason.starts_with("queue-limit") && reason.contains("10")), "{letter}");
    }
    let counted = host.admin().post("/dead-letters/retry", &json!({ "hook": hook, "code": "queue-limit", "dry_run": true })).await;
    assert_eq!(counted.expect(200).json()["count"], letters.len());
    sink.wait_for("/other", 35).await;
    host.restart().await;
    host.admin().patch(&format!("/event-hooks/{hook}"), &json!({ "paused": false })).await.expect(200);
    let mut got: Vec<i64> = sink.wait_for("/in", 10).await.iter().filter_map(|got| got.json()["n"].as_i64()).collect();
    got.sort_unstable();
    assert_eq!(got, (25..35).collect::<Vec<_>>(), "the newest are delivered");
    barrier(&host, &sink).await;
    assert_eq!(sink.at("/in").len(), 10);
}

#[tokio::test]
async fn what_waits_too_long_becomes_a_dead_letter() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    let hook = hook_with(&host, &sink, "shop", "/in", &json!({ "paused": true })).await;
    let short = hook_with(&host, &sink, "shop", "/short", &json!({ "paused": true, "delivery": { "max_wait": 3600 } })).await;
    emit(host.events(), "shop", "sold", &json!({})).await;
    host.advance(Duration::from_secs(2 * 3600)).await;
    let sold = async |hook: &str| dead_letters(&host, hook).await.into_iter().find(|letter| letter["event"] == "sold");
    let letter = eventually("it waited longer than its hook allows", async || sold(&short).await).await;
    assert!(letter["reason"].as_str().is_some_and(|reason| reason.contains("3600 s (delivery.max_wait)")), "{letter}");
    assert!(sold(&hook).await.is_none(), "the default is seven days");
    host.advance(Duration::from_secs(7 * 86_400)).await;
    eventually("seven days are over", async || sold(&hook).await).await;
    let wrong = json!({ "source": "s", "handler": "log", "delivery": { "max_queued": 0, "max_wait": -1 } });
    let refused = host.admin().post("/event-hooks", &wrong).await.expect(400).text();
    assert!(refused.contains("max_queued") && refused.contains("max_wait"), "{refused}");
}

#[tokio::test]
async fn a_backlog_of_too_many_deliveries_is_503_until_it_is_smaller() {
    let (host, sink) = (Host::builder().config("[delivery]\nmax_owed = 20\n").start().await, Sink::start().await);
    let hook = hook_with(&host, &sink, "shop", "/in", &json!({ "paused": true })).await;
    host.events().post("/events", &batch("shop", 30)).await.expect(202);
    let refused = host.events().post("/events", &batch("shop", 1)).await.expect(503);
    assert_error(&refused);
    assert!(refused.text().contains("delivery.max_owed") && refused.header("retry-after") == "5", "{}", refused.text());
    host.events().get("/health/ready").await.expect(503);
    host.admin().patch(&format!("/event-hooks/{hook}"), &json!({ "paused": false })).await.expect(200);
    sink.wait_for("/in", 30).await;
    eventually("there is room again", async || (host.events().post("/events", &batch("shop", 1)).await.status == 202).then_some(())).await;
}

#[tokio::test]
async fn a_data_folder_that_is_too_large_is_503() {
    let config = "[store]\nmax_bytes = \"48 MiB\"\nsegment_bytes = \"4 MiB\"\nretention_bytes = \"1 MiB\"\ndead_letter_bytes = \"1 MiB\"\n";
    let (host, sink) = (Host::builder().config(config).start().await, Sink::start().await);
    let hook = hook_with(&host, &sink, "shop", "/in", &json!({ "paused": true })).await;
    let event = json!({ "source": "shop", "event": "sold", "data": (0..40_000).map(|n| n * 7919 % 10_007).collect::<Vec<_>>() });
    let mut accepted = Vec::new();
    let refused = eventually("a 503 for want of room", async || {
        let answer = host.events().post("/events", &event).await;
        if answer.status == 202 {
            accepted.push(id(&answer.json()["events"][0]));
        }
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert!(refused.text().contains("store.max_bytes") && !refused.header("retry-after").is_empty(), "{}", refused.text());
    let answer = host.events().post("/events/reconcile", &json!({ "ids": accepted })).await.expect(200).json();
    let pending = |event: &Value| event["state"] == "pending";
    assert!(answer["events"].as_array().is_some_and(|all| all.iter().all(pending)), "what was accepted is there");
    // What waits for a hook goes with it, and its disk comes back.
    host.admin().delete(&format!("/event-hooks/{hook}")).await.expect(204);
    eventually("there is room again", async || (host.events().post("/events", &event).await.status == 202).then_some(())).await;
}

/// Reads what the host answers until it closes the connection.
async fn answer_to(host: &Host, bytes: &[u8]) -> String {
    let mut socket = tokio::net::TcpStream::connect(host.events().address()).await.expect("it listens");
    socket.write_all(bytes).await.expect("it reads");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(tenterhook_tests::DEADLINE, socket.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the connection stays open");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn slow_clients_are_cut_off_and_others_served_meanwhile() {
    let host = Host::builder().config("[http]\nheader_timeout = \"300 ms\"\nbody_timeout = \"300 ms\"\n").start().await;
    let head = answer_to(&host, b"POST /events HTTP/1.1\r\nhost: localhost\r\nx-slow: ").await;
    assert!(head.is_empty() || head.starts_with("HTTP/1.1 408"), "{head}");
    let silent = answer_to(&host, b"").await;
    assert!(silent.is_empty() || silent.starts_with("HTTP/1.1 408"), "{silent}");
    let body =
        answer_to(&host, b"POST /events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n[").await;
    assert!(body.starts_with("HTTP/1.1 408") && body.contains("too-slow"), "{body}");
    host.events().post("/events", &batch("shop", 1)).await.expect(202);
}

#[tokio::test]
async fn a_head_that_is_too_long_is_431() {
    let host = Host::builder().config("[http]\nmax_header = \"8 KiB\"\n").start().await;
    let long = format!("GET /health/live HTTP/1.1\r\nhost: localhost\r\nx-long: {}\r\n\r\n", "x".repeat(20_000));
    assert!(answer_to(&host, long.as_bytes()).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn a_connection_too_many_is_told_so() {
    let host = Host::builder().config("[http]\nmax_connections = 2\n").start().await;
    let hold = async || {
        let mut socket = tokio::net::TcpStream::connect(host.events().address()).await.expect("it listens");
        socket.write_all(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("it reads");
        let mut first = [0; 12];
        socket.read_exact(&mut first).await.expect("it answers");
        assert_eq!(&first, b"HTTP/1.1 200");
        socket
    };
    let (one, _two) = (hold().await, hold().await);
    let refused = answer_to(&host, b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(
        refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: ") && refused.contains("http.max_connections"),
        "{refused}"
    );
    drop(one);
    eventually("a place is free", async || {
        let answer = host.events().call(Method::GET, "/health/live").try_send().await;
        answer.is_ok_and(|answer| answer.status == 200).then_some(())
    })
    .await;
}
