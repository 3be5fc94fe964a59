//! A handler prepared for one hook: `prepare` runs once on an opened copy of the component, and the memory that results becomes part of a new
//! component, compiled and kept in the code cache like any other. Every event still gets a fresh instance, but one that starts prepared.
//!
//! Nothing here is promised to anybody: whatever goes wrong is a reason, and the hook works without.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use wasmparser::{CanonicalFunction, Parser, Payload};
use wasmtime::component::{Component, Instance as RawInstance, InstancePre, Lift, WasmList};
use wasmtime::{ResourcesRequired, Store};
use wasmtime_wizer::{ComponentInstanceState, Wizer};

use super::abi::Bound;
use super::cache::{Kind, Loaded};
use super::instance::{Instance, State, Turn};
use super::limits::{Budget, RunLimits};
use super::load::check_shape;
use super::run::shortened;
use super::{Handler, Inner, Sandbox};
use crate::model::{Digest, HookNo, JsonText, LogLine, Timestamp};

const WASM_PAGE: u64 = 64 << 10;

/// What a snapshot is made from.
pub struct Preparation {
    /// Whose code.
    pub handler: Arc<Handler>,
    /// For whom.
    pub hook: HookNo,
    /// The hook's config, without its secrets.
    pub config: JsonText,
    /// The operator's for this handler, without what changes from start to start.
    pub settings: JsonText,
    /// The hook's; `prepare` gets no more time than its own limit.
    pub limits: RunLimits,
}

/// What came of a preparation.
#[derive(Debug)]
pub struct PrepareReport {
    /// What `prepare` wrote. Nothing, if the snapshot came from the cache.
    pub logs: Vec<LogLine>,
    /// The snapshot, or a sentence that says why there is none.
    pub outcome: Result<Arc<Snapshot>, String>,
}

/// A handler with the memory that `prepare` left. The compiled code goes when the last user does.
pub struct Snapshot {
    pub(super) bound: Box<dyn Bound>,
    handler: Digest,
    settings: JsonText,
    bytes: u64,
    /// What its instances have from the start, at most.
    memory_bytes: u64,
    /// Milliseconds since 1970.
    used: AtomicI64,
}

impl Preparation {
    /// The digest of everything that decides what the snapshot holds.
    pub fn key(&self) -> Digest {
        use sha2::Digest as _;
        let mut hash = sha2::Sha256::new_with_prefix(b"tenterhook snapshot 1");
        for part in [&self.handler.digest.0[..], self.config.bytes(), self.settings.bytes()] {
            // The length in front keeps the parts apart.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Digest(hash.finalize().into())
    }
}

impl Snapshot {
    /// Was it made from this handler and these settings, and has an attempt under these limits room for its memory? The config is whoever holds the
    /// snapshot's business.
    pub fn fits(&self, handler: &Handler, settings: &JsonText, limits: &RunLimits) -> bool {
        self.handler == handler.digest && self.memory_bytes <= limits.memory_bytes && self.settings == *settings
    }

    /// Size of its compiled code, the memory included.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Remembers that it was used.
    pub fn touch(&self, now: Timestamp) {
        self.used.store(now.0, Ordering::Relaxed);
    }

    /// When it was last used, or loaded.
    pub fn used(&self) -> Timestamp {
        Timestamp(self.used.load(Ordering::Relaxed))
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("handler", &self.handler).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Takes a snapshot from the code cache, or makes it: seconds of work, on a thread where that is allowed. Dropping the future ends the guest.
    pub async fn prepare(&self, preparation: Preparation) -> PrepareReport {
        let stop = CancellationToken::new();
        let _stops = stop.clone().drop_guard();
        let (inner, runtime) = (self.0.clone(), Handle::current());
        let work = move || {
            let mut logs = Vec::new();
            let outcome = inner.snapshot(&preparation, &Waiting { runtime, stop }, &mut logs);
            PrepareReport { logs, outcome: outcome.map(Arc::new) }
        };
        // The snapshot tool panics where it meets what it does not know.
        let ended = tokio::task::spawn_blocking(work).await;
        ended.unwrap_or_else(|_| PrepareReport { logs: Vec::new(), outcome: Err("the snapshot tool panicked on this component".into()) })
    }

    /// Removes a snapshot from disk. Blocking.
    pub fn forget_snapshot(&self, key: Digest) {
        self.0.cache.remove(Kind::Snapshot, key);
    }

    /// Removes every snapshot from disk but these: hooks may have gone while nobody looked. Blocking.
    pub fn keep_snapshots(&self, keys: &HashSet<Digest>) {
        if let Err(error) = self.0.cache.keep_only(Kind::Snapshot, keys) {
            tracing::warn!(%error, "snapshots that nobody needs could not be removed");
        }
    }
}

/// How a thread that may block waits.
struct Waiting {
    runtime: Handle,
    stop: CancellationToken,
}

impl Waiting {
    fn on<T>(&self, work: impl Future<Output = T>) -> Result<T, String> {
        self.runtime.block_on(self.stop.run_until_cancelled(work)).ok_or_else(|| "nobody waits for it any more".into())
    }
}

impl Inner {
    fn snapshot(&self, preparation: &Preparation, waiting: &Waiting, logs: &mut Vec<LogLine>) -> Result<Snapshot, String> {
        let key = preparation.key();
        let Loaded { component, bytes } = match self.cache.get(&self.engine, Kind::Snapshot, key) {
            Some(loaded) => loaded,
            None => {
                let wasm = self.prepared(preparation, waiting, logs)?;
                self.keep_compiled(Kind::Snapshot, key, &wasm, waiting)?
            }
        };
        check_shape(&component).map_err(|error| error.message)?;
        // In pages, and only the largest memory is known: with several of them this is more than they have.
        let pages = |needed: ResourcesRequired| needed.max_initial_memory_size.unwrap_or(0).saturating_mul(needed.num_memories.into());
        let memory_bytes = component.resources_required().map_or(0, pages).saturating_mul(WASM_PAGE);
        let handler = &preparation.handler;
        Ok(Snapshot {
            bound: self.link(&component, handler.spoken).map_err(|error| error.message)?,
            handler: handler.digest,
            settings: preparation.settings.clone(),
            bytes,
            memory_bytes,
            used: AtomicI64::new(self.clock.now().0),
        })
    }

    /// Runs `prepare` and gives the component that starts where it ended.
    fn prepared(&self, preparation: &Preparation, waiting: &Waiting, logs: &mut Vec<LogLine>) -> Result<Vec<u8>, String> {
        let Preparation { handler, hook, config, settings, limits } = preparation;
        let wasm = handler.preparable.clone().ok_or("the handler exports no prepare, or is too large")?;
        let opened = self.opened(&wasm, handler.digest, waiting)?;
        let opened = self.linker(handler.spoken).instantiate_pre(&opened).map_err(|error| format!("{error:#}"))?;
        let (config, settings) = (config.clone(), settings.clone());
        let work = async {
            let place = self.place(*hook).await;
            let mut instance = Instance::<RawInstance>::new(&self.engine, self.egress.clone(), self.clock.clone(), place, 1);
            let turn = |budget| Turn { running: &self.running, hook: *hook, clock: &self.clock, budget, grants: None };
            let budget = Budget::for_prepare(&self.limits, *limits);
            let prepare = handler.spoken.prepare;
            let prepared = instance.call(&opened, turn(&budget), move |raw, store| prepare(raw, store, config, settings)).await;
            logs.append(&mut instance.finish().logs);
            prepared
                .map_err(|failure| format!("prepare failed ({}): {}", failure.code.as_str(), failure.detail))?
                .map_err(|reason| format!("prepare gave an error: {}", shortened(reason)))?;
            if instance.has_open_handles() {
                let which = "a timer, or a stream: of a Rust program standard output is one, `log` is none";
                return Err(format!("prepare left a handle open ({which}); no event's instance would have it"));
            }
            let budget = Budget::for_look(&self.limits, *limits);
            let looked = instance.call(&opened, turn(&budget), move |raw, store| look(wasm, *raw, store).boxed()).await;
            looked.map_err(|failure| format!("what prepare left cannot be read ({}): {}", failure.code.as_str(), failure.detail))
        };
        let wasm = waiting.on(work)??;
        let (bytes, bytes_max) = (wasm.len() as u64, self.limits.snapshot_bytes);
        if bytes > bytes_max {
            return Err(format!("the snapshot has {bytes} bytes; at most {bytes_max} are allowed (setting limits.snapshot_bytes)"));
        }
        Ok(wasm)
    }

    /// The component with exports by which its memories and globals can be read. The same for all hooks, so it is cached as well.
    fn opened(&self, wasm: &[u8], digest: Digest, waiting: &Waiting) -> Result<Component, String> {
        if let Some(loaded) = self.cache.get(&self.engine, Kind::Opened, digest) {
            return Ok(loaded.component);
        }
        check_resources(wasm)?;
        let (_, opened) = wizer().instrument_component(wasm).map_err(|error| format!("the snapshot tool refuses it: {error:#}"))?;
        Ok(self.keep_compiled(Kind::Opened, digest, &opened, waiting)?.component)
    }

    /// Compiles when it is this one's turn.
    fn keep_compiled(&self, kind: Kind, key: Digest, wasm: &[u8], waiting: &Waiting) -> Result<Loaded, String> {
        let refuse = |error: wasmtime::Error| format!("the snapshot cannot be compiled: {error:#}");
        let _turn = waiting.on(self.compiles.acquire())?.map_err(|error| error.to_string())?;
        let code = self.engine.precompile_component(wasm).map_err(refuse)?;
        self.cache.put(&self.engine, kind, key, &code).map_err(refuse)
    }
}

fn wizer() -> Wizer {
    let mut wizer = Wizer::new();
    // The export stays: the component is still what its world says.
    wizer.keep_init_func(true);
    wizer
}

/// Handles to the guest's own resources are kept by the runtime, where the snapshot tool does not look. (Those to the host's are counted after
/// `prepare`.)
fn check_resources(wasm: &[u8]) -> Result<(), String> {
    let malformed = |error: wasmparser::BinaryReaderError| format!("the component cannot be read: {error}");
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::ComponentCanonicalSection(functions) = payload.map_err(malformed)? {
            for function in functions {
                if let CanonicalFunction::ResourceNew { .. } = function.map_err(malformed)? {
                    return Err("the component makes resources of its own, whose handles no snapshot holds".into());
                }
            }
        }
    }
    Ok(())
}

impl Bound<RawInstance> for InstancePre<State> {
    fn instantiate<'a>(&'a self, store: &'a mut Store<State>) -> BoxFuture<'a, wasmtime::Result<Box<RawInstance>>> {
        async move { Ok(Box::new(self.instantiate_async(store).await?)) }.boxed()
    }
}

/// Reads the memories and globals of an opened instance and writes them into the component.
async fn look(wasm: Bytes, instance: RawInstance, store: &mut Store<State>) -> wasmtime::Result<Vec<u8>> {
    let wizer = wizer();
    // Done again, because what it finds borrows from the component.
    let (context, _) = wizer.instrument_component(&wasm)?;
    let (broken, breaks) = oneshot::channel();
    let mut view = View { store, instance, broken: Some(broken) };
    tokio::select! {
        biased;
        Ok(error) = breaks => Err(error),
        snapshot = wizer.snapshot_component(&context, &mut view) => snapshot,
    }
}

/// What the snapshot tool sees of an instance. The tool knows no errors: after one the call never returns, and `broken` says why.
struct View<'a> {
    store: &'a mut Store<State>,
    instance: RawInstance,
    broken: Option<oneshot::Sender<wasmtime::Error>>,
}

impl View<'_> {
    async fn read<R: Lift + 'static>(&mut self, interface: &str, name: &str) -> R {
        match self.call(interface, name).await {
            Ok(read) => read,
            Err(error) => {
                if let Some(broken) = self.broken.take() {
                    // The other end waits in the same task, so it is there.
                    drop(broken.send(error));
                }
                std::future::pending().await
            }
        }
    }

    async fn call<R: Lift + 'static>(&mut self, interface: &str, name: &str) -> wasmtime::Result<R> {
        let Self { store, instance, .. } = self;
        let missing = || wasmtime::Error::msg(format!("the opened component does not export {interface}#{name}"));
        let interface = instance.get_export_index(&mut **store, None, interface).ok_or_else(missing)?;
        let function = instance.get_export_index(&mut **store, Some(&interface), name).ok_or_else(missing)?;
        let function = instance.get_typed_func::<(), (R,)>(&mut **store, function)?;
        let (read,) = function.call_async(&mut **store, ()).await?;
        Ok(read)
    }
}

impl ComponentInstanceState for View<'_> {
    async fn call_func_ret_list_u8(&mut self, interface: &str, name: &str, contents: impl FnOnce(&[u8]) + Send) {
        let list: WasmList<u8> = self.read(interface, name).await;
        contents(list.as_le_slice(&*self.store));
    }

    async fn call_func_ret_s32(&mut self, interface: &str, name: &str) -> i32 {
        self.read(interface, name).await
    }

    async fn call_func_ret_s64(&mut self, interface: &str, name: &str) -> i64 {
        self.read(interface, name).await
    }

    async fn call_func_ret_f32(&mut self, interface: &str, name: &str) -> u32 {
        self.read::<f32>(interface, name).await.to_bits()
    }

    async fn call_func_ret_f64(&mut self, interface: &str, name: &str) -> u64 {
        self.read::<f64>(interface, name).await.to_bits()
    }
}
