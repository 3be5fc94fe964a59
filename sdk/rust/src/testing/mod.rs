//! A host for unit tests: handlers run natively, under plain `cargo test`, with nothing to install.
//!
//! It keeps the lines that a handler writes, answers its requests, and stands the clock still:
//!
//! ```
//! use serde_json::json;
//! use tenterhook_sdk::http::{Error, Response};
//! use tenterhook_sdk::testing::{Host, event};
//! use tenterhook_sdk::{Answer, Attempt, Event, Failure, Handler, NoConfig, Request, Settings, http, log};
//!
//! struct Forecast;
//!
//! impl Handler for Forecast {
//!     type Config = NoConfig;
//!
//!     fn handle(_: Event, _: Attempt, _: NoConfig, _: Settings) -> Result<Answer, Failure> {
//!         let response = http::send(Request::get("https://weather.example/"))?;
//!         log::info(&response.body);
//!         Ok(Answer::done())
//!     }
//! }
//!
//! let host = Host::new().answer(|request| {
//!     assert_eq!(request.url, "https://weather.example/");
//!     Ok(Response::new(200).with_body("sunny"))
//! });
//! assert_eq!(host.handle::<Forecast>(event("any", "thing", json!({})), &json!({})), Ok(Answer::done()));
//! assert_eq!(host.lines(), ["sunny"]);
//!
//! let down = Host::new().answer(|_| Err(Error::Connect("refused".into())));
//! let failure = down.handle::<Forecast>(event("any", "thing", json!({})), &json!({})).unwrap_err();
//! assert_eq!(failure, Failure::retry("connect: refused"));
//! ```

mod host;
mod samples;

pub use host::{Host, LogLine};
pub(crate) use host::{send_http, unix_seconds, write_log};
pub use samples::{attempt, event};
