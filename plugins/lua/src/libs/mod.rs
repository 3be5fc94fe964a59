//! The libraries that chunks see. Each function here is reachable from the prelude as `host.<name>`; what a script sees is made of them in `lua/*.lua`.
//! `docs/lua.md` lists it name by name.

mod digest;
mod outside;
mod re;
mod regex;
#[cfg(test)]
mod tests;
mod text;
mod time;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::sys::HostFunction;
use crate::{Args, Reply, Value};

pub use outside::{Level, Nowhere, Outside, Request, Response};

/// `lua/init.lua`: see the crate's documentation.
pub(crate) const PRELUDE: &str = include_str!("../../lua/init.lua");

/// The files of the prelude, for `host.source`.
const PARTS: [(&str, &str); 11] = [
    ("sandbox", include_str!("../../lua/sandbox.lua")),
    ("clock", include_str!("../../lua/clock.lua")),
    ("inspect", include_str!("../../lua/inspect.lua")),
    ("kong", include_str!("../../lua/kong.lua")),
    ("tools", include_str!("../../lua/tools.lua")),
    ("ngx", include_str!("../../lua/ngx.lua")),
    ("re", include_str!("../../lua/re.lua")),
    ("stringx", include_str!("../../lua/stringx.lua")),
    ("tablex", include_str!("../../lua/tablex.lua")),
    ("resty", include_str!("../../lua/resty.lua")),
    ("template", include_str!("../../lua/template.lua")),
];

/// What one state may sleep in all. The attempt's deadline bounds it anyway.
const SLEEP_MAX: Duration = Duration::from_secs(10);

/// All functions written in Rust, by name.
pub(crate) fn functions(outside: &Rc<dyn Outside>) -> Vec<(&'static str, HostFunction)> {
    let mut functions: Vec<(&'static str, HostFunction)> = Vec::new();
    let mut add = |name, function: HostFunction| functions.push((name, function));
    add("source", Box::new(source));
    add("encode_base64", Box::new(|args| one(text::encode_base64(&args.bytes(1, "encode_base64")?, args.is_true(2)))));
    add("decode_base64", Box::new(|args| Ok(vec![text::decode_base64(&args.bytes(1, "decode_base64")?).map_or(Value::Nil, Value::Bytes)])));
    add("escape_uri", Box::new(|args| one(text::escape_uri(&args.bytes(1, "escape_uri")?, args.number(2, "escape_uri")? == 0.0))));
    add("unescape_uri", Box::new(|args| one(text::unescape_uri(&args.bytes(1, "unescape_uri")?))));
    add("hexadecimal", Box::new(|args| one(text::hexadecimal(&args.bytes(1, "to_hex")?))));
    add("md5", Box::new(|args| one(digest::md5(&args.bytes(1, "md5")?))));
    add("sha1", Box::new(|args| one(digest::sha1(&args.bytes(1, "sha1_bin")?))));
    add("sha256", Box::new(|args| one(digest::sha256(&args.bytes(1, "sha256")?))));
    add("hmac_sha1", Box::new(|args| one(digest::hmac_sha1(&args.bytes(1, "hmac_sha1")?, &args.bytes(2, "hmac_sha1")?))));
    add("crc32", Box::new(|args| Ok(vec![Value::Number(digest::crc32(&args.bytes(1, "crc32")?).into())])));
    add("http_time", Box::new(|args| one(time::http_time(whole(args.number(1, "http_time")?)).into_bytes())));
    add("cookie_time", Box::new(|args| one(time::cookie_time(whole(args.number(1, "cookie_time")?)).into_bytes())));
    add("parse_http_time", Box::new(|args| Ok(vec![seconds(time::parse_http_time(&args.bytes(1, "parse_http_time")?))])));
    add("date", Box::new(date));
    add("date_parts", Box::new(date_parts));
    add("date_seconds", Box::new(date_seconds));
    let patterns = Rc::new(re::Patterns::default());
    let again = Rc::clone(&patterns);
    add("re_search", Box::new(move |args| again.search(args)));
    add("re_names", Box::new(move |args| patterns.names(args)));
    reach(outside, &mut functions);
    functions
}

/// What leads out.
fn reach(outside: &Rc<dyn Outside>, functions: &mut Vec<(&'static str, HostFunction)>) {
    let world = Rc::clone(outside);
    functions.push(("now", Box::new(move |_| Ok(vec![Value::Number(world.now().as_micros() as f64 / 1e6)]))));
    let world = Rc::clone(outside);
    let log = move |args: Args<'_>| {
        world.log(Level::numbered(args.number(1, "log")?), &args.bytes(2, "log")?);
        Ok(Vec::new())
    };
    functions.push(("log", Box::new(log)));
    let (world, slept) = (Rc::clone(outside), Cell::new(Duration::ZERO));
    let sleep = move |args: Args<'_>| {
        let time = Duration::try_from_secs_f64(args.number(1, "sleep")?).unwrap_or(Duration::MAX);
        let total = slept.get().saturating_add(time);
        if total > SLEEP_MAX {
            return Err(format!("ngx.sleep: more than {} s in one attempt", SLEEP_MAX.as_secs()));
        }
        slept.set(total);
        world.sleep(time);
        Ok(Vec::new())
    };
    functions.push(("sleep", Box::new(sleep)));
    let world = Rc::clone(outside);
    functions.push(("fetch", Box::new(move |args| fetch(world.as_ref(), args))));
}

fn one(bytes: Vec<u8>) -> Reply {
    Ok(vec![Value::Bytes(bytes)])
}

/// Rounded down; a number that is none is 0.
fn whole(number: f64) -> i64 {
    number.floor() as i64
}

fn seconds(seconds: Option<i64>) -> Value {
    seconds.map_or(Value::Nil, |seconds| Value::Number(seconds as f64))
}

/// `host.source(name)`: the text of `lua/<name>.lua`.
fn source(args: Args<'_>) -> Reply {
    let name = args.bytes(1, "source")?;
    let found = PARTS.iter().find(|(part, _)| part.as_bytes() == &*name);
    found.map(|(_, text)| vec![Value::text(text)]).ok_or_else(|| format!("no part {}", String::from_utf8_lossy(&name)))
}

/// `host.date(format, seconds)`
fn date(args: Args<'_>) -> Reply {
    let date = time::Date::at(whole(args.number(2, "date")?));
    match time::strftime(&args.bytes(1, "date")?, &date) {
        Ok(text) => one(text.into_bytes()),
        Err(_) => Err("bad argument #1 to 'date' (invalid conversion specifier)".into()),
    }
}

/// `host.date_parts(seconds)`: as `os.date("*t")`.
fn date_parts(args: Args<'_>) -> Reply {
    let date = time::Date::at(whole(args.number(1, "date")?));
    let parts = [
        ("year", date.year as f64),
        ("month", date.month.into()),
        ("day", date.day.into()),
        ("hour", date.hour.into()),
        ("min", date.minute.into()),
        ("sec", date.second.into()),
        ("wday", (date.weekday + 1).into()),
        ("yday", date.day_of_year.into()),
    ];
    let mut members: Vec<_> = parts.into_iter().map(|(name, number)| (Value::text(name), Value::Number(number))).collect();
    members.push((Value::text("isdst"), Value::Bool(false)));
    Ok(vec![Value::Table(members)])
}

/// `host.date_seconds(year, month, day, hour, minute, second)`
fn date_seconds(args: Args<'_>) -> Reply {
    let mut parts = [0; 6];
    for (position, part) in (1..).zip(&mut parts) {
        *part = whole(args.number(position, "time")?);
    }
    Ok(vec![seconds(time::seconds(parts))])
}

/// `host.fetch{method, url, headers = "name\0value\0…", body, verify, connect_ms, total_ms}`: status, headers, body; or nil and why.
fn fetch(world: &dyn Outside, args: Args<'_>) -> Reply {
    let member = |name: &str| match args.get(1) {
        Value::Table(members) => members.iter().find(|(key, _)| key.as_bytes() == Some(name.as_bytes())).map(|(_, value)| value),
        _ => None,
    };
    let bytes = |name| member(name).and_then(Value::as_bytes).map(<[u8]>::to_vec);
    let time = |name| match member(name) {
        Some(Value::Number(ms)) => Duration::try_from_secs_f64(ms / 1e3).ok(),
        _ => None,
    };
    let request = Request {
        method: bytes("method").unwrap_or_default(),
        url: bytes("url").unwrap_or_default(),
        headers: bytes("headers").map(|lines| pairs(&lines)).unwrap_or_default(),
        body: bytes("body"),
        verify_tls: member("verify") != Some(&Value::Bool(false)),
        connect_timeout: time("connect_ms"),
        total_timeout: time("total_ms"),
    };
    Ok(match world.fetch(&request) {
        Err(why) => vec![Value::Nil, Value::text(why)],
        Ok(Response { status, headers, body }) => {
            let headers = headers.into_iter().flat_map(|(name, value)| [Value::Bytes(name), Value::Bytes(value)]).collect();
            vec![Value::Number(status.into()), Value::List(headers), Value::Bytes(body)]
        }
    })
}

/// Names and values between NULs: a header has none.
fn pairs(lines: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let fields: Vec<&[u8]> = lines.split(|&byte| byte == 0).collect();
    fields.chunks_exact(2).map(|pair| (pair[0].to_vec(), pair[1].to_vec())).collect()
}
