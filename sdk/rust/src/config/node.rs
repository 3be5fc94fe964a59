//! A config as a tree, in which a place can be marked as "reads as whatever is wanted"; and reading a type from it.

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use super::PathPart;
use super::fault::Fault;
use super::wild::Wild;

/// A JSON value, or a place that is already known to be wrong.
#[derive(Debug)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
    Wild,
}

impl Node {
    /// The child at this place.
    pub(super) fn member_mut(&mut self, part: &PathPart) -> Option<&mut Node> {
        match (self, part) {
            (Self::Map(members), PathPart::Key(key)) => members.iter_mut().find(|(name, _)| name == key).map(|(_, node)| node),
            (Self::List(items), PathPart::Index(index)) => items.get_mut(usize::try_from(*index).ok()?),
            (Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::List(_) | Self::Map(_) | Self::Wild, _) => None,
        }
    }

    /// Replaces or adds the child at this place. False if there is no such place.
    pub(super) fn put(&mut self, part: &PathPart, node: Node) -> bool {
        if let Some(place) = self.member_mut(part) {
            *place = node;
            return true;
        }
        let (Self::Map(members), PathPart::Key(key)) = (self, part) else { return false };
        members.push((key.clone(), node));
        true
    }

    /// Removes the member of this name. False if there is none.
    pub(super) fn remove(&mut self, part: &PathPart) -> bool {
        let (Self::Map(members), PathPart::Key(key)) = (self, part) else { return false };
        let before = members.len();
        members.retain(|(name, _)| name != key);
        members.len() < before
    }
}

impl From<serde_json::Value> for Node {
    fn from(value: serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Bool(flag),
            Value::Number(number) => Self::Number(number),
            Value::String(text) => Self::Text(text),
            Value::Array(items) => Self::List(items.into_iter().map(Self::from).collect()),
            Value::Object(members) => Self::Map(members.into_iter().map(|(key, value)| (key, value.into())).collect()),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_json::Value::deserialize(deserializer).map(Self::from)
    }
}

/// Every question that a placeholder answers by itself, and a value as what it is.
macro_rules! ask_the_placeholder {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match self {
                Node::Wild => Wild.$method(visitor),
                value => value.deserialize_any(visitor),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self {
            Node::Null => visitor.visit_unit(),
            Node::Bool(flag) => visitor.visit_bool(*flag),
            Node::Number(number) => visit_number(number, visitor),
            Node::Text(text) => visitor.visit_borrowed_str(text),
            Node::List(items) => visitor.visit_seq(Items { items: items.iter(), index: 0 }),
            Node::Map(members) => visitor.visit_map(Members::all(members)),
            Node::Wild => Wild.deserialize_any(visitor),
        }
    }

    ask_the_placeholder! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64
        deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf deserialize_unit
        deserialize_seq deserialize_map deserialize_identifier deserialize_ignored_any
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self {
            Node::Null | Node::Wild => visitor.visit_none(),
            value => visitor.visit_some(value),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Fault> {
        match self {
            Node::Wild => Wild.deserialize_tuple(len, visitor),
            value => value.deserialize_any(visitor),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(self, _: &'static str, len: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_tuple(len, visitor)
    }

    /// A record is never read from an array, and its `null` members are absent.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self {
            Node::Map(members) => visitor.visit_map(Members::without_nulls(members)),
            Node::Wild => Wild.deserialize_struct(name, fields, visitor),
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::Text(_) | Node::List(_) => Err(Fault::wrong("expected a record")),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self {
            Node::Text(text) => visitor.visit_enum(StrDeserializer::<Fault>::new(text)),
            Node::Map(members) if members.len() == 1 => visitor.visit_enum(MapAccessDeserializer::new(Members::all(members))),
            Node::Wild => Wild.deserialize_enum(name, variants, visitor),
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::List(_) | Node::Map(_) => Err(Fault::wrong("expected a string")),
        }
    }
}

fn visit_number<'de, V: Visitor<'de>>(number: &Number, visitor: V) -> Result<V::Value, Fault> {
    if let Some(number) = number.as_u64() {
        visitor.visit_u64(number)
    } else if let Some(number) = number.as_i64() {
        visitor.visit_i64(number)
    } else {
        visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN))
    }
}

/// The elements of an array. An error learns its index here.
struct Items<'de> {
    items: std::slice::Iter<'de, Node>,
    index: u32,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(item) = self.items.next() else { return Ok(None) };
        let index = self.index;
        self.index += 1;
        seed.deserialize(item).map(Some).map_err(|fault| fault.under(PathPart::Index(index)))
    }
}

/// The members of an object. An error learns its key here.
struct Members<'de> {
    members: std::slice::Iter<'de, (String, Node)>,
    skip_nulls: bool,
    current: Option<&'de (String, Node)>,
}

impl<'de> Members<'de> {
    fn all(members: &'de [(String, Node)]) -> Self {
        Self { members: members.iter(), skip_nulls: false, current: None }
    }

    fn without_nulls(members: &'de [(String, Node)]) -> Self {
        Self { skip_nulls: true, ..Self::all(members) }
    }
}

impl<'de> MapAccess<'de> for Members<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let skip_nulls = self.skip_nulls;
        self.current = self.members.find(|(_, node)| !(skip_nulls && matches!(node, Node::Null)));
        let Some((key, _)) = self.current else { return Ok(None) };
        seed.deserialize(StrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let (key, node) = self.current.ok_or_else(|| Fault::wrong("a value was asked for before its key"))?;
        seed.deserialize(node).map_err(|fault| fault.under(PathPart::Key(key.clone())))
    }
}
