//! Cases as data: a hook, an event, and exactly the request that must come of them.
//!
//! Each folder of `tests/cases` holds `hook.json` (`$S` is the sink's URL), `event.json` as posted to `/events`, and `request.json`: method,
//! path, the body (`json`, or `body` as text), and headers, where null means absent, `*` means any value, and `$HMAC` is HMAC-SHA256 of the body with the hook's
//! secret in hex. `TENTERHOOK_UPDATE_CASES=1` writes what came into `request.json` instead of comparing; look at the difference then.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tenterhook_tests::{Host, Received, Sink, binary, fixtures};

use crate::shared::created;

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() {
                check(stringify!($name)).await;
            }
        )*
    };
}

cases! {
    custom_body_computes_in_lua,
    custom_documented_admin_template,
    custom_documented_slack,
    custom_form_is_signed,
    custom_get_has_a_query_and_no_signature,
    data_member_named_event_is_overwritten,
    documented_consumer_created,
    documented_rate_limit_exceeded,
    extra_header_is_sent,
    some_source,
    signed_with_hunter2,
    unicode_and_slashes,
}

fn read(folder: &Path, file: &str) -> Value {
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

async fn check(name: &str) {
    let folder: PathBuf = binary::root().join("tests/cases").join(name);
    let (host, sink) = (Host::start().await, Sink::start().await);
    let hook = read(&folder, "hook.json").to_string().replace("$S", &sink.url(""));
    let hook: Value = serde_json::from_str(&hook).expect("a URL keeps JSON valid");
    created(host.admin().post("/event-hooks", &hook).await);
    host.events().post("/events", &read(&folder, "event.json")).await.expect(202);
    let got = sink.wait_until("the case's request", |sink| sink.all().into_iter().find(|got| !got.is_ping())).await;
    let expected = read(&folder, "request.json");
    let seen = seen(&got, &expected, hook["config"]["secret"].as_str());
    if std::env::var_os("TENTERHOOK_UPDATE_CASES").is_some() {
        let text = serde_json::to_string_pretty(&seen).expect("JSON can be written") + "\n";
        std::fs::write(folder.join("request.json"), text).expect("the case can be written");
        return;
    }
    assert_eq!(seen, expected, "case {name}");
}

/// The request in the form of `request.json`, with the headers that `expected` lists.
fn seen(got: &Received, expected: &Value, secret: Option<&str>) -> Value {
    let mut headers = serde_json::Map::new();
    for (name, wanted) in expected["headers"].as_object().expect("a case lists headers") {
        let value = got.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let value = match (value, wanted.as_str(), secret) {
            (Some(_), Some("*"), _) => Value::from("*"),
            (Some(value), _, Some(secret)) => value.replace(&fixtures::hmac_sha256_hex(secret.as_bytes(), &got.body), "$HMAC").into(),
            (value, _, _) => value.into(),
        };
        headers.insert(name.clone(), value);
    }
    let path = if got.query.is_empty() { got.path.clone() } else { format!("{}?{}", got.path, got.query) };
    let mut seen = json!({ "method": got.method, "path": path, "headers": headers });
    if expected.get("body").is_some() {
        seen["body"] = String::from_utf8_lossy(&got.body).into();
    } else {
        seen["json"] = got.json();
    }
    seen
}
