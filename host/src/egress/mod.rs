//! Outbound requests, and the only place that opens outbound sockets.
//!
//! The way of a request: it is judged (`request`), its host must be granted and not denied (`allow`), a place among the requests in flight is
//! waited for, a kept connection is taken (`pool`) or a new one made to a vetted address (`connect`, `resolve`, `tls`), and the whole answer is
//! collected (`client`). Redirects are not followed and nothing is decompressed: a handler sees what came. Nothing here retries, but for a kept
//! connection that turns out to be closed before a byte was sent.

mod address;
mod allow;
mod client;
mod connect;
mod drive;
mod pool;
mod progress;
mod request;
mod resolve;
#[cfg(test)]
mod tests;
mod tls;

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use allow::{AllowRule, DenyRule, Grants, HostPattern, Rules};
pub use request::target;

use crate::model::{Clock, Failure, FailureCode, GuestRequest, ResponseSummary};
use client::Client;
use connect::Connector;
use pool::Pool;
use progress::Progress;
use resolve::Resolver;
use tls::Tls;

/// What a request may cost. Each message about a limit names its setting, in brackets here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Body of an answer; a larger one is an error and is not read further (`limits.http_response_bytes`).
    pub response_bytes: usize,
    /// Head of an answer (`egress.response_header_bytes`).
    pub response_header_bytes: usize,
    /// Body of a request (`limits.http_request_bytes`).
    pub request_bytes: usize,
    /// URL of a request (`limits.http_url_bytes`).
    pub url_bytes: usize,
    /// Names and values of a request's headers, each header with 4 bytes of its own (`limits.http_header_bytes`).
    pub header_bytes: usize,
    /// Requests at a time; one more waits, within its timeout (`egress.in_flight`).
    pub in_flight: usize,
    /// Until a new connection stands; a request may ask for less (`egress.connect_timeout`).
    pub connect_timeout: Duration,
    /// Until the answer is complete; a request may ask for less (`egress.total_timeout`).
    pub total_timeout: Duration,
    /// How long a connection is kept for the next request (`egress.idle_timeout`).
    pub idle: Duration,
    /// Connections kept for one destination; the oldest is closed for one more (`egress.idle_per_destination`).
    pub idle_per_destination: usize,
    /// Connections kept in all; one of another destination is closed for one more (`egress.idle_connections`).
    pub idle_total: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            response_bytes: 8 * 1024 * 1024,
            response_header_bytes: 64 * 1024,
            request_bytes: 8 * 1024 * 1024,
            url_bytes: 8 * 1024,
            header_bytes: 64 * 1024,
            in_flight: 1024,
            connect_timeout: Duration::from_secs(10),
            total_timeout: Duration::from_secs(30),
            // Shorter than what load balancers commonly use (60 s), so that it is us who closes.
            idle: Duration::from_secs(30),
            idle_per_destination: 128,
            idle_total: 1024,
        }
    }
}

/// Why there is no answer: for the guest, and for the record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{target}: {detail}")]
pub struct EgressError {
    /// `Denied`, `Dns`, `Connect`, `Tls`, `Timeout`, `TooLarge`, `Protocol` or `BadRequest`.
    pub code: FailureCode,
    /// As [`target`] gives it.
    pub target: Arc<str>,
    /// For people: what happened, the number and the setting.
    pub detail: String,
}

/// A setting that cannot be used: for the operator, at start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {message}")]
pub struct SetupError {
    /// Its full name.
    pub setting: &'static str,
    /// What is wrong with its value.
    pub message: String,
}

/// Counted since the start, but for the last two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Metrics {
    /// Requests asked for.
    pub requests: u64,
    /// Requests refused before any socket: bad requests, hosts and addresses that are not allowed.
    pub refused: u64,
    /// Requests that failed otherwise.
    pub failed: u64,
    /// Connections opened.
    pub opened: u64,
    /// Requests sent over a kept connection.
    pub reused: u64,
    /// Now.
    pub in_flight: usize,
    /// Connections kept now.
    pub idle: usize,
}

/// The shared client. Clones share everything.
#[derive(Debug, Clone)]
pub struct Egress(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: Limits,
    client: Client,
    places: Semaphore,
    tasks: Tasks,
    clock: Clock,
    requests: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
}

impl Egress {
    /// `ca_file`: certificate authorities in PEM, trusted beside the system's; read now, so that a wrong one fails the start. Opens nothing.
    pub fn new(limits: Limits, rules: Rules, ca_file: Option<&Path>, clock: Clock) -> Result<Self, SetupError> {
        let tasks = Tasks::default();
        let connector = Connector {
            rules,
            resolver: Resolver::new(tasks.clone(), clock.clone()),
            tls: Tls::new(ca_file, tasks.clone())?,
            clock: clock.clone(),
            answer_header_bytes: limits.response_header_bytes,
        };
        let client = Client {
            connector,
            pool: Pool::new(&limits, tasks.clone(), clock.clone()),
            clock: clock.clone(),
            response_bytes: limits.response_bytes,
            opened: AtomicU64::new(0),
            reused: AtomicU64::new(0),
        };
        let places = Semaphore::new(limits.in_flight.clamp(1, Semaphore::MAX_PERMITS));
        let zero = || AtomicU64::new(0);
        Ok(Self(Arc::new(Inner { limits, client, places, tasks, clock, requests: zero(), refused: zero(), failed: zero() })))
    }

    /// Sends the request and waits for the whole answer, whatever its status. `grants`: what the handler may reach; the rules decide beside them.
    /// `deadline`: what is left of the attempt. Dropping the future ends the request and its connection.
    pub async fn send(&self, request: GuestRequest, grants: &Grants, deadline: Duration) -> Result<ResponseSummary, EgressError> {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        self.0.send(&request, grants, deadline).await.map_err(|failure| {
            let refused = matches!(failure.code, FailureCode::Denied | FailureCode::BadRequest);
            let counted = if refused { &self.0.refused } else { &self.0.failed };
            counted.fetch_add(1, Ordering::Relaxed);
            EgressError { code: failure.code, target: target(&request), detail: failure.detail }
        })
    }

    /// The counters.
    pub fn metrics(&self) -> Metrics {
        let Inner { client, places, limits, requests, refused, failed, .. } = &*self.0;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Metrics {
            requests: read(requests),
            refused: read(refused),
            failed: read(failed),
            opened: read(&client.opened),
            reused: read(&client.reused),
            in_flight: limits.in_flight.saturating_sub(places.available_permits()),
            idle: client.pool.count(),
        }
    }

    /// Stops: kept connections are closed, tasks ended and waited for, further requests fail. Requests in flight belong to whoever sent them.
    pub async fn close(&self) {
        self.0.places.close();
        self.0.tasks.stop.cancel();
        self.0.client.pool.clear();
        self.0.tasks.tracker.close();
        self.0.tasks.tracker.wait().await;
    }
}

impl Inner {
    async fn send(&self, asked: &GuestRequest, grants: &Grants, deadline: Duration) -> Result<ResponseSummary, Failure> {
        let judged = request::judge(asked, &self.limits)?;
        let denied = |why| Failure::new(FailureCode::Denied, why);
        grants.judge(&judged.to.host, judged.to.port).map_err(denied)?;
        self.client.connector.rules.judge_host(&judged.to.host, judged.to.port).map_err(denied)?;

        let of_operator = (self.limits.total_timeout, "setting egress.total_timeout");
        let (total, whose) = least(asked.options.total_timeout, of_operator, (deadline, "what was left of the attempt's deadline"));
        let connect = least(asked.options.connect_timeout, (self.limits.connect_timeout, "setting egress.connect_timeout"), (total, whose));
        let mut progress = Progress::new(&self.clock);
        let sent = {
            let exchange = pin!(async {
                let _place = self.places.acquire().await.map_err(|_| Failure::new(FailureCode::Connect, "the host is stopping"))?;
                self.client.exchange(judged, connect, &mut progress).await
            });
            tokio::time::timeout(total, exchange).await
        };
        sent.unwrap_or_else(|_| Err(progress.timed_out(total, whose)))
    }
}

/// The shortest of three limits, and whose it is.
fn least(own: Option<Duration>, operator: (Duration, &'static str), left: (Duration, &'static str)) -> (Duration, &'static str) {
    let own = own.map(|own| (own, "the request's own limit"));
    own.into_iter().chain([operator, left]).min_by_key(|(limit, _)| *limit).unwrap_or(operator)
}

/// The few background tasks: lookups of names, and closing what is idle for too long. All end when egress stops.
#[derive(Debug, Clone, Default)]
struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                () = task => {}
                () = stop.cancelled() => {}
            }
        });
    }

    fn spawn_blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> tokio::task::JoinHandle<T> {
        self.tracker.spawn_blocking(work)
    }

    fn stopping(&self) -> bool {
        self.stop.is_cancelled()
    }
}
