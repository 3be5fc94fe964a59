//! The way of a change: merge, let the handler validate in the sandbox, save if the revision is still the one that was merged (else again), and
//! announce it with a ping in the same commit.

use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::model::{Hook, Invalid, JsonText, NewEvent, Origin, PathPart, SourceEvent, Violation, is_built_in};
use crate::policy::admit::REGISTERED_MAX;
use crate::policy::fits::Schema;
use crate::policy::secrets;

use super::accept;
use super::body::{self, Draft};
use super::committer::{Action, ChangeRefused, Item, PingOf, Request};
use super::try_it::{PING_EVENT, PING_SOURCE};
use super::{ChangeError, HookBody, Pipeline};

/// A change that keeps losing the race is given up after this many merges.
const MERGES_MAX: usize = 16;

pub(super) async fn create(pipeline: &Pipeline, body: HookBody) -> Result<Arc<Hook>, ChangeError> {
    let hook = check(pipeline, body.0).await?;
    let id = hook.id;
    let ping = pipeline.ping_of(&hook, "create");
    change(pipeline, Action::Create { hook, ping }).await.map_err(refused)?;
    pipeline.catalog().hook(id).cloned().ok_or(ChangeError::NotFound)
}

pub(super) async fn validate_only(pipeline: &Pipeline, body: HookBody) -> Result<(), ChangeError> {
    check(pipeline, body.0).await.map(drop)
}

pub(super) async fn patch(pipeline: &Pipeline, id: Uuid, body: HookBody) -> Result<Arc<Hook>, ChangeError> {
    for _ in 0..MERGES_MAX {
        let old = pipeline.catalog().hook(id).cloned().ok_or(ChangeError::NotFound)?;
        let mut hook = check(pipeline, body::merge(&old, body.0.clone())).await?;
        if hook.id != id {
            return Err(ChangeError::Invalid(Invalid::one("id", "cannot be changed")));
        }
        hook.no = old.no;
        hook.revision = old.revision + 1;
        // Writing `paused`, whatever its value, ends a pause by the host.
        let resume = body.0.contains_key("paused");
        let ping = pipeline.ping_of(&hook, "update");
        match change(pipeline, Action::Replace { hook, was: old.revision, resume, ping }).await {
            Ok(()) => return pipeline.catalog().hook(id).cloned().ok_or(ChangeError::NotFound),
            Err(ChangeRefused::Conflict) => {}
            Err(ChangeRefused::Error(error)) => return Err(error),
        }
    }
    Err(ChangeError::Busy("the hook is being changed by others; try again".into()))
}

pub(super) async fn delete(pipeline: &Pipeline, id: Uuid) -> Result<(), ChangeError> {
    let Some(hook) = pipeline.catalog().hook(id).cloned() else { return Ok(()) };
    let ping = pipeline.ping_of(&hook, "delete");
    change(pipeline, Action::Delete { hook, ping }).await.map_err(refused)
}

/// Checks an entity whole: the common fields here, `config` by the handler. All violations at once.
async fn check(pipeline: &Pipeline, entity: Map<String, Value>) -> Result<Hook, ChangeError> {
    let catalog = pipeline.catalog();
    let now = pipeline.0.clock.now().as_secs();
    let Draft { mut hook, mut violations } =
        body::read(entity, |name| catalog.handler(name).is_some(), now).map_err(ChangeError::Invalid)?;
    let config_is_record = !violations.iter().any(|violation| violation.path_text() == "config");
    if config_is_record {
        match validate(pipeline, &hook).await? {
            Ok(config) => hook.config = config.to_value(),
            Err(found) => violations.extend(found.into_iter().map(under_config)),
        }
    }
    if violations.is_empty() { Ok(hook) } else { Err(ChangeError::Invalid(Invalid { violations })) }
}

async fn validate(pipeline: &Pipeline, hook: &Hook) -> Result<Result<JsonText, Vec<Violation>>, ChangeError> {
    let catalog = pipeline.catalog();
    let installed = catalog.handler(&hook.handler).ok_or(ChangeError::NotFound)?;
    let component = installed.component.as_ref().map_err(|reason| ChangeError::Store(format!("handler '{}': {reason}", hook.handler)))?;
    let settings = installed.settings(pipeline.profile(hook));
    let validated = pipeline.0.sandbox.validate(component, &JsonText::from_value(&hook.config), settings).await;
    // The handler itself failed: that is nothing the caller wrote wrong, but it is what they have to know.
    validated.map_err(|failure| {
        let message = format!("the handler could not check it: {}: {}", failure.code.as_str(), failure.detail);
        ChangeError::Invalid(Invalid::one("config", message))
    })
}

fn under_config(violation: Violation) -> Violation {
    let mut path = vec![PathPart::Key("config".into())];
    path.extend(violation.path);
    Violation { path, ..violation }
}

pub(super) async fn put_source(pipeline: &Pipeline, source: &str, event: &str, about: SourceEvent) -> Result<bool, ChangeError> {
    let catalog = pipeline.catalog();
    let known = catalog.sources();
    let is_new = !known.get(source).is_some_and(|events| events.contains_key(event));
    if is_new && known.values().map(|events| events.len()).sum::<usize>() >= REGISTERED_MAX {
        return Err(ChangeError::Invalid(Invalid::one("event", format!("{REGISTERED_MAX} events are registered already"))));
    }
    if let Some(schema) = &about.schema {
        Schema::read(schema).map_err(|message| ChangeError::Invalid(Invalid::one("schema", message)))?;
    }
    change(pipeline, Action::PutSources(vec![(source.into(), event.into(), about)])).await.map_err(refused)?;
    Ok(is_new)
}

pub(super) async fn delete_source(pipeline: &Pipeline, source: &str, event: &str) -> Result<(), ChangeError> {
    if is_built_in(source, event) {
        return Err(ChangeError::BuiltIn(format!("source '{source}'")));
    }
    if !pipeline.catalog().sources().get(source).is_some_and(|events| events.contains_key(event)) {
        return Err(ChangeError::NotFound);
    }
    change(pipeline, Action::DeleteSource { source: source.into(), event: event.into() }).await.map_err(refused)
}

/// Hands a change to the one loop and waits until it is on disk.
pub(super) async fn change(pipeline: &Pipeline, action: Action) -> Result<(), ChangeRefused> {
    let stopping = || ChangeRefused::Error(ChangeError::Busy("the host is stopping".into()));
    let (answer, answered) = oneshot::channel();
    let request = Item::Change(Box::new(Request { action, answer }));
    pipeline.0.items.send(request).await.map_err(|_| stopping())?;
    answered.await.unwrap_or_else(|_| Err(stopping()))
}

fn refused(refused: ChangeRefused) -> ChangeError {
    match refused {
        ChangeRefused::Conflict => ChangeError::Busy("the hook is being changed by others; try again".into()),
        ChangeRefused::Error(error) => error,
    }
}

impl Pipeline {
    /// The ping that announces a change, if the hook's handler wants pings: the entity without nulls, and without secrets unless the setting
    /// `delivery.ping_includes_secret` says so.
    fn ping_of(&self, hook: &Hook, operation: &'static str) -> Option<PingOf> {
        let wants = self.catalog().handler(&hook.handler).is_some_and(|installed| installed.record.description.wants_pings);
        if !wants {
            return None;
        }
        let mut entity = hook.to_entity();
        if !self.0.settings.load().ping_includes_secret {
            self.hide_secrets(&hook.handler, &mut entity);
        }
        let mut data = serde_json::json!({ "event_hooks": entity, "operation": operation });
        strip_nulls(&mut data);
        let event = NewEvent {
            source: PING_SOURCE.into(),
            name: PING_EVENT.into(),
            data: JsonText::from_value(&data),
            key: None,
            time: None,
            attributes: Vec::new(),
            origin: Origin::Host,
        };
        let pipeline = self.clone();
        Some(Box::new(move |no| accept::prepare_for(&pipeline, no, event)))
    }

    /// Takes the config fields that the handler's schema marks with `x-secret` out of an entity.
    pub(super) fn hide_secrets(&self, handler: &str, entity: &mut Map<String, Value>) {
        let catalog = self.catalog();
        let Some(installed) = catalog.handler(handler) else { return };
        let schema = &installed.record.description.config_schema;
        if let Some(config) = entity.get_mut("config")
            && let Err(reason) = secrets::withhold(config, schema)
        {
            tracing::warn!(handler, reason, "which parts of a config are secret is not known: it is hidden whole");
            *config = Value::Object(Map::new());
        }
    }
}

fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, value| !value.is_null());
            members.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
