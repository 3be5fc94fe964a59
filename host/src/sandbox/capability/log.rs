//! Lines for the operator: what the guest writes through `log.write`, and its standard output and error.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::{LogLevel, LogLine};
use crate::sandbox::limits::Exceeded;

/// A line counts this much more than its text, so that empty lines have an end too.
const LINE_BYTES: u64 = 16;

/// The log of one instance. Clones share it: the instance's standard output and error write into the same.
#[derive(Debug, Clone, Default)]
pub(in crate::sandbox) struct Log(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    left: u64,
    lines: Vec<LogLine>,
    /// Standard output and error, up to the next line break.
    unfinished: [Vec<u8>; 2],
    exceeded: bool,
}

/// One of the two streams that WASI gives a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) enum Stream {
    Output,
    Error,
}

impl Stream {
    fn level(self) -> LogLevel {
        match self {
            Self::Output => LogLevel::Info,
            Self::Error => LogLevel::Warn,
        }
    }
}

impl Log {
    /// Starts a new attempt.
    pub(in crate::sandbox) fn start(&self, bytes_max: u64) {
        *self.book() = Book { left: bytes_max, ..Book::default() };
    }

    /// Adds one line.
    pub(in crate::sandbox) fn write(&self, level: LogLevel, line: &[u8]) -> Result<(), Exceeded> {
        self.book().add(level, line)
    }

    /// Adds bytes of a stream: whole lines become lines.
    pub(in crate::sandbox) fn stream(&self, stream: Stream, mut bytes: &[u8]) -> Result<(), Exceeded> {
        let mut book = self.book();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let mut line = std::mem::take(&mut book.unfinished[stream as usize]);
            line.extend_from_slice(&bytes[..end]);
            book.add(stream.level(), &line)?;
            bytes = &bytes[end + 1..];
        }
        let unfinished = &mut book.unfinished[stream as usize];
        unfinished.extend_from_slice(bytes);
        if unfinished.len() as u64 > book.left {
            let line = std::mem::take(&mut book.unfinished[stream as usize]);
            return book.add(stream.level(), &line);
        }
        Ok(())
    }

    /// The lines, with what is left of unfinished ones, and whether the limit was run into.
    pub(in crate::sandbox) fn finish(&self) -> (Vec<LogLine>, bool) {
        let mut book = self.book();
        for stream in [Stream::Output, Stream::Error] {
            let line = std::mem::take(&mut book.unfinished[stream as usize]);
            if !line.is_empty() {
                // Cut to what is left of the limit; the attempt is over, so running into it here ends nothing.
                let cut = line.len().min(usize::try_from(book.left.saturating_sub(LINE_BYTES)).unwrap_or(usize::MAX));
                let exceeded = book.exceeded;
                let _ = book.add(stream.level(), &line[..cut]);
                book.exceeded = exceeded;
            }
        }
        let exceeded = book.exceeded;
        (std::mem::take(&mut book.lines), exceeded)
    }

    /// Has the limit been run into?
    pub(in crate::sandbox) fn exceeded(&self) -> bool {
        self.book().exceeded
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// What does not fit is cut; the cut line is kept, because it may say why the guest writes so much.
    fn add(&mut self, level: LogLevel, line: &[u8]) -> Result<(), Exceeded> {
        let cost = line.len() as u64 + LINE_BYTES;
        let fits = cost <= self.left;
        let kept = if fits { line.len() } else { usize::try_from(self.left.saturating_sub(LINE_BYTES)).unwrap_or(0).min(line.len()) };
        if fits || kept > 0 {
            self.lines.push(LogLine { level, text: String::from_utf8_lossy(&line[..kept]).into_owned() });
        }
        self.left = self.left.saturating_sub(cost);
        self.exceeded |= !fits;
        if fits { Ok(()) } else { Err(Exceeded::Log) }
    }
}
