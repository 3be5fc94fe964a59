//! Tells a chat about what happened, and reads its answer: this chat says 200 to everything and puts the truth into the body.
//!
//! `cargo build --release --target wasm32-wasip2 --example chat` makes the component, `cargo test --example chat` runs the tests.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tenterhook_sdk::{Answer, Attempt, Check, Description, Event, Failure, Handler, Request, Settings, http, log};

/// What each hook is configured with.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Config {
    url: String,
    #[serde(default = "everyone")]
    channel: String,
}

fn everyone() -> String {
    "#general".into()
}

/// What this handler reads of an event about an entity.
#[derive(Deserialize)]
struct Change<'a> {
    operation: &'a str,
    schema: &'a str,
}

/// What the chat answers.
#[derive(Deserialize)]
struct Reply {
    ok: bool,
    #[serde(default)]
    error: String,
}

struct Chat;

impl Handler for Chat {
    type Config = Config;

    fn describe(about: Description) -> Description {
        let mut described = Description { name: "chat".into(), summary: "Tells a chat about what happened".into(), ..about };
        described.asks.http_hosts = vec!["chat.example".into()];
        described
    }

    fn check(config: &Config, _: &Settings, check: &mut Check) {
        check.field("url").url(&config.url);
        if !config.channel.starts_with('#') {
            check.field("channel").refuse("must start with '#'");
        }
    }

    fn handle(event: Event, attempt: Attempt, config: Config, _: Settings) -> Result<Answer, Failure> {
        let change: Change = event.parse()?;
        if change.operation == "update" {
            log::debug("updates are not worth a message");
            return Ok(Answer::done());
        }
        let text = format!("{} {}d (attempt {})", change.schema, change.operation, attempt.number);
        let request = Request::post(config.url).json(&json!({ "channel": config.channel, "text": text }))?;

        let response = http::send(request)?;
        if response.status == 429 {
            let seconds = response.header("retry-after").and_then(|text| text.parse().ok()).unwrap_or(60);
            return Err(Failure::retry_after("the chat is busy", Duration::from_secs(seconds)));
        }
        let reply: Reply = response.parse()?;
        match reply.error.as_str() {
            _ if reply.ok => Answer::done_with(&json!({ "sent": text })).map_err(Failure::from),
            "channel_is_archived" => Err(Failure::pause_hook(format!("{} is archived", config.channel))),
            error => Err(Failure::reject(error)),
        }
    }
}

tenterhook_sdk::export!(Chat);

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tenterhook_sdk::http::Response;
    use tenterhook_sdk::testing::{Host, event};

    use super::*;

    fn created() -> Event {
        event("crud", "consumers", json!({ "operation": "create", "schema": "consumers" }))
    }

    fn config() -> Value {
        json!({ "url": "https://chat.example/in" })
    }

    fn chat(status: u16, reply: Value) -> Host {
        Host::new().answer(move |_| Ok(Response::new(status).with_header("retry-after", "7").with_body(reply.to_string())))
    }

    #[test]
    fn a_creation_is_told() {
        let host = chat(200, json!({ "ok": true }));
        let answer = host.handle::<Chat>(created(), &config());
        assert_eq!(answer, Ok(Answer::Done(Some(r#"{"sent":"consumers created (attempt 1)"}"#.into()))));
        assert_eq!(host.requests()[0].body_json(), json!({ "channel": "#general", "text": "consumers created (attempt 1)" }));
    }

    #[test]
    fn an_update_is_not() {
        let host = Host::new();
        let update = event("crud", "consumers", json!({ "operation": "update", "schema": "consumers" }));
        assert_eq!(host.handle::<Chat>(update, &config()), Ok(Answer::done()));
        assert!(host.requests().is_empty());
    }

    #[test]
    fn each_refusal_has_its_consequence() {
        let cases = [
            (429, json!({}), Failure::retry_after("the chat is busy", Duration::from_secs(7))),
            (200, json!({ "ok": false, "error": "channel_is_archived" }), Failure::pause_hook("#general is archived")),
            (200, json!({ "ok": false, "error": "no_text" }), Failure::reject("no_text")),
        ];
        for (status, reply, failure) in cases {
            assert_eq!(chat(status, reply).handle::<Chat>(created(), &config()), Err(failure));
        }
    }

    #[test]
    fn every_mistake_in_a_config_is_named() {
        let violations = Host::new().validate::<Chat>(&json!({ "url": "chat", "channel": "general", "colour": 1 })).unwrap_err();
        assert_eq!(violations.to_string(), "channel: must start with '#'; colour: unknown field; url: missing host in url");
    }
}
