//! An event and an attempt to start from. Their fields are public: change what your test is about.

use std::time::Duration;

use serde_json::Value;

use crate::{Attempt, Event};

/// An event of this source, name and data.
pub fn event(source: &str, name: &str, data: Value) -> Event {
    Event {
        id: "evt_01890a5d-ac96-774b-bcce-b302099a8057".into(),
        source: source.into(),
        name: name.into(),
        time: "2023-07-01T00:00:00.000Z".into(),
        data: data.to_string(),
        attributes: Vec::new(),
        extra: Vec::new(),
    }
}

/// The first attempt of a delivery, with 30 s left.
pub fn attempt() -> Attempt {
    Attempt {
        delivery_id: "dlv_1".into(),
        hook_id: "c57340ab-9fed-40fd-bb7e-1cef8d37c2df".into(),
        number: 1,
        first_tried: "2023-07-01T00:00:00.000Z".into(),
        deadline: Duration::from_secs(30),
        test: false,
        seed: 4,
        extra: Vec::new(),
    }
}
