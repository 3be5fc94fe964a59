//! The handler `log`: writes each event to the host's log, in the form of Kong's handler of this name. Always `done`, so never retried.

mod inspect;
mod number;

use tenterhook_sdk::{Answer, Attempt, Description, Event, Failure, Handler, NoConfig, Settings, log};

/// A longer line is cut. Half of the default of `limits.log_bytes`, beyond which the attempt would end: a large event should not be one that
/// cannot be handled.
const LINE_BYTES_MAX: usize = 32 * 1024;

/// The handler.
#[derive(Debug)]
pub struct Log;

impl Handler for Log {
    type Config = NoConfig;

    fn describe(about: Description) -> Description {
        let config_schema = r#"{"type":"object","additionalProperties":false}"#.into();
        Description { name: "log".into(), config_schema, ..about }
    }

    fn handle(event: Event, _: Attempt, _: NoConfig, settings: Settings) -> Result<Answer, Failure> {
        log::notice(line(&event, settings.pid()));
        Ok(Answer::done())
    }
}

/// `"log callback: " { "consumers", "crud", { … }, 68854 }`.
fn line(event: &Event, pid: u64) -> String {
    let mut line = String::with_capacity(2 * event.data.len() + 64);
    line.push_str("\"log callback: \" { ");
    inspect::push_text(&mut line, &event.name);
    line.push_str(", ");
    inspect::push_text(&mut line, &event.source);
    line.push_str(", ");
    // One level deep already: the data stands in a list.
    inspect::push_json(&mut line, &event.data, 1);
    line.push_str(&format!(", {pid} }}"));
    cut(line)
}

/// Cuts a line that is too long, between two characters, and says so.
fn cut(mut line: String) -> String {
    if line.len() > LINE_BYTES_MAX {
        let left_out = line.len() - line.floor_char_boundary(LINE_BYTES_MAX);
        line.truncate(line.len() - left_out);
        line.push_str(&format!("… ({left_out} bytes left out)"));
    }
    line
}

tenterhook_sdk::export!(Log);

#[cfg(test)]
mod tests;
