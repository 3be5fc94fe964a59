//! What your own rules find.

use super::{PathPart, Violation};
use crate::standard_webhooks::Secret;

/// Collects violations. `check.field("url").url(&config.url)` applies a ready rule; `check.field("max").refuse("…")` is your own.
#[derive(Debug, Default)]
pub struct Check {
    found: Vec<Violation>,
}

/// A place in the config.
#[derive(Debug)]
pub struct At<'a> {
    check: &'a mut Check,
    path: Vec<PathPart>,
}

/// Headers that the host sets by itself and refuses from a handler (RFC 9110, section 7.6.1, and the framing).
const HOSTS_OWN: [&str; 10] = [
    "host",
    "content-length",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl Check {
    /// The member of this name.
    pub fn field(&mut self, name: &str) -> At<'_> {
        At { check: self, path: vec![PathPart::Key(name.into())] }
    }

    /// Something is wrong with the config as a whole.
    pub fn refuse(&mut self, message: impl Into<String>) {
        self.found.push(Violation { path: Vec::new(), message: message.into() });
    }

    pub(super) fn into_found(self) -> Vec<Violation> {
        self.found
    }
}

impl At<'_> {
    /// The member of this name, in here.
    pub fn field(mut self, name: &str) -> Self {
        self.path.push(PathPart::Key(name.into()));
        self
    }

    /// The element of this index, from 0, in here.
    pub fn index(mut self, index: u32) -> Self {
        self.path.push(PathPart::Index(index));
        self
    }

    /// Something is wrong here. Lower case, no full stop: `must be even`.
    pub fn refuse(self, message: impl Into<String>) {
        self.check.found.push(Violation { path: self.path, message: message.into() });
    }

    /// A text of at least one character.
    pub fn not_empty(self, text: &str) {
        if text.is_empty() {
            self.refuse("length must be at least 1");
        }
    }

    /// A URL with scheme and host. (Which schemes can be reached is the host's business, as in Kong.)
    pub fn url(self, text: &str) {
        if text.is_empty() {
            self.refuse("length must be at least 1");
        } else if url_host(text).is_none() {
            self.refuse("missing host in url");
        } else if url_scheme(text).is_none() {
            self.refuse("missing scheme in url");
        }
    }

    /// A secret that requests are signed with, if there is one: not empty, and base64 behind `whsec_` (Standard Webhooks).
    pub fn secret(self, text: Option<&str>) {
        match text.map(|text| (text, Secret::new(text))) {
            Some(("", _)) => self.refuse("length must be at least 1"),
            Some((_, Err(error))) => self.refuse(error.to_string()),
            Some((_, Ok(_))) | None => {}
        }
    }

    /// A header that a request may have. Better said when the hook is made than for every event.
    pub fn header(self, name: &str, value: &str) {
        if name.is_empty() || !name.bytes().all(is_token_byte) {
            self.refuse("invalid header name");
        } else if HOSTS_OWN.iter().any(|own| name.eq_ignore_ascii_case(own)) {
            self.refuse("this header is set by the host");
        } else if value.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            self.refuse("invalid header value");
        }
    }
}

/// What stands before `:`, if it looks like a scheme (RFC 3986, section 3.1).
fn url_scheme(url: &str) -> Option<&str> {
    let (scheme, _) = url.split_once(':')?;
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    (scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(known)).then_some(scheme)
}

/// The host between `//` and the path, without user and port.
fn url_host(url: &str) -> Option<&str> {
    let rest = url_scheme(url).map_or(url, |scheme| &url[scheme.len() + 1..]);
    let authority = rest.strip_prefix("//")?.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split_once(']')?.0,
        None => host.split(':').next()?,
    };
    (!host.is_empty()).then_some(host)
}

/// A byte of a token (RFC 9110, section 5.6.2).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rule: impl FnOnce(At<'_>)) -> String {
        let mut check = Check::default();
        rule(check.field("x"));
        check.into_found().pop().map(|violation| violation.message).unwrap_or_default()
    }

    #[test]
    fn urls_need_a_host_and_a_scheme() {
        let cases = [
            ("http://h", ""),
            ("https://user:pw@h.example:8443/x?y#z", ""),
            ("http://[::1]:80/", ""),
            ("ftp://h/x", ""),
            ("", "length must be at least 1"),
            ("not-a-url", "missing host in url"),
            ("http:///x", "missing host in url"),
            ("http://:80/", "missing host in url"),
            ("mailto:a@b", "missing host in url"),
            ("//h/x", "missing scheme in url"),
            ("1http://h/", "missing host in url"),
        ];
        for (url, message) in cases {
            assert_eq!(found(|at| at.url(url)), message, "{url}");
        }
    }

    #[test]
    fn headers_that_no_request_may_have_are_refused() {
        let cases = [
            ("X-Give-Me", "some tests", ""),
            ("x-empty", "", ""),
            ("", "x", "invalid header name"),
            ("a b", "x", "invalid header name"),
            ("ü", "x", "invalid header name"),
            ("Host", "x", "this header is set by the host"),
            ("content-LENGTH", "1", "this header is set by the host"),
            ("x", "a\r\nb: c", "invalid header value"),
        ];
        for (name, value, message) in cases {
            assert_eq!(found(|at| at.header(name, value)), message, "{name}: {value}");
        }
    }

    #[test]
    fn a_place_is_named_step_by_step() {
        let mut check = Check::default();
        check.field("a").index(2).field("b.c").refuse("must be even");
        check.refuse("too much");
        let texts: Vec<_> = check.into_found().iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["a[2].b.c: must be even", "too much"]);
    }
}
