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
        }
    }

    /// The bytes of a text.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }
}
