//! The store's limits, each with what happens there.

use std::time::Duration;

/// The limits. `app` fills them from the configuration.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Sealed segments older than this are dropped, unless a tenth of their events is owed.
    pub retention: Duration,
    /// Sealed segments beyond this are dropped, oldest first; those that owe a tenth are backlog and do not count. 0: whatever is done is dropped.
    pub retention_bytes: u64,
    /// Bytes of rows in a segment before the next one is begun; a sixteenth of the retention if that is less.
    pub segment_bytes: u64,
    /// A segment with commits in it is sealed after this.
    pub segment_age: Duration,
    /// Where nothing is kept, a segment in which nothing is owed is sealed when it has been idle for this long, so that its disk comes back.
    pub idle_seal: Duration,
    /// Accepted events kept in memory until they are delivered; beyond it they are read from the journal.
    pub cache_bytes: usize,
    /// Producers' keys are remembered for this long.
    pub keys_age: Duration,
    /// Keys remembered at most; beyond it the oldest go first, and `Stats::keys_forgotten` counts them.
    pub keys_max: u64,
    /// Throttle marks kept at most; beyond it the oldest goes: an event too many, never one too few.
    pub throttle_max: usize,
    /// Dead letters older than this are removed.
    pub dead_letters_age: Duration,
    /// Bytes of dead letters kept at most; beyond it the oldest go.
    pub dead_letters_bytes: u64,
    /// Free disk below which `Store::room` says Low. Also what must be left for folding and sealing.
    pub disk_floor: u64,
    /// Bytes of the data folder at which `Store::room` says Low.
    pub disk_max: u64,
    /// Deliveries owed by all hooks together at which `Store::room` says Low.
    pub queued_max: u64,
    /// The catalog is folded this often while something changes.
    pub fold_every: Duration,
    /// Changed entities are exported this long after.
    pub export_every: Duration,
    /// The key for what is sealed at rest, if it does not come from the file in the data folder.
    pub key: Option<[u8; 32]>,
    /// Folding, sealing and dropping on a thread of their own. Off: the caller does it with `Writer::tend`.
    pub background: bool,
    /// No journal: a commit does everything but the rows and the fsync.
    #[cfg(feature = "bench")]
    pub no_journal: bool,
}

/// No segment is smaller: the database's file grows in steps of 4 MiB.
const SEGMENT_BYTES_MIN: u64 = 4 * 1024 * 1024;

impl Default for Limits {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        const HOUR: u64 = 3600;
        Self {
            retention: Duration::from_secs(72 * HOUR),
            retention_bytes: 2048 * MIB,
            segment_bytes: 64 * MIB,
            segment_age: Duration::from_secs(HOUR),
            idle_seal: Duration::from_secs(2),
            cache_bytes: 32 * 1024 * 1024,
            keys_age: Duration::from_secs(24 * HOUR),
            keys_max: 10_000_000,
            throttle_max: 200_000,
            dead_letters_age: Duration::from_secs(30 * 24 * HOUR),
            dead_letters_bytes: 1024 * MIB,
            disk_floor: 512 * MIB,
            disk_max: 64 * 1024 * MIB,
            queued_max: 10_000_000,
            fold_every: Duration::from_secs(2),
            export_every: Duration::from_secs(20),
            key: None,
            background: true,
            #[cfg(feature = "bench")]
            no_journal: false,
        }
    }
}

impl Limits {
    /// Bytes of rows at which the active segment is sealed.
    pub(super) fn rotate_at(&self) -> u64 {
        let share = if self.retention_bytes == 0 { self.segment_bytes } else { (self.retention_bytes / 16).max(SEGMENT_BYTES_MIN) };
        self.segment_bytes.min(share).max(1)
    }

    /// Nothing that is done is kept.
    pub(super) fn keeps_nothing(&self) -> bool {
        self.retention_bytes == 0 || self.retention.is_zero()
    }

    /// Is the journal written?
    #[cfg(feature = "bench")]
    pub(super) fn journals(&self) -> bool {
        !self.no_journal
    }

    /// Is the journal written?
    #[cfg(not(feature = "bench"))]
    pub(super) fn journals(&self) -> bool {
        true
    }
}
