//! `POST /crud/{schema}/{operation}`: one change of an entity, as the three events that Kong makes of it.

use serde_json::{Map, Value};

use crate::http::problem::{EventError, Problem};
use crate::model::{JsonText, NewEvent, Origin};

/// Longest key in bytes; each of the three events has one of its own.
const KEY_BYTES_MAX: usize = 240;

/// What happened to the entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Create,
    Update,
    Delete,
}

impl Operation {
    pub(super) fn of(name: &str) -> Option<Self> {
        [Self::Create, Self::Update, Self::Delete].into_iter().find(|one| one.as_str() == name)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// Reads `{"entity":{…},"old_entity":{…}?}`. Nulls are left out at every depth, as in Kong.
pub(super) fn read(body: &[u8], schema: &str, operation: Operation, key: Option<&[u8]>) -> Result<Vec<NewEvent>, Problem> {
    let mut errors = Vec::new();
    let mut data = Map::new();
    let members = match serde_json::from_slice::<Value>(body) {
        Ok(Value::Object(members)) => members,
        Ok(_) => return Err(invalid(vec!["expected an object with a member entity".into()])),
        Err(error) => return Err(Problem::Malformed(format!("the body is not JSON: {error}"))),
    };
    if !members.contains_key("entity") {
        errors.push("entity: required field missing".to_owned());
    }
    for (name, value) in members {
        match (name.as_str(), value) {
            ("entity", value @ Value::Object(_)) => drop(data.insert(name, without_nulls(value))),
            ("old_entity", value @ Value::Object(_)) if operation == Operation::Update => drop(data.insert(name, without_nulls(value))),
            ("old_entity", Value::Null) => {}
            ("old_entity", Value::Object(_)) => errors.push("old_entity: only an update has one".to_owned()),
            ("entity" | "old_entity", _) => errors.push(format!("{name}: expected an object")),
            _ => errors.push(format!("{name}: unknown field")),
        }
    }
    let key = key.map(|key| std::str::from_utf8(key).ok().filter(|key| is_key(key)));
    if key == Some(None) {
        errors.push(format!("key: expected 1 to {KEY_BYTES_MAX} bytes without control characters"));
    }
    if !errors.is_empty() {
        return Err(invalid(errors));
    }
    data.insert("operation".into(), operation.as_str().into());
    data.insert("schema".into(), schema.into());
    Ok(events(schema, operation, &JsonText::from_value(&Value::Object(data)), key.flatten()))
}

fn is_key(key: &str) -> bool {
    (1..=KEY_BYTES_MAX).contains(&key.len()) && !key.chars().any(char::is_control)
}

fn events(schema: &str, operation: Operation, data: &JsonText, key: Option<&str>) -> Vec<NewEvent> {
    let operation = operation.as_str();
    let names = [("dao:crud", operation.to_owned()), ("crud", schema.to_owned()), ("crud", format!("{schema}:{operation}"))];
    let event = |(source, name): (&str, String)| NewEvent {
        source: source.into(),
        // A key names one event of a source, and two of the three have the same source.
        key: key.map(|key| if name == schema { key.to_owned() } else { format!("{key}:{operation}") }),
        name: name.into(),
        data: data.clone(),
        time: None,
        attributes: Vec::new(),
        origin: Origin::Producer,
    };
    names.into_iter().map(event).collect()
}

fn without_nulls(mut value: Value) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(members) => {
                members.retain(|_, value| !value.is_null());
                members.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    strip(&mut value);
    value
}

fn invalid(messages: Vec<String>) -> Problem {
    Problem::Events(messages.into_iter().map(|message| EventError { index: 0, message }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_change_is_three_events() {
        let body = br#"{"entity":{"id":"7","a":null,"b":[{"c":null}]},"old_entity":{"id":"7","a":1}}"#;
        let events = read(body, "consumers", Operation::Update, Some(b"k")).unwrap();
        let seen: Vec<_> = events.iter().map(|event| (&*event.source, &*event.name, event.key.as_deref().unwrap())).collect();
        let expected = [("dao:crud", "update", "k:update"), ("crud", "consumers", "k"), ("crud", "consumers:update", "k:update")];
        assert_eq!(seen, expected);
        let data = json!({ "entity": { "id": "7", "b": [{}] }, "old_entity": { "id": "7", "a": 1 }, "operation": "update", "schema": "consumers" });
        assert!(events.iter().all(|event| event.data.to_value() == data));
    }

    #[test]
    fn everything_that_is_wrong_is_told() {
        let told = |body: &str, operation, key| match read(body.as_bytes(), "s", operation, key) {
            Err(Problem::Events(errors)) => errors.into_iter().map(|error| error.message).collect::<Vec<_>>().join("; "),
            other => panic!("{other:?}"),
        };
        let wrong = r#"{"old_entity":{},"x":1}"#;
        let expected = "entity: required field missing; old_entity: only an update has one; x: unknown field";
        assert_eq!(told(wrong, Operation::Create, None), expected);
        assert_eq!(told(r#"{"entity":[]}"#, Operation::Delete, None), "entity: expected an object");
        assert!(told(r#"{"entity":{}}"#, Operation::Delete, Some(b"")).starts_with("key: "));
        assert_eq!(told("[]", Operation::Create, None), "expected an object with a member entity");
    }
}
