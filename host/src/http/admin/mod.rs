//! The door for operators: Kong's Admin API for event hooks, and ours beside it. The route table below is the whole of it.
//!
//! Kong also answers under a workspace's name, and ours also answers under `/tenterhook`: either prefix is dropped before the table is asked.

mod deliveries;
mod forms;
mod handlers;
pub(crate) mod health;
mod hooks;
mod journal;
mod metrics;
mod node;
mod operations;
mod page;
mod schemas;
mod sources;
#[cfg(feature = "test-clock")]
mod test_clock;
mod try_it;

pub use metrics::{Figure, FigureKind, Labels};

use std::borrow::Cow;

use axum::body::Body;
use http::Method;

use super::auth::{Action, authorize};
use super::door::Visit;
use super::events::describe;
use super::path::{pick, segments};
use super::problem::Problem;
use super::reply::Response;
use crate::pipeline::Bulk;

/// Every call of the admin door. Ids are as they stand in the path.
#[derive(Debug, PartialEq, Eq)]
enum Call {
    /// `OPTIONS` of any path.
    Describe(String),
    Live,
    Ready,
    Metrics,
    Node,
    Status,
    Endpoints,
    Schema,
    ValidateHook,
    ListHooks,
    CreateHook,
    GetHook(String),
    PatchHook(String),
    DeleteHook(String),
    Ping(String),
    Test(String),
    ListDeliveries(String),
    GetDelivery(String),
    RetryDelivery(String),
    CancelDelivery(String),
    ListDeadLetters,
    RetryDeadLetters,
    DeleteDeadLetters,
    Replay(String),
    Explain(String),
    ListEvents,
    GetEvent(String),
    ListJobs,
    GetJob(String),
    CancelJob(String),
    ListSources,
    GetSource(String),
    GetSourceEvent(String, String),
    PutSourceEvent(String, String),
    DeleteSourceEvent(String, String),
    ListHandlers,
    GetHandler(String),
    PutHandler(String),
    #[cfg(feature = "test-clock")]
    MoveClock,
}

impl Call {
    /// The route table.
    fn of(method: &Method, path: &str) -> Result<Self, Problem> {
        let decoded = segments(path).ok_or(Problem::NotFound)?;
        let parts: Vec<&str> = without_prefix(&decoded).iter().map(AsRef::as_ref).collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(Problem::NotFound);
        }
        let (get, put, delete) = (Method::GET, Method::PUT, Method::DELETE);
        let own = |text: &str| text.to_owned();
        match *parts.as_slice() {
            [] => pick(method, [(get, Self::Node)], Self::Describe),
            ["endpoints"] => pick(method, [(get, Self::Endpoints)], Self::Describe),
            ["schemas", "event_hooks"] => pick(method, [(get, Self::Schema)], Self::Describe),
            ["schemas", "event_hooks", "validate"] => pick(method, [(Method::POST, Self::ValidateHook)], Self::Describe),
            ["status"] => pick(method, [(get, Self::Status)], Self::Describe),
            ["metrics"] => pick(method, [(get, Self::Metrics)], Self::Describe),
            ["health", "live"] => pick(method, [(get, Self::Live)], Self::Describe),
            ["health", "ready"] => pick(method, [(get, Self::Ready)], Self::Describe),
            ["event-hooks"] => pick(method, [(get, Self::ListHooks), (Method::POST, Self::CreateHook)], Self::Describe),
            ["event-hooks", "sources"] => pick(method, [(get, Self::ListSources)], Self::Describe),
            ["event-hooks", "sources", source] => pick(method, [(get, Self::GetSource(own(source)))], Self::Describe),
            ["event-hooks", "sources", source, event] => {
                let one = || (own(source), own(event));
                let ((a, b), (c, d), (e, f)) = (one(), one(), one());
                let calls = [(get, Self::GetSourceEvent(a, b)), (put, Self::PutSourceEvent(c, d)), (delete, Self::DeleteSourceEvent(e, f))];
                pick(method, calls, Self::Describe)
            }
            ["event-hooks", id] => {
                let patch = (Method::PATCH, Self::PatchHook(own(id)));
                pick(method, [(get, Self::GetHook(own(id))), patch, (delete, Self::DeleteHook(own(id)))], Self::Describe)
            }
            ["event-hooks", id, "ping"] => pick(method, [(get, Self::Ping(own(id)))], Self::Describe),
            ["event-hooks", id, "test"] => pick(method, [(Method::POST, Self::Test(own(id)))], Self::Describe),
            ["event-hooks", id, "deliveries"] => pick(method, [(get, Self::ListDeliveries(own(id)))], Self::Describe),
            ["deliveries", id] => pick(method, [(get, Self::GetDelivery(own(id)))], Self::Describe),
            ["deliveries", id, "retry"] => pick(method, [(Method::POST, Self::RetryDelivery(own(id)))], Self::Describe),
            ["deliveries", id, "cancel"] => pick(method, [(Method::POST, Self::CancelDelivery(own(id)))], Self::Describe),
            ["dead-letters"] => pick(method, [(get, Self::ListDeadLetters), (delete, Self::DeleteDeadLetters)], Self::Describe),
            ["dead-letters", "retry"] => pick(method, [(Method::POST, Self::RetryDeadLetters)], Self::Describe),
            ["event-hooks", id, "replay"] => pick(method, [(Method::POST, Self::Replay(own(id)))], Self::Describe),
            ["event-hooks", id, "explain"] => pick(method, [(Method::POST, Self::Explain(own(id)))], Self::Describe),
            ["events"] => pick(method, [(get, Self::ListEvents)], Self::Describe),
            ["events", id] => pick(method, [(get, Self::GetEvent(own(id)))], Self::Describe),
            ["jobs"] => pick(method, [(get, Self::ListJobs)], Self::Describe),
            ["jobs", id] => pick(method, [(get, Self::GetJob(own(id))), (delete, Self::CancelJob(own(id)))], Self::Describe),
            ["handlers"] => pick(method, [(get, Self::ListHandlers)], Self::Describe),
            ["handlers", name] => pick(method, [(get, Self::GetHandler(own(name))), (put, Self::PutHandler(own(name)))], Self::Describe),
            #[cfg(feature = "test-clock")]
            ["test-clock"] => pick(method, [(Method::POST, Self::MoveClock)], Self::Describe),
            _ => Err(Problem::NotFound),
        }
    }

    fn action(&self) -> Action<'static> {
        match self {
            Self::Describe(_) => Action::Describe,
            Self::Live | Self::Ready => Action::ReadHealth,
            Self::Metrics => Action::ReadMetrics,
            Self::Node | Self::Status | Self::Endpoints | Self::Schema => Action::ReadNode,
            Self::ListHooks | Self::GetHook(_) | Self::ValidateHook => Action::ReadHooks,
            Self::CreateHook | Self::PatchHook(_) | Self::DeleteHook(_) => Action::ChangeHooks,
            Self::Ping(_) | Self::Test(_) => Action::TryHooks,
            Self::ListDeliveries(_) | Self::GetDelivery(_) | Self::ListDeadLetters => Action::ReadDeliveries,
            Self::ListEvents | Self::GetEvent(_) | Self::Explain(_) | Self::ListJobs | Self::GetJob(_) => Action::ReadDeliveries,
            Self::RetryDelivery(_) | Self::CancelDelivery(_) | Self::CancelJob(_) => Action::ChangeDeliveries,
            Self::RetryDeadLetters | Self::DeleteDeadLetters | Self::Replay(_) => Action::ChangeDeliveries,
            Self::ListSources | Self::GetSource(_) | Self::GetSourceEvent(..) => Action::ReadSources,
            Self::PutSourceEvent(..) | Self::DeleteSourceEvent(..) => Action::ChangeSources,
            Self::ListHandlers | Self::GetHandler(_) => Action::ReadHandlers,
            Self::PutHandler(_) => Action::ChangeHandlers,
            #[cfg(feature = "test-clock")]
            Self::MoveClock => Action::MoveClock,
        }
    }
}

/// What stands first in a path of ours: no workspace's name.
const ROOTS: [&str; 11] =
    ["event-hooks", "deliveries", "dead-letters", "events", "jobs", "handlers", "health", "status", "metrics", "endpoints", "schemas"];

fn without_prefix<'a, 'p>(parts: &'a [Cow<'p, str>]) -> &'a [Cow<'p, str>] {
    match parts {
        [ours, rest @ ..] if ours == "tenterhook" => rest,
        [workspace, hooks, ..] if (hooks == "event-hooks" || hooks == "schemas") && !ROOTS.contains(&workspace.as_ref()) => &parts[1..],
        _ => parts,
    }
}

/// Serves one request.
pub(super) async fn serve(visit: &Visit, body: Body) -> Result<Response, Problem> {
    let call = Call::of(&visit.head.method, visit.head.uri.path())?;
    authorize(&visit.who(), call.action()).map_err(Problem::Denied)?;
    match call {
        Call::Describe(allow) => Ok(describe(&allow)),
        Call::Live => Ok(health::live()),
        Call::Ready => Ok(health::ready(visit)),
        Call::Metrics => metrics::answer(visit),
        Call::Node => Ok(node::node(visit)),
        Call::Status => Ok(node::status(visit)),
        Call::Endpoints => Ok(schemas::endpoints()),
        Call::Schema => Ok(schemas::event_hooks()),
        Call::ValidateHook => schemas::validate(visit, body).await,
        Call::ListHooks => hooks::list(visit),
        Call::CreateHook => hooks::create(visit, body).await,
        Call::GetHook(id) => hooks::get(visit, &id),
        Call::PatchHook(id) => hooks::patch(visit, &id, body).await,
        Call::DeleteHook(id) => hooks::delete(visit, &id).await,
        Call::Ping(id) => try_it::ping(visit, &id).await,
        Call::Test(id) => try_it::test(visit, &id, body).await,
        Call::ListDeliveries(id) => deliveries::of_hook(visit, &id).await,
        Call::GetDelivery(id) => deliveries::one(visit, &id).await,
        Call::RetryDelivery(id) => operations::retry(visit, &id).await,
        Call::CancelDelivery(id) => operations::cancel(visit, &id).await,
        Call::ListDeadLetters => deliveries::dead_letters(visit).await,
        Call::RetryDeadLetters => operations::bulk(visit, body, Bulk::Retry).await,
        Call::DeleteDeadLetters => operations::bulk(visit, body, Bulk::Delete).await,
        Call::Replay(id) => operations::replay(visit, &id, body).await,
        Call::Explain(id) => operations::explain(visit, &id, body).await,
        Call::ListEvents => journal::list(visit).await,
        Call::GetEvent(id) => journal::one(visit, &id).await,
        Call::ListJobs => Ok(operations::jobs(visit)),
        Call::GetJob(id) => operations::job(visit, &id, false),
        Call::CancelJob(id) => operations::job(visit, &id, true),
        Call::ListSources => Ok(sources::all(visit)),
        Call::GetSource(source) => sources::one(visit, &source),
        Call::GetSourceEvent(source, event) => sources::event(visit, &source, &event),
        Call::PutSourceEvent(source, event) => sources::put(visit, &source, &event, body).await,
        Call::DeleteSourceEvent(source, event) => sources::delete(visit, &source, &event).await,
        Call::ListHandlers => Ok(handlers::list(visit)),
        Call::GetHandler(name) => handlers::get(visit, &name),
        Call::PutHandler(name) => handlers::put(visit, &name, body).await,
        #[cfg(feature = "test-clock")]
        Call::MoveClock => test_clock::advance(visit, body).await,
    }
}

/// Serves one request of the status door: those calls of the admin door that probes and scrapers make.
pub(super) fn serve_status(visit: &Visit) -> Result<Response, Problem> {
    // Kong's status API has its readiness under this path.
    let path = visit.head.uri.path().trim_end_matches('/');
    let path = if path == "/status/ready" { "/health/ready" } else { path };
    let call = Call::of(&visit.head.method, path)?;
    authorize(&visit.who(), call.action()).map_err(Problem::Denied)?;
    match call {
        Call::Live => Ok(health::live()),
        Call::Ready => Ok(health::ready(visit)),
        Call::Metrics => metrics::answer(visit),
        Call::Status => Ok(node::status(visit)),
        _ => Err(Problem::NotFound),
    }
}

/// Runs a listing, which reads from the disk, where it may block.
async fn blocking<T: Send + 'static>(read: impl FnOnce() -> Result<T, Problem> + Send + 'static) -> Result<T, Problem> {
    let joined = tokio::task::spawn_blocking(read).await;
    joined.map_err(|error| Problem::Internal(format!("a listing did not end: {error}")))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: Method, path: &str) -> String {
        match Call::of(&method, path) {
            Ok(call) => format!("{call:?}"),
            Err(Problem::MethodNotAllowed { allow }) => format!("405 {allow}"),
            Err(_) => "404".into(),
        }
    }

    #[test]
    fn kongs_routes_and_methods() {
        assert_eq!(call(Method::GET, "/event-hooks/"), "ListHooks");
        assert_eq!(call(Method::HEAD, "/event-hooks"), "ListHooks");
        assert_eq!(call(Method::OPTIONS, "/event-hooks"), r#"Describe("GET, HEAD, OPTIONS, POST")"#);
        assert_eq!(call(Method::OPTIONS, "/event-hooks/x"), r#"Describe("DELETE, GET, HEAD, OPTIONS, PATCH")"#);
        assert_eq!(call(Method::PUT, "/event-hooks/x"), "405 DELETE, GET, HEAD, OPTIONS, PATCH");
        assert_eq!(call(Method::POST, "/event-hooks/x"), "405 DELETE, GET, HEAD, OPTIONS, PATCH");
        assert_eq!(call(Method::GET, "/event-hooks/x/ping"), r#"Ping("x")"#);
        assert_eq!(call(Method::POST, "/event-hooks/x/test"), r#"Test("x")"#);
        assert_eq!(call(Method::GET, "/event-hooks/sources/"), "ListSources");
        assert_eq!(call(Method::GET, "/event-hooks/sources/dao:crud"), r#"GetSource("dao:crud")"#);
        assert_eq!(call(Method::GET, "/event-hooks/sources/https%3A%2F%2Fa/b"), r#"GetSourceEvent("https://a", "b")"#);
        assert_eq!(call(Method::GET, "/event-hooks//ping"), "404");
        assert_eq!(call(Method::GET, "/event-hooks/x/nope"), "404");
    }

    #[test]
    fn a_workspace_or_our_own_name_may_stand_before() {
        assert_eq!(call(Method::GET, "/default/event-hooks/x"), r#"GetHook("x")"#);
        assert_eq!(call(Method::GET, "/tenterhook/event-hooks/x"), r#"GetHook("x")"#);
        assert_eq!(call(Method::GET, "/tenterhook/metrics"), "Metrics");
        assert_eq!(call(Method::GET, "/tenterhook/"), "Node");
        assert_eq!(call(Method::GET, "/"), "Node");
        assert_eq!(call(Method::GET, "/handlers/event-hooks"), r#"GetHandler("event-hooks")"#);
        assert_eq!(call(Method::GET, "/event-hooks/event-hooks"), r#"GetHook("event-hooks")"#);
        assert_eq!(call(Method::GET, "/default/metrics"), "404");
        assert_eq!(call(Method::GET, "/default/schemas/event_hooks/"), "Schema");
    }

    #[test]
    fn every_endpoint_that_is_listed_is_there() {
        for endpoint in schemas::ENDPOINTS {
            let path: Vec<&str> = endpoint.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect();
            assert!(call(Method::OPTIONS, &path.join("/")).starts_with("Describe"), "{endpoint}");
        }
    }

    #[test]
    fn our_routes() {
        assert_eq!(call(Method::GET, "/dead-letters"), "ListDeadLetters");
        assert_eq!(call(Method::DELETE, "/dead-letters"), "DeleteDeadLetters");
        assert_eq!(call(Method::POST, "/dead-letters/retry"), "RetryDeadLetters");
        assert_eq!(call(Method::POST, "/deliveries/dlv_1/retry"), r#"RetryDelivery("dlv_1")"#);
        assert_eq!(call(Method::DELETE, "/jobs/job_1"), r#"CancelJob("job_1")"#);
        assert_eq!(call(Method::GET, "/events/evt_1"), r#"GetEvent("evt_1")"#);
        assert_eq!(call(Method::GET, "/deliveries/dlv_1"), r#"GetDelivery("dlv_1")"#);
        assert_eq!(call(Method::PUT, "/handlers/a"), r#"PutHandler("a")"#);
        assert_eq!(call(Method::POST, "/handlers/a"), "405 GET, HEAD, OPTIONS, PUT");
        assert_eq!(call(Method::GET, "/health/live"), "Live");
        assert_eq!(call(Method::DELETE, "/event-hooks/sources/a/b"), r#"DeleteSourceEvent("a", "b")"#);
    }
}
