//! What a form's texts mean, as far as the fields' types tell: booleans, integers, arrays; an empty text is null. A text that does not fit its type
//! stays as it is, and validation says so.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The type of a field.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    /// Nothing is known: texts stay texts, even empty ones.
    Unknown,
    Text,
    Flag,
    Whole,
    Number,
    List(Box<Shape>),
    Map(Box<Shape>),
    Record(BTreeMap<String, Shape>),
}

/// A schema is read this deep.
const DEPTH_MAX: usize = 8;

impl Shape {
    /// The hook entity; `config` is the handler's.
    pub(super) fn hook(config: Self) -> Self {
        let whole = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), Self::Whole)).collect::<Vec<_>>();
        let record = |fields: Vec<(String, Self)>| Self::Record(fields.into_iter().collect());
        let retry = record(vec![("schedule_ms".into(), Self::List(Box::new(Self::Whole)))]);
        let mut delivery = whole(&["concurrency", "timeout_ms"]);
        delivery.extend([("profile".into(), Self::Text), ("order".into(), Self::Text), ("retry".into(), retry)]);
        let mut fields = whole(&["created_at", "updated_at", "snooze"]);
        for name in ["id", "source", "event", "handler", "name", "description", "filter"] {
            fields.push((name.into(), Self::Text));
        }
        for name in ["on_change", "enabled", "paused"] {
            fields.push((name.into(), Self::Flag));
        }
        fields.extend([
            ("config".into(), config),
            ("tags".into(), Self::List(Box::new(Self::Text))),
            ("delivery".into(), record(delivery)),
            ("limits".into(), record(whole(&["fuel", "memory_bytes", "log_bytes", "http_requests"]))),
        ]);
        record(fields)
    }

    /// From a JSON Schema, as far as it speaks of types.
    pub(super) fn of_schema(schema: &Value) -> Self {
        Self::of_schema_at(schema, 0)
    }

    fn of_schema_at(schema: &Value, depth: usize) -> Self {
        if depth > DEPTH_MAX {
            return Self::Unknown;
        }
        let inner = |schema: Option<&Value>| schema.map_or(Self::Unknown, |schema| Self::of_schema_at(schema, depth + 1));
        let kind = match schema.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or_default(),
            _ => "",
        };
        match (kind, schema.get("properties").and_then(Value::as_object)) {
            ("string", _) => Self::Text,
            ("boolean", _) => Self::Flag,
            ("integer", _) => Self::Whole,
            ("number", _) => Self::Number,
            ("array", _) => Self::List(Box::new(inner(schema.get("items")))),
            ("object", Some(properties)) => Self::Record(properties.iter().map(|(name, one)| (name.clone(), inner(Some(one)))).collect()),
            ("object", None) => Self::Map(Box::new(inner(schema.get("additionalProperties")))),
            _ => Self::Unknown,
        }
    }

    /// Gives the texts in `value` their types.
    pub(super) fn infer(&self, value: Value) -> Value {
        match (self, value) {
            (Self::Unknown, value) => value,
            (_, Value::String(text)) if text.is_empty() => Value::Null,
            (Self::List(item), Value::Array(items)) => items.into_iter().map(|one| item.infer(one)).collect::<Vec<_>>().into(),
            (Self::List(item), value @ Value::String(_)) => Value::Array(vec![item.infer(value)]),
            (Self::Map(item), Value::Object(members)) => {
                members.into_iter().map(|(name, one)| (name, item.infer(one))).collect::<Map<_, _>>().into()
            }
            (Self::Record(fields), Value::Object(members)) => {
                let typed = |(name, one): (String, Value)| {
                    let one = fields.get(&name).unwrap_or(&Self::Unknown).infer(one);
                    (name, one)
                };
                members.into_iter().map(typed).collect::<Map<_, _>>().into()
            }
            (Self::Flag, Value::String(text)) => match text.as_str() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                _ => Value::String(text),
            },
            (Self::Whole, Value::String(text)) => text.parse::<i64>().map_or(Value::String(text), Value::from),
            (Self::Number, Value::String(text)) => match text.parse::<f64>().ok().and_then(serde_json::Number::from_f64) {
                Some(number) => Value::Number(number),
                None => Value::String(text),
            },
            (_, value) => value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_get_the_types_of_their_fields() {
        let config = Shape::of_schema(&json!({
            "type": "object",
            "properties": {
                "url": { "type": "string" },
                "secret": { "type": ["null", "string"] },
                "ssl_verify": { "type": "boolean" },
                "functions": { "type": "array", "items": { "type": "string" } },
                "headers": { "type": "object", "additionalProperties": { "type": "string" } },
                "ratio": { "type": "number" }
            }
        }));
        let form = json!({
            "snooze": "60", "on_change": "true", "event": "", "tags": "a", "source": "7", "foo": "true",
            "config": { "url": "u", "secret": "", "ssl_verify": "false", "functions": "f", "headers": { "n": "1", "e": "" }, "ratio": "0.5", "x": "" },
            "delivery": { "timeout_ms": "5", "retry": { "schedule_ms": ["1", "2"] } }
        });
        let expected = json!({
            "snooze": 60, "on_change": true, "event": null, "tags": ["a"], "source": "7", "foo": "true",
            "config": { "url": "u", "secret": null, "ssl_verify": false, "functions": ["f"], "headers": { "n": "1", "e": null }, "ratio": 0.5, "x": "" },
            "delivery": { "timeout_ms": 5, "retry": { "schedule_ms": [1, 2] } }
        });
        assert_eq!(Shape::hook(config).infer(form), expected);
    }

    #[test]
    fn what_does_not_fit_stays_text_and_so_does_the_config_of_an_unknown_handler() {
        let form = json!({ "snooze": "soon", "on_change": "yes", "config": { "ssl_verify": "false", "secret": "" } });
        assert_eq!(Shape::hook(Shape::Unknown).infer(form.clone()), form);
    }
}
