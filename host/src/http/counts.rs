//! How many requests each door answered, by class of status.

use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;

use super::door::DOORS;
use super::listen::Door;

/// The classes of status that a door answers with, as labels.
pub(crate) const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Counters since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts([[AtomicU64; CLASSES.len()]; DOORS.len()]);

impl Counts {
    /// Counts an answer.
    pub(crate) fn answered(&self, door: Door, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        self.0[door as usize][class].fetch_add(1, Ordering::Relaxed);
    }

    /// Door, class, number.
    pub(crate) fn read(&self) -> impl Iterator<Item = (Door, &'static str, u64)> + '_ {
        DOORS.into_iter().flat_map(move |door| {
            let of_door = &self.0[door as usize];
            CLASSES.into_iter().zip(of_door).map(move |(class, count)| (door, class, count.load(Ordering::Relaxed)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_door_and_class() {
        let counts = Counts::default();
        counts.answered(Door::Admin, StatusCode::NOT_FOUND);
        counts.answered(Door::Admin, StatusCode::CONFLICT);
        counts.answered(Door::Events, StatusCode::ACCEPTED);
        let some: Vec<_> = counts.read().filter(|(_, _, count)| *count > 0).collect();
        assert_eq!(some, [(Door::Events, "2xx", 1), (Door::Admin, "4xx", 2)]);
    }
}
