//! Doing deliveries again: one, the dead letters that a filter finds, or the retained events of a time. Bulk work is a job that reads a page, hands it to
//! the one loop, and waits for its commit before it reads the next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{DeliveryId, EventNo, Generation, Hook, HookNo, Timestamp};
use crate::policy::matching::hears;
use crate::store::{DeadLetterFilter, DeliveryRecord, DeliveryState, PastEvent, Redo, Room, Store, StoreError};

use super::committer::{Action, ChangeRefused};
use super::jobs::{Job, RUNNING_MAX};
use super::{ChangeError, Pipeline, hooks};

/// Dead letters of one page.
const PAGE: usize = 500;
/// A replay waits while its hook is owed this much: the rest is read when it is its turn, and what waits needs memory.
const AHEAD: u64 = 10_000;
/// How often it looks again.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What is done about many dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bulk {
    /// They are queued again.
    Retry,
    /// They are removed.
    Delete,
}

/// Which retained events are queued again for a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Range {
    /// Accepted at this time or later.
    pub from: Option<Timestamp>,
    /// Accepted before this time.
    pub to: Option<Timestamp>,
    /// Only those that were never attempted for it.
    pub missing: bool,
}

/// Why nothing was done about a delivery.
#[derive(Debug, thiserror::Error)]
pub enum RedoError {
    /// There is no such delivery, or nothing is kept of it.
    #[error("not found")]
    NotFound,
    /// Its state does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// The store, or the host stops.
    #[error("{0}")]
    Change(ChangeError),
}

impl Pipeline {
    /// Has one delivery attempted again: at once if it waits for its next attempt, as a new delivery if it has ended. Gives the delivery that is
    /// queued now.
    pub async fn retry(&self, id: DeliveryId) -> Result<DeliveryId, RedoError> {
        let delivery = self.delivery(id).await?;
        let next = DeliveryId { generation: id.generation.next(), ..id };
        let (redo, queued) = match delivery.state {
            DeliveryState::Queued => return Err(RedoError::Conflict("it is queued already".into())),
            DeliveryState::Running => return Err(RedoError::Conflict("it is being attempted just now".into())),
            DeliveryState::Retrying => (Redo::Hasten(id), id),
            DeliveryState::Exhausted | DeliveryState::Quarantined => (Redo::Retry(id), next),
            DeliveryState::Delivered | DeliveryState::Canceled => (Redo::Replay(id), next),
        };
        if self.catalog().hook_by_no(id.hook).is_none() {
            return Err(RedoError::Conflict("its hook is deleted".into()));
        }
        if delivery.event.is_none() {
            return Err(RedoError::Conflict("its event is no longer kept (setting store.retention_age)".into()));
        }
        let done = self.redo(vec![redo]).await.map_err(RedoError::Change)?;
        if done == 0 {
            return Err(RedoError::Conflict("it went on in the meantime".into()));
        }
        Ok(queued)
    }

    /// Takes back one delivery that is owed. A running attempt ends as it ends, and that no longer counts.
    pub async fn cancel(&self, id: DeliveryId) -> Result<(), RedoError> {
        let delivery = self.delivery(id).await?;
        let done = self.redo(vec![Redo::Cancel(id)]).await.map_err(RedoError::Change)?;
        if done == 0 {
            return Err(RedoError::Conflict(format!("it is {} already", delivery.state.as_str())));
        }
        Ok(())
    }

    async fn delivery(&self, id: DeliveryId) -> Result<DeliveryRecord, RedoError> {
        let found = self.read(move |store| store.delivery(id)).await;
        found.map_err(|error| RedoError::Change(ChangeError::Store(error)))?.ok_or(RedoError::NotFound)
    }

    /// Starts a job over the dead letters that `filter` finds.
    pub fn bulk(&self, what: Bulk, filter: DeadLetterFilter) -> Result<Arc<Job>, ChangeError> {
        let kind = match what {
            Bulk::Retry => "dead-letters-retry",
            Bulk::Delete => "dead-letters-delete",
        };
        let job = self.start_job(kind, |pipeline, job| async move { pipeline.redo_dead(&job, what, filter).await });
        job.ok_or_else(too_many)
    }

    /// How many dead letters `filter` finds.
    pub async fn count_dead(&self, filter: DeadLetterFilter) -> Result<u64, ChangeError> {
        let counted = self.read(move |store| {
            let (mut count, mut offset) = (0, None);
            loop {
                let page = store.dead_letters(&filter, offset.as_deref(), PAGE)?;
                count += page.items.len() as u64;
                match page.next {
                    Some(next) => offset = Some(next),
                    None => return Ok(count),
                }
            }
        });
        counted.await.map_err(ChangeError::Store)
    }

    async fn redo_dead(&self, job: &Job, what: Bulk, filter: DeadLetterFilter) -> Result<(), String> {
        let filter = Arc::new(filter);
        let mut offset: Option<String> = None;
        while !job.is_canceled() {
            if what == Bulk::Retry && !self.wait_for_room(job, None).await {
                break;
            }
            let (filter, at) = (filter.clone(), offset.take());
            let page = self.read(move |store| store.dead_letters(&filter, at.as_deref(), PAGE)).await?;
            let redo = |id| match what {
                Bulk::Retry => Redo::Retry(id),
                Bulk::Delete => Redo::Forget(id),
            };
            let looked_at = page.items.len() as u64;
            let done = self.redo(page.items.iter().map(|letter| redo(letter.id)).collect()).await.map_err(|error| error.to_string())?;
            job.count(looked_at, done);
            match page.next {
                Some(next) => offset = Some(next),
                None => break,
            }
        }
        Ok(())
    }

    /// Starts a job that queues retained events again for a hook: those that the hook as it is now listens to.
    pub fn replay(&self, hook: HookNo, range: Range) -> Result<Arc<Job>, ChangeError> {
        let job = self.start_job("replay", |pipeline, job| async move { pipeline.replay_range(&job, hook, range).await });
        job.ok_or_else(too_many)
    }

    /// How many events a replay would queue.
    pub async fn count_replay(&self, hook: HookNo, range: Range) -> Result<u64, ChangeError> {
        let catalog = self.catalog();
        let hook = catalog.hook_by_no(hook).cloned().ok_or(ChangeError::NotFound)?;
        let counted = self.read(move |store| {
            let (mut at, end) = store.event_numbers(range.from, range.to);
            let mut count = 0;
            while at < end {
                let (events, next) = store.past_events(at)?;
                count += to_replay(store, &hook, range, &events)?.len() as u64;
                let Some(next) = next else { break };
                at = next;
            }
            Ok(count)
        });
        counted.await.map_err(ChangeError::Store)
    }

    async fn replay_range(&self, job: &Job, no: HookNo, range: Range) -> Result<(), String> {
        let (mut at, end) = self.store().event_numbers(range.from, range.to);
        while at < end && self.wait_for_room(job, Some(no)).await {
            let Some(hook) = self.catalog().hook_by_no(no).cloned() else { return Err("the hook was deleted".into()) };
            let (looked_at, redo, next) = self
                .read(move |store| {
                    let (events, next) = store.past_events(at)?;
                    Ok((events.len() as u64, to_replay(store, &hook, range, &events)?, next))
                })
                .await?;
            job.count(looked_at, 0);
            for some in redo.chunks(PAGE) {
                let done = self.redo(some.to_vec()).await.map_err(|error| error.to_string())?;
                job.count(0, done);
                if !self.wait_for_room(job, Some(no)).await {
                    return Ok(());
                }
            }
            let Some(next) = next else { break };
            at = next;
        }
        Ok(())
    }

    /// Waits until there is room for more deliveries, of this hook and of all. False: the job was canceled.
    async fn wait_for_room(&self, job: &Job, hook: Option<HookNo>) -> bool {
        loop {
            let is_full = hook.is_some_and(|hook| self.store().counts(hook).owed >= AHEAD) || self.store().room() != Room::Ok;
            if job.is_canceled() || !is_full {
                return !job.is_canceled();
            }
            tokio::select! {
                () = job.canceled() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Hands these to the one loop; how many of them still applied.
    pub(super) async fn redo(&self, wanted: Vec<Redo>) -> Result<u64, ChangeError> {
        if wanted.is_empty() {
            return Ok(0);
        }
        let done = Arc::default();
        let action = Action::Redo { wanted, done: Arc::clone(&done) };
        hooks::change(self, action).await.map_err(|refused| match refused {
            ChangeRefused::Conflict => ChangeError::Busy("the host is busy; try again".into()),
            ChangeRefused::Error(error) => error,
        })?;
        Ok(std::sync::atomic::AtomicU64::load(&done, std::sync::atomic::Ordering::Relaxed))
    }

    /// Reads from the store where that may block.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, String> {
        let store = self.store().clone();
        let joined = tokio::task::spawn_blocking(move || read(&store)).await;
        joined.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }
}

fn too_many() -> ChangeError {
    ChangeError::Busy(format!("{RUNNING_MAX} jobs run already; wait for one, or cancel it"))
}

/// What a replay queues of these events.
fn to_replay(store: &Store, hook: &Hook, range: Range, events: &[PastEvent]) -> Result<Vec<Redo>, StoreError> {
    let in_range =
        |past: &&PastEvent| range.from.is_none_or(|from| past.accepted_at >= from) && range.to.is_none_or(|to| past.accepted_at < to);
    let heard = |past: &&PastEvent| hears(&hook.source, hook.event.as_deref(), &past.event.source, &past.event.name);
    let wanted: Vec<EventNo> = events.iter().filter(in_range).filter(heard).map(|past| past.event.no).collect();
    let (Some(first), Some(last)) = (wanted.first(), wanted.last()) else { return Ok(Vec::new()) };
    let settled: BTreeMap<EventNo, Generation> = store.generations(hook.no, *first, *last)?;
    let mut redo = Vec::new();
    for event in wanted {
        // What still waits is delivered anyway.
        if !store.owed_generations(hook.no, event).is_empty() {
            continue;
        }
        let newest = settled.get(&event).copied();
        if range.missing && was_attempted(store, hook.no, event, newest)? {
            continue;
        }
        redo.push(Redo::Replay(DeliveryId { event, hook: hook.no, generation: newest.unwrap_or_default() }));
    }
    Ok(redo)
}

/// Was any of an event's deliveries for this hook attempted?
fn was_attempted(store: &Store, hook: HookNo, event: EventNo, newest: Option<Generation>) -> Result<bool, StoreError> {
    let Some(newest) = newest else { return Ok(false) };
    for generation in (0..=newest.0).map(Generation) {
        let kept = store.delivery(DeliveryId { event, hook, generation })?;
        if kept.is_some_and(|delivery| !delivery.attempts.is_empty()) {
            return Ok(true);
        }
    }
    Ok(false)
}
