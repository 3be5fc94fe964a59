//! What the processes of a run share: the event, ids as numbers, latencies, and how a helper is started and asked.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::Context;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The signing secret of the benchmark's hooks.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Source of the benchmark's events.
pub(crate) const SOURCE: &str = "bench";

/// Length of one event as posted.
pub(crate) const EVENT_BYTES: usize = 400;

/// One event of `EVENT_BYTES`, with its intended send time in it.
pub(crate) fn event(intended_ns: u64) -> Vec<u8> {
    let head = format!("{{\"source\":\"{SOURCE}\",\"event\":\"sold\",\"data\":{{\"t\":{intended_ns:019},\"item\":\"");
    let tail = "\",\"amount\":3,\"price\":12.5,\"paid\":true}}";
    let fill = EVENT_BYTES.saturating_sub(head.len() + tail.len());
    let text: String = "The quick brown fox jumps over the lazy dog. ".chars().cycle().take(fill).collect();
    format!("{head}{text}{tail}").into_bytes()
}

/// An event id's UUID as a number: 16 bytes instead of 36.
pub(crate) fn id_number(id: &[u8]) -> Option<u128> {
    let hex: Vec<u8> = id.strip_prefix(b"evt_")?.iter().copied().filter(|byte| *byte != b'-').collect();
    u128::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()
}

/// Every event id in a text.
pub(crate) fn ids_in(text: &[u8]) -> impl Iterator<Item = u128> + '_ {
    let starts = text.windows(4).enumerate().filter(|(_, window)| *window == b"evt_").map(|(at, _)| at);
    starts.filter_map(|at| {
        let length = text[at + 4..].iter().take_while(|byte| byte.is_ascii_hexdigit() || **byte == b'-').count();
        id_number(&text[at..at + 4 + length])
    })
}

/// Ids from their bytes, as files and the sink hold them.
pub(crate) fn ids_from(bytes: &[u8]) -> std::collections::HashSet<u128> {
    bytes.chunks_exact(16).filter_map(|chunk| Some(u128::from_be_bytes(chunk.try_into().ok()?))).collect()
}

/// Microseconds up to ten minutes with three digits.
pub(crate) fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 600_000_000, 3)?)
}

/// A distribution in microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: u64,
    pub(crate) p95: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
    pub(crate) max: u64,
}

impl Latency {
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self { p50: at(0.5), p95: at(0.95), p99: at(0.99), p999: at(0.999), max: histogram.max() }
    }
}

/// A helper process: this executable with another subcommand. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Helper {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Helper {
    pub(crate) fn start(arguments: &[String]) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child =
            command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("a helper cannot be started")?;
        let stdout = child.stdout.take().context("standard output is piped")?;
        Ok(Self { child, lines: BufReader::new(stdout).lines() })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line it prints, as JSON. Blocks.
    pub(crate) fn line(&mut self) -> anyhow::Result<Value> {
        let line = self.lines.next().context("a helper ended without its line")??;
        serde_json::from_str(&line).with_context(|| format!("a helper printed {line:?}"))
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_its_length_and_is_json() {
        let event = event(crate::now_ns());
        assert_eq!(event.len(), EVENT_BYTES);
        assert!(serde_json::from_slice::<Value>(&event).is_ok());
    }

    #[test]
    fn ids_are_found_in_an_answer() {
        let text =
            br#"{"events":[{"id":"evt_0000000000000000000000000000000a","key":null},{"id":"evt_0000000000000000000000000000000b"}]}"#;
        assert_eq!(ids_in(text).collect::<Vec<_>>(), [10, 11]);
    }
}
