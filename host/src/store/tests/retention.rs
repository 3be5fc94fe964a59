//! What is kept, what goes, and what is copied first.

use std::time::Duration;

use super::support::{accept, accept_all, change, event, hook, limits, open_with, retry_at, settle, settle_down};
use crate::model::{EventNo, HookNo, Timestamp};
use crate::store::{Accept, Change, ContentHash, DeadKind, DeadLetterFilter, EncodedEvent, Limits, Opened, Room, Settled};

const H1: HookNo = HookNo(1);

fn keeps_nothing() -> Limits {
    Limits { retention_bytes: 0, idle_seal: Duration::ZERO, segment_bytes: 20_000, ..limits() }
}

/// Accepts `count` events of 500 bytes, ten a commit.
fn fill(opened: &mut Opened, count: u64) {
    for batch in 0..count / 10 {
        let accepts = (0..10).map(|i| Accept { event: EncodedEvent::new(event(batch * 10 + i, 500)), ..accept(0, &[1]) });
        accept_all(&mut opened.writer, accepts.collect());
    }
}

#[test]
fn with_no_retention_a_drained_journal_is_one_empty_segment() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_with(dir.path(), keeps_nothing());
    change(&mut opened.writer, Change::PutHook(hook(1)));
    fill(&mut opened, 300);
    let full = opened.store.stats();
    assert!(full.segments > 5, "{full:?}");
    settle_down(&mut opened);
    assert!(opened.store.stats().segments >= full.segments - 1, "backlog stays");
    settle(&mut opened, 300, &Settled::Delivered);
    settle_down(&mut opened);
    let stats = opened.store.stats();
    assert_eq!((stats.segments, stats.owed), (1, 0));
    drop(opened);
    let opened = open_with(dir.path(), keeps_nothing());
    assert!(opened.notes.is_empty(), "{:?}", opened.notes);
    assert_eq!(opened.store.event(EventNo(3)).unwrap(), None);
    let left: Vec<_> = std::fs::read_dir(dir.path().join("journal")).unwrap().flatten().map(|e| e.file_name()).collect();
    assert!(left.len() <= 4, "{left:?}");
}

#[test]
fn stragglers_are_copied_with_all_that_is_known_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_with(dir.path(), keeps_nothing());
    change(&mut opened.writer, Change::PutHook(hook(1)));
    fill(&mut opened, 300);
    settle(&mut opened, 1, &retry_at(4242, 3));
    settle(&mut opened, 60, &Settled::Delivered);
    settle(&mut opened, 1, &Settled::Dead { kind: DeadKind::Exhausted, reason: "refused".into() });
    settle(&mut opened, 237, &Settled::Delivered);
    settle_down(&mut opened);
    assert!(opened.store.stats().segments <= 2, "{:?}", opened.store.stats());
    for _ in 0..3 {
        // Event 1 waits, event 62 is dead, event 300 was never attempted.
        for no in [1, 62, 300] {
            let event = opened.store.event(EventNo(no)).unwrap().unwrap_or_else(|| panic!("event {no}"));
            assert_eq!(event.no, EventNo(no));
            assert!(event.data.as_str().contains(&format!("\"tag\":{},", no - 1)));
        }
        let claim = opened.store.claim_due(H1, Timestamp::FAR).unwrap();
        assert_eq!((claim.id.event, claim.spent, claim.first_tried), (EventNo(1), 3, Some(Timestamp(1))));
        assert_eq!(opened.store.next_due(H1), None);
        drop(claim);
        assert_eq!(opened.store.next_due(H1), Some(Timestamp(4242)));
        let letters = opened.store.dead_letters(&DeadLetterFilter::default(), None, 10).unwrap().items;
        assert_eq!(letters.iter().map(|letter| letter.id.event).collect::<Vec<_>>(), [EventNo(62)]);
        assert_eq!(opened.store.counts(H1).owed, 2);
        // A restart, and then one that has only the export and the copies.
        opened.writer.close().unwrap();
        drop(opened.store);
        opened = open_with(dir.path(), keeps_nothing());
    }
    let current = std::fs::read_to_string(dir.path().join("catalog")).unwrap();
    drop(opened);
    std::fs::write(dir.path().join(current.trim()).join("db"), b"gone").unwrap();
    let opened = open_with(dir.path(), keeps_nothing());
    assert_eq!(opened.store.counts(H1).owed, 2, "{:?}", opened.notes);
    assert_eq!(opened.store.next_due(H1), Some(Timestamp(4242)));
    assert_eq!(opened.store.dead_letters(&DeadLetterFilter::default(), None, 10).unwrap().items.len(), 1);
}

#[test]
fn retention_keeps_its_bytes_and_backlog_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let kept = Limits { retention_bytes: 60_000, ..keeps_nothing() };
    let mut opened = open_with(dir.path(), kept);
    change(&mut opened.writer, Change::PutHook(hook(1)));
    fill(&mut opened, 500);
    settle(&mut opened, 250, &Settled::Delivered);
    settle_down(&mut opened);
    assert_eq!(opened.store.event(EventNo(20)).unwrap(), None, "done and too much");
    assert!(opened.store.event(EventNo(245)).unwrap().is_some(), "done and kept");
    assert!((251..=500).all(|no| opened.store.event(EventNo(no)).unwrap().is_some()), "owed");
}

#[test]
fn keys_outlive_their_segments() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_with(dir.path(), keeps_nothing());
    change(&mut opened.writer, Change::PutHook(hook(1)));
    let key = opened.store.fingerprint("shop", "order-1");
    accept_all(&mut opened.writer, vec![Accept { remember: Some((key, ContentHash([1; 16]))), ..accept(1, &[]) }]);
    settle_down(&mut opened);
    assert_eq!(opened.store.event(EventNo(1)).unwrap(), None);
    for _ in 0..2 {
        assert_eq!(opened.writer.begin().remembered(&key).unwrap().content, ContentHash([1; 16]));
        assert_eq!(opened.store.stats().keys, 1);
        drop(opened);
        opened = open_with(dir.path(), keeps_nothing());
    }
    drop(opened);
    let mut opened = open_with(dir.path(), Limits { keys_age: Duration::ZERO, ..keeps_nothing() });
    settle_down(&mut opened);
    assert!(opened.writer.begin().remembered(&key).is_none());
    assert_eq!(opened.store.stats().keys, 0);
}

#[test]
fn dead_letters_end_at_their_bound_and_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let few = Limits { dead_letters_bytes: 2_000, ..keeps_nothing() };
    let mut opened = open_with(dir.path(), few);
    change(&mut opened.writer, Change::PutHook(hook(1)));
    fill(&mut opened, 40);
    settle(&mut opened, 40, &Settled::Dead { kind: DeadKind::Exhausted, reason: "refused".into() });
    assert_eq!(opened.store.stats().dead_letters, 40);
    settle_down(&mut opened);
    let stats = opened.store.stats();
    assert!(stats.dead_letters > 3 && stats.dead_letters < 20, "{stats:?}");
    assert_eq!(stats.dead_letters + stats.dead_letters_removed, 40);
    let letters = opened.store.dead_letters(&DeadLetterFilter::default(), None, 100).unwrap().items;
    assert_eq!(letters.len() as u64, stats.dead_letters);
    assert_eq!(letters[0].id.event, EventNo(40), "the oldest went");
    drop(opened);
    let old = Limits { dead_letters_age: Duration::ZERO, ..keeps_nothing() };
    let mut opened = open_with(dir.path(), old);
    settle_down(&mut opened);
    std::thread::sleep(Duration::from_millis(2));
    settle_down(&mut opened);
    assert_eq!(opened.store.stats().dead_letters, 0);
}

#[test]
fn a_catalog_that_grew_is_written_anew_under_its_readers() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_with(dir.path(), limits());
    change(&mut opened.writer, Change::PutHook(hook(1)));
    fill(&mut opened, 100);
    settle(&mut opened, 10, &Settled::Dead { kind: DeadKind::Exhausted, reason: "refused".into() });
    opened.writer.tend().unwrap();
    assert!(opened.store.0.catalog.rewrite_if_grown(Some(0)).unwrap());
    assert_eq!(opened.store.dead_letters(&DeadLetterFilter::default(), None, 100).unwrap().items.len(), 10);
    settle(&mut opened, 10, &Settled::Dead { kind: DeadKind::Exhausted, reason: "refused".into() });
    opened.writer.close().unwrap();
    drop(opened.store);
    let opened = open_with(dir.path(), limits());
    assert!(opened.notes.is_empty(), "{:?}", opened.notes);
    assert_eq!(opened.store.dead_letters(&DeadLetterFilter::default(), None, 100).unwrap().items.len(), 20);
    assert_eq!(opened.store.counts(H1).owed, 80);
}

#[test]
fn room_is_low_before_there_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open_with(dir.path(), limits());
    assert_eq!(opened.store.room(), Room::Ok);
    drop(opened);
    let opened = open_with(dir.path(), Limits { disk_floor: u64::MAX / 2, ..limits() });
    assert!(matches!(opened.store.room(), Room::Low { what: "free disk (bytes)", setting: "store.free_floor_bytes", .. }));
    drop(opened);
    let mut opened = open_with(dir.path(), Limits { queued_max: 10, ..limits() });
    change(&mut opened.writer, Change::PutHook(hook(1)));
    fill(&mut opened, 10);
    assert!(matches!(opened.store.room(), Room::Low { setting: "delivery.max_owed", floor: 10, .. }));
}
