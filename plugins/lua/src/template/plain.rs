//! Templates that need no interpreter: texts, comments, and dotted names.

use serde_json::Value as Json;

use super::parse::{self, Piece};

/// A template of this kind, compiled. Rendering it gives the same bytes, and the same errors, as [`super::Template`] does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plain {
    pieces: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Name { path: Vec<String>, line: usize, escaped: bool },
}

/// What a dotted name leads to, beside data.
enum Found<'a> {
    Nothing,
    Json(&'a Json),
    /// A function of Lua's string library: every text has them as members.
    Function,
}

/// Lua's keywords cannot be names.
const KEYWORDS: [&str; 22] = [
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local", "nil", "not", "or", "repeat",
    "return", "then", "true", "until", "while",
];
/// What a template can call: a name that begins with one of these is left to Lua.
pub(super) const GLOBALS: [&str; 19] = [
    "assert", "error", "ipairs", "next", "pairs", "pcall", "select", "tonumber", "tostring", "type", "unpack", "xpcall", "math", "string",
    "table", "bit", "json", "template", "context",
];
const STRING_FUNCTIONS: [&str; 12] = ["byte", "char", "find", "format", "gmatch", "gsub", "len", "lower", "match", "rep", "reverse", "sub"];

impl Plain {
    /// None: it needs Lua, or is wrong.
    pub fn compile(template: &[u8]) -> Option<Self> {
        let mut line = 1;
        let mut pieces = Vec::new();
        for piece in parse::parse(template).ok()? {
            match piece {
                Piece::Text(text) if super::has_bracket(text) => return None,
                Piece::Text(text) => pieces.push(Part::Text(text.to_vec())),
                Piece::Escaped(expression) => pieces.push(Part::Name { path: path(expression)?, line, escaped: true }),
                Piece::Raw(expression) => pieces.push(Part::Name { path: path(expression)?, line, escaped: false }),
                Piece::Comment(_) => {}
                Piece::Code(_) | Piece::Include(_) => return None,
            }
            line += super::line_breaks(&piece);
        }
        Some(Self { pieces })
    }

    /// `name` is that of the template in messages.
    pub fn render(&self, name: &str, data: &Json) -> Result<Vec<u8>, Vec<u8>> {
        let mut out = Vec::new();
        for piece in &self.pieces {
            match piece {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Name { path, line, escaped } => {
                    let found = look_up(data, path).map_err(|why| format!("[string \"{name}\"]:{line}: {why}").into_bytes())?;
                    push(&mut out, &found, *escaped);
                }
            }
        }
        Ok(out)
    }
}

/// `a.b.c`
fn path(expression: &[u8]) -> Option<Vec<String>> {
    let text = std::str::from_utf8(expression).ok()?;
    let is_name = |name: &&str| {
        let mut bytes = name.bytes();
        bytes.next().is_some_and(|first| first == b'_' || first.is_ascii_alphabetic())
            && bytes.all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
            && !KEYWORDS.contains(name)
    };
    let path: Vec<&str> = text.split('.').map(str::trim_ascii).collect();
    let plain = path.iter().all(is_name) && !GLOBALS.contains(&path[0]);
    plain.then(|| path.into_iter().map(str::to_owned).collect())
}

fn look_up<'a>(data: &'a Json, path: &[String]) -> Result<Found<'a>, String> {
    let mut found = member(data, &path[0]);
    for (index, name) in path.iter().enumerate().skip(1) {
        let kind = match &found {
            Found::Nothing => "nil",
            Found::Function => "function",
            Found::Json(Json::Null) => "userdata",
            Found::Json(Json::Bool(_)) => "boolean",
            Found::Json(Json::Number(_)) => "number",
            Found::Json(Json::String(_)) => {
                found = if STRING_FUNCTIONS.contains(&name.as_str()) || name == "upper" { Found::Function } else { Found::Nothing };
                continue;
            }
            Found::Json(value @ (Json::Array(_) | Json::Object(_))) => {
                found = member(value, name);
                continue;
            }
        };
        let what = if index == 1 { "global" } else { "field" };
        return Err(format!("attempt to index {what} '{}' (a {kind} value)", path[index - 1]));
    }
    Ok(found)
}

/// A member that is null would not be in a Lua table.
fn member<'a>(value: &'a Json, name: &str) -> Found<'a> {
    let found = value.as_object().and_then(|members| members.get(name)).filter(|value| !value.is_null());
    found.map_or(Found::Nothing, Found::Json)
}

fn push(out: &mut Vec<u8>, found: &Found<'_>, escaped: bool) {
    match found {
        Found::Nothing | Found::Function | Found::Json(Json::Null) => {}
        Found::Json(Json::String(text)) if escaped => push_escaped(out, text),
        Found::Json(Json::String(text)) => out.extend_from_slice(text.as_bytes()),
        Found::Json(Json::Bool(flag)) => out.extend_from_slice(if *flag { b"true" } else { b"false" }),
        Found::Json(Json::Number(number)) => out.extend_from_slice(number_text(number.as_f64().unwrap_or(f64::NAN)).as_bytes()),
        // Lua shows where a table lies, which tells nobody anything.
        Found::Json(Json::Array(_) | Json::Object(_)) => out.extend_from_slice(b"table: 0x00000000"),
    }
}

fn push_escaped(out: &mut Vec<u8>, text: &str) {
    for &byte in text.as_bytes() {
        match byte {
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            b'/' => out.extend_from_slice(b"&#47;"),
            _ => out.push(byte),
        }
    }
}

/// C's `%.14g`.
fn number_text(number: f64) -> String {
    if number == 0.0 {
        return if number.is_sign_negative() { "-0" } else { "0" }.into();
    }
    if !number.is_finite() {
        return if number.is_nan() {
            "nan"
        } else if number < 0.0 {
            "-inf"
        } else {
            "inf"
        }
        .into();
    }
    let scientific = format!("{number:.13e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let short = |text: &str| if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text.to_owned() };
    if (-4..14).contains(&exponent) {
        let decimals = usize::try_from(13 - exponent).unwrap_or_default();
        return short(&format!("{number:.decimals$}"));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", short(mantissa), exponent.abs())
}
