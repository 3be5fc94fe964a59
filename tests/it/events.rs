//! The events door: what comes in, in which form, and what is answered.

use http::Method;
use serde_json::{Value, json};
use tenterhook_tests::{Answer, Host, Sink, fixtures};

use crate::shared::{emit, hook_to, id};

#[tokio::test]
async fn one_event_is_answered_when_it_is_accepted_and_reaches_the_sink() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_to(&host, &sink, "crud", "/in").await;
    let answer = host.events().post("/events", &fixtures::consumer_event()).await.expect(202).json();
    let [event] = answer["events"].as_array().expect("a list").as_slice() else { panic!("one event: {answer}") };
    assert!(id(event).starts_with("evt_"), "{event}");
    assert_eq!((&event["deliveries"], &event["duplicate"]), (&json!(1), &json!(false)));
    let got = sink.wait_for("/in", 1).await;
    assert_eq!(got[0].id(), id(event));
    assert_eq!(got[0].json(), fixtures::consumer_created_on_the_wire());
}

#[tokio::test]
async fn an_array_is_accepted_as_a_whole_with_an_answer_for_each() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_to(&host, &sink, "shop", "/in").await;
    let events: Vec<Value> =
        (0..50).map(|n| json!({ "source": "shop", "event": "sold", "data": { "n": n }, "key": format!("k{n}") })).collect();
    let answer = host.events().post("/events", &json!(events)).await.expect(202).json();
    let answered = answer["events"].as_array().expect("a list");
    assert_eq!(answered.len(), 50);
    for (n, event) in answered.iter().enumerate() {
        assert_eq!(event["key"], format!("k{n}"), "answers stand in the order of the request");
    }
    let ids: std::collections::HashSet<String> = answered.iter().map(id).collect();
    sink.wait_for("/in", 50).await;
    assert_eq!(sink.unique_ids("/in"), ids);
}

#[tokio::test]
async fn an_empty_array_is_accepted_and_is_nothing() {
    let host = Host::start().await;
    let answer = host.events().post("/events", &json!([])).await;
    // The document allows an array of events and names no least number.
    answer.expect_json(202, &json!({ "events": [] }));
}

#[tokio::test]
async fn messagepack_is_the_same_event_under_each_of_its_names() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_to(&host, &sink, "crud", "/in").await;
    let one = rmp_serde::to_vec_named(&fixtures::consumer_event()).expect("an event can be written as MessagePack");
    for name in ["application/msgpack", "application/vnd.msgpack", "application/x-msgpack"] {
        host.events().call(Method::POST, "/events").body(name, one.clone()).send().await.expect(202);
    }
    let many = rmp_serde::to_vec_named(&json!([fixtures::consumer_event(), fixtures::consumer_event()])).expect("so can two");
    let answer = host.events().call(Method::POST, "/events").body("application/msgpack", many).send().await.expect(202).json();
    assert_eq!(answer["events"].as_array().map(Vec::len), Some(2));
    for got in sink.wait_for("/in", 5).await {
        assert_eq!(got.json(), fixtures::consumer_created_on_the_wire());
    }
}

#[tokio::test]
async fn the_path_form_takes_the_data_alone() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_to(&host, &sink, "crud", "/in").await;
    let post = |body: Vec<u8>, content_type: &'static str| {
        let call = host.events().call(Method::POST, "/events/crud/consumers").header("idempotency-key", content_type);
        call.body(content_type, body).send()
    };
    let answer = post(fixtures::consumer_created().to_string().into(), "application/json").await.expect(202).json();
    assert_eq!(answer["events"][0]["key"], "application/json");
    post(rmp_serde::to_vec_named(&fixtures::consumer_created()).expect("data as MessagePack"), "application/msgpack").await.expect(202);
    for got in sink.wait_for("/in", 2).await {
        assert_eq!(got.json(), fixtures::consumer_created_on_the_wire());
    }
}

#[tokio::test]
async fn in_the_path_form_an_array_is_one_events_data() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_to(&host, &sink, "shop", "/in").await;
    let answer = host.events().post("/events/shop/sold", &json!([1, 2, 3])).await.expect(202).json();
    assert_eq!(answer["events"].as_array().map(Vec::len), Some(1));
    let got = sink.wait_for("/in", 1).await;
    assert_eq!(got[0].json(), json!({ "data": [1, 2, 3], "event": "sold", "source": "shop" }));
}

#[tokio::test]
async fn data_that_is_no_object_reaches_webhooks_wrapped() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_to(&host, &sink, "shop", "/in").await;
    for data in [json!("text"), json!(7), json!(null), json!([1, "two"]), json!(true)] {
        emit(host.events(), "shop", "sold", &data).await;
    }
    let bodies: Vec<Value> = sink.wait_for("/in", 5).await.iter().map(|got| got.json()).collect();
    for data in [json!("text"), json!(7), json!(null), json!([1, "two"]), json!(true)] {
        assert!(bodies.contains(&json!({ "data": data, "event": "sold", "source": "shop" })), "{data} in {bodies:?}");
    }
}

#[tokio::test]
async fn data_defaults_to_an_empty_object() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_to(&host, &sink, "shop", "/in").await;
    host.events().post("/events", &json!({ "source": "shop", "event": "opened" })).await.expect(202);
    assert_eq!(sink.wait_for("/in", 1).await[0].json(), json!({ "event": "opened", "source": "shop" }));
}

#[tokio::test]
async fn numbers_keep_their_digits_on_the_way() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_to(&host, &sink, "shop", "/in").await;
    let body = r#"{"source":"shop","event":"sold","data":{"big":12345678901234567890,"exact":0.1,"id":9007199254740993}}"#;
    host.events().call(Method::POST, "/events").body("application/json", body).send().await.expect(202);
    let got = sink.wait_for("/in", 1).await[0].clone();
    let text = String::from_utf8_lossy(&got.body).into_owned();
    for digits in ["12345678901234567890", "0.1", "9007199254740993"] {
        assert!(text.contains(digits), "{digits} in {text}");
    }
}

#[tokio::test]
async fn prefer_return_minimal_leaves_the_body_out() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_to(&host, &sink, "crud", "/in").await;
    let call = host.events().call(Method::POST, "/events").header("prefer", "return=minimal");
    let answer = call.json(&fixtures::consumer_event()).send().await.expect(202);
    assert!(answer.body.is_empty(), "{}", answer.text());
    sink.wait_for("/in", 1).await;
}

#[tokio::test]
async fn every_answer_has_a_request_id() {
    let host = Host::start().await;
    let events = host.events();
    let answers = [
        events.post("/events", &fixtures::consumer_event()).await.expect(202),
        events.post("/events", &json!({ "event": "x" })).await.expect(400),
        events.call(Method::POST, "/events").untyped("x").send().await.expect(415),
        events.get("/nowhere").await.expect(404),
        host.admin().get("/event-hooks").await.expect(200),
    ];
    let ids: std::collections::HashSet<&str> = answers.iter().map(|answer| answer.header("x-request-id")).collect();
    assert!(!ids.contains(""), "an answer has no X-Request-Id");
    assert_eq!(ids.len(), answers.len(), "each has its own");
}

#[tokio::test]
async fn http_2_by_prior_knowledge_is_spoken() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_to(&host, &sink, "crud", "/in").await;
    host.events().over_http2().post("/events", &fixtures::consumer_event()).await.expect(202);
    sink.wait_for("/in", 1).await;
}

#[tokio::test]
async fn what_is_wrong_with_an_event_is_said_with_its_place() {
    let host = Host::start().await;
    let table: &[(Value, usize, &str)] = &[
        (json!({ "event": "x" }), 0, "source: required field missing"),
        (json!({ "source": "shop" }), 0, "event: required field missing"),
        (json!({ "source": "shop", "event": "x", "colour": 1 }), 0, "colour"),
        (json!({ "source": 7, "event": "x" }), 0, "source"),
        (json!({ "source": "", "event": "x" }), 0, "source"),
        (json!({ "source": "shop", "event": "x", "time": "yesterday" }), 0, "time"),
        (json!({ "source": "shop", "event": "x", "key": "k".repeat(257) }), 0, "key"),
        (json!({ "source": "shop", "event": "x", "key": "a\u{1}b" }), 0, "key"),
        (json!([{ "source": "shop", "event": "x" }, { "event": "x" }]), 1, "source: required field missing"),
        (json!([7]), 0, ""),
    ];
    for (body, index, message) in table {
        let answer = host.events().post("/events", body).await.expect(400);
        assert_error(&answer);
        let error = &answer.json()["errors"][0];
        assert_eq!(error["index"], json!(index), "{body} → {}", answer.text());
        assert!(error["message"].as_str().is_some_and(|said| said.contains(message)), "{body} → {}", answer.text());
    }
}

#[tokio::test]
async fn every_wrong_event_of_a_request_is_named_at_once() {
    let host = Host::start().await;
    let body = json!([{ "event": "x" }, { "source": "shop", "event": "x" }, { "source": "shop" }]);
    let answer = host.events().post("/events", &body).await.expect(400).json();
    let indexes: Vec<&Value> = answer["errors"].as_array().expect("a list").iter().map(|error| &error["index"]).collect();
    assert_eq!(indexes, [&json!(0), &json!(2)], "{answer}");
}

#[tokio::test]
async fn a_request_is_all_or_nothing() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_to(&host, &sink, "shop", "/in").await;
    let good = json!({ "source": "shop", "event": "sold", "data": { "n": 1 }, "key": "first" });
    host.events().post("/events", &json!([good, { "source": "shop" }])).await.expect(400);
    // Had the first event been accepted, its key would now be a duplicate.
    let answer = host.events().post("/events", &good).await.expect(202).json();
    assert_eq!(answer["events"][0]["duplicate"], false);
    crate::shared::barrier(&host, &sink).await;
    assert_eq!(sink.at("/in").len(), 1);
}

#[tokio::test]
async fn malformed_bodies_are_400_and_say_where() {
    let host = Host::start().await;
    let deep = format!(r#"{{"source":"s","event":"e","data":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    let table: &[(&str, Vec<u8>)] = &[
        ("application/json", b"{bad".to_vec()),
        ("application/json", b"".to_vec()),
        ("application/json", b"{\"source\":\"s\",\"event\":\"e\",\"data\":\"\xff\"}".to_vec()),
        ("application/json", br#"{"source":"s","source":"t","event":"e"}"#.to_vec()),
        ("application/json", br#"{"source":"s","event":"e"} trailing"#.to_vec()),
        ("application/json", deep.into_bytes()),
        ("application/msgpack", vec![0xc1]),
        ("application/msgpack", vec![0x82, 0xa6, b's', b'o']),
        // An extension value, and a map whose key is a number.
        ("application/msgpack", vec![0xd4, 0x01, 0x00]),
        ("application/msgpack", vec![0x81, 0x01, 0x02]),
    ];
    for (content_type, body) in table {
        let answer = host.events().call(Method::POST, "/events").body(content_type, body.clone()).send().await;
        assert_eq!(answer.status, 400, "{:?} → {}", String::from_utf8_lossy(body), answer.text());
        assert_error(&answer);
    }
    host.events().get("/health/live").await.expect(200);
}

#[tokio::test]
async fn an_unknown_content_type_is_415_with_the_list_and_the_line_that_would_have_worked() {
    let host = Host::start().await;
    for answer in [
        host.events().call(Method::POST, "/events").body("text/plain", "x").send().await,
        host.events().call(Method::POST, "/events").untyped("{}").send().await,
    ] {
        let answer = answer.expect(415);
        assert_error(&answer);
        assert!(answer.header("accept").contains("application/json"), "{:?}", answer.headers);
        let message = answer.json()["message"].as_str().unwrap_or_default().to_owned();
        for wanted in ["application/json", "application/msgpack", "Content-Type"] {
            assert!(message.to_lowercase().contains(&wanted.to_lowercase()), "{wanted} in {message}");
        }
    }
}

#[tokio::test]
async fn unregistered_sources_are_registered_by_their_first_event() {
    let host = Host::start().await;
    emit(host.events(), "dog", "barked", &json!({ "loud": true, "name": "Rex" })).await;
    let answer = host.admin().get("/event-hooks/sources/dog/barked").await.expect(200).json();
    assert_eq!(answer["data"]["fields"], json!(["loud", "name"]));
}

#[tokio::test]
async fn unregistered_sources_are_refused_where_the_setting_says_so() {
    let host = Host::builder().config("[events]\nunregistered = \"refuse\"\n").start().await;
    let dog = host.events().post("/events", &fixtures::event("dog", "barked", &json!({}))).await.expect(422);
    assert_eq!(dog.json()["message"], "source 'dog' is not registered");
    assert_error(&dog);
    let nope = host.events().post("/events", &fixtures::event("crud", "nope", &json!({}))).await.expect(422);
    assert_eq!(nope.json()["message"], "source 'crud' has no 'nope' event");
    host.events().post("/events", &fixtures::consumer_event()).await.expect(202);
    host.admin().put("/event-hooks/sources/dog/barked", &json!({})).await.expect(201);
    host.events().post("/events", &fixtures::event("dog", "barked", &json!({}))).await.expect(202);
}

/// Every error of the door has a message and a stable word.
#[track_caller]
pub(crate) fn assert_error(answer: &Answer) {
    let body = answer.json();
    let has = |member: &str| body[member].as_str().is_some_and(|text| !text.is_empty());
    assert!(has("message") && has("code"), "{} has message and code: {body}", answer.status);
}
