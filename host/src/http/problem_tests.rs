//! What each error looks like at each door.

use axum::body::to_bytes;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;

async fn answered(problem: Problem, door: Door) -> (u16, http::HeaderMap, Value) {
    let (head, body) = problem.answer(door).into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    (head.status.as_u16(), head.headers, if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() })
}

async fn check(door: Door, problem: Problem, status: u16, body: Value) -> http::HeaderMap {
    let (got, headers, said) = answered(problem, door).await;
    assert_eq!((got, &said), (status, &body));
    headers
}

#[tokio::test]
async fn the_admin_door_speaks_as_kong_does() {
    let id = Uuid::from_u128(7);
    let admin = |problem, status, body| check(Door::Admin, problem, status, body);
    admin(Problem::NotFound, 404, json!({ "message": "Not found" })).await;
    admin(Problem::NoSuchSource, 404, json!({ "message": "Not Found" })).await;
    let allow = Problem::MethodNotAllowed { allow: "GET, HEAD".into() };
    assert_eq!(admin(allow, 405, json!({ "message": "Method not allowed" })).await["allow"], "GET, HEAD");
    admin(Problem::KongMediaType, 415, Value::Null).await;
    admin(Problem::CannotParseJson, 400, json!({ "message": "Cannot parse JSON body" })).await;
    admin(Problem::Internal("disk on fire".into()), 500, json!({ "message": "An unexpected error occurred" })).await;
    admin(Problem::InvalidId, 400, json!({ "code": 10, "name": "invalid unique id", "message": "expected a valid UUID" })).await;
    let size = Problem::InvalidSize("size must be a number");
    admin(size, 400, json!({ "code": 9, "name": "invalid size", "message": "size must be a number" })).await;
    let offset = json!({ "code": 7, "name": "invalid offset", "message": "'x' is not a valid offset: bad base64 encoding" });
    admin(Problem::InvalidOffset("x".into(), "bad base64 encoding"), 400, offset).await;
    let missing = json!({
        "code": 6, "name": "not found", "fields": { "id": id },
        "message": "could not find the entity with primary key '{id=\"00000000-0000-0000-0000-000000000007\"}'",
    });
    admin(Problem::NoSuchHook(id), 404, missing).await;
    let taken = json!({
        "code": 3, "name": "primary key violation", "fields": { "id": id },
        "message": "primary key violation on key '{id=\"00000000-0000-0000-0000-000000000007\"}'",
    });
    admin(Problem::Change(ChangeError::DuplicateId(id)), 400, taken).await;
    let unique = json!({
        "code": 5, "name": "unique constraint violation", "fields": { "name": "n" }, "message": "UNIQUE violation detected on '{name=\"n\"}'",
    });
    admin(Problem::Change(ChangeError::NameTaken("n".into())), 409, unique).await;
    let built_in = Problem::Change(ChangeError::BuiltIn("source 'crud'".into()));
    admin(built_in, 409, json!({ "message": "source 'crud' is built in" })).await;
    let invalid = Problem::Change(ChangeError::Invalid(Invalid::one("handler", "required field missing")));
    let body = json!({
        "code": 2, "name": "schema violation", "message": "schema violation (handler: required field missing)",
        "fields": { "handler": "required field missing" },
    });
    admin(invalid, 400, body).await;
    let ping = Problem::Ping("handler 'log' does not support 'ping'".into());
    admin(ping, 400, json!({ "message": "handler 'log' does not support 'ping'" })).await;
    admin(Problem::Test("boom".into()), 500, json!({ "message": "An unexpected error ocurred", "err": "boom" })).await;
    let denied = Problem::Denied(Denied::WrongToken);
    admin(denied, 401, json!({ "message": "the token is not known", "status": 401 })).await;
}

#[tokio::test]
async fn the_events_door_gives_a_message_and_a_stable_word() {
    let events = |problem, status, body| check(Door::Events, problem, status, body);
    events(Problem::NotFound, 404, json!({ "message": "Not found", "code": "not-found" })).await;
    let errors = || vec![EventError { index: 3, message: "source: required field missing".into() }];
    let one = json!({ "message": "event 3: source: required field missing", "code": "invalid", "errors": errors() });
    events(Problem::Events(errors()), 400, one).await;
    let unregistered = AcceptError::Unregistered { index: 0, message: "source 'dog' is not registered".into() };
    let body = json!({
        "message": "source 'dog' is not registered", "code": "unregistered",
        "errors": [{ "index": 0, "message": "source 'dog' is not registered" }],
    });
    events(Problem::Accept(unregistered), 422, body).await;
    let full = AcceptError::Full { reason: "no room".into(), retry_after: Duration::from_millis(300) };
    let headers = events(Problem::Accept(full), 503, json!({ "message": "no room", "code": "full" })).await;
    assert_eq!(headers["retry-after"], "1");
    let large = Problem::TooLarge { what: "the body is longer".into(), limit: 5, setting: Some("events.max_body") };
    let body = json!({ "message": "the body is longer, more than the limit of 5 (setting events.max_body)", "code": "too-large" });
    events(large, 413, body).await;
    let large = Problem::EventTooLarge { errors: errors(), limit: 9 };
    let message = "an event is longer than the limit of 9 bytes (setting events.max_event)";
    events(large, 413, json!({ "message": message, "code": "event-too-large", "errors": errors() })).await;
}

#[tokio::test]
async fn an_unknown_media_type_is_shown_what_would_have_worked() {
    let problem = Problem::MediaType { said: Some("text/plain".into()), accept: EVENT_TYPES, example: "Content-Type: application/json" };
    let (status, headers, body) = answered(problem, Door::Events).await;
    assert_eq!((status, headers["accept"].to_str().unwrap()), (415, EVENT_TYPES));
    let message = body["message"].as_str().unwrap();
    assert!(message.starts_with("Content-Type 'text/plain' is not taken here; send one of: application/json, "), "{message}");
    assert!(message.ends_with("This line would have worked: Content-Type: application/json"), "{message}");
    assert_eq!(body["code"], "media-type");
}
