//! `filter`: a condition of a hook over an event, in CEL (<https://cel.dev>), checked when the hook is written. The library knows no cost limit, so
//! texts, nesting, nodes and loops are bounded here.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use cel::common::ast::{EntryExpr, Expr, IdedExpr};
use cel::parser::Parser;
use cel::{Context, Env, Value as Cel};
use serde_json::Value;

use crate::model::JsonText;

/// Bytes of a condition's text.
const TEXT_MAX: usize = 4096;
/// Brackets in each other, or operators before one operand: what a parser recurses on.
const NESTING_MAX: usize = 32;
/// Words, operators and brackets of a text: it is looked at before it is parsed.
const TOKENS_MAX: usize = 600;
/// Nodes of a condition.
const NODES_MAX: usize = 200;
/// A loop (`all`, `exists`, `exists_one`) is not run over data that is longer.
const LOOP_DATA_MAX: usize = 64 << 10;

/// What a condition may name.
const VARIABLES: [&str; 3] = ["source", "event", "data"];
const FUNCTIONS: [&str; 9] = ["size", "contains", "startsWith", "endsWith", "int", "uint", "double", "string", "type"];

static STANDARD: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// A condition, checked.
#[derive(Debug)]
pub struct Filter {
    expression: IdedExpr,
    loops: bool,
}

impl Filter {
    /// Reads a condition. The error is for whoever wrote it, and says where.
    pub fn read(text: &str) -> Result<Self, String> {
        if text.len() > TEXT_MAX {
            return Err(format!("length must be at most {TEXT_MAX}"));
        }
        measure(text)?;
        let parser = Parser::new().max_recursion_depth(96).error_recovery_limit(1).enable_optional_syntax(false);
        let expression = parser.parse(text).map_err(|errors| match errors.errors.first() {
            Some(error) => {
                let message = error.msg.strip_prefix("Syntax error: ").unwrap_or(&error.msg);
                format!("line {}, column {}: {message}", error.pos.0.max(1), error.pos.1.max(1))
            }
            None => "cannot be read".to_owned(),
        })?;
        let mut walk = Walk { text, nodes: 0, loops: 0, locals: Vec::new() };
        walk.look(&expression, false)?;
        let filter = Self { loops: walk.loops > 0, expression };
        // Whatever the data is, this is what it gives: a condition that gives no boolean for no data may still fail for want of data.
        match filter.value(&context("", "", &Value::Object(serde_json::Map::new()))) {
            Ok(Cel::Bool(_)) | Err(_) => Ok(filter),
            Ok(other) => Err(format!("gives {}, not a boolean", kind(&other))),
        }
    }

    /// Does the event match? The error says why that cannot be told.
    pub fn matches(&self, source: &str, event: &str, data: &JsonText) -> Result<bool, String> {
        if self.loops && data.len() > LOOP_DATA_MAX {
            return Err(format!("the data is longer than {LOOP_DATA_MAX} bytes, and the condition loops over it"));
        }
        match self.value(&context(source, event, &data.to_value()))? {
            Cel::Bool(matches) => Ok(matches),
            other => Err(format!("gives {}, not a boolean", kind(&other))),
        }
    }

    fn value(&self, context: &Context<'_, '_>) -> Result<Cel, String> {
        context.resolve(&self.expression).map_err(|error| short(&error.to_string()))
    }
}

/// Messages of the library may hold whole values.
fn short(message: &str) -> String {
    const LENGTH_MAX: usize = 200;
    message.chars().take(LENGTH_MAX).collect()
}

fn context<'v>(source: &str, event: &str, data: &Value) -> Context<'static, 'v> {
    let mut context = Context::with_env(STANDARD.clone());
    context.add_variable_from_value("source", Cel::String(Arc::new(source.to_owned())));
    context.add_variable_from_value("event", Cel::String(Arc::new(event.to_owned())));
    context.add_variable_from_value("data", to_cel(data));
    context
}

/// Numbers of JSON are doubles, as CEL's own mapping of JSON has it.
fn to_cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(flag) => Cel::Bool(*flag),
        Value::Number(number) => Cel::Float(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(members) => {
            let members: HashMap<String, Cel> = members.iter().map(|(name, value)| (name.clone(), to_cel(value))).collect();
            Cel::Map(members.into())
        }
    }
}

fn kind(value: &Cel) -> String {
    format!("{:?}", value.type_of()).to_lowercase()
}

/// Looks at the text before a parser does: the parser recurses on what is nested.
fn measure(text: &str) -> Result<(), String> {
    let (mut depth, mut prefixes, mut tokens, mut quote, mut escaped, mut in_word) = (0_usize, 0_usize, 0_usize, None, false, false);
    for (at, c) in text.chars().enumerate() {
        if let Some(end) = quote {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                _ if c == end => quote = None,
                _ => {}
            }
            continue;
        }
        let is_word = c.is_alphanumeric() || c == '_';
        tokens += usize::from(!(c.is_whitespace() || is_word && in_word));
        in_word = is_word;
        prefixes = if matches!(c, '!' | '-' | '?') { prefixes + 1 } else { prefixes * usize::from(!is_word || c.is_whitespace()) };
        match c {
            '\'' | '"' => quote = Some(c),
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > NESTING_MAX || prefixes > NESTING_MAX {
            return Err(format!("column {}: nested deeper than {NESTING_MAX}", at + 1));
        }
    }
    if tokens > TOKENS_MAX { Err(format!("more than {NODES_MAX} nodes")) } else { Ok(()) }
}

/// Looks at every node once.
struct Walk<'a> {
    text: &'a str,
    nodes: usize,
    loops: usize,
    locals: Vec<String>,
}

impl Walk<'_> {
    fn look(&mut self, node: &IdedExpr, in_loop: bool) -> Result<(), String> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(format!("more than {NODES_MAX} nodes"));
        }
        match &node.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) if VARIABLES.contains(&name.as_str()) || self.locals.contains(name) => Ok(()),
            Expr::Ident(name) => Err(format!("{}unknown name '{name}'; there are source, event and data", self.place(name))),
            Expr::Select(select) => self.look(&select.operand, in_loop),
            Expr::List(list) => list.elements.iter().try_for_each(|one| self.look(one, in_loop)),
            Expr::Call(call) => {
                let is_operator = !call.func_name.starts_with(|c: char| c.is_alphabetic());
                if !is_operator && !FUNCTIONS.contains(&call.func_name.as_str()) {
                    return Err(format!("{}unknown function '{}'", self.place(&call.func_name), call.func_name));
                }
                call.target.iter().try_for_each(|one| self.look(one, in_loop))?;
                call.args.iter().try_for_each(|one| self.look(one, in_loop))
            }
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => self.look(&entry.key, in_loop).and_then(|()| self.look(&entry.value, in_loop)),
                EntryExpr::StructField(field) => self.look(&field.value, in_loop),
            }),
            Expr::Struct(_) => Err("there are no messages to construct".to_owned()),
            Expr::Comprehension(one) => {
                self.loops += 1;
                if in_loop || self.loops > 1 {
                    return Err("one loop (all, exists, exists_one) at most".to_owned());
                }
                if matches!(one.accu_init.expr, Expr::List(_) | Expr::Map(_)) {
                    return Err("map and filter are not taken; all, exists and exists_one are".to_owned());
                }
                self.look(&one.iter_range, true)?;
                self.look(&one.accu_init, true)?;
                self.locals.extend([one.iter_var.clone(), one.accu_var.clone()]);
                self.locals.extend(one.iter_var2.clone());
                self.look(&one.loop_cond, true)?;
                self.look(&one.loop_step, true)?;
                self.look(&one.result, true)?;
                self.locals.clear();
                Ok(())
            }
        }
    }

    /// Where a word stands first in the text.
    fn place(&self, word: &str) -> String {
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        let found = self.text.match_indices(word).find(|(at, _)| {
            let after = self.text[at + word.len()..].chars().next();
            !self.text[..*at].ends_with(is_word) && !after.is_some_and(|c| c.is_alphanumeric() || c == '_')
        });
        let found = found.or_else(|| self.text.match_indices(word).next());
        found.map(|(at, _)| format!("column {}: ", self.text[..at].chars().count() + 1)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ask(text: &str, data: &Value) -> Result<bool, String> {
        Filter::read(text).expect("a condition").matches("crud", "consumers", &JsonText::from_value(data))
    }

    #[test]
    fn conditions_are_asked_about_source_event_and_data() {
        let data = json!({ "rate": 5, "limit": 6, "tags": ["a", "b"], "entity": { "username": "Ada", "n": null, "on": true } });
        for (text, expected) in [
            ("data.rate > data.limit * 0.8", true),
            ("data.rate > 5", false),
            ("data.rate == 5 && event == 'consumers'", true),
            ("source == 'crud' && data.entity.username.startsWith('Ad')", true),
            ("'a' in data.tags", true),
            ("data.tags.exists(tag, tag == 'b')", true),
            ("data.tags.all(tag, tag == 'b')", false),
            ("size(data.tags) == 2 ? data.entity.on : false", true),
            ("has(data.nope) || data.entity.n == null", true),
            ("has(data.nope)", false),
            ("true", true),
        ] {
            assert_eq!(ask(text, &data), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_told_is_an_error_and_no_panic() {
        for text in ["data.nope > 1", "data.rate > 'x'", "data.rate", "data.tags[7] == 'x'"] {
            assert!(ask(text, &json!({ "rate": 1, "tags": [] })).is_err(), "{text}");
        }
        let long = json!({ "tags": vec!["x"; 40_000] });
        assert!(ask("data.tags.exists(t, t == 'y')", &long).unwrap_err().contains("65536 bytes"));
        assert_eq!(ask("size(data.tags) == 40000", &long), Ok(true));
    }

    #[test]
    fn wrong_conditions_are_told_where() {
        let nested = format!("{}true{}", "(".repeat(40), ")".repeat(40));
        let many = (0..150).map(|n| format!("data.a == {n}")).collect::<Vec<_>>().join(" || ");
        let long = format!("'{}' == source", "x".repeat(5000));
        for (text, expected) in [
            ("data.a >", "line 1, column 9: "),
            ("dat.a == 1", "column 1: unknown name 'dat'; there are source, event and data"),
            ("true && foo(data)", "column 9: unknown function 'foo'"),
            ("1.0 + 2.0", "gives float, not a boolean"),
            ("data.a.map(x, x) == []", "map and filter are not taken"),
            ("data.a.exists(x, data.b.exists(y, x == y))", "one loop"),
            (nested.as_str(), "column 33: nested deeper than 32"),
            (many.as_str(), "more than 200 nodes"),
            (long.as_str(), "length must be at most 4096"),
        ] {
            let error = Filter::read(text).map(|_| ()).expect_err(text);
            assert!(error.starts_with(expected), "{text}: {error}");
        }
        assert!(Filter::read(&"!".repeat(100)).is_err());
        assert!(Filter::read("").is_err());
    }
}
