//! What the store promises, one behaviour a test.

use super::support::{accept, accept_all, change, event, hook, limits, open_plain, retry_at, settlement};
use crate::model::{Clock, CommitNo, DeliveryId, EventNo, Generation, HookNo, HookState, Skip, ThrottleKey, ThrottleMark, Timestamp};
use crate::store::{
    Accept, Change, ContentHash, DeadKind, DeadLetterFilter, DeliveryState, Durability, EncodedEvent, Seam, Settled, Settlement,
    StoreError, open,
};

const H1: HookNo = HookNo(1);

#[test]
fn an_accepted_event_is_claimed_in_order_and_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_plain(dir.path());
    change(&mut opened.writer, Change::PutHook(hook(1)));
    let numbers = accept_all(&mut opened.writer, (0..5).map(|tag| accept(tag, &[1])).collect());
    assert_eq!(numbers, (1..=5).map(EventNo).collect::<Vec<_>>());
    let first = opened.store.claim_first(H1).unwrap();
    assert_eq!(first.id.event, EventNo(1));
    let mut group = opened.writer.begin();
    group.settle(first, settlement(Settled::Delivered, 1));
    group.commit(Durability::Lazy).unwrap();
    let second = opened.store.claim_first(H1).unwrap();
    assert!(opened.writer.unsynced_since().is_some());
    opened.writer.sync().unwrap();
    drop(opened);
    drop(second);

    let opened = open_plain(dir.path());
    assert!(opened.notes.is_empty(), "{:?}", opened.notes);
    assert_eq!(opened.store.hooks(), [std::sync::Arc::new(hook(1))]);
    assert_eq!(opened.store.counts(H1).owed, 4);
    let claim = opened.store.claim_first(H1).unwrap();
    assert_eq!(claim.id.event, EventNo(2));
    let found = opened.store.event(EventNo(2)).unwrap().unwrap();
    assert_eq!(*found, crate::model::Event { no: EventNo(2), id: found.id.clone(), ..event(1, 60) });
}

#[test]
fn a_dropped_claim_and_a_failed_commit_give_the_delivery_back() {
    let dir = tempfile::tempdir().unwrap();
    let disk = super::power::Disk::new(dir.path(), None);
    let mut opened = open(dir.path(), limits(), Clock::default(), disk.seam()).unwrap();
    change(&mut opened.writer, Change::PutHook(hook(1)));
    accept_all(&mut opened.writer, vec![accept(1, &[1])]);
    drop(opened.store.claim_first(H1).unwrap());
    let claim = opened.store.claim_first(H1).unwrap();
    disk.plan(super::power::Plan::Fail(crate::store::FaultPoint::Sync, 1, 5));
    let mut group = opened.writer.begin();
    group.settle(claim, settlement(Settled::Delivered, 1));
    assert!(matches!(group.commit(Durability::Synced), Err(StoreError::Io { .. })));
    assert_eq!(opened.store.counts(H1).owed, 1);
    assert_eq!(opened.store.counts(H1).running, 0);
    assert!(opened.store.health().is_err(), "after an I/O error nothing is written any more");
    let mut group = opened.writer.begin();
    group.accept(accept(2, &[1]));
    assert!(group.commit(Durability::Synced).is_err());
}

#[test]
fn every_verdict_leaves_the_delivery_where_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_plain(dir.path());
    change(&mut opened.writer, Change::PutHook(hook(1)));
    accept_all(&mut opened.writer, (0..5).map(|tag| accept(tag, &[1])).collect());
    let verdicts = [
        Settled::Delivered,
        retry_at(1000, 1),
        Settled::Dead { kind: DeadKind::Quarantined, reason: "trap".into() },
        Settled::Canceled,
        Settled::Released,
    ];
    let mut group = opened.writer.begin();
    for verdict in verdicts {
        // The claims borrow nothing of the group.
        let claim = opened.store.claim_first(H1).unwrap();
        let state = HookState { quarantines: 3, ..HookState::default() };
        group.settle(claim, Settlement { hook_state: Some(state), ..settlement(verdict, 1) });
    }
    group.commit(Durability::Synced).unwrap();
    for again in [false, true] {
        let states: Vec<_> = (1..=5)
            .map(|no| opened.store.delivery(DeliveryId { event: EventNo(no), hook: H1, generation: Generation(0) }).unwrap().unwrap().state)
            .collect();
        let wanted =
            [DeliveryState::Delivered, DeliveryState::Retrying, DeliveryState::Quarantined, DeliveryState::Canceled, DeliveryState::Queued];
        assert_eq!(states, wanted, "after a restart: {again}");
        assert_eq!(opened.store.hook_state(H1).quarantines, 3);
        assert_eq!(opened.store.next_due(H1), Some(Timestamp(1000)));
        assert!(opened.store.claim_due(H1, Timestamp(999)).is_none());
        let due = opened.store.claim_due(H1, Timestamp(1000)).unwrap();
        assert_eq!((due.spent, due.first_tried, due.id.event), (1, Some(Timestamp(1)), EventNo(2)));
        drop(due);
        let letters = opened.store.dead_letters(&DeadLetterFilter::default(), None, 10).unwrap();
        assert_eq!(letters.items.len(), 1);
        assert_eq!(letters.items[0].reason, "trap");
        assert_eq!(&*letters.items[0].event.as_ref().unwrap().source, "shop");
        assert!(letters.items[0].attempt.as_ref().unwrap().failure.is_some());
        if !again {
            opened.writer.tend().unwrap();
            opened.writer.close().unwrap();
            drop(opened.store);
            opened = open_plain(dir.path());
        }
    }
}

#[test]
fn a_group_sees_its_own_decisions_and_so_does_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_plain(dir.path());
    change(&mut opened.writer, Change::PutHook(hook(1)));
    let key = opened.store.fingerprint("shop", "order-1");
    let mark_key = ThrottleKey([4; 16]);
    let mark = ThrottleMark { digest: [5; 16], until: Timestamp(77) };
    let mut group = opened.writer.begin();
    assert!(group.remembered(&key).is_none() && group.throttle_mark(H1, 1, &mark_key).is_none());
    let keyed = Accept {
        remember: Some((key, ContentHash([9; 16]))),
        throttle: vec![(H1, 1, mark_key, mark)],
        not_queued: vec![(HookNo(2), Skip::Snoozed)],
        owes: vec![H1, HookNo(99)],
        ..accept(1, &[])
    };
    group.accept(keyed);
    let remembered = group.remembered(&key).unwrap();
    assert_eq!((remembered.content, remembered.deliveries), (ContentHash([9; 16]), 1), "hook 99 does not exist");
    assert_eq!(group.throttle_mark(H1, 1, &mark_key), Some(mark));
    assert_eq!(group.throttle_mark(H1, 2, &mark_key), None, "another revision");
    group.commit(Durability::Synced).unwrap();
    for _ in 0..3 {
        let group = opened.writer.begin();
        assert_eq!(group.remembered(&key).as_ref(), Some(&remembered));
        assert_eq!(group.throttle_mark(H1, 1, &mark_key), Some(mark));
        drop(group);
        opened.writer.close().unwrap();
        drop(opened.store);
        opened = open_plain(dir.path());
    }
}

#[test]
fn a_group_that_is_dropped_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_plain(dir.path());
    let mut group = opened.writer.begin();
    assert!(group.is_empty());
    assert_eq!(group.next_hook_no(), H1);
    group.change(Change::PutHook(hook(1)));
    assert_eq!((group.next_hook_no(), group.hook_revision(H1)), (HookNo(2), Some(1)));
    group.change(Change::DeleteHook(H1));
    assert!(!group.hook_exists(H1) && group.bytes() > 0);
    drop(group);
    assert_eq!(opened.writer.begin().next_hook_no(), H1);
    assert_eq!(opened.writer.begin().commit(Durability::Synced).unwrap(), None);
    assert_eq!(opened.store.stats().last_commit, 0);
    change(&mut opened.writer, Change::PutHook(hook(1)));
    change(&mut opened.writer, Change::DeleteHook(H1));
    assert_eq!(opened.writer.begin().next_hook_no(), HookNo(2), "numbers are never used again");
}

#[test]
fn events_of_every_size_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_plain(dir.path());
    change(&mut opened.writer, Change::PutHook(hook(1)));
    let sizes = [0, 100, 4096, 16_383, 49_153, 100_000, 1 << 20];
    let events: Vec<_> = sizes.iter().enumerate().map(|(tag, bytes)| event(tag as u64, *bytes)).collect();
    let accepts = events.iter().map(|event| Accept { event: EncodedEvent::new(event.clone()), ..accept(0, &[1]) });
    accept_all(&mut opened.writer, accepts.collect());
    drop(opened);
    let opened = open_plain(dir.path());
    for (no, event) in (1..).map(EventNo).zip(events) {
        assert_eq!(*opened.store.event(no).unwrap().unwrap(), crate::model::Event { no, ..event });
    }
}

#[test]
fn two_hosts_cannot_have_one_folder() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open_plain(dir.path());
    let Err(error) = open(dir.path(), limits(), Clock::default(), Seam::default()) else { panic!("it opened twice") };
    assert!(matches!(&error, StoreError::Conflict(text) if text.contains("another tenterhook uses this data folder")), "{error}");
}

#[test]
fn a_newer_folder_is_refused_and_so_is_a_wrong_key() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_plain(dir.path());
    change(&mut opened.writer, Change::PutHook(hook(1)));
    drop(opened);
    let other = crate::store::Limits { key: Some([1; 32]), ..limits() };
    let Err(error) = open(dir.path(), other, Clock::default(), Seam::default()) else { panic!("it opened with another key") };
    assert!(error.to_string().contains("sealed with another key"), "{error}");
    std::fs::write(dir.path().join("format"), "2\n").unwrap();
    let Err(error) = open(dir.path(), limits(), Clock::default(), Seam::default()) else { panic!("it opened a newer format") };
    assert!(error.to_string().contains("has format 2, and this version knows formats up to 1"), "{error}");
}

#[test]
fn a_config_is_nowhere_on_disk_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_plain(dir.path());
    change(&mut opened.writer, Change::PutHook(hook(1)));
    opened.writer.close().unwrap();
    drop(opened.store);
    fn search(dir: &std::path::Path) {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            if entry.path().is_dir() {
                search(&entry.path());
            } else {
                let bytes = std::fs::read(entry.path()).unwrap();
                assert!(!bytes.windows(13).any(|w| w == b"sesame-sesame"), "{}", entry.path().display());
            }
        }
    }
    search(dir.path());
}

#[test]
fn deleting_a_hook_cancels_what_waits_and_a_running_attempt_may_still_settle() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_plain(dir.path());
    change(&mut opened.writer, Change::PutHook(hook(1)));
    change(&mut opened.writer, Change::PutHook(hook(2)));
    accept_all(&mut opened.writer, (0..3).map(|tag| accept(tag, &[1, 2])).collect());
    let running = opened.store.claim_first(H1).unwrap();
    change(&mut opened.writer, Change::DeleteHook(H1));
    let mut group = opened.writer.begin();
    group.settle(running, settlement(Settled::Delivered, 1));
    group.commit(Durability::Synced).unwrap();
    for _ in 0..2 {
        assert_eq!((opened.store.counts(H1).owed, opened.store.stats().owed), (0, 3));
        assert_eq!(opened.store.owing_hooks(), [HookNo(2)]);
        opened.writer.close().unwrap();
        drop(opened.store);
        opened = open_plain(dir.path());
    }
}

#[test]
fn a_dead_letter_is_replayed_as_the_next_generation() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_plain(dir.path());
    change(&mut opened.writer, Change::PutHook(hook(1)));
    accept_all(&mut opened.writer, (0..2).map(|tag| accept(tag, &[1])).collect());
    let claim = opened.store.claim_first(H1).unwrap();
    let id = claim.id;
    let mut group = opened.writer.begin();
    group.settle(claim, settlement(Settled::Dead { kind: DeadKind::Exhausted, reason: "refused".into() }, 1));
    group.commit(Durability::Synced).unwrap();
    opened.writer.tend().unwrap();
    change(&mut opened.writer, Change::Replay(id));
    for _ in 0..3 {
        assert!(opened.store.dead_letters(&DeadLetterFilter::default(), None, 10).unwrap().items.is_empty());
        let first = opened.store.claim_first(H1).unwrap();
        let second = opened.store.claim_first(H1).unwrap();
        assert_eq!(second.id, DeliveryId { generation: Generation(1), ..id }, "behind what was queued");
        assert_eq!(first.id.event, EventNo(2));
        assert!(opened.store.event(second.id.event).unwrap().is_some());
        drop((first, second));
        opened.writer.close().unwrap();
        drop(opened.store);
        opened = open_plain(dir.path());
    }
}

#[test]
fn deliveries_are_listed_newest_first_in_pages() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_plain(dir.path());
    change(&mut opened.writer, Change::PutHook(hook(1)));
    for round in 0..30u64 {
        // Large enough for several segments.
        let accepts = (0..10).map(|i| Accept { event: EncodedEvent::new(event(round * 10 + i, 1000)), ..accept(0, &[1]) });
        accept_all(&mut opened.writer, accepts.collect());
        let mut group = opened.writer.begin();
        for i in 0..8 {
            let claim = opened.store.claim_first(H1).unwrap();
            group.settle(claim, settlement(if i == 0 { retry_at(5, 1) } else { Settled::Delivered }, 1));
        }
        group.commit(Durability::Lazy).unwrap();
    }
    opened.writer.tend().unwrap();
    assert!(opened.store.stats().segments > 3);
    let mut seen = Vec::new();
    let mut offset = None;
    loop {
        let page = opened.store.deliveries(H1, None, offset.as_deref(), 7).unwrap();
        seen.extend(page.items.iter().map(|record| (record.id.event.0, record.state, record.attempts.len())));
        assert!(page.items.iter().all(|record| record.event.is_some()));
        offset = page.next;
        if offset.is_none() {
            break;
        }
    }
    assert!(seen.iter().map(|(no, ..)| *no).eq((1..=300).rev()));
    let count = |state| seen.iter().filter(|(_, s, _)| *s == state).count();
    assert_eq!((count(DeliveryState::Delivered), count(DeliveryState::Retrying), count(DeliveryState::Queued)), (210, 30, 60));
    assert!(seen.iter().all(|(_, state, attempts)| *attempts == usize::from(*state != DeliveryState::Queued)));
    let retrying = opened.store.deliveries(H1, Some(DeliveryState::Retrying), None, 1000).unwrap();
    assert_eq!((retrying.items.len(), retrying.next), (30, None));
    assert!(retrying.items.iter().all(|record| record.due == Some(Timestamp(5))));
    assert!(matches!(opened.store.deliveries(H1, None, Some("nonsense"), 5), Err(StoreError::Conflict(_))));
}

#[test]
fn readers_read_while_the_writer_writes() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened =
        open(dir.path(), crate::store::Limits { cache_bytes: 0, background: true, ..limits() }, Clock::default(), Seam::default()).unwrap();
    change(&mut opened.writer, Change::PutHook(hook(1)));
    let done = std::sync::atomic::AtomicBool::new(false);
    let (store, writer) = (&opened.store, &mut opened.writer);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut reads = 0u64;
                while !done.load(std::sync::atomic::Ordering::Relaxed) || reads == 0 {
                    for no in 1..=store.counts(H1).owed {
                        let event = store.event(EventNo(no)).unwrap().unwrap();
                        assert!(event.data.as_str().contains(&format!("\"tag\":{},", no - 1)));
                        reads += 1;
                    }
                }
            });
        }
        for round in 0..60 {
            accept_all(
                writer,
                (0..5).map(|i| Accept { event: EncodedEvent::new(event(round * 5 + i, 2000)), ..accept(0, &[1]) }).collect(),
            );
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(opened.store.stats().segments > 3);
    assert_eq!(opened.store.health(), Ok(()));
}

#[test]
fn commits_are_numbered_without_gaps() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_plain(dir.path());
    change(&mut opened.writer, Change::PutHook(hook(1)));
    for wanted in 2..20 {
        let mut group = opened.writer.begin();
        group.accept(accept(wanted, &[1]));
        assert_eq!(group.commit(Durability::Synced).unwrap(), Some(CommitNo(wanted)));
        if wanted % 5 == 0 {
            opened.writer.close().unwrap();
            drop(opened.store);
            opened = open_plain(dir.path());
        }
    }
}
