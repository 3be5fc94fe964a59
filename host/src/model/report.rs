//! What came of an attempt. A failed attempt is data: stored, listed and shown, never an `Err`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{JsonText, Timestamp};

/// What a handler answered.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Handled; the JSON is what `/test` shows.
    Done(Option<JsonText>),
    /// The host makes this request after the instance is gone.
    Send(Box<GuestRequest>),
}

/// A request as a guest asked for it; `egress` judges it.
#[derive(Debug, Clone)]
pub struct GuestRequest {
    /// Upper-case token.
    pub method: String,
    /// Absolute URL.
    pub url: String,
    /// In order.
    pub headers: Vec<(String, HeaderValue)>,
    /// None: no body.
    pub body: Option<Bytes>,
    /// How.
    pub options: RequestOptions,
}

/// A header's value.
#[derive(Debug, Clone)]
pub enum HeaderValue {
    /// These bytes.
    Text(Vec<u8>),
    /// A named secret, put in when sent.
    Secret {
        /// Stands before the secret.
        prefix: String,
        /// The secret's name.
        name: String,
    },
}

/// How a request is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestOptions {
    /// Check the server's certificate.
    pub verify_tls: bool,
    /// Until the connection stands.
    pub connect_timeout: Option<Duration>,
    /// Until the last byte.
    pub total_timeout: Option<Duration>,
}

/// Why an attempt failed. The texts of `as_str` are stable: they are in the API, in metrics and in the documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureCode {
    /// The handler answered `retry`.
    Retry,
    /// The handler answered `reject`.
    Reject,
    /// The handler answered `pause-hook`.
    PauseHook,
    /// The destination answered with a status that is not success.
    Status,
    /// The name could not be resolved.
    Dns,
    /// No connection.
    Connect,
    /// TLS.
    Tls,
    /// The destination was too slow.
    Timeout,
    /// The destination's answer was too large.
    TooLarge,
    /// What came back was not HTTP.
    Protocol,
    /// The request is not valid: URL, header, size.
    BadRequest,
    /// The address is not allowed: not granted, or refused by the egress policy.
    Denied,
    /// The instance ran past the deadline.
    Deadline,
    /// Fuel ran out.
    FuelLimit,
    /// Too much memory.
    MemoryLimit,
    /// Tables too large.
    TableLimit,
    /// Too many bytes from guest to host in one call.
    HostcallLimit,
    /// Too many handles.
    HandleLimit,
    /// Too much log.
    LogLimit,
    /// Too many HTTP requests.
    HttpLimit,
    /// The answer is larger than allowed.
    AnswerLimit,
    /// The stack overflowed.
    StackOverflow,
    /// Any other trap.
    Trap,
    /// `unreachable`: a Rust panic, an abort.
    Panic,
    /// The guest called `exit`.
    GuestExit,
    /// What the handler gave back cannot be read.
    DecodeError,
    /// The handler cannot be compiled or instantiated, or is not installed.
    HandlerUnusable,
    /// A bug of the host.
    HostBug,
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Blame {
    /// The handler's author.
    Handler,
    /// Whoever runs the destination.
    Destination,
    /// The operator's settings.
    Operator,
    /// Ours.
    Host,
}

impl Blame {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Handler => "handler",
            Self::Destination => "destination",
            Self::Operator => "operator",
            Self::Host => "host",
        }
    }
}

impl FailureCode {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Reject => "reject",
            Self::PauseHook => "pause-hook",
            Self::Status => "status",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::TooLarge => "too-large",
            Self::Protocol => "protocol",
            Self::BadRequest => "bad-request",
            Self::Denied => "denied",
            Self::Deadline => "deadline",
            Self::FuelLimit => "fuel-limit",
            Self::MemoryLimit => "memory-limit",
            Self::TableLimit => "table-limit",
            Self::HostcallLimit => "hostcall-limit",
            Self::HandleLimit => "handle-limit",
            Self::LogLimit => "log-limit",
            Self::HttpLimit => "http-limit",
            Self::AnswerLimit => "answer-limit",
            Self::StackOverflow => "stack-overflow",
            Self::Trap => "trap",
            Self::Panic => "panic",
            Self::GuestExit => "guest-exit",
            Self::DecodeError => "decode-error",
            Self::HandlerUnusable => "handler-unusable",
            Self::HostBug => "host-bug",
        }
    }

    /// Who has to do something.
    pub fn blame(self) -> Blame {
        match self {
            Self::Status | Self::Dns | Self::Connect | Self::Tls | Self::Timeout | Self::TooLarge | Self::Protocol => Blame::Destination,
            Self::Denied | Self::HandlerUnusable => Blame::Operator,
            Self::HostBug => Blame::Host,
            Self::Retry
            | Self::Reject
            | Self::PauseHook
            | Self::BadRequest
            | Self::Deadline
            | Self::FuelLimit
            | Self::MemoryLimit
            | Self::TableLimit
            | Self::HostcallLimit
            | Self::HandleLimit
            | Self::LogLimit
            | Self::HttpLimit
            | Self::AnswerLimit
            | Self::StackOverflow
            | Self::Trap
            | Self::Panic
            | Self::GuestExit
            | Self::DecodeError => Blame::Handler,
        }
    }

    /// A handler that was stopped instead of answering: retried three times, then quarantined.
    pub fn is_handler_crash(self) -> bool {
        match self {
            Self::Deadline
            | Self::FuelLimit
            | Self::MemoryLimit
            | Self::TableLimit
            | Self::HostcallLimit
            | Self::HandleLimit
            | Self::LogLimit
            | Self::HttpLimit
            | Self::AnswerLimit
            | Self::StackOverflow
            | Self::Trap
            | Self::Panic
            | Self::GuestExit
            | Self::DecodeError
            | Self::HostBug => true,
            Self::Retry
            | Self::Reject
            | Self::PauseHook
            | Self::Status
            | Self::Dns
            | Self::Connect
            | Self::Tls
            | Self::Timeout
            | Self::TooLarge
            | Self::Protocol
            | Self::BadRequest
            | Self::Denied
            | Self::HandlerUnusable => false,
        }
    }

    /// May the same attempt succeed later, as far as the code alone can tell?
    pub fn retryable(self) -> bool {
        match self {
            Self::Reject | Self::PauseHook | Self::BadRequest => false,
            Self::Retry
            | Self::Status
            | Self::Dns
            | Self::Connect
            | Self::Tls
            | Self::Timeout
            | Self::TooLarge
            | Self::Protocol
            | Self::Denied
            | Self::Deadline
            | Self::FuelLimit
            | Self::MemoryLimit
            | Self::TableLimit
            | Self::HostcallLimit
            | Self::HandleLimit
            | Self::LogLimit
            | Self::HttpLimit
            | Self::AnswerLimit
            | Self::StackOverflow
            | Self::Trap
            | Self::Panic
            | Self::GuestExit
            | Self::DecodeError
            | Self::HandlerUnusable
            | Self::HostBug => true,
        }
    }
}

/// A failed attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Stable.
    pub code: FailureCode,
    /// For people: the number, the limit, the setting; a guest's backtrace.
    pub detail: String,
    /// The handler asked for this delay of this delivery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Duration>,
}

impl Failure {
    /// A failure without a delay of its own.
    pub fn new(code: FailureCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), after: None }
    }
}

/// Kong's log levels, least urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Least urgent.
    Debug,
    /// Standard output arrives here.
    Info,
    /// The `log` handler writes here.
    Notice,
    /// Standard error arrives here.
    Warn,
    /// Errors.
    Err,
    /// Critical.
    Crit,
    /// Alert.
    Alert,
    /// Most urgent.
    Emerg,
}

impl LogLevel {
    /// The name in records and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warn => "warn",
            Self::Err => "err",
            Self::Crit => "crit",
            Self::Alert => "alert",
            Self::Emerg => "emerg",
        }
    }
}

/// One line a handler wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// How urgent.
    pub level: LogLevel,
    /// Text; bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// What an attempt used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Units of fuel.
    pub fuel: u64,
    /// Highest sum of the component's memories, bytes.
    pub memory_bytes: u64,
    /// Making the instance, microseconds; 0 for a reused one.
    pub instantiate_us: u64,
    /// From the first instruction to the answer, microseconds of wall time.
    pub run_us: u64,
    /// The instance had served others before.
    pub reused: bool,
}

/// How long each part of a request took, microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Phases {
    /// Resolving, connecting and TLS; 0 on a kept connection.
    pub connect_us: u64,
    /// Until the head of the answer.
    pub first_byte_us: u64,
    /// Until its last byte.
    pub total_us: u64,
}

/// What came back from a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseSummary {
    /// Status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Whole, up to the limit.
    pub body: Bytes,
    /// Timings.
    pub phases: Phases,
}

/// How one call through `http` ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CallOutcome {
    /// An answer came, with this status.
    Status(u16),
    /// None came: code and text.
    Failed(FailureCode, String),
}

/// One call of a guest through a capability, for the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapabilityCall {
    /// `POST https://example.com/x`, without query and secrets.
    pub target: Arc<str>,
    /// How it ended.
    pub outcome: CallOutcome,
    /// Microseconds.
    pub duration_us: u64,
}

/// The whole attempt: guest and, for `send`, the request after it.
#[derive(Debug, Clone)]
pub struct Report {
    /// When it started.
    pub started: Timestamp,
    /// Wall time of the whole attempt.
    pub duration: Duration,
    /// What the guest used.
    pub usage: Usage,
    /// What the guest wrote.
    pub logs: Vec<LogLine>,
    /// What the guest called.
    pub calls: Vec<CapabilityCall>,
    /// The answer to a `send`, whatever its status.
    pub response: Option<ResponseSummary>,
    /// `done`'s value, or the failure.
    pub outcome: Result<Option<JsonText>, Failure>,
}

/// What is stored and listed of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptSummary {
    /// 1 for the first.
    pub number: u32,
    /// When it started.
    pub started: Timestamp,
    /// Milliseconds of wall time.
    pub duration_ms: u64,
    /// What the guest used.
    pub usage: Usage,
    /// Status of the destination's answer, if one came.
    pub status: Option<u16>,
    /// None when delivered.
    pub failure: Option<Failure>,
    /// Kept for failures and tests.
    pub logs: Vec<LogLine>,
    /// Kept for failures and tests.
    pub calls: Vec<CapabilityCall>,
    /// Head of the destination's answer, kept for failures: name, value.
    pub response_headers: Vec<(String, String)>,
    /// The first 16 KiB of the destination's answer, kept for failures.
    pub response_body: String,
}
