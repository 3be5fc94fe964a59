//! Retries over days, in seconds: the test clock moves the host's time.

use std::time::Duration;

use serde_json::json;
use tenterhook_tests::{Host, Reply, Sink, eventually};

use crate::shared::{attempts_of, barrier, dead_letters, delivery_in, emit, hook_to, hook_with};

const HOUR: u64 = 3600;

/// The default schedule in seconds: the gaps between the attempts.
const SCHEDULE: [u64; 11] = [1, 5, 30, 120, 600, HOUR, 4 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];

/// A gap from which on it can be shown that nothing is attempted before its end: shorter ones may pass in real time meanwhile.
const LONG: u64 = 120;

#[tokio::test]
async fn a_delivery_is_attempted_on_schedule_for_days_and_then_exhausted() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    sink.on("/in", Reply::status(500).body("out of order"));
    let hook = hook_to(&host, &sink, "shop", "/in").await;
    let event = emit(host.events(), "shop", "sold", &json!({})).await;
    barrier(&host, &sink).await;
    for (done, gap) in SCHEDULE.into_iter().enumerate() {
        let attempts = done + 1;
        delivery_in(&host, &hook, "retrying", attempts).await;
        let gap_ms = gap * 1000;
        if gap >= LONG {
            host.advance(Duration::from_millis(gap_ms * 8 / 10)).await;
            barrier(&host, &sink).await;
            assert_eq!(sink.at("/in").len(), attempts, "attempt {} came before its gap of {gap} s was over", attempts + 1);
            // Jitter adds up to a fifth: after 1.25 gaps the attempt is due whatever the dice say.
            host.advance(Duration::from_millis(gap_ms * 45 / 100)).await;
        } else {
            host.advance(Duration::from_millis(gap_ms * 5 / 4)).await;
        }
        sink.wait_for("/in", attempts + 1).await;
    }
    let dead = delivery_in(&host, &hook, "exhausted", SCHEDULE.len() + 1).await;
    assert_eq!(attempts_of(&dead), SCHEDULE.len() + 1);
    let letters = dead_letters(&host, &hook).await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert!(letters[0].to_string().contains(&event), "{letters:?}");
    assert_eq!(letters[0]["kind"], "exhausted", "{letters:?}");
    host.advance(Duration::from_secs(200 * HOUR)).await;
    barrier(&host, &sink).await;
    assert_eq!(sink.at("/in").len(), SCHEDULE.len() + 1, "a dead letter is not attempted");
    assert_eq!(sink.unique_ids("/in").len(), 1, "every attempt carries the same webhook-id");
}

#[tokio::test]
async fn a_retry_due_in_ten_hours_survives_a_kill() {
    let (mut host, sink) = (Host::start().await, Sink::start().await);
    sink.on_each("/in", |_, nth| Reply::status(if nth == 1 { 500 } else { 200 }));
    let retry = json!({ "delivery": { "retry": { "schedule_ms": [36_000_000] } } });
    let hook = hook_with(&host, &sink, "shop", "/in", &retry).await;
    emit(host.events(), "shop", "sold", &json!({})).await;
    delivery_in(&host, &hook, "retrying", 1).await;
    // A settlement is on disk 200 ms later at most; a stop makes sure of it.
    host.restart().await;
    host.kill9();
    host.restart().await;
    host.advance(Duration::from_secs(9 * HOUR)).await;
    barrier(&host, &sink).await;
    assert_eq!(sink.at("/in").len(), 1, "not before its time");
    host.advance(Duration::from_secs(3 * HOUR + 60)).await;
    sink.wait_for("/in", 2).await;
    delivery_in(&host, &hook, "delivered", 2).await;
}

#[tokio::test]
async fn every_kind_of_failure_is_retried_with_its_code() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    sink.on("/status", Reply::status(404));
    sink.on("/redirect", Reply::status(302).header("location", "/elsewhere"));
    sink.on("/hang", Reply::hang());
    let closed = format!("http://{}/", tenterhook_tests::sink::closed_port());
    let table = [
        ("status", sink.url("/status")),
        ("status", sink.url("/redirect")),
        ("timeout", sink.url("/hang")),
        ("connect", closed),
        ("dns", "http://nobody.invalid/".to_owned()),
        ("tls", sink.url("/x").replace("http:", "https:")),
    ];
    for (n, (code, url)) in table.into_iter().enumerate() {
        let source = format!("shop-{n}");
        let more = json!({ "config": { "url": url }, "delivery": { "timeout_ms": 1500, "retry": { "schedule_ms": [3_600_000] } } });
        let hook = hook_with(&host, &sink, &source, "/unused", &more).await;
        emit(host.events(), &source, "sold", &json!({})).await;
        let delivery = delivery_in(&host, &hook, "retrying", 1).await;
        let failure = &delivery["attempts"][0]["failure"];
        assert_eq!(failure["code"], code, "{url}: {delivery}");
        assert!(failure["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{delivery}");
    }
    assert!(sink.at("/elsewhere").is_empty(), "redirects are never followed");
}

#[tokio::test]
async fn status_410_pauses_the_hook_and_a_patch_resumes_it() {
    let (mut host, sink) = (Host::start().await, Sink::start().await);
    sink.on("/in", Reply::status(410));
    let hook = hook_to(&host, &sink, "shop", "/in").await;
    let path = format!("/event-hooks/{hook}");
    emit(host.events(), "shop", "sold", &json!({ "n": 1 })).await;
    let paused = eventually("the host pauses the hook", async || {
        let entity = host.admin().get(&path).await.expect(200).json();
        entity["paused_by_host"].is_object().then_some(entity)
    })
    .await;
    assert!(paused["paused_by_host"]["reason"].as_str().is_some_and(|reason| reason.contains("410")), "{paused}");
    let before = sink.at("/in").len();
    emit(host.events(), "shop", "sold", &json!({ "n": 2 })).await;
    host.restart().await;
    host.advance(Duration::from_secs(100 * HOUR)).await;
    barrier(&host, &sink).await;
    assert_eq!(sink.at("/in").len(), before, "nothing is attempted for a paused hook, a restart included");
    sink.on("/in", Reply::status(200));
    let resumed = host.admin().patch(&path, &json!({ "paused": false })).await.expect(200).json();
    assert!(resumed.get("paused_by_host").is_none(), "{resumed}");
    sink.wait_until("both events", |sink| (sink.unique_ids("/in").len() == 2).then_some(())).await;
}

#[tokio::test]
async fn retry_after_holds_the_whole_hook_and_spends_no_attempt() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    sink.on_each("/in", |_, nth| if nth == 1 { Reply::status(429).header("retry-after", "600") } else { Reply::status(200) });
    let hook = hook_to(&host, &sink, "shop", "/in").await;
    // The schedule would try again after a second; one try is all it has.
    host.admin().patch(&format!("/event-hooks/{hook}"), &json!({ "delivery": { "retry": { "schedule_ms": [] } } })).await.expect(200);
    emit(host.events(), "shop", "sold", &json!({ "n": 1 })).await;
    sink.wait_for("/in", 1).await;
    delivery_in(&host, &hook, "retrying", 0).await;
    emit(host.events(), "shop", "sold", &json!({ "n": 2 })).await;
    host.advance(Duration::from_secs(500)).await;
    barrier(&host, &sink).await;
    assert_eq!(sink.at("/in").len(), 1, "the hook waits, its second event too");
    host.advance(Duration::from_secs(101)).await;
    sink.wait_until("both events", |sink| (sink.unique_ids("/in").len() == 2 && sink.at("/in").len() == 3).then_some(())).await;
    assert!(dead_letters(&host, &hook).await.is_empty());
}

#[tokio::test]
async fn the_receiver_may_abort_one_message_or_pause_the_hook() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    sink.on("/abort", Reply::status(500).header("webhook-delivery", "abort-message"));
    sink.on("/disable", Reply::status(500).header("webhook-delivery", "disable"));
    let abort = hook_to(&host, &sink, "abort", "/abort").await;
    let disable = hook_to(&host, &sink, "disable", "/disable").await;
    emit(host.events(), "abort", "x", &json!({})).await;
    emit(host.events(), "disable", "x", &json!({})).await;
    delivery_in(&host, &abort, "exhausted", 1).await;
    eventually("the hook is paused", async || {
        let entity = host.admin().get(&format!("/event-hooks/{disable}")).await.expect(200).json();
        entity["paused_by_host"].is_object().then_some(())
    })
    .await;
    barrier(&host, &sink).await;
    assert_eq!(sink.at("/abort").len(), 1);
}

#[tokio::test]
async fn a_clock_that_jumps_far_ahead_attempts_each_due_delivery_once() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    sink.on_each("/in", |_, nth| Reply::status(if nth <= 20 { 500 } else { 200 }));
    let hook = hook_with(&host, &sink, "shop", "/in", &json!({ "delivery": { "retry": { "schedule_ms": [3_600_000, 3_600_000] } } })).await;
    for n in 0..20 {
        emit(host.events(), "shop", "sold", &json!({ "n": n })).await;
    }
    eventually("all are between attempts", async || {
        let all = crate::shared::deliveries(&host, &hook).await;
        (all.iter().filter(|delivery| delivery["state"] == "retrying").count() == 20).then_some(())
    })
    .await;
    host.advance(Duration::from_secs(365 * 24 * HOUR)).await;
    sink.wait_for("/in", 40).await;
    barrier(&host, &sink).await;
    assert_eq!((sink.at("/in").len(), sink.unique_ids("/in").len()), (40, 20));
}
