//! Every error that a door can answer with, and the one place that words it: status, body and headers, for the events door
//! `{"message","code","errors"?}`, for the admin door Kong's bodies where Kong has one.

use std::time::Duration;

use http::header::{ACCEPT, ALLOW, CONNECTION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::auth::Denied;
use super::listen::Door;
use super::{reply, violations};
use crate::model::Invalid;
use crate::pipeline::{AcceptError, ChangeError, InstallError};

/// The media types of the events door, as the answer 415 lists them.
pub(crate) const EVENT_TYPES: &str = "application/json, application/x-ndjson, application/msgpack, application/vnd.msgpack, \
     application/x-msgpack, application/cloudevents+json, application/cloudevents-batch+json";

/// Those of `POST /events/{source}/{event}`, which takes one event's data alone.
pub(crate) const DATA_TYPES: &str = "application/json, application/msgpack, application/vnd.msgpack, application/x-msgpack";

/// A client that is refused while the host stops or is busy is asked to come back after this many seconds.
const RETRY_AFTER_SECS: u64 = 5;

/// What is wrong with one event of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct EventError {
    /// Which, from 0.
    pub(crate) index: usize,
    /// `source: required field missing`.
    pub(crate) message: String,
}

/// Why a request gets no success.
#[derive(Debug)]
pub(crate) enum Problem {
    /// No such route, or no such thing.
    NotFound,
    /// No such source; Kong words it with a capital F.
    NoSuchSource,
    /// The route has no such method.
    MethodNotAllowed { allow: String },
    /// Not for them.
    Denied(Denied),
    /// The body is too long, or has too many events.
    TooLarge { what: String, limit: usize, setting: Option<&'static str> },
    /// Some event is too long.
    EventTooLarge { errors: Vec<EventError>, limit: usize },
    /// The body did not arrive whole.
    Incomplete(String),
    /// The body did not arrive in time.
    TooSlow { limit: Duration },
    /// The content type, as far as it was said, is not one of `accept`.
    MediaType { said: Option<String>, accept: &'static str, example: &'static str },
    /// The body has an encoding that is not read here.
    ContentEncoding { said: String, accept: &'static str },
    /// Too much is being read for others.
    Crowded { limit: usize, setting: &'static str },
    /// Kong's answer to a content type that it does not read: no body.
    KongMediaType,
    /// The body cannot be read at all.
    Malformed(String),
    /// Kong's words for that.
    CannotParseJson,
    /// Events that are not valid.
    Events(Vec<EventError>),
    /// The pipeline did not accept the events.
    Accept(AcceptError),
    /// The pipeline did not make the change.
    Change(ChangeError),
    /// A PATCH of a hook that does not exist.
    NoSuchHook(Uuid),
    /// `{id}` is no UUID, and no hook has it as its name.
    InvalidId,
    /// `size` of a list.
    InvalidSize(&'static str),
    /// `offset` of a list, and what is wrong with it.
    InvalidOffset(String, &'static str),
    /// `tags` of a list.
    InvalidTags,
    /// A query parameter of our own.
    Query(String),
    /// A delivery's state does not allow it.
    Conflict(String),
    /// A ping failed.
    Ping(String),
    /// A test failed.
    Test(String),
    /// A handler was not installed.
    Install(InstallError),
    /// Ours: the log is told what, the caller is not.
    Internal(String),
}

/// An error, worded.
struct Told {
    status: StatusCode,
    /// Stable word.
    code: &'static str,
    message: String,
    errors: Vec<EventError>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// What Kong answers, where it is not the message and the stable word.
    kong: Option<Kong>,
}

enum Kong {
    Body(Value),
    Message,
    Empty,
}

impl Problem {
    /// The answer of this door.
    pub(crate) fn answer(self, door: Door) -> reply::Response {
        let Told { status, code, message, errors, headers, kong } = self.told();
        let ours = |message: &str| {
            let mut body = json!({ "message": message, "code": code });
            if !errors.is_empty() {
                body["errors"] = json!(errors);
            }
            body
        };
        let body = match (door, kong) {
            (Door::Events, _) | (_, None) => Some(ours(&message)),
            (_, Some(Kong::Body(body))) => Some(body),
            (_, Some(Kong::Message)) => Some(json!({ "message": message })),
            (_, Some(Kong::Empty)) => None,
        };
        let mut answer = body.map_or_else(|| reply::empty(status), |body| reply::json(status, &body));
        for (name, value) in headers {
            answer.headers_mut().insert(name, value);
        }
        answer
    }

    fn told(self) -> Told {
        match self {
            Self::NotFound => Told::new(StatusCode::NOT_FOUND, "not-found", "Not found").kong(Kong::Message),
            Self::NoSuchSource => Told::new(StatusCode::NOT_FOUND, "not-found", "Not Found").kong(Kong::Message),
            Self::MethodNotAllowed { allow } => {
                let told = Told::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed");
                told.header(ALLOW, &allow).kong(Kong::Message)
            }
            Self::Denied(denied) => tell_denied(denied),
            Self::TooLarge { what, limit, setting } => too_large(&format!("{what}, more than the limit of {limit}"), setting, "too-large"),
            Self::EventTooLarge { errors, limit } => {
                let message = format!("an event is longer than the limit of {limit} bytes");
                Told { errors, ..too_large(&message, Some("events.max_event"), "event-too-large") }
            }
            Self::Incomplete(what) => Told::new(StatusCode::BAD_REQUEST, "incomplete", &format!("the body did not arrive whole: {what}")),
            Self::TooSlow { limit } => {
                let message = format!("the body did not arrive within {} s", limit.as_secs());
                Told::new(StatusCode::REQUEST_TIMEOUT, "too-slow", &message).header(CONNECTION, "close")
            }
            Self::MediaType { said, accept, example } => {
                let said =
                    said.map_or_else(|| "no Content-Type was sent".to_owned(), |said| format!("Content-Type '{said}' is not taken here"));
                let message = format!("{said}; send one of: {accept}. This line would have worked: {example}");
                Told::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", &message).header(ACCEPT, accept)
            }
            Self::ContentEncoding { said, accept } => {
                let message = format!("Content-Encoding '{said}' is not taken here; send one of: {accept}");
                Told::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-encoding", &message)
                    .header(HeaderName::from_static("accept-encoding"), accept)
            }
            Self::Crowded { limit, setting } => {
                let message = format!("{limit} bytes of bodies are being read already (setting {setting})");
                unavailable("full", &message, RETRY_AFTER_SECS)
            }
            Self::KongMediaType => Told::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", "unsupported media type").kong(Kong::Empty),
            Self::Malformed(message) => Told::new(StatusCode::BAD_REQUEST, "malformed", &message),
            Self::CannotParseJson => Told::new(StatusCode::BAD_REQUEST, "malformed", "Cannot parse JSON body").kong(Kong::Message),
            Self::Events(errors) => tell_events(errors),
            Self::Accept(error) => tell_accept(error),
            Self::Change(error) => tell_change(error),
            Self::NoSuchHook(id) => no_such_hook(id),
            Self::InvalidId => numbered(StatusCode::BAD_REQUEST, 10, "invalid unique id", "expected a valid UUID".into(), None),
            Self::InvalidSize(message) => numbered(StatusCode::BAD_REQUEST, 9, "invalid size", message.into(), None),
            Self::InvalidOffset(offset, why) => {
                numbered(StatusCode::BAD_REQUEST, 7, "invalid offset", format!("'{offset}' is not a valid offset: {why}"), None)
            }
            Self::InvalidTags => {
                numbered(StatusCode::BAD_REQUEST, 11, "invalid options", "invalid option (tags: invalid filter syntax)".into(), None)
            }
            Self::Query(message) => Told::new(StatusCode::BAD_REQUEST, "invalid-query", &message),
            Self::Conflict(message) => Told::new(StatusCode::CONFLICT, "conflict", &message),
            Self::Ping(message) => Told::new(StatusCode::BAD_REQUEST, "ping-failed", &message).kong(Kong::Message),
            // The misspelling is Kong's, and its clients compare it.
            Self::Test(error) => Told::new(StatusCode::INTERNAL_SERVER_ERROR, "test-failed", &error)
                .kong(Kong::Body(json!({ "message": "An unexpected error ocurred", "err": error }))),
            Self::Install(error) => tell_install(error),
            Self::Internal(detail) => internal(&detail),
        }
    }
}

impl Told {
    fn new(status: StatusCode, code: &'static str, message: &str) -> Self {
        Self { status, code, message: message.to_owned(), errors: Vec::new(), headers: Vec::new(), kong: None }
    }

    fn kong(self, kong: Kong) -> Self {
        Self { kong: Some(kong), ..self }
    }

    /// A value that cannot be a header's is left out.
    fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        self
    }

    fn at(self, index: usize) -> Self {
        let errors = vec![EventError { index, message: self.message.clone() }];
        Self { errors, ..self }
    }
}

/// An error of Kong's entities, which carry a number.
fn numbered(status: StatusCode, code: u8, name: &'static str, message: String, fields: Option<Value>) -> Told {
    let mut body = json!({ "code": code, "name": name, "message": message });
    if let Some(fields) = fields {
        body["fields"] = fields;
    }
    Told::new(status, name, &message).kong(Kong::Body(body))
}

fn no_such_hook(id: Uuid) -> Told {
    let message = format!("could not find the entity with primary key '{{id=\"{id}\"}}'");
    numbered(StatusCode::NOT_FOUND, 6, "not found", message, Some(json!({ "id": id })))
}

fn too_large(message: &str, setting: Option<&'static str>, code: &'static str) -> Told {
    let setting = setting.map(|setting| format!(" (setting {setting})")).unwrap_or_default();
    Told::new(StatusCode::PAYLOAD_TOO_LARGE, code, &format!("{message}{setting}"))
}

fn internal(detail: &str) -> Told {
    tracing::error!(detail, "a request failed");
    Told::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "An unexpected error occurred").kong(Kong::Message)
}

fn unavailable(code: &'static str, message: &str, seconds: u64) -> Told {
    Told::new(StatusCode::SERVICE_UNAVAILABLE, code, message).header(RETRY_AFTER, &seconds.max(1).to_string())
}

fn tell_denied(denied: Denied) -> Told {
    let unauthorized = |message: &str| {
        let told = Told::new(StatusCode::UNAUTHORIZED, "unauthorized", message).header(WWW_AUTHENTICATE, "Bearer");
        told.kong(Kong::Body(json!({ "message": message, "status": 401 })))
    };
    match denied {
        Denied::NoToken => unauthorized("a token is required: Authorization: Bearer <token>"),
        Denied::WrongToken => unauthorized("the token is not known"),
        Denied::NotLocal { header, value } => {
            let message = format!(
                "{header} '{value}' is not a loopback name, and the Admin API has no tokens (setting auth.admin_tokens): it takes requests for \
                 localhost only"
            );
            Told::new(StatusCode::FORBIDDEN, "not-local", &message)
        }
        Denied::Source(source) => {
            Told::new(StatusCode::FORBIDDEN, "forbidden", &format!("the token may not emit events of source '{source}'"))
        }
    }
}

fn tell_events(errors: Vec<EventError>) -> Told {
    let message = match errors.as_slice() {
        [one] => format!("event {}: {}", one.index, one.message),
        more => format!("{} errors; nothing of the request was accepted", more.len()),
    };
    Told { errors, ..Told::new(StatusCode::BAD_REQUEST, "invalid", &message) }
}

fn tell_accept(error: AcceptError) -> Told {
    let message = error.to_string();
    match error {
        AcceptError::Unregistered { index, .. } => Told::new(StatusCode::UNPROCESSABLE_ENTITY, "unregistered", &message).at(index),
        AcceptError::Unfit { index, .. } => Told::new(StatusCode::UNPROCESSABLE_ENTITY, "schema", &message).at(index),
        AcceptError::KeyReused { index, .. } => Told::new(StatusCode::CONFLICT, "key-reused", &message).at(index),
        AcceptError::Full { retry_after, .. } => unavailable("full", &message, retry_after.as_secs()),
        AcceptError::Stopping => unavailable("stopping", &message, RETRY_AFTER_SECS),
        AcceptError::Store(_) => unavailable("store", &message, RETRY_AFTER_SECS),
    }
}

fn tell_change(error: ChangeError) -> Told {
    match error {
        ChangeError::Invalid(invalid) => tell_invalid(&invalid),
        ChangeError::NotFound => Problem::NotFound.told(),
        ChangeError::DuplicateId(id) => {
            let message = format!("primary key violation on key '{{id=\"{id}\"}}'");
            numbered(StatusCode::BAD_REQUEST, 3, "primary key violation", message, Some(json!({ "id": id })))
        }
        ChangeError::NameTaken(name) => {
            let message = format!("UNIQUE violation detected on '{{name=\"{name}\"}}'");
            numbered(StatusCode::CONFLICT, 5, "unique constraint violation", message, Some(json!({ "name": name })))
        }
        ChangeError::BuiltIn(what) => Told::new(StatusCode::CONFLICT, "built-in", &format!("{what} is built in")).kong(Kong::Message),
        ChangeError::Busy(message) => unavailable("busy", &message, RETRY_AFTER_SECS),
        ChangeError::Store(detail) => internal(&detail),
    }
}

fn tell_invalid(invalid: &Invalid) -> Told {
    let (message, fields) = violations::word(invalid);
    numbered(StatusCode::BAD_REQUEST, 2, "schema violation", message, Some(fields))
}

fn tell_install(error: InstallError) -> Told {
    let message = error.to_string();
    match error {
        InstallError::Name(_) => Told::new(StatusCode::BAD_REQUEST, "invalid-name", &message),
        InstallError::Refused { code, .. } => Told::new(StatusCode::BAD_REQUEST, code, &message),
        InstallError::BuiltIn(_) => Told::new(StatusCode::CONFLICT, "built-in", &message),
        InstallError::Store(detail) => internal(&detail),
    }
}

#[cfg(test)]
#[path = "problem_tests.rs"]
mod tests;
