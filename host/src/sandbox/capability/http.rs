//! Requests whose answer the guest needs: counted, bounded, recorded, and sent by `egress` under the handler's grants.

use std::time::{Duration, Instant};

use crate::egress::{Egress, EgressError, Grants, target};
use crate::model::{CallOutcome, CapabilityCall, Clock, FailureCode, GuestRequest, ResponseSummary};
use crate::sandbox::limits::{Budget, Exceeded};

/// The requests of one attempt.
pub(in crate::sandbox) struct Http {
    egress: Egress,
    clock: Clock,
    /// None in `describe` and `validate`: they make no requests.
    attempt: Option<Attempt>,
    calls: Vec<CapabilityCall>,
    exceeded: bool,
}

struct Attempt {
    grants: Grants,
    deadline: Instant,
    requests_left: u32,
    bytes_left: u64,
    bytes_max: u64,
}

impl Http {
    /// Without an attempt: every request is refused.
    pub(in crate::sandbox) fn new(egress: Egress, clock: Clock) -> Self {
        Self { egress, clock, attempt: None, calls: Vec::new(), exceeded: false }
    }

    /// Starts a new attempt.
    pub(in crate::sandbox) fn start(&mut self, budget: &Budget, grants: Option<Grants>) {
        self.calls.clear();
        self.exceeded = false;
        self.attempt = grants.map(|grants| Attempt {
            grants,
            deadline: self.clock.instant() + budget.run.wall,
            requests_left: budget.run.http_requests,
            bytes_left: budget.http_response_bytes,
            bytes_max: budget.http_response_bytes,
        });
    }

    /// What was called, for the record.
    pub(in crate::sandbox) fn finish(&mut self) -> Vec<CapabilityCall> {
        std::mem::take(&mut self.calls)
    }

    /// Has the number of requests been exceeded?
    pub(in crate::sandbox) fn exceeded(&self) -> bool {
        self.exceeded
    }

    /// One request. The outer error ends the attempt, the inner one is the guest's.
    pub(in crate::sandbox) async fn send(&mut self, request: GuestRequest) -> Result<Result<ResponseSummary, EgressError>, Exceeded> {
        let target = target(&request);
        let Some(attempt) = &mut self.attempt else {
            let detail = "requests are made while an event is handled, not in describe or validate".to_owned();
            return Ok(Err(EgressError { code: FailureCode::Denied, target, detail }));
        };
        if attempt.requests_left == 0 {
            self.exceeded = true;
            return Err(Exceeded::HttpRequests);
        }
        attempt.requests_left -= 1;
        let started = self.clock.instant();
        let left = attempt.deadline.saturating_duration_since(started);
        let answer = self.egress.send(request, &attempt.grants, left).await.and_then(|response| attempt.count(response, &target));
        let outcome = match &answer {
            Ok(response) => CallOutcome::Status(response.status),
            Err(error) => CallOutcome::Failed(error.code, error.detail.clone()),
        };
        let duration_us = micros(self.clock.instant().saturating_duration_since(started));
        self.calls.push(CapabilityCall { target, outcome, duration_us });
        Ok(answer)
    }
}

impl Attempt {
    /// Head and body count: both are copied into the guest.
    fn count(&mut self, response: ResponseSummary, target: &std::sync::Arc<str>) -> Result<ResponseSummary, EgressError> {
        let head: usize = response.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let bytes = (head + response.body.len()) as u64;
        match self.bytes_left.checked_sub(bytes) {
            Some(left) => {
                self.bytes_left = left;
                Ok(response)
            }
            None => {
                let detail = format!("more than {} bytes of answers in one attempt (setting limits.http_response_bytes)", self.bytes_max);
                Err(EgressError { code: FailureCode::TooLarge, target: target.clone(), detail })
            }
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
