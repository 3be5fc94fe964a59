//! The layers that are laid over each other: the file, each environment variable, each flag; and the known keys they are held against.
//!
//! Every variable and every flag is a layer of its own, so that an error can name exactly where a value came from.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::LazyLock;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};

use super::ConfigError;

/// The reference manual and the lowest layer.
pub const DEFAULT_TOML: &str = include_str!("default.toml");

/// A larger file than this is not a file of settings.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The prefix of environment variables.
const PREFIX: &str = "TENTERHOOK_";

/// Short names in the environment, beside the long name that every key has.
const SHORT_NAMES: [(&str, &str); 3] = [("DATA", "store.dir"), ("PROFILE", "delivery.profile"), ("NO_AUTH", "auth.no_auth")];

/// Variables that are no settings: the file's path, which the command line reads.
const NOT_SETTINGS: [&str; 1] = ["CONFIG"];

/// The table whose keys are free.
const FREE: &str = "handlers";

/// Values of one origin.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    place: String,
    dict: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.place.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.dict.clone())]))
    }
}

impl Layer {
    /// The compiled-in defaults.
    pub(crate) fn defaults() -> Result<Self, ConfigError> {
        Self::from_toml("the defaults".to_owned(), DEFAULT_TOML)
    }

    /// A file of settings, every key of it known.
    pub(crate) fn file(path: &Path) -> Result<Self, ConfigError> {
        let failed = |found: String| ConfigError::new("--config", found, "a readable file of settings; `tenterhook config` prints one");
        let unreadable = |error: std::io::Error| failed(format!("{} ({error})", path.display()));
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
        if read as u64 > FILE_BYTES_MAX {
            return Err(failed(format!("{} with more than {FILE_BYTES_MAX} bytes", path.display())));
        }
        let layer = Self::from_toml(format!("file {}", path.display()), &text)?;
        layer.refuse_unknown()?;
        Ok(layer)
    }

    fn from_toml(place: String, text: &str) -> Result<Self, ConfigError> {
        match <Toml as Format>::from_str::<Dict>(text) {
            Ok(dict) => Ok(Self { place, dict }),
            Err(error) => Err(ConfigError { place: Some(place), ..ConfigError::new("(whole file)", error.to_string().trim_end(), "TOML") }),
        }
    }

    /// One key from a variable or a flag. Where the manual shows text, the value is text, so that a folder may be called `2024`; elsewhere it
    /// is read as TOML would read it.
    pub(crate) fn single(place: String, key: &str, value: &str) -> Self {
        let is_text = matches!(KNOWN.at(key), Some(Value::String(..)));
        let parsed = |text: &str| text.parse().unwrap_or_else(|never: std::convert::Infallible| match never {});
        let value: Value = if is_text { value.into() } else { parsed(value) };
        let mut path = key.rsplit('.');
        let leaf = path.next().unwrap_or(key);
        let innermost = Dict::from([(leaf.to_owned(), value)]);
        let dict = path.fold(innermost, |inner, table| Dict::from([(table.to_owned(), Value::from(inner))]));
        Self { place, dict }
    }

    fn refuse_unknown(&self) -> Result<(), ConfigError> {
        match first_unknown(&self.dict, &KNOWN.tree, "") {
            None => Ok(()),
            Some(key) => Err(ConfigError { place: Some(self.place.clone()), ..unknown(&key) }),
        }
    }
}

/// The layers of the environment, and a note for each variable that looks like one of ours and is none.
pub(crate) fn environment(variables: impl IntoIterator<Item = (String, String)>) -> Result<(Vec<Layer>, Vec<String>), ConfigError> {
    let mut ours: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in variables {
        if let Some(name) = name.strip_prefix(PREFIX) {
            ours.insert(name.to_owned(), value);
        }
    }
    let (mut short, mut long, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for (name, value) in ours.iter().filter(|(name, _)| !NOT_SETTINGS.contains(&name.as_str())) {
        let layer = |key: &str| Layer::single(place_of_variable(name), key, value);
        if let Some((_, key)) = SHORT_NAMES.iter().find(|(known, _)| known == name) {
            short.push(layer(key));
        } else if let Some(key) = key_of_variable(name) {
            long.push(layer(&key));
        } else if is_mistyped(name) {
            return Err(ConfigError { place: Some(place_of_variable(name)), ..unknown(&name.to_lowercase().replacen('_', ".", 1)) });
        } else {
            notes.push(format!("{PREFIX}{name} is set in the environment and is no setting; the nearest is {}", nearest_variable(name)));
        }
    }
    // The long name of a key wins over its short one.
    short.append(&mut long);
    Ok((short, notes))
}

fn place_of_variable(name: &str) -> String {
    format!("environment variable {PREFIX}{name}")
}

/// The key that a variable's name without prefix stands for.
pub(crate) fn key_of_variable(name: &str) -> Option<String> {
    if let Some(free) = name.strip_prefix("HANDLERS__") {
        let path = free.to_lowercase().replace("__", ".");
        return path.contains('.').then(|| format!("{FREE}.{path}"));
    }
    let flat = name.replace("__", "_");
    KNOWN.keys.iter().find(|key| variable_of_key(key) == flat).cloned()
}

pub(crate) fn variable_of_key(key: &str) -> String {
    key.replace('.', "_").to_uppercase()
}

/// Does an unknown variable start with one of our tables? Kubernetes puts variables of services beside ours, which must not stop a start.
fn is_mistyped(name: &str) -> bool {
    let of_kubernetes = ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT"].iter().any(|end| name.ends_with(end))
        || name.contains("_SERVICE_PORT_")
        || name.contains("_PORT_") && name.contains("_TCP");
    !of_kubernetes && KNOWN.tree.keys().any(|table| name.strip_prefix(&table.to_uppercase()).is_some_and(|rest| rest.starts_with('_')))
}

fn nearest_variable(name: &str) -> String {
    let names = KNOWN.keys.iter().map(|key| variable_of_key(key));
    let nearest = names.min_by_key(|known| strsim::damerau_levenshtein(known, name)).unwrap_or_default();
    format!("{PREFIX}{nearest}")
}

/// Every key there is, read out of the manual: a key that it does not name does not exist.
struct Known {
    tree: Dict,
    /// Dotted paths of the leaves, without the free tables.
    keys: Vec<String>,
}

impl Known {
    /// The manual's value of a key.
    fn at(&self, key: &str) -> Option<&Value> {
        let (path, leaf) = key.rsplit_once('.')?;
        let table = path.split('.').try_fold(&self.tree, |table, name| table.get(name)?.as_dict())?;
        table.get(leaf)
    }
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let tree = <Toml as Format>::from_str::<Dict>(&with_optional_keys()).expect("a test parses the compiled-in manual in this form");
    let mut keys = Vec::new();
    leaves(&tree, "", &mut keys);
    Known { tree, keys }
});

/// The dotted paths of all keys, for those who report on settings.
pub(crate) fn known_keys() -> &'static [String] {
    &KNOWN.keys
}

/// The manual with the keys switched on that are not set by default: their lines start with `#` and no space.
pub(crate) fn with_optional_keys() -> String {
    let on = |line: &'static str| {
        line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[')).unwrap_or(line)
    };
    DEFAULT_TOML.lines().map(on).collect::<Vec<_>>().join("\n")
}

fn leaves(tree: &Dict, path: &str, into: &mut Vec<String>) {
    for (name, value) in tree {
        let path = joined(path, name);
        match value.as_dict() {
            _ if path == FREE => {}
            Some(table) => leaves(table, &path, into),
            None => into.push(path),
        }
    }
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The first key of `dict` that the manual does not name. Recursion is as deep as the manual's tables.
fn first_unknown(dict: &Dict, known: &Dict, path: &str) -> Option<String> {
    dict.iter().find_map(|(name, value)| {
        let path = joined(path, name);
        match (known.get(name), value.as_dict()) {
            (None, _) => Some(path),
            _ if path == FREE => None,
            // A table where a value belongs, or the other way round, is a wrong type, which is found when values are read.
            (Some(known), Some(inner)) => known.as_dict().and_then(|known| first_unknown(inner, known, &path)),
            (Some(_), None) => None,
        }
    })
}

fn unknown(key: &str) -> ConfigError {
    let tables = KNOWN.tree.keys().map(String::as_str);
    let all = KNOWN.keys.iter().map(String::as_str).chain(tables);
    // A key in the wrong table is nearer to itself than to a neighbour with a similar path.
    let leaf = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let distance = |known: &str| strsim::damerau_levenshtein(known, key).min(1 + 2 * strsim::damerau_levenshtein(&leaf(known), &leaf(key)));
    let nearest = all.min_by_key(|known| distance(known)).unwrap_or_default();
    ConfigError::new(key, "an unknown key", format!("a known one; the nearest is {nearest} (`tenterhook config` prints them all)"))
}
