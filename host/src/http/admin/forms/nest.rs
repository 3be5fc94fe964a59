//! Fields into values: `config.url=u`, `tags[]=a`, `config.functions[1]=f`, and a key that is said twice.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Field;

/// Steps of one key. Beyond it: 400.
const DEPTH_MAX: usize = 16;
/// The largest index, which counts from 1. Beyond it: 400.
const INDEX_MAX: usize = 1000;

/// A value that is being put together.
enum Node {
    Text(String),
    Object(BTreeMap<String, Node>),
    /// What is at `[n]`, by n, and what follows by `[]` or by saying a key again.
    List(BTreeMap<usize, Node>),
}

enum Step<'a> {
    Member(&'a str),
    At(usize),
    Next,
}

/// Puts every field where its key says. The error tells which key does not go with another.
pub(super) fn nest(fields: Vec<Field>) -> Result<Map<String, Value>, String> {
    let mut top = BTreeMap::new();
    for (key, text) in fields {
        let steps = steps(&key)?;
        put(&mut top, &steps, text).ok_or_else(|| format!("'{key}' does not go with the fields before it"))?;
    }
    Ok(top.into_iter().map(|(name, node)| (name, node.into_value())).collect())
}

/// `a.b[2]` is a member, a member, an index. What is in brackets and no number is a part of the name.
fn steps(key: &str) -> Result<Vec<Step<'_>>, String> {
    let mut steps = Vec::new();
    for part in key.split('.') {
        let (mut name, mut indexes) = (part, Vec::new());
        while let Some((before, index)) = name.strip_suffix(']').and_then(|open| open.rsplit_once('[')) {
            let step = match (index, index.parse::<usize>()) {
                ("", _) => Step::Next,
                (_, Ok(at)) if (1..=INDEX_MAX).contains(&at) => Step::At(at),
                (_, Ok(_)) => return Err(format!("'{key}': an index is 1 to {INDEX_MAX}")),
                (_, Err(_)) => break,
            };
            indexes.push(step);
            name = before;
        }
        steps.push(Step::Member(name));
        steps.extend(indexes.into_iter().rev());
    }
    if steps.len() > DEPTH_MAX { Err(format!("a key has more than {DEPTH_MAX} steps")) } else { Ok(steps) }
}

/// None if something else is there already.
fn put(members: &mut BTreeMap<String, Node>, steps: &[Step<'_>], text: String) -> Option<()> {
    let (Step::Member(name), rest) = steps.split_first()? else { return None };
    match members.get_mut(*name) {
        None => drop(members.insert((*name).to_owned(), Node::new(rest, text)?)),
        Some(node) => node.add(rest, text)?,
    }
    Some(())
}

impl Node {
    fn new(steps: &[Step<'_>], text: String) -> Option<Self> {
        let mut node = match steps.first() {
            None => return Some(Self::Text(text)),
            Some(Step::Member(_)) => Self::Object(BTreeMap::new()),
            Some(Step::At(_) | Step::Next) => Self::List(BTreeMap::new()),
        };
        node.add(steps, text)?;
        Some(node)
    }

    fn add(&mut self, steps: &[Step<'_>], text: String) -> Option<()> {
        match (self, steps.split_first()) {
            (Self::Object(members), Some(_)) => put(members, steps, text),
            (Self::List(items), Some((Step::At(at), rest))) => match items.get_mut(at) {
                None => {
                    items.insert(*at, Self::new(rest, text)?);
                    Some(())
                }
                Some(item) => item.add(rest, text),
            },
            (Self::List(items), Some((Step::Next, rest))) => {
                let at = items.last_key_value().map_or(1, |(last, _)| last + 1);
                items.insert(at, Self::new(rest, text)?);
                Some(())
            }
            (Self::List(items), None) => {
                let at = items.last_key_value().map_or(1, |(last, _)| last + 1);
                items.insert(at, Self::Text(text));
                Some(())
            }
            // Said again: the two are an array.
            (this @ Self::Text(_), None | Some((Step::Next, []))) => {
                let first = std::mem::replace(this, Self::List(BTreeMap::new()));
                let Self::List(items) = this else { return None };
                items.extend([(1, first), (2, Self::Text(text))]);
                Some(())
            }
            (Self::Text(_), Some(_)) | (Self::Object(_), None) | (Self::List(_), Some((Step::Member(_), _))) => None,
        }
    }

    fn into_value(self) -> Value {
        match self {
            Self::Text(text) => Value::String(text),
            Self::Object(members) => members.into_iter().map(|(name, node)| (name, node.into_value())).collect::<Map<_, _>>().into(),
            Self::List(items) => items.into_values().map(Self::into_value).collect::<Vec<_>>().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn nested(fields: &[(&str, &str)]) -> Result<Value, String> {
        nest(fields.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()).map(Value::Object)
    }

    #[test]
    fn keys_say_where_a_text_goes() {
        let cases = [
            (vec![("a", "1")], json!({ "a": "1" })),
            (vec![("a", "1"), ("a", "2"), ("a", "3")], json!({ "a": ["1", "2", "3"] })),
            (vec![("a[]", "1")], json!({ "a": ["1"] })),
            (vec![("a[2]", "2"), ("a[1]", "1"), ("a[]", "3")], json!({ "a": ["1", "2", "3"] })),
            (vec![("c.h.content-type", "t"), ("c.h.x", "y")], json!({ "c": { "h": { "content-type": "t", "x": "y" } } })),
            (vec![("a[1].b", "1"), ("a[1].c", "2")], json!({ "a": [{ "b": "1", "c": "2" }] })),
            (vec![("a[1][1]", "1"), ("a[1][2]", "2")], json!({ "a": [["1", "2"]] })),
            (vec![("a[x]", "1")], json!({ "a[x]": "1" })),
        ];
        for (fields, expected) in cases {
            assert_eq!(nested(&fields), Ok(expected), "{fields:?}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_named() {
        for fields in [[("a", "1"), ("a.b", "2")], [("a.b", "1"), ("a", "2")], [("a[]", "1"), ("a.b", "2")]] {
            let error = nested(&fields).unwrap_err();
            assert_eq!(error, format!("'{}' does not go with the fields before it", fields[1].0));
        }
        assert_eq!(nested(&[("a[0]", "1")]).unwrap_err(), "'a[0]': an index is 1 to 1000");
        assert!(nested(&[(&"a.".repeat(17), "1")]).is_err());
    }
}
