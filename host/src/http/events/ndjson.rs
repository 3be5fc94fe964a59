//! NDJSON: one event object a line, read while the body arrives. Only the line that is not whole yet is kept as text.
//!
//! A line that cannot be read is one event's error, so that one request tells everything. Empty lines are passed over. What stops the reading at once
//! is what a limit is for: too many events, or a line that is longer than any event may be.

use bytes::{Bytes, BytesMut};

use super::native::{self, Gathered};
use crate::http::Settings;
use crate::http::problem::Problem;
use crate::model::NewEvent;

/// How much longer than an event its line may be: names, escapes, spaces.
const AROUND_EVENT: usize = 64 << 10;

/// The lines of a body.
pub(super) struct Lines {
    gathered: Gathered,
    /// The beginning of a line whose end is not here yet.
    begun: BytesMut,
    /// The number of that line, from 1.
    number: usize,
    max_line: usize,
    max_batch: usize,
    max_event: usize,
}

impl Lines {
    pub(super) fn new(settings: &Settings) -> Self {
        let (max_event, max_batch) = (settings.max_event, settings.max_batch);
        let max_line = max_event.saturating_add(AROUND_EVENT);
        Self { gathered: Gathered::new(max_event, 0), begun: BytesMut::new(), number: 1, max_line, max_batch, max_event }
    }

    /// Takes the next piece of the body.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), Problem> {
        let mut pieces = piece.split(|byte| *byte == b'\n').peekable();
        while let Some(part) = pieces.next() {
            if self.begun.len() + part.len() > self.max_line {
                let what = format!("line {} has more bytes than an event may have", self.number);
                return Err(Problem::TooLarge { what, limit: self.max_event, setting: Some("events.max_event") });
            }
            self.begun.extend_from_slice(part);
            if pieces.peek().is_some() {
                self.end_line()?;
            }
        }
        Ok(())
    }

    fn end_line(&mut self) -> Result<(), Problem> {
        let line: Bytes = self.begun.split().freeze();
        let number = self.number;
        self.number += 1;
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        if self.gathered.seen() == self.max_batch {
            let what = "the request has more events".into();
            return Err(Problem::TooLarge { what, limit: self.max_batch, setting: Some("events.max_batch") });
        }
        native::read_line(&line, number, &mut self.gathered);
        Ok(())
    }

    /// The body has ended; its last line needs no line feed.
    pub(super) fn finish(mut self) -> Result<Vec<NewEvent>, Problem> {
        self.end_line()?;
        self.gathered.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, piece: usize, settings: &Settings) -> Result<Vec<NewEvent>, Problem> {
        let mut lines = Lines::new(settings);
        body.as_bytes().chunks(piece).try_for_each(|piece| lines.push(piece))?;
        lines.finish()
    }

    #[test]
    fn lines_are_events_wherever_the_pieces_end() {
        let body = "{\"source\":\"s\",\"event\":\"é\",\"data\":1}\r\n\n  \n{\"source\":\"s\",\"event\":\"b\"}";
        for piece in 1..=body.len() {
            let events = read(body, piece, &Settings::default()).unwrap();
            let names: Vec<_> = events.iter().map(|event| (&*event.name, event.data.as_str())).collect();
            assert_eq!(names, [("é", "1"), ("b", "{}")], "pieces of {piece}");
        }
        assert!(read("", 1, &Settings::default()).unwrap().is_empty());
        assert_eq!(read(&format!("{body}\n"), 7, &Settings::default()).unwrap().len(), 2);
    }

    #[test]
    fn every_wrong_line_is_named() {
        let body = "{\"source\":\"s\",\"event\":\"a\"}\n\n{bad\n[]\n{\"event\":\"c\"}\n{\"source\":\"s\",\"event\":\"a\"} 1\n";
        let Err(Problem::Events(errors)) = read(body, 9, &Settings::default()) else { panic!("no list of errors") };
        let said: Vec<_> = errors.iter().map(|error| (error.index, error.message.as_str())).collect();
        let expected = [
            (1, "line 3: the line is not JSON: key must be a string at byte 1 of the line"),
            (2, "expected an event object"),
            (3, "source: required field missing"),
            (4, "line 6: the line is not JSON: trailing characters at byte 27 of the line"),
        ];
        assert_eq!(said, expected);
        let Err(Problem::Events(errors)) = read("\"\u{0}\n", 1, &Settings::default()) else { panic!("no list of errors") };
        assert_eq!(errors[0].index, 0);
    }

    #[test]
    fn limits_stop_the_reading() {
        let line = "{\"source\":\"s\",\"event\":\"a\"}\n";
        let few = Settings { max_batch: 2, ..Settings::default() };
        assert_eq!(read(&line.repeat(2), 5, &few).unwrap().len(), 2);
        let too_many = read(&line.repeat(3), 5, &few);
        assert!(matches!(too_many, Err(Problem::TooLarge { limit: 2, setting: Some("events.max_batch"), .. })), "{too_many:?}");
        let small = Settings { max_event: 100, ..Settings::default() };
        let mut lines = Lines::new(&small);
        let endless = (0..10_000).find_map(|_| lines.push(&[b' '; 64]).err());
        assert!(matches!(endless, Some(Problem::TooLarge { limit: 100, setting: Some("events.max_event"), .. })), "{endless:?}");
        let event = format!("{{\"source\":\"s\",\"event\":\"a\",\"data\":\"{}\"}}", "x".repeat(200));
        assert!(matches!(read(&event, 64, &small), Err(Problem::EventTooLarge { .. })));
    }
}
