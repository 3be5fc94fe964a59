//! The way of a component: checked, compiled or taken from the cache, linked, asked to describe itself.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};

use bytes::Bytes;
use wasmtime::component::{Component, Linker};

use super::abi::{Bound, Described, SPOKEN, Spoken};
use super::cache::Kind;
use super::component::Checked;
use super::instance::{Instance, State, Turn};
use super::limits::{Budget, DESCRIPTION_BYTES, MEMORIES_MAX, TABLES_MAX};
use super::{Handler, Inner, LoadError, Sandbox, component};
use crate::model::{Description, Digest, HookNo};

/// Calls that no hook makes take their turns together, under a number that no hook has.
pub(super) const NO_HOOK: HookNo = HookNo(0);

impl Sandbox {
    /// Makes a component ready to run. Every refusal says what is wrong and what would be right. The same component is loaded once.
    pub async fn load(&self, component: Bytes) -> Result<Arc<Handler>, LoadError> {
        let inner = self.0.clone();
        let (digest, Checked { spoken, prepares }, bytes) = blocking(move || {
            let checked = component::check(&component, inner.limits.component_bytes)?;
            Ok((Digest::of(&component), checked, component))
        })
        .await?;
        if let Some(handler) = self.0.loaded().get(&digest).and_then(Weak::upgrade) {
            return Ok(handler);
        }
        let component = self.0.clone().code(bytes.clone(), digest).await?;
        check_shape(&component)?;
        let bound = self.0.link(&component, spoken)?;
        let description = self.0.describe(&*bound).await?;
        let preparable = if prepares { self.0.preparable(&description, bytes) } else { None };
        let handler = Arc::new(Handler { description, digest, spoken, bound, preparable, idle: Mutex::default() });
        let mut loaded = self.0.loaded();
        loaded.retain(|_, handler| handler.strong_count() > 0);
        loaded.insert(digest, Arc::downgrade(&handler));
        Ok(handler)
    }
}

impl Inner {
    /// From the cache, or compiled when it is this component's turn.
    async fn code(self: Arc<Self>, bytes: Bytes, digest: Digest) -> Result<Component, LoadError> {
        let inner = self.clone();
        if let Some(loaded) = blocking(move || Ok(inner.cache.get(&inner.engine, Kind::Component, digest))).await? {
            return Ok(loaded.component);
        }
        let turn = self.compiles.clone().acquire_owned().await.map_err(|error| LoadError::new("host-bug", error.to_string()))?;
        blocking(move || {
            let _turn = turn;
            let refuse = |error: wasmtime::Error| LoadError::new("compile", format!("the component cannot be compiled: {error:#}"));
            let code = self.engine.precompile_component(&bytes).map_err(refuse)?;
            self.compiled.fetch_add(1, Ordering::Relaxed);
            self.cache.put(&self.engine, Kind::Component, digest, &code).map(|loaded| loaded.component).map_err(refuse)
        })
        .await
    }

    /// What snapshots are made from, if the component is small enough for that.
    fn preparable(&self, about: &Description, component: Bytes) -> Option<Bytes> {
        let (bytes, bytes_max) = (component.len() as u64, self.limits.snapshot_component_bytes);
        if bytes > bytes_max && bytes_max > 0 {
            tracing::warn!(
                handler = about.name,
                bytes,
                "the handler exports prepare and is larger than limits.snapshot_component_bytes ({bytes_max}): it is not prepared for its hooks"
            );
        }
        (bytes <= bytes_max).then_some(component)
    }

    pub(super) fn linker(&self, spoken: &Spoken) -> &Linker<State> {
        let at = SPOKEN.iter().position(|other| other.version == spoken.version).unwrap_or(0);
        &self.linkers[at]
    }

    pub(super) fn link(&self, component: &Component, spoken: &'static Spoken) -> Result<Box<dyn Bound>, LoadError> {
        let unknown = |error: wasmtime::Error| {
            LoadError::new("unknown-import", format!("the component imports something that this host does not offer: {error:#}"))
        };
        let linked = self.linker(spoken).instantiate_pre(component).map_err(unknown)?;
        (spoken.bind)(linked).map_err(|error| {
            LoadError::new("missing-export", format!("the component does not export what contract {} asks for: {error:#}", spoken.version))
        })
    }

    async fn describe(&self, bound: &dyn Bound) -> Result<Description, LoadError> {
        let budget = Budget::for_describe(&self.limits);
        let place = self.place(NO_HOOK).await;
        let mut instance = Instance::new(&self.engine, self.egress.clone(), self.clock.clone(), place, 1);
        let turn = Turn { running: &self.running, hook: NO_HOOK, clock: &self.clock, budget: &budget, grants: None };
        let described = instance
            .call(bound, turn, |exports, store| exports.describe(store))
            .await
            .map_err(|failure| LoadError::new("describe", format!("describe failed ({}): {}", failure.code.as_str(), failure.detail)))?;
        check_description(described)
    }
}

/// What one component may have of the pool. The numbers are fixed: they are the pool's shape.
pub(super) fn check_shape(component: &Component) -> Result<(), LoadError> {
    let Some(needed) = component.resources_required() else {
        return Err(LoadError::new("compile", "the component imports core modules; it must contain them"));
    };
    for (what, count, max) in [("memories", needed.num_memories, MEMORIES_MAX), ("tables", needed.num_tables, TABLES_MAX)] {
        if count > max {
            return Err(LoadError::new("compile", format!("the component has {count} {what}; at most {max} are possible")));
        }
    }
    Ok(())
}

fn check_description(described: Described) -> Result<Description, LoadError> {
    let refuse = |message: String| Err(LoadError::new("describe", message));
    let Described { name, version, summary, config_schema, wants_pings, asks } = described;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !(1..=64).contains(&name.len()) || !name.bytes().all(plain) {
        return refuse(format!("describe gave the name {name:?}; it must be 1 to 64 lower-case letters, digits and hyphens"));
    }
    let asked = asks.http_hosts.iter().chain(&asks.secrets);
    let bytes = version.len() + summary.len() + config_schema.len() + asked.map(String::len).sum::<usize>();
    if bytes > DESCRIPTION_BYTES {
        return refuse(format!("describe gave {bytes} bytes; at most {DESCRIPTION_BYTES} are allowed"));
    }
    let config_schema: serde_json::Value = match serde_json::from_str(&config_schema) {
        Ok(schema @ (serde_json::Value::Object(_) | serde_json::Value::Bool(_))) => schema,
        Ok(_) => return refuse("describe gave a config-schema that is not a JSON Schema: it must be an object".into()),
        Err(error) => return refuse(format!("describe gave a config-schema that is not JSON: {error}")),
    };
    Ok(Description { name, version, summary, config_schema, wants_pings, asks })
}

/// Runs what takes long on a thread where that is allowed.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, LoadError> + Send + 'static) -> Result<T, LoadError> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.unwrap_or_else(|error| Err(LoadError::new("host-bug", format!("the host failed while it read the component: {error}"))))
}
