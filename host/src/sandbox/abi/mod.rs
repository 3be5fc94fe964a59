//! Between the dispatcher and the bindings of each contract version stands one small trait, so a new version adds a file here and a line in
//! [`SPOKEN`], and nothing else changes.

mod v0;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre, Linker};

use super::component::Version;
use super::instance::State;
use crate::model::{Asks, Event, GuestRequest, JsonText, Timestamp, Violation};

/// The package of the contract.
pub(super) const PACKAGE: &str = "tenterhook:hook";

/// The function at a component's root that makes a hook's handler ready. It has no version: it is the world's, not an interface's.
pub(super) const PREPARE: &str = "prepare";

/// The versions that this host speaks, newest first.
pub(super) const SPOKEN: &[Spoken] = &[v0::SPOKEN];

/// One version of the contract.
pub(super) struct Spoken {
    /// The newest version of its track.
    pub(super) version: Version,
    /// Interfaces of the package that a component may import.
    pub(super) interfaces: &'static [&'static str],
    /// Adds the package's imports to a linker; WASI is there already.
    pub(super) link: fn(&mut Linker<State>) -> wasmtime::Result<()>,
    /// Finds the exports of a component that was linked.
    pub(super) bind: fn(InstancePre<State>) -> wasmtime::Result<Box<dyn Bound>>,
    /// Calls `prepare`; the inner error is the guest's own.
    pub(super) prepare: for<'a> fn(&'a Instance, &'a mut Store<State>, JsonText, JsonText) -> Preparing<'a>,
}

/// A call of `prepare` on its way.
pub(super) type Preparing<'a> = BoxFuture<'a, wasmtime::Result<Prepared>>;

/// What `prepare` gave back.
pub(super) type Prepared = Result<(), String>;

/// A component that is linked and ready to be instantiated any number of times.
pub(super) trait Bound<E: ?Sized = dyn Exports>: Send + Sync {
    /// Makes an instance in a fresh store. Runs guest code (start functions), so it belongs under the attempt's limits.
    fn instantiate<'a>(&'a self, store: &'a mut Store<State>) -> BoxFuture<'a, wasmtime::Result<Box<E>>>;
}

/// The exports of one instance. Calls come one after the other, each with its budget already set in the store; after an error the instance is
/// dropped. What comes back is as the guest gave it: nothing is checked yet.
pub(super) trait Exports: Send + Sync {
    /// `describe`.
    fn describe<'a>(&'a self, store: &'a mut Store<State>) -> BoxFuture<'a, wasmtime::Result<Described>>;

    /// `validate`: the config with defaults, or what is wrong with it.
    fn validate<'a>(
        &'a self,
        store: &'a mut Store<State>,
        config: JsonText,
        settings: JsonText,
    ) -> BoxFuture<'a, wasmtime::Result<Validated>>;

    /// `handle`.
    fn handle<'a>(&'a self, store: &'a mut Store<State>, asked: Asked) -> BoxFuture<'a, wasmtime::Result<Reply>>;
}

/// What a handler says about itself.
pub(super) struct Described {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) summary: String,
    pub(super) config_schema: String,
    pub(super) wants_pings: bool,
    pub(super) asks: Asks,
}

/// What `validate` gave back.
pub(super) type Validated = Result<String, Vec<Violation>>;

/// What `handle` is given.
pub(super) struct Asked {
    pub(super) event: Arc<Event>,
    pub(super) delivery_id: String,
    pub(super) hook_id: String,
    pub(super) number: u32,
    pub(super) first_tried: Timestamp,
    pub(super) deadline: Duration,
    pub(super) test: bool,
    pub(super) seed: u64,
    pub(super) config: JsonText,
    pub(super) settings: JsonText,
}

/// What `handle` gave back.
pub(super) enum Reply {
    Done(Option<String>),
    Send(Box<GuestRequest>),
    Retry { reason: String, after: Option<Duration> },
    Reject(String),
    PauseHook(String),
}
