//! The whole handler on a fake host.

use serde_json::{Value, json};
use tenterhook_sdk::HmacAlgorithm;
use tenterhook_sdk::testing::{Host, event};

use super::*;

fn sent(host: &Host, event: Event, config: &Value) -> Request {
    match host.handle::<Webhook>(event, config) {
        Ok(Answer::Send(request)) => request,
        other => panic!("expected a request, got {other:?}"),
    }
}

fn some_event() -> Event {
    event("some_source", "some_event", json!({ "some": "data" }))
}

fn violations(config: &Value) -> String {
    Host::new().validate::<Webhook>(config).expect_err("something is wrong with it").to_string()
}

#[test]
fn an_event_is_posted_as_json() {
    let request = sent(&Host::new().at(1_614_265_330), some_event(), &json!({ "url": "https://sink.example/x" }));
    let expected = Request::post("https://sink.example/x")
        .header("content-type", "application/json")
        .header("webhook-id", "evt_01890a5d-ac96-774b-bcce-b302099a8057")
        .header("webhook-timestamp", "1614265330")
        .body(r#"{"some":"data","event":"some_event","source":"some_source"}"#);
    assert_eq!(request, expected);
}

#[test]
fn configured_headers_are_sent_and_there_is_one_content_type() {
    for content_type in ["Content-Type", "content-type", "CONTENT-TYPE"] {
        let headers = json!({ "X-Give-Me": "some tests", content_type: "text/plain" });
        let request = sent(&Host::new(), some_event(), &json!({ "url": "http://h/", "headers": headers }));
        assert_eq!(request.header_text("x-give-me"), Some("some tests"));
        let types: Vec<_> = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-type")).collect();
        assert_eq!(types, [&("content-type".into(), HeaderValue::Text(b"application/json".to_vec()))]);
    }
}

#[test]
fn a_header_of_the_user_cannot_stand_in_for_ours() {
    let headers = json!({ "Webhook-Id": "x", "x-kong-signature": "sha256=0", "WEBHOOK-SIGNATURE": "v1,x" });
    let request = sent(&Host::new(), some_event(), &json!({ "url": "http://h/", "headers": headers, "secret": "hunter2" }));
    assert_eq!(request.headers.len(), 5);
    assert_eq!(request.header_text("webhook-id"), Some(some_event().id.as_str()));
    assert_ne!(request.header_text("X-Kong-Signature"), Some("sha256=0"));
}

#[test]
fn ssl_verify_decides_about_the_certificate() {
    let config = |verify: Value| json!({ "url": "https://h/", "ssl_verify": verify });
    assert!(sent(&Host::new(), some_event(), &config(json!(null))).verify_tls);
    assert!(sent(&Host::new(), some_event(), &config(json!(true))).verify_tls);
    assert!(!sent(&Host::new(), some_event(), &config(json!(false))).verify_tls);
}

#[test]
fn kongs_signature_vectors_hold() {
    let ours = r#"{"event":"some_event","some":"data","source":"some_source"}"#;
    let cases = [
        (
            "foobar",
            "sha1=47632029fcc7936dc59ff90b5bb736a44c74ab62",
            "sha256=5a358840a04feeb31ef3f2ee5025f9c8ca772beece1dabc628a84dc946809eea",
        ),
        (ours, "sha1=5735919d84815191abc598a3587f876a63931231", "sha256=06de403c9f60eaf69cd85370e11a2a176c1b6e85817b971ea50a080239c6a0ea"),
        ("", "sha1=a39f5301f48d7956ac264dad0b0be1d2603778da", "sha256=a9ee5d331179aed5d1fba6cd59acb1461a65410fa9cb709781d1d9b2a32fd5c1"),
    ];
    for (body, sha1, sha256) in cases {
        assert_eq!(sign::kong("hunter2", HmacAlgorithm::Sha1, body.as_bytes()), sha1, "{body}");
        assert_eq!(sign::kong("hunter2", HmacAlgorithm::Sha256, body.as_bytes()), sha256, "{body}");
    }
}

#[test]
fn both_signatures_are_over_the_body_that_is_sent() {
    for (setting, algorithm) in [("sha256", HmacAlgorithm::Sha256), ("sha1", HmacAlgorithm::Sha1)] {
        let host = Host::new().settings(&json!({ "profile": "durable", "signature": setting, "pid": 1 })).at(1_614_265_330);
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let request = sent(&host, some_event(), &json!({ "url": "http://h/", "secret": secret }));
        let body = request.body.as_deref().unwrap();
        assert_eq!(request.header_text("x-kong-signature"), Some(sign::kong(secret, algorithm, body).as_str()));
        let standard = standard_webhooks::signature(&[Secret::new(secret).unwrap()], &some_event().id, 1_614_265_330, body);
        assert_eq!(request.header_text("webhook-signature"), Some(standard.as_str()));
    }
}

#[test]
fn without_a_secret_nothing_is_signed() {
    let request = sent(&Host::new(), some_event(), &json!({ "url": "http://h/", "secret": null }));
    assert!(request.header_value("x-kong-signature").is_none() && request.header_value("webhook-signature").is_none());
}

#[test]
fn nothing_is_logged() {
    let host = Host::new();
    sent(&host, some_event(), &json!({ "url": "http://h/", "secret": "hunter2" }));
    assert!(host.logs().is_empty());
}

#[test]
fn a_ping_shows_the_hook_with_the_header_that_is_sent() {
    for headers in [json!({}), json!(null), json!({ "Content-Type": "text/plain" }), json!({ "content-type": "text/plain" })] {
        let config = json!({ "url": "https://h/", "headers": headers, "ssl_verify": true });
        let hook = json!({ "id": "88a0d071-29c8-4d6a-827e-dbecf09e917c", "created_at": 1_733_955_343, "config": config });
        let data = json!({ "event_hooks": hook, "operation": "create" });
        let request = sent(&Host::new(), event("kong:event_hooks", "ping", data), &json!({ "url": "https://h/" }));
        let shown = json!({ "url": "https://h/", "headers": { "content-type": "application/json" }, "ssl_verify": true });
        let hook = json!({ "id": "88a0d071-29c8-4d6a-827e-dbecf09e917c", "created_at": 1_733_955_343, "config": shown });
        let expected = json!({ "source": "kong:event_hooks", "event": "ping", "event_hooks": hook, "operation": "create" });
        assert_eq!(request.body_json(), expected);
    }
}

#[test]
fn an_event_that_only_looks_like_a_ping_is_sent_as_it_is() {
    let data = [json!([1]), json!({ "event_hooks": 5 }), json!({ "event_hooks": { "config": [] } }), json!({})];
    for data in data {
        let mut expected = if data.is_object() { data.clone() } else { json!({ "data": data }) };
        expected["event"] = json!("ping");
        expected["source"] = json!("kong:event_hooks");
        let request = sent(&Host::new(), event("kong:event_hooks", "ping", data), &json!({ "url": "https://h/" }));
        assert_eq!(request.body_json(), expected);
    }
}

#[test]
fn a_config_gets_its_defaults() {
    let stored = Host::new().validate::<Webhook>(&json!({ "url": "https://h/" })).unwrap();
    assert_eq!(stored, json!({ "url": "https://h/", "headers": {}, "secret": null, "ssl_verify": true }));
    let given = json!({ "url": "ftp://h/", "headers": { "a": "b" }, "secret": "s", "ssl_verify": false });
    assert_eq!(Host::new().validate::<Webhook>(&given).unwrap(), given);
}

#[test]
fn each_mistake_in_a_config_has_kongs_words() {
    let cases = [
        (json!({}), "url: required field missing"),
        (json!({ "url": null }), "url: required field missing"),
        (json!({ "url": 1 }), "url: expected a string"),
        (json!({ "url": "" }), "url: length must be at least 1"),
        (json!({ "url": "not-a-url" }), "url: missing host in url"),
        (json!({ "url": "//h/x" }), "url: missing scheme in url"),
        (json!({ "url": "http://h/", "ssl_verify": "yes" }), "ssl_verify: expected a boolean"),
        (json!({ "url": "http://h/", "secret": "" }), "secret: length must be at least 1"),
        (json!({ "url": "http://h/", "secret": 5 }), "secret: expected a string"),
        (json!({ "url": "http://h/", "secret": "whsec_?" }), "secret: expected base64 after 'whsec_'"),
        (json!({ "url": "http://h/", "headers": "x" }), "headers: expected a map"),
        (json!({ "url": "http://h/", "headers": { "x": 1 } }), "headers.x: expected a string"),
        (json!({ "url": "http://h/", "headers": { "Host": "x" } }), "headers.Host: this header is set by the host"),
        (json!({ "url": "http://h/", "foo": 1 }), "foo: unknown field"),
        (json!("x"), "expected a record"),
    ];
    for (config, message) in cases {
        assert_eq!(violations(&config), message, "{config}");
    }
}

#[test]
fn all_mistakes_are_named_at_once() {
    let config = json!({ "headers": { "a": 1, "b": "x\n" }, "secret": "", "ssl_verify": 1, "foo": 1 });
    assert_eq!(
        violations(&config),
        "foo: unknown field; headers.a: expected a string; headers.b: invalid header value; secret: length must be at least 1; \
         ssl_verify: expected a boolean; url: required field missing"
    );
}

#[test]
fn it_says_what_it_is() {
    let described = Webhook::describe(tenterhook_sdk::about!());
    assert_eq!((described.name.as_str(), described.version.as_str()), ("webhook", env!("CARGO_PKG_VERSION")));
    assert!(described.wants_pings && described.asks.http_hosts == ["*"]);
    let schema: Value = serde_json::from_str(&described.config_schema).unwrap();
    assert_eq!(schema["properties"]["secret"]["x-secret"], json!(true));
    let stored = Host::new().validate::<Webhook>(&json!({ "url": "https://h/" })).unwrap();
    let fields = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(&schema["properties"]), fields(&stored), "the schema and the type name the same fields");
}
