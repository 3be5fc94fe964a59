//! Does an event's data fit the JSON Schema (2020-12) of its source? Patterns are matched in linear time, and nothing is fetched.

use std::error::Error;

use boon::{CompileError, Compiler, Draft, SchemaIndex, Schemas, UrlLoader, ValidationError};
use serde_json::Value;

use crate::model::JsonText;

/// Bytes of a schema's text.
const TEXT_MAX: usize = 64 << 10;
/// Of what is wrong with one event's data, this much is told.
const TOLD_MAX: usize = 5;
/// What a compiler calls the schema.
const NAME: &str = "urn:tenterhook:schema";

/// A schema, compiled.
pub struct Schema {
    schemas: Schemas,
    top: SchemaIndex,
}

/// Schemas stand alone: what they name elsewhere is not fetched, from files neither.
struct Nothing;

impl UrlLoader for Nothing {
    fn load(&self, url: &str) -> Result<Value, Box<dyn Error>> {
        Err(format!("'{url}' stands outside the schema").into())
    }
}

impl Schema {
    /// Compiles. The error is for whoever wrote it.
    pub fn read(schema: &Value) -> Result<Self, String> {
        if !schema.is_object() && !schema.is_boolean() {
            return Err("expected a record".to_owned());
        }
        if schema.to_string().len() > TEXT_MAX {
            return Err(format!("length must be at most {TEXT_MAX}"));
        }
        let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
        compiler.set_default_draft(Draft::V2020_12);
        compiler.use_loader(Box::new(Nothing));
        let refused = |error: CompileError| match &error {
            CompileError::ValidationError { src, .. } => told(src),
            other => other.to_string().replace(NAME, ""),
        };
        compiler.add_resource(NAME, schema.clone()).map_err(refused)?;
        let top = compiler.compile(NAME, &mut schemas).map_err(refused)?;
        Ok(Self { schemas, top })
    }

    /// All that is wrong, in one line.
    pub fn check(&self, data: &JsonText) -> Result<(), String> {
        let data = data.to_value();
        self.schemas.validate(&data, self.top).map_err(|error| told(&error))
    }
}

impl std::fmt::Debug for Schema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Schema").field("parts", &self.schemas.size()).finish()
    }
}

/// The innermost errors, each with its place.
fn told(error: &ValidationError<'_, '_>) -> String {
    let mut told = Vec::new();
    collect(error, &mut told);
    told.join("; ")
}

fn collect(error: &ValidationError<'_, '_>, into: &mut Vec<String>) {
    if into.len() >= TOLD_MAX {
        return;
    }
    if error.causes.is_empty() {
        let place = error.instance_location.to_string().replace('/', ".");
        into.push(format!("data{place}: {}", error.kind).chars().take(200).collect());
    }
    error.causes.iter().for_each(|cause| collect(cause, into));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn data_is_checked_and_told_where_it_does_not_fit() {
        let schema =
            json!({ "type": "object", "required": ["name"], "properties": { "name": { "type": "string" }, "age": { "minimum": 0 } } });
        let schema = Schema::read(&schema).unwrap();
        let check = |data: Value| schema.check(&JsonText::from_value(&data));
        assert_eq!(check(json!({ "name": "Rex", "age": 3 })), Ok(()));
        let error = check(json!({ "name": 7, "age": -1 })).unwrap_err();
        assert!(error.contains("data.name: ") && error.contains("data.age: "), "{error}");
        assert!(check(json!({})).unwrap_err().starts_with("data: "));
    }

    #[test]
    fn schemas_that_are_none_are_refused() {
        for wrong in [json!(1), json!({ "type": "dog" }), json!({ "$ref": "https://example.com/a" }), json!({ "pattern": "(" })] {
            assert!(Schema::read(&wrong).is_err(), "{wrong}");
        }
        assert!(Schema::read(&json!({ "const": "x".repeat(70_000) })).is_err());
    }
}
