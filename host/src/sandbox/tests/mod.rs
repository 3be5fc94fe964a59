//! The sandbox against components that mean harm, and some that do not. Here: what the tests have in common.

mod answers;
mod cache;
mod fairness;
mod gate;
mod http;
mod limits;
mod refusals;
mod reuse;
mod snapshot;

#[path = "../../../../tests/components/built.rs"]
mod built;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{GuestReport, Handler, Invocation, Limits, RunLimits, Sandbox};
use crate::egress::{self, Egress, Grants, Rules};
use crate::model::{Answer, Clock, Event, EventId, EventNo, HookNo, JsonText, Origin, Timestamp};

/// A sandbox of its own, in a folder of its own.
struct Bench {
    sandbox: Sandbox,
    folder: tempfile::TempDir,
}

/// Small enough that every test is fast, and unlike the defaults, so that a message with the wrong number is noticed.
fn limits() -> Limits {
    Limits {
        wall: Duration::from_secs(10),
        fuel: 1_000_000_000,
        memory_bytes: 16 << 20,
        table_elements: 20_000,
        handles: 100,
        log_bytes: 10_000,
        http_requests: 3,
        answer_bytes: 2 << 20,
        instances: 32,
        slots: 2,
        ..Limits::default()
    }
}

fn bench() -> Bench {
    bench_with(limits())
}

fn bench_with(limits: Limits) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox_in(&folder, limits);
    Bench { sandbox, folder }
}

fn sandbox_in(folder: &tempfile::TempDir, limits: Limits) -> Sandbox {
    let clock = Clock::default();
    let egress = Egress::new(egress::Limits::default(), Rules::default(), None, clock.clone()).unwrap();
    Sandbox::new(limits, &folder.path().join("data/code"), egress, clock).unwrap()
}

impl Bench {
    async fn load(&self, name: &str) -> Arc<Handler> {
        self.sandbox.load(built::component(name).into()).await.unwrap_or_else(|error| panic!("{name}: {}", error.message))
    }

    /// One attempt with this config.
    async fn run(&self, handler: &Arc<Handler>, config: Value) -> GuestReport {
        self.sandbox.run(self.invocation(handler, config)).await
    }

    fn invocation(&self, handler: &Arc<Handler>, config: Value) -> Invocation {
        Invocation {
            handler: handler.clone(),
            snapshot: None,
            hook: HookNo(1),
            hook_id: uuid::Uuid::from_u128(7),
            delivery_id: "dlv_1".into(),
            event: Arc::new(event()),
            number: 3,
            first_tried: Timestamp(1_767_323_045_678),
            test: false,
            config: JsonText::from_value(&config),
            settings: JsonText::from_value(&json!({})),
            limits: RunLimits::from(self.sandbox.limits()),
            grants: Grants::any(),
            reuse: false,
        }
    }
}

fn event() -> Event {
    Event {
        no: EventNo(1),
        id: EventId("evt_1".into()),
        source: "crud".into(),
        name: "consumers".into(),
        time: Timestamp(1_767_323_045_678),
        data: JsonText::from_value(&json!({ "entity": { "id": "c1", "username": "alice" }, "operation": "create" })),
        key: None,
        attributes: vec![("traceparent".into(), "00-1".into())],
        origin: Origin::Producer,
    }
}

/// The value of `done`.
fn value(report: &GuestReport) -> Value {
    match &report.outcome {
        Ok(Answer::Done(Some(json))) => json.to_value(),
        other => panic!("not done with a value: {other:?}; {:?}", report.logs),
    }
}

/// Overwrites a mark in a component, so that it does something else.
fn marked(name: &str, mark: &str, with: &str) -> Vec<u8> {
    assert_eq!(mark.len(), with.len());
    let mut bytes = built::component(name);
    let mut found = 0;
    for at in 0..bytes.len() - mark.len() {
        if bytes[at..].starts_with(mark.as_bytes()) {
            bytes[at..at + with.len()].copy_from_slice(with.as_bytes());
            found += 1;
        }
    }
    assert!(found > 0, "{mark} is not in {name}");
    bytes
}
