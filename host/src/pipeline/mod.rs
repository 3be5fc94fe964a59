//! The way of an event, and of a change.
//!
//! ```text
//!  request task                the one loop (accept)        the one claimer (deliver)        an attempt's task
//!  ────────────                ─────────────────────        ─────────────────────────        ─────────────────
//!  admit, match, hash, encode ─► duplicate? throttle?
//!                               one row, one fsync
//!  202 ◄────────────────────────┤
//!                               └─ wakes ──────────────────► hooks in turn, one claim each ─► guest, then its `send`
//!                               settle: one row a group ◄──────────────────────────────────── report, verdict
//! ```
//!
//! A change of a hook goes through the same loop (`hooks` prepares it). Nothing here knows HTTP status codes, sled or wasmtime.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::egress::Egress;
use crate::model::{Clock, EventId, HandlerRecord, Hook, Invalid, NewEvent, SourceEvent};
use crate::sandbox::Sandbox;
use crate::store::{Opened, Store};

mod accept;
mod attempt;
mod body;
mod bounds;
mod catalog;
mod committer;
mod deliver;
mod explain;
mod handlers;
mod hooks;
mod jobs;
#[cfg(feature = "bench")]
mod native;
mod replay;
mod settings;
mod snapshots;
mod stats;
mod try_it;

pub use catalog::{Catalog, HookEntry, Installed};
pub use explain::{Explanation, Step, again};
pub use jobs::{Job, JobEnd};
pub use replay::{Bulk, Range, RedoError};
pub use settings::{Limits, RunCaps, Settings};
pub use snapshots::SnapshotStats;
pub use stats::{Outcome, Stats};
pub use try_it::Tested;

use committer::Item;
use deliver::Dispatch;
use snapshots::Snapshots;
use stats::Counters;

/// The pipeline. Clones share it.
#[derive(Clone)]
pub struct Pipeline(Arc<Inner>);

struct Inner {
    store: Store,
    sandbox: Sandbox,
    egress: Egress,
    clock: Clock,
    limits: Limits,
    settings: ArcSwap<Settings>,
    catalog: ArcSwap<Catalog>,
    /// To the one loop. Bounded by `limits.queued_items`; a full queue makes its senders wait.
    items: mpsc::Sender<Item>,
    /// Bytes of events that wait for the one loop: `limits.queued_bytes`. Beyond it a request is refused.
    queued_bytes: Arc<Semaphore>,
    dispatch: Dispatch,
    snapshots: Snapshots,
    counters: Counters,
    jobs: jobs::Jobs,
    /// Cancelled when the host stops: nothing new is accepted or claimed.
    stopping: CancellationToken,
    /// Running attempts.
    attempts: TaskTracker,
}

/// What [`Pipeline::start`] needs.
pub struct Parts {
    /// The opened store.
    pub opened: Opened,
    /// The sandbox.
    pub sandbox: Sandbox,
    /// The egress client, the same one the sandbox uses.
    pub egress: Egress,
    /// The host's one clock.
    pub clock: Clock,
    /// Bounds of queues and loops.
    pub limits: Limits,
    /// What may be changed while running.
    pub settings: Settings,
}

/// The running loops, to be stopped.
pub struct Running {
    pipeline: Pipeline,
    claimer: tokio::task::JoinHandle<()>,
    keeper: tokio::task::JoinHandle<()>,
    committer: std::thread::JoinHandle<()>,
}

impl Pipeline {
    /// Starts the loops: the committer on its own thread, the claimer as a task.
    pub fn start(parts: Parts, built_in: &[(&str, &'static [u8])]) -> std::io::Result<StartingUp> {
        let Parts { opened, sandbox, egress, clock, limits, settings } = parts;
        let (items, queue) = mpsc::channel(limits.queued_items);
        let catalog = Catalog::of(&opened.store);
        let inner = Arc::new(Inner {
            store: opened.store,
            sandbox,
            egress,
            clock,
            queued_bytes: Arc::new(Semaphore::new(limits.queued_bytes)),
            limits,
            settings: ArcSwap::from_pointee(settings),
            catalog: ArcSwap::from_pointee(catalog),
            items,
            dispatch: Dispatch::default(),
            snapshots: Snapshots::default(),
            counters: Counters::default(),
            jobs: jobs::Jobs::default(),
            stopping: CancellationToken::new(),
            attempts: TaskTracker::new(),
        });
        let pipeline = Self(inner);
        let committer = committer::spawn(pipeline.clone(), opened.writer, queue)?;
        let built_in = built_in.iter().map(|(name, component)| ((*name).to_owned(), Bytes::from_static(component))).collect();
        Ok(StartingUp { pipeline, committer, built_in })
    }

    /// The present catalog; it never changes, the next change makes a new one.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.0.catalog.load_full()
    }

    /// For reading: listings, events, figures.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// The sandbox's figures.
    pub fn sandbox(&self) -> &Sandbox {
        &self.0.sandbox
    }

    /// The egress client's figures.
    pub fn egress(&self) -> &Egress {
        &self.0.egress
    }

    /// The host's clock.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Counters since the start.
    pub fn stats(&self) -> Stats {
        self.0.counters.read()
    }

    /// Figures of the snapshots.
    pub fn snapshots(&self) -> SnapshotStats {
        self.0.snapshots.read()
    }

    /// True once the host is stopping.
    pub fn is_stopping(&self) -> bool {
        self.0.stopping.is_cancelled()
    }

    /// Swaps the settings (SIGHUP).
    pub fn reload(&self, settings: Settings) {
        let catalog = self.0.catalog.load().with_settings(&settings);
        self.0.settings.store(Arc::new(settings));
        self.0.catalog.store(Arc::new(catalog));
        self.0.snapshots.all_changed();
    }

    /// Accepts all of `events` or none. When this returns they are on disk and their deliveries are queued.
    pub async fn accept(&self, events: Vec<NewEvent>) -> Result<Vec<Accepted>, AcceptError> {
        accept::accept(self, events).await
    }

    /// Creates a hook.
    pub async fn create_hook(&self, body: HookBody) -> Result<Arc<Hook>, ChangeError> {
        hooks::create(self, body).await
    }

    /// Would this hook be created? Nothing is saved, nobody is pinged.
    pub async fn validate_hook(&self, body: HookBody) -> Result<(), ChangeError> {
        hooks::validate_only(self, body).await
    }

    /// Changes a hook: what is written replaces, `config` merges one level deep.
    pub async fn patch_hook(&self, id: Uuid, body: HookBody) -> Result<Arc<Hook>, ChangeError> {
        hooks::patch(self, id, body).await
    }

    /// Deletes a hook. Fine also when there is none.
    pub async fn delete_hook(&self, id: Uuid) -> Result<(), ChangeError> {
        hooks::delete(self, id).await
    }

    /// Registers or replaces an event of a source. True if it is new.
    pub async fn put_source(&self, source: &str, event: &str, about: SourceEvent) -> Result<bool, ChangeError> {
        hooks::put_source(self, source, event, about).await
    }

    /// Removes a registered event.
    pub async fn delete_source(&self, source: &str, event: &str) -> Result<(), ChangeError> {
        hooks::delete_source(self, source, event).await
    }

    /// Installs or replaces a handler. With `grant_asked` it may do what it asks for; without, it reaches nothing.
    pub async fn install_handler(&self, name: &str, component: Bytes, grant_asked: bool) -> Result<Arc<HandlerRecord>, InstallError> {
        handlers::install(self, name, component, grant_asked).await
    }

    /// Sends a ping through a hook now.
    pub async fn ping(&self, hook: &Hook) -> Result<(), TryError> {
        try_it::ping(self, hook).await
    }

    /// Runs a hook's handler now with `data`, past queue and throttle.
    pub async fn test(&self, hook: &Hook, data: serde_json::Value) -> Result<Tested, TryError> {
        try_it::test(self, hook, data).await
    }
}

/// The committer runs; handlers are not loaded yet and nothing is claimed.
pub struct StartingUp {
    pipeline: Pipeline,
    committer: std::thread::JoinHandle<()>,
    built_in: Vec<(String, Bytes)>,
}

impl StartingUp {
    /// Loads the handlers, the built-in ones first, registers Kong's catalogue at first start, and begins to claim what is owed.
    ///
    /// An uploaded handler that can no longer be loaded is reported in the log; its hooks' attempts fail with `handler-unusable`.
    pub async fn finish(self) -> Result<Running, InstallError> {
        let Self { pipeline, committer, built_in } = self;
        handlers::load_all(&pipeline, built_in).await?;
        let claimer = deliver::start(&pipeline);
        let keeper = snapshots::start(&pipeline);
        // It ends at the cancellation, and a stop waits for it with the attempts.
        pipeline.0.attempts.spawn(bounds::run(pipeline.clone()));
        Ok(Running { pipeline, claimer, keeper, committer })
    }
}

impl Running {
    /// The pipeline.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Stops: nothing more is accepted or claimed, running attempts get `drain` to finish, and everything is on disk when this returns.
    /// Attempts that did not finish are made again at the next start.
    pub async fn stop(self, drain: Duration) {
        let inner = &self.pipeline.0;
        inner.stopping.cancel();
        // Both end at the cancellation; a panic of either was logged by the panic hook.
        let _ = self.claimer.await;
        let _ = self.keeper.await;
        inner.attempts.close();
        if tokio::time::timeout(drain, inner.attempts.wait()).await.is_err() {
            tracing::warn!(
                running = inner.attempts.len(),
                "attempts still run after the drain limit (setting shutdown.drain); they are made again"
            );
        }
        if inner.items.send(Item::Stop).await.is_ok() {
            let committer = self.committer;
            // Joining blocks; a panic of the thread was logged by the panic hook.
            let _ = tokio::task::spawn_blocking(move || committer.join()).await;
        }
    }
}

/// One accepted event, as the producer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The host's id; of a duplicate: the first one's.
    pub id: EventId,
    /// The producer's own id.
    pub key: Option<String>,
    /// How many hooks it was queued for.
    pub deliveries: u32,
    /// Seen before: not delivered again.
    pub duplicate: bool,
}

/// Why events were not accepted. None of the request was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// Source or event is not registered, and the setting `events.unregistered` refuses that.
    #[error("{message}")]
    Unregistered {
        /// Which of the request's events, from 0.
        index: usize,
        /// Kong's words.
        message: String,
    },
    /// The data does not fit the schema of its source.
    #[error("{message}")]
    Unfit {
        /// Which of the request's events, from 0.
        index: usize,
        /// What does not fit.
        message: String,
    },
    /// The key was used with other content.
    #[error("the key '{key}' was used before with other content")]
    KeyReused {
        /// Which of the request's events, from 0.
        index: usize,
        /// The key.
        key: String,
    },
    /// No room: backlog or disk past the high-water mark, or too much waits to be written.
    #[error("{reason}")]
    Full {
        /// What is full, and the setting.
        reason: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// The host is stopping.
    #[error("the host is stopping")]
    Stopping,
    /// The store could not write.
    #[error("the events could not be stored: {0}")]
    Store(String),
}

/// What was written about a hook: a JSON object, taken as is; nothing is checked yet.
#[derive(Debug, Clone, Default)]
pub struct HookBody(pub serde_json::Map<String, serde_json::Value>);

/// Why a change was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// What was written is not valid.
    #[error("{0}")]
    Invalid(Invalid),
    /// There is no such thing.
    #[error("not found")]
    NotFound,
    /// Another hook has this id.
    #[error("the id {0} is taken")]
    DuplicateId(Uuid),
    /// Another hook has this name.
    #[error("the name '{0}' is taken")]
    NameTaken(String),
    /// It ships with the host and cannot be removed.
    #[error("{0} is built in")]
    BuiltIn(String),
    /// Stopping, or the disk is full.
    #[error("{0}")]
    Busy(String),
    /// The store or the handler failed; the log knows more.
    #[error("{0}")]
    Store(String),
}

/// Why a handler was not installed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InstallError {
    /// The name is not one: lower case, digits, hyphens, at most 64.
    #[error("{0}")]
    Name(String),
    /// The component was refused; `code` is stable.
    #[error("{message}")]
    Refused {
        /// Stable word.
        code: &'static str,
        /// For the author: what, and what to do next.
        message: String,
    },
    /// The name belongs to a handler that ships with the host.
    #[error("handler '{0}' is built in")]
    BuiltIn(String),
    /// The store could not write.
    #[error("{0}")]
    Store(String),
}

/// Why a ping or a test gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TryError {
    /// The handler takes no pings.
    #[error("handler '{0}' does not support 'ping'")]
    NoPing(String),
    /// It ran and failed.
    #[error("{0}")]
    Failed(String),
}
