//! Answers: a status, and JSON, text or nothing.

use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde::Serialize;

/// What a door answers.
pub(crate) type Response = http::Response<Body>;

/// JSON.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    // Our own types have string keys and no failing serializers; an empty body would be the worst that comes of it.
    let text = serde_json::to_vec(body).unwrap_or_default();
    typed(status, HeaderValue::from_static("application/json; charset=utf-8"), text)
}

/// A body of this type.
pub(crate) fn typed(status: StatusCode, content_type: HeaderValue, body: Vec<u8>) -> Response {
    let mut response = empty(status);
    *response.body_mut() = Body::from(body);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// No body.
pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
