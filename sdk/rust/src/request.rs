//! One HTTP request: for [`Answer::Send`](crate::Answer::Send) and for [`http::send`](crate::http::send).

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// One HTTP request.
///
/// `Host`, `Content-Length` and hop-by-hop headers are the host's and are refused, as are CR, LF and NUL in a value. `User-Agent` and `traceparent`
/// are added by the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Upper-case token: `POST`, `GET`.
    pub method: String,
    /// Absolute `http` or `https` URL, at most 8 KiB.
    pub url: String,
    /// Sent in this order.
    pub headers: Vec<(String, HeaderValue)>,
    /// None: no body. An empty list is an empty body.
    pub body: Option<Vec<u8>>,
    /// Check the server's certificate. False accepts any: for test systems only.
    pub verify_tls: bool,
    /// Until the connection stands. None: what is left of the deadline.
    pub connect_timeout: Option<Duration>,
    /// Until the last byte of the answer. None: what is left of the deadline. The smaller of both always wins.
    pub total_timeout: Option<Duration>,
}

/// A header's value.
#[derive(Clone, PartialEq, Eq)]
pub enum HeaderValue {
    /// These bytes.
    Text(Vec<u8>),
    /// `prefix` followed by a named secret. The host puts it in when it sends; logs and records show the name only.
    Secret {
        /// Stands before the secret: `Bearer `.
        prefix: String,
        /// The secret's name.
        name: String,
    },
}

impl Request {
    /// With no headers and no body; the certificate is checked.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: None,
            verify_tls: true,
            connect_timeout: None,
            total_timeout: None,
        }
    }

    /// A POST.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new("POST", url)
    }

    /// A GET.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// Sets a header. One of the same name, in any case, is replaced.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.set(name.into(), HeaderValue::Text(value.into()));
        self
    }

    /// Sets a header to `prefix` and a named secret, which this handler then never sees.
    pub fn secret_header(mut self, name: impl Into<String>, prefix: impl Into<String>, secret: impl Into<String>) -> Self {
        self.set(name.into(), HeaderValue::Secret { prefix: prefix.into(), name: secret.into() });
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sets the body to compact JSON, and `content-type` unless there is one.
    pub fn json<T: Serialize>(mut self, value: &T) -> Result<Self, serde_json::Error> {
        self.body = Some(serde_json::to_vec(value)?);
        if self.header_value("content-type").is_none() {
            self.set("content-type".into(), HeaderValue::Text(b"application/json".to_vec()));
        }
        Ok(self)
    }

    /// Sets whether the server's certificate is checked.
    pub fn verify_tls(mut self, verify: bool) -> Self {
        self.verify_tls = verify;
        self
    }

    /// Sets the time until the connection stands.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = Some(timeout);
        self
    }

    /// Sets the time until the last byte of the answer.
    pub fn total_timeout(mut self, timeout: Duration) -> Self {
        self.total_timeout = Some(timeout);
        self
    }

    /// The value of a header, whatever the case of its name.
    pub fn header_value(&self, name: &str) -> Option<&HeaderValue> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The text of a header: for tests. None where it is missing, a secret, or not UTF-8.
    pub fn header_text(&self, name: &str) -> Option<&str> {
        match self.header_value(name)? {
            HeaderValue::Text(bytes) => std::str::from_utf8(bytes).ok(),
            HeaderValue::Secret { .. } => None,
        }
    }

    /// The body as JSON: for tests. `null` where there is none or it is something else.
    pub fn body_json(&self) -> serde_json::Value {
        self.body.as_deref().and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_default()
    }

    /// Replaces in place, so that what was first stays first; a second one of the same name goes.
    fn set(&mut self, name: String, value: HeaderValue) {
        let Some(at) = self.headers.iter().position(|(key, _)| key.eq_ignore_ascii_case(&name)) else {
            self.headers.push((name, value));
            return;
        };
        let mut index = 0;
        self.headers.retain(|(key, _)| {
            index += 1;
            index <= at + 1 || !key.eq_ignore_ascii_case(&name)
        });
        self.headers[at] = (name, value);
    }
}

impl fmt::Debug for HeaderValue {
    /// Text as text: a failed assertion should be readable.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(bytes) => write!(f, "{:?}", String::from_utf8_lossy(bytes)),
            Self::Secret { prefix, name } => write!(f, "{prefix:?} + secret {name:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_replaces_those_of_the_same_name_in_any_case() {
        let mut request = Request::post("http://h/").header("A", "1").header("Content-Type", "text/plain").header("b", "2");
        request.headers.push(("CONTENT-TYPE".into(), HeaderValue::Text(b"x".to_vec())));
        let request = request.header("content-type", "application/json");
        let names: Vec<_> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["A", "content-type", "b"]);
        assert_eq!(request.header_text("Content-type"), Some("application/json"));
    }

    #[test]
    fn json_keeps_a_content_type_that_was_chosen() {
        let request = Request::post("http://h/").header("Content-Type", "application/vnd.x+json").json(&[1]).unwrap();
        assert_eq!(request.header_text("content-type"), Some("application/vnd.x+json"));
        assert_eq!(request.body.as_deref(), Some(b"[1]".as_slice()));
    }

    #[test]
    fn a_secret_header_has_no_text() {
        let request = Request::get("http://h/").secret_header("authorization", "Bearer ", "token");
        assert_eq!(request.header_text("authorization"), None);
        assert_eq!(format!("{:?}", request.headers[0].1), r#""Bearer " + secret "token""#);
    }
}
