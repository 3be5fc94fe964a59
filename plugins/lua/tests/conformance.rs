//! The dialect, by what native LuaJIT gives: the snippets of `tests/cases/lua`, each in a state of its own.

#[path = "../../../tests/cases/lua/entries.rs"]
mod entries;

use entries::{Entry, Outcome, differences, entries as all};
use tenterhook_lua::{Options, State, Value};

/// As the lambda handler calls the functions of a hook.
const NAME: &str = "event_hooks:00000000-0000-0000-0000-000000000000";

/// What the snippet gives, in the form of the data files.
fn result(entry: &Entry, sandbox: bool, show: &str) -> String {
    let mut state = State::new(&Options { sandbox, seed: Some(1), ..Options::default() }).expect("a state");
    let text = entry.chunk(&format!("local show = (function()\n{show}\nend)()\nreturn show.result(pcall(body))"));
    let chunk = match state.load(NAME, text.as_bytes()) {
        Ok(chunk) => chunk,
        Err(error) => return format!("? {}", error.to_string().replace(&format!("[string \"{NAME}\"]"), "$")),
    };
    if entry.whole {
        return "it compiles".into();
    }
    match state.call(&chunk, &[]).as_deref() {
        Ok([Value::Bytes(text)]) => String::from_utf8_lossy(text).into_owned(),
        Ok(other) => format!("no text: {other:?}"),
        Err(error) => format!("not caught: {error}"),
    }
}

fn run(entries: &[Entry], sandbox: bool) -> Outcome {
    let (show, differences) = (entries::read("show.lua"), differences());
    let mut outcome = Outcome::default();
    for entry in entries {
        outcome.add(entry, &result(entry, sandbox, &show), &differences);
    }
    outcome
}

#[allow(clippy::print_stdout, reason = "the figures of the run")]
fn check(what: &str, entries: &[Entry], sandbox: bool) -> Outcome {
    let outcome = run(entries, sandbox);
    println!(
        "{what}: {} as LuaJIT, {} listed differences, {} wrong, of {}",
        outcome.equal,
        outcome.listed,
        outcome.wrong.len(),
        entries.len()
    );
    assert!(outcome.wrong.is_empty(), "{}", outcome.wrong.join("\n"));
    outcome
}

#[test]
fn users_lua_behaves_like_luajit() {
    let outcome = check("dialect", &all("luajit"), true);
    assert_eq!((outcome.equal, outcome.listed), (901, 21));
}

#[test]
fn what_the_prelude_has_and_users_do_not_behaves_like_luajit() {
    let outcome = check("outside of the sandbox", &all("plain"), false);
    assert_eq!((outcome.equal, outcome.listed), (64, 4));
}

#[test]
fn the_sandbox_says_no_in_kongs_words() {
    let outcome = check("sandbox", &all("sandbox"), true);
    assert_eq!((outcome.equal, outcome.listed), (20, 0));
}

#[test]
fn every_listed_difference_is_about_a_snippet() {
    let texts: std::collections::BTreeSet<String> = all("luajit").into_iter().chain(all("plain")).map(|entry| entry.text).collect();
    let stale: Vec<String> = differences().into_keys().filter(|text| !texts.contains(text)).collect();
    assert!(stale.is_empty(), "in differences.txt, and nowhere else: {stale:#?}");
}
