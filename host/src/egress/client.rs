//! One request over one connection, kept or new.
//!
//! A connection is driven by the task that waits for its answer, not by one of its own: a request costs no switch between tasks, and a dropped
//! attempt takes its connection with it. While a connection is kept nobody looks at it; whether the destination has closed it is seen when it is
//! taken out, before anything is sent.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;

use super::connect::Connector;
use super::drive::{Driver, Moving};
use super::pool::Pool;
use super::progress::{Progress, Stage};
use super::request::{Destination, Judged};
use crate::model::{Clock, Failure, FailureCode, ResponseSummary};

/// A connection that is always busy never notices that its name now leads elsewhere; so it is not kept for longer.
const AGE_MAX: Duration = Duration::from_secs(300);

/// An HTTP/1.1 connection.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: Driver,
    made: Instant,
    idle_since: Option<Instant>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("made", &self.made).field("idle_since", &self.idle_since).finish_non_exhaustive()
    }
}

impl Connection {
    pub(super) fn new(sender: SendRequest<Full<Bytes>>, moving: Moving, made: Instant) -> Self {
        Self { sender, driver: Driver::new(moving), made, idle_since: None }
    }

    /// When it was put away.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.idle_since
    }

    /// False if it has ended, or is not ready for a request.
    fn is_ready(&mut self) -> bool {
        self.driver.settle() && self.sender.is_ready()
    }
}

/// Why there is no answer.
enum Lost {
    /// Not a byte of it was written: it may be sent again.
    Unsent(Box<Request<Full<Bytes>>>),
    Failed(Failure),
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) connector: Connector,
    pub(super) pool: Arc<Pool>,
    pub(super) clock: Clock,
    pub(super) response_bytes: usize,
    pub(super) opened: AtomicU64,
    pub(super) reused: AtomicU64,
}

impl Client {
    /// The whole answer. A new connection has to stand within `connect`, and whose limit that is.
    pub(super) async fn exchange(
        &self,
        judged: Judged,
        connect: (Duration, &'static str),
        progress: &mut Progress,
    ) -> Result<ResponseSummary, Failure> {
        let Judged { to, mut request } = judged;
        if let Some(kept) = self.kept(&to) {
            self.reused.fetch_add(1, Ordering::Relaxed);
            match self.ask(&to, kept, request, progress).await {
                Ok(answer) => return Ok(answer),
                Err(Lost::Failed(failure)) => return Err(failure),
                // Closed in this very moment.
                Err(Lost::Unsent(unsent)) => request = *unsent,
            }
        }
        // On the heap, because it is rare and large: every request would move the room for it about.
        let fresh = Box::pin(self.connector.open(&to, connect, progress)).await?;
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.ask(&to, fresh, request, progress).await.map_err(|lost| match lost {
            Lost::Failed(failure) => failure,
            Lost::Unsent(_) => Failure::new(FailureCode::Protocol, "the connection was closed before the request could be sent"),
        })
    }

    /// A kept connection that the destination has not closed. Each that it has leaves the pool, so this ends.
    fn kept(&self, to: &Destination) -> Option<Connection> {
        while let Some(mut connection) = self.pool.take(to) {
            if connection.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    async fn ask(
        &self,
        to: &Destination,
        mut connection: Connection,
        request: Request<Full<Bytes>>,
        progress: &mut Progress,
    ) -> Result<ResponseSummary, Lost> {
        progress.stage = Stage::Head;
        let sending = connection.sender.try_send_request(request);
        let answer = {
            let work = pin!(async {
                let response = sending.await.map_err(|mut error| match error.take_message() {
                    Some(unsent) => Lost::Unsent(Box::new(unsent)),
                    None => Lost::Failed(explained(error.error(), "before an answer came")),
                })?;
                progress.head_came();
                let (head, body) = response.into_parts();
                let (status, headers) = (head.status.as_u16(), listed(&head.headers));
                let body = collected(body, self.response_bytes, progress).await.map_err(Lost::Failed)?;
                Ok(ResponseSummary { status, headers, body, phases: progress.phases() })
            });
            connection.driver.during(work).await
        };
        let ended = || Err(Lost::Failed(Failure::new(FailureCode::Protocol, "the connection ended without an answer")));
        let answer = answer.unwrap_or_else(ended)?;
        self.put_away(to, connection);
        Ok(answer)
    }

    /// Keeps the connection, if both sides are done with the request and want to go on.
    fn put_away(&self, to: &Destination, mut connection: Connection) {
        let now = self.clock.instant();
        if now.saturating_duration_since(connection.made) < AGE_MAX && connection.is_ready() {
            connection.idle_since = Some(now);
            self.pool.put(to.clone(), connection);
        }
    }
}

fn listed(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}

/// The body, if it is not over `most` bytes. An announced length is believed when it is too large.
async fn collected(mut body: Incoming, most: usize, progress: &mut Progress) -> Result<Bytes, Failure> {
    let too_large = |found: String| {
        Failure::new(
            FailureCode::TooLarge,
            format!("the answer has {found}, over the limit of {most} bytes (setting limits.http_response_bytes)"),
        )
    };
    let announced = body.size_hint().lower();
    if announced > u64::try_from(most).unwrap_or(u64::MAX) {
        return Err(too_large(format!("{announced} bytes")));
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        // Trailers are not part of an answer.
        let Ok(piece) = frame.map_err(|error| explained(&error, "within the answer's body"))?.into_data() else { continue };
        progress.received += piece.len();
        if progress.received > most {
            return Err(too_large(format!("at least {} bytes", progress.received)));
        }
        if whole.is_empty() && body.is_end_stream() {
            return Ok(piece);
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// Hyper's error after the connection stood.
fn explained(error: &hyper::Error, when: &str) -> Failure {
    if error.is_parse_too_large() {
        return Failure::new(
            FailureCode::TooLarge,
            "the head of the answer is too large (settings egress.response_header_bytes; at most 100 headers)",
        );
    }
    let cause = error.source();
    let ended = cause.and_then(|cause| cause.downcast_ref::<io::Error>()).is_some_and(|cause| cause.kind() == io::ErrorKind::UnexpectedEof);
    let what = if error.is_parse() {
        "what came back is not HTTP/1.1".into()
    } else if error.is_incomplete_message() || ended {
        format!("the connection was closed {when}")
    } else {
        format!("the connection failed {when}")
    };
    let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
    Failure::new(FailureCode::Protocol, format!("{what}: {error}{cause}"))
}
