//! Requests that a guest makes itself.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{Limits, bench, bench_with, limits, value};
use crate::egress::Grants;
use crate::model::{CallOutcome, FailureCode};

/// Answers every connection with this body, one request each.
async fn server(body: String) -> (String, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/in?token=1", listener.local_addr().unwrap());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"hello") {
                assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
            }
            let answer = format!("HTTP/1.1 201 Created\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, tasks)
}

#[tokio::test]
async fn a_guest_reads_the_answer_and_the_call_is_recorded() {
    let bench = bench();
    let hostile = bench.load("hostile").await;
    let (url, _server) = server("welcome".into()).await;
    let report = bench.run(&hostile, json!({ "do": "http", "url": url })).await;
    assert_eq!(value(&report), json!({ "status": 201, "body": "welcome" }));
    let [call] = &report.calls[..] else { panic!("{:?}", report.calls) };
    assert_eq!(call.outcome, CallOutcome::Status(201));
    assert_eq!(*call.target, format!("POST {}", url.split('?').next().unwrap()));
    assert!(call.duration_us > 0);
}

#[tokio::test]
async fn one_request_too_many_ends_the_attempt() {
    let bench = bench();
    let hostile = bench.load("hostile").await;
    let (url, _server) = server("welcome".into()).await;
    let report = bench.run(&hostile, json!({ "do": "http-flood", "url": url })).await;
    let failure = report.outcome.expect_err("too many");
    assert_eq!(failure.code, FailureCode::HttpLimit);
    assert!(failure.detail.starts_with("limit of 3 HTTP requests exceeded (setting limits.http_requests)"), "{}", failure.detail);
    assert_eq!(report.calls.len(), 3);
}

#[tokio::test]
async fn answers_that_are_too_large_together_are_refused() {
    let bench = bench_with(Limits { http_response_bytes: 100, ..limits() });
    let hostile = bench.load("hostile").await;
    let (url, _server) = server("x".repeat(200)).await;
    let report = bench.run(&hostile, json!({ "do": "http", "url": url })).await;
    let error = value(&report)["error"].as_str().unwrap().to_owned();
    assert!(error.contains("more than 100 bytes of answers in one attempt (setting limits.http_response_bytes)"), "{error}");
    assert!(matches!(&report.calls[0].outcome, CallOutcome::Failed(FailureCode::TooLarge, _)), "{:?}", report.calls);
}

#[tokio::test]
async fn what_is_not_granted_is_denied() {
    let bench = bench();
    let hostile = bench.load("hostile").await;
    let mut invocation = bench.invocation(&hostile, json!({ "do": "http", "url": "http://127.0.0.1:9/" }));
    invocation.grants = Grants::none();
    let report = bench.sandbox.run(invocation).await;
    assert!(value(&report)["error"].as_str().unwrap().contains("denied") || value(&report)["error"].as_str().unwrap().contains("Denied"));
    assert!(matches!(&report.calls[0].outcome, CallOutcome::Failed(FailureCode::Denied, _)), "{:?}", report.calls);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_hangs_ends_with_the_deadline_at_the_latest() {
    let bench = bench();
    let hostile = bench.load("hostile").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let mut invocation = bench.invocation(&hostile, json!({ "do": "http", "url": url }));
    invocation.limits.wall = std::time::Duration::from_millis(300);
    let report = bench.sandbox.run(invocation).await;
    // Either the request gives up first and the guest says so, or the attempt is over.
    match &report.outcome {
        Ok(_) => assert!(value(&report)["error"].as_str().unwrap().contains("imeout"), "{:?}", report.outcome),
        Err(failure) => assert_eq!(failure.code, FailureCode::Deadline),
    }
}
