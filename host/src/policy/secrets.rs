//! Which parts of a config are secret, by the marks `"x-secret": true` of the handler's JSON Schema.
//!
//! Not a validator: a mark that only some values would meet (`oneOf`, `patternProperties`) counts for all, so too much is taken out and never
//! too little. A mark that cannot be followed to a place in the config is an error.

use std::cell::Cell;

use serde_json::{Map, Value};

/// Steps from the schema's root, references included. Beyond it a reference is taken to be endless.
const DEPTH_MAX: usize = 64;
/// Schemas looked at for one config: references can make a small schema mean a very large one.
const LOOKS_MAX: usize = 100_000;

/// Keywords whose schemas describe the same place.
const SAME_PLACE: [&str; 6] = ["allOf", "anyOf", "oneOf", "if", "then", "else"];
/// Keywords that are followed, or hold no schema that describes a place; `$defs` and `definitions` are reached by `$ref`.
const KNOWN: [&str; 10] = [
    "properties",
    "patternProperties",
    "additionalProperties",
    "items",
    "prefixItems",
    "$ref",
    "$defs",
    "definitions",
    "default",
    "examples",
];

/// Takes the secrets out of `config`: members and elements disappear. After an error some may be left.
pub fn withhold(config: &mut Value, schema: &Value) -> Result<(), String> {
    let walk = Walk { root: schema, looks: Cell::new(0) };
    if walk.is_secret(schema, 0)? {
        *config = Value::Null;
    }
    walk.withhold(config, schema, 0)
}

struct Walk<'a> {
    root: &'a Value,
    looks: Cell<usize>,
}

impl<'a> Walk<'a> {
    /// Everything that a schema says about one place: itself, and what it refers to.
    fn parts(&self, schema: &'a Value, depth: usize) -> Result<Vec<&'a Map<String, Value>>, String> {
        let Value::Object(members) = schema else { return Ok(Vec::new()) };
        if depth > DEPTH_MAX {
            return Err(format!("the config schema is more than {DEPTH_MAX} levels deep, or refers to itself"));
        }
        self.looks.set(self.looks.get() + 1);
        if self.looks.get() > LOOKS_MAX {
            return Err(format!("the config schema means more than {LOOKS_MAX} schemas for this config"));
        }
        let mut parts = vec![members];
        if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
            let target = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
            let target = target.ok_or_else(|| format!("the config schema refers to {reference}, which is not in it"))?;
            parts.extend(self.parts(target, depth + 1)?);
        }
        for keyword in SAME_PLACE {
            let list = match members.get(keyword) {
                Some(Value::Array(schemas)) => schemas.as_slice(),
                Some(schema) => std::slice::from_ref(schema),
                None => &[],
            };
            for schema in list {
                parts.extend(self.parts(schema, depth + 1)?);
            }
        }
        Ok(parts)
    }

    fn is_secret(&self, schema: &'a Value, depth: usize) -> Result<bool, String> {
        Ok(self.parts(schema, depth)?.iter().any(|part| part.get("x-secret") == Some(&Value::Bool(true))))
    }

    fn withhold(&self, value: &mut Value, schema: &'a Value, depth: usize) -> Result<(), String> {
        let mut result = Ok(());
        for part in self.parts(schema, depth)? {
            let unknown = part
                .iter()
                .find(|(keyword, below)| !KNOWN.contains(&keyword.as_str()) && !SAME_PLACE.contains(&keyword.as_str()) && marks(below));
            if let Some((keyword, _)) = unknown {
                result = Err(format!("the config schema marks a secret below `{keyword}`, where the host cannot follow"));
            }
            let below = match value {
                Value::Object(members) => self.members(members, part, depth + 1),
                Value::Array(elements) => self.elements(elements, part, depth + 1),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
            };
            result = result.and(below);
        }
        result
    }

    fn members(&self, members: &mut Map<String, Value>, part: &'a Map<String, Value>, depth: usize) -> Result<(), String> {
        let schemas = |keyword| part.get(keyword).and_then(Value::as_object).into_iter().flatten();
        for (name, schema) in schemas("properties") {
            self.one(members, name, schema, depth)?;
        }
        let for_any = schemas("patternProperties").map(|(_, schema)| schema).chain(part.get("additionalProperties"));
        for schema in for_any {
            let names: Vec<String> = members.keys().cloned().collect();
            for name in names {
                self.one(members, &name, schema, depth)?;
            }
        }
        Ok(())
    }

    fn one(&self, members: &mut Map<String, Value>, name: &str, schema: &'a Value, depth: usize) -> Result<(), String> {
        let Some(value) = members.get_mut(name) else { return Ok(()) };
        if self.is_secret(schema, depth)? {
            members.remove(name);
            return Ok(());
        }
        self.withhold(value, schema, depth)
    }

    /// Elements after the first ones of `prefixItems` are `items`; older schemas have the list in `items`.
    fn elements(&self, elements: &mut Vec<Value>, part: &'a Map<String, Value>, depth: usize) -> Result<(), String> {
        let listed = part.get("prefixItems").or(part.get("items")).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let rest = part.get("items").filter(|items| items.is_object());
        let mut kept = Vec::with_capacity(elements.len());
        for (at, mut element) in std::mem::take(elements).into_iter().enumerate() {
            let Some(schema) = listed.get(at).or(rest) else {
                kept.push(element);
                continue;
            };
            if !self.is_secret(schema, depth)? {
                self.withhold(&mut element, schema, depth)?;
                kept.push(element);
            }
        }
        *elements = kept;
        Ok(())
    }
}

/// Is there a mark anywhere in it?
fn marks(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => members.get("x-secret") == Some(&Value::Bool(true)) || members.values().any(marks),
        Value::Array(elements) => elements.iter().any(marks),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn marked_places_are_taken_out_wherever_they_are() {
        let secret = json!({ "type": "string", "x-secret": true });
        let table = [
            (json!({ "properties": { "s": secret } }), json!({ "s": "S", "a": 1 }), json!({ "a": 1 })),
            (
                json!({ "properties": { "o": { "properties": { "s": secret } } } }),
                json!({ "o": { "s": "S", "a": 1 } }),
                json!({ "o": { "a": 1 } }),
            ),
            (
                json!({ "properties": { "l": { "items": { "properties": { "s": secret } } } } }),
                json!({ "l": [{ "s": "S" }, 2] }),
                json!({ "l": [{}, 2] }),
            ),
            (json!({ "properties": { "l": { "items": secret } } }), json!({ "l": ["S", "S"] }), json!({ "l": [] })),
            (
                json!({ "properties": { "l": { "prefixItems": [{}, secret] } } }),
                json!({ "l": ["a", "S", "b"] }),
                json!({ "l": ["a", "b"] }),
            ),
            (json!({ "additionalProperties": secret }), json!({ "any": "S" }), json!({})),
            (json!({ "patternProperties": { "^x": secret } }), json!({ "xa": "S", "b": 1 }), json!({})),
            (json!({ "anyOf": [{ "properties": { "s": secret } }, {}] }), json!({ "s": "S" }), json!({})),
            (json!({ "properties": { "s": { "oneOf": [{ "type": "null" }, secret] } } }), json!({ "s": "S" }), json!({})),
            (json!({ "properties": { "s": { "$ref": "#/$defs/key" } }, "$defs": { "key": secret } }), json!({ "s": "S" }), json!({})),
            (secret.clone(), json!("S"), json!(null)),
            (json!({ "properties": { "s": { "x-secret": false } } }), json!({ "s": 1 }), json!({ "s": 1 })),
            (json!(true), json!({ "s": 1 }), json!({ "s": 1 })),
        ];
        for (schema, mut config, expected) in table {
            assert_eq!(withhold(&mut config, &schema), Ok(()), "{schema}");
            assert_eq!(config, expected, "{schema}");
        }
    }

    #[test]
    fn a_mark_that_cannot_be_followed_is_an_error() {
        let secret = json!({ "x-secret": true });
        for (schema, named) in [
            (json!({ "dependentSchemas": { "a": { "properties": { "s": secret } } } }), "dependentSchemas"),
            (json!({ "properties": { "s": { "$ref": "https://example.com/key.json" } } }), "https://example.com/key.json"),
            (json!({ "properties": { "s": { "$ref": "#/$defs/s" } }, "$defs": { "s": { "$ref": "#/$defs/s" } } }), "refers to itself"),
            (json!({ "properties": { "s": { "anyOf": [{ "$ref": "#/properties/s" }, { "$ref": "#/properties/s" }] } } }), "schema"),
        ] {
            let error = withhold(&mut json!({ "s": "S", "a": 1 }), &schema).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn a_schema_that_describes_itself_is_followed_as_deep_as_the_config_goes() {
        let schema = json!({ "properties": { "s": { "x-secret": true }, "next": { "$ref": "#" } } });
        let mut config = json!({ "s": 1, "next": { "s": 2, "next": { "s": 3, "a": 4 } } });
        assert_eq!(withhold(&mut config, &schema), Ok(()));
        assert_eq!(config, json!({ "next": { "next": { "a": 4 } } }));
    }
}
