//! What the Admin API refuses, in Kong's words. The numbers are the acceptance cases'.

use http::Method;
use serde_json::{Value, json};
use tenterhook_tests::{Host, Sink};

use crate::shared::{created, hook_to, id};

const UNKNOWN: &str = "c57340ab-9fed-40fd-bb7e-1cef8d37c2df";

/// Kong's schema violation with one field.
fn violation(message: &str, fields: &Value) -> Value {
    json!({ "code": 2, "name": "schema violation", "message": format!("schema violation ({message})"), "fields": fields })
}

#[tokio::test]
async fn cases_19_to_27_schema_violations_are_worded_as_kongs() {
    let host = Host::start().await;
    let log = |member: &str, value: Value| json!({ "source": "crud", "handler": "log", member: value });
    let webhook = |config: Value| json!({ "source": "crud", "handler": "webhook", "config": config });
    let url = "http://127.0.0.1:9/";
    let table = [
        (json!({}), "handler: required field missing", json!({ "handler": "required field missing" })),
        (json!({ "handler": "foo", "source": "crud" }), "handler: unknown type: foo", json!({ "handler": "unknown type: foo" })),
        (
            json!({ "handler": "webhook", "source": "crud" }),
            "config.url: required field missing",
            json!({ "config": { "url": "required field missing" } }),
        ),
        (
            json!({ "handler": "webhook", "config": { "url": url } }),
            "source: required field missing",
            json!({ "source": "required field missing" }),
        ),
        (webhook(json!({ "url": "not-a-url" })), "config.url: missing host in url", json!({ "config": { "url": "missing host in url" } })),
        (webhook(json!({ "url": "//h/x" })), "config.url: missing scheme in url", json!({ "config": { "url": "missing scheme in url" } })),
        (webhook(json!({ "url": 7 })), "config.url: expected a string", json!({ "config": { "url": "expected a string" } })),
        (
            webhook(json!({ "url": url, "headers": 7 })),
            "config.headers: expected a map",
            json!({ "config": { "headers": "expected a map" } }),
        ),
        (
            webhook(json!({ "url": url, "secret": "" })),
            "config.secret: length must be at least 1",
            json!({ "config": { "secret": "length must be at least 1" } }),
        ),
        (log("config", json!({ "x": 1 })), "config.x: unknown field", json!({ "config": { "x": "unknown field" } })),
        (log("config", json!("x")), "config: expected a record", json!({ "config": "expected a record" })),
        (log("foo", json!(1)), "foo: unknown field", json!({ "foo": "unknown field" })),
        (log("snooze", json!("soon")), "snooze: expected an integer", json!({ "snooze": "expected an integer" })),
        (log("snooze", json!(-1)), "snooze: value must be at least 0", json!({ "snooze": "value must be at least 0" })),
        (log("on_change", json!("yes")), "on_change: expected a boolean", json!({ "on_change": "expected a boolean" })),
        (log("event", json!("")), "event: length must be at least 1", json!({ "event": "length must be at least 1" })),
        (log("id", json!("x")), "id: expected a valid UUID", json!({ "id": "expected a valid UUID" })),
    ];
    for (body, message, fields) in table {
        let answer = host.admin().post("/event-hooks", &body).await;
        assert_eq!((answer.status, answer.json()), (400, violation(message, &fields)), "for {body}");
    }
    host.admin().get("/event-hooks").await.expect_json(200, &json!({ "data": [], "next": null }));
}

#[tokio::test]
async fn several_violations_are_counted_and_sorted_and_come_from_handler_and_host_alike() {
    let host = Host::start().await;
    let answer = host.admin().post("/event-hooks", &json!({ "handler": "webhook", "snooze": "x" })).await.expect(400).json();
    let message = "3 schema violations (config.url: required field missing; snooze: expected an integer; source: required field missing)";
    assert_eq!(answer["message"], message);
    let fields = json!({
        "config": { "url": "required field missing" }, "snooze": "expected an integer", "source": "required field missing"
    });
    assert_eq!((&answer["fields"], &answer["code"]), (&fields, &json!(2)));
}

#[tokio::test]
async fn case_11_sizes_and_offsets_are_checked() {
    let host = Host::start().await;
    let size = |message: &str| json!({ "code": 9, "name": "invalid size", "message": message });
    let range = "size must be an integer between 1 and 1000";
    host.admin().get("/event-hooks?size=abc").await.expect_json(400, &size("size must be a number"));
    for wrong in ["0", "1001"] {
        host.admin().get(&format!("/event-hooks?size={wrong}")).await.expect_json(400, &size(range));
    }
    let message = "'x' is not a valid offset: bad base64 encoding";
    let offset = json!({ "code": 7, "name": "invalid offset", "message": message });
    host.admin().get("/event-hooks?offset=x").await.expect_json(400, &offset);
}

#[tokio::test]
async fn case_17_an_id_that_is_none_is_told_so() {
    let host = Host::start().await;
    let expected = json!({ "code": 10, "name": "invalid unique id", "message": "expected a valid UUID" });
    host.admin().get("/event-hooks/not-a-uuid").await.expect_json(400, &expected);
}

#[tokio::test]
async fn an_unknown_id_cannot_be_read_or_changed() {
    let host = Host::start().await;
    let path = format!("/event-hooks/{UNKNOWN}");
    host.admin().get(&path).await.expect_json(404, &json!({ "message": "Not found" }));
    let message = format!("could not find the entity with primary key '{{id=\"{UNKNOWN}\"}}'");
    let expected = json!({ "code": 6, "name": "not found", "message": message, "fields": { "id": UNKNOWN } });
    host.admin().patch(&path, &json!({ "event": "x" })).await.expect_json(404, &expected);
}

#[tokio::test]
async fn case_29_bodies_that_cannot_be_read_are_told_apart() {
    let host = Host::start().await;
    let post =
        |content_type: &'static str, body: &'static str| host.admin().call(Method::POST, "/event-hooks").body(content_type, body).send();
    post("application/json", "{bad").await.expect_json(400, &json!({ "message": "Cannot parse JSON body" }));
    assert!(post("text/plain", "x").await.expect(415).body.is_empty());
    let untyped = host.admin().call(Method::POST, "/event-hooks").untyped("{}").send().await.expect(415);
    assert!(untyped.body.is_empty());
}

#[tokio::test]
async fn an_unknown_route_is_404() {
    let host = Host::start().await;
    host.admin().get("/no/such/route/here").await.expect_json(404, &json!({ "message": "Not found" }));
}

#[tokio::test]
async fn a_refused_change_changes_nothing() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    let hook = hook_to(&host, &sink, "crud", "/in").await;
    let path = format!("/event-hooks/{hook}");
    let before = host.admin().get(&path).await.expect(200).json();
    for body in [json!({ "config": { "url": "not-a-url" } }), json!({ "event": "x", "foo": 1 }), json!({ "handler": "log" })] {
        host.admin().patch(&path, &body).await.expect(400);
        host.admin().get(&path).await.expect_json(200, &before);
    }
}

#[tokio::test]
async fn creation_with_an_unregistered_source_is_allowed() {
    let host = Host::start().await;
    let hook = created(host.admin().post("/event-hooks", &json!({ "source": "foo", "event": "bar", "handler": "log" })).await);
    assert!(!id(&hook).is_empty());
}
