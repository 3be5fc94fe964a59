//! Reading a request's body: whole, within a limit and a time, and only if it is encoded as we read it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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

/// Bytes of bodies that all requests of a door may hold together while they are read.
#[derive(Debug, Clone)]
pub(crate) struct Arriving {
    free: Arc<Semaphore>,
    most: usize,
}

impl Arriving {
    pub(crate) fn new(most: usize) -> Self {
        // A semaphore counts pages, so that its permits suffice for any machine.
        Self { free: Arc::new(Semaphore::new((most / PAGE).min(Semaphore::MAX_PERMITS))), most }
    }

    /// For one request.
    pub(crate) fn hold(&self) -> Held {
        Held { of: Some(self.clone()), permits: None, pages: 0 }
    }
}

/// What one body counts as in [`Arriving`]; less is not worth counting.
const PAGE: usize = 16 << 10;

/// What one request holds of it; given back when it is dropped. The default is of no door, and has no bound.
#[derive(Debug, Default)]
pub(crate) struct Held {
    of: Option<Arriving>,
    permits: Option<OwnedSemaphorePermit>,
    pages: usize,
}

impl Held {
    /// Holds `bytes` in all from now on, or refuses the request: never waits, because everybody would wait for everybody.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        let Some(of) = &self.of else { return Ok(()) };
        // The first page is free: a small event must not be kept out by large ones.
        let pages = bytes / PAGE;
        let Some(more) = pages.checked_sub(self.pages).filter(|more| *more > 0) else { return Ok(()) };
        let permits = u32::try_from(more).ok().and_then(|more| of.free.clone().try_acquire_many_owned(more).ok());
        let permits = permits.ok_or(Problem::Crowded { limit: of.most, setting: "events.arriving_bytes" })?;
        match &mut self.permits {
            Some(held) => held.merge(permits),
            None => self.permits = Some(permits),
        }
        self.pages = pages;
        Ok(())
    }
}

/// Reads the whole body, which must not be encoded.
pub(crate) async fn read(headers: &HeaderMap, body: Body, limit: Limit) -> Result<Bytes, Problem> {
    if let Some(encoding) = headers.get(CONTENT_ENCODING).filter(|said| !said.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Problem::ContentEncoding { said: String::from_utf8_lossy(encoding.as_bytes()).into_owned(), accept: "identity" });
    }
    read_as_it_is(body, limit, &mut Held::default()).await
}

/// Reads the whole body, whatever its encoding.
pub(crate) async fn read_as_it_is(body: Body, limit: Limit, held: &mut Held) -> Result<Bytes, Problem> {
    let mut whole = Whole { first: Bytes::new(), rest: BytesMut::new(), expected: expected(&body) };
    each_piece(body, limit, held, |data| {
        whole.add(data);
        Ok(())
    })
    .await?;
    Ok(whole.end())
}

fn expected(body: &Body) -> usize {
    usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX)
}

/// Gives each piece of a body to `take` as it arrives. What is held in the end is the whole body's length, unless `take` refuses.
pub(crate) async fn each_piece(
    mut body: Body,
    limit: Limit,
    held: &mut Held,
    mut take: impl FnMut(Bytes) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let expected = expected(&body);
    if expected > limit.bytes {
        return Err(limit.exceeded());
    }
    held.grow(expected)?;
    let all = async {
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Problem::Incomplete(error.to_string()))?;
            let Ok(data) = frame.into_data() else { continue };
            length += data.len();
            if length > limit.bytes {
                return Err(limit.exceeded());
            }
            held.grow(length)?;
            take(data)?;
        }
        Ok(())
    };
    tokio::time::timeout(limit.wait, all).await.unwrap_or(Err(Problem::TooSlow { limit: limit.wait }))
}

/// A body that arrives in one piece, as small ones do, is not copied.
struct Whole {
    first: Bytes,
    rest: BytesMut,
    expected: usize,
}

impl Whole {
    fn add(&mut self, data: Bytes) {
        if self.rest.is_empty() && self.first.is_empty() {
            self.first = data;
            return;
        }
        if self.rest.is_empty() {
            self.rest.reserve(self.expected.min(ROOM_AT_FIRST));
            self.rest.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.rest.extend_from_slice(&data);
    }

    fn end(self) -> Bytes {
        if self.rest.is_empty() { self.first } else { self.rest.freeze() }
    }
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
    async fn bodies_share_what_may_arrive_and_give_it_back() {
        let arriving = Arriving::new(4 * PAGE);
        let (mut one, mut other) = (arriving.hold(), arriving.hold());
        one.grow(3 * PAGE).unwrap();
        other.grow(PAGE + 5).unwrap();
        assert!(matches!(other.grow(2 * PAGE), Err(Problem::Crowded { setting: "events.arriving_bytes", .. })));
        arriving.hold().grow(PAGE - 1).unwrap();
        drop(one);
        other.grow(4 * PAGE).unwrap();
    }

    #[tokio::test]
    async fn encoded_bodies_are_named() {
        let gzip = headers(&[(CONTENT_ENCODING, "gzip")]);
        assert!(matches!(read(&gzip, Body::from("x"), LIMIT).await, Err(Problem::ContentEncoding { said, .. }) if said == "gzip"));
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
