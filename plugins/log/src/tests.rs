//! The whole handler on a fake host.

use serde_json::{Value, json};
use tenterhook_sdk::log::Level;
use tenterhook_sdk::testing::{Host, LogLine, event};

use super::*;

fn logged(event: Event) -> LogLine {
    let host = Host::new().settings(&json!({ "profile": "kong", "signature": "sha256", "pid": 68_854 }));
    assert_eq!(host.handle::<Log>(event, &json!({})), Ok(Answer::done()));
    let mut lines = host.logs();
    assert_eq!(lines.len(), 1);
    lines.remove(0)
}

#[test]
fn the_line_is_the_one_that_kong_writes() {
    let entity =
        json!({ "type": 0, "username": "Elizabeth Bennet", "id": "4757bd6b-8d54-4b08-bf24-01e346a9323e", "created_at": 1_627_574_246 });
    let line = logged(event("crud", "consumers", json!({ "schema": "consumers", "operation": "create", "entity": entity })));
    let expected = r#""log callback: " { "consumers", "crud", {
    entity = {
      created_at = 1627574246,
      id = "4757bd6b-8d54-4b08-bf24-01e346a9323e",
      type = 0,
      username = "Elizabeth Bennet"
    },
    operation = "create",
    schema = "consumers"
  }, 68854 }"#;
    assert_eq!(line, LogLine { level: Level::Notice, text: expected.into() });
}

#[test]
fn data_of_any_kind_is_logged() {
    let cases: [(Value, &str); 4] = [
        (json!({}), r#""log callback: " { "e\n", "s", {}, 68854 }"#),
        (json!([1, [2]]), r#""log callback: " { "e\n", "s", { 1, { 2 } }, 68854 }"#),
        (json!("x"), r#""log callback: " { "e\n", "s", "x", 68854 }"#),
        (json!(null), r#""log callback: " { "e\n", "s", nil, 68854 }"#),
    ];
    for (data, expected) in cases {
        assert_eq!(logged(event("s", "e\n", data)).text, expected);
    }
}

#[test]
fn a_line_that_is_too_long_is_cut_between_two_characters() {
    let line = logged(event("s", "e", json!("é".repeat(40_000)))).text;
    let (kept, note) = line.rsplit_once("… (").unwrap();
    assert!(kept.len() <= LINE_BYTES_MAX && kept.ends_with('é'));
    let whole = r#""log callback: " { "e", "s", "", 68854 }"#.len() + 80_000;
    assert_eq!(note, format!("{} bytes left out)", whole - kept.len()));
}

#[test]
fn there_is_nothing_to_configure() {
    assert_eq!(Host::new().validate::<Log>(&json!({})), Ok(json!({})));
    assert_eq!(Host::new().validate::<Log>(&json!({ "x": 1 })).unwrap_err().to_string(), "x: unknown field");
}

#[test]
fn it_says_what_it_is() {
    let described = Log::describe(tenterhook_sdk::about!());
    assert_eq!((described.name.as_str(), described.wants_pings), ("log", false));
    assert_eq!(described.asks, tenterhook_sdk::Asks::default());
    assert!(serde_json::from_str::<Value>(&described.config_schema).unwrap().is_object());
}
