//! Reads the snippets beside this file: see `generate.lua` for what their files look like. For whoever runs them, to be included with `#[path]`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A snippet and its result.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Where it stands, for messages: `errors.txt:12`.
    pub(crate) place: String,
    /// A whole chunk that does not compile (`>>`); otherwise the body of a function.
    pub(crate) whole: bool,
    /// The snippet.
    pub(crate) text: String,
    /// `= …`, `! …` or `? …`.
    pub(crate) result: String,
}

impl Entry {
    /// The chunk to compile. Of a body it makes a local function called `body`, on the chunk's first line, and goes on with `rest`.
    pub(crate) fn chunk(&self, rest: &str) -> String {
        if self.whole { self.text.clone() } else { format!("local function body(...) {}\nend\n{rest}", self.text) }
    }
}

/// Where the snippets are.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|dir| dir.join("tests/cases/lua"))
        .find(|dir| dir.is_dir())
        .expect("tests/cases/lua")
}

/// A file of this folder as text.
pub(crate) fn read(name: &str) -> String {
    let path = folder().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every entry of the `.txt` files in a folder below `tests/cases/lua`, in the order of their names.
pub(crate) fn entries(below: &str) -> Vec<Entry> {
    let dir = folder().join(below);
    let listed = std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut paths: Vec<PathBuf> =
        listed.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "txt")).collect();
    paths.sort();
    paths.iter().flat_map(|path| of_file(&path.strip_prefix(folder()).expect("below the folder").display().to_string())).collect()
}

/// The entries of one file.
pub(crate) fn of_file(name: &str) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut open: Option<Entry> = None;
    for (number, line) in (1..).zip(read(name).lines()) {
        let place = format!("{name}:{number}");
        let (whole, new) = (line.strip_prefix(">> "), line.strip_prefix("> "));
        if let Some(text) = whole.or(new) {
            assert!(open.is_none(), "{place}: the entry before it has no result");
            open = Some(Entry { place, whole: whole.is_some(), text: text.to_owned(), result: String::new() });
        } else if let Some(more) = line.strip_prefix('|') {
            let entry = open.as_mut().unwrap_or_else(|| panic!("{place}: nothing goes on here"));
            entry.text = format!("{}\n{}", entry.text, more.strip_prefix(' ').unwrap_or(more));
        } else if line.starts_with(['=', '!', '?']) {
            let mut entry = open.take().unwrap_or_else(|| panic!("{place}: a result of nothing"));
            entry.result = line.trim_end().to_owned();
            found.push(entry);
        } else {
            assert!(line.is_empty() || line.starts_with('#'), "{place}: neither entry, result nor comment");
        }
    }
    assert!(open.is_none(), "{name}: the last entry has no result");
    found
}

/// What differs from LuaJIT on purpose, by snippet: `differences.txt`, where a comment above gives the reason.
pub(crate) fn differences() -> BTreeMap<String, String> {
    let listed = of_file("differences.txt");
    listed.into_iter().map(|entry| (entry.text, entry.result)).collect()
}

/// How a run went.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// As LuaJIT.
    pub(crate) equal: usize,
    /// As `differences.txt` says.
    pub(crate) listed: usize,
    /// Everything else, in words.
    pub(crate) wrong: Vec<String>,
}

impl Outcome {
    /// Compares one result. `differences` is what `differences()` gave.
    pub(crate) fn add(&mut self, entry: &Entry, ours: &str, differences: &BTreeMap<String, String>) {
        let ours = ours.trim_end();
        match differences.get(&entry.text) {
            _ if ours == entry.result && !differences.contains_key(&entry.text) => self.equal += 1,
            Some(_) if ours == entry.result => {
                self.wrong.push(format!("{}: no longer differs from LuaJIT; take it out of differences.txt", entry.place));
            }
            Some(listed) if ours == listed => self.listed += 1,
            expected => {
                let (text, expected) = (&entry.text, expected.unwrap_or(&entry.result));
                self.wrong.push(format!("{}\n> {text}\n  expected {expected}\n  got      {ours}", entry.place));
            }
        }
    }
}
