//! Uploaded handlers: installing, refusing, granting, and what becomes of one that crashes.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use tenterhook_tests::components::component;
use tenterhook_tests::{Answer, Host, Sink, eventually};

use crate::shared::{barrier, created, dead_letters, deliveries, delivery_in, emit, hook_to, id};

/// Longer than every gap of the default schedule with its jitter.
const PAST_ANY_GAP: Duration = Duration::from_secs(30 * 3600);

async fn upload(host: &Host, name: &str, component: impl Into<bytes::Bytes>) -> Answer {
    let path = format!("/handlers/{name}?wait=60s&grant=asked");
    host.admin().call(Method::PUT, &path).body("application/wasm", component).send().await
}

async fn install(host: &Host, name: &str, guest: &str) {
    let answer = upload(host, name, component(guest)).await;
    assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
}

/// A hook of the hostile guest that does `what`.
async fn hostile(host: &Host, source: &str, what: &str, more: &Value) -> String {
    let body = json!({ "source": source, "handler": "hostile", "config": { "do": what } });
    id(&created(host.admin().post("/event-hooks", &tenterhook_tests::fixtures::with(body, more)).await))
}

async fn with_hostile() -> Host {
    let host = Host::start().await;
    install(&host, "hostile", "hostile").await;
    host
}

#[tokio::test]
async fn the_built_in_handlers_are_listed_and_cannot_be_replaced() {
    let host = Host::start().await;
    let list = host.admin().get("/handlers").await.expect(200).json();
    let names: Vec<&str> = list["data"].as_array().expect("a list").iter().filter_map(|handler| handler["name"].as_str()).collect();
    for name in ["webhook", "log"] {
        assert!(names.contains(&name), "{name} in {names:?}");
        let one = host.admin().get(&format!("/handlers/{name}")).await.expect(200).json();
        assert_eq!(one["name"], name);
        upload(&host, name, component("forward")).await.expect(409);
    }
    host.admin().get("/handlers/nope").await.expect(404);
}

#[tokio::test]
async fn what_is_no_component_is_refused_with_a_sentence() {
    let host = Host::start().await;
    let mut truncated = component("forward");
    truncated.truncate(truncated.len() / 2);
    let not_components = [b"".to_vec(), b"not wasm".to_vec(), b"\0asm\x01\0\0\0".to_vec(), b"\0asm\x0d\0\x01\0garbage".to_vec(), truncated];
    for bytes in not_components.into_iter().chain(["unknown-import", "other-export"].map(component)) {
        let answer = upload(&host, "broken", bytes).await.expect(400).json();
        assert!(answer["message"].as_str().is_some_and(|message| !message.is_empty()), "{answer}");
    }
    let wrong = host.admin().call(Method::PUT, "/handlers/broken").body("application/json", "{}").send().await;
    assert!((400..500).contains(&wrong.status), "{}", wrong.status);
    for name in ["Broken", "a%20b", "slack_digest"] {
        let answer = upload(&host, name, component("forward")).await;
        assert_eq!(answer.status, 400, "{name}: {}", answer.text());
    }
    host.admin().post("/event-hooks", &json!({ "source": "shop", "handler": "broken" })).await.expect(400);
}

#[tokio::test]
async fn an_uploaded_handler_delivers_like_a_built_in_one_and_outlives_a_restart() {
    let (mut host, sink) = (Host::start().await, Sink::start().await);
    install(&host, "forward", "forward").await;
    let hook = json!({ "source": "shop", "handler": "forward", "config": { "url": sink.url("/in") } });
    created(host.admin().post("/event-hooks", &hook).await);
    let first = emit(host.events(), "shop", "sold", &json!({ "n": 1 })).await;
    let got = sink.wait_for("/in", 1).await;
    assert_eq!((got[0].id(), got[0].json()), (first.as_str(), json!({ "n": 1, "source": "shop", "event": "sold" })));
    for kill in [false, true] {
        if kill {
            host.kill9();
        }
        host.restart().await;
        let next = emit(host.events(), "shop", "sold", &json!({ "n": 2 })).await;
        sink.wait_until("the event after the restart", |sink| sink.unique_ids("/in").contains(&next).then_some(())).await;
    }
}

#[tokio::test]
async fn its_own_validate_words_the_refusal_of_a_hook() {
    let host = Host::start().await;
    install(&host, "forward", "forward").await;
    let answer =
        host.admin().post("/event-hooks", &json!({ "source": "shop", "handler": "forward", "config": {} })).await.expect(400).json();
    assert_eq!(answer["message"], "schema violation (config.url: required field missing)");
}

#[tokio::test]
async fn a_handler_without_a_grant_reaches_nothing() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    let answer = host.admin().call(Method::PUT, "/handlers/forward?wait=60s").body("application/wasm", component("forward")).send().await;
    assert!((200..300).contains(&answer.status), "{}", answer.text());
    let body = json!({ "source": "shop", "handler": "forward", "config": { "url": sink.url("/in") } });
    let hook = id(&created(host.admin().post("/event-hooks", &body).await));
    emit(host.events(), "shop", "sold", &json!({})).await;
    let failure = delivery_in(&host, &hook, "retrying", 1).await["attempts"][0]["failure"].clone();
    assert_eq!(failure["code"], "denied", "{failure}");
    assert!(sink.all().is_empty());
    // Installed again with what it asks for, the same hook works, and what waits is delivered.
    install(&host, "forward", "forward").await;
    host.advance(PAST_ANY_GAP).await;
    sink.wait_for("/in", 1).await;
}

#[tokio::test]
async fn a_trap_is_retried_three_times_and_then_quarantined() {
    let (host, sink) = (with_hostile().await, Sink::start().await);
    let hook = hostile(&host, "bad", "trap", &json!({})).await;
    let good = hostile(&host, "good", "echo", &json!({})).await;
    let event = emit(host.events(), "bad", "x", &json!({})).await;
    for attempts in 1..=3 {
        let delivery = delivery_in(&host, &hook, "retrying", attempts).await;
        assert_eq!(delivery["attempts"][attempts - 1]["failure"]["code"], "trap", "{delivery}");
        host.advance(PAST_ANY_GAP).await;
    }
    delivery_in(&host, &hook, "quarantined", 4).await;
    let letters = dead_letters(&host, &hook).await;
    assert!(letters.len() == 1 && letters[0]["kind"] == "quarantined" && letters[0].to_string().contains(&event), "{letters:?}");
    host.advance(PAST_ANY_GAP).await;
    barrier(&host, &sink).await;
    assert_eq!(deliveries(&host, &hook).await.len(), 1);
    // The handler itself is not to blame for one hook's config: the next event on it works.
    emit(host.events(), "good", "x", &json!({})).await;
    delivery_in(&host, &good, "delivered", 1).await;
}

#[tokio::test]
async fn five_quarantines_in_a_row_pause_that_hook_alone() {
    let (host, sink) = (with_hostile().await, Sink::start().await);
    let bad = hostile(&host, "bad", "panic", &json!({})).await;
    hook_to(&host, &sink, "bad", "/good").await;
    for _ in 0..6 {
        emit(host.events(), "bad", "x", &json!({})).await;
    }
    let paused = eventually("the host pauses the crashing hook", async || {
        host.advance(PAST_ANY_GAP).await;
        let entity = host.admin().get(&format!("/event-hooks/{bad}")).await.expect(200).json();
        entity["paused_by_host"].is_object().then_some(entity)
    })
    .await;
    assert!(paused["paused_by_host"]["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{paused}");
    sink.wait_for("/good", 6).await;
}

#[tokio::test]
async fn every_bad_behaviour_has_its_own_code_and_the_next_event_works() {
    let host = with_hostile().await;
    let fuel = json!({ "limits": { "fuel": 20_000_000 } });
    // Shorter than the default fuel lasts.
    let short = json!({ "delivery": { "timeout_ms": 50 } });
    let table = [
        ("loop", &fuel, "fuel-limit", "limits.fuel"),
        ("loop", &short, "deadline", "50"),
        ("sleep", &short, "deadline", "50"),
        ("memory", &json!({}), "memory-limit", "limits.memory_bytes"),
        // A Rust guest's stack lies in its own memory, so its overflow is a trap; the limit of the host's stack is the sandbox's own test.
        ("stack", &json!({}), "trap", "deep"),
        ("panic", &json!({}), "panic", "as configured"),
        ("trap", &json!({}), "trap", "out of bounds"),
        ("exit", &json!({}), "guest-exit", ""),
        ("log", &json!({}), "log-limit", "limits.log_bytes"),
        ("hostcall", &json!({}), "hostcall-limit", "limits.hostcall_bytes"),
        ("handles", &json!({}), "handle-limit", "limits.handles"),
        ("http-flood", &json!({}), "http-limit", "limits.http_requests"),
    ];
    for (n, (what, more, code, named)) in table.into_iter().enumerate() {
        let source = format!("bad-{n}");
        let hook = hostile(&host, &source, what, more).await;
        emit(host.events(), &source, "x", &json!({})).await;
        let attempt = delivery_in(&host, &hook, "retrying", 1).await["attempts"][0].clone();
        assert_eq!(attempt["failure"]["code"], code, "{what}: {attempt}");
        // In the detail, or in what the guest wrote before it ended.
        assert!(attempt.to_string().contains(named), "{what} names {named}: {attempt}");
    }
    let hook = hostile(&host, "good", "echo", &json!({})).await;
    emit(host.events(), "good", "x", &json!({})).await;
    delivery_in(&host, &hook, "delivered", 1).await;
}

#[tokio::test]
async fn a_handler_may_reject_pause_or_ask_for_later() {
    let host = with_hostile().await;
    let reject = hostile(&host, "reject", "reject", &json!({})).await;
    let pause = hostile(&host, "pause", "pause", &json!({})).await;
    let retry = hostile(&host, "retry", "retry", &json!({})).await;
    for source in ["reject", "pause", "retry"] {
        emit(host.events(), source, "x", &json!({})).await;
    }
    let dead = delivery_in(&host, &reject, "exhausted", 1).await;
    assert!(dead.to_string().contains("never"), "{dead}");
    eventually("the hook that asked for it is paused", async || {
        let entity = host.admin().get(&format!("/event-hooks/{pause}")).await.expect(200).json();
        (entity["paused_by_host"]["reason"].as_str()?.contains("stop")).then_some(())
    })
    .await;
    let later = delivery_in(&host, &retry, "retrying", 1).await;
    assert_eq!(later["attempts"][0]["failure"]["code"], "retry", "{later}");
}

#[tokio::test]
async fn looping_guests_leave_a_third_hook_its_latency() {
    const PROMPT: Duration = Duration::from_secs(5);
    let (host, sink) = (with_hostile().await, Sink::start().await);
    // Fuel for longer than this test takes: only the epochs keep these two from the cores.
    let long = json!({ "delivery": { "timeout_ms": 20_000 } });
    for source in ["loop-1", "loop-2"] {
        hostile(&host, source, "flood", &long).await;
    }
    hook_to(&host, &sink, "shop", "/in").await;
    for source in ["loop-1", "loop-2"] {
        for _ in 0..4 {
            emit(host.events(), source, "x", &json!({})).await;
        }
    }
    let mut slowest = Duration::ZERO;
    for n in 1..=40 {
        let sent = Instant::now();
        emit(host.events(), "shop", "sold", &json!({ "n": n })).await;
        sink.wait_for("/in", n).await;
        slowest = slowest.max(sent.elapsed());
    }
    assert!(slowest < PROMPT, "the healthy hook's slowest event took {slowest:?}");
}

#[tokio::test]
async fn a_replaced_handler_is_used_from_the_next_attempt_on() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    install(&host, "mine", "hostile").await;
    let body = json!({ "source": "shop", "handler": "mine", "config": { "do": "trap", "url": sink.url("/in") } });
    let hook = id(&created(host.admin().post("/event-hooks", &body).await));
    emit(host.events(), "shop", "sold", &json!({})).await;
    delivery_in(&host, &hook, "retrying", 1).await;
    install(&host, "mine", "forward").await;
    host.advance(PAST_ANY_GAP).await;
    sink.wait_for("/in", 1).await;
}

#[tokio::test]
async fn a_test_shows_what_a_handler_gives_back_and_why_it_fails() {
    let (host, sink) = (with_hostile().await, Sink::start().await);
    let echo = hostile(&host, "shop", "echo", &json!({ "event": "sold" })).await;
    let answer = host.admin().post(&format!("/event-hooks/{echo}/test"), &json!({ "a": 1 })).await.expect(200).json();
    assert_eq!((&answer["result"]["test"], &answer["result"]["source"]), (&json!(true), &json!("shop")), "{answer}");
    let body = json!({ "source": "shop", "handler": "hostile", "config": { "do": "http", "url": sink.url("/called") } });
    let http = id(&created(host.admin().post("/event-hooks", &body).await));
    let answer = host.admin().post(&format!("/event-hooks/{http}/test"), &json!({})).await.expect(200).json();
    assert_eq!(answer["result"]["status"], 200, "{answer}");
    assert_eq!(sink.at("/called")[0].header("x-hostile"), "yes");
    let trap = hostile(&host, "shop", "trap", &json!({})).await;
    let answer = host.admin().post(&format!("/event-hooks/{trap}/test"), &json!({})).await.expect(500).json();
    assert_eq!(answer["message"], "An unexpected error ocurred");
}
