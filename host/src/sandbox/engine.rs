//! The one engine and the thread that makes its guests yield.
//!
//! There is exactly one place that makes a configuration: two engines with different settings silently recompile everything, because the code
//! of one does not load in the other.

use std::num::NonZeroUsize;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::{Config, Enabled, Engine, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

use super::limits::{CORE_INSTANCES_MAX, Limits, MEMORIES_MAX, TABLES_MAX};

/// How long a guest runs before it gives its slot back. Shorter costs more switches; longer makes others wait.
const EPOCH: Duration = Duration::from_millis(2);
/// Native stack of a guest. The difference to the fiber's own stack is what host functions may use.
const WASM_STACK: usize = 512 << 10;
const FIBER_STACK: usize = 2 << 20;
/// Frames of a guest's backtrace.
const BACKTRACE_FRAMES: NonZeroUsize = NonZeroUsize::new(20).expect("20 is not zero");
/// Largest core instance: JavaScript and Python engines need more than wasmtime's 1 MiB.
const CORE_INSTANCE_BYTES: usize = 8 << 20;

/// Where instances come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    /// Reserved at start: the fast way.
    Pooling,
    /// Mapped for each instance: where the address space is too small for the pool.
    OnDemand,
}

impl Pool {
    /// The name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pooling => "pooling",
            Self::OnDemand => "on-demand",
        }
    }
}

/// The engine, from the pool if the process may reserve that much address space. The text says why not.
pub(super) fn engine(limits: &Limits) -> Result<(Engine, Pool, Option<String>), wasmtime::Error> {
    match Engine::new(&engine_config(limits, Pool::Pooling)) {
        Ok(engine) => Ok((engine, Pool::Pooling, None)),
        Err(error) => {
            let note = format!(
                "no address space for a pool of {} instances ({:#}): instances are mapped one by one, which is slower",
                limits.instances, error
            );
            Ok((Engine::new(&engine_config(limits, Pool::OnDemand))?, Pool::OnDemand, Some(note)))
        }
    }
}

/// The settings that decide about compiled code do not depend on `pool`, so the code cache serves both kinds.
pub(super) fn engine_config(limits: &Limits, pool: Pool) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .consume_fuel(true)
        .memory_init_cow(true)
        .wasm_component_model(true)
        // The contract has no asynchronous functions, and every call and every store would pay for them.
        .concurrency_support(false)
        .wasm_gc(true)
        .wasm_exceptions(true)
        .shared_memory(false)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(FIBER_STACK)
        .wasm_backtrace_max_frames(Some(BACKTRACE_FRAMES))
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
    if pool == Pool::Pooling {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool_config(limits)));
    }
    config
}

/// Every total is the number of instances times what one component may have, so that the pool cannot run out before the bound on living
/// instances does.
fn pool_config(limits: &Limits) -> PoolingAllocationConfig {
    let times = |each: u32| limits.instances.saturating_mul(each);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(limits.instances)
        .total_core_instances(times(CORE_INSTANCES_MAX))
        .total_memories(times(MEMORIES_MAX))
        .total_tables(times(TABLES_MAX))
        .total_stacks(limits.instances)
        .total_gc_heaps(limits.instances)
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_memories_per_module(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .max_tables_per_module(TABLES_MAX)
        .table_elements(usize::try_from(limits.table_elements).unwrap_or(usize::MAX))
        .max_core_instance_size(CORE_INSTANCE_BYTES)
        .max_component_instance_size(CORE_INSTANCE_BYTES)
        // Returning memory to the system in batches is about a tenth of the cost of a fresh instance.
        .decommit_batch_size(16)
        // Would save another third, but a dirty page that was swapped out is not reset: another hook's data would be seen.
        .pagemap_scan(Enabled::No);
    pool
}

/// Counts epochs until dropped. An OS thread and not a task, because a blocked runtime would stop it.
pub(super) struct Ticker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Starts the thread. It holds the engine weakly and ends with it, too.
    pub(super) fn start(engine: EngineWeak) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("epoch".into()).spawn(move || {
            while stopped.recv_timeout(EPOCH) == Err(RecvTimeoutError::Timeout) {
                let Some(engine) = engine.upgrade() else { return };
                engine.increment_epoch();
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It cannot have panicked: it does nothing but count.
            drop(thread.join());
        }
    }
}
