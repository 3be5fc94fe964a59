//! Kong's wording of what is wrong with an entity: one sentence with sorted paths, and `fields` nested like the input.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::model::{Invalid, PathPart, Violation};

/// Where Kong puts what is wrong with an entity, or with a part of one, as a whole.
const ENTITY: &str = "@entity";

/// Elements of an array beyond this are shown as members of an object: an array would have to be filled up to there.
const INDEX_MAX: u32 = 1000;

/// The message and the `fields`. Of two violations of one path the first counts.
pub(crate) fn word(invalid: &Invalid) -> (String, Value) {
    let mut by_path: BTreeMap<String, &Violation> = BTreeMap::new();
    for violation in &invalid.violations {
        by_path.entry(violation.path_text()).or_insert(violation);
    }
    let worded: Vec<String> = by_path.iter().map(|(path, violation)| sentence(path, &violation.message)).collect();
    let message = match worded.as_slice() {
        [one] => format!("schema violation ({one})"),
        more => format!("{} schema violations ({})", more.len(), more.join("; ")),
    };
    let mut top = Node::default();
    for violation in by_path.values() {
        top.put(&violation.path, &violation.message);
    }
    (message, nested(top.message, top.parts))
}

fn sentence(path: &str, message: &str) -> String {
    if path.is_empty() { message.to_owned() } else { format!("{path}: {message}") }
}

#[derive(Default)]
struct Node {
    message: Option<String>,
    parts: BTreeMap<PathPart, Node>,
}

impl Node {
    fn put(&mut self, path: &[PathPart], message: &str) {
        match path.split_first() {
            Some((part, rest)) => self.parts.entry(part.clone()).or_default().put(rest, message),
            None => self.message = Some(message.to_owned()),
        }
    }

    fn into_value(self) -> Value {
        match (self.message, self.parts) {
            (Some(message), parts) if parts.is_empty() => Value::String(message),
            (message, parts) => nested(message, parts),
        }
    }
}

fn nested(message: Option<String>, parts: BTreeMap<PathPart, Node>) -> Value {
    let is_array = message.is_none() && parts.keys().all(|part| matches!(part, PathPart::Index(index) if *index <= INDEX_MAX));
    if is_array && !parts.is_empty() {
        let mut elements = Vec::new();
        for (part, node) in parts {
            if let PathPart::Index(index) = part {
                elements.resize(index as usize, Value::Null);
            }
            elements.push(node.into_value());
        }
        return Value::Array(elements);
    }
    let mut members = Map::new();
    members.extend(message.map(|message| (ENTITY.to_owned(), json!([message]))));
    members.extend(parts.into_iter().map(|(part, node)| (key(part), node.into_value())));
    Value::Object(members)
}

fn key(part: PathPart) -> String {
    match part {
        PathPart::Key(key) => key,
        PathPart::Index(index) => index.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(violations: Vec<Violation>, message: &str, fields: Value) {
        assert_eq!(word(&Invalid { violations }), (message.to_owned(), fields));
    }

    fn element(index: u32, message: &str) -> Violation {
        let key = |key: &str| PathPart::Key(key.into());
        Violation { path: vec![key("config"), key("functions"), PathPart::Index(index)], message: message.into() }
    }

    #[test]
    fn one_violation_is_singular() {
        let missing = Violation::new("config.url", "required field missing");
        check(
            vec![missing],
            "schema violation (config.url: required field missing)",
            json!({ "config": { "url": "required field missing" } }),
        );
    }

    #[test]
    fn several_are_sorted_and_nested() {
        check(
            vec![
                Violation::new("source", "required field missing"),
                Violation::new("config.url", "required field missing"),
                Violation::new("config.method", "required field missing"),
                Violation::new("config.url", "missing host in url"),
            ],
            "3 schema violations (config.method: required field missing; config.url: required field missing; source: required field missing)",
            json!({ "config": { "method": "required field missing", "url": "required field missing" }, "source": "required field missing" }),
        );
    }

    #[test]
    fn the_entity_as_a_whole_has_its_own_key() {
        let whole = || Violation::new("", "source 'dog' is not registered");
        let fields = json!({ "@entity": ["source 'dog' is not registered"] });
        check(vec![whole()], "schema violation (source 'dog' is not registered)", fields);
        let both = vec![Violation::new("config.url", "b"), Violation::new("config", "a")];
        check(both, "2 schema violations (config: a; config.url: b)", json!({ "config": { "@entity": ["a"], "url": "b" } }));
    }

    #[test]
    fn elements_of_arrays_stand_in_arrays() {
        check(vec![element(0, "e")], "schema violation (config.functions[0]: e)", json!({ "config": { "functions": ["e"] } }));
        check(vec![element(2, "e")], "schema violation (config.functions[2]: e)", json!({ "config": { "functions": [null, null, "e"] } }));
        let far = json!({ "config": { "functions": { "4000000000": "e" } } });
        check(vec![element(4_000_000_000, "e")], "schema violation (config.functions[4000000000]: e)", far);
    }
}
