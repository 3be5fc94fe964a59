//! The store against a plain model of it: random moves, crashes at every fault point, and a start from what the crash left.
//!
//! After a crash the store must be where the model was at some moment between the last sync and the crash: nothing that was synced is lost, nothing
//! appears that was never done, and what was committed lazily is lost from its end only.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::power::{Disk, Plan};
use super::support::{event, hook, retry_at, settlement};
use crate::model::{Clock, DeliveryId, EventNo, Generation, HookNo, SourceEvent, Timestamp};
use crate::store::{
    Accept, Change, ContentHash, DeadKind, DeadLetterFilter, Durability, EncodedEvent, FaultPoint, Limits, Opened, Settled, Store,
    StoreError, open,
};

/// What is true of a store, as far as anybody can see.
#[derive(Debug, Clone, PartialEq, Default)]
struct Truth {
    /// Number and revision.
    hooks: BTreeMap<u32, u64>,
    /// What is owed; with attempts behind it: due and spent.
    owed: BTreeMap<DeliveryId, Option<(i64, u32)>>,
    dead: BTreeMap<DeliveryId, DeadKind>,
    sources: BTreeSet<String>,
    /// By tag: content and hooks.
    keys: BTreeMap<u64, (u8, u32)>,
    next_hook: u32,
    /// Tag of every accepted event, by number.
    events: BTreeMap<EventNo, u64>,
}

#[derive(Debug, Clone)]
enum Move {
    Accept {
        count: u8,
        hooks: u8,
        keyed: bool,
        large: bool,
    },
    Settle {
        hook: u8,
        count: u8,
        verdict: u8,
        lazy: bool,
    },
    SettleDue {
        hook: u8,
        verdict: u8,
    },
    /// All but one of what is owed is delivered, so that a segment is nearly empty.
    Drain {
        hook: u8,
        keep: u8,
    },
    PutHook(u8),
    DeleteHook(u8),
    Source(u8),
    Replay,
    Forget,
    Cancel,
    Sync,
    Maintain,
    Tend,
    Reopen,
    Crash {
        point: usize,
        passing: u32,
        power: bool,
    },
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        6 => (1u8..30, 0u8..8, any::<bool>(), prop::bool::weighted(0.1)).prop_map(|(count, hooks, keyed, large)| Move::Accept { count, hooks, keyed, large }),
        6 => (0u8..3, 1u8..6, 0u8..5, any::<bool>()).prop_map(|(hook, count, verdict, lazy)| Move::Settle { hook, count, verdict, lazy }),
        3 => (0u8..3, 0u8..5).prop_map(|(hook, verdict)| Move::SettleDue { hook, verdict }),
        4 => (0u8..3, 0u8..3).prop_map(|(hook, keep)| Move::Drain { hook, keep }),
        2 => (0u8..3).prop_map(Move::PutHook),
        1 => (0u8..3).prop_map(Move::DeleteHook),
        1 => (0u8..5).prop_map(Move::Source),
        1 => Just(Move::Replay),
        1 => Just(Move::Forget),
        1 => Just(Move::Cancel),
        2 => Just(Move::Sync),
        3 => Just(Move::Maintain),
        6 => Just(Move::Tend),
        1 => Just(Move::Reopen),
        4 => (0usize..FaultPoint::ALL.len(), 1u32..6, any::<bool>()).prop_map(|(point, passing, power)| Move::Crash { point, passing, power }),
    ]
}

struct Run {
    base: PathBuf,
    folders: u32,
    dir: PathBuf,
    disk: Arc<Disk>,
    limits: Limits,
    opened: Option<Opened>,
    /// What may be found after a crash, oldest first; the last one is now.
    truths: Vec<Truth>,
    power: bool,
    tags: u64,
}

impl Run {
    fn new(base: &Path, limits: Limits) -> Self {
        let dir = base.join("0");
        std::fs::create_dir(&dir).unwrap();
        let disk = Disk::new(&dir, Some(&base.join("0-killed")));
        let opened = open(&dir, limits.clone(), Clock::default(), disk.seam()).unwrap();
        let truth = Truth { next_hook: 1, ..Truth::default() };
        let truths = vec![truth];
        Self { base: base.to_owned(), folders: 0, dir, disk, limits, opened: Some(opened), truths, power: false, tags: 0 }
    }

    fn now(&self) -> &Truth {
        &self.truths[self.truths.len() - 1]
    }

    fn opened(&mut self) -> &mut Opened {
        self.opened.as_mut().unwrap()
    }

    /// The n-th hook there is, wrapping around.
    fn hook(&self, n: u8) -> Option<HookNo> {
        let hooks: Vec<_> = self.now().hooks.keys().collect();
        (!hooks.is_empty()).then(|| HookNo(*hooks[usize::from(n) % hooks.len()]))
    }

    /// The commit went through, or not; what it would have made true may be found after a crash all the same.
    fn after(&mut self, outcome: Result<bool, StoreError>, truth: Truth) {
        match outcome {
            Ok(synced) => {
                if synced {
                    self.truths.clear();
                }
                self.truths.push(truth);
            }
            Err(e) => {
                assert!(self.disk.crashed(), "{e}");
                self.truths.push(truth);
                self.restart();
            }
        }
    }

    fn make(&mut self, step: &Move) {
        match step.clone() {
            Move::Accept { count, hooks, keyed, large } => self.accept(count, hooks, keyed, large),
            Move::Settle { hook, count, verdict, lazy } => self.settle(hook, count.into(), verdict, lazy),
            Move::SettleDue { hook, verdict } => self.settle_due(hook, verdict),
            Move::Drain { hook, keep } => {
                let Some(no) = self.hook(hook) else { return };
                let fresh = self.now().owed.iter().filter(|(id, waiting)| id.hook == no && waiting.is_none()).count();
                self.settle(hook, fresh.saturating_sub(keep.into()), 0, false);
            }
            Move::PutHook(n) => self.put_hook(n),
            Move::DeleteHook(n) => self.delete_hook(n),
            Move::Source(n) => {
                let mut truth = self.now().clone();
                let source = format!("source-{n}");
                let change = if truth.sources.remove(&source) {
                    Change::DeleteSource { source, event: "e".into() }
                } else {
                    truth.sources.insert(source.clone());
                    Change::PutSource { source, event: "e".into(), about: SourceEvent::default() }
                };
                self.change(change, truth);
            }
            Move::Replay => self.replay(),
            Move::Forget => {
                let Some(id) = self.now().dead.keys().next().copied() else { return };
                let mut truth = self.now().clone();
                truth.dead.remove(&id);
                self.change(Change::Forget(id), truth);
            }
            Move::Cancel => {
                let Some(id) = self.now().owed.keys().next().copied() else { return };
                let mut truth = self.now().clone();
                truth.owed.remove(&id);
                self.change(Change::Cancel(id), truth);
            }
            Move::Sync => self.housekeeping(|opened| opened.writer.sync(), true),
            Move::Maintain => self.housekeeping(|opened| opened.writer.maintain().map(drop), false),
            Move::Tend => self.housekeeping(|opened| opened.writer.tend(), true),
            Move::Reopen => self.reopen(),
            Move::Crash { point, passing, power } => {
                self.power = power;
                self.disk.plan(Plan::Crash(FaultPoint::ALL[point], passing));
            }
        }
    }

    fn accept(&mut self, count: u8, hooks: u8, keyed: bool, large: bool) {
        let mut truth = self.now().clone();
        let owes: Vec<HookNo> = truth.hooks.keys().enumerate().filter(|(i, _)| hooks >> i & 1 == 1).map(|(_, no)| HookNo(*no)).collect();
        let first_tag = self.tags;
        self.tags += u64::from(count);
        let opened = self.opened();
        let mut group = opened.writer.begin();
        for tag in first_tag..first_tag + u64::from(count) {
            let key = opened.store.fingerprint("shop", &tag.to_string());
            let remember = keyed.then_some((key, ContentHash([tag as u8; 16])));
            let bytes = if large && tag == first_tag { 70_000 } else { 80 };
            let event = EncodedEvent::new(event(tag, bytes));
            let no = group.accept(Accept { event, owes: owes.clone(), not_queued: Vec::new(), remember, throttle: Vec::new() });
            truth.events.insert(no, tag);
            truth.owed.extend(owes.iter().map(|hook| (DeliveryId { event: no, hook: *hook, generation: Generation(0) }, None)));
            if keyed {
                truth.keys.insert(tag, (tag as u8, owes.len() as u32));
            }
        }
        let outcome = group.commit(Durability::Synced).map(|_| true);
        self.after(outcome, truth);
    }

    fn verdict(verdict: u8, spent: u32, tag: u64) -> Settled {
        match verdict {
            0 => Settled::Delivered,
            1 => retry_at(1000 + (tag % 7) as i64, spent + 1),
            2 => Settled::Dead { kind: DeadKind::Exhausted, reason: "out of tries".into() },
            3 => Settled::Canceled,
            _ => Settled::Dead { kind: DeadKind::Quarantined, reason: "trap".into() },
        }
    }

    fn note(truth: &mut Truth, id: DeliveryId, verdict: &Settled) {
        match verdict {
            Settled::RetryAt { due, spent, .. } => {
                truth.owed.insert(id, Some((due.0, *spent)));
            }
            Settled::Dead { kind, .. } => {
                truth.owed.remove(&id);
                truth.dead.insert(id, *kind);
            }
            Settled::Delivered | Settled::Canceled => {
                truth.owed.remove(&id);
            }
            Settled::Released => {}
        }
    }

    fn settle(&mut self, hook: u8, count: usize, verdict: u8, lazy: bool) {
        let Some(hook) = self.hook(hook) else { return };
        let mut truth = self.now().clone();
        let tag = self.tags;
        let opened = self.opened();
        let mut group = opened.writer.begin();
        for _ in 0..count {
            let Some(claim) = opened.store.claim_first(hook) else { break };
            assert_eq!(truth.owed.get(&claim.id), Some(&None), "claimed {claim:?}");
            let verdict = Self::verdict(verdict, 0, tag);
            Self::note(&mut truth, claim.id, &verdict);
            group.settle(claim, settlement(verdict, 1));
        }
        if group.is_empty() {
            return;
        }
        let outcome = group.commit(if lazy { Durability::Lazy } else { Durability::Synced }).map(|_| !lazy);
        self.after(outcome, truth);
    }

    fn settle_due(&mut self, hook: u8, verdict: u8) {
        let Some(hook) = self.hook(hook) else { return };
        let mut truth = self.now().clone();
        let tag = self.tags;
        let opened = self.opened();
        let Some(claim) = opened.store.claim_due(hook, Timestamp::FAR) else {
            assert!(!truth.owed.iter().any(|(id, waiting)| id.hook == hook && waiting.is_some()));
            return;
        };
        let waits = truth.owed[&claim.id].unwrap();
        assert_eq!(waits.1, claim.spent);
        let verdict = Self::verdict(verdict, claim.spent, tag);
        Self::note(&mut truth, claim.id, &verdict);
        let mut group = opened.writer.begin();
        group.settle(claim, settlement(verdict, waits.1 + 1));
        let outcome = group.commit(Durability::Lazy).map(|_| false);
        self.after(outcome, truth);
    }

    fn change(&mut self, change: Change, truth: Truth) {
        let mut group = self.opened().writer.begin();
        group.change(change);
        let outcome = group.commit(Durability::Synced).map(|_| true);
        self.after(outcome, truth);
    }

    fn put_hook(&mut self, n: u8) {
        let mut truth = self.now().clone();
        let no = if truth.hooks.len() < 3 { HookNo(truth.next_hook) } else { self.hook(n).unwrap() };
        let revision = truth.hooks.get(&no.0).map_or(1, |revision| revision + 1);
        truth.hooks.insert(no.0, revision);
        truth.next_hook = truth.next_hook.max(no.0 + 1);
        self.change(Change::PutHook(crate::model::Hook { revision, ..hook(no.0) }), truth);
    }

    fn delete_hook(&mut self, n: u8) {
        let Some(no) = self.hook(n) else { return };
        let mut truth = self.now().clone();
        truth.hooks.remove(&no.0);
        truth.owed.retain(|id, _| id.hook != no);
        self.change(Change::DeleteHook(no), truth);
    }

    fn replay(&mut self) {
        let Some(id) = self.now().dead.keys().find(|id| self.now().hooks.contains_key(&id.hook.0)).copied() else { return };
        let mut truth = self.now().clone();
        truth.dead.remove(&id);
        truth.owed.insert(DeliveryId { generation: id.generation.next(), ..id }, None);
        self.change(Change::Replay(id), truth);
    }

    fn housekeeping(&mut self, work: impl FnOnce(&mut Opened) -> Result<(), StoreError>, syncs: bool) {
        let truth = self.now().clone();
        let outcome = work(self.opened()).map(|()| syncs);
        if let (Ok(false), false) = (&outcome, syncs) {
            return;
        }
        self.after(outcome, truth);
    }

    fn reopen(&mut self) {
        let opened = self.opened.take().unwrap();
        match opened.writer.close() {
            Ok(()) => {
                drop(opened.store);
                self.disk = Disk::new(&self.dir, Some(&self.base.join(format!("{}-killed", self.folders))));
                let truth = self.now().clone();
                self.truths = vec![truth];
                self.open_and_check();
            }
            Err(e) => {
                assert!(self.disk.crashed(), "{e}");
                self.restart();
            }
        }
    }

    /// What the crash left becomes the folder, and the store must be somewhere it may be.
    fn restart(&mut self) {
        self.opened = None;
        self.folders += 1;
        let to = self.base.join(self.folders.to_string());
        if self.power {
            self.disk.power_loss(&to);
        } else {
            std::fs::rename(self.disk.killed().unwrap(), &to).unwrap();
        }
        self.dir = to;
        self.disk = Disk::new(&self.dir, Some(&self.base.join(format!("{}-killed", self.folders))));
        self.open_and_check();
    }

    fn open_and_check(&mut self) {
        let mut opened = open(&self.dir, self.limits.clone(), Clock::default(), self.disk.seam()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(opened.notes, Vec::<String>::new());
        let seen = look(&opened.store);
        // An accepted event that nobody is owed shows only in its key.
        let mut fits = |truth: &&Truth| like(truth) == seen && truth.keys.keys().all(|tag| is_remembered(&mut opened, *tag));
        let Some(found) = self.truths.iter().rev().find(|truth| fits(truth)).cloned() else {
            panic!("seen {:#?}\nmay be {:#?}", seen, self.truths.iter().map(like).collect::<Vec<_>>());
        };
        self.truths = vec![found];
        self.opened = Some(opened);
        self.check();
    }

    /// Every record that is owed or dead can be read, first attempts come in order, keys are known.
    fn check(&mut self) {
        let truth = self.now().clone();
        let seen = look(&self.opened().store);
        assert_eq!(seen, like(&truth));
        let opened = self.opened();
        for id in truth.owed.keys().chain(truth.dead.keys()) {
            let event = opened.store.event(id.event).unwrap().unwrap_or_else(|| panic!("the record of {id:?} is gone"));
            assert!(event.data.as_str().contains(&format!("\"tag\":{},", truth.events[&id.event])));
        }
        for no in truth.hooks.keys().copied().map(HookNo) {
            let claims: Vec<_> = std::iter::from_fn(|| opened.store.claim_first(no)).collect();
            let fresh = truth.owed.iter().filter(|(id, waiting)| id.hook == no && waiting.is_none()).map(|(id, _)| *id);
            let first: Vec<_> = claims.iter().map(|claim| claim.id).filter(|id| id.generation == Generation(0)).collect();
            assert_eq!(first, fresh.clone().filter(|id| id.generation == Generation(0)).collect::<Vec<_>>());
            assert_eq!(claims.len(), fresh.count());
        }
        for (tag, (content, deliveries)) in &truth.keys {
            let key = opened.store.fingerprint("shop", &tag.to_string());
            let remembered = opened.writer.begin().remembered(&key).unwrap_or_else(|| panic!("key {tag} is forgotten"));
            assert_eq!((remembered.content.0[0], remembered.deliveries), (*content, *deliveries));
        }
    }
}

fn is_remembered(opened: &mut Opened, tag: u64) -> bool {
    let key = opened.store.fingerprint("shop", &tag.to_string());
    opened.writer.begin().remembered(&key).is_some()
}

/// A truth without what cannot be listed.
fn like(truth: &Truth) -> Truth {
    Truth { keys: BTreeMap::new(), events: BTreeMap::new(), next_hook: 0, ..truth.clone() }
}

fn look(store: &Store) -> Truth {
    let mut seen = Truth { sources: store.sources().keys().cloned().collect(), ..Truth::default() };
    for hook in store.hooks() {
        seen.hooks.insert(hook.no.0, hook.revision);
        let state = store.0.state();
        let queue = &state.hooks[&hook.no].queue;
        for (event, generation) in queue.all() {
            let waiting = queue.waiting((event, generation)).map(|waiting| (waiting.due.0, waiting.spent));
            seen.owed.insert(DeliveryId { event, hook: hook.no, generation }, waiting);
        }
    }
    assert_eq!(store.stats().owed, seen.owed.len() as u64);
    let mut offset = None;
    loop {
        let page = store.dead_letters(&DeadLetterFilter::default(), offset.as_deref(), 3).unwrap();
        seen.dead.extend(page.items.iter().map(|letter| (letter.id, letter.kind)));
        offset = page.next;
        if offset.is_none() {
            break seen;
        }
    }
}

fn limits(kept: u64) -> Limits {
    Limits {
        background: false,
        disk_floor: 0,
        segment_bytes: 6 * 1024,
        retention_bytes: kept,
        idle_seal: Duration::ZERO,
        ..Limits::default()
    }
}

/// Half a minute's worth; `PROPTEST_CASES` says otherwise.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(32)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_is_what_the_model_says(steps in prop::collection::vec(moves(), 5..60), kept in prop_oneof![Just(0u64), Just(20_000), Just(1 << 30)]) {
        let base = tempfile::tempdir().unwrap();
        let mut run = Run::new(base.path(), limits(kept));
        run.make(&Move::PutHook(0));
        run.make(&Move::PutHook(0));
        for step in &steps {
            run.make(step);
        }
        run.check();
        run.reopen();
    }
}
