//! The sandbox: runs handlers, and is the only place that knows how (wasmtime lives here and nowhere else).
//!
//! A handler is loaded once: read, checked, compiled or taken from the code cache, asked to describe itself. Every attempt then runs in a fresh
//! instance, or in one that was used before where an operator has allowed that, under limits that each have a number, a setting and a failure
//! code of their own. Nothing that a guest does is an error of the host: what comes back is always a report.
//!
//! In reading order: [`component`] what is refused before compiling, `cache` compiled code on disk, `abi` the versions of the contract,
//! `instance` one call under all limits, `snapshot` a handler prepared for one hook, `gate` whose turn it is, `capability` what a guest can call, `failure` how it went wrong.

mod abi;
mod cache;
mod capability;
mod component;
mod engine;
mod failure;
mod gate;
mod instance;
mod limits;
mod load;
mod meter;
mod run;
mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use tokio::sync::Semaphore;
use uuid::Uuid;
use wasmtime::Engine;
use wasmtime::component::Linker;

pub use component::LoadError;
pub use engine::Pool;
pub use limits::{Limits, RunLimits};
pub use snapshot::{Preparation, PrepareReport, Snapshot};

use crate::egress::{Egress, Grants};
use crate::model::{Answer, CapabilityCall, Clock, Description, Digest, Event, Failure, HookNo, JsonText, LogLine, Timestamp, Usage};
use abi::{Bound, SPOKEN, Spoken};
use cache::{Cache, Kind};
use engine::Ticker;
use gate::Gate;
use instance::{Instance, State};

/// The sandbox. Clones share everything.
#[derive(Clone)]
pub struct Sandbox(Arc<Inner>);

/// A handler that can be run. Cheap to share; the compiled code goes when the last one does.
pub struct Handler {
    description: Description,
    digest: Digest,
    spoken: &'static Spoken,
    bound: Box<dyn Bound>,
    /// The component, if snapshots can be made from it: it exports `prepare` and is small enough.
    preparable: Option<Bytes>,
    /// Instances waiting for their next attempt, the last used last. At most `Limits::reuse_idle`.
    idle: Mutex<Vec<Instance>>,
}

/// One attempt to be made.
pub struct Invocation {
    /// Whose code.
    pub handler: Arc<Handler>,
    /// The handler as it was prepared for this hook. The instance is then fresh, whatever `reuse` says.
    pub snapshot: Option<Arc<Snapshot>>,
    /// For whom: hooks take turns.
    pub hook: HookNo,
    /// The hook's public id.
    pub hook_id: Uuid,
    /// The delivery's public id.
    pub delivery_id: String,
    /// The event.
    pub event: Arc<Event>,
    /// 1 for the first attempt.
    pub number: u32,
    /// When the first attempt started.
    pub first_tried: Timestamp,
    /// Asked for by an operator.
    pub test: bool,
    /// As `validate` gave it back.
    pub config: JsonText,
    /// The operator's, for this handler.
    pub settings: JsonText,
    /// No larger than the operator's ceilings.
    pub limits: RunLimits,
    /// What `http.send` may reach.
    pub grants: Grants,
    /// The instance may have served others, and may serve others after.
    pub reuse: bool,
}

/// What came of an attempt, as far as the guest is concerned.
#[derive(Debug)]
pub struct GuestReport {
    /// What it used.
    pub usage: Usage,
    /// What it wrote.
    pub logs: Vec<LogLine>,
    /// What it called.
    pub calls: Vec<CapabilityCall>,
    /// Its answer, or why there is none.
    pub outcome: Result<Answer, Failure>,
}

/// Counted since the start, but for the last four. Of the instances of attempts, each is counted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metrics {
    /// Components compiled.
    pub compiled: u64,
    /// Components loaded from the code cache.
    pub cache_hits: u64,
    /// Components that were not in it, or not sound.
    pub cache_misses: u64,
    /// Entries that were there and not sound.
    pub cache_rejected: u64,
    /// Attempts that got a fresh instance.
    pub fresh: u64,
    /// Attempts that got a used one.
    pub reused: u64,
    /// Attempts that got a fresh one of a snapshot.
    pub prepared: u64,
    /// Snapshots loaded from the code cache.
    pub snapshot_hits: u64,
    /// Snapshots that were not in it, or not sound, and were to be made.
    pub snapshot_misses: u64,
    /// Instances now, those waiting for their next attempt included.
    pub living: usize,
    /// Guests running now.
    pub running: usize,
    /// Handlers loaded now.
    pub handlers: usize,
    /// Where instances come from.
    pub pool: Pool,
}

/// The sandbox cannot be set up: for the operator, at start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// wasmtime refuses the settings, or the system does.
    #[error("the sandbox cannot be set up: {0}")]
    Engine(String),
    /// The folder or the key of the code cache.
    #[error("the code cache in {folder} cannot be used: {source}")]
    Cache {
        /// The cache's folder.
        folder: String,
        /// Why.
        source: std::io::Error,
    },
}

struct Inner {
    limits: Limits,
    engine: Engine,
    pool: Pool,
    /// In the order of [`SPOKEN`].
    linkers: Vec<Linker<State>>,
    cache: Cache,
    egress: Egress,
    clock: Clock,
    /// Bounds living instances.
    living: Arc<Gate>,
    /// Bounds running guests.
    running: Arc<Gate>,
    compiles: Arc<Semaphore>,
    /// A component that is loaded already is not loaded again.
    loaded: Mutex<HashMap<Digest, Weak<Handler>>>,
    compiled: AtomicU64,
    fresh: AtomicU64,
    reused: AtomicU64,
    prepared: AtomicU64,
    /// After the engine's other users: stops the thread and waits for it.
    _ticker: Ticker,
}

impl Sandbox {
    /// Makes the engine, opens the code cache and starts the epochs. `cache_dir` is created if it is missing; the cache's key lies beside it.
    pub fn new(limits: Limits, cache_dir: &Path, egress: Egress, clock: Clock) -> Result<Self, SandboxError> {
        let failed = |error: wasmtime::Error| SandboxError::Engine(format!("{error:#}"));
        let (engine, pool, note) = engine::engine(&limits).map_err(failed)?;
        if let Some(note) = note {
            tracing::warn!(note, "the sandbox runs without its pool");
        }
        let linkers = SPOKEN.iter().map(|spoken| linker(&engine, spoken)).collect::<Result<_, _>>().map_err(failed)?;
        let cache = Cache::open(cache_dir, limits.cache_bytes, &engine, clock.clone())
            .map_err(|source| SandboxError::Cache { folder: cache_dir.display().to_string(), source })?;
        let ticker = Ticker::start(engine.weak()).map_err(|error| SandboxError::Engine(error.to_string()))?;
        Ok(Self(Arc::new(Inner {
            living: Gate::new(usize::try_from(limits.instances).unwrap_or(usize::MAX)),
            running: Gate::new(limits.slots),
            compiles: Arc::new(Semaphore::new(limits.compiles.clamp(1, Semaphore::MAX_PERMITS))),
            loaded: Mutex::default(),
            compiled: AtomicU64::new(0),
            fresh: AtomicU64::new(0),
            reused: AtomicU64::new(0),
            prepared: AtomicU64::new(0),
            limits,
            engine,
            pool,
            linkers,
            cache,
            egress,
            clock,
            _ticker: ticker,
        })))
    }

    /// The operator's ceilings.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Numbers for the operator.
    pub fn metrics(&self) -> Metrics {
        let inner = &self.0;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Metrics {
            compiled: count(&inner.compiled),
            cache_hits: count(&inner.cache.asked(Kind::Component).hits),
            cache_misses: count(&inner.cache.asked(Kind::Component).misses),
            cache_rejected: count(&inner.cache.rejected),
            fresh: count(&inner.fresh),
            reused: count(&inner.reused),
            prepared: count(&inner.prepared),
            snapshot_hits: count(&inner.cache.asked(Kind::Snapshot).hits),
            snapshot_misses: count(&inner.cache.asked(Kind::Snapshot).misses),
            living: inner.living.held(),
            running: inner.running.held(),
            handlers: inner.loaded().values().filter(|handler| handler.strong_count() > 0).count(),
            pool: inner.pool,
        }
    }
}

impl Handler {
    /// What it says about itself.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Of its component.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Can a snapshot be made for its hooks?
    pub fn prepares(&self) -> bool {
        self.preparable.is_some()
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Instance>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handler").field("digest", &self.digest).field("name", &self.description.name).finish_non_exhaustive()
    }
}

impl Inner {
    fn loaded(&self) -> MutexGuard<'_, HashMap<Digest, Weak<Handler>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everything that a component of this version may import.
fn linker(engine: &Engine, spoken: &abi::Spoken) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    (spoken.link)(&mut linker)?;
    Ok(linker)
}
