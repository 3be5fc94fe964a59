//! The table of templates, `tests/cases/lua/templates.txt`: each is rendered in Lua, and where that can be, without it.

use std::path::Path;

use tenterhook_lua::template::{Plain, Template};
use tenterhook_lua::{Options, State, Value};

/// What a template gives.
#[derive(Debug, PartialEq, Eq)]
enum Given {
    Text(String),
    Error(String),
    NoTemplate,
}

/// A template, and the line that says what it gives.
struct Row {
    template: String,
    expected: String,
}

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/lua").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for line in read("templates.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (mark, text) = (&line[..1], line.get(2..).unwrap_or_default());
        match (mark, rows.last_mut()) {
            (">", _) => rows.push(Row { template: text.into(), expected: String::new() }),
            ("|", Some(row)) => row.template = format!("{}\n{text}", row.template),
            (_, Some(row)) => row.expected = line.into(),
            (_, None) => panic!("the file begins with a template: {line}"),
        }
    }
    rows
}

/// `\n` and `\\`, as show.lua writes them.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (c, c == '\\') {
            (_, true) => match characters.next() {
                Some('n') => out.push('\n'),
                Some(other) => out.push(other),
                None => out.push(c),
            },
            (c, false) => out.push(c),
        }
    }
    out
}

fn in_lua(template: &str, data: &Value) -> Given {
    let mut state = State::new(&Options::default()).expect("a state");
    let Ok(compiled) = Template::compile(&mut state, "template", template.as_bytes()) else { return Given::NoTemplate };
    given(compiled.render(&mut state, data))
}

fn given(rendered: Result<Vec<u8>, Vec<u8>>) -> Given {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    rendered.map_or_else(|error| Given::Error(text(error)), |done| Given::Text(text(done)))
}

fn is_as_expected(given: &Given, expected: &str) -> bool {
    let text = unescaped(expected.get(2..).unwrap_or_default());
    match (given, expected.chars().next()) {
        (Given::Text(got), Some('=')) => text.strip_suffix('*').map_or(*got == text, |start| got.starts_with(start)),
        (Given::Error(got), Some('!')) => got.ends_with(&text),
        (Given::NoTemplate, Some('?')) => true,
        (Given::Text(_) | Given::Error(_) | Given::NoTemplate, _) => false,
    }
}

#[test]
fn templates_give_what_the_table_says() {
    let json: serde_json::Value = serde_json::from_str(&read("templates.json")).expect("the data is JSON");
    let data = Value::from_json(&json.to_string()).expect("the data can be read");
    let (rows, mut plain, mut wrong) = (rows(), 0, Vec::new());
    for Row { template, expected } in &rows {
        let mut ways = vec![("in Lua", in_lua(template, &data))];
        if let Some(fast) = Plain::compile(template.as_bytes()) {
            plain += 1;
            ways.push(("without Lua", given(fast.render("template", &json))));
        }
        for (way, given) in ways {
            if !is_as_expected(&given, expected) {
                wrong.push(format!("{way} > {template}\n  expected {expected}\n  got      {given:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(rows.len() >= 40 && plain >= 10, "{} templates, {plain} of them plain", rows.len());
}
