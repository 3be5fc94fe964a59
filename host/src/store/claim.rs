//! A claim: the right to attempt one delivery. It is in memory only, and a crash gives all of them back.

use std::sync::Arc;

use super::shared::Shared;
use crate::model::{DeliveryId, Timestamp};

/// Consumed by `Group::settle`. Dropped, it gives the delivery back as it was.
pub struct Claim {
    /// Which delivery.
    pub id: DeliveryId,
    /// Attempts so far.
    pub spent: u32,
    /// When the first one started; None before it.
    pub first_tried: Option<Timestamp>,
    /// Attempts so far in which the handler crashed.
    pub crashes: u32,
    /// None once it is settled.
    pub(super) owner: Option<Arc<Shared>>,
}

impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Claim({}, {} spent)", self.id, self.spent)
    }
}

impl Claim {
    /// It was settled; there is nothing to give back.
    pub(super) fn settled(mut self) {
        self.owner = None;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(owner) = &self.owner {
            let mut state = owner.state();
            if let Some(entry) = state.hooks.get_mut(&self.id.hook) {
                entry.queue.give_back((self.id.event, self.id.generation));
            }
        }
    }
}
