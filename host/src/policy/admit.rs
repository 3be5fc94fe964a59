//! Is an event's source and name registered, and if not, what then?

use crate::model::{JsonText, SourceEvent, Sources};

/// What happens to an event that nobody registered: the setting `events.unregistered`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unregistered {
    /// It registers itself.
    Register,
    /// It is refused, as Kong does.
    Refuse,
}

/// Sources that register themselves stop at this many events, so that a producer with random names cannot fill the catalog.
pub const REGISTERED_MAX: usize = 10_000;

/// The answer of [`admit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Registered.
    Known,
    /// To be registered, with these fields.
    Register(SourceEvent),
    /// Refused; Kong's words.
    Refuse(String),
}

/// Decides about one event. `data` is only read when the event registers itself.
pub fn admit(source: &str, event: &str, data: &JsonText, sources: &Sources, unregistered: Unregistered) -> Admission {
    let events = sources.get(source);
    if events.is_some_and(|events| events.contains_key(event)) {
        return Admission::Known;
    }
    match unregistered {
        Unregistered::Refuse if events.is_none() => Admission::Refuse(format!("source '{source}' is not registered")),
        Unregistered::Refuse => Admission::Refuse(format!("source '{source}' has no '{event}' event")),
        Unregistered::Register if sources.values().map(|events| events.len()).sum::<usize>() >= REGISTERED_MAX => {
            Admission::Refuse(format!("source '{source}' is not registered, and {REGISTERED_MAX} events are registered already"))
        }
        Unregistered::Register => Admission::Register(SourceEvent { fields: top_level_keys(data), ..SourceEvent::default() }),
    }
}

fn top_level_keys(data: &JsonText) -> Option<Vec<String>> {
    const KEYS_MAX: usize = 64;
    let keys: std::collections::BTreeMap<String, &serde_json::value::RawValue> = serde_json::from_str(data.as_str()).ok()?;
    (!keys.is_empty()).then(|| keys.into_keys().take(KEYS_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> JsonText {
        JsonText::from_checked(r#"{"b":1,"a":{"c":2}}"#.into())
    }

    #[test]
    fn an_unregistered_event_is_refused_in_kongs_words_or_registers_itself() {
        let sources = crate::model::catalogue();
        let ask = |source, event, setting| admit(source, event, &data(), &sources, setting);
        assert_eq!(ask("crud", "consumers", Unregistered::Refuse), Admission::Known);
        assert_eq!(ask("dog", "x", Unregistered::Refuse), Admission::Refuse("source 'dog' is not registered".into()));
        assert_eq!(ask("crud", "nope", Unregistered::Refuse), Admission::Refuse("source 'crud' has no 'nope' event".into()));
        let about = SourceEvent { fields: Some(vec!["a".into(), "b".into()]), ..SourceEvent::default() };
        assert_eq!(ask("dog", "x", Unregistered::Register), Admission::Register(about));
    }
}
