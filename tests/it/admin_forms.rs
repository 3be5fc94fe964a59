//! Hooks written as forms, as Kong's own examples with curl are; and what tells about the entity itself.

use http::Method;
use serde_json::{Value, json};
use tenterhook_tests::{Answer, Host, Sink};

use crate::shared::{created, id};

const URLENCODED: &str = "application/x-www-form-urlencoded";

async fn send(host: &Host, method: Method, path: &str, form: &str) -> Answer {
    host.admin().call(method, path).body(URLENCODED, form.to_owned()).send().await
}

fn multipart(fields: &[(&str, &str)]) -> String {
    let part = |(name, value): &(&str, &str)| format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    fields.iter().map(part).collect::<String>() + "--xyz--\r\n"
}

#[tokio::test]
async fn case_3_a_form_makes_the_same_hook_as_json() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    let form = format!("source=crud&event=consumers&handler=webhook&config.url={}", sink.url("/in"));
    let hook = created(send(&host, Method::POST, "/event-hooks", &form).await);
    let config = json!({ "url": sink.url("/in"), "headers": {}, "secret": null, "ssl_verify": true });
    assert_eq!((&hook["on_change"], &hook["snooze"], &hook["config"]), (&json!(null), &json!(null), &config));
    host.admin().get(&format!("/event-hooks/{}", id(&hook))).await.expect_json(200, &hook);
    sink.wait_for_pings("/in", 1).await;
}

#[tokio::test]
async fn texts_of_a_form_get_the_types_of_their_fields() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    let form = format!(
        "source=crud&event=&handler=webhook&on_change=true&snooze=60&tags=a&name=n&enabled=true&delivery.timeout_ms=5000\
         &config.url={}&config.ssl_verify=false&config.secret=&config.headers.X-Number=7",
        sink.url("/in")
    );
    let hook = created(send(&host, Method::POST, "/event-hooks", &form).await);
    let seen = json!({ "event": hook["event"], "on_change": hook["on_change"], "snooze": hook["snooze"], "tags": hook["tags"],
        "enabled": hook["enabled"], "delivery": hook["delivery"], "config": hook["config"] });
    let expected = json!({ "event": null, "on_change": true, "snooze": 60, "tags": ["a"], "enabled": true, "delivery": { "timeout_ms": 5000 },
        "config": { "url": sink.url("/in"), "ssl_verify": false, "secret": null, "headers": { "X-Number": "7" } } });
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn multipart_forms_are_read_alike() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    let url = sink.url("/in");
    let fields = [
        ("source", "crud"),
        ("handler", "webhook"),
        ("config.url", &url),
        ("config.ssl_verify", "false"),
        ("tags[]", "a"),
        ("tags[]", "b"),
    ];
    let call = host.admin().call(Method::POST, "/event-hooks").body("multipart/form-data; boundary=xyz", multipart(&fields));
    let hook = created(call.send().await);
    assert_eq!((&hook["config"]["ssl_verify"], &hook["tags"]), (&json!(false), &json!(["a", "b"])));
}

#[tokio::test]
async fn a_form_that_changes_a_hook_knows_the_config_only_by_its_handler() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    let form = format!("source=crud&handler=webhook&config.url={}", sink.url("/in"));
    let hook = created(send(&host, Method::POST, "/event-hooks", &form).await);
    let path = format!("/event-hooks/{}", id(&hook));
    let refused = send(&host, Method::PATCH, &path, "config.ssl_verify=false").await.expect(400).json();
    assert_eq!(refused["fields"], json!({ "config": { "ssl_verify": "expected a boolean" } }));
    let changed =
        send(&host, Method::PATCH, &path, "handler=webhook&config.ssl_verify=false&on_change=true&snooze=").await.expect(200).json();
    assert_eq!((&changed["config"]["ssl_verify"], &changed["on_change"]), (&json!(false), &json!(true)));
    assert_eq!((&changed["config"]["url"], &changed["snooze"]), (&json!(sink.url("/in")), &json!(null)));
}

#[tokio::test]
async fn texts_that_do_not_fit_and_forms_that_cannot_be_read_are_told() {
    let host = Host::start().await;
    let refused = send(&host, Method::POST, "/event-hooks", "source=crud&handler=log&snooze=soon&on_change=yes").await.expect(400).json();
    assert_eq!(refused["message"], "2 schema violations (on_change: expected a boolean; snooze: expected an integer)");
    let refused = send(&host, Method::POST, "/event-hooks", "source=a&source.b=c").await.expect(400).json();
    assert_eq!(refused["message"], "the form cannot be read: 'source.b' does not go with the fields before it");
    let call = host.admin().call(Method::POST, "/event-hooks").body("multipart/form-data", "x");
    assert_eq!(call.send().await.expect(400).json()["message"], "the form cannot be read: multipart/form-data needs a boundary");
    let empty = send(&host, Method::POST, "/event-hooks", "").await.expect(400).json();
    assert_eq!(empty["fields"], json!({ "handler": "required field missing" }));
}

#[tokio::test]
async fn dotted_keys_of_json_are_unknown_fields() {
    let host = Host::start().await;
    let body = json!({ "source": "crud", "handler": "log", "config.url": "http://a/" });
    let refused = host.admin().post("/event-hooks", &body).await.expect(400).json();
    assert_eq!(refused["fields"], json!({ "config.url": "unknown field" }));
}

#[tokio::test]
async fn a_form_is_a_tests_data_too() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    let form = format!("source=crud&event=consumers&handler=webhook&config.url={}", sink.url("/in"));
    let hook = created(send(&host, Method::POST, "/event-hooks", &form).await);
    let answer = send(&host, Method::POST, &format!("/event-hooks/{}/test", id(&hook)), "consumer.username=Jane+Austen").await.expect(200);
    let data = json!({ "consumer": { "username": "Jane Austen" }, "event": "consumers", "source": "crud" });
    assert_eq!(answer.json()["data"], data);
    assert_eq!(sink.wait_for("/in", 1).await[0].json(), data);
}

#[tokio::test]
async fn every_answer_has_kongs_headers_and_head_has_no_body() {
    let host = Host::start().await;
    for (method, path, status) in [(Method::GET, "/event-hooks", 200), (Method::GET, "/nope", 404), (Method::PUT, "/event-hooks", 405)] {
        let answer = host.admin().call(method, path).send().await.expect(status);
        assert!(answer.header("server").starts_with("tenterhook/"), "{path}");
        assert!(answer.header("x-kong-admin-latency").parse::<u64>().is_ok(), "{path}: {:?}", answer.headers);
        assert!(!answer.header("x-kong-admin-request-id").is_empty(), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), "", "no page of another origin may read it: {path}");
    }
    let head = host.admin().call(Method::HEAD, "/event-hooks/").send().await.expect(200);
    assert!(head.body.is_empty());
    assert_eq!(head.header("content-type"), "application/json; charset=utf-8");
}

#[tokio::test]
async fn endpoints_and_the_schema_are_listed() {
    let host = Host::start().await;
    let endpoints = host.admin().get("/endpoints").await.expect(200).json();
    let has = |path: &str| endpoints["data"].as_array().is_some_and(|all| all.contains(&json!(path)));
    assert!(has("/event-hooks/{event_hooks}/ping") && has("/{workspaces}/event-hooks"), "{endpoints}");
    let schema = host.admin().get("/schemas/event_hooks").await.expect(200).json();
    let source = schema["fields"].as_array().and_then(|fields| fields.iter().find_map(|field| field.get("source"))).cloned();
    assert_eq!(source, Some(json!({ "type": "string", "required": true, "len_min": 1 })));
}

#[tokio::test]
async fn validating_a_hook_saves_and_pings_nothing() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    let validate = async |body: &Value| host.admin().post("/schemas/event_hooks/validate", body).await;
    let good = json!({ "source": "crud", "handler": "webhook", "config": { "url": sink.url("/in") } });
    validate(&good).await.expect_json(200, &json!({ "message": "schema validation successful" }));
    let refused = validate(&json!({ "source": "crud", "handler": "webhook" })).await.expect(400).json();
    assert_eq!(refused["message"], "schema violation (config.url: required field missing)");
    host.admin().get("/event-hooks").await.expect_json(200, &json!({ "data": [], "next": null }));
    created(host.admin().post("/event-hooks", &good).await);
    assert_eq!(sink.wait_for_pings("/in", 1).await.len(), 1);
}
