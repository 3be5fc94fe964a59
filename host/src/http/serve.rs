//! From a listening socket to the router: accepts connections, speaks HTTP/1.1 and HTTP/2 on each, and stops them gracefully.
//!
//! HTTP/2 comes by ALPN, or without TLS by prior knowledge. What a request means is the router's; bodies are the handlers' to limit.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::listen::Listener;
use super::transport::Transport;

/// What connections may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Open connections of one listener (`http.max_connections`). Beyond it a new one waits a second for a place, and is then told 503.
    pub max_connections: usize,
    /// From the last byte of a response, or from the start of the connection, to the end of the next request's head. Beyond it the connection
    /// is closed (`http.header_timeout`).
    pub header_timeout: Duration,
    /// For the TLS handshake. Beyond it the connection is closed (`http.handshake_timeout`).
    pub handshake_timeout: Duration,
    /// Bytes of a request's head, at least 8 KiB. Beyond it: 431 (`http.max_header`).
    pub max_header: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            header_timeout: Duration::from_secs(60),
            handshake_timeout: Duration::from_secs(10),
            max_header: 64 * 1024,
        }
    }
}

/// Who sent a request; an extension of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Streams of one HTTP/2 connection at a time; more wait at the client.
const STREAMS_MAX: u32 = 256;
/// Headers of one request; 431 beyond.
const HEADERS_MAX: usize = 100;
/// An idle HTTP/2 connection is pinged this often, and closed when no answer comes in the same time.
const PING_EVERY: Duration = Duration::from_secs(30);

/// After a failed accept: descriptors do not come back at once, and a loop would only burn the processor that has to free them.
const BACKOFF: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];
/// Failures in a row between two lines of log: about one a minute at the longest backoff.
const LOG_EVERY: u32 = 60;

/// Accepts until `shutdown`, then returns; the sockets are closed by then. Each connection is a task of `tracker`: on `shutdown` it finishes its
/// running requests and closes, and whoever waits for the tracker limits how long that may take.
pub async fn serve(
    mut listener: Listener,
    transport: Transport,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
    tracker: &TaskTracker,
) {
    let door = listener.door().as_str();
    let connections = Connections { transport, router, limits, http: http(limits, tracker.clone()), shutdown: shutdown.clone() };
    let connections = Arc::new(connections);
    let mut places = Places::new(limits.max_connections, door);
    let mut failures = 0;
    let accept = async {
        loop {
            let place = places.take().await;
            match (listener.accept().await, place) {
                (Ok((tcp, peer)), Ok(place)) => {
                    failures = 0;
                    tracker.spawn(connections.clone().run(tcp, peer, place));
                }
                (Ok((tcp, peer)), Err(step)) => {
                    failures = 0;
                    // A place may have become free while nobody came.
                    match places.free.clone().try_acquire_owned() {
                        Ok(place) => tracker.spawn(connections.clone().run(tcp, peer, place)),
                        Err(_) => tracker.spawn(connections.clone().refuse(tcp, step)),
                    };
                }
                (Err(error), _) if is_of_peer(&error) => {}
                (Err(error), _) => {
                    if failures % LOG_EVERY == 0 {
                        tracing::error!(door, %error, failures, "no connection can be accepted; trying again");
                    }
                    tokio::time::sleep(backoff(failures)).await;
                    failures = failures.saturating_add(1);
                }
            }
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = accept => {}
    }
}

/// How long a connection waits for a place, once; while the house stays full the next ones are told at once.
const WAIT_FOR_PLACE: Duration = Duration::from_secs(1);
/// Connections that are being told 503 at a time; more wait in the kernel's queue.
const REFUSED_MAX: usize = 64;
/// For all of telling it.
const REFUSE_WITHIN: Duration = Duration::from_secs(1);

/// The places of a listener's open connections.
struct Places {
    free: Arc<Semaphore>,
    /// For those who are refused.
    door_step: Arc<Semaphore>,
    full: bool,
    most: usize,
    door: &'static str,
    /// Said in the log already; said again only after an eighth was free in between, so that a house that stays full is one line.
    said: bool,
}

impl Places {
    fn new(most: usize, door: &'static str) -> Self {
        let free = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Self { free, door_step: Arc::new(Semaphore::new(REFUSED_MAX)), full: false, most, door, said: false }
    }

    /// A place; the error is one among those who are told that there is none.
    async fn take(&mut self) -> Result<OwnedSemaphorePermit, OwnedSemaphorePermit> {
        if let Ok(place) = self.free.clone().try_acquire_owned() {
            self.said &= self.free.available_permits() < self.most / 8;
            self.full = false;
            return Ok(place);
        }
        if !self.said {
            tracing::warn!(
                door = self.door,
                most = self.most,
                "all connections are taken; new ones are told 503 (setting http.max_connections)"
            );
            self.said = true;
        }
        if !self.full {
            let free = tokio::time::timeout(WAIT_FOR_PLACE, self.free.clone().acquire_owned()).await;
            if let Ok(place) = free {
                return Ok(place.expect("the semaphore is never closed"));
            }
            self.full = true;
        }
        tokio::select! {
            place = self.free.clone().acquire_owned() => Ok(place.expect("the semaphore is never closed")),
            step = self.door_step.clone().acquire_owned() => Err(step.expect("the semaphore is never closed")),
        }
    }
}

/// A client that went away before it was accepted; the next one is not concerned.
fn is_of_peer(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused)
}

/// Doubles from the first to the last of [`BACKOFF`].
fn backoff(failures: u32) -> Duration {
    BACKOFF[0].saturating_mul(2_u32.saturating_pow(failures.min(16))).min(BACKOFF[1])
}

fn http(limits: Limits, tracker: TaskTracker) -> auto::Builder<Tracked> {
    let mut http = auto::Builder::new(Tracked(tracker));
    let max_header = limits.max_header.max(8 * 1024);
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(HEADERS_MAX)
        .max_buf_size(max_header)
        // On, it would hold an answer back as long as a part of the next request has arrived.
        .pipeline_flush(false);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(max_header).unwrap_or(u32::MAX))
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_EVERY);
    http
}

/// What every connection of a listener is made of.
struct Connections {
    transport: Transport,
    router: Router,
    limits: Limits,
    http: auto::Builder<Tracked>,
    shutdown: CancellationToken,
}

impl Connections {
    /// From the handshake to the last answer.
    async fn run(self: Arc<Self>, tcp: TcpStream, peer: SocketAddr, _place: OwnedSemaphorePermit) {
        // Small answers must not wait for the acknowledgement of the ones before them. A socket that is gone already shows at the first read.
        let _ = tcp.set_nodelay(true);
        let begin = tokio::time::timeout(self.limits.handshake_timeout, self.transport.begin(tcp));
        let stream = tokio::select! {
            stream = begin => stream,
            () = self.shutdown.cancelled() => return,
        };
        match stream {
            Ok(Ok(stream)) => self.speak(TokioIo::new(stream), peer).await,
            Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS handshake"),
            Err(_) => tracing::debug!(%peer, "no TLS handshake in time (setting http.handshake_timeout)"),
        }
    }

    /// Tells a connection that there is no place for it. What it sends meanwhile is read and thrown away: unread bytes would take the answer with them.
    async fn refuse(self: Arc<Self>, tcp: TcpStream, _step: OwnedSemaphorePermit) {
        const BODY: &str = r#"{"message":"all connections are taken (setting http.max_connections)","code":"full"}"#;
        let told = async {
            let mut stream = self.transport.begin(tcp).await?;
            let head = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-type: application/json\r\n";
            stream.write_all(format!("{head}content-length: {}\r\n\r\n{BODY}", BODY.len()).as_bytes()).await?;
            stream.shutdown().await?;
            let mut rest = [0; 4096];
            while stream.read(&mut rest).await? > 0 {}
            io::Result::Ok(())
        };
        // Whoever does not listen is not told.
        let _ = tokio::time::timeout(REFUSE_WITHIN, told).await;
    }

    async fn speak(&self, stream: TokioIo<super::transport::Stream>, peer: SocketAddr) {
        let asked = Arc::new(AtomicBool::new(false));
        let service = Requests { router: self.router.clone(), peer, asked: asked.clone() };
        let mut connection = pin!(self.http.serve_connection(stream, service));
        // Hyper times the heads of HTTP/1.1 requests, but neither the bytes that tell the version nor a silent HTTP/2 client.
        let mut silence = pin!(tokio::time::sleep(self.limits.header_timeout));
        let mut may_be_silent = false;
        let mut stopping = false;
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%peer, %error, "the connection broke");
                    }
                    return;
                }
                () = &mut silence, if !may_be_silent => {
                    if !asked.load(Ordering::Relaxed) {
                        tracing::debug!(%peer, "no request in time (setting http.header_timeout)");
                        return;
                    }
                    may_be_silent = true;
                }
                () = self.shutdown.cancelled(), if !stopping => {
                    connection.as_mut().graceful_shutdown();
                    stopping = true;
                }
            }
        }
    }
}

/// One connection's way into the router.
struct Requests {
    router: Router,
    peer: SocketAddr,
    /// A first request has arrived.
    asked: Arc<AtomicBool>,
}

impl hyper::service::Service<hyper::Request<Incoming>> for Requests {
    type Response = axum::response::Response;
    type Error = Infallible;
    type Future = axum::routing::future::RouteFuture<Infallible>;

    fn call(&self, mut request: hyper::Request<Incoming>) -> Self::Future {
        self.asked.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(Peer(self.peer));
        // The router is always ready; cloning it is counting a reference.
        tower_service::Service::call(&mut self.router.clone(), request)
    }
}

/// Runs the streams of HTTP/2 connections where a stop waits for them.
#[derive(Clone)]
struct Tracked(TaskTracker);

impl<F: Future<Output: Send + 'static> + Send + 'static> hyper::rt::Executor<F> for Tracked {
    fn execute(&self, stream: F) {
        self.0.spawn(stream);
    }
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
