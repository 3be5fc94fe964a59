//! What goes out: an answer, or the failure of an attempt.

use std::fmt::Display;
use std::time::Duration;

use serde::Serialize;

use crate::Request;

/// What [`handle`](crate::Handler::handle) gives back when it worked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Handled: the delivery is *delivered*. The JSON text, if any, is shown by `/test` as `result`.
    Done(Option<String>),
    /// The host shall make this one request after the instance is gone: the cheapest way to deliver, because nothing waits in memory during the
    /// POST. The answer decides: 2xx is delivered, 410 pauses the hook, anything else is retried on the hook's schedule. A handler that wants to
    /// read the answer calls [`http::send`](crate::http::send) itself.
    Send(Request),
}

impl Answer {
    /// Handled, with nothing to show.
    pub fn done() -> Self {
        Self::Done(None)
    }

    /// Handled; `/test` shows this value as `result`.
    pub fn done_with<T: Serialize>(result: &T) -> Result<Self, serde_json::Error> {
        Ok(Self::Done(Some(serde_json::to_string(result)?)))
    }

    /// The request of [`Answer::Send`].
    pub fn request(&self) -> Option<&Request> {
        match self {
            Self::Send(request) => Some(request),
            Self::Done(_) => None,
        }
    }
}

impl From<Request> for Answer {
    fn from(request: Request) -> Self {
        Self::Send(request)
    }
}

/// What [`handle`](crate::Handler::handle) gives back when it did not work.
///
/// A `?` on a JSON error becomes [`Reject`](Failure::Reject) (the same text will not parse later either), one on an
/// [`http::Error`](crate::http::Error) becomes [`Retry`](Failure::Retry). For any other error, or to decide otherwise, see [`OrFail`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Try again later: on the hook's schedule, or after `after` if that is later. Delays this delivery alone.
    Retry {
        /// Shown to the operator.
        reason: String,
        /// Not sooner than this.
        after: Option<Duration>,
    },
    /// Never try again: the delivery becomes a dead letter at once. The text says why.
    Reject(String),
    /// Stop attempting anything for this hook until an operator resumes it. Its events queue. The text says why.
    PauseHook(String),
}

impl Failure {
    /// Try again on the hook's schedule.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry { reason: reason.into(), after: None }
    }

    /// Try again on the hook's schedule, but not sooner than this.
    pub fn retry_after(reason: impl Into<String>, after: Duration) -> Self {
        Self::Retry { reason: reason.into(), after: Some(after) }
    }

    /// Never try again.
    pub fn reject(reason: impl Into<String>) -> Self {
        Self::Reject(reason.into())
    }

    /// Stop attempting anything for this hook.
    pub fn pause_hook(reason: impl Into<String>) -> Self {
        Self::PauseHook(reason.into())
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Reject(error.to_string())
    }
}

impl From<crate::http::Error> for Failure {
    fn from(error: crate::http::Error) -> Self {
        Self::retry(error.to_string())
    }
}

impl From<crate::standard_webhooks::SecretError> for Failure {
    /// No event of this hook can be signed until somebody corrects the secret.
    fn from(error: crate::standard_webhooks::SecretError) -> Self {
        Self::PauseHook(error.to_string())
    }
}

/// Turns the error of any `Result`, or a `None`, into the failure you choose.
///
/// ```
/// use tenterhook_sdk::{Failure, OrFail};
///
/// fn port(text: &str) -> Result<u16, Failure> {
///     text.parse::<u16>().or_reject("port")
/// }
/// assert_eq!(port("x"), Err(Failure::reject("port: invalid digit found in string")));
///
/// fn first(list: &[u8]) -> Result<&u8, Failure> {
///     list.first().or_retry("nothing there yet")
/// }
/// assert_eq!(first(&[]), Err(Failure::retry("nothing there yet")));
/// ```
pub trait OrFail<T> {
    /// Try again on the hook's schedule.
    fn or_retry(self, reason: &str) -> Result<T, Failure>;
    /// Never try again.
    fn or_reject(self, reason: &str) -> Result<T, Failure>;
    /// Stop attempting anything for this hook.
    fn or_pause_hook(self, reason: &str) -> Result<T, Failure>;
}

impl<T, E: Display> OrFail<T> for Result<T, E> {
    fn or_retry(self, reason: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure::retry(format!("{reason}: {error}")))
    }

    fn or_reject(self, reason: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure::reject(format!("{reason}: {error}")))
    }

    fn or_pause_hook(self, reason: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure::pause_hook(format!("{reason}: {error}")))
    }
}

impl<T> OrFail<T> for Option<T> {
    fn or_retry(self, reason: &str) -> Result<T, Failure> {
        self.ok_or_else(|| Failure::retry(reason))
    }

    fn or_reject(self, reason: &str) -> Result<T, Failure> {
        self.ok_or_else(|| Failure::reject(reason))
    }

    fn or_pause_hook(self, reason: &str) -> Result<T, Failure> {
        self.ok_or_else(|| Failure::pause_hook(reason))
    }
}
