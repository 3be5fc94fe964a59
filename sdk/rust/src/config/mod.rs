//! Checking a hook's config: what is wrong with it, all of it at once, each thing with its path.
//!
//! [`read`] does the types; a [`Check`] collects what your own rules find. The messages are those of Kong's Admin API where it has one.

mod check;
mod fault;
mod node;
mod wild;

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use check::{At, Check};
use fault::{Fault, Kind};
use node::Node;

/// At most this many mistakes of type are looked for; whoever makes more corrects these first.
const FAULTS_MAX: usize = 64;

/// A config without fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// One step of the way to a wrong value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathPart {
    /// A member of an object.
    Key(String),
    /// An element of an array, from 0.
    Index(u32),
}

/// One thing that is wrong with a config.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Relative to the config. Empty: the config as a whole.
    pub path: Vec<PathPart>,
    /// Lower case, no full stop: `required field missing`.
    pub message: String,
}

/// All that is wrong with a config, sorted by path. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// One violation of the config as a whole.
    pub fn whole(message: impl Into<String>) -> Self {
        Self(vec![Violation { path: Vec::new(), message: message.into() }])
    }

    /// In order.
    pub fn iter(&self) -> std::slice::Iter<'_, Violation> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Violations {
    type Item = &'a Violation;
    type IntoIter = std::slice::Iter<'a, Violation>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Violations {
    type Item = Violation;
    type IntoIter = std::vec::IntoIter<Violation>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Reads a config: its type, then `rules`, and gives back every violation of both.
///
/// A `null` member counts as absent. The first mistake of type does not hide the others: the wrong value is replaced by one that fits and reading
/// starts again. `rules` therefore always sees a config of the right types; what they say about a replaced value is left out.
pub fn read<T: DeserializeOwned>(text: &str, rules: impl FnOnce(&T, &mut Check)) -> Result<T, Violations> {
    let mut tree = match serde_json::from_str::<Node>(text) {
        Ok(Node::Null) => Node::Map(Vec::new()),
        Ok(tree) => tree,
        Err(error) => return Err(Violations::whole(format!("cannot be read as JSON: {error}"))),
    };
    let mut found: Vec<Violation> = Vec::new();
    while found.len() < FAULTS_MAX {
        match T::deserialize(&tree) {
            Ok(config) => return finish(config, found, rules),
            Err(fault) => {
                let again = found.iter().any(|violation| violation.path == fault.path);
                let mended = !again && mend(&mut tree, &fault);
                if !again {
                    found.push(Violation { path: fault.path, message: fault.message });
                }
                if !mended {
                    break;
                }
            }
        }
    }
    found.sort();
    Err(Violations(found))
}

/// Adds what the rules find, except about values that were already wrong.
fn finish<T>(config: T, mut found: Vec<Violation>, rules: impl FnOnce(&T, &mut Check)) -> Result<T, Violations> {
    let mut check = Check::default();
    rules(&config, &mut check);
    let own = check.into_found().into_iter().filter(|own| !found.iter().any(|wrong| own.path.starts_with(&wrong.path)));
    let own: Vec<_> = own.collect();
    found.extend(own);
    if found.is_empty() {
        return Ok(config);
    }
    found.sort();
    Err(Violations(found))
}

/// Makes the tree readable at the place of the fault. False if that is not possible.
fn mend(tree: &mut Node, fault: &Fault) -> bool {
    let Some((last, parents)) = fault.path.split_last() else { return false };
    let Some(parent) = parents.iter().try_fold(tree, |node, part| node.member_mut(part)) else { return false };
    match fault.kind {
        Kind::Unknown => parent.remove(last),
        Kind::Missing | Kind::Wrong => parent.put(last, Node::Wild),
    }
}

impl fmt::Display for Violation {
    /// `functions[0]: expected a string`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, part) in self.path.iter().enumerate() {
            match part {
                PathPart::Key(key) if position == 0 => f.write_str(key)?,
                PathPart::Key(key) => write!(f, ".{key}")?,
                PathPart::Index(index) => write!(f, "[{index}]")?,
            }
        }
        let separator = if self.path.is_empty() { "" } else { ": " };
        write!(f, "{separator}{}", self.message)
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, violation) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { "; " };
            write!(f, "{separator}{violation}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Violations {}

#[cfg(test)]
mod tests;
