//! Templates in the syntax of lua-resty-template 1.9, as Kong's webhook-custom has them: `{{ a.b }}` escaped, `{* a.b *}` raw, `{% if … then %}`,
//! `{# … #}`, `{-raw-}`. A template becomes a Lua chunk that runs in the sandbox; one that holds nothing but names and text needs no interpreter
//! ([`Plain`]).
//!
//! What differs from the original, on purpose: a template is never taken for the name of a file, and never for bytecode; there is no `os`, `io` and
//! `require`; Lua's functions can be called and are not data, so that `{{ type }}` is empty if the event has no `type`; `{[ expression ]}` writes the
//! value, which is not taken for a template; and `{* json(v) *}` writes a value as JSON.

mod parse;
mod plain;
#[cfg(test)]
mod tests;

use std::io::Write as _;

use crate::{Kept, State, Value};
use parse::Piece;
pub use plain::Plain;

/// A template that was compiled in a state, to be rendered in the same one.
#[derive(Debug, Clone, Copy)]
pub struct Template {
    render: Kept,
}

impl Template {
    /// `name` is that of the template in messages. The error is Lua's, with the line in the template.
    pub fn compile(state: &mut State, name: &str, template: &[u8]) -> Result<Self, Vec<u8>> {
        let wrong = |why: &str| format!("[string \"{name}\"]: {why}").into_bytes();
        let pieces = parse::parse(template).map_err(|why| wrong(&why))?;
        if pieces.iter().any(|piece| matches!(piece, Piece::Text(text) if has_bracket(text))) {
            // Kong puts texts into long brackets, which this ends.
            return Err(wrong("a text must not hold ']=]'"));
        }
        let (chunk, texts) = generate(&pieces);
        let loaded = state.load(name, &chunk).map_err(|error| error.message)?;
        let render = state.run(&loaded, &[Value::List(texts)]).and_then(|mut results| results.keep(0));
        state.forget(loaded);
        render.map(|render| Self { render }).map_err(|error| error.message)
    }

    /// The text for this data. The error is Lua's.
    pub fn render(&self, state: &mut State, data: &Value) -> Result<Vec<u8>, Vec<u8>> {
        let mut results = state.call(&self.render, std::slice::from_ref(data)).map_err(|error| error.message)?;
        match results.pop() {
            Some(Value::Bytes(text)) => Ok(text),
            _ => Err(b"a template did not give a text".to_vec()),
        }
    }
}

/// See [`Template::compile`].
fn has_bracket(text: &[u8]) -> bool {
    text.windows(3).any(|window| window == b"]=]")
}

fn line_breaks(piece: &Piece<'_>) -> usize {
    let (Piece::Text(text) | Piece::Escaped(text) | Piece::Raw(text) | Piece::Code(text) | Piece::Include(text) | Piece::Comment(text)) =
        piece;
    text.iter().filter(|&&byte| byte == b'\n').count()
}

/// The chunk, in which everything stands on the line it has in the template, and the texts. They are not part of the chunk, because Lua would change
/// their line ends.
fn generate(pieces: &[Piece<'_>]) -> (Vec<u8>, Vec<Value>) {
    let mut chunk = b"local ___c = ... return _G['\\0template'](___c, function(___t, ___e, ___r) ".to_vec();
    let mut texts = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) | Piece::Include(text) => {
                texts.push(Value::text(text));
                // Writing to a vector does not fail.
                let _ = write!(chunk, "___t({}); ", texts.len());
                chunk.extend(std::iter::repeat_n(b'\n', line_breaks(piece)));
            }
            Piece::Escaped(expression) => push_call(&mut chunk, b"___e(", expression),
            Piece::Raw(expression) => push_call(&mut chunk, b"___r(", expression),
            Piece::Code(code) => {
                chunk.extend_from_slice(code);
                // A comment must end before what follows.
                chunk.push(if code.windows(2).any(|window| window == b"--") { b'\n' } else { b' ' });
            }
            Piece::Comment(_) => chunk.extend(std::iter::repeat_n(b'\n', line_breaks(piece))),
        }
    }
    chunk.extend_from_slice(b"end)");
    (chunk, texts)
}

fn push_call(chunk: &mut Vec<u8>, call: &[u8], expression: &[u8]) {
    chunk.extend_from_slice(call);
    // `{{ type or "none" }}`: a global of Lua that stands at the front and is not used is data.
    let name = expression.iter().take_while(|&&byte| byte == b'_' || byte.is_ascii_alphanumeric()).count();
    let rest = expression[name..].trim_ascii_start();
    let is_global = plain::GLOBALS[..17].iter().any(|global| global.as_bytes() == &expression[..name]);
    if is_global && (rest.starts_with(b"or ") || rest.starts_with(b"and ") || rest.starts_with(b"==") || rest.starts_with(b"~=")) {
        chunk.extend_from_slice(b"context.");
    }
    chunk.extend_from_slice(expression);
    chunk.extend_from_slice(b"); ");
}
