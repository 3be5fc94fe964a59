//! The bars: what is to be reached, what was reached, and both as a table and as JSON.

use serde_json::{Value, json};

use crate::say;

/// One bar's numbers. `None` where a column sets none.
#[derive(Debug, Clone, Copy)]
struct Bar {
    id: &'static str,
    name: &'static str,
    must: f64,
    good: Option<f64>,
    aim: Option<f64>,
    /// Ratios of speed shall be high, times and sizes low.
    high: bool,
}

const fn high(id: &'static str, name: &'static str, must: f64, good: f64, aim: f64) -> Bar {
    Bar { id, name, must, good: Some(good), aim: Some(aim), high: true }
}

const fn low(id: &'static str, name: &'static str, must: f64, good: f64, aim: f64) -> Bar {
    Bar { id, name, must, good: Some(good), aim: Some(aim), high: false }
}

const BARS: [Bar; 15] = [
    high("1", "uploaded handler, fresh instance each: delivered/s ÷ bare loop", 0.10, 0.14, 0.20),
    high("2", "built-in webhook, signed: delivered/s ÷ bare loop", 0.22, 0.28, 0.35),
    high("3", "the same, 100 events a request ÷ bare loop", 0.30, 0.40, 0.55),
    high("4", "fresh instance ÷ native handler", 0.35, 0.45, 0.60),
    high("5", "with journal ÷ without, native handler", 0.55, 0.70, 0.85),
    low("6", "p99 of the 202 at half load ÷ fdatasync p50", 60.0, 30.0, 15.0),
    low("7", "intended send to sink p99 at half load ÷ bare loop p99", 15.0, 8.0, 4.0),
    low("8a", "events queued: RSS over idle, MB", 200.0, 120.0, 60.0),
    low("8b", "events queued: disk ÷ record bytes", 2.2, 1.8, 1.2),
    Bar {
        id: "8c",
        name: "disk 10 s after the drain, over an empty folder ÷ (1 segment + 5 % of the full one)",
        must: 1.0,
        good: None,
        aim: None,
        high: false,
    },
    low("9a", "idle RSS, MB", 60.0, 45.0, 30.0),
    low("9b", "cold start to first 202, warm cache, ms", 400.0, 150.0, 60.0),
    low("9c", "reopen with the events queued, s", 5.0, 2.0, 1.0),
    high("10", "10 000 hooks of which one matches ÷ 1 hook: accepted/s", 0.8, 0.9, 0.97),
    low("11", "one hook in ten hanging: p99 of the healthy ones ÷ without", 2.0, 1.5, 1.1),
];

/// What was reached, bar by bar. A bar without a value was not measured in this run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reached(Vec<(&'static str, f64)>);

impl Reached {
    pub(crate) fn set(&mut self, id: &'static str, value: f64) {
        debug_assert!(BARS.iter().any(|bar| bar.id == id), "no bar {id}");
        self.0.push((id, value));
    }

    /// The median of what one bar reached in the rounds.
    fn value(&self, id: &str) -> Option<f64> {
        median(self.0.iter().filter(|(set, _)| *set == id).map(|(_, value)| *value))
    }

    pub(crate) fn json(&self) -> Value {
        let bars = BARS.iter().map(|bar| {
            let value = self.value(bar.id);
            let holds = |limit: Option<f64>| value.zip(limit).map(|(value, limit)| bar.holds(value, limit));
            json!({
                "id": bar.id, "name": bar.name, "value": value, "must": bar.must, "good": bar.good, "aim": bar.aim,
                "holds_must": holds(Some(bar.must)), "holds_good": holds(bar.good), "holds_aim": holds(bar.aim)
            })
        });
        bars.collect()
    }

    pub(crate) fn print(&self) {
        say(&format!("\n{:<4} {:<78} {:>9} {:>7} {:>7} {:>7}  holds", "bar", "", "value", "must", "good", "aim"));
        for bar in &BARS {
            let text = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
            let holds = match self.value(bar.id) {
                None => "not measured",
                Some(value) if bar.aim.is_some_and(|aim| bar.holds(value, aim)) => "aim",
                Some(value) if bar.good.is_some_and(|good| bar.holds(value, good)) => "good",
                Some(value) if bar.holds(value, bar.must) => "must",
                Some(_) => "NO",
            };
            let (value, must, good, aim) = (text(self.value(bar.id)), text(Some(bar.must)), text(bar.good), text(bar.aim));
            say(&format!("{:<4} {:<78} {value:>9} {must:>7} {good:>7} {aim:>7}  {holds}", bar.id, bar.name));
        }
    }
}

impl Bar {
    fn holds(self, value: f64, limit: f64) -> bool {
        if self.high { value >= limit } else { value <= limit }
    }
}

/// The middle one; of an even number the mean of the two.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (upper, lower) = (values.get(values.len() / 2)?, values.get(values.len().saturating_sub(1) / 2)?);
    Some(f64::midpoint(*upper, *lower))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_hold_from_their_side() {
        let mut reached = Reached::default();
        reached.set("1", 0.15);
        reached.set("9a", 50.0);
        let json = reached.json();
        let bar = |id: &str| json.as_array().expect("a list").iter().find(|bar| bar["id"] == id).expect("the bar").clone();
        assert_eq!((&bar("1")["holds_good"], &bar("1")["holds_aim"]), (&json!(true), &json!(false)));
        assert_eq!((&bar("9a")["holds_must"], &bar("9a")["holds_good"]), (&json!(true), &json!(false)));
        assert_eq!(bar("5")["value"], json!(null));
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0].into_iter()), Some(2.5));
        assert_eq!(median(std::iter::empty()), None);
    }
}
