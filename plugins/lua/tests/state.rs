//! What a state holds against, and what crosses its border. The dialect is compared in `conformance.rs`.

use std::fmt::Write as _;

use tenterhook_lua::{Error, ErrorKind, Options, State, Value};

fn state() -> State {
    plain(Options::default().memory_bytes)
}

fn plain(memory_bytes: usize) -> State {
    State::new(&Options { sandbox: false, seed: Some(7), memory_bytes, ..Options::default() }).expect("a state")
}

fn run(state: &mut State, text: &str) -> Result<Vec<Value>, Error> {
    let chunk = state.load("=t", text.as_bytes())?;
    state.call(&chunk, &[])
}

fn text(text: &str) -> String {
    match run(&mut state(), text) {
        Ok(results) => match results.as_slice() {
            [Value::Bytes(bytes)] => String::from_utf8_lossy(bytes).into_owned(),
            other => panic!("{other:?}"),
        },
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn gotos_close_what_they_leave() {
    assert_eq!(text(include_str!("goto.lua")), include_str!("goto.txt").trim_end());
}

#[test]
fn memory_beyond_the_cap_is_an_error_that_can_be_caught() {
    let mut state = plain(4 << 20);
    let bomb = "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end";
    let error = run(&mut state, bomb).unwrap_err();
    assert_eq!((error.kind, error.to_string().as_str()), (ErrorKind::Memory, "not enough memory"));
    let caught = run(&mut state, &format!("local ok, e = pcall(function() {bomb} end) return ok, e, 1 + 1")).unwrap();
    assert_eq!(caught, [Value::Bool(false), Value::text("not enough memory"), Value::Number(2.0)]);
    assert!(state.memory_used() < 4 << 20);
    let grown = run(&mut state, "local s = 'x' while true do s = s .. s end").unwrap_err();
    assert_eq!(grown.kind, ErrorKind::Memory);
}

#[test]
fn garbage_is_collected_before_memory_runs_out() {
    let chunk = "local live = {} for i = 1, 2600 do live[i] = ('x'):rep(1000) .. i end \
                 local made = 0 for i = 1, 20000 do local s = ('y'):rep(1000) .. i made = made + #s end return #live";
    assert_eq!(run(&mut plain(4 << 20), chunk).unwrap(), [Value::Number(2600.0)]);
}

#[test]
fn endless_recursion_of_every_kind_is_an_error() {
    for (chunk, expected) in [
        ("local function f() return 1 + f() end return f()", "stack overflow"),
        ("local t = setmetatable({}, {__index = function(t, k) return t[k] .. 'x' end}) return t.x", "C stack overflow"),
        ("local function f() local ok, e = pcall(f) error(e, 0) end return f()", "C stack overflow"),
        ("local function f() return ('x'):gsub('x', f) .. 'x' end return f()", "C stack overflow"),
        ("local function f() local g = coroutine.wrap(f) return g() .. 'x' end return f()", "C stack overflow"),
        ("return ('a'):rep(5000):find(('a?'):rep(5000))", "pattern too complex"),
        ("return ('x'):rep(1000):find(('x*'):rep(300))", "pattern too complex"),
    ] {
        let error = run(&mut state(), chunk).unwrap_err().to_string();
        assert!(error.contains(expected), "{chunk}: {error}");
    }
}

#[test]
fn a_text_that_is_nested_or_long_is_read_or_refused() {
    let nested = |open: &str, close: &str, times| format!("return {}1{}", open.repeat(times), close.repeat(times));
    for (open, close) in [("{", "}"), ("(", ")"), ("function() return ", " end")] {
        let error = state().load("=t", nested(open, close, 10_000).as_bytes()).unwrap_err();
        assert!(error.to_string().contains("chunk has too many syntax levels"), "{error}");
    }
    let labels: String = (0..10_000).fold(String::new(), |mut text, n| {
        let _ = write!(text, "::l{n}:: ");
        text
    });
    assert!(state().load("=t", labels.as_bytes()).unwrap_err().to_string().contains("too many syntax levels"));
    let gotos = "goto e; ".repeat(40_000) + "::e::";
    let error = state().load("=t", gotos.as_bytes()).unwrap_err().to_string();
    assert_eq!(error, "t:1: main function has more than 32767 gotos and labels");
    let mut long = String::from("local n = 0\n");
    long.push_str(&"n = n + 1 -- one more line of a long chunk\n".repeat(25_000));
    long.push_str("return n");
    assert_eq!(run(&mut state(), &long).unwrap(), [Value::Number(25_000.0)]);
}

#[test]
fn bytecode_is_refused() {
    let error = state().load("=t", b"\x1bLua\x51\0\x01\x04\x08\x04\x08\0").unwrap_err();
    assert_eq!((error.kind, error.to_string().as_str()), (ErrorKind::Syntax, "attempt to load chunk with wrong mode"));
    assert_eq!(text("return select(2, loadstring('\\27Lua'))"), "attempt to load chunk with wrong mode");
    assert_eq!(text("return type(string.dump)"), "nil");
}

/// In Lua 5.1 all of these have one hash, and this runs into the test runner's limit.
#[test]
fn texts_that_differ_in_their_middle_do_not_collide() {
    let chunk = "local t, a = {}, ('a'):rep(500) for i = 1, 20000 do t[a .. i .. a] = i end return 'done'";
    assert_eq!(run(&mut plain(64 << 20), chunk).unwrap(), [Value::text("done")]);
}

#[test]
fn what_cannot_leave_lua_is_said_so() {
    let deep = "local t = {} for i = 1, 1000 do t = {t} end return t";
    let own = "local t = {} t.t = t return t";
    for chunk in [deep, own] {
        let error = run(&mut state(), chunk).unwrap_err().to_string();
        assert_eq!(error, "a table is nested too deeply to leave Lua (or holds itself)");
    }
    let large = run(&mut plain(64 << 20), "return ('x'):rep(9e6)").unwrap_err().to_string();
    assert_eq!(large, "a value is too large to leave Lua");
    assert_eq!(run(&mut state(), "return print").unwrap(), [Value::Other("function".into())]);
}

#[test]
fn error_values_that_are_no_text_have_one() {
    assert_eq!(text("error({})"), "error: (error object is a table value)");
    assert_eq!(text("error(setmetatable({}, {__tostring = function() return 'own words' end}))"), "error: own words");
    assert_eq!(text("error(setmetatable({}, {__tostring = function() error('x') end}))"), "error: t:1: x");
    assert_eq!(text("error()"), "error: (error object is a nil value)");
}

#[test]
fn random_numbers_follow_the_seed() {
    let draw = |state: &mut State| run(state, "return math.random(1e9)").unwrap();
    let (mut one, mut other) = (state(), state());
    assert_eq!(draw(&mut one), draw(&mut other));
    one.reseed(99);
    assert_ne!(draw(&mut one), draw(&mut other));
    other.reseed(99);
    other.reseed(99);
    one.reseed(99);
    assert_eq!(draw(&mut one), draw(&mut other));
}

#[test]
fn bytes_and_json_keep_what_they_are() {
    let mut state = state();
    let chunk = state.load("=t", b"return ...").unwrap();
    let bytes = Value::Bytes((0..=255).collect());
    assert_eq!(state.call(&chunk, &[bytes.clone(), Value::Null]).unwrap(), [bytes, Value::Null]);
    let json = r#"{"list":[1,null,"a\/b"],"n":1.5e300,"deep":{"é":true}}"#;
    let back = state.call(&chunk, &[Value::from_json(json).unwrap()]).unwrap();
    let back: serde_json::Value = serde_json::from_str(&back[0].to_json().unwrap()).unwrap();
    assert_eq!(back, serde_json::from_str::<serde_json::Value>(json).unwrap());
}
