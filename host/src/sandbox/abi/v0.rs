//! Contract 0.1: the bindings of `wit/v0` and the conversions between them and the model.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use wasmtime::Store;
use wasmtime::component::{HasSelf, Instance, InstancePre, Linker};

use super::{Asked, Bound, Described, Exports, PREPARE, Prepared, Preparing, Reply, Spoken, Validated};
use crate::egress::EgressError;
use crate::model::{
    Asks, FailureCode, GuestRequest, HeaderValue, JsonText, LogLevel, PathPart, RequestOptions, ResponseSummary, Violation,
};
use crate::sandbox::component::Version;
use crate::sandbox::instance::State;
use bindings::exports::tenterhook::hook::handler::Guest;
use bindings::tenterhook::hook::{http, log, types};
use bindings::{HandlerComponent, HandlerComponentPre};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit/v0",
        world: "tenterhook:hook/handler-component",
        imports: { default: async | trappable },
        exports: { default: async },
        // The event's text goes into the guest from where it lies: it is copied once, by the call itself.
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

pub(super) const SPOKEN: Spoken = Spoken { version: Version(0, 1, 0), interfaces: &["types", "log", "http"], link, bind, prepare };

fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    HandlerComponent::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

fn bind(component: InstancePre<State>) -> wasmtime::Result<Box<dyn Bound>> {
    Ok(Box::new(HandlerComponentPre::new(component)?))
}

/// Not by the bindings: a component that was opened for a snapshot is no longer only what the world says.
fn prepare<'a>(instance: &'a Instance, store: &'a mut Store<State>, config: JsonText, settings: JsonText) -> Preparing<'a> {
    async move {
        let prepare = instance.get_typed_func::<(&str, &str), (Prepared,)>(&mut *store, PREPARE)?;
        let (prepared,) = prepare.call_async(store, (config.as_str(), settings.as_str())).await?;
        Ok(prepared)
    }
    .boxed()
}

impl Bound for HandlerComponentPre<State> {
    fn instantiate<'a>(&'a self, store: &'a mut Store<State>) -> BoxFuture<'a, wasmtime::Result<Box<dyn Exports>>> {
        async move { Ok(Box::new(self.instantiate_async(store).await?) as Box<dyn Exports>) }.boxed()
    }
}

impl Exports for HandlerComponent {
    fn describe<'a>(&'a self, store: &'a mut Store<State>) -> BoxFuture<'a, wasmtime::Result<Described>> {
        async move { Ok(described(self.tenterhook_hook_handler().call_describe(store).await?)) }.boxed()
    }

    fn validate<'a>(
        &'a self,
        store: &'a mut Store<State>,
        config: JsonText,
        settings: JsonText,
    ) -> BoxFuture<'a, wasmtime::Result<Validated>> {
        async move {
            let validated = self.tenterhook_hook_handler().call_validate(store, config.as_str(), settings.as_str()).await?;
            Ok(validated.map_err(|violations| violations.into_iter().map(violation).collect()))
        }
        .boxed()
    }

    fn handle<'a>(&'a self, store: &'a mut Store<State>, asked: Asked) -> BoxFuture<'a, wasmtime::Result<Reply>> {
        async move { handle(self.tenterhook_hook_handler(), store, &asked).await }.boxed()
    }
}

async fn handle(guest: &Guest, store: &mut Store<State>, asked: &Asked) -> wasmtime::Result<Reply> {
    let time = asked.event.time.to_rfc3339();
    let first_tried = asked.first_tried.to_rfc3339();
    let attributes: Vec<(&str, &str)> = asked.event.attributes.iter().map(|(name, value)| (&**name, &**value)).collect();
    let event = types::Event {
        id: asked.event.id.as_str(),
        source: &asked.event.source,
        name: &asked.event.name,
        time: &time,
        data: asked.event.data.as_str(),
        attributes: &attributes,
        extra: &[],
    };
    let attempt = types::Attempt {
        delivery_id: &asked.delivery_id,
        hook_id: &asked.hook_id,
        number: asked.number,
        first_tried: &first_tried,
        deadline_ms: u32::try_from(asked.deadline.as_millis()).unwrap_or(u32::MAX),
        test: asked.test,
        seed: asked.seed,
        extra: &[],
    };
    let reply = guest.call_handle(store, event, attempt, asked.config.as_str(), asked.settings.as_str()).await?;
    Ok(match reply {
        Ok(types::Answer::Done(json)) => Reply::Done(json),
        Ok(types::Answer::Send(request)) => Reply::Send(Box::new(guest_request(request))),
        Err(types::Failure::Retry(retry)) => Reply::Retry { reason: retry.reason, after: retry.after_ms.map(Duration::from_millis) },
        Err(types::Failure::Reject(reason)) => Reply::Reject(reason),
        Err(types::Failure::PauseHook(reason)) => Reply::PauseHook(reason),
    })
}

fn described(description: types::Description) -> Described {
    let asks = description.asks;
    Described {
        name: description.name,
        version: description.version,
        summary: description.summary,
        config_schema: description.config_schema,
        wants_pings: description.wants_pings,
        asks: Asks { http_hosts: asks.http_hosts, secrets: asks.secrets, kv: asks.kv, emit: asks.emit },
    }
}

fn violation(violation: types::Violation) -> Violation {
    let part = |part| match part {
        types::PathPart::Key(key) => PathPart::Key(key),
        types::PathPart::Index(index) => PathPart::Index(index),
    };
    Violation { path: violation.path.into_iter().map(part).collect(), message: violation.message }
}

fn guest_request(request: types::Request) -> GuestRequest {
    let value = |value| match value {
        types::Value::Text(bytes) => HeaderValue::Text(bytes),
        types::Value::Secret(secret) => HeaderValue::Secret { prefix: secret.prefix, name: secret.name },
    };
    let millis = |millis: Option<u32>| millis.map(|millis| Duration::from_millis(millis.into()));
    GuestRequest {
        method: request.method,
        url: request.url,
        headers: request.headers.into_iter().map(|(name, text)| (name, value(text))).collect(),
        body: request.body.map(Bytes::from),
        options: RequestOptions {
            verify_tls: request.options.verify_tls,
            connect_timeout: millis(request.options.connect_timeout_ms),
            total_timeout: millis(request.options.total_timeout_ms),
        },
    }
}

impl types::Host for State {}

impl log::Host for State {
    async fn write(&mut self, level: log::Level, line: Vec<u8>) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Notice => LogLevel::Notice,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Err => LogLevel::Err,
            log::Level::Crit => LogLevel::Crit,
            log::Level::Alert => LogLevel::Alert,
            log::Level::Emerg => LogLevel::Emerg,
        };
        Ok(self.log.write(level, &line)?)
    }
}

impl http::Host for State {
    async fn send(&mut self, request: types::Request) -> wasmtime::Result<Result<http::Response, http::Error>> {
        Ok(self.http.send(guest_request(request)).await?.map(response).map_err(http_error))
    }
}

fn response(response: ResponseSummary) -> http::Response {
    http::Response { status: response.status, headers: response.headers, body: response.body.into(), extra: Vec::new() }
}

fn http_error(error: EgressError) -> http::Error {
    match error.code {
        FailureCode::Denied | FailureCode::BadRequest => http::Error::Denied(error.detail),
        FailureCode::Dns => http::Error::Dns(error.detail),
        FailureCode::Connect => http::Error::Connect(error.detail),
        FailureCode::Tls => http::Error::Tls(error.detail),
        FailureCode::Timeout => http::Error::Timeout(error.detail),
        FailureCode::TooLarge => http::Error::TooLarge(error.detail),
        // Egress gives no other code; if it did, the guest would still learn that no answer came.
        FailureCode::Protocol
        | FailureCode::Retry
        | FailureCode::Reject
        | FailureCode::PauseHook
        | FailureCode::Status
        | FailureCode::Deadline
        | FailureCode::FuelLimit
        | FailureCode::MemoryLimit
        | FailureCode::TableLimit
        | FailureCode::HostcallLimit
        | FailureCode::HandleLimit
        | FailureCode::LogLimit
        | FailureCode::HttpLimit
        | FailureCode::AnswerLimit
        | FailureCode::StackOverflow
        | FailureCode::Trap
        | FailureCode::Panic
        | FailureCode::GuestExit
        | FailureCode::DecodeError
        | FailureCode::HandlerUnusable
        | FailureCode::HostBug => http::Error::Protocol(error.detail),
    }
}
