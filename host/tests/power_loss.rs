//! The power-loss test: what was acknowledged is on the disk, and not in a cache above it. It looks at the store alone.
//!
//! A child writes events of 100 B to 1 MiB on an ext4 image behind a loop mount and says which are acknowledged. It is killed, and the image is copied
//! without being unmounted: the copy holds what the device was given, as after a power cut. It is mounted, opened, and every acknowledged event must be
//! there. That this can fail is shown by further runs whose fdatasync is taken out: they must lose events.
//!
//! Takes root, loop devices and mkfs.ext4, and a minute; it runs with `TENTERHOOK_POWER_LOSS=1`, as `make test-long` does.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test, of which the helpers are a part")]

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tenterhook::model::{Clock, DeliverySettings, Event, EventId, EventNo, Hook, HookLimits, HookNo, JsonText, Origin, Timestamp};
use tenterhook::store::{Accept, Change, Durability, EncodedEvent, FaultPoint, Limits, Observer, Seam, open};

/// The child's folder. Set: this process is the child.
const CHILD: &str = "TENTERHOOK_POWER_LOSS_CHILD";
/// The child leaves the fdatasync out.
const UNSYNCED: &str = "TENTERHOOK_POWER_LOSS_UNSYNCED";
const RUNS: usize = 5;
/// Shorter than the 5 s after which ext4 writes by itself, so that a missing fdatasync shows.
const RUN_FOR: Duration = Duration::from_secs(3);

/// Leaves the fdatasync out.
struct NoSync;

impl Observer for NoSync {
    fn at(&self, _: FaultPoint) -> io::Result<()> {
        Ok(())
    }
    fn synced(&self, _: &Path) {}
    fn wants_sync(&self) -> bool {
        false
    }
}

fn data(no: u64) -> String {
    // Sizes of one commit lie far apart; the letters do not compress to nothing.
    let bytes = [100, 700, 5_000, 20_000, 49_000, 100_000, 400, 1 << 20][(no % 8) as usize];
    let mut x = no.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut text = format!("\"{no}:");
    while text.len() < bytes {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        text.push(char::from(b'a' + (x % 26) as u8));
    }
    text + "\""
}

fn event(no: u64) -> Event {
    Event {
        no: EventNo(no),
        id: EventId::new(no as i64),
        source: Arc::from("s"),
        name: Arc::from("n"),
        time: Timestamp(1),
        data: JsonText::from_checked(data(no)),
        key: None,
        attributes: Vec::new(),
        origin: Origin::Producer,
    }
}

fn hook() -> Hook {
    Hook {
        no: HookNo(1),
        revision: 1,
        id: uuid::Uuid::nil(),
        source: "s".into(),
        event: None,
        filter: None,
        handler: "log".into(),
        on_change: None,
        snooze: None,
        config: serde_json::json!({}),
        created_at: 0,
        updated_at: 0,
        name: None,
        tags: None,
        description: None,
        enabled: None,
        paused: None,
        delivery: DeliverySettings::default(),
        limits: HookLimits::default(),
    }
}

fn limits() -> Limits {
    // Small segments, so that rotation, sealing and folding happen meanwhile.
    Limits { segment_bytes: 8 << 20, disk_floor: 1 << 20, fold_every: Duration::from_millis(300), ..Limits::default() }
}

/// Writes until it is killed. Each line on stdout: all events up to this number are acknowledged.
fn child(dir: &Path) {
    let (seam, limits) = match std::env::var_os(UNSYNCED) {
        // One segment and no folding: their own syncs would carry the journal along, and the missing one would show only now and then.
        Some(_) => (
            Seam::watched(Arc::new(NoSync)),
            Limits { segment_bytes: 1 << 30, retention_bytes: 1 << 40, fold_every: RUN_FOR * 100, ..limits() },
        ),
        None => (Seam::default(), limits()),
    };
    let mut opened = open(dir, limits, Clock::default(), seam).unwrap();
    let mut group = opened.writer.begin();
    group.change(Change::PutHook(hook()));
    group.commit(Durability::Synced).unwrap();
    let mut no = 0;
    loop {
        let mut group = opened.writer.begin();
        for _ in 0..1 + no % 5 {
            no += 1;
            let event = EncodedEvent::new(event(no));
            let accept = Accept { event, owes: vec![HookNo(1)], not_queued: Vec::new(), remember: None, throttle: Vec::new() };
            assert_eq!(group.accept(accept), EventNo(no));
        }
        group.commit(Durability::Synced).unwrap();
        // The harness has printed without a line end before this.
        println!("\nacknowledged {no}");
        io::stdout().flush().unwrap();
    }
}

fn run(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A mounted image, unmounted at the end.
struct Mounted(PathBuf);

impl Mounted {
    fn new(image: &Path, at: &Path) -> Self {
        std::fs::create_dir_all(at).unwrap();
        assert!(run("mount", &["-o", "loop", image.to_str().unwrap(), at.to_str().unwrap()]), "mounting {} failed", image.display());
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run("umount", &["-l", self.0.to_str().unwrap()]);
    }
}

/// Lets a child write, cuts the power, and gives: acknowledged, lost.
fn cut_power(base: &Path, synced: bool) -> (u64, u64) {
    let image = base.join("image");
    std::fs::File::create(&image).unwrap().set_len(2 << 30).unwrap();
    assert!(run("mkfs.ext4", &["-q", "-F", image.to_str().unwrap()]), "mkfs.ext4 failed");
    let mounted = Mounted::new(&image, &base.join("before"));
    run("sync", &[]);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([NAME, "--nocapture"]).env(CHILD, mounted.0.join("data")).stdout(Stdio::piped()).stderr(Stdio::null());
    if !synced {
        command.env(UNSYNCED, "1");
    }
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    let clock = Clock::default();
    let started = clock.instant();
    let mut acknowledged = 0;
    for line in lines.lines() {
        if let Some(no) = line.unwrap().strip_prefix("acknowledged ") {
            acknowledged = no.parse().unwrap();
        }
        if started.elapsed() > RUN_FOR {
            break;
        }
    }
    child.kill().unwrap();
    let copy = base.join("copy");
    assert!(run("cp", &["--sparse=always", image.to_str().unwrap(), copy.to_str().unwrap()]), "copying the image failed");
    child.wait().unwrap();
    drop(mounted);
    let mounted = Mounted::new(&copy, &base.join("after"));
    let lost = count_lost(&mounted.0.join("data"), acknowledged);
    drop(mounted);
    std::fs::remove_file(&image).unwrap();
    std::fs::remove_file(&copy).unwrap();
    (acknowledged, lost)
}

fn count_lost(dir: &Path, acknowledged: u64) -> u64 {
    let opened = match open(dir, limits(), Clock::default(), Seam::default()) {
        Ok(opened) => opened,
        Err(e) => {
            println!("the store does not open: {e}");
            return acknowledged;
        }
    };
    opened.notes.iter().for_each(|note| println!("{note}"));
    let there = |no: &u64| {
        let event = opened.store.event(EventNo(*no)).ok().flatten();
        event.is_some_and(|event| event.data.as_str() == data(*no))
    };
    let gone = (1..=acknowledged).filter(|no| !there(no)).count() as u64;
    let owed = opened.store.counts(HookNo(1)).owed;
    gone.max(acknowledged.saturating_sub(owed))
}

const NAME: &str = "what_was_acknowledged_survives_a_power_cut";

#[test]
fn what_was_acknowledged_survives_a_power_cut() {
    if let Some(dir) = std::env::var_os(CHILD) {
        return child(Path::new(&dir));
    }
    if std::env::var_os("TENTERHOOK_POWER_LOSS").is_none() {
        println!("skipped: set TENTERHOOK_POWER_LOSS=1 and be root; it mounts disk images");
        return;
    }
    let base = tempfile::tempdir().unwrap();
    for _ in 0..RUNS {
        let (acknowledged, lost) = cut_power(base.path(), true);
        println!("synced: {acknowledged} acknowledged, {lost} lost");
        assert!(acknowledged > 50, "only {acknowledged} events were written");
        assert_eq!(lost, 0, "of {acknowledged} acknowledged");
    }
    // ext4 may write by itself at any moment, so one cut may be lucky.
    let cuts: Vec<(u64, u64)> = (0..2).map(|_| cut_power(base.path(), false)).collect();
    println!("without fdatasync, acknowledged and lost: {cuts:?}");
    assert!(cuts.iter().any(|(_, lost)| *lost > 0), "a missing fdatasync does not show, so this test shows nothing");
}
