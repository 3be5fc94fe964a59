//! The whole handler on a fake host; the numbers are rows of section 9 of the Kong specification.

use serde_json::{Value, json};
use tenterhook_sdk::testing::{Host, event};

use super::*;

fn some_event() -> Event {
    event(
        "some_source",
        "some_event",
        json!({ "some": "data", "entity": { "username": "Arya Stark", "tags": ["a", "b"] }, "operation": "create" }),
    )
}

fn config(members: &Value) -> Value {
    let mut config = json!({ "url": "http://sink.example/x", "method": "POST" });
    for (name, value) in members.as_object().unwrap() {
        config[name] = value.clone();
    }
    config
}

fn sent_by(host: &Host, members: &Value) -> Request {
    match host.handle::<WebhookCustom>(some_event(), &config(members)) {
        Ok(Answer::Send(request)) => request,
        other => panic!("expected a request, got {other:?}"),
    }
}

fn sent(members: &Value) -> Request {
    sent_by(&Host::new(), members)
}

fn body(request: &Request) -> &str {
    std::str::from_utf8(request.body.as_deref().expect("there is a body")).unwrap()
}

const JSON: &str = "application/json";

#[test]
fn payloads_are_encoded_as_the_type_says() {
    let payload = json!({ "foo": "bar", "bar": "{{ some }}" });
    let cases = [
        (json!({ "Content-Type": JSON }), r#"{"bar":"data","foo":"bar"}"#),
        (json!({ "content-type": "application/x-www-form-urlencoded" }), "bar=data&foo=bar"),
        (json!({ "content-type": "text/plain" }), ""),
    ];
    for (headers, expected) in cases {
        assert_eq!(body(&sent(&json!({ "headers": headers, "payload": payload }))), expected, "{headers}");
    }
    for headers in [json!({}), json!({ "Content-Type": "multipart/form-data" })] {
        let request = sent(&json!({ "headers": headers, "payload": { "k": "v" } }));
        assert_eq!(request.header_text("content-type"), Some("multipart/form-data; boundary=8fd84e9444e3946c"));
        assert_eq!(body(&request), "--8fd84e9444e3946c\r\nContent-Disposition: form-data; name=\"k\"\r\n\r\nv\r\n--8fd84e9444e3946c--\r\n");
    }
}

#[test]
fn slacks_documented_payload_is_sent_as_json() {
    // 42 and 43.
    let headers = json!({ "Content-type": JSON });
    let request = sent(&json!({ "headers": headers, "payload": { "text": "new consumer added" } }));
    assert_eq!((request.method.as_str(), body(&request)), ("POST", r#"{"text":"new consumer added"}"#));
    let request = sent(&json!({ "headers": headers, "payload": { "text": "Admin account `{{ entity.username }}` {{ operation}}d" } }));
    assert_eq!(body(&request), r#"{"text":"Admin account `Arya Stark` created"}"#);
}

#[test]
fn format_switches_decide_what_is_a_template() {
    // 45 and 47.
    let headers = json!({ "content-type": JSON });
    assert_eq!(body(&sent(&json!({ "headers": headers, "payload": { "t": "[{{ nothing }}]" } }))), r#"{"t":"[]"}"#);
    let literal = json!({ "headers": headers, "payload": { "t": "{{ some }}" }, "payload_format": false });
    assert_eq!(body(&sent(&literal)), r#"{"t":"{{ some }}"}"#);
    assert_eq!(body(&sent(&json!({ "body": "{{ some }}" }))), "data");
    assert_eq!(body(&sent(&json!({ "body": "{{ some }}", "body_format": false }))), "{{ some }}");
    let header = |format: bool| sent(&json!({ "body": "x", "headers": { "X-It": "{{ event }}" }, "headers_format": format }));
    assert_eq!(header(true).header_text("x-it"), Some("some_event"));
    assert_eq!(header(false).header_text("x-it"), Some("{{ event }}"));
}

#[test]
fn templates_that_compute_are_run_in_lua() {
    let template = "{% for i, tag in ipairs(entity.tags) do %}{{ i }}={{ string.upper(tag) }} {% end %}{* json(entity.tags) *}";
    assert_eq!(body(&sent(&json!({ "body": template }))), r#"1=A 2=B ["a","b"]"#);
    let failed = Host::new().handle::<WebhookCustom>(some_event(), &config(&json!({ "body": "{{ missing.x }}" }))).unwrap_err();
    let Failure::Retry { reason, .. } = failed else { panic!("expected a retry, got {failed:?}") };
    assert!(reason.contains("attempt to index global 'missing' (a nil value)"), "{reason}");
}

#[test]
fn a_body_goes_before_the_payload_and_nothing_is_an_empty_body() {
    let headers = json!({ "content-type": JSON });
    assert_eq!(body(&sent(&json!({ "headers": headers, "body": "b", "payload": { "a": "b" } }))), "b");
    assert_eq!(body(&sent(&json!({ "headers": headers, "body": "", "payload": { "a": "b" } }))), r#"{"a":"b"}"#);
    assert_eq!(body(&sent(&json!({}))), "");
}

#[test]
fn get_carries_the_payload_in_the_query_and_is_not_signed() {
    // 50.
    let request = sent(&json!({ "method": "GET", "payload": { "foo": "bar", "bar": "b z" }, "secret": "hunter2" }));
    assert_eq!((request.url.as_str(), &request.body), ("http://sink.example/x?bar=b%20z&foo=bar", &None));
    assert_eq!((request.header_text("X-Kong-Signature"), request.header_text("webhook-signature")), (None, None));
    let request = sent(&json!({ "method": "GET", "url": "http://sink.example/x?a=b", "payload": { "c": "d" }, "body": "still sent" }));
    assert_eq!((request.url.as_str(), body(&request)), ("http://sink.example/x?a=b?c=d", "still sent"));
    let request = sent(&json!({ "method": "DELETE", "payload": { "c": "d" } }));
    assert_eq!((request.url.as_str(), &request.body), ("http://sink.example/x", &None));
}

#[test]
fn the_final_body_is_signed() {
    let request = sent(&json!({ "body": "foo{* 'bar' *}", "secret": "hunter2" }));
    assert_eq!(body(&request), "foobar");
    let expected = "sha256=5a358840a04feeb31ef3f2ee5025f9c8ca772beece1dabc628a84dc946809eea";
    assert_eq!(request.header_text("x-kong-signature"), Some(expected));
    assert!(request.header_text("webhook-signature").is_some_and(|said| said.starts_with("v1,")));
}

#[test]
fn the_defaults_are_kongs() {
    let checked = Host::new().validate::<WebhookCustom>(&config(&json!({}))).unwrap();
    let expected = json!({
        "url": "http://sink.example/x", "method": "POST", "payload": null, "payload_format": true, "body": null, "body_format": true, "headers": {},
        "headers_format": false, "secret": null, "ssl_verify": true
    });
    assert_eq!(checked, expected);
}

#[test]
fn violations_have_kongs_words() {
    let said = |config: Value| Host::new().validate::<WebhookCustom>(&config).expect_err("something is wrong").to_string();
    assert_eq!(said(json!({})), "method: required field missing; url: required field missing");
    assert_eq!(said(json!({ "url": "not-a-url", "method": "post" })), "method: invalid value: post; url: missing host in url");
    assert_eq!(said(config(&json!({ "secret": "", "x": 1 }))), "secret: length must be at least 1; x: unknown field");
    assert_eq!(said(config(&json!({ "headers": { "bad name": "v" } }))).split(':').next(), Some("headers.bad name"));
}
