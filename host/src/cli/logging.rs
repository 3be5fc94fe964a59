//! Where log lines go: standard error, for people or for machines. What is logged is each module's own.

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogFormat;

/// The running log; its level can be changed.
#[derive(Debug, Clone)]
pub struct Logging(reload::Handle<EnvFilter, Registry>);

/// The log cannot be set up: for the operator at start.
#[derive(Debug, thiserror::Error)]
#[error("the log cannot be set up: {0}")]
pub struct LoggingError(String);

/// Starts logging for the whole process; once.
pub fn start(format: LogFormat, level: &str) -> Result<Logging, LoggingError> {
    let terminal = io::stderr().is_terminal();
    let (subscriber, logging) = subscriber(is_human(format, terminal), terminal, level, io::stderr)?;
    subscriber.try_init().map_err(|error| LoggingError(error.to_string()))?;
    Ok(logging)
}

impl Logging {
    /// Another level, checked by the settings; lines from now on follow it.
    pub fn set_level(&self, level: &str) -> Result<(), LoggingError> {
        self.0.reload(filter(level)?).map_err(|error| LoggingError(error.to_string()))
    }
}

fn is_human(format: LogFormat, terminal: bool) -> bool {
    match format {
        LogFormat::Auto => terminal,
        LogFormat::Human => true,
        LogFormat::Json => false,
    }
}

fn filter(level: &str) -> Result<EnvFilter, LoggingError> {
    EnvFilter::try_new(level).map_err(|error| LoggingError(format!("level `{level}`: {error}")))
}

type Built = (Box<dyn tracing::Subscriber + Send + Sync>, Logging);

/// JSON lines carry the fields at the top, so that `jq .delivery` finds them; spans come as a list.
fn subscriber<W>(human: bool, colours: bool, level: &str, writer: W) -> Result<Built, LoggingError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(filter(level)?);
    let lines = if human {
        fmt::layer().with_ansi(colours).with_writer(writer).boxed()
    } else {
        fmt::layer().json().flatten_event(true).with_current_span(false).with_writer(writer).boxed()
    };
    Ok((Box::new(Registry::default().with(filter).with(lines)), Logging(handle)))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(human: bool, level: &str, say: impl FnOnce(&Logging)) -> Vec<String> {
        let written = Written::default();
        let writer = written.clone();
        let (subscriber, logging) = subscriber(human, false, level, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || say(&logging));
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn machines_get_one_object_a_line() {
        let lines = lines(false, "info", |_| {
            let span = tracing::info_span!("request", id = "r1");
            span.in_scope(|| tracing::info!(delivery = "dlv_1", "two\nlines"));
            tracing::debug!("not said");
        });
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["level"], &line["message"], &line["delivery"]), (&"INFO".into(), &"two\nlines".into(), &"dlv_1".into()));
        assert_eq!(line["spans"][0]["id"], "r1");
    }

    #[test]
    fn people_get_text() {
        let lines = lines(true, "info", |_| tracing::warn!(door = "admin", "moved"));
        assert!(lines[0].contains("WARN") && lines[0].contains("moved") && lines[0].contains("door=\"admin\""), "{lines:?}");
    }

    #[test]
    fn the_level_can_be_changed_while_running() {
        let lines = lines(true, "warn", |logging| {
            tracing::info!("before");
            logging.set_level("info").unwrap();
            tracing::info!("after");
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("after"));
    }

    #[test]
    fn the_form_follows_the_terminal_unless_it_is_said() {
        assert!(is_human(LogFormat::Auto, true) && !is_human(LogFormat::Auto, false));
        assert!(is_human(LogFormat::Human, false) && !is_human(LogFormat::Json, true));
    }
}
