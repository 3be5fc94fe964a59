//! What is known about the machine and about a process on it, from `/proc`.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use serde::Serialize;

/// Measured synchronisations for the median.
const SYNCS: usize = 300;

/// Kernel ticks a second in `/proc/<pid>/stat`: 100 on every Linux of the last decades.
const TICKS: f64 = 100.0;

/// The machine that a result belongs to.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    memory_mb: u64,
    kernel: String,
    load_at_start: String,
    /// Median of a 4 KiB append and fdatasync in the folder that holds the data.
    pub(crate) fdatasync_p50_us: f64,
}

impl Machine {
    pub(crate) fn look(dir: &Path) -> anyhow::Result<Self> {
        let line = |file: &str, start: &str| {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let found = text.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned();
            found.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let memory: u64 = line("/proc/meminfo", "MemTotal").split(' ').next().and_then(|kb| kb.parse().ok()).unwrap_or(0);
        Ok(Self {
            cpu: line("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mb: memory / 1024,
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            load_at_start: std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned(),
            fdatasync_p50_us: fdatasync_p50_us(dir)?,
        })
    }
}

fn fdatasync_p50_us(dir: &Path) -> anyhow::Result<f64> {
    let path = dir.join("fdatasync");
    let mut file = File::create(&path).with_context(|| format!("{} cannot be written", path.display()))?;
    let mut taken = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&[0x5a; 4096])?;
        let started = Instant::now();
        file.sync_data()?;
        taken.push(started.elapsed());
    }
    std::fs::remove_file(&path)?;
    taken.sort();
    Ok(taken[SYNCS / 2].as_secs_f64() * 1e6)
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Used {
    /// User and kernel time, microseconds.
    pub(crate) cpu_us: f64,
    /// Bytes handed to the block layer.
    pub(crate) written: u64,
}

impl Used {
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name in parentheses may hold spaces; what follows it is numbers, user and kernel time the 12th and 13th of them.
        let numbers: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |index: usize| numbers.get(index).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
        let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).and_then(|text| text.parse().ok()).unwrap_or(0);
        Ok(Self { cpu_us: (ticks(11) + ticks(12)) / TICKS * 1e6, written })
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self { cpu_us: self.cpu_us - earlier.cpu_us, written: self.written.saturating_sub(earlier.written) }
    }
}

/// Resident memory of a process, MB.
pub(crate) fn rss_mb(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kb =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")).and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kb.context("no VmRSS")? / 1024.0)
}

/// Blocks that a folder takes on the disk, in bytes.
pub(crate) fn disk_bytes(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(about) if about.is_dir() => disk_bytes(&entry.path()),
        Ok(about) => about.blocks() * 512,
        // Gone between listing and looking: a segment was dropped.
        Err(_) => 0,
    };
    entries.map(size).sum()
}
