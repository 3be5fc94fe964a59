//! What was accepted is found again: by id, in order, from the newest; also what was copied out of segments that are gone.

use std::time::Duration;

use super::support::{accept, accept_all, change, event, hook, limits, open_with, settle, settle_down, settlement};
use crate::model::{Clock, DeliveryId, Event, EventId, EventNo, Generation, HookNo, Skip, Timestamp};
use crate::store::{
    Accept, Change, DeadKind, DeliveryState, Durability, EncodedEvent, Limits, Opened, PastEvent, QueueBounds, Redo, Settled, Store,
    TooMuch,
};

const H1: HookNo = HookNo(1);

/// Accepts `count` events for hook 1, ten a commit, with ids of the present time; every second one has a decision beside it.
fn fill(opened: &mut Opened, count: u64) -> Vec<EventId> {
    let mut ids = Vec::new();
    for batch in 0..count / 10 {
        let accepts = (0..10).map(|i| {
            let id = EventId::new(Clock::default().now().0);
            ids.push(id.clone());
            let event = EncodedEvent::new(Event { id, ..event(batch * 10 + i, 500) });
            let not_queued = if i % 2 == 0 { vec![(HookNo(2), Skip::Snoozed)] } else { Vec::new() };
            Accept { event, not_queued, ..accept(0, &[1]) }
        });
        accept_all(&mut opened.writer, accepts.collect());
    }
    ids
}

fn ids(events: &[PastEvent]) -> Vec<EventId> {
    events.iter().map(|past| past.event.id.clone()).collect()
}

fn upwards(store: &Store) -> Vec<EventId> {
    let (mut all, mut at) = (Vec::new(), Some(EventNo(0)));
    while let Some(from) = at {
        let (events, next) = store.past_events(from).unwrap();
        all.extend(ids(&events));
        at = next;
    }
    all
}

fn downwards(store: &Store) -> Vec<EventId> {
    let (mut all, mut before) = (Vec::new(), EventNo(u64::MAX));
    while let Some(begin) = store.past_before(before).unwrap() {
        let (mut events, _) = store.past_events(begin).unwrap();
        events.retain(|past| past.event.no < before);
        events.reverse();
        all.extend(ids(&events));
        before = begin;
    }
    all.reverse();
    all
}

#[test]
fn everything_that_is_kept_is_found_in_every_direction_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let small = || Limits { segment_bytes: 20_000, ..limits() };
    let mut opened = open_with(dir.path(), small());
    change(&mut opened.writer, Change::PutHook(hook(1)));
    let accepted = fill(&mut opened, 500);
    settle(&mut opened, 200, &Settled::Delivered);
    for _ in 0..2 {
        let store = &opened.store;
        assert!(store.stats().segments > 5, "{:?}", store.stats());
        assert_eq!(upwards(store), accepted);
        assert_eq!(downwards(store), accepted);
        let found = store.find_events(&accepted).unwrap();
        assert!(found.iter().zip(&accepted).all(|(past, id)| past.as_ref().is_some_and(|past| past.event.id == *id)));
        let first = found[0].as_ref().unwrap();
        assert_eq!((first.owes.as_slice(), first.not_queued.as_slice()), ([H1].as_slice(), [(HookNo(2), Skip::Snoozed)].as_slice()));
        let known: Vec<&PastEvent> = found.iter().flatten().collect();
        let states: Vec<DeliveryState> = store.latest_states(&known).unwrap().into_iter().map(|all| all[0].1).collect();
        assert!(states[..200].iter().all(|state| *state == DeliveryState::Delivered), "{states:?}");
        assert!(states[200..].iter().all(|state| *state == DeliveryState::Queued), "{states:?}");
        let never = [EventId::new(Clock::default().now().0), EventId::new(5), EventId("nonsense".into())];
        assert_eq!(store.find_events(&never).unwrap(), [None, None, None]);
        drop(opened);
        opened = open_with(dir.path(), small());
    }
}

#[test]
fn what_was_copied_out_of_a_dropped_segment_is_found_too() {
    let dir = tempfile::tempdir().unwrap();
    let nothing = Limits { retention_bytes: 0, idle_seal: Duration::ZERO, segment_bytes: 20_000, ..limits() };
    let mut opened = open_with(dir.path(), nothing);
    change(&mut opened.writer, Change::PutHook(hook(1)));
    let accepted = fill(&mut opened, 300);
    let held: Vec<_> = (0..300).map(|_| opened.store.claim_first(H1).unwrap()).collect();
    let mut group = opened.writer.begin();
    let mut kept = Vec::new();
    for (at, claim) in held.into_iter().enumerate() {
        if at == 0 || at == 62 {
            kept.push(claim);
        } else {
            group.settle(claim, settlement(Settled::Delivered, 1));
        }
    }
    group.commit(Durability::Synced).unwrap();
    drop(kept);
    settle_down(&mut opened);
    settle_down(&mut opened);
    let stragglers = [0, 62].map(|at: usize| accepted[at].clone());
    assert_eq!(upwards(&opened.store), stragglers);
    assert_eq!(downwards(&opened.store), stragglers);
    let found = opened.store.find_events(&accepted).unwrap();
    assert_eq!(found.iter().flatten().count(), 2);
    let past = found[62].as_ref().unwrap();
    assert_eq!(opened.store.deliveries_of(past).unwrap()[0].state, DeliveryState::Queued);
}

#[test]
fn a_redo_applies_only_while_it_makes_sense() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_with(dir.path(), limits());
    change(&mut opened.writer, Change::PutHook(hook(1)));
    fill(&mut opened, 10);
    settle(&mut opened, 1, &Settled::Dead { kind: DeadKind::Exhausted, reason: "refused".into() });
    settle(&mut opened, 1, &Settled::RetryAt { due: Timestamp::FAR, spent: 1, first_tried: Timestamp(1), crashes: 0 });
    settle(&mut opened, 1, &Settled::Delivered);
    let id = |event: u64, generation: u32| DeliveryId { event: EventNo(event), hook: H1, generation: Generation(generation) };
    let mut redo = |redo: Redo| {
        let mut group = opened.writer.begin();
        let applies = group.redo(redo, Timestamp(77));
        group.commit(Durability::Synced).unwrap();
        applies
    };
    assert!(!redo(Redo::Retry(id(2, 0))), "it is no dead letter");
    assert!(redo(Redo::Retry(id(1, 0))));
    assert!(!redo(Redo::Retry(id(1, 0))), "not twice");
    assert!(!redo(Redo::Replay(id(1, 0))), "it is owed already");
    assert!(redo(Redo::Hasten(id(2, 0))));
    assert!(!redo(Redo::Hasten(id(4, 0))), "it waits for its first attempt");
    assert!(redo(Redo::Replay(id(3, 0))));
    assert!(redo(Redo::Cancel(id(4, 0))) && !redo(Redo::Cancel(id(4, 0))));
    assert!(redo(Redo::Bury(id(5, 0), DeadKind::Exhausted, "queue-limit: x".into())));
    assert!(redo(Redo::Forget(id(5, 0))) && !redo(Redo::Forget(id(5, 0))));
    assert!(!redo(Redo::Replay(DeliveryId { hook: HookNo(9), ..id(3, 0) })), "there is no such hook");
    assert_eq!(opened.store.next_due(H1), Some(Timestamp(77)));
    assert_eq!(opened.store.counts(H1).owed, 8, "5 first deliveries, one between attempts, two replays");
    let generations = opened.store.generations(H1, EventNo(1), EventNo(3)).unwrap();
    assert_eq!(generations.into_values().collect::<Vec<_>>(), [Generation(0); 3]);
}

#[test]
fn the_oldest_are_too_much_and_what_runs_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_with(dir.path(), limits());
    change(&mut opened.writer, Change::PutHook(hook(1)));
    fill(&mut opened, 20);
    let _running = opened.store.claim_first(H1).unwrap();
    let beyond = |most, oldest| {
        let found = opened.store.too_much(|_| QueueBounds { most, oldest: Timestamp(oldest) }, 100);
        found.into_iter().map(|(id, why)| (id.event.0, why)).collect::<Vec<_>>()
    };
    assert_eq!(beyond(20, 0), []);
    assert_eq!(beyond(18, 0), [(2, TooMuch::Queued), (3, TooMuch::Queued)]);
    let all_old = beyond(20, i64::MAX / 8);
    assert_eq!((all_old.len(), all_old[0]), (19, (2, TooMuch::Wait)));
}
