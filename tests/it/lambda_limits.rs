//! Users' Lua that loops, eats, recurses or cheats: each attack ends with its code or with a Lua error, and nobody else notices.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tenterhook_tests::{Host, Sink, fixtures};

use crate::shared::{created, delivery_in, emit, hook_to, id};

/// Longer than any of these attacks would need to end by itself, if it would.
const SOME: u64 = 200_000_000;

/// Of a delivery that succeeds.
const DELIVERED: &str = "";

/// A hook that runs `body`, and what came of its first attempt: the failure's code (`DELIVERED` for none) and its detail.
async fn attack(host: &Host, source: &str, body: &str, more: &Value) -> (String, String) {
    let text = format!("return function(data) {body} end");
    let hook = json!({ "source": source, "handler": "lambda", "config": { "functions": [text] } });
    let hook = id(&created(host.admin().post("/event-hooks", &fixtures::with(hook, more)).await));
    emit(host.events(), source, "x", &json!({ "text": "x".repeat(1000) })).await;
    let first = tenterhook_tests::eventually(&format!("an attempt of {source}: {body}"), async || {
        let all = crate::shared::deliveries(host, &hook).await;
        all.first().filter(|delivery| crate::shared::attempts_of(delivery) > 0).map(|delivery| delivery["attempts"][0].clone())
    })
    .await;
    host.admin().delete(&format!("/event-hooks/{hook}")).await.expect(204);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&first["failure"]["code"]), text(&first["failure"]["detail"]))
}

/// Runs a table of attacks: Lua, limits, code, and what the detail holds.
async fn table(attacks: &[(&str, Value, &str, &str)]) {
    let host = Host::start().await;
    for (n, (body, more, code, detail)) in attacks.iter().enumerate() {
        let (seen, said) = attack(&host, &format!("attack-{n}"), body, more).await;
        assert!(seen == *code && said.contains(detail), "{body}\nexpected {code:?} with {detail:?}\ngot      {seen:?} with {said:?}");
    }
}

fn fuel() -> Value {
    json!({ "limits": { "fuel": SOME } })
}

fn none() -> Value {
    json!({})
}

#[tokio::test]
async fn loops_end_with_the_limit_that_they_ran_into() {
    table(&[
        ("while true do end", fuel(), "fuel-limit", "limits.fuel"),
        ("while true do pcall(function() while true do end end) end", fuel(), "fuel-limit", "limits.fuel"),
        ("repeat local ok = pcall(error) until ok", fuel(), "fuel-limit", "limits.fuel"),
        (
            "local f = coroutine.wrap(function() while true do coroutine.yield() end end) while true do f() end",
            fuel(),
            "fuel-limit",
            "limits.fuel",
        ),
        ("::again:: goto again", fuel(), "fuel-limit", "limits.fuel"),
        ("for i = 1, math.huge do end", fuel(), "fuel-limit", "limits.fuel"),
        ("while true do end", json!({ "delivery": { "timeout_ms": 60 } }), "deadline", "60"),
        ("pcall(function() while true do end end) return true", json!({ "delivery": { "timeout_ms": 60 } }), "deadline", "60"),
        ("ngx.sleep(9) return true", json!({ "delivery": { "timeout_ms": 60 } }), "deadline", "60"),
        ("ngx.sleep(3600) return true", none(), "retry", "ngx.sleep"),
    ])
    .await;
}

#[tokio::test]
async fn memory_runs_out_as_a_lua_error_that_pcall_catches() {
    const ENOUGH: &str = "not enough memory";
    let small = || json!({ "limits": { "memory_bytes": 6 << 20 } });
    table(&[
        ("local s = 'x' while true do s = s .. s end", none(), "retry", ENOUGH),
        ("local t, i = {}, 0 while true do i = i + 1 t[i] = i end", none(), "retry", ENOUGH),
        ("local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(100000) .. i end", none(), "retry", ENOUGH),
        ("local t while true do t = {t} end", none(), "retry", ENOUGH),
        ("local t = {} while true do t[#t + 1] = coroutine.create(function() end) end", none(), "retry", ENOUGH),
        ("local t = {} while true do local a = {} t[#t + 1] = function() return a end end", none(), "retry", ENOUGH),
        ("return #('x'):rep(1e9)", none(), "retry", ENOUGH),
        ("return #('xy'):rep(2^31, ',')", none(), "retry", ""),
        ("return #table.concat({('x'):rep(1e7), ('y'):rep(1e7), ('z'):rep(1e7)})", none(), "retry", ENOUGH),
        ("return #('x'):rep(1e7):gsub('x', 'xxxx')", none(), "retry", ENOUGH),
        (
            "local ok, e = pcall(function() local s = 'x' while true do s = s .. s end end) local again = ('y'):rep(1000) return ok == false and e == 'not enough memory' and #again == 1000",
            none(),
            DELIVERED,
            "",
        ),
        (
            "for i = 1, 20 do local ok, e = pcall(string.rep, 'x', 1e8) if ok or e ~= 'not enough memory' then return e end end return true",
            none(),
            DELIVERED,
            "",
        ),
        // A hook that allows less than Lua's own cap: the instance's limit comes first.
        ("local s = 'x' while true do s = s .. s end", small(), "memory-limit", "limits.memory_bytes"),
        ("local t, i = {}, 0 while true do pcall(function() i = i + 1 t[i] = ('x'):rep(10000) .. i end) end", small(), "memory-limit", "limits.memory_bytes"),
    ])
    .await;
}

#[tokio::test]
async fn recursion_is_a_lua_error() {
    const STACK: &str = "stack overflow";
    table(&[
        ("local function f() return 1 + f() end return f()", none(), "retry", STACK),
        ("local function f() local ok, e = pcall(f) if not ok then error(e, 0) end return 1 end return f()", none(), "retry", STACK),
        ("local function f() return (('x'):gsub('x', f)) end return f()", none(), "retry", STACK),
        ("local function f() table.sort({1, 2, 3}, f) end return f()", none(), "retry", STACK),
        ("local function f() return coroutine.wrap(f)() end return f()", none(), "retry", STACK),
        ("local function f() return xpcall(f, f) end f() return true", fuel(), DELIVERED, ""),
        (
            "local function f() return 1 + f() end local ok, e = pcall(f) return not ok and e:find('stack overflow', 1, true) ~= nil",
            none(),
            DELIVERED,
            "",
        ),
        ("local function f(n) if n == 0 then return true end return f(n - 1) end return f(1000000)", none(), DELIVERED, ""),
        ("local n = 0 local function f() n = n + 1 if n < 10000 then f() end end f() return n == 10000", none(), DELIVERED, ""),
        ("return select('#', unpack({}, 1, 1e6))", none(), "retry", "too many results to unpack"),
        ("return select('#', string.byte(('x'):rep(1e6), 1, -1))", none(), "retry", "string slice too long"),
        ("local t = {} for i = 1, 1e5 do t = {t} end return t", none(), "retry", ""),
        ("local t = {} t.t = t return t", none(), "retry", ""),
        (
            "local cjson = require 'cjson' local t = {} for i = 1, 1e5 do t = {t} end return cjson.encode(t)",
            none(),
            "retry",
            "excessive nesting",
        ),
        ("return require('cjson').decode(('['):rep(1e6))", none(), "retry", "too many nested data structures"),
    ])
    .await;
}

#[tokio::test]
async fn patterns_that_explode_are_cut_off() {
    table(&[
        ("return ('a'):rep(100):find(('a*'):rep(20) .. 'b')", fuel(), "fuel-limit", "limits.fuel"),
        ("return ('a'):rep(100):find(('.-'):rep(20) .. 'b')", fuel(), "fuel-limit", "limits.fuel"),
        ("return ('a'):rep(300000):find(('a?'):rep(300000))", none(), "retry", "pattern too complex"),
        ("return ('x'):rep(300000):gsub(('(x?)'):rep(30) .. ('x?'):rep(300000), '')", none(), "retry", "pattern too complex"),
        ("return ('a'):rep(300000):match(('a'):rep(300000)) ~= nil", none(), DELIVERED, ""),
        ("return ('('):rep(500000):match('%b()') == nil", fuel(), "fuel-limit", "limits.fuel"),
        ("return ('a'):rep(1000000):match('.-b') == nil", json!({ "delivery": { "timeout_ms": 200 } }), "deadline", "200"),
    ])
    .await;
}

/// Lua 5.1 as it comes hashes 32 bytes of a long text: these would need half a minute.
#[tokio::test]
async fn texts_made_to_collide_cost_no_more_than_others() {
    const COLLIDING: &str = "local head, tail, t, n = ('x'):rep(181), ('y'):rep(180), {}, 0 \
        for i = 1, 20000 do t[head .. ('%05d'):format(i) .. tail] = i end for _ in pairs(t) do n = n + 1 end return n == 20000";
    table(&[(COLLIDING, json!({ "limits": { "fuel": 1_000_000_000 } }), DELIVERED, "")]).await;
}

#[tokio::test]
async fn the_sandbox_stays_whole() {
    table(&[
        ("string.rep = nil", none(), "retry", "Cannot modify string.rep. Protected by the sandbox."),
        (
            "local ok = pcall(function() string.format = function() return 'mine' end end) return ok == false and ('%d'):format(1) == '1'",
            none(),
            DELIVERED,
            "",
        ),
        ("('x').rep = nil", none(), "retry", ""),
        ("return load('return 1')", none(), "retry", "attempt to call global 'load' (a nil value)"),
        ("return string.dump(function() end)", none(), "retry", "attempt to call field 'dump' (a nil value)"),
        ("return io.open('/etc/passwd')", none(), "retry", "attempt to call field 'open' (a nil value)"),
        ("return os.execute('true')", none(), "retry", "attempt to call field 'execute' (a nil value)"),
        ("return require('os').exit(1)", none(), "retry", "not allowed within sandbox"),
        ("return debug.getregistry()", none(), "retry", "attempt to index global 'debug' (a nil value)"),
        ("while true do kong.log.notice(('x'):rep(1000)) end", fuel(), "log-limit", "limits.log_bytes"),
        ("return ('%99.99f'):format(1e308):len() == 409", none(), DELIVERED, ""),
        ("return (('%5s'):format(('x'):rep(100000))):len() == 100000", none(), DELIVERED, ""),
        ("return pcall(os.date, ('%c'):rep(100000)) ~= nil", none(), DELIVERED, ""),
    ])
    .await;
}

/// Nothing that one event leaves behind is there for the next.
#[tokio::test]
async fn events_do_not_see_each_other() {
    let host = Host::start().await;
    let text = "local seen = 0 return function(data) seen = seen + 1 count = (count or 0) + 1 return { seen, count } end";
    let body = json!({ "source": "crud", "handler": "lambda", "config": { "functions": [text] } });
    let hook = id(&created(host.admin().post("/event-hooks", &body).await));
    for _ in 0..3 {
        let answer = host.admin().post(&format!("/event-hooks/{hook}/test"), &json!({})).await.expect(200).json();
        assert_eq!(answer["result"], json!([1, 1]));
    }
}

#[tokio::test]
async fn chunks_too_deep_or_not_text_are_refused() {
    let host = Host::start().await;
    let deep = |open: &str, close: &str| format!("return function() return {}1{} end", open.repeat(10_000), close.repeat(10_000));
    let refused = [
        (deep("{", "}"), "chunk has too many syntax levels"),
        (deep("(", ")"), "chunk has too many syntax levels"),
        (deep("-", ""), ""),
        (deep("function() return ", " end"), ""),
        (format!("return function() {} {} end", "do ".repeat(10_000), "end ".repeat(10_000)), "chunk has too many syntax levels"),
        (format!("return function() {} end", "local a; ".replace(';', "").repeat(201)), "has more than 200 local variables"),
        (format!("return function() return {}1 end", "'x' .. ".repeat(10_000)), ""),
        ("\u{1b}Lua\u{51}\0\u{1}\u{4}\u{4}\u{4}\u{8}\0".into(), "Error parsing function: "),
        ("\u{1b}LJ\u{2}\0".into(), "Error parsing function: "),
        ("while true do end".into(), ""),
        ("local s = 'x' while true do s = s .. s end".into(), ""),
    ];
    for (text, words) in refused {
        let body = json!({ "source": "crud", "handler": "lambda", "config": { "functions": [text] } });
        let answer = host.admin().post("/event-hooks", &body).await;
        let start: String = text.chars().take(60).collect();
        assert_eq!(answer.status, 400, "{start}: {}", answer.text());
        assert!(answer.text().contains(words), "{start}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_chunk_of_a_megabyte_is_compiled_and_runs() {
    let host = Host::start().await;
    let mut text = String::from("return function(data) local n = 0\n");
    let mut lines = 0;
    while text.len() < 1_000_000 {
        text.push_str("if data.n == n then n = n + 1 else n = n + 2 end\n");
        lines += 1;
    }
    text.push_str("return n end");
    let body = json!({ "source": "crud", "handler": "lambda", "config": { "functions": [text] } });
    let hook = id(&created(host.admin().post("/event-hooks", &body).await));
    let answer = host.admin().post(&format!("/event-hooks/{hook}/test"), &json!({ "n": -1 })).await.expect(200).json();
    assert_eq!(answer["result"], json!(2 * lines));
}

#[tokio::test]
async fn attacking_hooks_leave_another_hook_its_latency() {
    const PROMPT: Duration = Duration::from_secs(5);
    let (host, sink) = (Host::start().await, Sink::start().await);
    let long = json!({ "delivery": { "timeout_ms": 20_000 } });
    let attacks = [
        "while true do pcall(function() while true do end end) end",
        "return ('a'):rep(1000):find(('a*'):rep(20) .. 'b')",
        "while true do pcall(function() local s = 'x' while true do s = s .. s end end) end",
    ];
    for (n, body) in attacks.iter().enumerate() {
        let text = format!("return function(data) {body} end");
        let hook = json!({ "source": format!("attack-{n}"), "handler": "lambda", "config": { "functions": [text] } });
        created(host.admin().post("/event-hooks", &fixtures::with(hook, &long)).await);
    }
    hook_to(&host, &sink, "shop", "/in").await;
    let fine = json!({ "source": "fine", "handler": "lambda", "config": { "functions": ["return function() return true end"] } });
    let fine = id(&created(host.admin().post("/event-hooks", &fine).await));
    for n in 0..attacks.len() {
        for _ in 0..3 {
            emit(host.events(), &format!("attack-{n}"), "x", &json!({})).await;
        }
    }
    let mut slowest = Duration::ZERO;
    for n in 1..=30 {
        let sent = Instant::now();
        emit(host.events(), "shop", "sold", &json!({ "n": n })).await;
        sink.wait_for("/in", n).await;
        slowest = slowest.max(sent.elapsed());
    }
    assert!(slowest < PROMPT, "the healthy hook's slowest event took {slowest:?}");
    let sent = Instant::now();
    emit(host.events(), "fine", "x", &json!({})).await;
    delivery_in(&host, &fine, "delivered", 1).await;
    assert!(sent.elapsed() < PROMPT, "the healthy lambda took {:?}", sent.elapsed());
}
