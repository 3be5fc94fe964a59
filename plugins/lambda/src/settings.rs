//! What the operator decides in `[handlers.lambda]`.

use std::borrow::Cow;
use std::rc::Rc;

use serde::Deserialize;
use tenterhook_lua::{Mode, Options};
use tenterhook_sdk::Settings;

use crate::outside::World;

/// The memory that Lua may hold. Far below half of what an instance may have by default (64 MiB), because a growing block and its copy live side by
/// side for a moment.
const MEMORY_MIB: u32 = 24;

/// Of Kong, for a chunk that may not be loaded at all.
const OFF: &str = "loading of untrusted Lua code disabled because 'untrusted_lua' config option is set to 'off'";

/// How hooks' Lua is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Untrusted {
    pub(crate) mode: Mode,
    pub(crate) memory_bytes: usize,
    /// An older Kong's word that stands for `lax`.
    pub(crate) deprecated: Option<&'static str>,
}

#[derive(Deserialize)]
struct Table<'a> {
    #[serde(borrow, default = "strict")]
    untrusted_lua: Cow<'a, str>,
    #[serde(default = "memory_mib")]
    lua_memory_mib: u32,
}

fn strict() -> Cow<'static, str> {
    "strict".into()
}

fn memory_mib() -> u32 {
    MEMORY_MIB
}

impl Untrusted {
    /// For a new state.
    pub(crate) fn options(&self) -> Options {
        Options { memory_bytes: self.memory_bytes, mode: self.mode, outside: Rc::new(World), ..Options::default() }
    }
}

/// The error is a sentence for whoever made the hook, and stands behind the place of the chunk.
pub(crate) fn read(settings: &Settings) -> Result<Untrusted, String> {
    let table: Table<'_> = settings.parse().map_err(|error| format!("the settings [handlers.lambda] cannot be read: {error}"))?;
    let (mode, deprecated) = match table.untrusted_lua.as_ref() {
        "strict" => (Mode::Strict, None),
        "lax" => (Mode::Lax, None),
        "sandbox" => (Mode::Lax, Some("sandbox")),
        "on" => (Mode::Lax, Some("on")),
        "off" => return Err(OFF.into()),
        other => return Err(format!("the setting untrusted_lua is '{other}'; it must be one of: off, strict, lax")),
    };
    let memory_bytes = usize::try_from(u64::from(table.lua_memory_mib) << 20).unwrap_or(usize::MAX);
    Ok(Untrusted { mode, memory_bytes, deprecated })
}
