//! What is the same for every request of every door: the request id, the settings of the moment, a panic caught, and the headers of every answer.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use futures_util::FutureExt as _;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW,
    CONTENT_LENGTH, ORIGIN, SERVER, VARY,
};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request};
use http_body::Body as _;
use tracing::Instrument as _;

use super::admin::{self, Figure};
use super::auth::{self, Who};
use super::body::Arriving;
use super::counts::Counts;
use super::listen::Door;
use super::problem::Problem;
use super::reply::{self, Response};
use super::{Settings, events, request_id};
use crate::model::{Clock, Timestamp};
use crate::pipeline::Pipeline;

/// In the order of their discriminants.
pub(crate) const DOORS: [Door; 3] = [Door::Events, Door::Admin, Door::Status];

/// Reads figures of a module that the doors do not know.
pub type FigureSource = Box<dyn Fn() -> Vec<Figure> + Send + Sync>;

/// What the doors need. Clones share it.
#[derive(Clone)]
pub struct State(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) pipeline: Pipeline,
    pub(crate) clock: Clock,
    settings: ArcSwap<Settings>,
    figures: Vec<FigureSource>,
    pub(crate) counts: Counts,
    /// Bytes of bodies that producers are sending.
    pub(crate) arriving: Arriving,
    pub(crate) started: Timestamp,
}

impl State {
    /// `figures` are those of the modules that the doors do not know, for the metrics: sandbox and egress.
    pub fn new(pipeline: Pipeline, settings: Settings, clock: Clock, figures: Vec<FigureSource>) -> Self {
        let arriving = Arriving::new(settings.arriving_bytes);
        let (started, settings) = (clock.now(), ArcSwap::from_pointee(settings));
        Self(Arc::new(Inner { pipeline, clock, settings, figures, counts: Counts::default(), arriving, started }))
    }

    /// Swaps the settings. Requests that are under way keep theirs.
    pub fn reload(&self, settings: Settings) {
        self.0.settings.store(Arc::new(settings));
    }
}

impl Inner {
    /// The figures of the modules that the doors do not know.
    pub(crate) fn figures(&self) -> Vec<Figure> {
        self.figures.iter().flat_map(|read| read()).collect()
    }
}

/// One request on its way through a door.
pub(crate) struct Visit {
    pub(crate) doors: Arc<Inner>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) door: Door,
    pub(crate) head: Parts,
}

impl Visit {
    /// Who is asking.
    pub(crate) fn who(&self) -> Who<'_> {
        let authority = self.head.uri.authority().map(http::uri::Authority::as_str);
        auth::identify(&self.settings.auth, self.door, &self.head.headers, authority)
    }
}

/// A router whose every path leads to the door's own route table: the table knows HEAD, OPTIONS, `Allow` and Kong's errors.
pub(crate) fn router(state: &State, door: Door) -> Router {
    let doors = state.0.clone();
    let every = move |request: Request<Body>| answer(doors.clone(), door, request);
    Router::new().fallback(every).with_state(())
}

async fn answer(doors: Arc<Inner>, door: Door, request: Request<Body>) -> Response {
    let arrived = doors.clock.instant();
    let (head, body) = request.into_parts();
    let id = request_id::of(&head.headers);
    let visit = Visit { settings: doors.settings.load_full(), doors, door, head };
    let span = span(door, &id);
    let served = AssertUnwindSafe(serve(&visit, body)).catch_unwind().instrument(span).await;
    let result = served.unwrap_or_else(|_| Err(Problem::Internal("a panic while a request was answered".into())));
    let mut response = result.unwrap_or_else(|problem| problem.answer(door));
    visit.doors.counts.answered(door, response.status());
    finish(&visit, id, &mut response);
    if door == Door::Admin {
        let latency = visit.doors.clock.instant().duration_since(arrived).as_millis();
        response.headers_mut().extend(HeaderValue::try_from(latency.to_string()).map(|value| (X_KONG_ADMIN_LATENCY, value)));
    }
    response
}

async fn serve(visit: &Visit, body: Body) -> Result<Response, Problem> {
    match visit.door {
        Door::Events => events::serve(visit, body).await,
        Door::Admin => admin::serve(visit, body).await,
        Door::Status => admin::serve_status(visit),
    }
}

/// Producers' requests are too many for a span each at the usual level.
fn span(door: Door, id: &HeaderValue) -> tracing::Span {
    let id = id.to_str().unwrap_or_default();
    match door {
        Door::Events | Door::Status => tracing::debug_span!("request", id),
        Door::Admin => tracing::info_span!("request", id),
    }
}

/// Kong's name for the request id.
const X_KONG_ADMIN_REQUEST_ID: HeaderName = HeaderName::from_static("x-kong-admin-request-id");
const X_KONG_ADMIN_LATENCY: HeaderName = HeaderName::from_static("x-kong-admin-latency");
const SERVER_NAME: HeaderValue = HeaderValue::from_static(concat!("tenterhook/", env!("CARGO_PKG_VERSION")));
const CORS_HEADERS: HeaderValue = HeaderValue::from_static("Authorization, Content-Type, Kong-Admin-Token");

/// What every answer carries.
fn finish(visit: &Visit, id: HeaderValue, response: &mut Response) {
    let headers = response.headers_mut();
    if visit.door == Door::Admin {
        headers.insert(X_KONG_ADMIN_REQUEST_ID, id.clone());
    }
    headers.insert(request_id::X_REQUEST_ID, id);
    headers.insert(SERVER, SERVER_NAME);
    if visit.door == Door::Admin {
        allow_origin(visit, response);
    }
    if visit.head.method == Method::HEAD {
        let length = response.body().size_hint().exact().unwrap_or(0);
        *response.body_mut() = reply::empty(response.status()).into_body();
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
}

/// Web pages of other origins are told that they may read the answer: those that the settings name, or any, if a token is needed.
fn allow_origin(visit: &Visit, response: &mut Response) {
    let settings = &visit.settings;
    let any = HeaderValue::from_static("*");
    let needs_token = !settings.auth.no_auth && !settings.auth.admin.is_empty();
    let origin = visit.head.headers.get(ORIGIN);
    let listed = |origin: &&HeaderValue| settings.cors_origins.iter().any(|one| one.as_bytes() == origin.as_bytes());
    let is_any = if settings.cors_origins.is_empty() { needs_token } else { settings.cors_origins.iter().any(|one| one == "*") };
    let allowed = if is_any { Some(any) } else { origin.filter(listed).cloned() };
    let Some(allowed) = allowed else { return };
    let allow = response.headers().get(ALLOW).cloned();
    let headers = response.headers_mut();
    if allowed != "*" {
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(VARY, HeaderValue::from_static("Origin"));
    }
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    if let Some(allow) = allow.filter(|_| visit.head.method == Method::OPTIONS) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, allow);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, CORS_HEADERS);
    }
}
