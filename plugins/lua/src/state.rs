//! A Lua state.

use std::ffi::{CString, c_int};
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::rc::Rc;

use crate::libs::{Nowhere, Outside};
use crate::sys::Raw;
use crate::{Kept, Value, codec, libs};

/// Lua's own status numbers.
const SYNTAX: c_int = 3;
const MEMORY: c_int = 4;

/// Lua's number of the type.
const FUNCTION: c_int = 6;

/// How much of Kong's surroundings a chunk sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Kong's allow-list: no network, no files.
    Strict,
    /// And what Kong's sandbox allowed before 3.14.
    Lax,
}

impl Mode {
    /// As the prelude gets it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Lax => "lax",
        }
    }
}

/// What a state is made with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes that Lua may hold. Beyond it `not enough memory` is raised, which a `pcall` can catch. Keep it below half of the instance's own limit:
    /// a growing block and its copy live side by side for a moment.
    pub memory_bytes: usize,
    /// How much a chunk sees.
    pub mode: Mode,
    /// Of the string hash and, until [`State::reseed`], of `math.random`. None: random.
    pub seed: Option<u64>,
    /// What scripts reach beyond the state: log, clock, network.
    pub outside: Rc<dyn Outside>,
    /// False: chunks see the plain globals of Lua. For tests.
    pub sandbox: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { memory_bytes: 24 << 20, mode: Mode::Strict, seed: None, outside: Rc::new(Nowhere), sandbox: true }
    }
}

/// What went wrong, as far as it matters to a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The chunk does not compile.
    Syntax,
    /// It raised an error.
    Runtime,
    /// It ran into the memory cap.
    Memory,
}

/// A Lua error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What kind.
    pub kind: ErrorKind,
    /// Its text, bytes of any kind: `[string "name"]:3: …`.
    pub message: Vec<u8>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.message))
    }
}

impl std::error::Error for Error {}

/// The results of a call, still in Lua: the next use of the state ends them.
pub struct Results<'a> {
    state: &'a mut State,
    count: usize,
}

/// A Lua state with its libraries and its sandbox.
pub struct State {
    raw: Raw,
    sandbox: bool,
    encoded: Vec<u8>,
}

impl State {
    /// Makes a state and runs the prelude in it.
    pub fn new(options: &Options) -> Result<Self, Error> {
        let seed = options.seed.unwrap_or_else(|| RandomState::new().hash_one(0_u8));
        let (names, functions): (Vec<_>, Vec<_>) = libs::functions(&options.outside).into_iter().unzip();
        let raw = Raw::open(options.memory_bytes, seed, functions);
        let raw = raw.ok_or_else(|| Error { kind: ErrorKind::Memory, message: b"not enough memory for Lua's libraries".to_vec() })?;
        let mut state = Self { raw, sandbox: options.sandbox, encoded: Vec::new() };
        for (index, name) in (0..).zip(names) {
            state.raw.register(name, index).map_err(|status| state.error(status))?;
        }
        if state.sandbox {
            let prelude = state.load_plain("=init", libs::PRELUDE.as_bytes(), false)?;
            state.raw.prelude(prelude.handle, options.mode.as_str()).map_err(|status| state.error(status))?;
            state.forget(prelude);
        }
        Ok(state)
    }

    /// Leaves the memory to the end of the instance: to close a state frees every object of it one by one, which takes longer than most events.
    pub fn abandon(self) {
        std::mem::forget(self);
    }

    /// Compiles a chunk with globals of its own. Messages call it `[string "name"]`.
    pub fn load(&mut self, name: &str, text: &[u8]) -> Result<Kept, Error> {
        self.load_plain(name, text, self.sandbox)
    }

    /// `name` as in Lua: `=x` stands as it is.
    fn load_plain(&mut self, name: &str, text: &[u8], sandboxed: bool) -> Result<Kept, Error> {
        let name = CString::new(name.replace('\0', "?")).unwrap_or_default();
        let loaded = self.raw.load(&name, text, sandboxed).map(|handle| Kept { handle, type_number: FUNCTION });
        loaded.map_err(|status| self.error(status))
    }

    /// Calls a function and takes all of its results.
    pub fn call(&mut self, function: &Kept, args: &[Value]) -> Result<Vec<Value>, Error> {
        let mut results = self.run(function, args)?;
        (0..results.len()).map(|index| results.value(index)).collect()
    }

    /// Calls a function. Its results stay in Lua until they are asked for.
    pub fn run(&mut self, function: &Kept, args: &[Value]) -> Result<Results<'_>, Error> {
        let mut encoded = std::mem::take(&mut self.encoded);
        encoded.clear();
        args.iter().for_each(|arg| codec::encode(&mut encoded, arg));
        let called = self.raw.call(function.handle, &encoded, u32::try_from(args.len()).unwrap_or(u32::MAX));
        self.encoded = encoded;
        let count = called.map_err(|status| self.error(status))?;
        Ok(Results { state: self, count })
    }

    /// `math.random` goes on from this seed. Call it with the attempt's seed at each event.
    pub fn reseed(&mut self, seed: u64) {
        self.raw.reseed(seed);
    }

    /// Gives a compiled chunk, and all functions in it, another name for messages.
    pub fn rename(&mut self, chunk: Kept, name: &str) -> Result<(), Error> {
        self.raw.rename(chunk.handle, name.as_bytes()).map_err(|status| self.error(status))
    }

    /// Lets a kept value be collected. It must not be used again.
    pub fn forget(&mut self, kept: Kept) {
        self.raw.forget(kept.handle);
    }

    /// Bytes that Lua holds.
    pub fn memory_used(&self) -> usize {
        self.raw.used()
    }

    fn error(&mut self, status: c_int) -> Error {
        let kind = match status {
            SYNTAX => ErrorKind::Syntax,
            MEMORY => ErrorKind::Memory,
            _ => ErrorKind::Runtime,
        };
        Error { kind, message: self.raw.error() }
    }
}

impl Results<'_> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The result at this index, from 0; nil where there is none. It is an error for a table to be too large or too deep to leave Lua.
    pub fn value(&mut self, index: usize) -> Result<Value, Error> {
        let Some(place) = self.place(index) else { return Ok(Value::Nil) };
        let decoded = self.state.raw.result(place).map(|bytes| codec::decode(bytes, 1).and_then(|mut values| values.pop()));
        decoded.map(|value| value.unwrap_or(Value::Nil)).map_err(|status| self.state.error(status))
    }

    /// The result at this index, whatever it is, kept in Lua. Nil where there is none.
    pub fn keep(&mut self, index: usize) -> Result<Kept, Error> {
        // Beyond the last one Lua finds nil.
        let place = c_int::try_from(index + 1).unwrap_or(c_int::MAX);
        let kept = self.state.raw.keep(place).map(|(handle, type_number)| Kept { handle, type_number });
        kept.map_err(|status| self.state.error(status))
    }

    fn place(&self, index: usize) -> Option<c_int> {
        if index < self.count { c_int::try_from(index + 1).ok() } else { None }
    }
}
