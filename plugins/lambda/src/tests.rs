//! What a hook's author and its operator see, without a host.

use serde_json::{Value, json};
use tenterhook_sdk::testing::{Host, attempt, event};
use tenterhook_sdk::{Answer, Attempt, Failure, PreparedHandler as _, Settings};

use super::Lambda;

fn config(functions: &[&str]) -> Value {
    json!({ "functions": functions })
}

/// What `/test` makes.
fn tried_out() -> Attempt {
    let mut attempt = attempt();
    attempt.test = true;
    attempt
}

fn test(data: Value, functions: &[&str]) -> Result<Value, String> {
    run_on(&Host::new(), tried_out(), data, functions)
}

fn real(data: Value, functions: &[&str]) -> Result<Value, String> {
    run_on(&Host::new(), attempt(), data, functions)
}

fn run_on(host: &Host, attempt: Attempt, data: Value, functions: &[&str]) -> Result<Value, String> {
    match host.handle_attempt::<Lambda>(event("crud", "consumers", data), attempt, &config(functions)) {
        Ok(Answer::Done(result)) => Ok(result.map_or(Value::Null, |json| serde_json::from_str(&json).unwrap())),
        Ok(Answer::Send(request)) => panic!("{request:?}"),
        Err(Failure::Retry { reason, .. }) => Err(reason),
        Err(failure) => panic!("{failure:?}"),
    }
}

fn violations(functions: &Value, settings: &Value) -> String {
    let host = Host::new().settings(settings);
    host.validate::<Lambda>(&json!({ "functions": functions })).unwrap_err().to_string()
}

#[test]
fn each_function_gets_what_the_one_before_it_returned() {
    let functions = ["return function(d,e,s,p) return \"HELLO\" end", "return function(d) return d .. \" WORLD\" end"];
    assert_eq!(test(json!({}), &functions), Ok(json!("HELLO WORLD")));
}

#[test]
fn arguments_are_data_event_source_and_pid() {
    let function = "return function(data, event, source, pid) return data.entity.username .. event .. source .. pid end";
    assert_eq!(test(json!({ "entity": { "username": "jane" } }), &[function]), Ok(json!("janeconsumerscrud42")));
}

#[test]
fn a_second_result_is_the_error() {
    let never = "return function() error('never called') end";
    assert_eq!(test(json!({}), &["return function() return nil, 'some bad error' end", never]), Err("some bad error".into()));
    assert_eq!(test(json!({}), &["return function() return 1, false end"]), Ok(json!(1)));
}

#[test]
fn only_true_is_done() {
    assert_eq!(real(json!({}), &["return function() return true end"]), Ok(json!(true)));
    for (result, shown) in [("'done'", "\"done\""), ("nil", "nil"), ("false", "false"), ("1", "1"), ("{}", "{}"), ("print", "function")] {
        let reason = real(json!({}), &[&format!("return function() return {result} end")]).unwrap_err();
        assert_eq!(reason, format!("the last function returned {shown}, not true"));
    }
    assert_eq!(real(json!({}), &[]), Err("the hook has no functions: none can return true".into()));
}

#[test]
fn a_raised_error_is_logged_with_the_hooks_name_in_front() {
    let host = Host::new();
    let text =
        "return function (data, event, source, pid)\n local user = data.entity.username\n error(\"Event Hook on consumer \" .. user)\nend";
    let message = "[string \"event_hooks:c57340ab-9fed-40fd-bb7e-1cef8d37c2df\"]:3: Event Hook on consumer my-consumer";
    let failed = run_on(&host, attempt(), json!({ "entity": { "username": "my-consumer" } }), &[text]);
    assert_eq!(failed.unwrap_err(), host.lines()[0]);
    assert_eq!(host.lines(), [message]);
}

#[test]
fn data_are_live_between_functions() {
    let first = "return function(data) data.seen = (data.seen or 0) + 1; return data end";
    let last = "return function(data) return data.seen == 2 and data.list[2] == 'b' end";
    assert_eq!(real(json!({ "list": ["a", "b"] }), &[first, first, last]), Ok(json!(true)));
}

#[test]
fn null_members_are_nil_and_null_items_keep_their_place() {
    let function = "return function(d) return d.a == nil and #d.list == 3 and d.list[2] ~= nil and type(d.list[2]) == 'userdata' end";
    assert_eq!(real(json!({ "a": null, "list": [1, null, 3] }), &[function]), Ok(json!(true)));
    assert_eq!(real(json!(null), &["return function(d) return d == nil end"]), Ok(json!(true)));
}

#[test]
fn every_chunk_that_gives_no_function_is_refused() {
    let strict = json!({});
    assert_eq!(
        violations(&json!(["YOLO", "return 1", "return function() end", "error('on load', 0)", ""]), &strict),
        "functions[0]: Error parsing function: [string \"YOLO\"]:1: '=' expected near '<eof>'; \
         functions[1]: Bad return value from function, expected function type, got number; functions[3]: on load; \
         functions[4]: Bad return value from function, expected function type, got nil"
    );
    assert_eq!(violations(&json!(null), &strict), "functions: required field missing");
    assert_eq!(violations(&json!([1]), &strict), "functions[0]: expected a string");
}

#[test]
fn the_operator_may_forbid_lua() {
    let message = "loading of untrusted Lua code disabled because 'untrusted_lua' config option is set to 'off'";
    let off = json!({ "untrusted_lua": "off" });
    assert_eq!(violations(&json!(["return function() end"]), &off), format!("functions[0]: Error parsing function: {message}"));
    let wrong = violations(&json!(["return function() end"]), &json!({ "untrusted_lua": "none" }));
    assert!(wrong.ends_with("the setting untrusted_lua is 'none'; it must be one of: off, strict, lax"), "{wrong}");
}

#[test]
fn a_prepared_chain_behaves_as_a_fresh_one() {
    let functions = config(&["local n = 0; return function(d) n = n + 1; if d.fail then error('x') end; return n end"]);
    let settings = json!({ "pid": 42 });
    let host = Host::new().settings(&settings);
    let settings = Settings::from_json(settings.to_string());
    for data in [json!({}), json!({ "fail": true })] {
        Lambda::prepare(&functions.to_string(), &settings).unwrap();
        let tried = tried_out();
        let prepared = host.handle_attempt::<Lambda>(event("s", "e", data.clone()), tried.clone(), &functions);
        let fresh = host.handle_attempt::<Lambda>(event("s", "e", data), tried, &functions);
        assert_eq!(prepared, fresh);
    }
}

#[test]
fn preparing_reports_what_is_wrong() {
    let settings = Settings::from_json("{}");
    let refused = Lambda::prepare(&config(&["return function() end", "x y"]).to_string(), &settings).unwrap_err();
    assert_eq!(refused, "[string \"event_hooks\"]:1: '=' expected near 'y'");
    assert_eq!(Lambda::prepare("{}", &settings).unwrap_err(), "functions: required field missing");
}
