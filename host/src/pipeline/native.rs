//! The built-in `webhook` without a sandbox, for the benchmark alone: the difference to the real one is what the sandbox costs.

use std::collections::BTreeMap;

use bytes::Bytes;
use hmac::{Hmac, Mac as _};
use serde_json::value::RawValue;

use crate::model::{Answer, Event, GuestRequest, HeaderValue, RequestOptions, Timestamp, Usage};
use crate::sandbox::GuestReport;

use super::HookEntry;

/// Builds the request that the plugin would build.
pub(super) fn webhook(entry: &HookEntry, event: &Event, now: Timestamp) -> GuestReport {
    let config = &entry.hook.config;
    let url = config["url"].as_str().unwrap_or_default().to_owned();
    let body = body(event);
    let mut headers = vec![
        ("content-type".to_owned(), text("application/json")),
        ("webhook-id".to_owned(), text(event.id.as_str())),
        ("webhook-timestamp".to_owned(), text(&now.as_secs().to_string())),
    ];
    if let Some(secret) = config["secret"].as_str() {
        let hex: String = hmac(secret, &[&body]).iter().map(|byte| format!("{byte:02x}")).collect();
        headers.push(("X-Kong-Signature".to_owned(), text(&format!("sha256={hex}"))));
        let signed = format!("{}.{}.", event.id, now.as_secs());
        let signature = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, hmac(secret, &[signed.as_bytes(), &body]));
        headers.push(("webhook-signature".to_owned(), text(&format!("v1,{signature}"))));
    }
    let options = RequestOptions { verify_tls: true, connect_timeout: None, total_timeout: None };
    let request = GuestRequest { method: "POST".into(), url, headers, body: Some(Bytes::from(body)), options };
    GuestReport { usage: Usage::default(), logs: Vec::new(), calls: Vec::new(), outcome: Ok(Answer::Send(Box::new(request))) }
}

fn body(event: &Event) -> Vec<u8> {
    let raw = |value: &str| serde_json::value::to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned());
    let mut members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(event.data.as_str()).unwrap_or_default();
    members.insert("event".into(), raw(&event.name));
    members.insert("source".into(), raw(&event.source));
    serde_json::to_vec(&members).unwrap_or_default()
}

fn hmac(secret: &str, parts: &[&[u8]]) -> Vec<u8> {
    let Ok(mut mac) = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()) else { return Vec::new() };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

fn text(value: &str) -> HeaderValue {
    HeaderValue::Text(value.as_bytes().to_vec())
}
