//! Prepares as the hook's config says, `{"prepare": "loop"}`, and tells in the value of `done` what an event finds in memory.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use serde_json::{Value, json};
use tenterhook_sdk::{Answer, Attempt, Description, Event, Failure, Handler, PreparedHandler, Request, Settings, http, log};

/// What `prepare` left behind.
static PREPARED: OnceLock<Value> = OnceLock::new();
/// Events that were handled in this memory.
static HANDLED: AtomicU64 = AtomicU64::new(0);
/// Bytes that `prepare` was told to keep.
static KEPT: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Prepared;

impl Handler for Prepared {
    type Config = Value;

    fn describe(about: Description) -> Description {
        let schema = json!({
            "type": "object",
            "properties": {
                "secret": { "type": "string", "x-secret": true },
                "inner": { "type": "object", "properties": { "secret": { "type": "string", "x-secret": true } } },
                "list": { "type": "array", "items": { "type": "object", "properties": { "secret": { "type": "string", "x-secret": true } } } },
            },
        });
        Description { config_schema: schema.to_string(), ..about }
    }

    fn handle(_: Event, attempt: Attempt, config: Value, _: Settings) -> Result<Answer, Failure> {
        let handled = HANDLED.fetch_add(1, Ordering::Relaxed) + 1;
        let kept = KEPT.lock().unwrap();
        if config["print"] == json!(true) {
            println!("from handle");
        }
        Ok(Answer::done_with(&json!({
            "prepared": PREPARED.get(), "config": config, "handled": handled, "seed": attempt.seed.to_string(),
            "kept": kept.len(), "sound": kept.iter().all(|byte| *byte == 0xa5),
        }))?)
    }
}

impl PreparedHandler for Prepared {
    fn prepare(config: &str, settings: &Settings) -> Result<(), String> {
        let config: Value = serde_json::from_str(config).map_err(|error| error.to_string())?;
        log::notice("preparing");
        match config["prepare"].as_str().unwrap_or_default() {
            "panic" => panic!("as configured"),
            "loop" => endless(),
            "sleep" => std::thread::sleep(std::time::Duration::from_secs(3600)),
            "error" => return Err("the config is not to my taste".into()),
            "keep" => *KEPT.lock().unwrap() = vec![0xa5; 6 << 20],
            "eat" => *KEPT.lock().unwrap() = vec![0xa5; 512 << 20],
            "handle" => std::mem::forget(wasip2::clocks::monotonic_clock::subscribe_duration(1)),
            "print" => println!("from prepare"),
            "log" => (0..10_000).for_each(|_| log::notice("x".repeat(1000))),
            "send" => return Err(format!("{:?}", http::send(Request::post(config["url"].as_str().unwrap_or_default())))),
            _ => {}
        }
        let found =
            json!({ "config": config, "settings": serde_json::from_str::<Value>(settings.as_json()).map_err(|error| error.to_string())? });
        PREPARED.set(found).map_err(|_| "prepared twice".into())
    }
}

fn endless() -> ! {
    let mut n = 0_u64;
    loop {
        n = black_box(n.wrapping_add(1));
    }
}

tenterhook_sdk::export_prepared!(Prepared);
