//! Records of every kind as they lie on disk, committed: what a release wrote, every later one reads.
//!
//! `TENTERHOOK_BLESS=1` writes the files that are missing. One that is there is never written again: a changed record is a new format with a new file.

use std::path::PathBuf;

use super::support::{accept, attempt, event, hook, open_plain, retry_at};
use crate::model::{
    CommitNo, DeliveryId, Digest, EventNo, Generation, HandlerRecord, Hook, HookNo, HookState, PausedByHost, Skip, SourceEvent,
    ThrottleKey, ThrottleMark, Timestamp,
};
use crate::store::item::{Body, Commit, Dead, Standing, Waiting};
use crate::store::nouns::{Change, DeadKind, EventBrief, Settled};
use crate::store::record::{AcceptNote, write_event};
use crate::store::secret::Sealer;
use crate::store::state::DeadEntry;
use crate::store::{Seam, fold, row};

fn folder() -> PathBuf {
    // The crate, or a crate beside it that includes these sources, is built below the repository's root.
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let found = root.ancestors().map(|dir| dir.join("tests/golden/store")).find(|dir| dir.is_dir());
    found.unwrap_or_else(|| PathBuf::from(file!()).ancestors().nth(5).unwrap().join("tests/golden/store"))
}

fn sealer() -> (tempfile::TempDir, Sealer) {
    let dir = tempfile::tempdir().unwrap();
    let sealer = Sealer::load(dir.path(), Some([7; 32]), &Seam::default()).unwrap();
    (dir, sealer)
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.chunks(48).map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect()).collect();
    digits.join("\n") + "\n"
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The committed bytes; with TENTERHOOK_BLESS, `fresh` is written if the file is missing.
fn golden(name: &str, fresh: &[u8]) -> Vec<u8> {
    let path = folder().join(format!("{name}.hex"));
    if !path.exists() && std::env::var_os("TENTERHOOK_BLESS").is_some() {
        std::fs::create_dir_all(folder()).unwrap();
        std::fs::write(&path, hex(fresh)).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}; TENTERHOOK_BLESS=1 writes it", path.display()));
    unhex(&text)
}

const ID: DeliveryId = DeliveryId { event: EventNo(41), hook: HookNo(3), generation: Generation(1) };

fn note() -> AcceptNote {
    AcceptNote {
        owes: vec![HookNo(1), HookNo(70_000)],
        not_queued: vec![(HookNo(2), Skip::Snoozed), (HookNo(4), Skip::Unchanged), (HookNo(5), Skip::Disabled)],
        remember: Some(([1; 16], [2; 16])),
        throttle: vec![(HookNo(1), 9, ThrottleKey([3; 16]), ThrottleMark { digest: [4; 16], until: Timestamp(99) })],
    }
}

fn handler() -> HandlerRecord {
    let description = serde_json::json!({"name": "slack", "version": "1.2.0", "summary": "s", "config_schema": {}, "wants_pings": true,
        "asks": {"http_hosts": ["*"], "secrets": [], "kv": false, "emit": false}});
    HandlerRecord {
        name: "slack".into(),
        digest: Digest([8; 32]),
        bytes: 12,
        built_in: false,
        description: serde_json::from_value(description).unwrap(),
        granted: crate::model::Asks { kv: true, ..crate::model::Asks::default() },
        reuse_across_hooks: true,
        installed_at: Timestamp(77),
    }
}

fn golden_event() -> crate::model::Event {
    let id = crate::model::EventId("evt_0123456789abcdef0123456789abcdef".into());
    crate::model::Event { id, key: Some("order-1".into()), no: EventNo(41), ..event(41, 30) }
}

fn standing() -> Standing {
    let waiting = Waiting { due: Timestamp(5), spent: 2, first_tried: Timestamp(1), crashes: 1 };
    let dead = Dead { kind: DeadKind::Quarantined, reason: "trap".into(), at: Timestamp(6), attempt: Some(attempt(4, true)) };
    Standing { owed: vec![(ID, Some(waiting)), (DeliveryId { hook: HookNo(1), ..ID }, None)], dead: vec![(ID, dead)] }
}

/// One item of every kind, named.
fn items(sealer: &Sealer) -> Vec<(&'static str, Body)> {
    let one = |fill: &dyn Fn(&mut Body)| {
        let mut body = Body::default();
        fill(&mut body);
        body
    };
    let change = |change: Change| one(&|body| body.change(&change, sealer).unwrap());
    let state = HookState {
        not_before: Some(Timestamp(5)),
        paused_by_host: Some(PausedByHost { at: Timestamp(6), reason: "410".into() }),
        quarantines: 2,
        retired: true,
    };
    let about = SourceEvent { fields: Some(vec!["a".into()]), unique: None, description: Some("d".into()), schema: None };
    let with_schema = SourceEvent { schema: Some(serde_json::json!({ "type": "object" })), ..about.clone() };
    let dead = Settled::Dead { kind: DeadKind::Exhausted, reason: "refused".into() };
    let copied_note = crate::store::record::write(1, &crate::store::record::AcceptV1::from(&note()));
    vec![
        ("accept", one(&|body| body.accept(&write_event(&golden_event()), &note()))),
        ("settle-delivered", one(&|body| body.settle(ID, &Settled::Delivered, Some(&attempt(1, false)), None))),
        ("settle-retry", one(&|body| body.settle(ID, &retry_at(8, 2), Some(&attempt(2, true)), Some(&state)))),
        ("settle-dead", one(&|body| body.settle(ID, &dead, None, None))),
        ("settle-canceled", one(&|body| body.settle(ID, &Settled::Canceled, None, None))),
        ("settle-released", one(&|body| body.settle(ID, &Settled::Released, None, Some(&state)))),
        ("put-hook", change(Change::PutHook(hook(3)))),
        ("put-hook-filtered", change(Change::PutHook(Hook { filter: Some("data.n > 1.0".into()), ..hook(3) }))),
        ("delete-hook", change(Change::DeleteHook(HookNo(3)))),
        ("put-hook-state", change(Change::PutHookState(HookNo(3), state.clone()))),
        ("put-source", change(Change::PutSource { source: "s".into(), event: "e".into(), about })),
        ("put-source-schema", change(Change::PutSource { source: "s".into(), event: "e".into(), about: with_schema })),
        ("delete-source", change(Change::DeleteSource { source: "s".into(), event: "e".into() })),
        ("put-handler", change(Change::PutHandler(handler()))),
        ("delete-handler", change(Change::DeleteHandler("slack".into()))),
        ("replay", change(Change::Replay(ID))),
        ("forget", change(Change::Forget(ID))),
        ("copy", one(&|body| body.copy(EventNo(41), &write_event(&golden_event()), &copied_note, &standing()))),
    ]
}

/// What a commit's only item says, as text: sealed bytes differ each time, what they mean does not.
fn meaning(body: Vec<u8>, sealer: &Sealer) -> String {
    let commit = Commit::new("golden", CommitNo(12), body).unwrap();
    let items = commit.items().unwrap();
    assert_eq!(items.len(), 1);
    let event = commit.event(items[0]).unwrap();
    format!("{:?} {:?} {:?} {:?}", commit.at, commit.first_event, commit.effect(items[0], sealer).unwrap(), event)
}

#[test]
fn every_kind_of_item_is_read_as_it_was_written() {
    let (_dir, sealer) = sealer();
    for (name, body) in items(&sealer) {
        let fresh = body.finish(Timestamp(1_700_000_000_123), EventNo(41));
        let stored = golden(&format!("item-{name}-v1"), &fresh);
        assert_eq!(meaning(stored, &sealer), meaning(fresh, &sealer), "{name}");
    }
}

#[test]
fn rows_are_read_as_they_were_written() {
    for (name, body) in [("plain", b"a small body".to_vec()), ("packed", b"abcdefgh".repeat(1000))] {
        let fresh = row::rows(CommitNo(12), &body).unwrap();
        assert_eq!(fresh.len(), 1);
        let stored = golden(&format!("row-{name}-v1"), &fresh[0].1);
        let mut assembler = row::Assembler::default();
        assert_eq!(assembler.push("golden", &fresh[0].0, &stored).unwrap(), Some(body), "{name}");
    }
}

#[test]
fn catalog_records_are_read_as_they_were_written() {
    let entry = DeadEntry { dead: standing().dead[0].1.clone(), brief: Some(EventBrief::from(&golden_event())) };
    let stored = golden("catalog-dead-v1", &fold::write_dead(&entry));
    assert_eq!(fold::read_dead(&stored).unwrap(), entry);
    let meta = fold::MetaV1 { folded: 9, next_hook: 4, next_event: 77 };
    let stored = golden("catalog-meta-v1", &crate::store::record::write(1, &meta));
    assert_eq!(crate::store::record::read::<fold::MetaV1>("golden", &stored).unwrap(), meta);
}

#[test]
fn a_record_of_a_later_version_is_refused_with_its_number() {
    let error = crate::store::record::read::<u32>("journal commit 3", &[9, 1]).unwrap_err();
    assert_eq!(error.to_string(), "journal commit 3: damaged: record format 9 is not known to this version");
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_plain(dir.path());
    super::support::accept_all(&mut opened.writer, vec![accept(1, &[])]);
}
