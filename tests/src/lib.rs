//! What the tests are written with: the real binary on port 0, a sink that records, waiting on conditions.
//!
//! Nothing here knows the host's code: everything goes through its sockets, its signals and its data folder. In reading order: the binary, the
//! process, its doors, the far end, waiting, and the data that most tests use.
#![allow(
    clippy::disallowed_methods,
    reason = "tests and the benchmark measure real time and own their tasks; the host's clock is not here"
)]

pub mod binary;
#[path = "../components/built.rs"]
mod built;
pub mod client;
pub mod components;
pub mod fixtures;
pub mod host;
pub mod log;
pub mod sink;
pub mod wait;
mod warm;

pub use client::{Answer, Door};
pub use host::{Host, HostBuilder, Refusal};
pub use sink::{Received, Reply, Sink};
pub use wait::{DEADLINE, eventually};
