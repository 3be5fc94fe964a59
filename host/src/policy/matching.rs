//! Which hooks want an event: an index over an immutable set of hooks.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::Hook;

/// Finds the hooks of an event without looking at the others.
#[derive(Debug, Default)]
pub struct Index {
    /// Exact source and exact event.
    exact: HashMap<(String, String), Vec<Arc<Hook>>>,
    /// Exact source, every event.
    any_event: HashMap<String, Vec<Arc<Hook>>>,
    /// Source or event end in `*`: looked at one by one.
    patterns: Vec<Arc<Hook>>,
}

impl Index {
    /// Builds the index. Disabled hooks are in it: why they were passed over is recorded with the event.
    pub fn new(hooks: impl IntoIterator<Item = Arc<Hook>>) -> Self {
        let mut index = Self::default();
        for hook in hooks {
            let is_pattern = hook.source.ends_with('*') || hook.event.as_ref().is_some_and(|event| event.ends_with('*'));
            match &hook.event {
                _ if is_pattern => index.patterns.push(hook),
                None => index.any_event.entry(hook.source.clone()).or_default().push(hook),
                Some(event) => index.exact.entry((hook.source.clone(), event.clone())).or_default().push(hook),
            }
        }
        index
    }

    /// The hooks of this event, in the order of their numbers.
    pub fn matching(&self, source: &str, event: &str) -> Vec<Arc<Hook>> {
        let exact = self.exact.get(&(source.to_owned(), event.to_owned()));
        let any = self.any_event.get(source);
        let by_pattern = self.patterns.iter().filter(|hook| hears(&hook.source, hook.event.as_deref(), source, event));
        let mut found: Vec<Arc<Hook>> = exact.into_iter().flatten().chain(any.into_iter().flatten()).chain(by_pattern).cloned().collect();
        found.sort_unstable_by_key(|hook| hook.no);
        found
    }
}

/// Does a hook with these patterns want this event?
pub fn hears(source: &str, event: Option<&str>, said: &str, name: &str) -> bool {
    is_heard(source, said) && event.is_none_or(|pattern| is_heard(pattern, name))
}

/// A pattern is the name itself or, with a `*` at its end, every name that begins so.
pub fn is_heard(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::{DeliverySettings, HookLimits, HookNo};

    /// A hook with nothing set, for the tables of this and other files.
    pub(crate) fn hook(no: u32, source: &str, event: Option<&str>) -> Hook {
        Hook {
            no: HookNo(no),
            revision: 1,
            id: uuid::Uuid::from_u128(u128::from(no)),
            source: source.into(),
            event: event.map(Into::into),
            handler: "log".into(),
            on_change: None,
            snooze: None,
            config: serde_json::json!({}),
            created_at: 0,
            updated_at: 0,
            name: None,
            tags: None,
            description: None,
            enabled: None,
            paused: None,
            filter: None,
            delivery: DeliverySettings::default(),
            limits: HookLimits::default(),
        }
    }

    #[test]
    fn a_hook_hears_its_event_every_event_of_its_source_or_a_prefix() {
        let hooks = [
            hook(1, "crud", Some("consumers")),
            hook(2, "crud", None),
            hook(3, "crud", Some("consumers:*")),
            hook(4, "urn:shop:*", Some("order")),
            hook(5, "*", None),
        ];
        let index = Index::new(hooks.map(Arc::new));
        let found = |source, event| index.matching(source, event).iter().map(|hook| hook.no.0).collect::<Vec<_>>();
        assert_eq!(found("crud", "consumers"), [1, 2, 5]);
        assert_eq!(found("crud", "consumers:create"), [2, 3, 5]);
        assert_eq!(found("urn:shop:7", "order"), [4, 5]);
        assert_eq!(found("urn:shop:7", "orders"), [5]);
        assert_eq!(found("crudx", "consumers"), [5]);
    }
}
