//! `/event-hooks/sources…`: the registered sources, read as in Kong; registering and removing them is ours.

use axum::body::Body;
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::http::body;
use crate::http::door::Visit;
use crate::http::problem::Problem;
use crate::http::reply::{self, Response};
use crate::model::{Invalid, PathPart, SourceEvent, Violation};
use crate::pipeline::ChangeError;

/// `GET /event-hooks/sources`
pub(super) fn all(visit: &Visit) -> Response {
    reply::json(StatusCode::OK, &json!({ "data": **visit.doors.pipeline.catalog().sources() }))
}

/// `GET /event-hooks/sources/{source}`
pub(super) fn one(visit: &Visit, source: &str) -> Result<Response, Problem> {
    let catalog = visit.doors.pipeline.catalog();
    let events = catalog.sources().get(source).ok_or(Problem::NoSuchSource)?;
    Ok(reply::json(StatusCode::OK, &json!({ "data": events })))
}

/// `GET /event-hooks/sources/{source}/{event}`
pub(super) fn event(visit: &Visit, source: &str, event: &str) -> Result<Response, Problem> {
    let catalog = visit.doors.pipeline.catalog();
    let about = catalog.sources().get(source).and_then(|events| events.get(event)).ok_or(Problem::NoSuchSource)?;
    Ok(reply::json(StatusCode::OK, &json!({ "data": about })))
}

/// `PUT /event-hooks/sources/{source}/{event}`: registers or replaces.
pub(super) async fn put(visit: &Visit, source: &str, event: &str, body: Body) -> Result<Response, Problem> {
    let members = body::read_object(&visit.head.headers, body, visit.settings.body_wait).await?;
    let about = read(members).map_err(|invalid| Problem::Change(ChangeError::Invalid(invalid)))?;
    let answer = json!({ "data": about });
    let is_new = visit.doors.pipeline.put_source(source, event, about).await.map_err(Problem::Change)?;
    Ok(reply::json(if is_new { StatusCode::CREATED } else { StatusCode::OK }, &answer))
}

/// `DELETE /event-hooks/sources/{source}/{event}`
pub(super) async fn delete(visit: &Visit, source: &str, event: &str) -> Result<Response, Problem> {
    visit.doors.pipeline.delete_source(source, event).await.map_err(|error| match error {
        ChangeError::NotFound => Problem::NoSuchSource,
        other => Problem::Change(other),
    })?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// Everything that is wrong with a body, at once.
fn read(members: Map<String, Value>) -> Result<SourceEvent, Invalid> {
    let mut about = SourceEvent::default();
    let mut violations = Vec::new();
    for (name, value) in members {
        match (name.as_str(), value) {
            ("fields" | "unique" | "description" | "schema", Value::Null) => {}
            ("fields", value) => about.fields = names("fields", value, &mut violations),
            ("unique", value) => about.unique = names("unique", value, &mut violations),
            ("description", Value::String(text)) => about.description = Some(text),
            ("schema", value) => about.schema = Some(value),
            ("description", _) => violations.push(Violation::new("description", "expected a string")),
            _ => violations.push(Violation { path: vec![PathPart::Key(name)], message: "unknown field".into() }),
        }
    }
    if violations.is_empty() { Ok(about) } else { Err(Invalid { violations }) }
}

fn names(field: &str, value: Value, violations: &mut Vec<Violation>) -> Option<Vec<String>> {
    let Value::Array(elements) = value else {
        violations.push(Violation::new(field, "expected an array"));
        return None;
    };
    let mut names = Vec::with_capacity(elements.len());
    for (index, element) in elements.into_iter().enumerate() {
        let message = match element {
            Value::String(name) if name.is_empty() => "length must be at least 1",
            Value::String(name) => {
                names.push(name);
                continue;
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => "expected a string",
        };
        let path = vec![PathPart::Key(field.into()), PathPart::Index(u32::try_from(index).unwrap_or(u32::MAX))];
        violations.push(Violation { path, message: message.into() });
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_json(value: Value) -> Result<SourceEvent, String> {
        let Value::Object(members) = value else { panic!("an object") };
        read(members).map_err(|invalid| invalid.to_string())
    }

    #[test]
    fn what_is_known_about_an_event_is_read() {
        let about = read_json(json!({ "fields": ["a"], "unique": null, "description": "d" })).unwrap();
        assert_eq!((about.fields, about.unique, about.description), (Some(vec!["a".into()]), None, Some("d".into())));
        assert_eq!(read_json(json!({})), Ok(SourceEvent::default()));
        let wrong = json!({ "fields": "a", "unique": ["b", 1, ""], "description": 1, "a.b": 1 });
        let message = "a.b: unknown field; description: expected a string; fields: expected an array; unique[1]: expected a string; \
                       unique[2]: length must be at least 1";
        assert_eq!(read_json(wrong).unwrap_err(), message);
    }
}
