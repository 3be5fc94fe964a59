//! The one error of settings: for the operator at start, who corrects a line and starts again.

use std::fmt;

/// A setting that cannot be used. The caller prints it to standard error and ends with exit code 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The setting's path, such as `events.max_body`; or what else was at fault, such as the file.
    pub key: String,
    /// Where it was written: a file, an environment variable, a flag. None for a default or a combination.
    pub place: Option<String>,
    /// What stands there.
    pub found: String,
    /// What would have been right, and how to get there.
    pub expected: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "setting {}", self.key)?;
        if let Some(place) = &self.place {
            write!(out, " ({place})")?;
        }
        write!(out, ": found {}, expected {}", self.found, self.expected)
    }
}

impl std::error::Error for ConfigError {}

impl ConfigError {
    /// An error whose place is still to be looked up.
    pub(crate) fn new(key: impl Into<String>, found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { key: key.into(), place: None, found: found.into(), expected: expected.into() }
    }

    /// The first error that figment names, in the words of this project.
    pub(crate) fn from_figment(error: figment::Error) -> Self {
        use figment::error::Kind;
        let key = error.path.join(".");
        let place = error.metadata.as_ref().map(|about| about.name.to_string());
        let (found, expected) = match error.kind {
            Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => (found.to_string(), in_words(&expected)),
            Kind::InvalidLength(0, expected) => ("an empty list".to_owned(), expected),
            Kind::InvalidLength(found, expected) => (format!("{found} items"), expected),
            Kind::UnknownVariant(found, known) => (format!("`{found}`"), one_of(known)),
            Kind::UnknownField(found, known) => (format!("the unknown key `{found}`"), one_of(known)),
            Kind::MissingField(name) => ("nothing".to_owned(), format!("the key `{name}`")),
            Kind::DuplicateField(name) => (format!("`{name}` twice"), "it once".to_owned()),
            Kind::ISizeOutOfRange(found) => (found.to_string(), "a smaller number".to_owned()),
            Kind::USizeOutOfRange(found) => (found.to_string(), "a smaller number".to_owned()),
            Kind::Unsupported(found) | Kind::UnsupportedKey(found, _) => (found.to_string(), "another kind of value".to_owned()),
            Kind::Message(message) => (message, "a value of the form that `tenterhook config` shows".to_owned()),
        };
        Self { key, place, found, expected }
    }
}

/// Serde names Rust types; the operator writes TOML.
fn in_words(expected: &str) -> String {
    match expected {
        "u32" | "u64" => "a whole number, not negative and not too large",
        "a boolean" | "bool" => "true or false",
        "a sequence" => "a list",
        "a map" => "a table",
        "path string" => "a path",
        other if other.starts_with("struct ") => "a table",
        other if other.starts_with("enum ") => "one of the words that `tenterhook config` shows",
        other => other,
    }
    .to_owned()
}

fn one_of(known: &[&str]) -> String {
    let quoted: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [one] => one.clone(),
        all => format!("one of {}", all.join(", ")),
    }
}
