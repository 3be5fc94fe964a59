//! What a guest can call, one file for each capability of `wit/`, and WASI for language runtimes.
//!
//! The files hold what a capability does and remembers during an attempt, in the words of the model; how it is called is the business of the
//! version of the contract (`abi`).

pub(super) mod http;
pub(super) mod log;
pub(super) mod wasi;
