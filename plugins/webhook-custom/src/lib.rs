//! The handler `webhook-custom`: one request for each event, with body, payload and headers made of templates, as Kong's handler of this name.
//!
//! It makes no request itself: it answers with the request, and the host sends it when the instance is gone.

mod encode;
mod render;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tenterhook_sdk::standard_webhooks::{self, Secret};
use tenterhook_sdk::{
    Answer, Attempt, Check, Description, Event, Failure, Handler, HeaderValue, PreparedHandler, Profile, Request, Settings, clock, sign,
};

use encode::{Encoding, Fields};
use render::Renderer;

/// For forms and documentation, and to mark the secret.
const CONFIG_SCHEMA: &str = include_str!("config.schema.json");

/// What a hook is configured with, as Kong has it.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to. Not a template, as names and the method are not.
    url: String,
    /// In upper case.
    method: String,
    /// Names and values; sorted, as Kong sends them.
    payload: Option<BTreeMap<String, String>>,
    /// The payload's values are templates.
    #[serde(default = "yes")]
    payload_format: bool,
    /// Goes before the payload.
    body: Option<String>,
    /// The body is a template.
    #[serde(default = "yes")]
    body_format: bool,
    /// Sent with every request.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// The headers' values are templates.
    #[serde(default)]
    headers_format: bool,
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
pub struct WebhookCustom;

impl Handler for WebhookCustom {
    type Config = Config;

    fn describe(about: Description) -> Description {
        let mut described = Description { name: "webhook-custom".into(), config_schema: CONFIG_SCHEMA.into(), ..about };
        described.asks.http_hosts = vec!["*".into()];
        described
    }

    fn check(config: &Config, _: &Settings, check: &mut Check) {
        check.field("url").url(&config.url);
        if config.method.is_empty() {
            check.field("method").not_empty("");
        } else if !config.method.bytes().all(|byte| byte.is_ascii_uppercase()) {
            check.field("method").refuse(format!("invalid value: {}", config.method));
        }
        for (name, value) in &config.headers {
            // A template is checked when it is filled in: by the host, before anything is sent.
            check.field("headers").field(name).header(name, if config.headers_format { "" } else { value });
        }
        check.field("secret").secret(config.secret.as_deref());
    }

    fn handle(event: Event, attempt: Attempt, config: Config, settings: Settings) -> Result<Answer, Failure> {
        let mut renderer = Renderer::of(&event, attempt.seed)?;
        let request = request(&config, settings.profile(), &mut renderer);
        renderer.abandon();
        Ok(signed(request?, &config, &event, &settings)?.into())
    }
}

impl PreparedHandler for WebhookCustom {
    fn prepare(config: &str, _: &Settings) -> Result<(), String> {
        let config: Config = serde_json::from_str(config).map_err(|error| error.to_string())?;
        render::prepare(templates(&config))
    }
}

/// The texts of a config that are templates.
fn templates(config: &Config) -> impl Iterator<Item = &str> {
    let payload = config.payload.iter().filter(|_| config.payload_format).flat_map(BTreeMap::values);
    let headers = Some(&config.headers).filter(|_| config.headers_format).into_iter().flat_map(BTreeMap::values);
    let body = config.body.iter().filter(|_| config.body_format);
    payload.chain(headers).chain(body).map(String::as_str)
}

/// The request, without signatures.
fn request(config: &Config, profile: Profile, renderer: &mut Renderer) -> Result<Request, Failure> {
    let mut request = Request::new(&config.method, &config.url).verify_tls(config.ssl_verify);
    for (name, value) in &config.headers {
        let value = renderer.text(value, config.headers_format)?;
        request.headers.push((name.clone(), HeaderValue::Text(value)));
    }
    let body = config.body.as_deref().map(|body| renderer.text(body, config.body_format)).transpose()?;
    match config.method.as_str() {
        "POST" | "PUT" | "PATCH" => match body.filter(|body| !body.is_empty()) {
            Some(body) => Ok(request.body(body)),
            None => {
                let payload = fields(config, renderer)?;
                Ok(with_payload(request, payload.as_ref(), profile))
            }
        },
        "GET" => {
            if let Some(payload) = fields(config, renderer)?.filter(|payload| !payload.is_empty()) {
                // With a `?` even if there is one: what Kong's receivers see.
                request.url.push('?');
                request.url.push_str(&String::from_utf8_lossy(&encode::form(&payload, false)));
            }
            Ok(Request { body, ..request })
        }
        _ => Ok(Request { body, ..request }),
    }
}

/// The payload with its values filled in.
fn fields(config: &Config, renderer: &mut Renderer) -> Result<Option<Fields>, Failure> {
    let Some(payload) = &config.payload else { return Ok(None) };
    let field = |(name, value): (&String, &String)| Ok((name.clone(), renderer.text(value, config.payload_format)?));
    payload.iter().map(field).collect::<Result<_, _>>().map(Some)
}

/// Puts the payload into the body. None is an empty body: Kong's own handler fails there, and the event is lost.
fn with_payload(request: Request, payload: Option<&Fields>, profile: Profile) -> Request {
    let Some(payload) = payload else { return request.body("") };
    let said = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let said = said.and_then(|(name, value)| match value {
        HeaderValue::Text(text) => Some((name.clone(), String::from_utf8_lossy(text).into_owned())),
        HeaderValue::Secret { .. } => None,
    });
    match Encoding::of(said.as_ref().map(|(_, text)| text.as_str())) {
        Encoding::Json => request.body(encode::json(payload)),
        Encoding::Form => request.body(encode::form(payload, profile == Profile::Kong)),
        Encoding::Multipart => {
            let (body, boundary) = encode::multipart(payload);
            let (name, said) = said.unwrap_or_else(|| ("content-type".into(), "multipart/form-data".into()));
            request.header(name, format!("{said}; boundary={boundary}")).body(body)
        }
        Encoding::Nothing => request.body(""),
    }
}

/// Signs the final body. Where there is none, nothing is signed.
fn signed(mut request: Request, config: &Config, event: &Event, settings: &Settings) -> Result<Request, Failure> {
    let mut secrets = Vec::new();
    if let (Some(secret), Some(body)) = (&config.secret, &request.body) {
        let signature = sign::kong(secret, settings.signature(), body);
        request = request.header("X-Kong-Signature", signature);
        secrets.push(Secret::new(secret)?);
    }
    Ok(standard_webhooks::sign(request, &event.id, clock::unix_seconds(), &secrets))
}

tenterhook_sdk::export_prepared!(WebhookCustom);

#[cfg(test)]
mod tests;
