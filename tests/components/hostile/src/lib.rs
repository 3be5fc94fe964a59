//! Does what the hook's config says: `{"do": "loop"}`. Every behaviour is one that the sandbox must survive and name.
//!
//! What `describe` does cannot be configured, so it is chosen by a mark that the tests overwrite in the finished component.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

wit_bindgen::generate!({ path: "../../../wit/v0", world: "handler-component" });

use exports::tenterhook::hook::handler::Guest;
use tenterhook::hook::types::{
    Answer, Asks, Attempt, Description, Event, Failure, PathPart, Request, RequestOptions, Retry, Value as HeaderValue, Violation,
};
use tenterhook::hook::{http, log};

/// The last five bytes choose what `describe` does.
static DESCRIBE: [u8; 17] = *b"DESCRIBE-IS:plain";
/// Memory that outlives an attempt, if the instance does.
static HANDLED: AtomicU64 = AtomicU64::new(0);

struct Hostile;

impl Guest for Hostile {
    fn describe() -> Description {
        let mark = black_box(&raw const DESCRIBE);
        // SAFETY: the pointer comes from a static; reading it as volatile keeps the compiler from using the value it knows.
        let mark = unsafe { mark.read_volatile() };
        match &mark[12..] {
            b"loops" => endless(),
            b"panic" => panic!("describe does not want to"),
            b"sends" => panic!("{:?}", http::send(&request("http://127.0.0.1:9/"))),
            _ => {}
        }
        let schema = match &mark[12..] {
            b"wrong" => "no schema".to_owned(),
            b"large" => format!("\"{}\"", "x".repeat(300 << 10)),
            _ => "{}".to_owned(),
        };
        Description {
            name: if &mark[12..] == b"named" { "Not A Name".into() } else { "hostile".into() },
            version: "1.0.0".into(),
            summary: "Does what its config says".into(),
            config_schema: schema,
            wants_pings: false,
            asks: Asks { http_hosts: vec!["*".into()], secrets: vec![], kv: false, emit: false },
            extra: vec![],
        }
    }

    fn validate(config: String, _settings: String) -> Result<String, Vec<Violation>> {
        let mut value: Value = serde_json::from_str(&config).unwrap();
        match value["validate"].as_str() {
            Some("trap") => wild_read(),
            Some("loop") => endless(),
            Some("json") => return Ok("{".into()),
            Some("wrong") => {
                let path = vec![PathPart::Key("list".into()), PathPart::Index(2)];
                return Err(vec![Violation { path, message: "expected a string".into() }]);
            }
            _ => {}
        }
        value["validated"] = json!(true);
        Ok(value.to_string())
    }

    fn handle(event: Event, attempt: Attempt, config: String, _settings: String) -> Result<Answer, Failure> {
        let handled = HANDLED.fetch_add(1, Ordering::Relaxed) + 1;
        let config: Value = serde_json::from_str(&config).unwrap();
        let what = config["do"].as_str().unwrap_or("echo");
        match what {
            "echo" => {
                return Ok(done(json!({
                    "id": event.id, "source": event.source, "name": event.name, "time": event.time, "attributes": event.attributes,
                    "data": serde_json::from_str::<Value>(&event.data).unwrap(), "number": attempt.number, "test": attempt.test,
                    "hook": attempt.hook_id, "delivery": attempt.delivery_id, "deadline_ms": attempt.deadline_ms, "handled": handled,
                })));
            }
            "loop" => endless(),
            "sleep" => std::thread::sleep(Duration::from_secs(3600)),
            "nap" => std::thread::sleep(Duration::from_millis(config["ms"].as_u64().unwrap_or(1))),
            "flood" => loop {
                black_box(wasip2::clocks::monotonic_clock::now());
            },
            "memory" => eat(),
            "stack" => drop(black_box(deep(1))),
            "panic" => panic!("as configured"),
            "trap" => wild_read(),
            "exit" => std::process::exit(1),
            "log" => loop {
                log::write(log::Level::Notice, &[b'x'; 1000]);
            },
            "lines" => loop {
                log::write(log::Level::Debug, b"");
            },
            "stdout" => loop {
                println!("a line that nobody asked for");
            },
            "hostcall" => log::write(log::Level::Info, &vec![b'x'; 5 << 20]),
            "answer" => return Ok(Answer::Done(Some(text(3 << 20)))),
            "answer-too-large-to-copy" => return Ok(Answer::Done(Some(text(5 << 20)))),
            "handles" => {
                let pollables: Vec<_> = (0..10_000).map(|_| wasip2::clocks::monotonic_clock::subscribe_duration(1)).collect();
                black_box(&pollables);
            }
            "random" => drop(black_box(wasip2::random::random::get_random_bytes(1 << 20))),
            "environment" => {
                let files = std::fs::read_dir("/").map(Iterator::count).map_err(|error| error.to_string());
                let socket = std::net::TcpStream::connect("127.0.0.1:80").map(drop).map_err(|error| error.to_string());
                return Ok(done(json!({
                    "variables": std::env::vars().count(), "arguments": std::env::args().count(),
                    "files": files.is_err(), "socket": socket.is_err(),
                })));
            }
            "json" => return Ok(Answer::Done(Some("{not json".into()))),
            "retry" => return Err(Failure::Retry(Retry { reason: "later".into(), after_ms: Some(1500) })),
            "reject" => return Err(Failure::Reject("never".into())),
            "pause" => return Err(Failure::PauseHook("stop".into())),
            "write" => {
                for level in [log::Level::Debug, log::Level::Emerg] {
                    log::write(level, b"through log");
                }
                println!("to output");
                eprint!("to error, unfinished");
            }
            "http" => return Ok(done(send(config["url"].as_str().unwrap_or_default()))),
            "http-flood" => loop {
                black_box(send(config["url"].as_str().unwrap_or_default()));
            },
            "send" => return Ok(Answer::Send(request(config["url"].as_str().unwrap_or_default()))),
            other => return Err(Failure::Reject(format!("`{other}` is not a behaviour"))),
        }
        Ok(Answer::Done(None))
    }
}

fn done(value: Value) -> Answer {
    Answer::Done(Some(value.to_string()))
}

/// A JSON string of this many bytes, made in one piece of memory.
fn text(bytes: usize) -> String {
    let mut text = String::with_capacity(bytes);
    text.push('"');
    text.extend(std::iter::repeat_n('x', bytes - 2));
    text.push('"');
    text
}

fn endless() -> ! {
    let mut n = 0_u64;
    loop {
        n = black_box(n.wrapping_add(1));
    }
}

fn eat() {
    let mut kept = Vec::new();
    loop {
        // One page a time is touched, so that the memory is really used.
        let mut piece = Vec::<u8>::new();
        if piece.try_reserve_exact(1 << 20).is_err() {
            panic!("no more memory");
        }
        piece.resize(1 << 20, 1);
        kept.push(black_box(piece));
    }
}

#[allow(unconditional_recursion, reason = "that is what it is for")]
#[inline(never)]
fn deep(n: u64) -> [u64; 64] {
    let mut frame = black_box([n; 64]);
    frame[0] = deep(n + 1)[63] + frame[1];
    frame
}

fn wild_read() {
    // SAFETY: none; reading outside of the memory is a trap, and that is what it is for.
    black_box(unsafe { (black_box(0xffff_fff0_usize) as *const u64).read_volatile() });
}

fn request(url: &str) -> Request {
    Request {
        method: "POST".into(),
        url: url.into(),
        headers: vec![("x-hostile".into(), HeaderValue::Text(b"yes".to_vec()))],
        body: Some(b"hello".to_vec()),
        options: RequestOptions { verify_tls: true, connect_timeout_ms: None, total_timeout_ms: Some(5000) },
        extra: vec![],
    }
}

fn send(url: &str) -> Value {
    match http::send(&request(url)) {
        Ok(response) => json!({ "status": response.status, "body": String::from_utf8_lossy(&response.body) }),
        Err(error) => json!({ "error": format!("{error:?}") }),
    }
}

export!(Hostile);
