//! Bodies as gzip and zstd: the same events, and bombs that are refused.

use std::io::Write;

use http::Method;
use serde_json::json;
use tenterhook_tests::{Answer, Host, Sink};

use crate::events::assert_error;
use crate::shared::hook_to;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes everything")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

async fn post(host: &Host, encoding: &str, content_type: &str, body: Vec<u8>) -> Answer {
    host.events().call(Method::POST, "/events").header("content-encoding", encoding).body(content_type, body).send().await
}

#[tokio::test]
async fn every_form_may_come_encoded() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_to(&host, &sink, "shop", "/in").await;
    let event = json!({ "source": "shop", "event": "sold", "data": { "n": 1 } });
    let cloud = json!({ "specversion": "1.0", "id": "1", "source": "shop", "type": "sold", "data": { "n": 1 } });
    let forms = [
        ("application/json", event.to_string().into_bytes()),
        ("application/x-ndjson", format!("{event}\n").into_bytes()),
        ("application/msgpack", rmp_serde::to_vec_named(&event).expect("an event as MessagePack")),
        ("application/cloudevents+json", cloud.to_string().into_bytes()),
    ];
    for (content_type, body) in &forms {
        post(&host, "gzip", content_type, gzip(body)).await.expect(202);
        post(&host, "ZSTD", content_type, zstd(body)).await.expect(202);
        post(&host, "identity", content_type, body.clone()).await.expect(202);
    }
    // The CloudEvent is the same one each time: one of three.
    for got in sink.wait_for("/in", 10).await {
        assert_eq!(got.json(), json!({ "n": 1, "event": "sold", "source": "shop" }));
    }
}

#[tokio::test]
async fn a_bomb_is_413_and_names_the_setting() {
    let host = Host::start().await;
    let bomb = vec![b' '; 100 << 20];
    for (encoding, body) in [("gzip", gzip(&bomb)), ("zstd", zstd(&bomb))] {
        assert!(body.len() < 200_000, "{encoding}: {} bytes", body.len());
        for content_type in ["application/json", "application/x-ndjson"] {
            let answer = post(&host, encoding, content_type, body.clone()).await.expect(413);
            assert_error(&answer);
            assert!(answer.text().contains("events.max_body"), "{}", answer.text());
        }
    }
}

#[tokio::test]
async fn what_cannot_be_decoded_is_400_and_what_is_not_known_is_415() {
    let host = Host::start().await;
    for encoding in ["gzip", "zstd"] {
        assert_error(&post(&host, encoding, "application/json", b"{}".to_vec()).await.expect(400));
    }
    let unknown = post(&host, "br", "application/json", b"{}".to_vec()).await.expect(415);
    assert_error(&unknown);
    assert_eq!(unknown.header("accept-encoding"), "gzip, zstd, identity");
    assert_error(&post(&host, "gzip, gzip", "application/json", gzip(&gzip(b"{}"))).await.expect(415));
}

#[tokio::test]
async fn bodies_that_arrive_together_are_bounded_and_small_events_still_pass() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let host = Host::builder().config("[events]\narriving_bytes = \"1 MiB\"\n").start().await;
    // The host asks for the body when it begins to read it, and has made room for it by then.
    let begin = async |bytes: usize| {
        let mut socket = tokio::net::TcpStream::connect(host.events().address()).await.expect("it listens");
        let head = "POST /events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nexpect: 100-continue\r\n";
        socket.write_all(format!("{head}content-length: {bytes}\r\n\r\n").as_bytes()).await.expect("it reads");
        let mut interim = [0; 12];
        socket.read_exact(&mut interim).await.expect("it answers");
        assert_eq!(&interim, b"HTTP/1.1 100");
        socket
    };
    let event = json!({ "source": "s", "event": "e", "data": "x".repeat(300_000) });
    let held = begin(900_000).await;
    let refused = tenterhook_tests::eventually("a 503 while the other body arrives", async || {
        let answer = host.events().post("/events", &event).await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert_error(&refused);
    assert!(refused.text().contains("events.arriving_bytes") && refused.header("retry-after") == "5", "{}", refused.text());
    host.events().post("/events", &json!({ "source": "s", "event": "e" })).await.expect(202);
    drop(held);
    tenterhook_tests::eventually("room again", async || (host.events().post("/events", &event).await.status == 202).then_some(())).await;
}
