//! What scripts see, through the door: an expression, and what it gives.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::{Level, Outside, Request, Response};
use crate::{Mode, Options, State, Value};

/// 2010-11-18 11:27:35.25 UTC; what happens outside is kept.
#[derive(Debug, Default)]
struct Recorder(RefCell<Vec<String>>);

impl Outside for Recorder {
    fn now(&self) -> Duration {
        Duration::from_millis(1_290_079_655_250)
    }

    fn log(&self, level: Level, line: &[u8]) {
        self.0.borrow_mut().push(format!("{level:?}: {}", String::from_utf8_lossy(line)));
    }

    fn sleep(&self, time: Duration) {
        self.0.borrow_mut().push(format!("slept {} ms", time.as_millis()));
    }

    fn fetch(&self, request: &Request) -> Result<Response, String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let Request { method, url, headers, body, verify_tls, total_timeout, .. } = request;
        let headers: Vec<_> = headers.iter().map(|(name, value)| format!("{}={}", text(name), text(value))).collect();
        let body = body.as_deref().map(text);
        self.0.borrow_mut().push(format!("{} {} {headers:?} {body:?} {verify_tls} {total_timeout:?}", text(method), text(url)));
        if url.ends_with(b"refused") {
            return Err("connection refused".into());
        }
        let headers =
            vec![(b"content-type".to_vec(), b"text/plain".to_vec()), (b"x-a".to_vec(), b"1".to_vec()), (b"x-a".to_vec(), b"2".to_vec())];
        Ok(Response { status: 201, headers, body: b"hello".to_vec() })
    }
}

fn state(mode: Mode) -> (State, Rc<Recorder>) {
    let recorder = Rc::new(Recorder::default());
    let outside: Rc<dyn Outside> = Rc::clone(&recorder) as _;
    (State::new(&Options { mode, outside, ..Options::default() }).unwrap(), recorder)
}

fn show(value: &Value) -> String {
    match value {
        Value::Nil => "nil".into(),
        Value::Null => "null".into(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Table(_) | Value::List(_) => "table".into(),
        Value::Other(name) => name.clone(),
        Value::Kept(_) => "kept".into(),
        Value::Bool(_) | Value::Number(_) => value.to_json().unwrap(),
    }
}

/// All results, with spaces between, or `! ` and the error without its position.
fn run(state: &mut State, script: &str) -> String {
    let chunk = match state.load("s", script.as_bytes()) {
        Ok(chunk) => chunk,
        Err(error) => return format!("! {error}"),
    };
    match state.call(&chunk, &[]) {
        Ok(values) => values.iter().map(show).collect::<Vec<_>>().join(" "),
        Err(error) => format!("! {}", error.to_string().trim_start_matches("[string \"s\"]:1: ")),
    }
}

fn check(state: &mut State, table: &str) {
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with("-- ")) {
        let (script, expected) = line.split_once(" --> ").unwrap_or((line, ""));
        let expression = format!("return {script}");
        let script = if state.load("s", expression.as_bytes()).is_ok() { expression } else { script.to_owned() };
        assert_eq!(run(state, &script), expected.replace("\\n", "\n"), "{script}");
    }
}

#[test]
fn scripts_see_what_kong_s_strict_sandbox_shows() {
    let (mut state, _) = state(Mode::Strict);
    check(&mut state, include_str!("tests/sandbox.txt"));
    assert_eq!(run(&mut state, "require('resty.http')"), "! require 'resty.http' not allowed within sandbox");
}

#[test]
fn modules_work_as_documented() {
    let (mut state, _) = state(Mode::Strict);
    check(&mut state, include_str!("tests/modules.txt"));
}

#[test]
fn ngx_works_as_openresty_documents_it() {
    let (mut state, _) = state(Mode::Strict);
    check(&mut state, include_str!("tests/ngx.txt"));
}

#[test]
fn each_chunk_has_globals_of_its_own() {
    let (mut state, _) = state(Mode::Strict);
    assert_eq!(run(&mut state, "x = 1; string_upper = string.upper; return x, _G.x"), "1 1");
    assert_eq!(run(&mut state, "return x, string_upper"), "nil nil");
}

#[test]
fn lines_reach_the_log_with_their_level() {
    let (mut state, recorder) = state(Mode::Strict);
    let script =
        "kong.log('a', 1, nil, true) kong.log.err('b') kong.log.debug('c') ngx.log(ngx.WARN, 'd', ngx.null) print('e', 2) ngx.sleep(0.5)
        kong.log.inspect({ b = 1, a = { 1, 'x' } }, 'y') kong.log.emerg('f')";
    assert_eq!(run(&mut state, script), "");
    let expected = [
        "Notice: a1niltrue",
        "Err: b",
        "Debug: c",
        "Warn: dnull",
        "Notice: e2",
        "slept 500 ms",
        "Notice: {\n  a = { 1, \"x\" },\n  b = 1\n} \"y\"",
        "Emerg: f",
    ];
    assert_eq!(*recorder.0.borrow(), expected);
    assert_eq!(run(&mut state, "ngx.sleep(9.6)"), "! ngx.sleep: more than 10 s in one attempt");
}

#[test]
fn resty_http_is_there_in_lax_only() {
    let (mut state, recorder) = state(Mode::Lax);
    let script = "local http = require('resty.http') local c = http.new() c:set_timeout(1500)
        local res, err = c:request_uri('https://h/p?x=1', { method = 'POST', body = 'b', query = { a = 'b c' }, headers = { A = 'v' }, ssl_verify = false })
        return res.status, res.body, res.headers['Content-Type'], res.headers.x_a[2], err";
    assert_eq!(run(&mut state, script), "201 hello text/plain 2 nil");
    assert_eq!(run(&mut state, "return require('resty.http').new():request_uri('http://refused')"), "nil connection refused");
    let script = "return require('resty.http').new():request_uri('http://h', { headers = { a = 'b\\r\\nc' } })";
    assert!(run(&mut state, script).ends_with("a header holds a line break or a NUL"));
    assert_eq!(
        *recorder.0.borrow(),
        ["POST https://h/p?x=1&a=b%20c [\"A=v\"] Some(\"b\") false Some(1.5s)", "GET http://refused [] None true None"]
    );
}
