//! Steps that the stories of several topics take.

use serde_json::{Value, json};
use tenterhook_tests::{Answer, Door, Host, Sink, eventually, fixtures};

/// Creates a hook and gives the entity back.
#[track_caller]
pub(crate) fn created(answer: Answer) -> Value {
    answer.expect(201).json()
}

/// Creates a webhook hook for every event of `source`, sending to `path` of the sink; gives its id.
pub(crate) async fn hook_to(host: &Host, sink: &Sink, source: &str, path: &str) -> String {
    hook_with(host, sink, source, path, &json!({})).await
}

/// As `hook_to`, with more members.
pub(crate) async fn hook_with(host: &Host, sink: &Sink, source: &str, path: &str, more: &Value) -> String {
    let body = fixtures::with(fixtures::webhook(source, &sink.url(path)), more);
    let hook = created(host.admin().post("/event-hooks", &body).await);
    id(&hook)
}

/// An entity's id.
pub(crate) fn id(entity: &Value) -> String {
    entity["id"].as_str().unwrap_or_else(|| panic!("an entity has an id: {entity}")).to_owned()
}

/// Sends one event and gives its id.
pub(crate) async fn emit(events: &Door, source: &str, name: &str, data: &Value) -> String {
    let answer = events.post("/events", &fixtures::event(source, name, data)).await.expect(202).json();
    id(&answer["events"][0])
}

/// The deliveries of a hook, newest first.
pub(crate) async fn deliveries(host: &Host, hook: &str) -> Vec<Value> {
    let answer = host.admin().get(&format!("/event-hooks/{hook}/deliveries?size=1000")).await.expect(200).json();
    answer["data"].as_array().unwrap_or_else(|| panic!("a list has data: {answer}")).clone()
}

/// The dead letters of a hook.
pub(crate) async fn dead_letters(host: &Host, hook: &str) -> Vec<Value> {
    let answer = host.admin().get(&format!("/dead-letters?hook={hook}&size=1000")).await.expect(200).json();
    answer["data"].as_array().unwrap_or_else(|| panic!("a list has data: {answer}")).clone()
}

/// Waits until the only delivery of `hook` has that state and at least that many attempts, all settled; gives it.
pub(crate) async fn delivery_in(host: &Host, hook: &str, state: &str, attempts: usize) -> Value {
    let what = format!("the delivery of hook {hook} in state {state} with {attempts} attempts");
    let found = eventually(&what, async || {
        let all = deliveries(host, hook).await;
        let one = all.into_iter().find(|delivery| !is_ping(delivery))?;
        (one["state"] == state && attempts_of(&one) >= attempts).then_some(one)
    });
    found.await
}

/// How many attempts a listed delivery has behind it.
pub(crate) fn attempts_of(delivery: &Value) -> usize {
    delivery["attempts"].as_array().map_or(0, Vec::len)
}

/// Is the listed delivery one of the host's own pings?
pub(crate) fn is_ping(delivery: &Value) -> bool {
    delivery["source"] == "kong:event_hooks"
}

/// The path of the barrier's hook.
const BARRIER: &str = "/barrier";

/// Emits an event for a hook of its own and waits for it: what was due at the host before it has been started by then.
pub(crate) async fn barrier(host: &Host, sink: &Sink) {
    let hooks = host.admin().get("/event-hooks?size=1000").await.expect(200).json();
    let url = sink.url(BARRIER);
    let exists = hooks["data"].as_array().is_some_and(|all| all.iter().any(|hook| hook["config"]["url"] == url.as_str()));
    if !exists {
        hook_to(host, sink, "barrier", BARRIER).await;
    }
    let before = sink.at(BARRIER).len();
    emit(host.events(), "barrier", "passed", &json!({})).await;
    sink.wait_for(BARRIER, before + 1).await;
}
