//! From what was written about a hook to the hook that is meant: merging, and the checks that are the same for every handler, in Kong's words. The
//! handler's own `config` is checked by its `validate`, in the sandbox.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::model::{DeliverySettings, Hook, HookLimits, HookNo, Invalid, PathPart, Violation};
use crate::policy::filter::Filter;

/// A hook before its handler has seen `config`.
pub(super) struct Draft {
    pub(super) hook: Hook,
    /// What is wrong so far; the handler's violations are added to it.
    pub(super) violations: Vec<Violation>,
}

const FIELDS: &[&str] = &[
    "id",
    "created_at",
    "updated_at",
    "source",
    "event",
    "handler",
    "on_change",
    "snooze",
    "config",
    "name",
    "tags",
    "description",
    "enabled",
    "paused",
    "filter",
    "delivery",
    "limits",
];

/// Kong's merge: written fields replace; `config` merges one level deep, so that unsent members of it are kept.
pub(super) fn merge(old: &Hook, body: Map<String, Value>) -> Map<String, Value> {
    let mut merged = old.to_entity();
    for (name, value) in body {
        match (name.as_str(), merged.get_mut(&name), value) {
            ("config", Some(Value::Object(kept)), Value::Object(new)) => kept.extend(new),
            (_, _, value) => drop(merged.insert(name, value)),
        }
    }
    merged
}

/// Reads an entity. `is_installed` knows the handlers. Without a handler nothing else can be judged: that is then the only violation.
pub(super) fn read(mut entity: Map<String, Value>, is_installed: impl Fn(&str) -> bool, now: i64) -> Result<Draft, Invalid> {
    entity.retain(|_, value| !value.is_null());
    let handler = match entity.get("handler") {
        None => return Err(Invalid::one("handler", "required field missing")),
        Some(Value::String(name)) if is_installed(name) => name.clone(),
        Some(Value::String(name)) => return Err(Invalid::one("handler", format!("unknown type: {name}"))),
        Some(_) => return Err(Invalid::one("handler", "expected a string")),
    };
    let mut check = Check { entity, violations: Vec::new() };
    check.unknown_fields();
    let source = check.text("source").unwrap_or_default();
    if !check.entity.contains_key("source") {
        check.wrong("source", "required field missing");
    }
    let hook = Hook {
        no: HookNo(0),
        revision: 1,
        id: check.id(),
        source,
        event: check.text("event"),
        handler,
        on_change: check.flag("on_change"),
        snooze: check.snooze(),
        config: check.config(),
        created_at: check.integer("created_at").unwrap_or(now),
        updated_at: check.integer("updated_at").map_or(now, |_| now),
        name: check.name(),
        tags: check.tags(),
        description: check.text("description"),
        enabled: check.flag("enabled"),
        paused: check.flag("paused"),
        filter: check.filter(),
        delivery: check.record::<DeliverySettings>("delivery"),
        limits: check.record::<HookLimits>("limits"),
    };
    Ok(Draft { hook, violations: check.violations })
}

struct Check {
    entity: Map<String, Value>,
    violations: Vec<Violation>,
}

impl Check {
    fn wrong(&mut self, path: &str, message: impl Into<String>) {
        self.violations.push(Violation::new(path, message));
    }

    fn unknown_fields(&mut self) {
        let unknown: Vec<_> = self.entity.keys().filter(|name| !FIELDS.contains(&name.as_str())).cloned().collect();
        for name in unknown {
            // The name is the client's own text: it may hold dots, so it is one part of the path.
            self.violations.push(Violation { path: vec![PathPart::Key(name)], message: "unknown field".into() });
        }
    }

    /// A member of the right type, or none and a violation if it is of another.
    fn typed<T>(&mut self, name: &str, expected: &str, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
        let value = read(self.entity.get(name)?);
        if value.is_none() {
            self.wrong(name, format!("expected {expected}"));
        }
        value
    }

    fn text(&mut self, name: &str) -> Option<String> {
        const LENGTH_MAX: usize = 1024;
        let text = self.typed(name, "a string", |value| value.as_str().map(ToOwned::to_owned))?;
        match text.len() {
            0 => self.wrong(name, "length must be at least 1"),
            LENGTH_MAX.. => self.wrong(name, format!("length must be at most {LENGTH_MAX}")),
            _ => {}
        }
        Some(text)
    }

    fn flag(&mut self, name: &str) -> Option<bool> {
        self.typed(name, "a boolean", Value::as_bool)
    }

    fn integer(&mut self, name: &str) -> Option<i64> {
        // Lua has one kind of number: 60.0 is an integer to Kong.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        let whole =
            |value: &Value| value.as_f64().filter(|number| number.fract() == 0.0 && number.abs() <= EXACT).map(|number| number as i64);
        self.typed(name, "an integer", |value| value.as_i64().or_else(|| whole(value)))
    }

    fn id(&mut self) -> Uuid {
        let text = self.typed("id", "a string", |value| value.as_str().map(ToOwned::to_owned));
        match text.as_deref().map(|text| (text.len(), Uuid::try_parse(text))) {
            None => Uuid::new_v4(),
            Some((36, Ok(id))) => id,
            Some(_) => {
                self.wrong("id", "expected a valid UUID");
                Uuid::nil()
            }
        }
    }

    fn snooze(&mut self) -> Option<i64> {
        let snooze = self.integer("snooze")?;
        if snooze < 0 {
            self.wrong("snooze", "value must be at least 0");
        }
        Some(snooze)
    }

    fn filter(&mut self) -> Option<String> {
        let text = self.typed("filter", "a string", |value| value.as_str().map(ToOwned::to_owned))?;
        if text.is_empty() {
            self.wrong("filter", "length must be at least 1");
        } else if let Err(message) = Filter::read(&text) {
            self.wrong("filter", message);
        }
        Some(text)
    }

    fn config(&mut self) -> Value {
        let config = self.typed("config", "a record", |value| value.as_object().cloned());
        Value::Object(config.unwrap_or_default())
    }

    fn name(&mut self) -> Option<String> {
        let name = self.text("name")?;
        let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '~'));
        if !is_plain {
            self.wrong("name", format!("invalid value '{name}': the only accepted ascii characters are alphanumerics or ., -, _, and ~"));
        } else if Uuid::try_parse(&name).is_ok() {
            self.wrong("name", "must not be a UUID");
        } else if name == "sources" {
            // `/event-hooks/sources` is another thing.
            self.wrong("name", "must not be 'sources'");
        }
        Some(name)
    }

    fn tags(&mut self) -> Option<Vec<String>> {
        const TAGS_MAX: usize = 64;
        let tags = self.typed("tags", "an array", |value| value.as_array().cloned())?;
        if tags.len() > TAGS_MAX {
            self.wrong("tags", format!("length must be at most {TAGS_MAX}"));
        }
        let mut read = Vec::with_capacity(tags.len());
        for (index, tag) in tags.iter().enumerate() {
            match tag.as_str() {
                Some(tag) if !tag.is_empty() => read.push(tag.to_owned()),
                _ => {
                    let path = vec![PathPart::Key("tags".into()), PathPart::Index(u32::try_from(index).unwrap_or(u32::MAX))];
                    self.violations.push(Violation { path, message: "expected a string".into() });
                }
            }
        }
        Some(read)
    }

    /// A record of ours, member by member, so that each violation has its own path.
    fn record<T: DeserializeOwned + Default>(&mut self, name: &str) -> T {
        let Some(members) = self.typed(name, "a record", |value| value.as_object().cloned()) else { return T::default() };
        let mut good = Map::new();
        for (member, value) in members.into_iter().filter(|(_, value)| !value.is_null()) {
            let alone = Value::Object(Map::from_iter([(member.clone(), value.clone())]));
            match serde_json::from_value::<T>(alone) {
                Ok(_) => drop(good.insert(member, value)),
                Err(error) => {
                    let text = error.to_string();
                    let message = if text.starts_with(&format!("unknown field `{member}`")) { "unknown field".to_owned() } else { text };
                    let path = vec![PathPart::Key(name.into()), PathPart::Key(member)];
                    self.violations.push(Violation { path, message });
                }
            }
        }
        serde_json::from_value(Value::Object(good)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn violations(entity: Value) -> Vec<String> {
        let Value::Object(entity) = entity else { panic!("an object") };
        let violations = match read(entity, |name| name == "log", 0) {
            Ok(draft) => draft.violations,
            Err(invalid) => invalid.violations,
        };
        violations.iter().map(|v| format!("{}: {}", v.path_text(), v.message)).collect()
    }

    #[test]
    fn violations_are_kongs() {
        let cases = [
            (json!({}), vec!["handler: required field missing"]),
            (json!({"handler":"foo","source":1}), vec!["handler: unknown type: foo"]),
            (json!({"handler":"log"}), vec!["source: required field missing"]),
            (json!({"handler":"log","source":""}), vec!["source: length must be at least 1"]),
            (json!({"handler":"log","source":"s","foo":1}), vec!["foo: unknown field"]),
            (
                json!({"handler":"log","source":"s","snooze":"soon","on_change":"yes"}),
                vec!["on_change: expected a boolean", "snooze: expected an integer"],
            ),
            (json!({"handler":"log","source":"s","snooze":-1}), vec!["snooze: value must be at least 0"]),
            (json!({"handler":"log","source":"s","id":"x"}), vec!["id: expected a valid UUID"]),
            (json!({"handler":"log","source":"s","config":[]}), vec!["config: expected a record"]),
            (
                json!({"handler":"log","source":"s","delivery":{"order":"x","nope":1}}),
                vec!["delivery.nope: unknown field", "delivery.order: unknown variant `x`, expected `none` or `hook`"],
            ),
            (json!({"handler":"log","source":"s","event":null,"snooze":60.0,"config":null}), vec![]),
        ];
        for (entity, expected) in cases {
            let mut found = violations(entity.clone());
            found.sort();
            assert_eq!(found, expected, "{entity}");
        }
    }

    #[test]
    fn a_patch_merges_config_one_level_deep() {
        let Value::Object(entity) = json!({"handler":"log","source":"s","config":{"url":"u","headers":{"a":"1","b":"2"}}}) else {
            panic!("an object")
        };
        let old = read(entity, |_| true, 0).expect("valid").hook;
        let Value::Object(body) = json!({"config":{"headers":{"c":"3"}},"event":"e"}) else { panic!("an object") };
        let merged = merge(&old, body);
        assert_eq!(merged["config"], json!({"url":"u","headers":{"c":"3"}}));
        assert_eq!((&merged["event"], &merged["source"]), (&json!("e"), &json!("s")));
    }
}
