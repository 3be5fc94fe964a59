//! Connections between two requests: a stack for each destination, the newest on top, so that those not needed grow old and are closed.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::client::Connection;
use super::request::Destination;
use super::{Limits, Tasks};
use crate::model::Clock;

/// Connections that are idle for too long are looked for this often at most, and at least.
const SWEEP_EVERY: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Pool {
    shelf: Mutex<Shelf>,
    idle: Duration,
    per_destination: usize,
    total: usize,
    tasks: Tasks,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Shelf {
    stacks: HashMap<Destination, Vec<Connection>>,
    /// In all stacks.
    count: usize,
    /// A task looks for old ones. It ends when nothing is left.
    swept: bool,
}

impl Pool {
    pub(super) fn new(limits: &Limits, tasks: Tasks, clock: Clock) -> Arc<Self> {
        let Limits { idle, idle_per_destination: per_destination, idle_total: total, .. } = *limits;
        Arc::new(Self { shelf: Mutex::default(), idle, per_destination, total, tasks, clock })
    }

    /// The connection that was used last.
    pub(super) fn take(&self, to: &Destination) -> Option<Connection> {
        let now = self.clock.instant();
        let mut shelf = self.lock();
        let stack = shelf.stacks.get_mut(to)?;
        let connection = stack.pop()?;
        shelf.count -= 1;
        drop(shelf);
        // Those below are older still; the sweep closes them.
        connection.idle_since().is_some_and(|since| now.saturating_duration_since(since) < self.idle).then_some(connection)
    }

    /// Keeps the connection for the next request. When there are too many, the oldest of some destination is closed.
    pub(super) fn put(self: &Arc<Self>, to: Destination, connection: Connection) {
        if self.tasks.stopping() || self.total == 0 || self.per_destination == 0 {
            return;
        }
        let mut shelf = self.lock();
        // Closing is a system call: what falls out is dropped after the lock.
        let fallen_out = shelf.put(to, connection, self.per_destination, self.total);
        let start = !std::mem::replace(&mut shelf.swept, true);
        drop(shelf);
        drop(fallen_out);
        if start {
            self.tasks.spawn(sweeping(Arc::downgrade(self), self.idle.clamp(*SWEEP_EVERY.start(), *SWEEP_EVERY.end())));
        }
    }

    /// Connections that wait for a request.
    pub(super) fn count(&self) -> usize {
        self.lock().count
    }

    /// Closes all.
    pub(super) fn clear(&self) {
        let mut shelf = self.lock();
        let all = std::mem::take(&mut shelf.stacks);
        shelf.count = 0;
        drop(shelf);
        drop(all);
    }

    /// Closes what is idle for too long. False when nothing is left, and then this was the last sweep.
    fn sweep(&self) -> bool {
        let now = self.clock.instant();
        let mut shelf = self.lock();
        let mut old = Vec::new();
        shelf.stacks.retain(|_, stack| {
            let fresh = |kept: &Connection| kept.idle_since().is_some_and(|since| now.saturating_duration_since(since) < self.idle);
            old.extend(stack.drain(..stack.iter().position(fresh).unwrap_or(stack.len())));
            !stack.is_empty()
        });
        shelf.count -= old.len();
        shelf.swept = !shelf.stacks.is_empty();
        let more = shelf.swept;
        drop(shelf);
        drop(old);
        more
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn put(&mut self, to: Destination, connection: Connection, per_destination: usize, total: usize) -> Option<Connection> {
        let stack = self.stacks.entry(to).or_default();
        let own = (stack.len() >= per_destination).then(|| stack.remove(0));
        stack.push(connection);
        self.count += 1 - usize::from(own.is_some());
        if own.is_some() || self.count <= total {
            return own;
        }
        // Any will do: whoever is busy comes back at once.
        let other = self.stacks.values_mut().find(|stack| !stack.is_empty()).map(|stack| stack.remove(0));
        self.count -= usize::from(other.is_some());
        other
    }
}

async fn sweeping(pool: Weak<Pool>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        if !pool.upgrade().is_some_and(|pool| pool.sweep()) {
            return;
        }
    }
}
