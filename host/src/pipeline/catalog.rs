//! The catalog as the way of an event sees it: an immutable snapshot with everything an attempt needs already worked out. A change makes a
//! new one; whoever holds the old one finishes with it.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use uuid::Uuid;

use crate::egress::Grants;
use crate::model::{HandlerRecord, Hook, HookNo, JsonText, Profile, Sources};
use crate::policy::filter::Filter;
use crate::policy::fits::Schema;
use crate::policy::matching::Index;
use crate::sandbox::{self, Snapshot};
use crate::store::Store;

use super::Settings;

/// One snapshot.
#[derive(Clone)]
pub struct Catalog {
    hooks: Arc<Hooks>,
    sources: Arc<Sources>,
    schemas: Arc<Schemas>,
    handlers: Arc<HashMap<String, Arc<Installed>>>,
}

/// The compiled schemas, by source and event, each with what it was compiled from.
type Schemas = HashMap<(String, String), (serde_json::Value, Option<Arc<Schema>>)>;

#[derive(Default)]
struct Hooks {
    by_no: HashMap<HookNo, Arc<HookEntry>>,
    by_id: HashMap<Uuid, HookNo>,
    by_name: HashMap<String, HookNo>,
    index: Index,
}

/// A hook and its config as the text that every attempt hands to the guest.
pub struct HookEntry {
    /// The hook.
    pub hook: Arc<Hook>,
    /// `hook.config`, written once.
    pub config: JsonText,
    /// `hook.filter`, compiled; an error if it no longer can be.
    pub filter: Option<Result<Filter, String>>,
    /// Its handler as it was prepared for this config, once it is (`snapshots`).
    pub(super) snapshot: ArcSwapOption<Snapshot>,
}

impl HookEntry {
    /// Works out what every event and every attempt needs.
    pub(super) fn new(hook: Arc<Hook>) -> Self {
        let filter = hook.filter.as_deref().map(Filter::read);
        Self { config: JsonText::from_value(&hook.config), filter, hook, snapshot: ArcSwapOption::empty() }
    }
}

/// A handler that is installed.
#[derive(Clone)]
pub struct Installed {
    /// What is stored about it.
    pub record: Arc<HandlerRecord>,
    /// The compiled component; none if it can no longer be loaded, with the reason.
    pub component: Result<Arc<sandbox::Handler>, String>,
    /// Which hosts it may reach.
    pub grants: Grants,
    /// `settings` of its calls, for both profiles.
    settings: [JsonText; 2],
    /// `settings` of `prepare`, for both profiles.
    prepare_settings: [JsonText; 2],
}

impl Installed {
    pub(super) fn new(record: Arc<HandlerRecord>, component: Result<Arc<sandbox::Handler>, String>, settings: &Settings) -> Self {
        let pid = std::process::id();
        let texts = BOTH.map(|profile| settings.for_handler(&record.name, profile, pid));
        let prepare_settings = BOTH.map(|profile| settings.for_prepare(&record.name, profile));
        // A pattern that cannot be read grants nothing: it was refused when the handler was installed.
        let grants = Grants::of(&record.granted.http_hosts).unwrap_or_else(|_| Grants::none());
        Self { record, component, grants, settings: texts, prepare_settings }
    }

    pub(super) fn settings(&self, profile: Profile) -> &JsonText {
        of(profile, &self.settings)
    }

    pub(super) fn prepare_settings(&self, profile: Profile) -> &JsonText {
        of(profile, &self.prepare_settings)
    }
}

const BOTH: [Profile; 2] = [Profile::Durable, Profile::Kong];

/// In the order of [`BOTH`].
fn of(profile: Profile, both: &[JsonText; 2]) -> &JsonText {
    match profile {
        Profile::Durable => &both[0],
        Profile::Kong => &both[1],
    }
}

impl Catalog {
    /// What the store holds, before any handler is loaded.
    pub(super) fn of(store: &Store) -> Self {
        let before = Self { hooks: Arc::default(), sources: Arc::default(), schemas: Arc::default(), handlers: Arc::default() };
        before.with_sources(store.sources()).with_hooks(store)
    }

    /// With the hooks as the store has them; retired ones are nobody's business but the claimer's.
    pub(super) fn with_hooks(&self, store: &Store) -> Self {
        let shown = store.hooks().into_iter().filter(|hook| !store.hook_state(hook.no).retired).collect();
        Self { hooks: Arc::new(Hooks::new(shown, &self.hooks)), ..self.clone() }
    }

    pub(super) fn with_sources(&self, sources: Arc<Sources>) -> Self {
        let mut schemas = Schemas::new();
        for (source, events) in sources.iter() {
            for (event, about) in events {
                let Some(schema) = &about.schema else { continue };
                let name = (source.clone(), event.clone());
                let kept = self.schemas.get(&name).filter(|(from, _)| from == schema).cloned();
                // It was compiled when it was registered; should that fail now, nothing is refused for it.
                let compiled = kept.unwrap_or_else(|| (schema.clone(), Schema::read(schema).ok().map(Arc::new)));
                schemas.insert(name, compiled);
            }
        }
        Self { sources, schemas: Arc::new(schemas), ..self.clone() }
    }

    pub(super) fn with_handler(&self, installed: Installed) -> Self {
        let mut handlers = (*self.handlers).clone();
        handlers.insert(installed.record.name.clone(), Arc::new(installed));
        Self { handlers: Arc::new(handlers), ..self.clone() }
    }

    pub(super) fn with_settings(&self, settings: &Settings) -> Self {
        let renewed = self
            .handlers
            .iter()
            .map(|(name, old)| (name.clone(), Arc::new(Installed::new(old.record.clone(), old.component.clone(), settings))));
        Self { handlers: Arc::new(renewed.collect()), ..self.clone() }
    }

    /// The schema of an event's data.
    pub(super) fn schema(&self, source: &str, event: &str) -> Option<&Arc<Schema>> {
        if self.schemas.is_empty() {
            return None;
        }
        self.schemas.get(&(source.to_owned(), event.to_owned()))?.1.as_ref()
    }

    /// The hooks that want this event, in the order of their numbers.
    pub(super) fn matching(&self, source: &str, event: &str) -> Vec<Arc<Hook>> {
        self.hooks.index.matching(source, event)
    }

    pub(super) fn entry(&self, no: HookNo) -> Option<&Arc<HookEntry>> {
        self.hooks.by_no.get(&no)
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = HookNo> {
        self.hooks.by_no.keys().copied()
    }

    /// A hook by its id.
    pub fn hook(&self, id: Uuid) -> Option<&Arc<Hook>> {
        let no = self.hooks.by_id.get(&id)?;
        self.hooks.by_no.get(no).map(|entry| &entry.hook)
    }

    /// A hook by its number.
    pub fn hook_by_no(&self, no: HookNo) -> Option<&Arc<Hook>> {
        self.entry(no).map(|entry| &entry.hook)
    }

    /// A hook by its name.
    pub fn hook_by_name(&self, name: &str) -> Option<&Arc<Hook>> {
        self.hooks.by_name.get(name).and_then(|no| self.hook_by_no(*no))
    }

    /// All hooks, ordered by id.
    pub fn hooks(&self) -> Vec<Arc<Hook>> {
        let mut hooks: Vec<_> = self.hooks.by_no.values().map(|entry| entry.hook.clone()).collect();
        hooks.sort_unstable_by_key(|hook| hook.id);
        hooks
    }

    /// The registered sources.
    pub fn sources(&self) -> &Arc<Sources> {
        &self.sources
    }

    /// A handler by its name.
    pub fn handler(&self, name: &str) -> Option<&Arc<Installed>> {
        self.handlers.get(name)
    }

    /// All handlers, ordered by name.
    pub fn handlers(&self) -> Vec<Arc<Installed>> {
        let mut handlers: Vec<_> = self.handlers.values().cloned().collect();
        handlers.sort_unstable_by(|a, b| a.record.name.cmp(&b.record.name));
        handlers
    }
}

impl Hooks {
    /// Entries of hooks that did not change are taken over from `before`.
    fn new(hooks: Vec<Arc<Hook>>, before: &Self) -> Self {
        let mut new = Self { index: Index::new(hooks.iter().cloned()), ..Self::default() };
        for hook in hooks {
            new.by_id.insert(hook.id, hook.no);
            if let Some(name) = &hook.name {
                new.by_name.insert(name.clone(), hook.no);
            }
            let kept = before.by_no.get(&hook.no).filter(|entry| Arc::ptr_eq(&entry.hook, &hook)).cloned();
            let entry = kept.unwrap_or_else(|| Arc::new(HookEntry::new(hook.clone())));
            new.by_no.insert(hook.no, entry);
        }
        new
    }
}
