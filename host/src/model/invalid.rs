//! What is wrong with an input: every violation at once, each with its path.

use std::fmt;

/// One step of the way to a wrong value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathPart {
    /// A member of an object.
    Key(String),
    /// An element of an array, from 0.
    Index(u32),
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// From the top of the body; empty for the entity as a whole.
    pub path: Vec<PathPart>,
    /// Lower case, no full stop: `required field missing`.
    pub message: String,
}

impl Violation {
    /// A violation of the member `path`, which may be dotted: `config.url`.
    pub fn new(path: &str, message: impl Into<String>) -> Self {
        let path = path.split('.').filter(|part| !part.is_empty()).map(|part| PathPart::Key(part.into())).collect();
        Self { path, message: message.into() }
    }

    /// `config.functions[0]`; `@entity` is never written here.
    pub fn path_text(&self) -> String {
        let mut text = String::new();
        for part in &self.path {
            match part {
                PathPart::Key(key) => {
                    if !text.is_empty() {
                        text.push('.');
                    }
                    text.push_str(key);
                }
                PathPart::Index(index) => text.push_str(&format!("[{index}]")),
            }
        }
        text
    }
}

/// Bad input: all that is wrong with it. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Invalid {
    /// In no particular order; the door sorts and words them.
    pub violations: Vec<Violation>,
}

impl Invalid {
    /// One violation.
    pub fn one(path: &str, message: impl Into<String>) -> Self {
        Self { violations: vec![Violation::new(path, message)] }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, violation) in self.violations.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", violation.path_text(), violation.message)?;
        }
        Ok(())
    }
}
