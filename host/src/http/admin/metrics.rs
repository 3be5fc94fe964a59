//! `GET /metrics`: the figures of all modules, read when they are asked for, in the OpenMetrics text that Prometheus reads.

use std::fmt;

use http::{HeaderValue, StatusCode};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::http::door::{Inner, Visit};
use crate::http::problem::Problem;
use crate::http::reply::{self, Response};
use crate::model::{Hook, Timestamp};

/// Hooks with a label of their own, the oldest ones first; those of the others are summed under `(others)`.
const HOOK_LABELS_MAX: usize = 200;
const OTHERS: &str = "(others)";

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether a figure only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FigureKind {
    /// Counts up from the start of the process; its name gets `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// One family of the metrics.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// With the unit as its last word, without prefix and without `_total`.
    pub name: &'static str,
    /// One line for people.
    pub help: &'static str,
    /// Whether it only grows.
    pub kind: FigureKind,
    /// Labels and value; one pair without labels if there are none.
    pub values: Vec<(Labels, f64)>,
}

/// Names and values of labels.
pub type Labels = Vec<(&'static str, String)>;

impl Figure {
    /// A counter without labels.
    pub fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, kind: FigureKind::Counter, values: vec![(Vec::new(), to_f64(value))] }
    }

    /// A gauge without labels.
    pub fn gauge(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { name, help, kind: FigureKind::Gauge, values: vec![(Vec::new(), value)] }
    }
}

/// The metrics as text.
pub(super) fn answer(visit: &Visit) -> Result<Response, Problem> {
    let text = write(all(&visit.doors)).map_err(|error| Problem::Internal(format!("the metrics could not be written: {error}")))?;
    Ok(reply::typed(StatusCode::OK, HeaderValue::from_static(CONTENT_TYPE), text.into_bytes()))
}

fn write(figures: Vec<Figure>) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("tenterhook");
    registry.register_collector(Box::new(Reading(figures)));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

#[derive(Debug)]
struct Reading(Vec<Figure>);

impl Collector for Reading {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for figure in &self.0 {
            let kind = match figure.kind {
                FigureKind::Counter => MetricType::Counter,
                FigureKind::Gauge => MetricType::Gauge,
            };
            let mut metric = encoder.encode_descriptor(figure.name, figure.help, None, kind)?;
            if let [(labels, value)] = figure.values.as_slice()
                && labels.is_empty()
            {
                write_value(figure.kind, *value, metric)?;
                continue;
            }
            for (labels, value) in &figure.values {
                let escaped: Vec<(&str, String)> = labels.iter().map(|(name, value)| (*name, escape(value))).collect();
                let labels = escaped.as_slice();
                let labelled = metric.encode_family(&labels)?;
                write_value(figure.kind, *value, labelled)?;
            }
        }
        Ok(())
    }
}

/// Whole numbers are written as such.
fn write_value(kind: FigureKind, value: f64, encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
    const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
    let is_whole = value.fract() == 0.0 && (0.0..=WHOLE_MAX).contains(&value);
    let whole = if is_whole { value as i64 } else { 0 };
    match kind {
        FigureKind::Counter if is_whole => ConstCounter::new(whole.unsigned_abs()).encode(encoder),
        FigureKind::Counter => ConstCounter::new(value).encode(encoder),
        FigureKind::Gauge if is_whole => ConstGauge::new(whole).encode(encoder),
        FigureKind::Gauge => ConstGauge::new(value).encode(encoder),
    }
}

/// The encoder writes the value of a label as it is; names of hooks are their owners' own.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn all(doors: &Inner) -> Vec<Figure> {
    let mut figures = of_pipeline(doors);
    figures.extend(of_store(doors));
    figures.extend(of_hooks(doors));
    figures.extend(doors.figures());
    let requests = doors
        .counts
        .read()
        .map(|(door, class, count)| (vec![("door", door.as_str().to_owned()), ("class", class.to_owned())], to_f64(count)));
    let help = "HTTP requests answered, by door and class of status";
    figures.push(Figure { name: "http_requests", help, kind: FigureKind::Counter, values: requests.collect() });
    figures
}

fn of_pipeline(doors: &Inner) -> Vec<Figure> {
    let stats = doors.pipeline.stats();
    let attempts = stats.attempts.iter().map(|((outcome, code), count)| {
        let code = code.map_or("", |code| code.as_str());
        (vec![("outcome", outcome.as_str().to_owned()), ("code", code.to_owned())], to_f64(*count))
    });
    let help = "Attempts that ended, by what became of the delivery and, where one failed, by the code of the failure";
    let attempts = Figure { name: "attempts", help, kind: FigureKind::Counter, values: attempts.collect() };
    vec![
        Figure::counter("events_accepted", "Events accepted and on disk", stats.accepted),
        Figure::counter("events_duplicate", "Events recognised as seen before", stats.duplicates),
        Figure::counter("events_refused", "Requests whose events were well-formed and not accepted", stats.refused),
        Figure::counter("events_throttled", "Events that the throttle of a hook held back", stats.throttled),
        attempts,
        Figure::gauge("attempts_running", "Attempts running now", to_f64(stats.running)),
        Figure::counter("fuel", "Units of fuel that handlers used, all attempts", stats.fuel),
    ]
}

fn of_store(doors: &Inner) -> Vec<Figure> {
    let stats = doors.pipeline.store().stats();
    let seconds = |micros: u64| to_f64(micros) / 1e6;
    let fsync_seconds = Figure {
        values: vec![(Vec::new(), seconds(stats.sync_us_total))],
        ..Figure::counter("fsync_seconds", "Seconds that syncing the journal took, together", 0)
    };
    vec![
        Figure::gauge("deliveries_owed", "Deliveries owed, all hooks", to_f64(stats.owed)),
        Figure::gauge("oldest_owed_seconds", "Age of the oldest event that is owed, 0 if none is", age(doors, stats.oldest_owed_at)),
        Figure::counter("commits", "Commits to the journal", stats.commits),
        Figure::counter("commit_bytes", "Bytes of the rows of commits", stats.bytes_written),
        Figure::counter("fsyncs", "Times the journal was synced to disk", stats.syncs),
        fsync_seconds,
        Figure::gauge("fsync_last_seconds", "Seconds that the last sync took", seconds(stats.sync_us_last)),
        Figure::gauge("segments", "Segments of the journal", to_f64(stats.segments as u64)),
        Figure::gauge("disk_bytes", "Bytes on disk of journal, catalog and remembered keys", to_f64(stats.disk_bytes)),
        Figure::gauge("keys_remembered", "Keys of events that are remembered", to_f64(stats.keys)),
        Figure::counter("keys_forgotten", "Keys forgotten before their time because there were too many", stats.keys_forgotten),
        Figure::counter("throttle_marks_forgotten", "Throttle marks forgotten because there were too many", stats.throttle_forgotten),
        Figure::gauge("dead_letters", "Dead letters kept", to_f64(stats.dead_letters)),
        Figure::counter("dead_letters_removed", "Dead letters removed by age or size", stats.dead_letters_removed),
        Figure::gauge(
            "commits_unfolded",
            "Commits that the catalog does not hold yet",
            to_f64(stats.last_commit.saturating_sub(stats.folded)),
        ),
    ]
}

/// What one hook, or all those without a label of their own, is owed.
#[derive(Default)]
struct Owed {
    owed: f64,
    running: f64,
    between_attempts: f64,
    oldest_seconds: f64,
}

fn of_hooks(doors: &Inner) -> Vec<Figure> {
    let mut hooks = doors.pipeline.catalog().hooks();
    hooks.sort_unstable_by_key(|hook| hook.no);
    let read = |hook: &Hook| {
        let counts = doors.pipeline.store().counts(hook.no);
        Owed {
            owed: to_f64(counts.owed),
            running: to_f64(counts.running as u64),
            between_attempts: to_f64(counts.between_attempts as u64),
            oldest_seconds: age(doors, counts.oldest_at),
        }
    };
    let (own, rest) = hooks.split_at(hooks.len().min(HOOK_LABELS_MAX));
    let mut rows: Vec<(String, Owed)> = own.iter().map(|hook| (label(hook), read(hook))).collect();
    if !rest.is_empty() {
        rows.push((OTHERS.into(), rest.iter().map(|hook| read(hook)).fold(Owed::default(), sum)));
    }
    let family = |name, help, value: fn(&Owed) -> f64| {
        let values = rows.iter().map(|(hook, owed)| (vec![("hook", hook.clone())], value(owed))).collect();
        Figure { name, help, kind: FigureKind::Gauge, values }
    };
    vec![
        family("hook_deliveries_owed", "Deliveries owed, by hook", |owed| owed.owed),
        family("hook_attempts_running", "Deliveries being attempted, by hook", |owed| owed.running),
        family("hook_deliveries_retrying", "Deliveries between attempts, by hook", |owed| owed.between_attempts),
        family("hook_oldest_owed_seconds", "Age of the oldest event that is owed, by hook", |owed| owed.oldest_seconds),
    ]
}

fn sum(a: Owed, b: Owed) -> Owed {
    Owed {
        owed: a.owed + b.owed,
        running: a.running + b.running,
        between_attempts: a.between_attempts + b.between_attempts,
        oldest_seconds: a.oldest_seconds.max(b.oldest_seconds),
    }
}

fn label(hook: &Hook) -> String {
    hook.name.clone().unwrap_or_else(|| hook.id.to_string())
}

fn age(doors: &Inner, since: Option<Timestamp>) -> f64 {
    since.map_or(0.0, |since| doors.clock.now().since(since).as_secs_f64())
}

/// Metrics are doubles: beyond 2^53 they round.
fn to_f64(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_become_openmetrics_text() {
        let labelled = Figure {
            values: vec![
                (vec![("outcome", "retry".into()), ("code", "dns".into())], 2.0),
                (vec![("outcome", "delivered".into()), ("code", String::new())], 5.0),
            ],
            ..Figure::counter("attempts", "Attempts", 0)
        };
        let text = write(vec![Figure::gauge("disk_bytes", "Bytes", 1.5), Figure::counter("fuel", "Fuel", 7), labelled]).unwrap();
        let expected = "# HELP tenterhook_disk_bytes Bytes\n\
                        # TYPE tenterhook_disk_bytes gauge\n\
                        tenterhook_disk_bytes 1.5\n\
                        # HELP tenterhook_fuel Fuel\n\
                        # TYPE tenterhook_fuel counter\n\
                        tenterhook_fuel_total 7\n\
                        # HELP tenterhook_attempts Attempts\n\
                        # TYPE tenterhook_attempts counter\n\
                        tenterhook_attempts_total{outcome=\"retry\",code=\"dns\"} 2\n\
                        tenterhook_attempts_total{outcome=\"delivered\",code=\"\"} 5\n\
                        # EOF\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_hostile_name_stays_inside_its_label() {
        let named = Figure { values: vec![(vec![("hook", "a\"} 1\nx".into())], 1.0)], ..Figure::gauge("owed", "Owed", 0.0) };
        let text = write(vec![named]).unwrap();
        assert!(text.contains("tenterhook_owed{hook=\"a\\\"} 1\\nx\"} 1\n"), "{text}");
    }
}
