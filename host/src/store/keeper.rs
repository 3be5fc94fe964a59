//! The keeper: one thread that does what no event has to wait for. Folding, sealing, spares, the reserve, exports, retention.
//!
//! What only the committer may do (copies) it prepares and leaves for `Writer::maintain`.

use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::StoreError;
use super::seam::FaultPoint;
use super::shared::Shared;

/// What the keeper is asked for.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) stop: bool,
    /// A segment was sealed, or values were taken for folding.
    pub(super) soon: bool,
}

/// How long the keeper sleeps when nobody rings.
const NAP: Duration = Duration::from_millis(250);
/// The disk is looked at, and retention applied, this often.
const ROUND_EVERY: Duration = Duration::from_secs(2);
/// So many changed entries are folded at once, whatever the time.
const DIRTY_MAX: usize = 50_000;
/// Free disk, beside twice the catalog, from which it is written anew.
const RENEW_BYTES: u64 = 16 * 1024 * 1024;
/// The reserve: two segments that are given back when the disk is full.
pub(super) const RESERVE: &str = "reserve";

/// When things were last done.
struct Rounds {
    folded: Instant,
    exported: Instant,
    round: Instant,
}

/// Starts the thread.
pub(super) fn start(shared: &Arc<Shared>) -> Result<JoinHandle<()>, StoreError> {
    let shared = shared.clone();
    let thread = std::thread::Builder::new().name("store-keeper".into());
    thread.spawn(move || run(&shared)).map_err(|e| StoreError::io("the thread store-keeper", e))
}

fn run(shared: &Shared) {
    let now = shared.clock.instant();
    let mut rounds = Rounds { folded: now, exported: now, round: now };
    let mut nap = NAP;
    shared.measure();
    while shared.nap(nap) {
        nap = NAP;
        if let Err(e) = shared.turn(&mut rounds) {
            shared.trouble(&e);
            nap = ROUND_EVERY;
        }
    }
}

impl Shared {
    /// Rings the keeper's bell.
    pub(super) fn ring(&self) {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).soon = true;
        self.bell.notify_all();
    }

    /// Waits for the bell. False: stop.
    fn nap(&self, at_most: Duration) -> bool {
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.bell.wait_timeout_while(wanted, at_most, |wanted| !wanted.stop && !wanted.soon);
        let (mut wanted, _) = waited.unwrap_or_else(PoisonError::into_inner);
        wanted.soon = false;
        !wanted.stop
    }

    /// Tells the keeper to stop after what it is doing.
    pub(super) fn stop_keeper(&self) {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
        self.bell.notify_all();
    }

    /// A full disk is waited out: the commits recover, and so does the catalog. Everything else closes the store for writes.
    pub(super) fn trouble(&self, error: &StoreError) {
        match error {
            StoreError::Full { .. } => {
                tracing::warn!(%error, "the store's housekeeping waits for room");
                self.measure();
            }
            StoreError::Io { .. } | StoreError::Corrupt { .. } | StoreError::Conflict(_) if self.poison.get().is_some() => {}
            StoreError::Io { .. } | StoreError::Corrupt { .. } | StoreError::Conflict(_) => {
                tracing::error!(%error, "the store's housekeeping failed");
                self.poison(error);
            }
        }
    }

    fn turn(&self, rounds: &mut Rounds) -> Result<(), StoreError> {
        self.healthy()?;
        let now = self.clock.instant();
        let (dirty, taken) = {
            let state = self.state();
            (state.dirty.len(), state.fold_taken.is_some())
        };
        if taken || dirty > DIRTY_MAX || now.duration_since(rounds.folded) >= self.limits.fold_every {
            self.fold_or_renew()?;
            rounds.folded = now;
        }
        self.seal()?;
        if now.duration_since(rounds.exported) >= self.limits.export_every {
            self.export()?;
            rounds.exported = now;
        }
        if now.duration_since(rounds.round) >= ROUND_EVERY {
            self.round()?;
            rounds.round = self.clock.instant();
        }
        Ok(())
    }

    /// Folds. After a full disk sled stays in its error, though reads work: then the catalog is written anew from what it holds.
    fn fold_or_renew(&self) -> Result<(), StoreError> {
        match self.fold() {
            Ok(_) => Ok(()),
            Err(e @ StoreError::Full { .. }) => {
                self.measure();
                if super::disk::free(&self.dir).is_ok_and(|free| free > 2 * self.catalog.disk_bytes() + RENEW_BYTES) {
                    self.catalog.renew()?;
                    return self.fold().map(drop);
                }
                Err(e)
            }
            Err(e) => Err(e),
        }
    }

    /// What is sealed gets its files; the next rotation gets its segment.
    pub(super) fn seal(&self) -> Result<(), StoreError> {
        self.journal.write_indexes()?;
        self.keys.write_sealed(&self.seam)?;
        self.journal.close_idle();
        if self.limits.journals() { self.journal.make_spare() } else { Ok(()) }
    }

    /// Everything with a bound is brought back into it.
    pub(super) fn round(&self) -> Result<(), StoreError> {
        self.measure();
        self.retain()?;
        let oldest = crate::model::Timestamp(self.clock.now().0 - i64::try_from(self.limits.keys_age.as_millis()).unwrap_or(i64::MAX / 4));
        let early = self.keys.forget(oldest, self.limits.keys_max, &self.seam)?;
        self.figures.keys_forgotten.fetch_add(early, std::sync::atomic::Ordering::Relaxed);
        self.bury_old_dead()?;
        self.catalog.rewrite_if_grown(None)?;
        self.make_reserve()
    }

    /// Bytes that are kept back for when the disk is full.
    fn reserve_bytes(&self) -> u64 {
        2 * self.limits.rotate_at()
    }

    /// Makes the reserve if it is missing and there is room for it.
    pub(super) fn make_reserve(&self) -> Result<(), StoreError> {
        let path = self.dir.join(RESERVE);
        let free = super::disk::free(&self.dir).unwrap_or(0);
        if path.exists() || free < self.reserve_bytes() + self.limits.disk_floor {
            return Ok(());
        }
        let make = || {
            self.seam.at(FaultPoint::Setup)?;
            let file = std::fs::File::create(&path)?;
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, self.reserve_bytes()).map_err(std::io::Error::from)
        };
        match make() {
            // A file system without fallocate has no reserve; the floor still stands.
            Err(e) if e.kind() == std::io::ErrorKind::Unsupported => Ok(()),
            Err(e) => Err(StoreError::file(&path, e)),
            Ok(()) => Ok(()),
        }
    }

    /// Everything at once, for `Writer::tend` and at the end.
    pub(super) fn tend(&self) -> Result<(), StoreError> {
        self.fold_or_renew()?;
        self.seal()?;
        self.export()?;
        self.round()
    }
}
