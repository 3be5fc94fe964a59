//! Reading a request's body: whole, within a limit and a time, and only if it is encoded as we read it.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use serde_json::{Map, Value};

use super::problem::Problem;

/// Longest JSON body of the Admin API: as much as Kong takes at most for an entity with large functions, and no setting.
const ADMIN_BODY_MAX: usize = 8 << 20;

/// A body that says it is longer gets no more room than this before its bytes are here.
const ROOM_AT_FIRST: usize = 1 << 20;

/// How much, and how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    /// Bytes.
    pub(crate) bytes: usize,
    /// The setting that says so; none if there is none.
    pub(crate) setting: Option<&'static str>,
    /// For the whole body.
    pub(crate) wait: Duration,
}

impl Limit {
    /// For the Admin API's entities.
    pub(crate) fn admin(wait: Duration) -> Self {
        Self { bytes: ADMIN_BODY_MAX, setting: None, wait }
    }

    fn exceeded(self) -> Problem {
        Problem::TooLarge { what: "the body has more bytes".into(), limit: self.bytes, setting: self.setting }
    }
}

/// Reads the whole body.
pub(crate) async fn read(headers: &HeaderMap, body: Body, limit: Limit) -> Result<Bytes, Problem> {
    if let Some(encoding) = headers.get(CONTENT_ENCODING).filter(|said| !said.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Problem::ContentEncoding(String::from_utf8_lossy(encoding.as_bytes()).into_owned()));
    }
    let expected = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if expected > limit.bytes {
        return Err(limit.exceeded());
    }
    let collected = tokio::time::timeout(limit.wait, collect(body, expected, limit)).await;
    collected.unwrap_or(Err(Problem::TooSlow { limit: limit.wait }))
}

/// A body that arrives in one piece, as small ones do, is not copied.
async fn collect(mut body: Body, expected: usize, limit: Limit) -> Result<Bytes, Problem> {
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Problem::Incomplete(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + whole.len() + data.len() > limit.bytes {
            return Err(limit.exceeded());
        }
        if whole.is_empty() && first.is_empty() {
            first = data;
            continue;
        }
        if whole.is_empty() {
            whole.reserve(expected.min(ROOM_AT_FIRST));
            whole.extend_from_slice(&std::mem::take(&mut first));
        }
        whole.extend_from_slice(&data);
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}

/// The media type of a body: without parameters, as it was written.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<&str> {
    let said = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(said.split(';').next().unwrap_or(said).trim())
}

/// A JSON value as Kong's Admin API takes it. No body and no type is an empty object.
pub(crate) async fn read_json(headers: &HeaderMap, body: Body, wait: Duration) -> Result<Value, Problem> {
    let typed = headers.contains_key(CONTENT_TYPE);
    let is_json = media_type(headers).is_some_and(|said| said.eq_ignore_ascii_case("application/json"));
    if typed && !is_json {
        return Err(Problem::KongMediaType);
    }
    let bytes = read(headers, body, Limit::admin(wait)).await?;
    match (typed, bytes.is_empty()) {
        (false, true) => Ok(Value::Object(Map::new())),
        (false, false) => Err(Problem::KongMediaType),
        (true, _) => serde_json::from_slice(&bytes).map_err(|_| Problem::CannotParseJson),
    }
}

/// A JSON object as Kong's Admin API takes it.
pub(crate) async fn read_object(headers: &HeaderMap, body: Body, wait: Duration) -> Result<Map<String, Value>, Problem> {
    match read_json(headers, body, wait).await? {
        Value::Object(members) => Ok(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Err(Problem::CannotParseJson),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use serde_json::json;

    use super::*;

    const LIMIT: Limit = Limit { bytes: 8, setting: Some("events.max_body"), wait: Duration::from_secs(5) };

    fn headers(pairs: &[(http::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), http::HeaderValue::from_static(value))).collect()
    }

    fn pieces(pieces: &[&'static str]) -> Body {
        Body::from_stream(stream::iter(
            pieces.iter().map(|piece| Ok::<_, std::io::Error>(Bytes::from_static(piece.as_bytes()))).collect::<Vec<_>>(),
        ))
    }

    #[tokio::test]
    async fn the_limit_counts_what_is_said_and_what_arrives() {
        let none = HeaderMap::new();
        assert_eq!(read(&none, Body::from("12345678"), LIMIT).await.unwrap(), "12345678");
        assert_eq!(read(&none, pieces(&["123", "", "45", "678"]), LIMIT).await.unwrap(), "12345678");
        for body in [Body::from("123456789"), pieces(&["1234", "56789"])] {
            assert!(matches!(read(&none, body, LIMIT).await, Err(Problem::TooLarge { limit: 8, setting: Some("events.max_body"), .. })));
        }
    }

    #[tokio::test]
    async fn a_body_that_stops_coming_is_given_up() {
        let body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let hasty = Limit { wait: Duration::from_millis(20), ..LIMIT };
        assert!(matches!(read(&HeaderMap::new(), body, hasty).await, Err(Problem::TooSlow { .. })));
        let broken = Body::from_stream(stream::iter([Err::<Bytes, _>(std::io::Error::other("reset"))]));
        assert!(matches!(read(&HeaderMap::new(), broken, LIMIT).await, Err(Problem::Incomplete(_))));
    }

    #[tokio::test]
    async fn encoded_bodies_are_named() {
        let gzip = headers(&[(CONTENT_ENCODING, "gzip")]);
        assert!(matches!(read(&gzip, Body::from("x"), LIMIT).await, Err(Problem::ContentEncoding(said)) if said == "gzip"));
        assert!(read(&headers(&[(CONTENT_ENCODING, "identity")]), Body::from("x"), LIMIT).await.is_ok());
    }

    #[tokio::test]
    async fn admin_bodies_are_read_as_kong_reads_them() {
        let wait = Duration::from_secs(5);
        let json_type = headers(&[(CONTENT_TYPE, "Application/JSON; charset=utf-8")]);
        assert_eq!(read_json(&json_type, Body::from(r#"{"a":1}"#), wait).await.unwrap(), json!({ "a": 1 }));
        assert_eq!(read_json(&HeaderMap::new(), Body::empty(), wait).await.unwrap(), json!({}));
        assert!(matches!(read_json(&json_type, Body::from("{bad"), wait).await, Err(Problem::CannotParseJson)));
        assert!(matches!(read_json(&json_type, Body::empty(), wait).await, Err(Problem::CannotParseJson)));
        assert!(matches!(read_object(&json_type, Body::from("[]"), wait).await, Err(Problem::CannotParseJson)));
        assert!(matches!(read_json(&headers(&[(CONTENT_TYPE, "text/plain")]), Body::empty(), wait).await, Err(Problem::KongMediaType)));
        assert!(matches!(read_json(&HeaderMap::new(), Body::from("{}"), wait).await, Err(Problem::KongMediaType)));
    }
}
