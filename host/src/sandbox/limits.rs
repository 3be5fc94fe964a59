//! What a guest may use: the operator's ceilings, one attempt's share of them, and the sentences that say which was exceeded.
//!
//! The numbers are enforced elsewhere (`instance`, `meter`, `capability`); here they are named, once.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::model::{Failure, FailureCode};

/// Linear memories of one component. Real components have one; the pool has this many for each instance.
pub(super) const MEMORIES_MAX: u32 = 4;
/// Tables of one component. Composed language runtimes have a handful.
pub(super) const TABLES_MAX: u32 = 16;
/// Core instances of one component: Python's runtime consists of about thirty.
pub(super) const CORE_INSTANCES_MAX: u32 = 64;
/// Longest `prepare`, wall time: it runs in the background, but beside the events of others.
const PREPARE_WALL: Duration = Duration::from_secs(5);
/// Looking at a prepared memory takes one page of it for each look, and there are two looks.
const LOOK_MEMORY_BYTES: u64 = 2 * (64 << 10) * MEMORIES_MAX as u64;
/// And a few dozen instructions for each memory and each mutable global.
const LOOK_FUEL: u64 = 10_000_000;
/// Bytes that `describe` may give back.
pub(super) const DESCRIPTION_BYTES: usize = 256 << 10;

/// The operator's ceilings. What happens beyond each is at its field.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Wall time of one attempt inside the guest. Beyond: `deadline`.
    pub wall: Duration,
    /// Units of fuel of one attempt, roughly instructions. Beyond: `fuel-limit`.
    pub fuel: u64,
    /// Sum over the component's memories and its garbage-collected heap. Beyond: `memory-limit`.
    pub memory_bytes: u64,
    /// Sum over the component's tables, in elements. Beyond: `table-limit`.
    pub table_elements: u64,
    /// What one call may copy from guest to host. Beyond: `hostcall-limit`.
    pub hostcall_bytes: u64,
    /// Open handles of one instance. Beyond: `handle-limit`.
    pub handles: u32,
    /// Log lines of one attempt; a line counts 16 bytes more than its text. Beyond: `log-limit`.
    pub log_bytes: u64,
    /// Requests of one attempt through the capability `http`. Beyond: `http-limit`.
    pub http_requests: u32,
    /// Response bytes of one attempt, all requests together. Beyond: the guest gets `too-large`.
    pub http_response_bytes: u64,
    /// Longest answer of a handler, the request that it gives back included. Beyond: `answer-limit`.
    pub answer_bytes: u64,
    /// Largest component. Beyond: refused at upload.
    pub component_bytes: u64,
    /// Compilations at the same time. Beyond: they queue.
    pub compiles: usize,
    /// Living instances, those kept for reuse included. Beyond: attempts queue, hooks in turn.
    pub instances: u32,
    /// Guests that run at the same time. Beyond: they queue, hooks in turn.
    pub slots: usize,
    /// Compiled code on disk, snapshots included. Beyond: what was used longest ago goes.
    pub cache_bytes: u64,
    /// Largest component of which snapshots are made. Beyond: its `prepare` is never called.
    pub snapshot_component_bytes: u64,
    /// Largest snapshot: the component with the memory that `prepare` left. Beyond: the hook works without.
    pub snapshot_bytes: u64,
    /// Instances of one handler kept for reuse. Beyond: dropped after their attempt.
    pub reuse_idle: usize,
    /// An instance is retired after a number of attempts that is drawn from this range, so that not all are replaced at once.
    pub reuse_attempts: RangeInclusive<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wall: Duration::from_secs(30),
            fuel: 2_000_000_000,
            memory_bytes: 64 << 20,
            table_elements: 100_000,
            hostcall_bytes: 4 << 20,
            handles: 256,
            log_bytes: 64 << 10,
            http_requests: 16,
            http_response_bytes: 8 << 20,
            answer_bytes: 4 << 20,
            component_bytes: 32 << 20,
            compiles: 2,
            instances: 512,
            slots: std::thread::available_parallelism().map_or(1, usize::from),
            cache_bytes: 1 << 30,
            snapshot_component_bytes: 1 << 20,
            snapshot_bytes: 16 << 20,
            reuse_idle: 16,
            reuse_attempts: 256..=1024,
        }
    }
}

/// What one attempt may use: the hook's wishes, already no larger than the operator's ceilings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunLimits {
    /// As in [`Limits`].
    pub wall: Duration,
    /// As in [`Limits`].
    pub fuel: u64,
    /// As in [`Limits`].
    pub memory_bytes: u64,
    /// As in [`Limits`].
    pub log_bytes: u64,
    /// As in [`Limits`].
    pub http_requests: u32,
}

impl From<&Limits> for RunLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            wall: limits.wall,
            fuel: limits.fuel,
            memory_bytes: limits.memory_bytes,
            log_bytes: limits.log_bytes,
            http_requests: limits.http_requests,
        }
    }
}

/// Which export is called: decides the budget and what a message says about its origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Export {
    Describe,
    Validate,
    Prepare,
    /// The exports by which a snapshot is taken.
    Look,
    Handle,
}

impl Export {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Describe => "describe",
            Self::Validate => "validate",
            Self::Prepare => "prepare",
            Self::Look => "the snapshot",
            Self::Handle => "handle",
        }
    }
}

/// Everything one call of an export may use.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    pub(super) export: Export,
    pub(super) run: RunLimits,
    pub(super) table_elements: u64,
    pub(super) hostcall_bytes: usize,
    pub(super) handles: usize,
    pub(super) http_response_bytes: u64,
    pub(super) answer_bytes: usize,
}

/// A limit that a guest ran into. Travels through wasmtime as the error of the call, and is remembered where it was noticed, because what the
/// guest does next (a panic, an exit) must not hide it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("limit exceeded: {self:?}")]
pub(super) enum Exceeded {
    Deadline,
    Fuel,
    Memory,
    Table,
    Hostcall,
    Handles,
    Log,
    HttpRequests,
    Answer,
}

impl Budget {
    /// For `handle`.
    pub(super) fn for_handle(limits: &Limits, run: RunLimits) -> Self {
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Self {
            export: Export::Handle,
            run,
            table_elements: limits.table_elements,
            hostcall_bytes: bytes(limits.hostcall_bytes),
            handles: usize::try_from(limits.handles).unwrap_or(usize::MAX),
            http_response_bytes: limits.http_response_bytes,
            answer_bytes: bytes(limits.answer_bytes.min(limits.hostcall_bytes)),
        }
    }

    /// For `validate`: an operator waits for it, and it makes no requests.
    pub(super) fn for_validate(limits: &Limits) -> Self {
        let run = RunLimits { wall: limits.wall.min(Duration::from_secs(5)), http_requests: 0, ..RunLimits::from(limits) };
        Self { export: Export::Validate, ..Self::for_handle(limits, run) }
    }

    /// For `prepare`: what the hook's attempts may use, but no requests.
    pub(super) fn for_prepare(limits: &Limits, run: RunLimits) -> Self {
        let run = RunLimits { wall: run.wall.min(PREPARE_WALL), http_requests: 0, ..run };
        Self { export: Export::Prepare, ..Self::for_handle(limits, run) }
    }

    /// For looking at what `prepare` left: it must be possible also where `prepare` used up its memory.
    pub(super) fn for_look(limits: &Limits, run: RunLimits) -> Self {
        let memory_bytes = run.memory_bytes.saturating_add(LOOK_MEMORY_BYTES);
        let run = RunLimits { wall: PREPARE_WALL, fuel: LOOK_FUEL, memory_bytes, log_bytes: 0, http_requests: 0 };
        let hostcall_bytes = usize::try_from(memory_bytes).unwrap_or(usize::MAX);
        Self { export: Export::Look, hostcall_bytes, ..Self::for_handle(limits, run) }
    }

    /// For `describe`: the same for every host, so that a component installs everywhere or nowhere.
    pub(super) fn for_describe(limits: &Limits) -> Self {
        let run = RunLimits { wall: Duration::from_secs(2), fuel: 500_000_000, http_requests: 0, ..RunLimits::from(limits) };
        Self {
            export: Export::Describe,
            hostcall_bytes: DESCRIPTION_BYTES,
            answer_bytes: DESCRIPTION_BYTES,
            ..Self::for_handle(limits, run)
        }
    }

    /// The failure, with the number and the name of the setting.
    pub(super) fn failure(&self, exceeded: Exceeded) -> Failure {
        let run = &self.run;
        let (code, text, setting) = match exceeded {
            Exceeded::Deadline => (
                FailureCode::Deadline,
                format!("deadline of {} ms exceeded", run.wall.as_millis()),
                "limits.wall, or the hook's delivery.timeout_ms",
            ),
            Exceeded::Fuel => (FailureCode::FuelLimit, format!("fuel limit of {} units exceeded", run.fuel), "limits.fuel"),
            Exceeded::Memory => {
                (FailureCode::MemoryLimit, format!("memory limit of {} bytes exceeded", run.memory_bytes), "limits.memory_bytes")
            }
            Exceeded::Table => {
                (FailureCode::TableLimit, format!("table limit of {} elements exceeded", self.table_elements), "limits.table_elements")
            }
            Exceeded::Hostcall => (
                FailureCode::HostcallLimit,
                format!("a call to the host passed more than {} bytes", self.hostcall_bytes),
                "limits.hostcall_bytes",
            ),
            Exceeded::Handles => (FailureCode::HandleLimit, format!("limit of {} open handles exceeded", self.handles), "limits.handles"),
            Exceeded::Log => (FailureCode::LogLimit, format!("log limit of {} bytes exceeded", run.log_bytes), "limits.log_bytes"),
            Exceeded::HttpRequests => {
                (FailureCode::HttpLimit, format!("limit of {} HTTP requests exceeded", run.http_requests), "limits.http_requests")
            }
            Exceeded::Answer => {
                (FailureCode::AnswerLimit, format!("the answer is larger than {} bytes", self.answer_bytes), "limits.answer_bytes")
            }
        };
        let origin = match (self.export, exceeded) {
            (Export::Handle, _)
            | (Export::Prepare, Exceeded::Fuel | Exceeded::Hostcall)
            | (_, Exceeded::Memory | Exceeded::Table | Exceeded::Handles | Exceeded::Log) => format!("setting {setting}"),
            (export, _) => format!("fixed for {}", export.as_str()),
        };
        Failure::new(code, format!("{text} ({origin})"))
    }
}
