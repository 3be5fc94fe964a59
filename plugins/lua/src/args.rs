//! What a function written in Rust is called with.

use crate::Value;

/// What a function gives back: its results, or the text of an error. Lua raises it with the position of the call in front.
pub type Reply = Result<Vec<Value>, String>;

/// The arguments of a call. Positions count from 1, as in Lua's messages.
#[derive(Debug, Clone, Copy)]
pub struct Args<'a>(pub(crate) &'a [Value]);

impl<'a> Args<'a> {
    /// How many there are, trailing nils included.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The argument; nil where there is none.
    pub fn get(&self, position: usize) -> &'a Value {
        position.checked_sub(1).and_then(|index| self.0.get(index)).unwrap_or(&Value::Nil)
    }

    /// A text; a number is taken as its text, as Lua does.
    pub fn bytes(&self, position: usize, function: &str) -> Result<std::borrow::Cow<'a, [u8]>, String> {
        match self.get(position) {
            Value::Bytes(bytes) => Ok(bytes.into()),
            Value::Number(number) => Ok(crate::json::number(*number).into_bytes().into()),
            _ => Err(self.wrong(position, function, "string")),
        }
    }

    /// A number; a text is not taken for one.
    pub fn number(&self, position: usize, function: &str) -> Result<f64, String> {
        if let Value::Number(number) = self.get(position) { Ok(*number) } else { Err(self.wrong(position, function, "number")) }
    }

    /// Anything but nil and false is true.
    pub fn is_true(&self, position: usize) -> bool {
        !matches!(self.get(position), Value::Nil | Value::Bool(false))
    }

    /// `bad argument #1 to 'find' (string expected, got no value)`.
    pub fn wrong(&self, position: usize, function: &str, expected: &str) -> String {
        let got = if position > self.0.len() { "no value" } else { self.get(position).type_name() };
        format!("bad argument #{position} to '{function}' ({expected} expected, got {got})")
    }
}
