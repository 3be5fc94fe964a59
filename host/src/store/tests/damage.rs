//! Cut files, flipped bits, missing folders: never a panic, never a wrong record, and a note that names what is gone.

use std::fs;
use std::path::{Path, PathBuf};

use super::power::copy_folder;
use super::support::{accept, accept_all, change, event, hook, limits, open_plain, settlement};
use crate::model::{Clock, EventNo, HookNo};
use crate::store::{Accept, Change, Durability, EncodedEvent, Seam, Settled, Store, open};

const EVENTS: u64 = 200;

/// A store with several segments, every second event delivered, closed.
fn make(dir: &Path) {
    let mut opened = open_plain(dir);
    change(&mut opened.writer, Change::PutHook(hook(1)));
    for tag in 0..EVENTS {
        let event = EncodedEvent::new(event(tag, 900));
        accept_all(&mut opened.writer, vec![Accept { event, ..accept(0, &[1]) }]);
        let claim = opened.store.claim_first(HookNo(1)).unwrap();
        let mut group = opened.writer.begin();
        group.settle(claim, settlement(if tag % 2 == 0 { Settled::Delivered } else { super::support::retry_at(9, 1) }, 1));
        group.commit(Durability::Synced).unwrap();
    }
    opened.writer.tend().unwrap();
    assert!(opened.store.stats().segments >= 3);
    opened.writer.close().unwrap();
}

/// Opens whatever is there. What is found must be right; how much is found is up to the damage.
fn open_damaged(dir: &Path) -> Option<(Store, Vec<String>, usize)> {
    let opened = match open(dir, limits(), Clock::default(), Seam::default()) {
        Ok(opened) => opened,
        Err(e) => {
            assert!(!e.to_string().is_empty());
            return None;
        }
    };
    let mut found = 0;
    for no in 1..=EVENTS {
        if let Ok(Some(event)) = opened.store.event(EventNo(no)) {
            assert!(event.data.as_str().contains(&format!("\"tag\":{},", no - 1)), "event {no} is another one");
            found += 1;
        }
    }
    let _ = opened.store.deliveries(HookNo(1), None, None, 1000);
    Some((opened.store, opened.notes, found))
}

fn files(dir: &Path, name: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        if entry.path().is_dir() {
            found.extend(files(&entry.path(), name));
        } else if entry.file_name().to_string_lossy().contains(name) {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

fn newest_db(dir: &Path) -> PathBuf {
    files(&dir.join("journal"), "db").into_iter().rfind(|path| !path.to_string_lossy().contains("spare")).unwrap()
}

/// The end of what was written: sled makes its file longer than that.
fn written(path: &Path) -> usize {
    let bytes = fs::read(path).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1)
}

#[test]
fn a_journal_cut_anywhere_opens_and_names_what_is_gone() {
    let base = tempfile::tempdir().unwrap();
    let good = base.path().join("good");
    make(&good);
    let length = written(&newest_db(&good));
    let mut noted = 0;
    for step in 0..12 {
        let dir = base.path().join(format!("cut-{step}"));
        copy_folder(&good, &dir);
        let db = newest_db(&dir);
        fs::OpenOptions::new().write(true).open(&db).unwrap().set_len((length * step / 12) as u64).unwrap();
        // A snapshot that is ahead of the file is another way of being damaged; sled writes one at each start.
        let (_, notes, found) = open_damaged(&dir).expect("the rest of the store opens");
        assert!(found as u64 >= EVENTS / 2, "the other segments are whole");
        noted += usize::from(!notes.is_empty());
        fs::remove_dir_all(&dir).unwrap();
    }
    assert!(noted >= 11, "a lost tail is reported, not passed over: {noted} of 12");
}

#[test]
fn a_flipped_bit_is_an_error_or_a_note_and_never_a_wrong_record() {
    let base = tempfile::tempdir().unwrap();
    let good = base.path().join("good");
    make(&good);
    let mut flipped = 0;
    for db in files(&good, "db").iter().chain(&files(&good, ".index")).chain(&files(&good, "snap")).chain(&files(&good, "entities")) {
        let relative = db.strip_prefix(&good).unwrap();
        let length = written(db);
        for step in 0..6 {
            let dir = base.path().join(format!("flip-{flipped}"));
            copy_folder(&good, &dir);
            let path = dir.join(relative);
            let mut bytes = fs::read(&path).unwrap();
            if length == 0 {
                continue;
            }
            let at = (length - 1) * step / 5;
            bytes[at] ^= 1 << (step % 8);
            fs::write(&path, bytes).unwrap();
            open_damaged(&dir);
            flipped += 1;
            fs::remove_dir_all(&dir).unwrap();
        }
    }
    assert!(flipped > 30);
}

#[test]
fn a_catalog_that_is_gone_is_made_again_from_export_and_journal() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("store");
    make(&dir);
    let catalog = files(&dir, "db").into_iter().find(|path| path.to_string_lossy().contains("catalog-")).unwrap();
    fs::write(&catalog, b"this is no database").unwrap();
    let opened = open_plain(&dir);
    assert!(opened.notes.iter().any(|note| note.contains("made again from the export and the journal")), "{:?}", opened.notes);
    assert_eq!(*opened.store.hooks()[0], hook(1));
    let counts = opened.store.counts(HookNo(1));
    assert_eq!((counts.owed, counts.between_attempts), (EVENTS / 2, EVENTS as usize / 2));
    drop(opened);
    assert_eq!(open_plain(&dir).store.counts(HookNo(1)).owed, EVENTS / 2);
}

#[test]
fn a_segment_that_is_gone_is_named_and_the_rest_is_used() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("store");
    make(&dir);
    let db = files(&dir.join("journal"), "db").remove(1);
    fs::write(&db, vec![0xa5; 8192]).unwrap();
    fs::remove_file(db.parent().unwrap().with_extension("index")).unwrap();
    let (store, notes, found) = open_damaged(&dir).unwrap();
    assert!(notes.iter().any(|note| note.contains("set aside as") && note.contains(".bad")), "{notes:?}");
    assert!(found > 50 && (found as u64) < EVENTS);
    assert_eq!(store.counts(HookNo(1)).owed, EVENTS / 2, "what was folded is known");
}

#[test]
fn a_lost_tail_is_reported_with_its_range_and_its_numbers_are_not_used_again() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("store");
    make(&dir);
    let mut opened = open_plain(&dir);
    accept_all(&mut opened.writer, (0..3).map(|tag| accept(tag, &[1])).collect());
    let before = opened.store.stats().last_commit;
    // What is copied now is the journal before the last two commits, with a side file that knows of them.
    let old = newest_db(&dir);
    let kept = fs::read(&old).unwrap();
    for tag in 0..2 {
        accept_all(&mut opened.writer, vec![accept(tag, &[1])]);
    }
    drop(opened);
    fs::write(&old, kept).unwrap();
    for snapshot in files(old.parent().unwrap(), "snap") {
        fs::remove_file(snapshot).unwrap();
    }
    let mut opened = open_plain(&dir);
    let wanted = format!("commits {} to {} were synced and are gone", before + 1, before + 2);
    assert!(opened.notes.iter().any(|note| note.contains(&wanted)), "{:?}", opened.notes);
    accept_all(&mut opened.writer, vec![accept(1, &[1])]);
    assert_eq!(opened.store.stats().last_commit, before + 3);
}
