//! What whoever runs the host meets: starting, refusing to start, health, metrics, a changed configuration, stopping.

use std::time::Duration;

use serde_json::json;
use tenterhook_tests::{DEADLINE, Door, Host, Sink, eventually};

use crate::shared::{emit, hook_to};

#[tokio::test]
async fn the_ready_line_names_the_bound_addresses() {
    let host = Host::start().await;
    let line = host.ready_line();
    assert_eq!((&line["ready"], &line["pid"], &line["status"]), (&json!(true), &json!(host.pid()), &json!(null)));
    assert_ne!(host.events().address().port(), 0);
    assert_ne!(host.events().address(), host.admin().address());
}

#[tokio::test]
async fn every_listener_answers_health() {
    let host = Host::builder().flag("--status-listen").flag("127.0.0.1:0").start().await;
    let status = host.status().expect("the ready line names the status listener");
    for door in [host.events(), host.admin(), &status] {
        door.get("/health/live").await.expect(200);
        let ready = door.get("/health/ready").await.expect(200).json();
        assert_eq!(ready["ready"], true, "{ready}");
    }
    status.get("/metrics").await.expect(200);
    status.get("/event-hooks").await.expect(404);
}

#[tokio::test]
async fn metrics_tell_depth_age_outcomes_and_fuel() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_to(&host, &sink, "shop", "/in").await;
    emit(host.events(), "shop", "sold", &json!({})).await;
    sink.wait_for("/in", 1).await;
    let text = eventually("the delivered attempt in the metrics", async || {
        let text = host.admin().get("/metrics").await.expect(200).text();
        let attempts = text.lines().filter(|line| line.starts_with("tenterhook_attempts_total{") && line.contains("outcome=\"delivered\""));
        let delivered: f64 = attempts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
        (delivered > 0.0).then_some(text)
    })
    .await;
    for wanted in ["owed", "oldest", "fuel", "accepted", "fsync"] {
        let found = text.lines().any(|line| !line.starts_with('#') && line.starts_with("tenterhook_") && line.contains(wanted));
        assert!(found, "no metric is named for {wanted}:\n{text}");
    }
}

#[tokio::test]
async fn a_second_host_on_the_same_data_folder_is_refused() {
    let host = Host::start().await;
    let refusal = Host::builder().data(host.data()).try_start().await.expect_err("two hosts on one folder");
    assert!(!refusal.status.success(), "{refusal:?}");
    let folder = host.data().display().to_string();
    assert!(refusal.stderr.contains(&folder), "the folder is named: {refusal:?}");
    host.admin().get("/event-hooks").await.expect(200);
}

#[tokio::test]
async fn a_port_in_use_says_which_setting_moves_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port can be had");
    let address = taken.local_addr().expect("it has an address").to_string();
    let refusal = Host::builder().events_listen(&address).try_start().await.expect_err("the port is taken");
    assert!(refusal.stderr.contains("--events-listen") && refusal.stderr.contains(&address), "{refusal:?}");
    let refusal = Host::builder().admin_listen(&address).try_start().await.expect_err("the port is taken");
    assert!(refusal.stderr.contains("--admin-listen") && refusal.stderr.contains(&address), "{refusal:?}");
}

#[tokio::test]
async fn a_wrong_setting_stops_the_start_with_code_2_and_its_name() {
    for (config, named) in [
        ("[delivery]\nretrys = 3\n", "retrys"),
        ("[events]\nmax_batch = \"many\"\n", "max_batch"),
        ("[limits]\nwall = \"30\"\n", "wall"),
        ("not toml at all", "tenterhook.toml"),
    ] {
        let refusal = Host::builder().config(config).try_start().await.expect_err("a wrong setting");
        assert_eq!(refusal.status.code(), Some(2), "{config}: {refusal:?}");
        assert!(refusal.stderr.contains(named), "{config}: {refusal:?}");
    }
}

#[tokio::test]
async fn logs_are_json_away_from_a_terminal() {
    let host = Host::start().await;
    eventually("a line of log", async || (!host.log().lines().is_empty()).then_some(())).await;
    for line in host.log().lines() {
        assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok_and(|line| line.is_object()), "no JSON: {line}");
    }
}

#[tokio::test]
async fn sighup_applies_what_it_can_and_names_what_needs_a_restart() {
    let mut host = Host::builder().config("[events]\nunregistered = \"register\"\n").start().await;
    emit(host.events(), "dog", "barked", &json!({})).await;
    host.reload("[events]\nunregistered = \"refuse\"\n[store]\nsegment_bytes = \"32 MiB\"\n");
    let cat = json!({ "source": "cat", "event": "meowed" });
    let mut n = 0;
    eventually("the new setting is in force", async || {
        // A source of its own for each look: what was registered stays registered.
        n += 1;
        let event = json!({ "source": format!("cat-{n}"), "event": "meowed" });
        (host.events().post("/events", &event).await.status == 422).then_some(())
    })
    .await;
    host.events().post("/events", &cat).await.expect(422);
    eventually("the log names the key that needs a restart", async || host.log().find("store.segment_bytes")).await;
}

#[tokio::test]
async fn a_broken_configuration_on_sighup_leaves_the_running_one_in_force() {
    let mut host = Host::builder().config("[events]\nunregistered = \"refuse\"\n").start().await;
    host.reload("[events]\nunregistered = \"whatever\"\n");
    eventually("the log tells what is wrong", async || host.log().find("unregistered")).await;
    host.events().post("/events", &json!({ "source": "cat", "event": "meowed" })).await.expect(422);
}

#[tokio::test]
async fn sigint_and_sigterm_end_the_host_with_success() {
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::TERM] {
        let mut host = Host::start().await;
        host.signal(signal);
        assert!(host.ended().await.success(), "{signal:?}");
    }
}

#[tokio::test]
async fn a_loopback_listener_answers_on_both_families() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let host = Host::start().await;
    let six = std::net::SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, host.events().address().port()));
    Door::new(six, None).get("/health/live").await.expect(200);
}

#[tokio::test]
async fn a_client_that_never_finishes_its_request_does_not_stop_a_stop() {
    use tokio::io::AsyncWriteExt;
    let mut host = Host::builder().config("[shutdown]\ndrain = \"500 ms\"\n").start().await;
    let mut half = tokio::net::TcpStream::connect(host.events().address()).await.expect("it listens");
    half.write_all(b"POST /events HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n{").await.expect("it reads");
    let ended = tokio::time::timeout(Duration::from_secs(20).min(DEADLINE), host.terminate()).await;
    assert!(ended.is_ok_and(|status| status.success()));
}

#[tokio::test]
async fn the_test_clock_moves_the_hosts_time() {
    let host = Host::start().await;
    let before = host.advance(Duration::ZERO).await;
    let after = host.advance(Duration::from_secs(24 * 3600)).await;
    assert!(after[..10] > before[..10], "{before} then {after}");
}
