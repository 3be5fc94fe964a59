//! What scripts reach beyond their state: the contract's capabilities, and the clocks of WASI.

use std::time::{Duration, SystemTime};

use tenterhook_lua::libs::{Level, Outside, Request, Response};
use tenterhook_sdk::{http, log};

/// The world of an instance.
#[derive(Debug)]
pub(crate) struct World;

impl Outside for World {
    #[allow(clippy::disallowed_methods, reason = "a guest has no other clock than WASI's, and the host decides what that one shows")]
    fn now(&self) -> Duration {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }

    fn log(&self, level: Level, line: &[u8]) {
        let level = match level {
            Level::Emerg => log::Level::Emerg,
            Level::Alert => log::Level::Alert,
            Level::Crit => log::Level::Crit,
            Level::Err => log::Level::Err,
            Level::Warn => log::Level::Warn,
            Level::Notice => log::Level::Notice,
            Level::Info => log::Level::Info,
            Level::Debug => log::Level::Debug,
        };
        log::write(level, line);
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn fetch(&self, request: &Request) -> Result<Response, String> {
        let text = |bytes: &[u8], what: &str| String::from_utf8(bytes.to_vec()).map_err(|_| format!("the {what} is not UTF-8"));
        let mut outgoing = tenterhook_sdk::Request::new(text(&request.method, "method")?, text(&request.url, "URL")?);
        for (name, value) in &request.headers {
            outgoing = outgoing.header(text(name, "name of a header")?, value.clone());
        }
        if let Some(body) = &request.body {
            outgoing = outgoing.body(body.clone());
        }
        if let Some(time) = request.connect_timeout {
            outgoing = outgoing.connect_timeout(time);
        }
        if let Some(time) = request.total_timeout {
            outgoing = outgoing.total_timeout(time);
        }
        let answer = http::send(outgoing.verify_tls(request.verify_tls)).map_err(|error| error.to_string())?;
        let headers = answer.headers.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect();
        Ok(Response { status: answer.status, headers, body: answer.body })
    }
}
