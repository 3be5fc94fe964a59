//! Events, hooks and stores for the tests.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{
    AttemptSummary, Clock, DeliverySettings, Event, EventId, EventNo, Failure, FailureCode, Hook, HookLimits, HookNo, JsonText, Origin,
    Timestamp, Usage,
};
use crate::store::{Accept, Change, Durability, EncodedEvent, Limits, Opened, Seam, Settled, Settlement, Writer, open};

/// Small segments, no thread.
pub(super) fn limits() -> Limits {
    Limits { background: false, disk_floor: 0, segment_bytes: 64 * 1024, ..Limits::default() }
}

pub(super) fn open_plain(dir: &Path) -> Opened {
    open(dir, limits(), Clock::default(), Seam::default()).unwrap()
}

pub(super) fn event(tag: u64, bytes: usize) -> Event {
    Event {
        no: EventNo(0),
        id: EventId::new(1_700_000_000_000 + tag as i64),
        source: Arc::from("shop"),
        name: Arc::from("sold"),
        time: Timestamp(1_700_000_000_000 + tag as i64),
        data: JsonText::from_checked(format!("{{\"tag\":{tag},\"pad\":\"{}\"}}", pad(tag, bytes))),
        key: None,
        attributes: vec![("traceparent".into(), format!("00-{tag:032x}"))],
        origin: Origin::Handler { depth: 1 },
    }
}

/// Text that does not compress to nothing.
pub(super) fn pad(tag: u64, bytes: usize) -> String {
    let mut x = tag.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut text = String::with_capacity(bytes);
    while text.len() < bytes {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        text.push(char::from(b'a' + (x % 26) as u8));
    }
    text
}

pub(super) fn accept(tag: u64, owes: &[u32]) -> Accept {
    let owes = owes.iter().copied().map(HookNo).collect();
    Accept { event: EncodedEvent::new(event(tag, 60)), owes, not_queued: Vec::new(), remember: None, throttle: Vec::new() }
}

pub(super) fn hook(no: u32) -> Hook {
    Hook {
        no: HookNo(no),
        revision: 1,
        id: uuid::Uuid::from_u128(u128::from(no)),
        source: "shop".into(),
        event: None,
        handler: "webhook".into(),
        on_change: None,
        snooze: Some(3),
        config: serde_json::json!({"url": "https://example.com", "secret": "sesame-sesame", "n": no}),
        created_at: 1,
        updated_at: 2,
        name: Some(format!("hook-{no}")),
        tags: None,
        description: None,
        enabled: None,
        paused: None,
        filter: None,
        delivery: DeliverySettings::default(),
        limits: HookLimits::default(),
    }
}

pub(super) fn change(writer: &mut Writer, change: Change) {
    let mut group = writer.begin();
    group.change(change);
    group.commit(Durability::Synced).unwrap();
}

pub(super) fn accept_all(writer: &mut Writer, accepts: Vec<Accept>) -> Vec<EventNo> {
    let mut group = writer.begin();
    let numbers = accepts.into_iter().map(|accept| group.accept(accept)).collect();
    group.commit(Durability::Synced).unwrap();
    numbers
}

pub(super) fn attempt(number: u32, failed: bool) -> AttemptSummary {
    AttemptSummary {
        number,
        started: Timestamp(5),
        duration_ms: 7,
        usage: Usage { fuel: 1, memory_bytes: 2, instantiate_us: 3, run_us: 4, reused: true },
        status: Some(if failed { 500 } else { 200 }),
        failure: failed.then(|| Failure { code: FailureCode::TooLarge, detail: "500".into(), after: Some(Duration::from_millis(9)) }),
        logs: Vec::new(),
        calls: Vec::new(),
        response_headers: vec![("a".into(), "b".into())],
        response_body: "no".into(),
    }
}

pub(super) fn settlement(verdict: Settled, number: u32) -> Settlement {
    let failed = verdict != Settled::Delivered;
    Settlement { verdict, attempt: Some(attempt(number, failed)), hook_state: None }
}

pub(super) fn retry_at(due: i64, spent: u32) -> Settled {
    Settled::RetryAt { due: Timestamp(due), spent, first_tried: Timestamp(1), crashes: 0 }
}

pub(super) fn open_with(dir: &Path, limits: Limits) -> Opened {
    open(dir, limits, Clock::default(), Seam::default()).unwrap()
}

/// Claims and settles the next `count` deliveries of hook 1 in one commit.
pub(super) fn settle(opened: &mut Opened, count: usize, verdict: &Settled) {
    let mut group = opened.writer.begin();
    for _ in 0..count {
        group.settle(opened.store.claim_first(HookNo(1)).unwrap(), settlement(verdict.clone(), 1));
    }
    group.commit(Durability::Synced).unwrap();
}

/// Until housekeeping changes nothing any more.
pub(super) fn settle_down(opened: &mut Opened) {
    for _ in 0..6 {
        while opened.writer.maintain().unwrap() {}
        opened.writer.tend().unwrap();
    }
}
