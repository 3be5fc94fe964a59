//! The public CloudEvents SDKs as producers. They need interpreters and downloads, so this runs where `TENTERHOOK_CLOUDEVENTS` names the folder into which
//! `make test-long` installed them.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tenterhook_tests::{Host, Sink};

use crate::shared::hook_to;

fn sdks() -> Option<PathBuf> {
    std::env::var_os("TENTERHOOK_CLOUDEVENTS").map(PathBuf::from)
}

/// Runs a producer and counts the events that it was told are accepted.
async fn produce(mut command: Command, host: &Host, script: &str) -> usize {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("cloudevents").join(script);
    command.arg(script).arg(format!("http://{}/events", host.events().address()));
    let output =
        tokio::task::spawn_blocking(move || command.output()).await.expect("it is waited for").expect("the producer can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().filter(|line| *line == "202").count()
}

/// What a sink sees of data in each mode: JSON, text, bytes. Text is JSON in structured mode, and what it is in binary mode.
async fn arrives(sink: &Sink, path: &str, source: &str, text: [Value; 2], bytes: [Value; 2]) {
    let got = sink.wait_for(path, 6).await;
    for (n, data) in [[json!({ "n": 1, "text": "€" }), json!({ "n": 1, "text": "€" })], text, bytes].into_iter().enumerate() {
        for (mode, data) in ["binary", "structured"].into_iter().zip(data) {
            let mut expected = json!({ "source": source, "event": format!("{mode}.{n}") });
            match data {
                Value::Object(members) => expected.as_object_mut().expect("an object").extend(members),
                other => expected["data"] = other,
            }
            assert!(
                got.iter().any(|got| got.json() == expected),
                "{expected} in {:#?}",
                got.iter().map(|got| got.json()).collect::<Vec<_>>()
            );
        }
    }
}

#[tokio::test]
async fn the_sdk_for_python_is_understood() {
    let Some(sdks) = sdks() else { return };
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_to(&host, &sink, "/python/*", "/in").await;
    assert_eq!(produce(Command::new(sdks.join("python/bin/python")), &host, "produce.py").await, 6);
    // In binary mode this SDK writes text as a JSON string, whatever its type.
    let text = [json!({ "data_base64": "InBsYWluIg==" }), json!("plain")];
    arrives(&sink, "/in", "/python/100%", text, [json!({ "data_base64": "AP8=" }), json!({ "data_base64": "AP8=" })]).await;
}

#[tokio::test]
async fn the_sdk_for_javascript_is_understood() {
    let Some(sdks) = sdks() else { return };
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_to(&host, &sink, "/javascript/*", "/in").await;
    let mut node = Command::new("node");
    node.current_dir(sdks.join("node"));
    assert_eq!(produce(node, &host, "produce.mjs").await, 6);
    let text = [json!({ "data_base64": "cGxhaW4=" }), json!("plain")];
    arrives(&sink, "/in", "/javascript/1", text, [json!({ "data_base64": "AP8=" }), json!({ "data_base64": "AP8=" })]).await;
}
