//! Installed handlers: the built-in ones at every start, uploaded ones through the Admin API. A replaced handler finishes what it runs.

use std::sync::Arc;

use bytes::Bytes;

use crate::model::{Asks, HandlerRecord, catalogue};
use crate::sandbox;

use super::committer::Action;
use super::hooks::change;
use super::{InstallError, Installed, Pipeline};

/// Built-in handlers that run what users wrote: a fresh instance for every attempt, as for an uploaded handler.
const RUN_USERS_CODE: [&str; 2] = ["webhook-custom", "lambda"];

/// Loads every handler and registers Kong's catalogue at first start.
pub(super) async fn load_all(pipeline: &Pipeline, built_in: Vec<(String, Bytes)>) -> Result<(), InstallError> {
    if pipeline.0.store.sources().is_empty() {
        let all = catalogue()
            .into_iter()
            .flat_map(|(source, events)| events.into_iter().map(move |(event, about)| (source.clone(), event, about)).collect::<Vec<_>>());
        put(pipeline, Action::PutSources(all.collect())).await?;
    }
    let stored = pipeline.0.store.handlers();
    let uploaded = stored.iter().filter(|record| !record.built_in).map(|record| load_uploaded(pipeline, record.clone()));
    let built_in = built_in.into_iter().map(|(name, component)| load_built_in(pipeline, name, component));
    let (built_in, _) =
        futures_util::future::join(futures_util::future::join_all(built_in), futures_util::future::join_all(uploaded)).await;
    built_in.into_iter().collect()
}

/// Puts the binary's own component in place, and stores that it did if it is another one than before.
async fn load_built_in(pipeline: &Pipeline, name: String, component: Bytes) -> Result<(), InstallError> {
    let bytes = component.len() as u64;
    let handler = pipeline.0.sandbox.load(component).await.map_err(refused)?;
    let before = pipeline.0.store.handlers().into_iter().find(|record| record.name == name);
    let same = before.filter(|record| record.built_in && record.digest == handler.digest() && record.description == *handler.description());
    if let Some(record) = same {
        return show(pipeline, record, Ok(handler));
    }
    let granted = handler.description().asks.clone();
    let record = record(pipeline, name, bytes, &handler, granted, true);
    store(pipeline, record, handler).await.map(drop)
}

async fn load_uploaded(pipeline: &Pipeline, record: Arc<HandlerRecord>) -> Result<(), InstallError> {
    let component = match pipeline.0.store.component(&record.digest) {
        Ok(bytes) => pipeline.0.sandbox.load(bytes).await.map_err(|error| error.message),
        Err(error) => Err(error.to_string()),
    };
    if let Err(reason) = &component {
        tracing::error!(
            handler = record.name,
            reason,
            "an installed handler cannot be loaded; its hooks' attempts fail until it is installed again"
        );
    }
    show(pipeline, record, component)
}

/// Into the catalog alone: nothing about it is new to the store.
fn show(pipeline: &Pipeline, record: Arc<HandlerRecord>, component: Result<Arc<sandbox::Handler>, String>) -> Result<(), InstallError> {
    let installed = Installed::new(record, component, &pipeline.0.settings.load());
    pipeline.0.catalog.rcu(|catalog| catalog.with_handler(installed.clone()));
    Ok(())
}

/// Installs an upload. With `grant_asked` it may do what it asks for; without, it reaches nothing.
pub(super) async fn install(
    pipeline: &Pipeline,
    name: &str,
    component: Bytes,
    grant_asked: bool,
) -> Result<Arc<HandlerRecord>, InstallError> {
    check_name(name)?;
    if pipeline.catalog().handler(name).is_some_and(|installed| installed.record.built_in) {
        return Err(InstallError::BuiltIn(name.into()));
    }
    let handler = pipeline.0.sandbox.load(component.clone()).await.map_err(refused)?;
    let bytes = component.len() as u64;
    let store_handle = pipeline.0.store.clone();
    let put_file = tokio::task::spawn_blocking(move || store_handle.put_component(&component));
    put_file.await.map_err(|error| InstallError::Store(error.to_string()))?.map_err(|error| InstallError::Store(error.to_string()))?;
    let granted = if grant_asked { handler.description().asks.clone() } else { Asks::default() };
    let record = record(pipeline, name.into(), bytes, &handler, granted, false);
    store(pipeline, record, handler).await
}

fn check_name(name: &str) -> Result<(), InstallError> {
    const LENGTH_MAX: usize = 64;
    let is_plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if is_plain && !name.is_empty() && name.len() <= LENGTH_MAX {
        return Ok(());
    }
    Err(InstallError::Name(format!("'{name}' is not a handler's name: lower case letters, digits and hyphens, at most {LENGTH_MAX}")))
}

fn record(pipeline: &Pipeline, name: String, bytes: u64, handler: &sandbox::Handler, granted: Asks, built_in: bool) -> HandlerRecord {
    let (digest, description) = (handler.digest(), handler.description().clone());
    let installed_at = pipeline.0.clock.now();
    // What runs no user's code may serve many hooks from one instance.
    let reuse_across_hooks = built_in && !RUN_USERS_CODE.contains(&name.as_str());
    HandlerRecord { name, digest, bytes, built_in, description, granted, reuse_across_hooks, installed_at }
}

async fn store(pipeline: &Pipeline, record: HandlerRecord, handler: Arc<sandbox::Handler>) -> Result<Arc<HandlerRecord>, InstallError> {
    let kept = Arc::new(record.clone());
    let installed = Installed::new(kept.clone(), Ok(handler), &pipeline.0.settings.load());
    put(pipeline, Action::PutHandler(Box::new((record, installed)))).await?;
    tracing::info!(handler = kept.name, version = kept.description.version, digest = %kept.digest, "handler.installed");
    Ok(kept)
}

async fn put(pipeline: &Pipeline, action: Action) -> Result<(), InstallError> {
    change(pipeline, action).await.map_err(|refused| InstallError::Store(format!("{refused:?}")))
}

fn refused(error: sandbox::LoadError) -> InstallError {
    InstallError::Refused { code: error.code, message: error.message }
}
