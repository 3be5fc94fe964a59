//! Counts what an instance grows to. wasmtime's own limiter counts each memory for itself; ours adds them up, the garbage-collected heap
//! included, and its refusal ends the attempt instead of letting the guest go on with a failed `memory.grow`.

use wasmtime::ResourceLimiter;

use super::limits::{Budget, CORE_INSTANCES_MAX, Exceeded, MEMORIES_MAX, TABLES_MAX};

/// One per store.
#[derive(Debug, Default)]
pub(super) struct Meter {
    memory_max: u64,
    table_max: u64,
    memory: u64,
    memory_peak: u64,
    tables: u64,
    /// What the growth that was just allowed added, to take it back if it fails after all.
    last: u64,
    exceeded: Option<Exceeded>,
}

impl Meter {
    /// Starts a new attempt: what the instance already has still counts.
    pub(super) fn start(&mut self, budget: &Budget) {
        self.memory_max = budget.run.memory_bytes;
        self.table_max = budget.table_elements;
        self.memory_peak = self.memory;
        self.exceeded = None;
    }

    /// Bytes now.
    pub(super) fn memory(&self) -> u64 {
        self.memory
    }

    /// Highest sum since `start`.
    pub(super) fn memory_peak(&self) -> u64 {
        self.memory_peak
    }

    /// The limit that was run into since `start`.
    pub(super) fn exceeded(&self) -> Option<Exceeded> {
        self.exceeded
    }

    fn refuse(&mut self, exceeded: Exceeded) -> wasmtime::Result<bool> {
        self.exceeded = Some(exceeded);
        Err(exceeded.into())
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.last = 0;
        let more = desired.saturating_sub(current) as u64;
        let sum = self.memory.saturating_add(more);
        if sum > self.memory_max {
            return self.refuse(Exceeded::Memory);
        }
        if maximum.is_some_and(|maximum| desired > maximum) {
            // The memory's own declared maximum: the guest's affair, not a limit of ours.
            return Ok(false);
        }
        self.memory = sum;
        self.memory_peak = self.memory_peak.max(sum);
        self.last = more;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory = self.memory.saturating_sub(std::mem::take(&mut self.last));
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.last = 0;
        let more = desired.saturating_sub(current) as u64;
        let sum = self.tables.saturating_add(more);
        // Before the declared maximum, because the pool lowers that to the size of its own tables.
        if sum > self.table_max {
            return self.refuse(Exceeded::Table);
        }
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.tables = sum;
        self.last = more;
        Ok(true)
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.tables = self.tables.saturating_sub(std::mem::take(&mut self.last));
        Ok(())
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_MAX as usize
    }

    fn tables(&self) -> usize {
        TABLES_MAX as usize
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX as usize
    }
}
