//! What crosses between Lua and Rust.

/// A value. Functions, threads and userdata cross as their type's name only.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `nil`.
    Nil,
    /// A boolean.
    Bool(bool),
    /// Every number of Lua is one.
    Number(f64),
    /// A text: bytes of any kind.
    Bytes(Vec<u8>),
    /// `cjson.null`, `ngx.null`: a null that a table can hold.
    Null,
    /// To Lua only: a table with the keys 1…n.
    List(Vec<Value>),
    /// A table, in no order. From Lua every table is one.
    Table(Vec<(Value, Value)>),
    /// From Lua only: what cannot cross. `function`, `thread`, `userdata`.
    Other(String),
    /// To Lua only: a value that was kept there, with its identity.
    Kept(Kept),
}

/// A value that is kept in a state, a function above all, until [`State::forget`](crate::State::forget) or the end of the state. It means nothing to
/// another state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    pub(crate) handle: std::ffi::c_int,
    pub(crate) type_number: std::ffi::c_int,
}

impl Kept {
    /// What `type` says in Lua.
    pub fn type_name(self) -> &'static str {
        // Lua's own numbers, from lua.h.
        match self.type_number {
            0 => "nil",
            1 => "boolean",
            2 | 7 => "userdata",
            3 => "number",
            4 => "string",
            5 => "table",
            6 => "function",
            8 => "thread",
            _ => "no value",
        }
    }

    /// Can it be called? (A table may be callable too; Kong takes functions only.)
    pub fn is_function(self) -> bool {
        self.type_number == 6
    }
}

impl Value {
    /// A text.
    pub fn text(text: impl AsRef<[u8]>) -> Self {
        Self::Bytes(text.as_ref().to_vec())
    }

    /// A table with text keys.
    pub fn record<'a>(members: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        Self::Table(members.into_iter().map(|(name, value)| (Self::text(name), value)).collect())
    }

    /// What `type` says in Lua.
    pub fn type_name(&self) -> &str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::Bytes(_) => "string",
            Self::Null => "userdata",
            Self::List(_) | Self::Table(_) => "table",
            Self::Other(name) => name,
            Self::Kept(kept) => kept.type_name(),
        }
    }

    /// The bytes of a text.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }
}
