//! Tests of what the tests are written with: the sink, waiting, and the host's process.
use std::time::Duration;

use serde_json::json;
use tenterhook_tests::sink::{Reply, Sink, closed_port};
use tenterhook_tests::{Door, Host, eventually};

fn door(sink: &Sink) -> Door {
    Door::new(sink.address(), None)
}

#[tokio::test]
async fn the_sink_records_and_answers_by_path() {
    let sink = Sink::start().await;
    sink.on("/teapot", Reply::status(418).header("x-pot", "tea").body("short"));
    let answer = door(&sink).post("/teapot?stout=1", &json!({ "a": 1 })).await;
    assert_eq!((answer.status, answer.header("x-pot"), answer.text().as_str()), (418, "tea", "short"));
    assert_eq!(door(&sink).get("/other").await.status, 200);
    let got = sink.wait_for("/teapot", 1).await;
    assert_eq!((got[0].method.as_str(), got[0].query.as_str(), got[0].json()), ("POST", "stout=1", json!({ "a": 1 })));
    assert_eq!(sink.all().len(), 2);
}

#[tokio::test]
async fn the_sink_counts_requests_for_its_rules_and_ids_once() {
    let sink = Sink::start().await;
    sink.on_each("/x", |_, nth| Reply::status(if nth < 3 { 500 } else { 200 }));
    let mut statuses = Vec::new();
    for id in ["evt_a", "evt_a", "evt_b"] {
        let door = door(&sink);
        let call = door.call(http::Method::POST, "/x").header("webhook-id", id).json(&json!({}));
        statuses.push(call.send().await.status);
    }
    assert_eq!(statuses, [500, 500, 200]);
    assert_eq!(sink.unique_ids("/x").len(), 2);
}

#[tokio::test]
async fn the_sink_closes_hangs_and_delays_when_told() {
    let sink = Sink::start().await;
    sink.on("/close", Reply::close());
    sink.on("/hang", Reply::hang());
    sink.on("/slow", Reply::status(204).after(Duration::from_millis(60)));
    let door = door(&sink);
    assert!(door.call(http::Method::GET, "/close").try_send().await.is_err());
    let hanging = tokio::time::timeout(Duration::from_millis(100), door.get("/hang")).await;
    assert!(hanging.is_err(), "a hanging path gave an answer");
    let started = std::time::Instant::now();
    assert_eq!(door.get("/slow").await.status, 204);
    assert!(started.elapsed() >= Duration::from_millis(60));
}

#[tokio::test]
async fn pings_are_told_from_events_and_use_up_no_answer() {
    let sink = Sink::start().await;
    sink.on_each("/x", |_, nth| Reply::status(if nth == 1 { 201 } else { 500 }));
    door(&sink).post("/x", &json!({ "source": "kong:event_hooks", "event": "ping" })).await.expect(200);
    door(&sink).post("/x", &json!({ "source": "crud", "event": "ping" })).await.expect(201);
    assert_eq!((sink.pings("/x").len(), sink.at("/x").len()), (1, 1));
}

#[tokio::test]
#[should_panic(expected = "in vain")]
async fn a_wait_for_what_never_comes_ends_with_a_panic() {
    let sink = Sink::start().await;
    sink.wait_until_within(Duration::from_millis(50), "something", |_| None::<()>).await;
}

#[tokio::test]
async fn eventually_gives_what_its_condition_found() {
    let mut looks = 0;
    let found = eventually("the third look", async || {
        looks += 1;
        (looks == 3).then_some(looks)
    });
    assert_eq!(found.await, 3);
}

#[tokio::test]
async fn nobody_listens_on_a_closed_port() {
    assert!(Door::new(closed_port(), None).call(http::Method::GET, "/").try_send().await.is_err());
}

#[tokio::test]
async fn a_program_that_ends_instead_of_getting_ready_is_reported_with_its_words() {
    let refusal = Host::builder().binary("/bin/ls").try_start().await.expect_err("ls is no host");
    assert!(!refusal.status.success());
    assert!(!refusal.stderr.is_empty());
}

/// A program that plays the host: its doors are a sink's, and it ends on SIGTERM.
fn stand_in(dir: &std::path::Path, sink: &Sink) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.join("stand-in");
    let address = sink.address();
    let line = format!(r#"{{"ready":true,"events":"{address}","admin":"{address}","status":null,"pid":%d}}\n"#);
    std::fs::write(&path, format!("#!/bin/sh\necho started >&2\nprintf '{line}' $$\nexec sleep 600\n")).expect("a script can be written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("and made executable");
    path
}

#[tokio::test]
async fn a_host_is_started_talked_to_killed_restarted_and_stopped() {
    let (sink, dir) = (Sink::start().await, tempfile::tempdir().expect("a folder"));
    let mut host = Host::builder().binary(stand_in(dir.path(), &sink)).admin_token("t").start().await;
    assert_eq!(host.ready_line()["pid"], host.pid());
    host.admin().post("/event-hooks", &json!({})).await.expect(200);
    assert_eq!(sink.wait_for("/event-hooks", 1).await[0].header("authorization"), "Bearer t");
    let first = host.pid();
    host.kill9();
    host.restart().await;
    assert_ne!(host.pid(), first);
    eventually("both runs are in the log", async || (host.log().lines().len() == 2).then_some(())).await;
    let status = host.terminate().await;
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15), "sleep knows no graceful stop");
}
