//! The W3C trace context of a request: kept in every event's attributes. What does not have the form is ignored, as the recommendation asks.

use http::{HeaderMap, HeaderName};

use crate::model::NewEvent;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Longest `tracestate` that the recommendation obliges anybody to pass on.
const STATE_BYTES_MAX: usize = 512;
/// Most members of a `tracestate`.
const STATE_MEMBERS_MAX: usize = 32;

/// Adds `traceparent` and `tracestate` of the request to its events; one that brings its own (CloudEvents, distributed tracing) keeps it.
pub(super) fn attach(headers: &HeaderMap, events: &mut [NewEvent]) {
    let Some(parent) = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()).filter(|value| is_parent(value)) else { return };
    let state = state(headers);
    let without = |event: &&mut NewEvent| !event.attributes.iter().any(|(name, _)| name == "traceparent");
    for event in events.iter_mut().filter(without) {
        event.attributes.push(("traceparent".into(), parent.to_owned()));
        event.attributes.extend(state.iter().map(|state| ("tracestate".to_owned(), state.clone())));
    }
}

/// `00-<trace id>-<parent id>-<flags>`; a later version may have more behind it.
fn is_parent(text: &str) -> bool {
    let mut parts = text.split('-');
    let mut hex = |length: usize| {
        parts.next().filter(|part| part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
    };
    let (Some(version), Some(trace), Some(parent), Some(_flags)) = (hex(2), hex(32), hex(16), hex(2)) else { return false };
    let is_something = |id: &str| id.bytes().any(|byte| byte != b'0');
    version != "ff" && is_something(trace) && is_something(parent) && (version != "00" || parts.next().is_none())
}

/// All `tracestate` headers as one list.
fn state(headers: &HeaderMap) -> Option<String> {
    let parts: Vec<&str> = headers.get_all(TRACESTATE).into_iter().map(|value| value.to_str().ok()).collect::<Option<_>>()?;
    let state = parts.join(",");
    let members: Vec<&str> = state.split(',').map(str::trim).filter(|member| !member.is_empty()).collect();
    let is_valid = state.len() <= STATE_BYTES_MAX && members.len() <= STATE_MEMBERS_MAX && members.iter().all(|member| is_member(member));
    (is_valid && !members.is_empty()).then_some(state)
}

fn is_member(member: &str) -> bool {
    let is_of_key = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(&byte);
    member.split_once('=').is_some_and(|(key, value)| {
        !key.is_empty()
            && key.bytes().all(is_of_key)
            && !value.is_empty()
            && value.bytes().all(|byte| matches!(byte, 0x20..=0x7E) && byte != b'=')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn only_well_formed_parents_are_kept() {
        assert!(is_parent(PARENT));
        assert!(is_parent("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"));
        for wrong in [
            "",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        ] {
            assert!(!is_parent(wrong), "{wrong}");
        }
    }

    fn kept(pairs: &[(HeaderName, &str)]) -> Vec<(String, String)> {
        let headers: HeaderMap = pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        let mut events = [super::super::native::tests::event("a", "b", "{}")];
        attach(&headers, &mut events);
        events[0].attributes.clone()
    }

    #[test]
    fn the_state_needs_a_parent() {
        let parent = ("traceparent".to_owned(), PARENT.to_owned());
        let only_parent = vec![parent.clone()];
        assert_eq!(kept(&[(TRACEPARENT, PARENT)]), only_parent);
        assert_eq!(kept(&[(TRACESTATE, "a=1")]), []);
        let state = ("tracestate".to_owned(), "rojo=00f0,congo@x=t61".to_owned());
        assert_eq!(kept(&[(TRACEPARENT, PARENT), (TRACESTATE, "rojo=00f0,congo@x=t61")]), [parent, state]);
        assert_eq!(kept(&[(TRACEPARENT, PARENT), (TRACESTATE, "Upper=1")]), only_parent);
        assert_eq!(kept(&[(TRACEPARENT, PARENT), (TRACESTATE, &format!("a={}", "x".repeat(600)))]), only_parent);
    }
}
