//! Lua 5.1 in the dialect of LuaJIT, for the handlers that run users' Lua: a state with a memory cap, text and data in and out as bytes, and functions
//! written in Rust.
//!
//! ```
//! use tenterhook_lua::{Mode, Options, State, Value};
//!
//! let mut state = State::new(&Options { mode: Mode::Strict, ..Options::default() }).unwrap();
//! // A chunk has a name, for messages, and runs in the sandbox that the prelude makes (lua/init.lua).
//! let chunk = state.load("example", b"return function(data, name) return name .. ': ' .. data.entity.username end").unwrap();
//! let function = state.run(&chunk, &[]).unwrap().keep(0).unwrap();
//! assert!(function.is_function());
//! let data = Value::from_json(r#"{"entity":{"username":"jane","custom_id":null}}"#).unwrap();
//! let results = state.call(&function, &[data, Value::text("consumers")]).unwrap();
//! assert_eq!(results, [Value::text("consumers: jane")]);
//!
//! let error = state.load("example", b"return 1 +").unwrap_err();
//! assert_eq!(error.to_string(), r#"[string "example"]:1: unexpected symbol near '<eof>'"#);
//! ```
//!
//! # Functions written in Rust
//!
//! A function takes values and gives back values, or the text of an error, which Lua raises with the position of the call. It never sees Lua's stack:
//! a Lua error is a long jump that must not cross a Rust frame. So it cannot call Lua either; what takes a callback (`ngx.re.gsub`) is a few
//! lines of Lua around a function that does not.
//!
//! ```
//! use tenterhook_lua::{Args, Reply, Value};
//!
//! /// `host.reverse(text)`
//! fn reverse(args: Args<'_>) -> Reply {
//!     let text = args.bytes(1, "reverse")?; // or: bad argument #1 to 'reverse' (string expected, got nil)
//!     Ok(vec![Value::Bytes(text.iter().rev().copied().collect())])
//! }
//! ```
//!
//! It is registered in [`libs`] (`add("reverse", reverse)`), and is then in the table `host` that the prelude gets: nothing that a user's chunk can
//! reach unless the prelude puts it there.
//!
//! # The prelude
//!
//! `lua/init.lua` runs once when a state is made, outside of the sandbox, with `host` (that table) and the mode (`"strict"` or `"lax"`) as arguments.
//! It returns a function that makes the table of globals for one chunk: [`State::load`] calls it for each. Other files in `lua/` are embedded too:
//! `host.load("name")` gives the text of `lua/name.lua` as a function (see [`libs`]).
//! C libraries are files in `c/`, which are compiled without being named; a `luaopen_…` gets its line in `c/open.c`.
//!
//! # What crosses, and how
//!
//! | JSON | Lua | back |
//! |---|---|---|
//! | `null`, member of an object | nothing (`nil`): Kong strips these from entities | – |
//! | `null`, elsewhere | `cjson.null` (a light userdata), so that arrays keep their places; as a whole value `nil` | `null` |
//! | number | a number, that is a 64-bit float | as cjson writes it: 14 digits |
//! | text | bytes | text; bytes that are not UTF-8 are replaced |
//! | array, object | table | a table with keys 1…n is an array; an empty one is `{}` |
//!
//! # Seeds
//!
//! Strings are hashed whole, with a seed, so that nobody can send texts that all collide. The seed is chosen at random when the state is made and is
//! kept for its life, in a stored memory image too: it is unknown to whoever sends events, and tables stay valid. `math.random` is another matter:
//! [`State::reseed`] with the attempt's seed at each event.

mod args;
mod codec;
mod json;
pub mod libs;
mod state;
mod sys;
pub mod template;
mod value;

pub use args::{Args, Reply};
pub use json::NoJson;
pub use state::{Error, ErrorKind, Mode, Options, Results, State};
pub use value::{Kept, Value};
