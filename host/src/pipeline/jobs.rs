//! Long work for an operator, done in the background: how far it is, and how it is stopped. Jobs live as long as the process; what they have done is
//! on disk step by step, so a job that a restart cut short is simply asked for again.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::model::{Clock, Timestamp};

use super::Pipeline;

/// Jobs at a time; one more is refused.
pub(super) const RUNNING_MAX: usize = 4;
/// Jobs that are remembered; the oldest that has ended goes first.
const KEPT_MAX: usize = 100;

/// All jobs of this process.
#[derive(Default)]
pub(super) struct Jobs(Mutex<VecDeque<Arc<Job>>>);

/// One job.
#[derive(Debug)]
pub struct Job {
    /// `job_` and a UUID.
    pub id: String,
    /// What it does: `dead-letters-retry`, `dead-letters-delete`, `replay`.
    pub kind: &'static str,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// Entries looked at so far.
    pub looked_at: AtomicU64,
    /// Of those, the ones that something was done about.
    pub done: AtomicU64,
    end: Mutex<Option<(Timestamp, JobEnd)>>,
    cancel: CancellationToken,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEnd {
    /// All of it is done.
    Done,
    /// It was canceled; what was done stays done.
    Canceled,
    /// It could not go on.
    Failed(String),
}

impl Job {
    fn new(kind: &'static str, clock: &Clock, stopping: &CancellationToken) -> Self {
        Self {
            id: format!("job_{}", uuid::Uuid::new_v4().simple()),
            kind,
            created_at: clock.now(),
            looked_at: AtomicU64::new(0),
            done: AtomicU64::new(0),
            end: Mutex::new(None),
            // A host that stops cancels its jobs.
            cancel: stopping.child_token(),
        }
    }

    /// How it ended and when; None while it runs.
    pub fn end(&self) -> Option<(Timestamp, JobEnd)> {
        lock(&self.end).clone()
    }

    /// Asks it to stop. It ends after the step that it is at.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    pub(super) fn is_canceled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    pub(super) async fn canceled(&self) {
        self.cancel.cancelled().await;
    }

    pub(super) fn count(&self, looked_at: u64, done: u64) {
        self.looked_at.fetch_add(looked_at, Ordering::Relaxed);
        self.done.fetch_add(done, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Jobs {
    /// The jobs that are remembered, newest first.
    pub(super) fn all(&self) -> Vec<Arc<Job>> {
        lock(&self.0).iter().rev().cloned().collect()
    }

    fn begin(&self, job: Job) -> Option<Arc<Job>> {
        let mut jobs = lock(&self.0);
        if jobs.iter().filter(|job| job.end().is_none()).count() >= RUNNING_MAX {
            return None;
        }
        while jobs.len() >= KEPT_MAX {
            let oldest = jobs.iter().position(|job| job.end().is_some())?;
            jobs.remove(oldest);
        }
        let job = Arc::new(job);
        jobs.push_back(job.clone());
        Some(job)
    }
}

impl Pipeline {
    /// The jobs of this process that are remembered, newest first.
    pub fn jobs(&self) -> Vec<Arc<Job>> {
        self.0.jobs.all()
    }

    /// Starts a job. None: as many run as may.
    pub(super) fn start_job<F>(&self, kind: &'static str, work: impl FnOnce(Pipeline, Arc<Job>) -> F) -> Option<Arc<Job>>
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let inner = &self.0;
        let job = inner.jobs.begin(Job::new(kind, &inner.clock, &inner.stopping))?;
        let work = work(self.clone(), job.clone());
        let (clock, ended) = (inner.clock.clone(), job.clone());
        // Tracked as attempts are: a stop waits for the step that it is at.
        inner.attempts.spawn(async move {
            let end = match work.await {
                Err(error) => JobEnd::Failed(error),
                Ok(()) if ended.is_canceled() => JobEnd::Canceled,
                Ok(()) => JobEnd::Done,
            };
            let (looked_at, done) = (ended.looked_at.load(Ordering::Relaxed), ended.done.load(Ordering::Relaxed));
            tracing::info!(job = ended.id, kind = ended.kind, looked_at, done, ?end, "job.ended");
            *lock(&ended.end) = Some((clock.now(), end));
        });
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_run_and_the_oldest_that_ended_is_forgotten() {
        let (jobs, clock, stopping) = (Jobs::default(), Clock::default(), CancellationToken::new());
        let begin = || jobs.begin(Job::new("replay", &clock, &stopping));
        let first = begin().unwrap();
        for _ in 1..RUNNING_MAX {
            begin().unwrap();
        }
        assert!(begin().is_none());
        for _ in 0..2 * KEPT_MAX {
            let running = jobs.all().into_iter().rev().find(|job| job.end().is_none() && job.id != first.id).unwrap();
            *lock(&running.end) = Some((Timestamp(0), JobEnd::Done));
            begin().unwrap();
        }
        assert_eq!(jobs.all().len(), KEPT_MAX);
        assert!(jobs.all().iter().any(|job| job.id == first.id), "what runs is remembered");
        stopping.cancel();
        assert!(first.is_canceled());
    }
}
