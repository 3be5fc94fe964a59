//! Judging a guest's request, before any socket: what is wrong with it is its handler's fault, and its author is told what.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::Full;

use super::{Limits, address, allow};
use crate::model::{Failure, FailureCode, GuestRequest, HeaderValue as GuestValue};

/// Unless the guest says otherwise.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("tenterhook/", env!("CARGO_PKG_VERSION")));

/// Longer targets are cut: they are for records and messages.
const TARGET_CHARS_MAX: usize = 1024;

/// Headers that are the host's: they say where a message ends and what the connection is for (RFC 9110, 7.6.1; RFC 9112, 6).
const OURS: [&str; 9] =
    ["host", "content-length", "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings"];

/// What connections are kept by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Destination {
    pub(super) scheme: Scheme,
    /// Lower case, no final dot; an address in its canonical form, without brackets.
    pub(super) host: Box<str>,
    pub(super) port: u16,
}

/// A connection that was made without checking the certificate is never used for a request that wants it checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Scheme {
    Http,
    Https,
    HttpsUnverified,
}

/// A request that may be sent if its destination may be reached.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) to: Destination,
    pub(super) request: Request<Full<Bytes>>,
}

/// `POST https://example.com:8443/path`: no query, no user, no secret, for a request of any validity.
pub fn target(request: &GuestRequest) -> Arc<str> {
    let url = request.url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let authority_end = rest.find(['/', '\\']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    let host = authority.rsplit('@').next().unwrap_or_default();
    let mut text = String::with_capacity(request.method.len() + 1 + url.len());
    let separator = if scheme.is_empty() { "" } else { "://" };
    let parts = [&*request.method, " ", scheme, separator, host, if path.is_empty() { "/" } else { path }];
    let plain = parts.iter().flat_map(|part| part.chars()).map(|char| if char.is_control() { '\u{fffd}' } else { char });
    text.extend(plain.take(TARGET_CHARS_MAX));
    text.into()
}

/// All checks that need no network. The code is `bad-request`, or `denied` for an address in disguise.
pub(super) fn judge(asked: &GuestRequest, limits: &Limits) -> Result<Judged, Failure> {
    let method = judge_method(&asked.method)?;
    let uri = judge_url(&asked.url, limits)?;
    let (host, port) = judge_authority(&uri, &asked.url)?;
    let secure = uri.scheme_str() == Some("https");
    let scheme = match (secure, asked.options.verify_tls) {
        (false, _) => Scheme::Http,
        (true, true) => Scheme::Https,
        (true, false) => Scheme::HttpsUnverified,
    };
    let body = judge_body(asked.body.as_ref(), limits)?;
    let mut request = Request::new(Full::new(body.clone()));
    judge_headers(asked, limits, request.headers_mut(), host_value(&host, port, secure)?)?;
    // Without a body hyper sends no length; servers expect one where the method is about content (RFC 9110, 8.6).
    if body.is_empty() && matches!(method, Method::POST | Method::PUT | Method::PATCH) {
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    *request.method_mut() = method;
    *request.uri_mut() = origin_form(uri);
    Ok(Judged { to: Destination { scheme, host, port }, request })
}

fn bad(detail: impl Into<String>) -> Failure {
    Failure::new(FailureCode::BadRequest, detail)
}

fn judge_method(text: &str) -> Result<Method, Failure> {
    let method = Method::from_bytes(text.as_bytes()).map_err(|_| bad(format!("method '{}' is not a token", text.escape_debug())))?;
    if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return Err(bad(format!("method '{text}': methods are case-sensitive, write '{}'", text.to_ascii_uppercase())));
    }
    if method == Method::CONNECT {
        return Err(bad("method CONNECT asks for a tunnel, which is not offered"));
    }
    Ok(method)
}

fn judge_url(text: &str, limits: &Limits) -> Result<Uri, Failure> {
    if text.len() > limits.url_bytes {
        return Err(bad(format!(
            "the URL has {} bytes, over the limit of {} (setting limits.http_url_bytes)",
            text.len(),
            limits.url_bytes
        )));
    }
    if !text.is_ascii() {
        return Err(bad("the URL has characters beyond ASCII: percent-encode the path, write the host in punycode"));
    }
    let uri: Uri = text.parse().map_err(|wrong| bad(format!("'{}' is not a URL: {wrong}", shown(text))))?;
    match uri.scheme_str() {
        Some("http" | "https") => Ok(uri),
        Some(other) => Err(bad(format!("the URL's scheme is '{other}', only http and https are sent"))),
        None => Err(bad(format!("'{}' is not an absolute URL: it must begin with http:// or https://", shown(text)))),
    }
}

/// Host and port. IPv4 addresses have one spelling; the others that C libraries read (`127.1`, `0x7f.1`, `017700000001`) are only used to hide
/// one.
fn judge_authority(uri: &Uri, text: &str) -> Result<(Box<str>, u16), Failure> {
    let authority = uri.authority().ok_or_else(|| bad(format!("'{}' has no host", shown(text))))?;
    if authority.as_str().contains('@') {
        return Err(bad("the URL has a user or password in it: send them in an Authorization header"));
    }
    let host = authority.host();
    let port = match authority.as_str().get(host.len()..).unwrap_or_default().strip_prefix(':') {
        None | Some("") => Ok(if uri.scheme_str() == Some("https") { 443 } else { 80 }),
        Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or_else(|| bad(format!("'{port}' is not a port"))),
    }?;
    if let Some(v6) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let v6: Ipv6Addr = v6.parse().map_err(|_| bad(format!("'{host}' is not an IPv6 address")))?;
        return Ok((address::canonical(IpAddr::V6(v6)).to_string().into(), port));
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if !allow::is_host_name(&host) {
        return Err(bad(format!("'{}' is not a host name", shown(&host))));
    }
    if ends_in_a_number(&host) && host.parse::<Ipv4Addr>().is_err() {
        let detail =
            format!("'{}' is an unusual spelling of an IPv4 address, which is always refused: write four decimal numbers", shown(&host));
        return Err(Failure::new(FailureCode::Denied, detail));
    }
    Ok((host.into(), port))
}

/// The test of the WHATWG URL standard: such a host is an IPv4 address or nothing.
fn ends_in_a_number(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    last.bytes().all(|byte| byte.is_ascii_digit()) || hex.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn judge_body(body: Option<&Bytes>, limits: &Limits) -> Result<Bytes, Failure> {
    let body = body.cloned().unwrap_or_default();
    if body.len() > limits.request_bytes {
        let (found, most) = (body.len(), limits.request_bytes);
        return Err(bad(format!("the body has {found} bytes, over the limit of {most} (setting limits.http_request_bytes)")));
    }
    Ok(body)
}

fn judge_headers(asked: &GuestRequest, limits: &Limits, into: &mut http::HeaderMap, host: HeaderValue) -> Result<(), Failure> {
    into.reserve(asked.headers.len() + 3);
    into.insert(HOST, host);
    // Two bytes each for the colon and blank, and the line's end.
    let mut bytes = 0;
    for (name, value) in &asked.headers {
        let (name, value) = judge_header(name, value)?;
        bytes += name.as_str().len() + value.len() + 4;
        if bytes > limits.header_bytes {
            return Err(bad(format!("the headers have over {} bytes (setting limits.http_header_bytes)", limits.header_bytes)));
        }
        into.try_append(name, value).map_err(|_| bad("too many headers"))?;
    }
    if !into.contains_key(USER_AGENT) {
        into.insert(USER_AGENT, AGENT);
    }
    Ok(())
}

fn judge_header(name: &str, value: &GuestValue) -> Result<(HeaderName, HeaderValue), Failure> {
    let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad(format!("'{}' is not a header name", shown(name))))?;
    if OURS.contains(&parsed.as_str()) || parsed.as_str().starts_with("proxy-") {
        return Err(bad(format!("header '{parsed}' is the host's: it cannot be set")));
    }
    match value {
        GuestValue::Text(text) => {
            let wrong =
                |_| bad(format!("the value of header '{parsed}' has a byte that is not allowed (CR, LF, NUL or another control byte)"));
            HeaderValue::from_bytes(text).map_err(wrong).map(|value| (parsed.clone(), value))
        }
        // The host has no secrets to give out yet.
        GuestValue::Secret { prefix: _, name: secret } => Err(bad(format!("header '{parsed}': secret '{}' is not granted", shown(secret)))),
    }
}

/// With the port only if it is not the scheme's own (RFC 9110, 4.2.3).
fn host_value(host: &str, port: u16, secure: bool) -> Result<HeaderValue, Failure> {
    let mut text = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    if port != if secure { 443 } else { 80 } {
        // Writing to a String does not fail.
        let _ = write!(text, ":{port}");
    }
    HeaderValue::from_str(&text).map_err(|_| bad(format!("'{}' is not a host name", shown(host))))
}

/// `/path?query`, what stands in the request's first line.
fn origin_form(uri: Uri) -> Uri {
    // Without a path, with or without a query, the path is `/`: that is how the http crate writes it.
    uri.into_parts().path_and_query.map_or_else(Uri::default, Uri::from)
}

/// A piece of the guest's text for a message.
fn shown(text: &str) -> String {
    /// Enough to recognise it by.
    const CHARS_MAX: usize = 100;
    text.chars().take(CHARS_MAX).flat_map(char::escape_debug).collect()
}
