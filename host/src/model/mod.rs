//! The nouns: what everybody talks about, with no behaviour beyond their own rules, and nothing of ours below them.
//!
//! These are the domain's forms. What goes over the wire is in `http`, what lies on disk in `store::record`; each has one conversion to and from
//! here.

mod clock;
mod event;
mod handler;
mod hook;
mod ids;
mod invalid;
mod report;
mod sources;
mod throttle;

pub use clock::{Clock, Timestamp};
pub use event::{Event, JsonText, NewEvent, Origin};
pub use handler::{Asks, Description, Digest, HandlerRecord};
pub use hook::{DeliverySettings, Hook, HookLimits, HookState, Order, PausedByHost, Profile, RetrySchedule};
pub use ids::{CommitNo, DeliveryId, EventId, EventNo, Generation, HookNo};
pub use invalid::{Invalid, PathPart, Violation};
pub use report::{
    Answer, AttemptSummary, Blame, CallOutcome, CapabilityCall, Failure, FailureCode, GuestRequest, HeaderValue, LogLevel, LogLine, Phases,
    Report, RequestOptions, ResponseSummary, Usage,
};
pub use sources::{SourceEvent, Sources, catalogue, is_built_in};
pub use throttle::{Skip, ThrottleKey, ThrottleMark};
