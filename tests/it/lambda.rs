//! The `lambda` handler: the chain of functions, what is refused, what counts as delivered, Kong's documented examples, and the dialect's snippets
//! once more, in the component. The data is in `tests/cases/lua`.

use serde_json::{Value, json};
use tenterhook_tests::{Host, fixtures};

use self::entries::{Entry, Outcome, differences, entries as all, read};
use crate::shared::{created, delivery_in, emit, id};

#[path = "../cases/lua/entries.rs"]
mod entries;

/// Snippets of one hook: fewer make the run slower, more make its config long.
const BATCH: usize = 50;

/// A hook for `crud`/`consumers` with these functions.
async fn lambda(host: &Host, functions: &Value) -> String {
    let body = json!({ "source": "crud", "event": "consumers", "handler": "lambda", "config": { "functions": functions } });
    id(&created(host.admin().post("/event-hooks", &body).await))
}

/// What `/test` answers: status and body.
async fn test(host: &Host, hook: &str, data: &Value) -> (u16, Value) {
    let answer = host.admin().post(&format!("/event-hooks/{hook}/test"), data).await;
    (answer.status, answer.json())
}

/// The cases of one part of `lambda.json`.
fn cases(part: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(&read("lambda.json")).expect("lambda.json is JSON");
    file[part].as_array().unwrap_or_else(|| panic!("lambda.json has {part}")).clone()
}

#[tokio::test]
async fn functions_run_in_a_chain_and_test_shows_what_comes_out() {
    let host = Host::start().await;
    for case in cases("tests") {
        let hook = lambda(&host, &case["functions"]).await;
        let data = case.get("data").cloned().unwrap_or_else(|| json!({}));
        let (status, answer) = test(&host, &hook, &data).await;
        if let Some(err) = case["err"].as_str() {
            let expected = json!({ "message": "An unexpected error ocurred", "err": err.replace("$ID", &hook) });
            assert_eq!((status, &answer), (500, &expected), "{}", case["about"]);
        } else {
            assert_eq!((status, &answer["result"]), (200, &case["result"]), "{}: {answer}", case["about"]);
        }
    }
}

#[tokio::test]
async fn what_is_no_function_is_refused_with_kongs_words() {
    let host = Host::start().await;
    for case in cases("refused") {
        let body = json!({ "source": "crud", "handler": "lambda", "config": case["config"] });
        let answer = host.admin().post("/event-hooks", &body).await.expect(400).json();
        assert_eq!((&answer["code"], &answer["name"]), (&json!(2), &json!("schema violation")), "{}: {answer}", case["about"]);
        let fields = &answer["fields"]["config"];
        assert!(alike(fields, &case["fields"]), "{}: {fields}, expected {}", case["about"], case["fields"]);
    }
}

/// Equal, where `*` at either end of an expected text stands for anything.
fn alike(value: &Value, expected: &Value) -> bool {
    match (value, expected) {
        (Value::Array(values), Value::Array(expected)) => {
            values.len() == expected.len() && values.iter().zip(expected).all(|(value, expected)| alike(value, expected))
        }
        (Value::Object(values), Value::Object(expected)) => {
            values.len() == expected.len()
                && expected.iter().all(|(name, expected)| values.get(name).is_some_and(|value| alike(value, expected)))
        }
        (Value::String(text), Value::String(expected)) => match (expected.strip_prefix('*'), expected.strip_suffix('*')) {
            (Some(end), _) => text.ends_with(end),
            (_, Some(start)) => text.starts_with(start),
            (None, None) => text == expected,
        },
        _ => value == expected,
    }
}

#[tokio::test]
async fn only_exactly_true_is_delivered() {
    let host = Host::start().await;
    for (n, case) in cases("deliveries").into_iter().enumerate() {
        let source = format!("case-{n}");
        let body = json!({ "source": source, "handler": "lambda", "config": { "functions": case["functions"] } });
        let hook = id(&created(host.admin().post("/event-hooks", &body).await));
        emit(host.events(), &source, "x", &json!({})).await;
        let state = if case["delivered"] == true { "delivered" } else { "retrying" };
        let attempt = delivery_in(&host, &hook, state, 1).await["attempts"][0].clone();
        if let Some(reason) = case["reason"].as_str() {
            assert_eq!(attempt["failure"]["detail"], reason, "{}: {attempt}", case["about"]);
        }
    }
}

/// Kong's documented lambda, as printed and on one line as the curl call has it; and the chain of two.
#[tokio::test]
async fn the_documented_examples_do_what_the_documentation_says() {
    const LINES: &str = "return function (data, event, source, pid)\nlocal user = data.entity.username\nerror(\"Event Hook on consumer \" .. user .. \"\")\nreturn true\nend\n";
    const ONE_LINE: &str = "return function (data, event, source, pid) local user = data.entity.username error(\"Event Hook on consumer \" .. user .. \"\") return true end";
    let host = Host::start().await;
    for (text, line) in [(LINES, 3), (ONE_LINE, 1)] {
        let body = json!({ "source": "crud", "event": "consumers", "handler": "lambda", "config": { "functions": [text] } });
        let hook = created(host.admin().post("/event-hooks", &body).await);
        assert_eq!(hook["config"]["functions"], json!([text]));
        let hook = id(&hook);
        let expected = format!("[string \"event_hooks:{hook}\"]:{line}: Event Hook on consumer my-consumer");
        let (status, answer) = test(&host, &hook, &fixtures::consumer_created()).await;
        assert_eq!((status, &answer["err"]), (500, &json!(expected)), "{answer}");
        host.events().post("/events", &fixtures::consumer_event()).await.expect(202);
        let attempt = delivery_in(&host, &hook, "retrying", 1).await["attempts"][0].clone();
        assert_eq!(attempt["failure"]["detail"], expected, "{attempt}");
        host.admin().delete(&format!("/event-hooks/{hook}")).await.expect(204);
    }
    let hook =
        lambda(&host, &json!(["return function(d,e,s,p) return \"HELLO\" end", "return function(d) return d .. \" WORLD\" end"])).await;
    assert_eq!(test(&host, &hook, &json!({})).await.1["result"], "HELLO WORLD");
}

/// Functions are checked when a hook is created, and again when it is changed.
#[tokio::test]
async fn a_change_is_checked_like_a_creation() {
    let host = Host::start().await;
    let hook = lambda(&host, &json!(["return function() return 1 end"])).await;
    let change = json!({ "config": { "functions": ["return 1"] } });
    host.admin().patch(&format!("/event-hooks/{hook}"), &change).await.expect(400);
    assert_eq!(test(&host, &hook, &json!({})).await.1["result"], 1);
    let change = json!({ "config": { "functions": ["return function() return 2 end"] } });
    host.admin().patch(&format!("/event-hooks/{hook}"), &change).await.expect(200);
    assert_eq!(test(&host, &hook, &json!({})).await.1["result"], 2);
}

/// Everything that natively runs in `plugins/lua/tests/conformance.rs`, in the component that users get: the counts are the same.
#[tokio::test]
async fn the_component_speaks_the_same_dialect_as_the_native_build() {
    let host = Host::start().await;
    let differences = differences();
    let mut outcome = Outcome::default();
    let (snippets, mut chunks): (Vec<_>, Vec<_>) = all("luajit").into_iter().chain(all("sandbox")).partition(|entry| !entry.whole);
    let result = |entry: &Entry| differences.get(&entry.text).unwrap_or(&entry.result).clone();
    let (compiling, more): (Vec<_>, Vec<_>) = snippets.into_iter().partition(|entry| !result(entry).starts_with('?'));
    chunks.extend(more);
    for batch in compiling.chunks(BATCH) {
        for (entry, ours) in batch.iter().zip(run(&host, batch).await) {
            outcome.add(entry, &ours, &differences);
        }
    }
    for entry in &chunks {
        outcome.add(entry, &refusal(&host, entry).await, &differences);
    }
    let counts = format!("{} as LuaJIT, {} listed differences, {} wrong", outcome.equal, outcome.listed, outcome.wrong.len());
    #[allow(clippy::print_stdout, reason = "the figures of the run")]
    {
        println!("in the component: {counts}");
    }
    assert!(outcome.wrong.is_empty(), "{counts}\n{}", outcome.wrong.join("\n"));
    assert_eq!((outcome.equal, outcome.listed), (921, 21));
}

/// The results of a batch: a hook whose first function starts a list, whose last one gives it, and in between each function adds a snippet's result.
async fn run(host: &Host, batch: &[Entry]) -> Vec<String> {
    let show = read("show.lua");
    let first = format!(
        "local show = (function()\n{show}\nend)()\nreturn function() local results = {{}} return function(body) if not body then return results end \
         results[#results + 1] = show.result(pcall(body)) end end"
    );
    let mut functions = vec![first];
    functions.extend(batch.iter().map(|entry| entry.chunk("return function(add) add(body) return add end")));
    functions.push("return function(add) return add() end".into());
    let hook = lambda(host, &json!(functions)).await;
    let (status, answer) = test(host, &hook, &json!({})).await;
    assert_eq!(status, 200, "{} and the next {}: {answer}", batch[0].place, batch.len() - 1);
    let results = answer["result"].as_array().unwrap_or_else(|| panic!("a list: {answer}"));
    assert_eq!(results.len(), batch.len(), "{}: {answer}", batch[0].place);
    results.iter().map(|text| text.as_str().expect("a text").to_owned()).collect()
}

/// The compiler's words, as a hook of this one chunk is refused with.
async fn refusal(host: &Host, entry: &Entry) -> String {
    // The chunk is named for its text here, and a name that begins with `=` or `@` means something else.
    let text = format!(" {}", entry.chunk("return body"));
    let body = json!({ "source": "crud", "handler": "lambda", "config": { "functions": [text] } });
    let answer = host.admin().post("/event-hooks", &body).await;
    if answer.status != 400 {
        return format!("{} instead of a refusal", answer.status);
    }
    let answer = answer.json();
    let message = answer["fields"]["config"]["functions"][0].as_str().unwrap_or_else(|| panic!("{}: {answer}", entry.place));
    let words = message.strip_prefix("Error parsing function: ").unwrap_or(message);
    let place = words.find("\"]:").filter(|_| words.starts_with("[string \""));
    format!("? {}", place.map_or_else(|| words.to_owned(), |at| format!("${}", &words[at + 2..])))
}
