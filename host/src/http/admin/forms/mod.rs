//! Bodies of the Admin API that are forms, as Kong reads them: dotted keys nest, `[]` and `[n]` make arrays, and a field's type tells what its text
//! means. JSON bodies are taken as they are.
//!
//! `multipart` cuts a body into fields, `nest` puts fields into each other, `shape` gives texts their types.

mod multipart;
mod nest;
mod shape;

use axum::body::Body;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value};

use self::shape::Shape;
use crate::http::body::{self, Limit};
use crate::http::door::Visit;
use crate::http::problem::Problem;

/// One field of a form.
type Field = (String, String);

/// Fields of one form. Beyond it: 400.
const FIELDS_MAX: usize = 1000;

/// The body of a hook, JSON or form. What a form's texts mean is known from the handler that it names; without one, `config` stays texts.
pub(super) async fn read_hook(visit: &Visit, body: Body) -> Result<Map<String, Value>, Problem> {
    let members = match read(visit, body).await? {
        Read::Json(Value::Object(members)) => return Ok(members),
        Read::Json(_) => return Err(Problem::CannotParseJson),
        Read::Form(members) => members,
    };
    let catalog = visit.doors.pipeline.catalog();
    let handler = members.get("handler").and_then(Value::as_str).and_then(|name| catalog.handler(name));
    let config = handler.map_or(Shape::Unknown, |installed| Shape::of_schema(&installed.record.description.config_schema));
    match Shape::hook(config).infer(Value::Object(members)) {
        Value::Object(members) => Ok(members),
        _ => Err(Problem::CannotParseJson),
    }
}

/// Any body, JSON or form; a form's values are texts.
pub(super) async fn read_any(visit: &Visit, body: Body) -> Result<Value, Problem> {
    Ok(match read(visit, body).await? {
        Read::Json(value) => value,
        Read::Form(members) => Value::Object(members),
    })
}

enum Read {
    Json(Value),
    Form(Map<String, Value>),
}

async fn read(visit: &Visit, body: Body) -> Result<Read, Problem> {
    let headers = &visit.head.headers;
    let fields = match body::media_type(headers) {
        Some(said) if said.eq_ignore_ascii_case("application/x-www-form-urlencoded") => {
            let bytes = body::read(headers, body, Limit::admin(visit.settings.body_wait)).await?;
            urlencoded(&bytes)
        }
        Some(said) if said.eq_ignore_ascii_case("multipart/form-data") => {
            let said = headers.get(CONTENT_TYPE).and_then(|said| said.to_str().ok()).unwrap_or_default();
            let boundary = multipart::boundary(said).ok_or_else(|| malformed("multipart/form-data needs a boundary"))?.to_owned();
            let bytes = body::read(headers, body, Limit::admin(visit.settings.body_wait)).await?;
            multipart::read(&bytes, &boundary)
        }
        _ => return body::read_json(headers, body, visit.settings.body_wait).await.map(Read::Json),
    };
    let nested = fields.and_then(nest::nest).map_err(|message| malformed(&message))?;
    Ok(Read::Form(nested))
}

fn malformed(message: &str) -> Problem {
    Problem::Malformed(format!("the form cannot be read: {message}"))
}

fn urlencoded(bytes: &[u8]) -> Result<Vec<Field>, String> {
    let fields: Vec<Field> = form_urlencoded::parse(bytes).into_owned().filter(|(key, _)| !key.is_empty()).take(FIELDS_MAX + 1).collect();
    few(fields)
}

fn few(fields: Vec<Field>) -> Result<Vec<Field>, String> {
    if fields.len() > FIELDS_MAX { Err(format!("more than {FIELDS_MAX} fields")) } else { Ok(fields) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn curl_sends_what_kong_documents() {
        let text = b"source=crud&event=admins&config.payload.text=Account `{{ entity.username }}` {{ operation}}d+%26+more&=x";
        let nested = nest::nest(urlencoded(text).unwrap()).unwrap();
        let expected = json!({
            "source": "crud", "event": "admins",
            "config": { "payload": { "text": "Account `{{ entity.username }}` {{ operation}}d & more" } }
        });
        assert_eq!(Value::Object(nested), expected);
        assert!(urlencoded(&b"a=1&".repeat(1001)).is_err());
    }
}
