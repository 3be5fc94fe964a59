//! `X-Request-Id`: the one the client sent, if it can be shown again, else a fresh one.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header, in requests and answers.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longer ids of clients are replaced.
const LENGTH_MAX: usize = 128;

/// Fresh ids count up from a random number: no system call for each request, and two runs do not share any.
static NEXT: LazyLock<AtomicU64> = LazyLock::new(|| AtomicU64::new(uuid::Uuid::new_v4().as_u64_pair().0));

/// The id of a request.
pub(crate) fn of(headers: &HeaderMap) -> HeaderValue {
    headers.get(X_REQUEST_ID).filter(|id| is_sane(id.as_bytes())).cloned().unwrap_or_else(fresh)
}

/// Visible ASCII without spaces: it goes into the log and into headers.
fn is_sane(id: &[u8]) -> bool {
    (1..=LENGTH_MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

fn fresh() -> HeaderValue {
    let id = format!("{:016x}", NEXT.fetch_add(1, Ordering::Relaxed));
    // Sixteen hexadecimal digits are a valid header value.
    HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(id: &str) -> HeaderValue {
        of(&[(X_REQUEST_ID, id.parse().unwrap())].into_iter().collect())
    }

    #[test]
    fn a_sane_id_is_kept_and_any_other_replaced() {
        assert_eq!(sent("abc-1"), "abc-1");
        for wrong in ["", "a b", "a\tb", &"x".repeat(129)] {
            assert_ne!(sent(wrong), wrong);
            assert_eq!(sent(wrong).len(), 16);
        }
        assert_ne!(of(&HeaderMap::new()), of(&HeaderMap::new()));
    }
}
