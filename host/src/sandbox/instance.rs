//! One instance and one call of it, under every limit at once.
//!
//! A deadline needs two mechanisms: epochs make a loop yield, but do not end a host call that sleeps; a timer ends a sleeping call, but is never
//! looked at while a loop runs. So a timer stands around everything, guests yield at every epoch, and the store is dropped when it is over.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::abi::{Bound, Exports};
use super::capability::{http::Http, log::Log, wasi};
use super::failure;
use super::gate::{Gate, InTurn, Place};
use super::limits::{Budget, Exceeded};
use super::meter::Meter;
use crate::egress::{Egress, Grants};
use crate::model::{CapabilityCall, Clock, Failure, FailureCode, HookNo, LogLine, Usage};

/// What the host keeps for one instance, and what its calls reach.
pub(super) struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    meter: Meter,
    pub(super) log: Log,
    pub(super) http: Http,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl State {
    /// The limit that was run into, by our own account.
    fn exceeded(&self) -> Option<Exceeded> {
        let log = self.log.exceeded().then_some(Exceeded::Log);
        let http = self.http.exceeded().then_some(Exceeded::HttpRequests);
        self.meter.exceeded().or(log).or(http)
    }
}

/// An instance, or what will be one at its first call. `E` is how its exports are reached.
pub(super) struct Instance<E: ?Sized = dyn Exports> {
    store: Store<State>,
    exports: Option<Box<E>>,
    /// Of the bound on living instances.
    _place: Place,
    /// Attempts after which it is retired.
    pub(super) attempts_left: u32,
    used_before: bool,
    instantiate: Duration,
    run: Duration,
    fuel: u64,
}

/// What one attempt leaves behind.
pub(super) struct Trace {
    pub(super) usage: Usage,
    pub(super) logs: Vec<LogLine>,
    pub(super) calls: Vec<CapabilityCall>,
}

/// Where and for whom a call is made.
pub(super) struct Turn<'a> {
    pub(super) running: &'a Arc<Gate>,
    pub(super) hook: HookNo,
    pub(super) clock: &'a Clock,
    pub(super) budget: &'a Budget,
    /// None: requests are refused.
    pub(super) grants: Option<Grants>,
}

impl<E: ?Sized + Send + Sync> Instance<E> {
    /// An empty store. The component is instantiated in the first call, because that may run guest code.
    pub(super) fn new(engine: &Engine, egress: Egress, clock: Clock, place: Place, attempts: u32) -> Self {
        let log = Log::default();
        let state =
            State { wasi: wasi::context(&log), table: ResourceTable::new(), meter: Meter::default(), log, http: Http::new(egress, clock) };
        let mut store = Store::new(engine, state);
        store.limiter(|state| &mut state.meter);
        // tokio's own yield, not wasmtime's: it lets the runtime look at timers and sockets first. A task that merely wakes itself goes back to
        // the queue, and a worker with a full queue looks at them only every 61 polls: beside two loops a sleep of 1 ms then takes
        // 87 ms instead of 4.
        store.epoch_deadline_callback(|_| Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()))));
        Self {
            store,
            exports: None,
            _place: place,
            attempts_left: attempts,
            used_before: false,
            instantiate: Duration::ZERO,
            run: Duration::ZERO,
            fuel: 0,
        }
    }

    /// Bytes of memory it holds now.
    pub(super) fn memory(&self) -> u64 {
        self.store.data().meter.memory()
    }

    /// Does the guest hold a resource of the host: a stream, a timer?
    pub(super) fn has_open_handles(&self) -> bool {
        !self.store.data().table.is_empty()
    }

    /// Calls an export. After an error the instance must be dropped: the guest was stopped somewhere in the middle.
    pub(super) async fn call<T, F>(&mut self, bound: &dyn Bound<E>, turn: Turn<'_>, export: F) -> Result<T, Failure>
    where
        T: Send,
        F: for<'a> FnOnce(&'a E, &'a mut Store<State>) -> BoxFuture<'a, wasmtime::Result<T>> + Send,
    {
        let Turn { running, hook, clock, budget, grants } = turn;
        self.start(budget, grants)?;
        let work = AssertUnwindSafe(self.enter(bound, clock, export)).catch_unwind().boxed();
        let ended = tokio::time::timeout(budget.run.wall, InTurn::new(running, hook, work)).await;
        self.fuel = budget.run.fuel.saturating_sub(self.store.get_fuel().unwrap_or(0));
        match ended {
            Ok(Ok(Ok(value))) => Ok(value),
            Ok(Ok(Err(error))) => Err(self.failure(&error, budget)),
            Ok(Err(panic)) => Err(Failure::new(FailureCode::HostBug, format!("the host panicked: {}", panic_text(&*panic)))),
            Err(_elapsed) => Err(budget.failure(self.store.data().exceeded().unwrap_or(Exceeded::Deadline))),
        }
    }

    /// What the attempt used and wrote.
    pub(super) fn finish(&mut self) -> Trace {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let usage = Usage {
            fuel: self.fuel,
            memory_bytes: self.store.data().meter.memory_peak(),
            instantiate_us: micros(std::mem::take(&mut self.instantiate)),
            run_us: micros(std::mem::take(&mut self.run)),
            reused: self.used_before,
        };
        self.used_before = true;
        let state = self.store.data_mut();
        let (logs, _) = state.log.finish();
        Trace { usage, logs, calls: state.http.finish() }
    }

    /// Fresh budgets and empty records: nothing of an earlier attempt is left but the guest's own memory.
    fn start(&mut self, budget: &Budget, grants: Option<Grants>) -> Result<(), Failure> {
        let store = &mut self.store;
        let state = store.data_mut();
        state.meter.start(budget);
        state.log.start(budget.run.log_bytes);
        state.http.start(budget, grants);
        state.table.set_max_capacity(budget.handles);
        store.set_hostcall_fuel(budget.hostcall_bytes);
        store.set_max_component_handles(budget.handles);
        if let Some(table) = store.concurrent_resource_table() {
            table.set_max_capacity(budget.handles);
        }
        store.set_epoch_deadline(1);
        store.set_fuel(budget.run.fuel).map_err(|error| Failure::new(FailureCode::HostBug, format!("fuel cannot be set: {error}")))
    }

    /// The first time, makes the instance; then calls the export.
    async fn enter<T, F>(&mut self, bound: &dyn Bound<E>, clock: &Clock, export: F) -> wasmtime::Result<T>
    where
        F: for<'a> FnOnce(&'a E, &'a mut Store<State>) -> BoxFuture<'a, wasmtime::Result<T>> + Send,
    {
        let exports = match self.exports.take() {
            Some(exports) => self.exports.insert(exports),
            None => {
                let started = clock.instant();
                let exports = bound.instantiate(&mut self.store).await?;
                self.instantiate = clock.instant().saturating_duration_since(started);
                self.exports.insert(exports)
            }
        };
        let started = clock.instant();
        let result = export(&**exports, &mut self.store).await;
        self.run = clock.instant().saturating_duration_since(started);
        result
    }

    fn failure(&self, error: &wasmtime::Error, budget: &Budget) -> Failure {
        let exceeded = self.store.data().exceeded();
        if self.exports.is_none() && exceeded.is_none() && !error.is::<wasmtime::Trap>() && !error.is::<wasmtime::WasmBacktrace>() {
            // Not the guest's code: no instance came to be.
            return Failure::new(FailureCode::HandlerUnusable, format!("the handler cannot be instantiated: {}", error.root_cause()));
        }
        failure::of_error(error, budget, exceeded)
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(|text| &**text));
    text.unwrap_or("no text")
}
