//! What a script can reach beyond its state. The handler that owns the state implements it over the contract's capabilities.

use std::fmt::Debug;
use std::time::Duration;

/// How urgent a line is: the numbers are those of `ngx.log`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// `ngx.EMERG`, 1; `ngx.STDERR`, 0, is taken for it.
    Emerg,
    /// `ngx.ALERT`, 2.
    Alert,
    /// `ngx.CRIT`, 3.
    Crit,
    /// `ngx.ERR`, 4.
    Err,
    /// `ngx.WARN`, 5.
    Warn,
    /// `ngx.NOTICE`, 6.
    Notice,
    /// `ngx.INFO`, 7.
    Info,
    /// `ngx.DEBUG`, 8.
    Debug,
}

impl Level {
    pub(super) fn numbered(number: f64) -> Self {
        const LEVELS: [Level; 9] =
            [Level::Emerg, Level::Emerg, Level::Alert, Level::Crit, Level::Err, Level::Warn, Level::Notice, Level::Info, Level::Debug];
        // The prelude lets only 0 to 8 through.
        LEVELS.get(number as usize).copied().unwrap_or(Level::Debug)
    }
}

/// What `resty.http` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`.
    pub method: Vec<u8>,
    /// Absolute.
    pub url: Vec<u8>,
    /// In this order.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// None: no body.
    pub body: Option<Vec<u8>>,
    /// False: any certificate will do.
    pub verify_tls: bool,
    /// Until the connection stands.
    pub connect_timeout: Option<Duration>,
    /// Until the last byte of the answer.
    pub total_timeout: Option<Duration>,
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// 200.
    pub status: u16,
    /// As received.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// All of it.
    pub body: Vec<u8>,
}

/// The world outside of a state.
pub trait Outside: Debug {
    /// The time since 1970-01-01.
    fn now(&self) -> Duration;

    /// A line for the operator. Bytes of any kind.
    fn log(&self, level: Level, line: &[u8]);

    /// Blocks for so long. What a script may sleep in all is bounded before.
    fn sleep(&self, time: Duration);

    /// Sends a request and waits for the answer. The error is what a script gets beside nil.
    fn fetch(&self, request: &Request) -> Result<Response, String>;
}

/// No world at all: the clock stands at 0, lines are dropped, nothing is fetched.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nowhere;

impl Outside for Nowhere {
    fn now(&self) -> Duration {
        Duration::ZERO
    }

    fn log(&self, _: Level, _: &[u8]) {}

    fn sleep(&self, _: Duration) {}

    fn fetch(&self, _: &Request) -> Result<Response, String> {
        Err("there is no network here".into())
    }
}
