//! Write Tenterhook handlers in Rust.
//!
//! A *handler* turns an event into an action: a request to some API, a line in a log. It is compiled to a WebAssembly component, uploaded, and run
//! in a fresh sandbox for every event that matches a hook. A handler is one type with one function:
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use serde_json::json;
//! use tenterhook_sdk::{Answer, Attempt, Event, Failure, Handler, Request, Settings};
//!
//! /// What each hook of this handler is configured with.
//! #[derive(Deserialize, Serialize)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     url: String,
//!     #[serde(default = "everyone")]
//!     channel: String,
//! }
//!
//! fn everyone() -> String {
//!     "#general".into()
//! }
//!
//! /// The part of the event's data that this handler reads.
//! #[derive(Deserialize)]
//! struct Data {
//!     operation: String,
//! }
//!
//! struct Announce;
//!
//! impl Handler for Announce {
//!     type Config = Config;
//!
//!     fn handle(event: Event, _: Attempt, config: Config, _: Settings) -> Result<Answer, Failure> {
//!         let data: Data = event.parse()?; // data of another shape: the delivery becomes a dead letter, with the reason
//!         let text = format!("{} {}d", event.name, data.operation);
//!         Ok(Request::post(config.url).json(&json!({ "channel": config.channel, "text": text }))?.into())
//!     }
//! }
//!
//! tenterhook_sdk::export!(Announce);
//!
//! // In your tests, natively and without a host:
//! use tenterhook_sdk::testing::{Host, event};
//!
//! let host = Host::new();
//! let consumer = event("crud", "consumers", json!({ "operation": "create" }));
//! let config = json!({ "url": "https://chat.example/in" });
//!
//! let answer = host.handle::<Announce>(consumer, &config).unwrap();
//! let request = answer.request().unwrap();
//! assert_eq!(request.url, "https://chat.example/in");
//! assert_eq!(request.body_json(), json!({ "channel": "#general", "text": "consumers created" }));
//!
//! // The config is checked by its type, every mistake at once, in the words of Kong's Admin API:
//! let violations = host.validate::<Announce>(&json!({ "channel": 7, "colour": "red" })).unwrap_err();
//! assert_eq!(violations.to_string(), "channel: expected a string; colour: unknown field; url: required field missing");
//! ```
//!
//! Build it with `cargo build --release --target wasm32-wasip2` (`crate-type = ["cdylib"]`).
//!
//! In reading order: [`Handler`] is what you write; [`Event`], [`Attempt`] and [`Settings`] come in; [`Answer`] and [`Failure`] go out, with a
//! [`Request`] in it; [`log`], [`http`] and [`clock`] are what a handler can do on the way; [`standard_webhooks`] and [`sign`] sign;
//! [`testing`] is the host of your unit tests.

#![warn(missing_docs)]

mod answer;
pub mod clock;
pub mod config;
mod description;
mod event;
#[macro_use]
mod export;
mod handler;
pub mod http;
pub mod log;
mod request;
mod settings;
pub mod sign;
pub mod standard_webhooks;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod bindings;

pub use answer::{Answer, Failure, OrFail};
pub use config::{Check, NoConfig, PathPart, Violation, Violations};
pub use description::{Asks, Description};
pub use event::{Attempt, Event};
pub use handler::{Handler, Prepare};
pub use request::{HeaderValue, Request};
pub use settings::{HmacAlgorithm, Profile, Settings};

/// What the macros of this crate expand to. Not for use by hand.
#[doc(hidden)]
pub mod __private {
    #[cfg(target_arch = "wasm32")]
    pub use crate::bindings::exports::tenterhook::hook::handler as contract;
    #[cfg(target_arch = "wasm32")]
    pub use crate::export::{describe, handle, prepare, validate};
    #[cfg(target_arch = "wasm32")]
    pub use wit_bindgen;
}

/// The README's handler is compiled and tested too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
