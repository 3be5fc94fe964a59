//! A small HTTP client for one of the host's doors.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// How long one call may take.
const CALL_LIMIT: Duration = Duration::from_secs(40);

/// One door of the host: its address, and a token if it wants one. Clones share the connections.
#[derive(Debug, Clone)]
pub struct Door {
    address: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    token: Option<String>,
}

impl Door {
    /// HTTP/1.1.
    pub fn new(address: SocketAddr, token: Option<String>) -> Self {
        Self { address, client: Client::builder(TokioExecutor::new()).build_http(), token }
    }

    /// HTTP/2 by prior knowledge.
    pub fn over_http2(&self) -> Self {
        let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        Self { client, ..self.clone() }
    }

    /// The same door for somebody with this token, or none.
    pub fn with_token(&self, token: Option<&str>) -> Self {
        Self { token: token.map(str::to_owned), ..self.clone() }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts a call; `path` begins with `/`.
    pub fn call(&self, method: Method, path: &str) -> Call<'_> {
        let mut headers = Vec::new();
        if let Some(token) = &self.token {
            headers.push(("authorization".to_owned(), format!("Bearer {token}")));
        }
        Call { door: self, method, path: path.to_owned(), headers, body: Bytes::new() }
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path).send().await
    }

    /// POST of JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, path).json(body).send().await
    }

    /// PATCH of JSON.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::PATCH, path).json(body).send().await
    }

    /// PUT of JSON.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::PUT, path).json(body).send().await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path).send().await
    }
}

/// A call that is being put together.
#[derive(Debug)]
pub struct Call<'a> {
    door: &'a Door,
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Call<'_> {
    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// A body and its type.
    pub fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.header("content-type", content_type)
    }

    /// A JSON body.
    pub fn json(self, body: &Value) -> Self {
        let text = body.to_string();
        self.body("application/json", text)
    }

    /// A body without a type.
    pub fn untyped(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Makes the call.
    ///
    /// # Panics
    /// When no answer comes.
    pub async fn send(self) -> Answer {
        let what = format!("{} {}", self.method, self.path);
        self.try_send().await.unwrap_or_else(|error| panic!("{what}: {error:#}"))
    }

    /// Makes the call; an error when no whole answer comes, as when the host dies.
    pub async fn try_send(self) -> anyhow::Result<Answer> {
        let Self { door, method, path, headers, body } = self;
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", door.address));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body)).context("the call is not valid HTTP")?;
        tokio::time::timeout(CALL_LIMIT, async {
            let (head, body) = door.client.request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
        })
        .await
        .context("no answer in time")?
    }
}

/// An answer of the host.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{} with no JSON ({error}): {:?}", self.status, self.text()))
    }

    /// A header's value, empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// This answer, if it has that status.
    ///
    /// # Panics
    /// When it has not, showing the body.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "body: {}", self.text());
        self
    }

    /// This answer, if it has that status and exactly that JSON.
    ///
    /// # Panics
    /// When it has not.
    #[track_caller]
    pub fn expect_json(self, status: u16, body: &Value) -> Self {
        let answer = self.expect(status);
        assert_eq!(&answer.json(), body);
        answer
    }
}
