//! `/handlers`: what is installed, and installing. Compiling a component takes seconds; the answer comes when it is done.

use std::sync::Arc;

use axum::body::Body;
use http::StatusCode;
use serde_json::{Value, json};

use crate::http::body::{self, Limit};
use crate::http::door::Visit;
use crate::http::path::Parameters;
use crate::http::problem::Problem;
use crate::http::reply::{self, Response};
use crate::model::HandlerRecord;
use crate::pipeline::Installed;

const WASM: &str = "application/wasm";

/// `GET /handlers`
pub(super) fn list(visit: &Visit) -> Response {
    let handlers: Vec<Value> = visit.doors.pipeline.catalog().handlers().iter().map(show_installed).collect();
    reply::json(StatusCode::OK, &json!({ "data": handlers, "next": Value::Null }))
}

/// `GET /handlers/{name}`
pub(super) fn get(visit: &Visit, name: &str) -> Result<Response, Problem> {
    let catalog = visit.doors.pipeline.catalog();
    let installed = catalog.handler(name).ok_or(Problem::NotFound)?;
    Ok(reply::json(StatusCode::OK, &show_installed(installed)))
}

/// `PUT /handlers/{name}`: installs or replaces. With `?grant=asked` it may do what it asks for; without, it reaches nothing.
pub(super) async fn put(visit: &Visit, name: &str, body: Body) -> Result<Response, Problem> {
    let said = body::media_type(&visit.head.headers);
    if !said.is_some_and(|said| said.eq_ignore_ascii_case(WASM)) {
        let said = said.map(str::to_owned);
        return Err(Problem::MediaType { said, accept: WASM, example: "Content-Type: application/wasm" });
    }
    let grant_asked = match Parameters::of(&visit.head.uri)?.get("grant") {
        None => false,
        Some("asked") => true,
        Some(other) => return Err(Problem::Query(format!("grant: '{other}' is not 'asked'"))),
    };
    let settings = &visit.settings;
    let limit = Limit { bytes: settings.component_bytes, setting: Some("limits.component_bytes"), wait: settings.body_wait };
    let component = body::read(&visit.head.headers, body, limit).await?;
    let pipeline = &visit.doors.pipeline;
    let is_new = pipeline.catalog().handler(name).is_none();
    let record = pipeline.install_handler(name, component, grant_asked).await.map_err(Problem::Install)?;
    Ok(reply::json(if is_new { StatusCode::CREATED } else { StatusCode::OK }, &show(&record)))
}

fn show_installed(installed: &Arc<Installed>) -> Value {
    let mut shown = show(&installed.record);
    if let Err(reason) = &installed.component {
        shown["unusable"] = reason.as_str().into();
    }
    shown
}

fn show(record: &HandlerRecord) -> Value {
    json!({
        "name": record.name,
        "version": record.description.version,
        "summary": record.description.summary,
        "digest": format!("sha256:{}", record.digest),
        "bytes": record.bytes,
        "built_in": record.built_in,
        "installed_at": record.installed_at.to_rfc3339(),
        "wants_pings": record.description.wants_pings,
        "asks": record.description.asks,
        "granted": record.granted,
        "reuse_across_hooks": record.reuse_across_hooks,
        "config_schema": record.description.config_schema,
    })
}
