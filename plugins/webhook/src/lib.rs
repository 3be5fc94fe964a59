//! The handler `webhook`: posts each event as JSON to a URL, signed if there is a secret. What Kong's handler of this name sends, and beside it the
//! headers of Standard Webhooks.
//!
//! It makes no request itself: it answers with the request, and the host sends it when the instance is gone.

mod body;
mod ping;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tenterhook_sdk::standard_webhooks::{self, Secret};
use tenterhook_sdk::{Answer, Attempt, Check, Description, Event, Failure, Handler, HeaderValue, Request, Settings, clock, sign};

/// For forms and documentation, and to mark the secret.
const CONFIG_SCHEMA: &str = include_str!("config.schema.json");

/// What a hook is configured with, as Kong has it.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to.
    url: String,
    /// Sent with every request. Sorted, so that the same hook always sends them in the same order.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Signs the body. `whsec_` and base64 for Standard Webhooks; any other text is used as its bytes.
    secret: Option<String>,
    /// Check the server's certificate. True since Kong 3.14.
    #[serde(default = "yes")]
    ssl_verify: bool,
}

fn yes() -> bool {
    true
}

/// The handler.
#[derive(Debug)]
pub struct Webhook;

impl Handler for Webhook {
    type Config = Config;

    fn describe(about: Description) -> Description {
        let mut described = Description { name: "webhook".into(), config_schema: CONFIG_SCHEMA.into(), wants_pings: true, ..about };
        described.asks.http_hosts = vec!["*".into()];
        described
    }

    fn check(config: &Config, _: &Settings, check: &mut Check) {
        check.field("url").url(&config.url);
        for (name, value) in &config.headers {
            check.field("headers").field(name).header(name, value);
        }
        check.field("secret").secret(config.secret.as_deref());
    }

    fn handle(event: Event, _: Attempt, config: Config, settings: Settings) -> Result<Answer, Failure> {
        let body = if event.is_ping() { ping::write(&event)? } else { body::write(&event)? };
        let mut request = Request::post(config.url).verify_tls(config.ssl_verify);
        request.headers.reserve(config.headers.len() + 5);
        request.headers.extend(config.headers.into_iter().map(|(name, value)| (name, HeaderValue::Text(value.into_bytes()))));
        // Kong replaces a `content-type` in lower case only and sends a `Content-Type` beside its own. One request has one type: ours replaces both.
        let mut request = request.header("content-type", "application/json").body(body);
        let mut secrets = Vec::new();
        if let Some(secret) = config.secret {
            let signature = sign::kong(&secret, settings.signature(), request.body.as_deref().unwrap_or_default());
            request = request.header("X-Kong-Signature", signature);
            secrets.push(Secret::new(&secret)?);
        }
        Ok(standard_webhooks::sign(request, &event.id, clock::unix_seconds(), &secrets).into())
    }
}

tenterhook_sdk::export!(Webhook);

#[cfg(test)]
mod tests;
