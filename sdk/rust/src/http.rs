//! The capability `http`: requests whose answer the handler needs. For a request whose answer it does not need, return
//! [`Answer::Send`](crate::Answer::Send) instead: it is cheaper, because nothing waits in memory.
//!
//! Only hosts that the handler asks for ([`Asks::http_hosts`](crate::Asks)) and the operator grants can be reached. Redirects are never followed.

use std::fmt;

use serde::Deserialize;

use crate::Request;

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// `200`. A 302 arrives as a 302.
    pub status: u16,
    /// As received, names in lower case. A name may appear more than once.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The whole body; at most `limits.http_response_bytes` (8 MiB by default).
    pub body: Vec<u8>,
}

impl Response {
    /// With no headers and no body: for tests.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// Adds a header: for tests.
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body: for tests.
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Is the status 200 to 299?
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of this name, whatever its case, if it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// The body as a type of yours.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}

/// Why there is no answer. A `?` turns it into [`Failure::Retry`](crate::Failure::Retry).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// Not allowed: the host was not granted, the address is refused by the egress policy, or the request itself is not valid. The text names the
    /// rule, and the setting that would allow it.
    Denied(String),
    /// The name could not be resolved.
    Dns(String),
    /// No connection.
    Connect(String),
    /// The TLS handshake or the certificate.
    Tls(String),
    /// Too slow: the request's own limit or the attempt's deadline.
    Timeout(String),
    /// The answer is larger than `limits.http_response_bytes`.
    TooLarge(String),
    /// What came back was not HTTP.
    Protocol(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, detail) = match self {
            Self::Denied(detail) => ("denied", detail),
            Self::Dns(detail) => ("dns", detail),
            Self::Connect(detail) => ("connect", detail),
            Self::Tls(detail) => ("tls", detail),
            Self::Timeout(detail) => ("timeout", detail),
            Self::TooLarge(detail) => ("too-large", detail),
            Self::Protocol(detail) => ("protocol", detail),
        };
        write!(f, "{code}: {detail}")
    }
}

impl std::error::Error for Error {}

/// Sends one request and waits for the whole answer. At most `limits.http_requests` (16 by default) in one attempt: one more ends the attempt.
#[cfg(target_arch = "wasm32")]
pub fn send(request: Request) -> Result<Response, Error> {
    use crate::bindings::tenterhook::hook::http as import;

    let response = import::send(&request.into()).map_err(|error| match error {
        import::Error::Denied(detail) => Error::Denied(detail),
        import::Error::Dns(detail) => Error::Dns(detail),
        import::Error::Connect(detail) => Error::Connect(detail),
        import::Error::Tls(detail) => Error::Tls(detail),
        import::Error::Timeout(detail) => Error::Timeout(detail),
        import::Error::TooLarge(detail) => Error::TooLarge(detail),
        import::Error::Protocol(detail) => Error::Protocol(detail),
    })?;
    Ok(Response { status: response.status, headers: response.headers, body: response.body })
}

/// Sends one request and waits for the whole answer. At most `limits.http_requests` (16 by default) in one attempt: one more ends the attempt.
#[cfg(not(target_arch = "wasm32"))]
pub fn send(request: Request) -> Result<Response, Error> {
    crate::testing::send_http(request)
}
