//! The door for producers: `POST /events`, `POST /events/{source}/{event}`, `POST /crud/{schema}/{operation}` and health.
//!
//! | form | where |
//! |---|---|
//! | event objects in JSON, one or an array | `native`, `envelope` |
//! | the same in MessagePack | `msgpack` |
//! | one event object a line | `ndjson` |
//! | CloudEvents, structured, batched and binary | `cloudevents` |
//! | any of them as gzip or zstd | `encoding` |
//!
//! Cheap checks come first: token, content type, length, then one scan of the bytes, and only then parsing. A request is all or nothing; every
//! error of a request is reported at once, with the index of its event.

mod cloudevents;
mod crud;
mod encoding;
mod envelope;
mod format;
mod msgpack;
mod native;
mod ndjson;
mod reconcile;
mod scan;
mod trace;

use axum::body::Body;
use bytes::Bytes;
use http::header::ALLOW;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::Serialize;

use super::admin::health;
use super::auth::{Action, authorize};
use super::body::{self, Held, Limit};
use super::door::Visit;
use super::path::{pick, segments};
use super::problem::Problem;
use super::reply::{self, Response};
use super::settings::Settings;
use crate::model::NewEvent;
use crate::pipeline::Accepted;

use encoding::Encoding;
use format::Format;
use ndjson::Lines;

/// Bodies beyond this are parsed on a thread that may block: parsing megabytes would hold up the other requests of a worker.
const PARSE_HERE_MAX: usize = 128 << 10;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Every call of this door.
#[derive(Debug)]
enum Call {
    /// `POST /events`
    Post,
    /// `POST /events/reconcile`
    Reconcile,
    /// `POST /events/{source}/{event}`
    PostOne { source: String, event: String },
    /// `POST /crud/{schema}/{operation}`
    PostCrud { schema: String, operation: crud::Operation },
    /// `GET /health/live`
    Live,
    /// `GET /health/ready`
    Ready,
    /// `OPTIONS` of any of them.
    Describe { allow: String },
}

impl Call {
    fn of(method: &Method, path: &str) -> Result<Self, Problem> {
        if path == "/events" && method == Method::POST {
            return Ok(Self::Post);
        }
        let describe = |allow| Self::Describe { allow };
        match segments(path).ok_or(Problem::NotFound)?.as_slice() {
            [events] if events == "events" => pick(method, [(Method::POST, Self::Post)], describe),
            [events, reconcile] if events == "events" && reconcile == "reconcile" => {
                pick(method, [(Method::POST, Self::Reconcile)], describe)
            }
            [events, source, event] if events == "events" && !source.is_empty() && !event.is_empty() => {
                let one = Self::PostOne { source: source.to_string(), event: event.to_string() };
                pick(method, [(Method::POST, one)], describe)
            }
            [crud, schema, operation] if crud == "crud" && !schema.is_empty() => {
                let operation = crud::Operation::of(operation).ok_or(Problem::NotFound)?;
                pick(method, [(Method::POST, Self::PostCrud { schema: schema.to_string(), operation })], describe)
            }
            [health, live] if health == "health" && live == "live" => pick(method, [(Method::GET, Self::Live)], describe),
            [health, ready] if health == "health" && ready == "ready" => pick(method, [(Method::GET, Self::Ready)], describe),
            _ => Err(Problem::NotFound),
        }
    }

    fn action(&self) -> Action<'static> {
        match self {
            Self::Post | Self::Reconcile | Self::PostOne { .. } | Self::PostCrud { .. } => Action::Post,
            Self::Live | Self::Ready => Action::ReadHealth,
            Self::Describe { .. } => Action::Describe,
        }
    }
}

/// Serves one request.
pub(super) async fn serve(visit: &Visit, body: Body) -> Result<Response, Problem> {
    let call = Call::of(&visit.head.method, visit.head.uri.path())?;
    authorize(&visit.who(), call.action()).map_err(Problem::Denied)?;
    match call {
        Call::Post => post(visit, body, None).await,
        Call::Reconcile => reconcile::serve(visit, body).await,
        Call::PostOne { source, event } => post(visit, body, Some((source, event))).await,
        Call::PostCrud { schema, operation } => post_crud(visit, body, &schema, operation).await,
        Call::Live => Ok(health::live()),
        Call::Ready => Ok(health::ready(visit)),
        Call::Describe { allow } => Ok(consent(visit, describe(&allow))),
    }
}

/// The handshake of CloudEvents' webhooks: a sender that asks whether it may deliver here is told so. Its events still need a token, where there are
/// tokens.
fn consent(visit: &Visit, mut response: Response) -> Response {
    const ORIGIN: &str = "webhook-request-origin";
    const RATE: &str = "webhook-request-rate";
    let asked = &visit.head.headers;
    if let Some(origin) = asked.get(ORIGIN) {
        let told = response.headers_mut();
        told.insert(HeaderName::from_static("webhook-allowed-origin"), origin.clone());
        if asked.contains_key(RATE) {
            told.insert(HeaderName::from_static("webhook-allowed-rate"), HeaderValue::from_static("*"));
        }
    }
    response
}

/// The answer to OPTIONS.
pub(super) fn describe(allow: &str) -> Response {
    let mut response = reply::empty(StatusCode::NO_CONTENT);
    response.headers_mut().extend(HeaderValue::from_str(allow).map(|allow| (ALLOW, allow)));
    response
}

async fn post(visit: &Visit, body: Body, one: Option<(String, String)>) -> Result<Response, Problem> {
    let headers = &visit.head.headers;
    let format = Format::of(headers, one.is_some())?;
    let encoding = Encoding::of(headers)?;
    let mut held = visit.doors.arriving.hold();
    let limit = Limit { bytes: visit.settings.max_body, setting: Some("events.max_body"), wait: visit.settings.body_wait };
    let events = if (format, encoding) == (Format::NdJson, Encoding::Identity) {
        let mut lines = Lines::new(&visit.settings);
        body::each_piece(body, limit, &mut held, |piece| lines.push(&piece)).await?;
        lines.finish()?
    } else {
        let bytes = body::read_as_it_is(body, limit, &mut held).await?;
        let named = one.map(|(source, event)| Named { source, event, key: idempotency_key(headers) });
        let how = How { format, encoding, named, headers: (format == Format::CloudEvent).then(|| headers.clone()) };
        parse(visit, how, bytes, &mut held).await?
    };
    emit(visit, events).await
}

async fn post_crud(visit: &Visit, body: Body, schema: &str, operation: crud::Operation) -> Result<Response, Problem> {
    let headers = &visit.head.headers;
    let said = body::media_type(headers).filter(|said| !said.is_empty());
    if !said.is_some_and(|said| said.eq_ignore_ascii_case("application/json")) {
        let said = said.map(str::to_owned);
        return Err(Problem::MediaType { said, accept: "application/json", example: "Content-Type: application/json" });
    }
    let encoding = Encoding::of(headers)?;
    let mut held = visit.doors.arriving.hold();
    let limit = Limit { bytes: visit.settings.max_event, setting: Some("events.max_event"), wait: visit.settings.body_wait };
    let bytes = encoding.decode(body::read_as_it_is(body, limit, &mut held).await?, limit.bytes, &mut held)?;
    scan::check(&bytes, 1)?;
    emit(visit, crud::read(&bytes, schema, operation, idempotency_key(headers).as_deref())?).await
}

/// All of the events or none, if the token may.
async fn emit(visit: &Visit, mut events: Vec<NewEvent>) -> Result<Response, Problem> {
    let headers = &visit.head.headers;
    trace::attach(headers, &mut events);
    let who = visit.who();
    for event in &events {
        authorize(&who, Action::Emit(&event.source)).map_err(Problem::Denied)?;
    }
    let accepted = visit.doors.pipeline.accept(events).await.map_err(Problem::Accept)?;
    Ok(answer(headers, &accepted))
}

/// What `POST /events/{source}/{event}` says outside the body.
struct Named {
    source: String,
    event: String,
    key: Option<Vec<u8>>,
}

/// What a request says about its body.
struct How {
    format: Format,
    encoding: Encoding,
    named: Option<Named>,
    /// Of a CloudEvent in binary mode.
    headers: Option<HeaderMap>,
}

async fn parse(visit: &Visit, how: How, bytes: Bytes, held: &mut Held) -> Result<Vec<NewEvent>, Problem> {
    // What an encoded body comes to is not known before.
    if bytes.len() <= PARSE_HERE_MAX && how.encoding == Encoding::Identity {
        return read(how, &bytes, &visit.settings);
    }
    let settings = visit.settings.clone();
    let mut holding = std::mem::take(held);
    let parsed = tokio::task::spawn_blocking(move || {
        let read = how.encoding.decode(bytes, settings.max_body, &mut holding).and_then(|bytes| read(how, &bytes, &settings));
        (read, holding)
    });
    let (read, holding) = parsed.await.map_err(|error| Problem::Internal(error.to_string()))?;
    *held = holding;
    read
}

fn read(how: How, bytes: &Bytes, settings: &Settings) -> Result<Vec<NewEvent>, Problem> {
    let How { format, named, headers, .. } = how;
    let json = match format {
        Format::Json => {
            // The data alone stands one level deep, as it would in an event object.
            let around = usize::from(named.is_some());
            scan::check(bytes, around)?;
            bytes.clone()
        }
        Format::MessagePack => msgpack::to_json(bytes, settings, named.is_some())?,
        Format::NdJson => {
            let mut lines = Lines::new(settings);
            lines.push(bytes)?;
            return lines.finish();
        }
        Format::CloudEvent => return cloudevents::binary(&headers.unwrap_or_default(), bytes, settings),
        Format::StructuredCloudEvent => return cloudevents::structured(bytes, settings),
        Format::CloudEvents => return cloudevents::batched(bytes, settings),
    };
    match named {
        None => native::read(&json, settings),
        Some(Named { source, event, key }) => native::read_data(&json, &source, &event, key.as_deref(), settings).map(|event| vec![event]),
    }
}

/// The key, bare or in the quotes of a structured header.
fn idempotency_key(headers: &HeaderMap) -> Option<Vec<u8>> {
    let key = headers.get(IDEMPOTENCY_KEY)?.as_bytes();
    let bare = key.strip_prefix(b"\"").and_then(|key| key.strip_suffix(b"\"")).unwrap_or(key);
    Some(bare.to_vec())
}

#[derive(Serialize)]
struct Answer<'a> {
    events: Vec<AnswerEvent<'a>>,
}

#[derive(Serialize)]
struct AnswerEvent<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    deliveries: u32,
    duplicate: bool,
}

fn answer(headers: &HeaderMap, accepted: &[Accepted]) -> Response {
    if wants_minimal(headers) {
        let mut response = reply::empty(StatusCode::ACCEPTED);
        response.headers_mut().insert(PREFERENCE_APPLIED, HeaderValue::from_static("return=minimal"));
        return response;
    }
    let events = accepted.iter().map(|event| AnswerEvent {
        id: event.id.as_str(),
        key: event.key.as_deref(),
        deliveries: event.deliveries,
        duplicate: event.duplicate,
    });
    reply::json(StatusCode::ACCEPTED, &Answer { events: events.collect() })
}

fn wants_minimal(headers: &HeaderMap) -> bool {
    let preferences = headers.get_all(PREFER).into_iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split([',', ';']));
    preferences.map(|preference| preference.replace([' ', '"'], "")).any(|preference| preference.eq_ignore_ascii_case("return=minimal"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: Method, path: &str) -> String {
        match Call::of(&method, path) {
            Ok(call) => format!("{call:?}"),
            Err(Problem::MethodNotAllowed { allow }) => format!("405 {allow}"),
            Err(_) => "404".into(),
        }
    }

    #[test]
    fn every_route_of_the_door() {
        assert_eq!(call(Method::POST, "/events"), "Post");
        assert_eq!(call(Method::POST, "/events/"), "Post");
        assert_eq!(call(Method::GET, "/events"), "405 OPTIONS, POST");
        assert_eq!(call(Method::OPTIONS, "/events"), r#"Describe { allow: "OPTIONS, POST" }"#);
        assert_eq!(call(Method::POST, "/events/a%2Fb/c"), r#"PostOne { source: "a/b", event: "c" }"#);
        assert_eq!(call(Method::POST, "/events//c"), "404");
        assert_eq!(call(Method::POST, "/events/a"), "404");
        assert_eq!(call(Method::POST, "/crud/consumers/create"), r#"PostCrud { schema: "consumers", operation: Create }"#);
        assert_eq!(call(Method::POST, "/crud/consumers/drop"), "404");
        assert_eq!(call(Method::HEAD, "/health/live"), "Live");
        assert_eq!(call(Method::GET, "/health/ready"), "Ready");
        assert_eq!(call(Method::GET, "/metrics"), "404");
    }

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        [(name, value.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn minimal_answers_are_asked_for_by_prefer() {
        for yes in ["return=minimal", "respond-async, return=minimal", "return=\"minimal\"; x=1", "Return = Minimal"] {
            assert!(wants_minimal(&headers(PREFER, yes)), "{yes}");
        }
        assert!(!wants_minimal(&headers(PREFER, "return=representation")));
        assert!(!wants_minimal(&HeaderMap::new()));
    }

    #[test]
    fn idempotency_keys_may_be_quoted() {
        let key = |value: &str| idempotency_key(&headers(IDEMPOTENCY_KEY, value));
        assert_eq!(key("\"a b\""), Some(b"a b".to_vec()));
        assert_eq!(key("ab"), Some(b"ab".to_vec()));
        assert_eq!(key("\""), Some(b"\"".to_vec()));
        assert_eq!(idempotency_key(&HeaderMap::new()), None);
    }
}
