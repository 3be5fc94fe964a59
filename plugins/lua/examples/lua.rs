//! Runs a script and prints what it returns, one result a line, or its error: `cargo run -p tenterhook-lua --example lua -- script.lua [--plain]`.
//!
//! `print` is not there in the sandbox of a handler's making; with `--plain` the script sees Lua's globals only. The chunk is called `=script`, so that
//! messages start with `script:1:`. Exit code 1 for an error.
#![allow(clippy::print_stdout, reason = "it prints")]

use std::process::ExitCode;

use tenterhook_lua::{Options, State, Value};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(path) = args.iter().find(|arg| !arg.starts_with("--")) else {
        println!("usage: lua script.lua [--plain]");
        return ExitCode::from(2);
    };
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) => {
            println!("{path}: {error}");
            return ExitCode::from(2);
        }
    };
    match run(&text, !args.iter().any(|arg| arg == "--plain")) {
        Ok(results) => {
            results.iter().for_each(|result| println!("{}", show(result)));
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(text: &[u8], sandbox: bool) -> Result<Vec<Value>, tenterhook_lua::Error> {
    let mut state = State::new(&Options { sandbox, ..Options::default() })?;
    let chunk = state.load("=script", text)?;
    state.call(&chunk, &[])
}

/// As `print` would show it; tables as JSON.
fn show(value: &Value) -> String {
    match value {
        Value::Nil => "nil".into(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Other(name) => name.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Null | Value::List(_) | Value::Table(_) | Value::Kept(_) => {
            value.to_json().unwrap_or_else(|error| format!("({error})"))
        }
    }
}
