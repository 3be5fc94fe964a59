//! A disk that is full: nothing acknowledged is lost, and writing goes on when there is room again.
//!
//! On a small tmpfs, which takes root; without it the same through the seam, which fails single writes with ENOSPC.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::power::{Disk, Plan};
use super::support::{accept, accept_all, change, event, hook, limits, settlement};
use crate::model::{Clock, EventNo, HookNo};
use crate::store::{Accept, Change, Durability, EncodedEvent, FaultPoint, Limits, Room, Seam, Settled, StoreError, open};

#[test]
fn a_commit_that_finds_no_room_did_not_happen_and_the_next_one_does() {
    for point in [FaultPoint::Insert, FaultPoint::Flush, FaultPoint::Sync] {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new(dir.path(), None);
        let mut opened = open(dir.path(), limits(), Clock::default(), disk.seam()).unwrap();
        change(&mut opened.writer, Change::PutHook(hook(1)));
        accept_all(&mut opened.writer, (0..3).map(|tag| accept(tag, &[1])).collect());
        let mut group = opened.writer.begin();
        group.settle(opened.store.claim_first(HookNo(1)).unwrap(), settlement(Settled::Delivered, 1));
        group.commit(Durability::Lazy).unwrap();
        disk.plan(Plan::Fail(point, 1, 28));
        let mut group = opened.writer.begin();
        group.accept(accept(3, &[1]));
        assert!(matches!(group.commit(Durability::Synced), Err(StoreError::Full { .. })), "{point:?}");
        assert_eq!((opened.store.counts(HookNo(1)).owed, opened.store.health()), (2, Ok(())));
        let no = accept_all(&mut opened.writer, vec![accept(4, &[1])]);
        assert_eq!(no, [EventNo(4)]);
        drop(opened);
        let opened = open(dir.path(), limits(), Clock::default(), Seam::default()).unwrap();
        assert!(opened.notes.is_empty(), "{:?}", opened.notes);
        assert_eq!(opened.store.counts(HookNo(1)).owed, 3, "{point:?}: the lazy settlement was written again");
        assert!(opened.store.event(EventNo(4)).unwrap().unwrap().data.as_str().contains("\"tag\":4,"));
    }
}

/// A tmpfs of its own, unmounted at the end.
struct Small(PathBuf);

impl Small {
    fn mount(dir: &Path, size: &str) -> Option<Self> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", size, "none"]).arg(dir).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(dir.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_really_full_disk_loses_nothing_and_opens_again() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_small) = Small::mount(dir.path(), "size=64m") else {
        println!("skipped: mounting a tmpfs takes root");
        return;
    };
    let data = dir.path().join("data");
    let limits = Limits { segment_bytes: 4 << 20, disk_floor: 16 << 20, ..limits() };
    let mut opened = open(&data, limits.clone(), Clock::default(), Seam::default()).unwrap();
    change(&mut opened.writer, Change::PutHook(hook(1)));
    let mut accepted = 0;
    let full = loop {
        let mut group = opened.writer.begin();
        for i in 0..20 {
            group.accept(Accept { event: EncodedEvent::new(event(accepted + i, 5000)), ..accept(0, &[1]) });
        }
        match group.commit(Durability::Synced) {
            Ok(_) => accepted += 20,
            Err(e) => break e,
        }
        assert!(accepted < 100_000, "64 MiB hold less than that");
    };
    assert!(matches!(full, StoreError::Full { .. }), "{full}");
    assert!(accepted > 1000, "{accepted}");
    // Until the reserve is used up too.
    for tag in 0..2000 {
        let mut group = opened.writer.begin();
        group.accept(Accept { event: EncodedEvent::new(event(accepted + tag, 50_000)), ..accept(0, &[]) });
        if group.commit(Durability::Synced).is_err() && tag > 100 {
            break;
        }
    }
    opened.store.0.measure();
    assert!(matches!(opened.store.room(), Room::Low { .. }));
    assert_eq!(opened.store.health(), Ok(()));
    let owed = opened.store.counts(HookNo(1)).owed;
    assert_eq!(owed, accepted);
    drop(opened);
    let ballast: Vec<_> = std::fs::read_dir(&data).unwrap().flatten().map(|e| e.file_name()).collect();
    // The operator makes room; here by a larger file system.
    let status = Command::new("mount").args(["-o", "remount,size=256m"]).arg(dir.path()).status().unwrap();
    assert!(status.success(), "{ballast:?}");
    let mut opened = open(&data, limits, Clock::default(), Seam::default()).unwrap();
    assert_eq!(opened.store.counts(HookNo(1)).owed, accepted, "{:?}", opened.notes);
    for no in [1, accepted / 2, accepted] {
        let event = opened.store.event(EventNo(no)).unwrap().unwrap();
        assert!(event.data.as_str().contains(&format!("\"tag\":{},", no - 1)));
    }
    accept_all(&mut opened.writer, vec![accept(1, &[1])]);
    opened.writer.tend().unwrap();
    opened.writer.close().unwrap();
}
