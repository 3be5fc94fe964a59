//! What the built-in `webhook` does, as anybody could upload it: the event's data with its source and name added, signed with HMAC-SHA256, given
//! back as one request for the host to send.

use hmac::{Hmac, Mac};
use serde_json::{Map, Value};
use sha2::Sha256;

wit_bindgen::generate!({ path: "../../../wit/v0", world: "handler-component" });

use exports::tenterhook::hook::handler::Guest;
use tenterhook::hook::types::{
    Answer, Asks, Attempt, Description, Event, Failure, PathPart, Request, RequestOptions, Value as HeaderValue, Violation,
};

struct Forward;

impl Guest for Forward {
    fn describe() -> Description {
        Description {
            name: "forward".into(),
            version: "1.0.0".into(),
            summary: "Signs the event and sends it on".into(),
            config_schema: r#"{"type":"object","properties":{"url":{"type":"string"},"secret":{"type":"string","x-secret":true}}}"#.into(),
            wants_pings: false,
            asks: Asks { http_hosts: vec!["*".into()], secrets: vec![], kv: false, emit: false },
            extra: vec![],
        }
    }

    fn validate(config: String, _settings: String) -> Result<String, Vec<Violation>> {
        match serde_json::from_str::<Value>(&config) {
            Ok(value) if value["url"].is_string() => Ok(config),
            _ => Err(vec![Violation { path: vec![PathPart::Key("url".into())], message: "required field missing".into() }]),
        }
    }

    fn handle(event: Event, _attempt: Attempt, config: String, _settings: String) -> Result<Answer, Failure> {
        let config: Value = serde_json::from_str(&config).map_err(|error| Failure::Reject(error.to_string()))?;
        let data: Value = serde_json::from_str(&event.data).map_err(|error| Failure::Reject(error.to_string()))?;
        let mut members = match data {
            Value::Object(members) => members,
            other => Map::from_iter([("data".to_owned(), other)]),
        };
        members.insert("source".into(), event.source.into());
        members.insert("event".into(), event.name.into());
        let body = Value::Object(members).to_string().into_bytes();
        let text = |text: &str| HeaderValue::Text(text.as_bytes().to_vec());
        let mut headers = vec![("content-type".to_owned(), text("application/json")), ("webhook-id".to_owned(), text(&event.id))];
        if let Some(secret) = config["secret"].as_str() {
            headers.push(("x-signature".to_owned(), text(&signature(secret, &body))));
        }
        Ok(Answer::Send(Request {
            method: "POST".into(),
            url: config["url"].as_str().unwrap_or_default().into(),
            headers,
            body: Some(body),
            options: RequestOptions { verify_tls: true, connect_timeout_ms: None, total_timeout_ms: None },
            extra: vec![],
        }))
    }
}

fn signature(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(body);
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |four: u8| char::from(DIGITS[usize::from(four & 15)]);
    mac.finalize().into_bytes().iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

export!(Forward);
