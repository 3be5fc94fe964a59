//! What a guest is given and what it may answer.

use std::time::Duration;

use serde_json::json;

use super::{bench, value};
use crate::model::{Answer, FailureCode, JsonText, LogLevel, PathPart, Violation};

#[tokio::test]
async fn a_guest_sees_the_whole_event_and_attempt() {
    let bench = bench();
    let hostile = bench.load("hostile").await;
    let report = bench.run(&hostile, json!({ "do": "echo" })).await;
    let expected = json!({
        "id": "evt_1", "source": "crud", "name": "consumers", "time": "2026-01-02T03:04:05.678Z", "attributes": [["traceparent", "00-1"]],
        "data": { "entity": { "id": "c1", "username": "alice" }, "operation": "create" }, "number": 3, "test": false,
        "hook": "00000000-0000-0000-0000-000000000007", "delivery": "dlv_1", "deadline_ms": 10000, "handled": 1,
    });
    assert_eq!(value(&report), expected);
    assert!(report.usage.fuel > 1000 && report.usage.memory_bytes >= 1 << 20, "{:?}", report.usage);
    assert!(report.usage.instantiate_us > 0 && report.usage.run_us > 0 && !report.usage.reused, "{:?}", report.usage);
    // A fresh instance remembers nothing.
    assert_eq!(value(&bench.run(&hostile, json!({ "do": "echo" })).await)["handled"], 1);
}

#[tokio::test]
async fn retry_reject_and_pause_are_failures_of_their_own() {
    let bench = bench();
    let hostile = bench.load("hostile").await;
    for (what, code, detail, after) in [
        ("retry", FailureCode::Retry, "later", Some(Duration::from_millis(1500))),
        ("reject", FailureCode::Reject, "never", None),
        ("pause", FailureCode::PauseHook, "stop", None),
    ] {
        let failure = bench.run(&hostile, json!({ "do": what })).await.outcome.expect_err(what);
        assert_eq!((failure.code, &*failure.detail, failure.after), (code, detail, after));
    }
}

#[tokio::test]
async fn send_gives_the_request_to_the_host() {
    let bench = bench();
    let forward = bench.load("forward").await;
    let report = bench.run(&forward, json!({ "url": "https://example.com/in", "secret": "s" })).await;
    let Ok(Answer::Send(request)) = report.outcome else { panic!("{:?}", report.outcome) };
    assert_eq!((&*request.method, &*request.url, request.headers.len()), ("POST", "https://example.com/in", 3));
    let body: serde_json::Value = serde_json::from_slice(&request.body.unwrap()).unwrap();
    assert_eq!((&body["event"], &body["source"], &body["operation"]), (&json!("consumers"), &json!("crud"), &json!("create")));
    assert!(report.calls.is_empty());
}

#[tokio::test]
async fn validate_fills_in_or_says_what_is_wrong() {
    let bench = bench();
    let hostile = bench.load("hostile").await;
    let validate = async |config: serde_json::Value| {
        bench.sandbox.validate(&hostile, &JsonText::from_value(&config), &JsonText::from_value(&json!({}))).await
    };
    let filled = validate(json!({ "a": 1 })).await.unwrap().unwrap();
    assert_eq!(filled.to_value(), json!({ "a": 1, "validated": true }));
    let path = vec![PathPart::Key("list".into()), PathPart::Index(2)];
    let violations = validate(json!({ "validate": "wrong" })).await.unwrap().unwrap_err();
    assert_eq!(violations, [Violation { path, message: "expected a string".into() }]);
    assert_eq!(validate(json!({ "validate": "trap" })).await.unwrap_err().code, FailureCode::Trap);
    assert_eq!(validate(json!({ "validate": "json" })).await.unwrap_err().code, FailureCode::DecodeError);
    let failure = validate(json!({ "validate": "loop" })).await.unwrap_err();
    assert_eq!(failure.code, FailureCode::FuelLimit);
    assert!(failure.detail.starts_with("fuel limit of 1000000000 units exceeded (fixed for validate)"), "{}", failure.detail);
}

#[tokio::test]
async fn what_a_guest_writes_is_kept_with_the_attempt() {
    let bench = bench();
    let hostile = bench.load("hostile").await;
    let report = bench.run(&hostile, json!({ "do": "write" })).await;
    let lines: Vec<(LogLevel, &str)> = report.logs.iter().map(|line| (line.level, &*line.text)).collect();
    let expected = [
        (LogLevel::Debug, "through log"),
        (LogLevel::Emerg, "through log"),
        (LogLevel::Info, "to output"),
        (LogLevel::Warn, "to error, unfinished"),
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn a_guest_finds_no_environment_no_files_and_no_sockets() {
    let bench = bench();
    let hostile = bench.load("hostile").await;
    let report = bench.run(&hostile, json!({ "do": "environment" })).await;
    assert_eq!(value(&report), json!({ "variables": 0, "arguments": 0, "files": true, "socket": true }));
}
