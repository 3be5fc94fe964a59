//! What the host wrote to standard error: the last lines are kept, searched by tests, and printed when a test fails.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Lines kept; older ones are forgotten.
const KEPT: usize = 20_000;

/// Lines printed when a test fails.
const PRINTED: usize = 120;

/// A ring of lines. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<VecDeque<String>>>);

impl Log {
    /// Reads `stream` to its end on a thread of its own.
    pub(crate) fn follow(&self, stream: impl Read + Send + 'static) {
        let log = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n') {
                let Ok(line) = line else { return };
                log.push(String::from_utf8_lossy(&line).into_owned());
            }
        });
    }

    fn push(&self, line: String) {
        let mut lines = self.lines_mut();
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// Every kept line, oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.lines_mut().iter().cloned().collect()
    }

    /// Every kept line in one text.
    pub fn text(&self) -> String {
        self.lines().join("\n")
    }

    /// The first kept line that holds `needle`.
    pub fn find(&self, needle: &str) -> Option<String> {
        self.lines_mut().iter().find(|line| line.contains(needle)).cloned()
    }

    /// Writes the last lines to this process' standard error.
    #[allow(clippy::print_stderr, reason = "shown by the test harness beside the failed assertion")]
    pub(crate) fn print(&self) {
        let lines = self.lines();
        eprintln!("--- the host's last {} lines:", lines.len().min(PRINTED));
        for line in lines.iter().skip(lines.len().saturating_sub(PRINTED)) {
            eprintln!("  {line}");
        }
    }

    fn lines_mut(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
