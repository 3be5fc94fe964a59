//! Names and numbers. Numbers are the store's and stay inside; ids are opaque text and are what people and receivers see.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The next number.
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// The number of an accepted event: dense, from 1, in the order of acceptance.
    EventNo(u64)
);
number!(
    /// The number of a hook: from 1, never reused, so that a deleted hook's deliveries can never reach its successor.
    HookNo(u32)
);
number!(
    /// The number of a commit in the journal: without gaps, from 1. A gap is a damage report.
    CommitNo(u64)
);
number!(
    /// Counts the replays of one event for one hook: 0 is the first delivery.
    Generation(u32)
);

/// An event's public id: `evt_` and a UUIDv7. Receivers see it as `webhook-id`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(pub Arc<str>);

impl EventId {
    /// A fresh id, ordered by `unix_millis`.
    pub fn new(unix_millis: i64) -> Self {
        let millis = u64::try_from(unix_millis).unwrap_or(0);
        let stamp = uuid::Timestamp::from_unix_time(millis / 1000, (millis % 1000) as u32 * 1_000_000, 0, 0);
        Self(format!("evt_{}", uuid::Uuid::new_v7(stamp).simple()).into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// When it was made: milliseconds since 1970. None for text that is no id of ours.
    pub fn unix_millis(&self) -> Option<i64> {
        let digits = self.0.strip_prefix("evt_").filter(|digits| digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        i64::from_str_radix(&digits[..12], 16).ok()
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One event for one hook. It has no row of its own: it exists because the event names the hook.
///
/// Its text form, `dlv_` and three numbers in hex, is opaque to callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeliveryId {
    /// The event.
    pub event: EventNo,
    /// The hook.
    pub hook: HookNo,
    /// Which replay.
    pub generation: Generation,
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dlv_{:010x}{:08x}{:04x}", self.event.0, self.hook.0, self.generation.0)
    }
}

impl FromStr for DeliveryId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let hex = text.strip_prefix("dlv_").ok_or(())?;
        if hex.len() < 22 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(());
        }
        // The event number may outgrow its ten digits; the two others stand at the end.
        let (event, rest) = hex.split_at(hex.len() - 12);
        let (hook, generation) = rest.split_at(8);
        Ok(Self {
            event: EventNo(u64::from_str_radix(event, 16).map_err(drop)?),
            hook: HookNo(u32::from_str_radix(hook, 16).map_err(drop)?),
            generation: Generation(u32::from_str_radix(generation, 16).map_err(drop)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_id_survives_its_text_form() {
        let id = DeliveryId { event: EventNo(0x00de_adbe_ef12), hook: HookNo(7), generation: Generation(3) };
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "dlv_", "dlv_zz", "evt_00000000010000000700000", "dlv_000000000100000007000é"] {
            assert!(wrong.parse::<DeliveryId>().is_err(), "{wrong}");
        }
    }
}
