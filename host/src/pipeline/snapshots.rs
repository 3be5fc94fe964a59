//! Which hook has its handler prepared: one task keeps what is loaded in step with the catalog. It hears of every change, asks the sandbox for
//! what is missing, a few at a time, puts what comes into the hooks' entries, and drops what no hook needs any more, from disk too.
//!
//! Attempts never wait for it: a hook without a snapshot works on the plain path. Hooks with the same handler, config and settings share one.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::Notify;

use super::attempt::log_lines;
use super::{Catalog, HookEntry, Pipeline};
use crate::model::{Digest, HookNo, JsonText};
use crate::policy::secrets;
use crate::sandbox::{Handler, Preparation, PrepareReport, RunLimits, Snapshot};

/// Hooks that are looked at before other tasks of the thread have their turn.
const REVIEWED_AT_ONCE: usize = 32;

/// How others tell the keeper, and its figures.
#[derive(Default)]
pub(super) struct Snapshots {
    news: Mutex<News>,
    arrived: Notify,
    failed: AtomicU64,
    loaded: AtomicU64,
    loaded_bytes: AtomicU64,
}

#[derive(Default)]
struct News {
    /// Handlers or settings changed: every hook may be concerned.
    all: bool,
    /// Hooks that were made, changed or deleted.
    changed: BTreeSet<HookNo>,
    /// Hooks that had an event and no snapshot.
    missed: BTreeSet<HookNo>,
}

/// Figures of the snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotStats {
    /// Could not be made, since the start.
    pub failed: u64,
    /// In memory now.
    pub loaded: u64,
    /// Their bytes.
    pub loaded_bytes: u64,
}

impl Snapshots {
    /// These hooks were made, changed or deleted, and the catalog knows.
    pub(super) fn changed(&self, hooks: &[HookNo]) {
        self.tell(!hooks.is_empty(), |news| news.changed.extend(hooks));
    }

    /// Handlers or settings were changed, and the catalog knows.
    pub(super) fn all_changed(&self) {
        self.tell(true, |news| news.all = true);
    }

    fn missed(&self, hook: HookNo) {
        self.tell(true, |news| news.missed.extend([hook]));
    }

    fn tell(&self, worth_it: bool, how: impl FnOnce(&mut News)) {
        if worth_it {
            how(&mut self.news.lock().unwrap_or_else(PoisonError::into_inner));
            self.arrived.notify_one();
        }
    }

    pub(super) fn read(&self) -> SnapshotStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SnapshotStats { failed: get(&self.failed), loaded: get(&self.loaded), loaded_bytes: get(&self.loaded_bytes) }
    }
}

/// The snapshot that an attempt may start from.
pub(super) fn of(
    pipeline: &Pipeline,
    entry: &HookEntry,
    handler: &Handler,
    settings: &JsonText,
    limits: &RunLimits,
) -> Option<Arc<Snapshot>> {
    if !handler.prepares() {
        return None;
    }
    let Some(snapshot) = entry.snapshot.load_full() else {
        pipeline.0.snapshots.missed(entry.hook.no);
        return None;
    };
    // The handler or the settings may have been changed a moment ago: the old ones must not see another event.
    snapshot.fits(handler, settings, limits).then(|| {
        snapshot.touch(pipeline.0.clock.now());
        snapshot
    })
}

/// Starts the keeper; it ends when the pipeline stops.
pub(super) fn start(pipeline: &Pipeline) -> tokio::task::JoinHandle<()> {
    let keeper = Keeper {
        to_review: pipeline.catalog().numbers().collect(),
        pipeline: pipeline.clone(),
        wanted: HashMap::new(),
        refused: HashMap::new(),
        entries: HashMap::new(),
        queue: VecDeque::new(),
        making: FuturesUnordered::new(),
        unneeded: Vec::new(),
        swept: false,
    };
    #[allow(clippy::disallowed_methods, reason = "`Running::stop` waits for this task by its handle")]
    tokio::spawn(keeper.run())
}

struct Keeper {
    pipeline: Pipeline,
    /// Hooks to look at.
    to_review: BTreeSet<HookNo>,
    /// What each hook needs.
    wanted: HashMap<HookNo, Digest>,
    /// Hooks for which nothing may be prepared, and why: it is said once.
    refused: HashMap<HookNo, String>,
    entries: HashMap<Digest, Entry>,
    /// What to make or load, in order. May hold what is no longer wanted.
    queue: VecDeque<Digest>,
    making: FuturesUnordered<BoxFuture<'static, Made>>,
    /// To be removed from disk.
    unneeded: Vec<Digest>,
    /// What lay on disk from before the start was looked through.
    swept: bool,
}

/// One snapshot and the hooks that need it.
struct Entry {
    hooks: BTreeSet<HookNo>,
    state: State,
}

enum State {
    /// Not in memory and not asked for: an event of one of the hooks asks for it.
    Idle,
    Queued,
    Making,
    Ready(Arc<Snapshot>),
    /// Could not be made under these limits. Under others it is tried again.
    Failed(RunLimits),
}

/// The end of one preparation.
struct Made {
    key: Digest,
    hook: HookNo,
    limits: RunLimits,
    took: Duration,
    report: PrepareReport,
}

impl Keeper {
    async fn run(mut self) {
        let stopping = self.pipeline.0.stopping.clone();
        while !stopping.is_cancelled() {
            self.take_news();
            if self.review_some() {
                tokio::task::yield_now().await;
                continue;
            }
            self.clean_up().await;
            self.begin();
            let snapshots = &self.pipeline.0.snapshots;
            let made = tokio::select! {
                () = stopping.cancelled() => return,
                () = snapshots.arrived.notified() => None,
                Some(made) = self.making.next(), if !self.making.is_empty() => Some(made),
            };
            if let Some(made) = made {
                self.made(made);
            }
        }
    }

    fn take_news(&mut self) {
        let news = std::mem::take(&mut *self.pipeline.0.snapshots.news.lock().unwrap_or_else(PoisonError::into_inner));
        self.to_review.extend(news.changed);
        if news.all {
            self.to_review.extend(self.pipeline.catalog().numbers());
            self.to_review.extend(self.wanted.keys());
        }
        for hook in news.missed {
            if let Some(key) = self.wanted.get(&hook).copied() {
                self.ask_again(key);
            }
        }
    }

    /// Looks at a few hooks. True if there was any.
    fn review_some(&mut self) -> bool {
        for done in 0..REVIEWED_AT_ONCE {
            let Some(hook) = self.to_review.pop_first() else { return done > 0 };
            self.review(hook);
        }
        true
    }

    fn review(&mut self, no: HookNo) {
        let catalog = self.pipeline.catalog();
        let wish = catalog.entry(no).and_then(|entry| wish(&self.pipeline, &catalog, entry));
        match wish {
            Some(Ok(preparation)) => {
                self.refused.remove(&no);
                self.want(no, &preparation, &catalog);
            }
            Some(Err(reason)) => {
                self.forget(no);
                if self.refused.get(&no) != Some(&reason) {
                    warn(&catalog, no, &reason);
                    self.refused.insert(no, reason);
                }
            }
            None => {
                self.refused.remove(&no);
                self.forget(no);
            }
        }
    }

    fn want(&mut self, no: HookNo, preparation: &Preparation, catalog: &Catalog) {
        let key = preparation.key();
        if self.wanted.get(&no) != Some(&key) {
            self.forget(no);
            self.wanted.insert(no, key);
        }
        let entry = self.entries.entry(key).or_insert_with(|| Entry { hooks: BTreeSet::new(), state: State::Idle });
        entry.hooks.insert(no);
        match &entry.state {
            State::Ready(snapshot) => show(catalog, no, Some(snapshot.clone())),
            State::Failed(limits) if *limits != preparation.limits => entry.state = State::Idle,
            State::Idle | State::Queued | State::Making | State::Failed(_) => {}
        }
        self.ask_again(key);
    }

    /// Queues what is not in memory.
    fn ask_again(&mut self, key: Digest) {
        if let Some(entry) = self.entries.get_mut(&key)
            && matches!(entry.state, State::Idle)
        {
            entry.state = State::Queued;
            self.queue.push_back(key);
        }
    }

    /// A hook needs no longer what it needed.
    fn forget(&mut self, no: HookNo) {
        let Some(key) = self.wanted.remove(&no) else { return };
        show(&self.pipeline.catalog(), no, None);
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.hooks.remove(&no);
        if entry.hooks.is_empty() {
            self.entries.remove(&key);
            self.unneeded.push(key);
            self.count();
        }
    }

    /// Removes files that no hook needs. Nothing is being written that is not wanted, or it is removed when it is done.
    async fn clean_up(&mut self) {
        let unneeded = std::mem::take(&mut self.unneeded);
        let unneeded: Vec<_> = unneeded.into_iter().filter(|key| !self.entries.contains_key(key)).collect();
        let sweep = (!std::mem::replace(&mut self.swept, true)).then(|| self.entries.keys().copied().collect::<HashSet<_>>());
        if unneeded.is_empty() && sweep.is_none() {
            return;
        }
        let sandbox = self.pipeline.sandbox().clone();
        let work = move || {
            if let Some(kept) = sweep {
                sandbox.keep_snapshots(&kept);
            }
            unneeded.into_iter().for_each(|key| sandbox.forget_snapshot(key));
        };
        // A panic was logged by the panic hook; a file too many is no harm.
        let _ = tokio::task::spawn_blocking(work).await;
    }

    /// Begins as many as may be made at the same time.
    fn begin(&mut self) {
        while self.making.len() < self.pipeline.0.limits.preparing {
            let Some(key) = self.queue.pop_front() else { return };
            let Some(preparation) = self.queued(key) else { continue };
            let (pipeline, hook, limits) = (self.pipeline.clone(), preparation.hook, preparation.limits);
            let make = async move {
                let (clock, since) = (&pipeline.0.clock, pipeline.0.clock.instant());
                let report = pipeline.0.sandbox.prepare(preparation).await;
                Made { key, hook, limits, took: clock.instant() - since, report }
            };
            self.making.push(make.boxed());
        }
    }

    /// What is to be made, if a hook still needs it.
    fn queued(&mut self, key: Digest) -> Option<Preparation> {
        let catalog = self.pipeline.catalog();
        let entry = self.entries.get_mut(&key).filter(|entry| matches!(entry.state, State::Queued))?;
        let current = entry.hooks.iter().find_map(|no| needs(&self.pipeline, &catalog, *no, key));
        // None: its hooks have changed, which will be heard in a moment.
        entry.state = if current.is_some() { State::Making } else { State::Idle };
        current
    }

    fn made(&mut self, made: Made) {
        let Made { key, hook, limits, took, report } = made;
        let catalog = self.pipeline.catalog();
        if let Some(hook) = catalog.hook_by_no(hook) {
            log_lines(&hook.id, "prepare", &report.logs);
        }
        let Some(entry) = self.entries.get_mut(&key) else {
            self.unneeded.push(key);
            return;
        };
        match report.outcome {
            Ok(snapshot) => {
                let id = catalog.hook_by_no(hook).map(|hook| hook.id.to_string()).unwrap_or_default();
                tracing::info!(hook = id, bytes = snapshot.bytes(), ms = took.as_millis() as u64, "hook.prepared");
                entry.state = State::Ready(snapshot.clone());
                for no in entry.hooks.iter().filter(|no| needs(&self.pipeline, &catalog, **no, key).is_some()) {
                    show(&catalog, *no, Some(snapshot.clone()));
                }
                self.count();
                self.make_room(key);
            }
            Err(reason) => {
                entry.state = State::Failed(limits);
                self.pipeline.0.snapshots.failed.fetch_add(1, Ordering::Relaxed);
                warn(&catalog, hook, &reason);
            }
        }
    }

    /// Drops from memory what was used longest ago, but not `newest`.
    fn make_room(&mut self, newest: Digest) {
        while self.pipeline.0.snapshots.read().loaded_bytes > self.pipeline.0.limits.snapshot_bytes {
            let ready = self.entries.iter_mut().filter(|(key, _)| **key != newest).filter_map(|(_, entry)| match &entry.state {
                State::Ready(snapshot) => Some((snapshot.used(), entry)),
                State::Idle | State::Queued | State::Making | State::Failed(_) => None,
            });
            let Some((_, oldest)) = ready.min_by_key(|(used, _)| *used) else { return };
            oldest.state = State::Idle;
            let catalog = self.pipeline.catalog();
            oldest.hooks.iter().for_each(|no| show(&catalog, *no, None));
            self.count();
        }
    }

    fn count(&self) {
        let ready = self.entries.values().filter_map(|entry| match &entry.state {
            State::Ready(snapshot) => Some(snapshot.bytes()),
            State::Idle | State::Queued | State::Making | State::Failed(_) => None,
        });
        let (loaded, bytes) = ready.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes));
        let snapshots = &self.pipeline.0.snapshots;
        snapshots.loaded.store(loaded, Ordering::Relaxed);
        snapshots.loaded_bytes.store(bytes, Ordering::Relaxed);
    }
}

/// What is to be prepared for a hook: nothing, if its handler cannot be; an error, if it may not be.
fn wish(pipeline: &Pipeline, catalog: &Catalog, entry: &HookEntry) -> Option<Result<Preparation, String>> {
    let hook = &entry.hook;
    let installed = catalog.handler(&hook.handler)?;
    let handler = installed.component.as_ref().ok().filter(|handler| handler.prepares())?;
    let mut config = hook.config.clone();
    if let Err(reason) = secrets::withhold(&mut config, &installed.record.description.config_schema) {
        return Some(Err(reason));
    }
    Some(Ok(Preparation {
        handler: handler.clone(),
        hook: hook.no,
        config: JsonText::from_value(&config),
        settings: installed.prepare_settings(pipeline.profile(hook)).clone(),
        limits: pipeline.0.settings.load().run_limits(hook),
    }))
}

/// The hook's preparation, if it is still this one.
fn needs(pipeline: &Pipeline, catalog: &Catalog, no: HookNo, key: Digest) -> Option<Preparation> {
    let preparation = wish(pipeline, catalog, catalog.entry(no)?)?.ok()?;
    (preparation.key() == key).then_some(preparation)
}

/// Puts a snapshot where the hook's attempts find it.
fn show(catalog: &Catalog, no: HookNo, snapshot: Option<Arc<Snapshot>>) {
    if let Some(entry) = catalog.entry(no) {
        entry.snapshot.store(snapshot);
    }
}

fn warn(catalog: &Catalog, no: HookNo, reason: &str) {
    if let Some(hook) = catalog.hook_by_no(no) {
        tracing::warn!(hook = %hook.id, handler = hook.handler, reason, "hook.not_prepared: its handler prepares for every event");
    }
}
