//! How far a request has come, so that a timeout can say what it waited for, and for the timings of the record.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::model::{Clock, Failure, FailureCode, Phases};

/// What is being waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// A place among the requests in flight.
    Slot,
    /// The addresses of the host.
    Addresses,
    /// TCP.
    Connection(SocketAddr),
    /// TLS.
    Handshake,
    /// The request being taken and the head of the answer.
    Head,
    /// The rest of the answer.
    Body,
}

/// Of one request.
#[derive(Debug)]
pub(super) struct Progress {
    clock: Clock,
    started: Instant,
    pub(super) stage: Stage,
    pub(super) connect: Duration,
    first_byte: Duration,
    /// Bytes of the answer's body so far.
    pub(super) received: usize,
}

impl Progress {
    pub(super) fn new(clock: &Clock) -> Self {
        let zero = Duration::ZERO;
        Self { started: clock.instant(), clock: clock.clone(), stage: Stage::Slot, connect: zero, first_byte: zero, received: 0 }
    }

    /// The head of the answer is here.
    pub(super) fn head_came(&mut self) {
        self.first_byte = self.elapsed();
        self.stage = Stage::Body;
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.clock.instant().saturating_duration_since(self.started)
    }

    /// The answer is complete now.
    pub(super) fn phases(&self) -> Phases {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Phases { connect_us: micros(self.connect), first_byte_us: micros(self.first_byte), total_us: micros(self.elapsed()) }
    }

    /// Nothing more came within `limit`, which is `whose`.
    pub(super) fn timed_out(&self, limit: Duration, whose: &str) -> Failure {
        let waited = match self.stage {
            Stage::Slot => "waiting for a place among the requests in flight (setting egress.in_flight)".into(),
            Stage::Addresses => "resolving the host".into(),
            Stage::Connection(address) => format!("connecting to {address}"),
            Stage::Handshake => "in the TLS handshake".into(),
            Stage::Head => "waiting for the answer".into(),
            Stage::Body => format!("reading the answer's body, {} bytes so far", self.received),
        };
        Failure::new(FailureCode::Timeout, format!("not done within {} ms ({whose}): {waited}", limit.as_millis()))
    }
}
