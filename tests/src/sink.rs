//! The far end: an HTTP server on port 0 that records what it gets and answers what the test wants.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::wait::DEADLINE;

/// One recorded request.
#[derive(Debug, Clone)]
pub struct Received {
    /// When its last byte was read.
    pub at: Instant,
    /// `POST`.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// Without the question mark; empty if there is none.
    pub query: String,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Received {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("the sink got no JSON ({error}): {:?}", self.body))
    }

    /// A header's value, empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The event's id, as receivers see it.
    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }

    /// Is it the ping that a hook's creation, change or deletion sends?
    pub fn is_ping(&self) -> bool {
        serde_json::from_slice::<Value>(&self.body).is_ok_and(|body| body["source"] == "kong:event_hooks" && body["event"] == "ping")
    }
}

/// What the sink does with a request.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
    delay: Duration,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Answer,
    Close,
    Hang,
}

impl Reply {
    /// An empty answer.
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new(), delay: Duration::ZERO, end: End::Answer }
    }

    /// The connection is closed without an answer.
    pub fn close() -> Self {
        Self { end: End::Close, ..Self::status(0) }
    }

    /// No answer, ever; the connection stays.
    pub fn hang() -> Self {
        Self { end: End::Hang, ..Self::status(0) }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Answers after this time.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

type Rule = Arc<dyn Fn(&Received, usize) -> Reply + Send + Sync>;

/// The server. It stops when it is dropped.
pub struct Sink {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    state: Mutex<State>,
    count: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    received: Vec<Received>,
    /// By path; a path without a rule is answered with 200.
    rules: BTreeMap<String, Rule>,
    /// The same for pings, so that a hook's creation does not use up the answers that a test has for its events.
    ping_rules: BTreeMap<String, Reply>,
    /// Requests so far by path, pings left out: what a rule's number counts.
    counts: BTreeMap<String, usize>,
}

impl Sink {
    /// Starts one that answers 200 to everything.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port can be had");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared { state: Mutex::default(), count: watch::Sender::new(0) });
        let task = tokio::spawn(accept(listener, shared.clone()));
        Self { address, shared, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A URL of it; `path` begins with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers requests for `path` like this from now on. Pings are answered with 200 all the same; see `on_pings`.
    pub fn on(&self, path: &str, reply: Reply) {
        self.on_each(path, move |_, _| reply.clone());
    }

    /// Answers requests for `path` with what `rule` says; its number counts that path's requests from 1.
    pub fn on_each(&self, path: &str, rule: impl Fn(&Received, usize) -> Reply + Send + Sync + 'static) {
        self.shared.state().rules.insert(path.to_owned(), Arc::new(rule));
    }

    /// Answers pings for `path` like this from now on.
    pub fn on_pings(&self, path: &str, reply: Reply) {
        self.shared.state().ping_rules.insert(path.to_owned(), reply);
    }

    /// Everything received, in order.
    pub fn all(&self) -> Vec<Received> {
        self.shared.state().received.clone()
    }

    /// What came for `path`, pings left out.
    pub fn at(&self, path: &str) -> Vec<Received> {
        self.shared.state().received.iter().filter(|got| got.path == path && !got.is_ping()).cloned().collect()
    }

    /// The pings that came for `path`.
    pub fn pings(&self, path: &str) -> Vec<Received> {
        self.shared.state().received.iter().filter(|got| got.path == path && got.is_ping()).cloned().collect()
    }

    /// The distinct `webhook-id`s that came for `path`, pings left out.
    pub fn unique_ids(&self, path: &str) -> HashSet<String> {
        let state = self.shared.state();
        state.received.iter().filter(|got| got.path == path && !got.is_ping()).map(|got| got.id().to_owned()).collect()
    }

    /// Waits until `n` requests came for `path`, pings left out, and gives them.
    ///
    /// # Panics
    /// When they do not come in time.
    pub async fn wait_for(&self, path: &str, n: usize) -> Vec<Received> {
        let what = format!("{n} requests for {path}");
        self.wait_until(&what, |sink| Some(sink.at(path)).filter(|got| got.len() >= n)).await
    }

    /// Waits until `n` pings came for `path`, and gives them.
    ///
    /// # Panics
    /// When they do not come in time.
    pub async fn wait_for_pings(&self, path: &str, n: usize) -> Vec<Received> {
        let what = format!("{n} pings for {path}");
        self.wait_until(&what, |sink| Some(sink.pings(path)).filter(|got| got.len() >= n)).await
    }

    /// Looks at `condition` at every request until it gives something.
    ///
    /// # Panics
    /// With `what` and what came, when `DEADLINE` has passed.
    pub async fn wait_until<T>(&self, what: &str, condition: impl FnMut(&Self) -> Option<T>) -> T {
        self.wait_until_within(DEADLINE, what, condition).await
    }

    /// As `wait_until`, with a deadline of its own.
    ///
    /// # Panics
    /// With `what` and what came, when `limit` has passed.
    pub async fn wait_until_within<T>(&self, limit: Duration, what: &str, mut condition: impl FnMut(&Self) -> Option<T>) -> T {
        let mut count = self.shared.count.subscribe();
        let until = tokio::time::Instant::now() + limit;
        loop {
            count.mark_unchanged();
            if let Some(found) = condition(self) {
                return found;
            }
            if tokio::time::timeout_at(until, count.changed()).await.is_err() {
                panic!("the sink waited {limit:?} in vain for {what}; it got {}", self.summary());
            }
        }
    }

    fn summary(&self) -> String {
        let all = self.all();
        let lines = all.iter().rev().take(20).map(|got| format!("{} {} {:?}", got.method, got.path, got.body));
        format!("{} requests, the last of them (newest first): {:#?}", all.len(), lines.collect::<Vec<_>>())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a request and says what to do with it. The rule runs outside the lock, so that it may look at the sink.
    fn record(&self, got: Received) -> Reply {
        let usual = || Reply::status(200);
        let is_ping = got.is_ping();
        let mut state = self.state();
        state.received.push(got.clone());
        let reply = if is_ping {
            let reply = state.ping_rules.get(&got.path).cloned();
            drop(state);
            reply.unwrap_or_else(usual)
        } else {
            let nth = state.counts.entry(got.path.clone()).or_default();
            *nth += 1;
            let nth = *nth;
            let rule = state.rules.get(&got.path).cloned();
            drop(state);
            rule.map_or_else(usual, |rule| rule(&got, nth))
        };
        self.count.send_modify(|count| *count += 1);
        reply
    }
}

/// A loopback address on which nobody listens.
///
/// # Panics
/// When no port can be had.
pub fn closed_port() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a loopback port can be had");
    listener.local_addr().expect("a bound listener has an address")
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Connections end with this task: nobody else holds the set.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        stream.set_nodelay(true).ok();
        let shared = shared.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| answer(request, shared.clone()));
            let mut server = hyper::server::conn::http1::Builder::new();
            // A connection that ends badly is the other end's business.
            server.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await.ok();
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let reply = shared.record(Received {
        at: Instant::now(),
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body,
    });
    tokio::time::sleep(reply.delay).await;
    match reply.end {
        End::Answer => {}
        End::Close => return Err(std::io::Error::other("the test wants this connection closed")),
        End::Hang => std::future::pending().await,
    }
    let mut response = Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    response.body(Full::new(reply.body)).map_err(std::io::Error::other)
}
