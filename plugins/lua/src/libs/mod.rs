//! The libraries that chunks see, as far as they are written in Rust. Each function is reachable from the prelude as `host.<name>`.

use crate::sys::HostFunction;

/// `lua/init.lua`: see the crate's documentation.
pub(crate) const PRELUDE: &str = include_str!("../../lua/init.lua");

/// All functions written in Rust, by name.
pub(crate) fn functions() -> Vec<(&'static str, HostFunction)> {
    Vec::new()
}
