//! What one hook may be owed is bounded: `delivery.max_queued` deliveries, none older than `delivery.max_wait`. Beyond it the oldest become dead letters, which
//! an operator may retry; the producers of the other hooks notice nothing.

use std::time::Duration;

use crate::model::{DeliveryId, Hook, Timestamp};
use crate::store::{DeadKind, QueueBounds, Redo, TooMuch};

use super::{Pipeline, Settings};

/// How often the queues are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Deliveries given up in one commit.
const AT_ONCE: usize = 2_000;

/// Looks after the queues until the host stops.
pub(super) async fn run(pipeline: Pipeline) {
    let stopping = pipeline.0.stopping.clone();
    while !stopping.is_cancelled() {
        let given_up = pipeline.give_up().await;
        if given_up == AT_ONCE {
            continue;
        }
        tokio::select! {
            () = stopping.cancelled() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

impl Pipeline {
    /// Gives up the oldest of what is too much. How many were looked at; 0 also when the store cannot write.
    async fn give_up(&self) -> usize {
        let (settings, now) = (self.0.settings.load_full(), self.clock().now());
        let current = settings.clone();
        let looked = self.read(move |store| Ok(store.too_much(|hook| bounds(hook, &current, now), AT_ONCE))).await;
        let Some(beyond) = looked.ok().filter(|beyond| !beyond.is_empty()) else { return 0 };
        let found = beyond.len();
        let first = beyond.first().map(|(id, _)| id.hook);
        let wanted = beyond.into_iter().map(|(id, why)| Redo::Bury(id, DeadKind::Exhausted, self.reason(id, why, &settings))).collect();
        match self.redo(wanted).await {
            Ok(done) => {
                tracing::warn!(hook = ?first, deliveries = done, "queue-limit: the oldest deliveries of a hook became dead letters");
                found
            }
            Err(error) => {
                tracing::warn!(%error, "deliveries beyond a hook's bounds could not be given up; trying again");
                0
            }
        }
    }

    fn reason(&self, id: DeliveryId, why: TooMuch, settings: &Settings) -> String {
        let catalog = self.catalog();
        let delivery = catalog.hook_by_no(id.hook).map(|hook| &hook.delivery);
        match why {
            TooMuch::Queued => {
                let most = delivery.and_then(|delivery| delivery.max_queued).map_or(settings.max_queued, std::num::NonZeroU64::get);
                format!("queue-limit: more than {most} deliveries waited (delivery.max_queued)")
            }
            TooMuch::Wait => {
                let own = delivery.and_then(|delivery| delivery.max_wait).map(|seconds| u64::from(seconds.get()));
                format!("queue-limit: it waited longer than {} s (delivery.max_wait)", own.unwrap_or(settings.max_wait.as_secs()))
            }
        }
    }
}

fn bounds(hook: &Hook, settings: &Settings, now: Timestamp) -> QueueBounds {
    let most = hook.delivery.max_queued.map_or(settings.max_queued, std::num::NonZeroU64::get);
    let wait = hook.delivery.max_wait.map_or(settings.max_wait, |seconds| Duration::from_secs(seconds.get().into()));
    let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX / 4);
    QueueBounds { most, oldest: Timestamp(now.0.saturating_sub(wait)) }
}
