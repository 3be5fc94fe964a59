//! NDJSON: one event object a line, read while it arrives, all or nothing.

use http::Method;
use serde_json::{Value, json};
use tenterhook_tests::{Answer, Host, Sink};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::events::assert_error;
use crate::shared::{barrier, hook_to, id};

async fn post(host: &Host, body: String) -> Answer {
    host.events().call(Method::POST, "/events").body("application/x-ndjson", body).send().await
}

fn line(n: usize) -> String {
    json!({ "source": "shop", "event": "sold", "data": { "n": n }, "key": format!("k{n}") }).to_string()
}

#[tokio::test]
async fn every_line_is_an_event_and_the_answers_stand_in_their_order() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_to(&host, &sink, "shop", "/in").await;
    let body: Vec<String> = (0..3_000).map(line).collect();
    // The last line may end without a line feed; empty ones and carriage returns are no events.
    let answer = post(&host, body.join("\r\n\n")).await.expect(202).json();
    let answered = answer["events"].as_array().expect("a list");
    assert_eq!(answered.len(), 3_000);
    assert!(answered.iter().enumerate().all(|(n, event)| event["key"] == format!("k{n}")));
    let ids: std::collections::HashSet<String> = answered.iter().map(id).collect();
    sink.wait_until("all lines", |sink| (sink.unique_ids("/in") == ids).then_some(())).await;
    post(&host, String::new()).await.expect_json(202, &json!({ "events": [] }));
}

#[tokio::test]
async fn one_wrong_line_refuses_all_and_every_wrong_line_is_named() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_to(&host, &sink, "shop", "/in").await;
    let answer = post(&host, format!("{}\n{{\"source\":\n{}\n[]\n", line(1), line(2))).await.expect(400);
    assert_error(&answer);
    let errors = answer.json()["errors"].clone();
    let indexes: Vec<&Value> = errors.as_array().expect("a list").iter().map(|error| &error["index"]).collect();
    assert_eq!(indexes, [1, 3], "{errors}");
    assert!(errors[0]["message"].as_str().is_some_and(|said| said.contains("line 2") && said.contains("at byte")), "{errors}");
    let again = post(&host, line(1)).await.expect(202).json();
    assert_eq!(again["events"][0]["duplicate"], false, "the refused request remembered nothing");
    barrier(&host, &sink).await;
    assert_eq!(sink.at("/in").len(), 1);
}

#[tokio::test]
async fn limits_are_named_before_the_body_has_ended() {
    let host = Host::builder().config("[events]\nmax_batch = 10\nmax_event = \"2 KiB\"\n").start().await;
    // Neither of these bodies ever ends: only a reader that looks at lines as they come can answer.
    for (lines, setting) in
        [("{\"source\":\"s\",\"event\":\"e\"}\n".repeat(11), "events.max_batch"), ("x".repeat(80_000), "events.max_event")]
    {
        let mut socket = tokio::net::TcpStream::connect(host.events().address()).await.expect("it listens");
        let head = "POST /events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n";
        let chunk = format!("{head}{:x}\r\n{lines}\r\n", lines.len());
        socket.write_all(chunk.as_bytes()).await.expect("it reads");
        let mut answer = Vec::new();
        let read = tokio::time::timeout(tenterhook_tests::DEADLINE, socket.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "no answer while the body goes on");
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 413") && answer.contains(setting), "{answer}");
    }
}

#[tokio::test]
async fn the_path_form_takes_no_lines() {
    let host = Host::start().await;
    let answer = host.events().call(Method::POST, "/events/shop/sold").body("application/x-ndjson", "1\n2").send().await.expect(415);
    assert_error(&answer);
    assert!(!answer.header("accept").contains("ndjson"), "{:?}", answer.headers);
}
