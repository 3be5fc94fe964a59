//! Paths and queries: split, then decoded, so that an encoded slash stays inside its segment.

use std::borrow::Cow;

use axum::extract::Query;
use http::{Method, Uri};

use super::problem::Problem;

/// The segments of a path. A trailing slash does not count. None if one is not valid UTF-8 when decoded.
pub(crate) fn segments(path: &str) -> Option<Vec<Cow<'_, str>>> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Some(Vec::new());
    }
    path.split('/').map(decode).collect()
}

fn decode(segment: &str) -> Option<Cow<'_, str>> {
    if !segment.contains('%') {
        return Some(Cow::Borrowed(segment));
    }
    let mut decoded = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        // A percent sign that stands before no two digits stands for itself.
        let escaped = (byte == b'%').then(|| hex_pair(after)).flatten();
        decoded.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

fn hex_pair(bytes: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = 16 * digit(*bytes.first()?)? + digit(*bytes.get(1)?)?;
    u8::try_from(pair).ok()
}

/// For the value of a query parameter in a link.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~,".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// The parameters of a query; of one that is said twice, the first counts.
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(crate) fn of(uri: &Uri) -> Result<Self, Problem> {
        let Query(pairs) = Query::try_from_uri(uri).map_err(|error| Problem::Query(error.to_string()))?;
        Ok(Self(pairs))
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of `name`; an empty one counts as not said.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(said, _)| said == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The value of `name`, even an empty one.
    pub(crate) fn said(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(said, _)| said == name).map(|(_, value)| value.as_str())
    }
}

/// Which of a path's calls the method asks for. HEAD is GET; OPTIONS is answered by `describe`, which is given the sorted methods.
pub(crate) fn pick<C, const N: usize>(method: &Method, calls: [(Method, C); N], describe: fn(String) -> C) -> Result<C, Problem> {
    let wanted = if method == Method::HEAD { &Method::GET } else { method };
    let mut allowed: Vec<&'static str> = vec!["OPTIONS"];
    let mut found = None;
    for (one, call) in calls {
        allowed.push(name(&one));
        if one == Method::GET {
            allowed.push("HEAD");
        }
        if one == *wanted {
            found = Some(call);
        }
    }
    if let Some(call) = found {
        return Ok(call);
    }
    allowed.sort_unstable();
    let allow = allowed.join(", ");
    if *method == Method::OPTIONS { Ok(describe(allow)) } else { Err(Problem::MethodNotAllowed { allow }) }
}

fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "OPTIONS",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(path: &str) -> Option<Vec<String>> {
        segments(path).map(|found| found.into_iter().map(Cow::into_owned).collect())
    }

    #[test]
    fn segments_are_split_before_they_are_decoded() {
        assert_eq!(split("/"), Some(vec![]));
        assert_eq!(split("/event-hooks/"), Some(vec!["event-hooks".into()]));
        assert_eq!(split("/events/https%3A%2F%2Fa%2Fb/x%20y"), Some(vec!["events".into(), "https://a/b".into(), "x y".into()]));
        assert_eq!(split("/a%2/%zz"), Some(vec!["a%2".into(), "%zz".into()]));
        assert_eq!(split("/%ff"), None);
        assert_eq!(split("/dao:crud//x"), Some(vec!["dao:crud".into(), String::new(), "x".into()]));
    }

    #[test]
    fn what_is_encoded_is_read_back() {
        let text = "a=b&c/d é%";
        let uri: Uri = format!("/x?v={}&v=2&e=", encode(text)).parse().unwrap();
        let parameters = Parameters::of(&uri).ok().unwrap();
        assert_eq!(parameters.get("v"), Some(text));
        assert_eq!(parameters.get("e"), None);
        assert_eq!(parameters.said("e"), Some(""));
    }

    #[test]
    fn allow_is_sorted_as_kong_has_it() {
        let allow = |method: &Method| match pick(method, [(Method::GET, String::new()), (Method::POST, String::new())], |allow| allow) {
            Ok(allow) => allow,
            Err(Problem::MethodNotAllowed { allow }) => format!("405 {allow}"),
            Err(_) => unreachable!(),
        };
        assert_eq!(allow(&Method::OPTIONS), "GET, HEAD, OPTIONS, POST");
        assert_eq!(allow(&Method::PUT), "405 GET, HEAD, OPTIONS, POST");
        assert_eq!(allow(&Method::HEAD), "");
    }
}
