//! The repository's promises about itself: who imports whom, where foreign crates live, what is never left behind, and that the map is true.
#![allow(clippy::disallowed_methods, reason = "a test of files on disk")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Module of `host/src` and the modules it may use. `cli` and `app` use what they need.
const IMPORTS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("policy", &["model"]),
    ("egress", &["model"]),
    ("store", &["model"]),
    ("config", &["model"]),
    ("sandbox", &["model", "egress"]),
    ("pipeline", &["model", "policy", "store", "sandbox", "egress"]),
    ("http", &["model", "pipeline", "store", "console"]),
    ("console", &["model", "pipeline", "store"]),
];

/// A foreign crate's path and the one module whose files may hold it.
const HOMES: &[(&str, &str)] = &[
    ("sled::", "store"),
    ("roaring::", "store"),
    ("wasmtime::", "sandbox"),
    ("wasmtime_wasi::", "sandbox"),
    ("wasmtime_wizer::", "sandbox"),
    ("wasmparser::", "sandbox"),
    ("hyper::client", "egress"),
    ("hyper_util::client", "egress"),
    ("hyper_rustls::", "egress"),
    ("tokio_rustls::client", "egress"),
    ("TlsConnector", "egress"),
    ("cel::", "policy"),
    ("boon::", "policy"),
];

/// The largest file of `host/src`, in lines.
const LINES_MAX: usize = 500;

/// What no file of ours holds outside a text. Written in two halves, so that this file does not hold it either.
const LEFT_BEHIND: &[&str] = &[concat!("#[igno", "re"), concat!("todo", "!("), concat!("dbg", "!("), concat!("unimplement", "ed!(")];

/// Released contracts and the FNV-1a hash of their files, as `released_contracts_are_unchanged` prints it. `v0` may change.
const RELEASED: &[(&str, u64)] = &[];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests' package stands in the repository").to_path_buf()
}

/// Every file below `dir` with this extension, sorted, with its text. Build output and hidden folders are left out.
fn files(dir: &Path, extension: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if path.is_dir() && name != "target" && name != "node_modules" && !name.starts_with('.') {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                found.push((path, text));
            }
        }
    }
    found.sort();
    found
}

/// The top-level module that a file of `host/src` belongs to.
fn module(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("host/src")).expect("a file of host/src");
    let first = inside.iter().next().expect("a file has a name").to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// A file that only tests are in may stand in for the other side: a client for the server, a server for the client.
fn is_test(path: &Path) -> bool {
    let name = |part: &std::ffi::OsStr| part == "tests" || part.to_string_lossy().ends_with("tests.rs");
    path.strip_prefix(root()).is_ok_and(|inside| inside.iter().skip(1).any(name))
}

/// Code without whole-line comments.
fn code(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Code that ships: a file's tests stand at its end and may borrow from other modules' tests.
fn shipped(text: &str) -> String {
    code(text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default())
}

/// The top-level modules that `crate::…` paths name, grouped imports included.
fn used_modules(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    for (at, found) in code.match_indices("crate::") {
        let whole_word = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$');
        let rest = &code[at + found.len()..];
        if !whole_word {
            continue;
        }
        let Some(group) = rest.strip_prefix('{') else {
            used.insert(name(rest));
            continue;
        };
        let mut depth = 0;
        let mut item_starts = true;
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => item_starts = true,
                _ if item_starts && depth == 0 && !c.is_whitespace() => {
                    used.insert(name(&group[at..]));
                    item_starts = false;
                }
                _ => {}
            }
        }
    }
    used
}

#[test]
fn the_scanner_sees_every_form_of_import() {
    let code = "use crate::model::Hook;\nuse crate::{store::Store, egress::{Egress, Limits}};\nfn f() -> crate::policy::Verdict {}\nmycrate::x::y;";
    let expected: BTreeSet<String> = ["model", "store", "egress", "policy"].map(str::to_owned).into();
    assert_eq!(used_modules(code), expected);
}

#[test]
fn imports_point_downwards() {
    let mut wrong = Vec::new();
    let modules: BTreeSet<String> = files(&root().join("host/src"), "rs").iter().map(|(path, _)| module(path)).collect();
    for (path, text) in files(&root().join("host/src"), "rs") {
        let own = module(&path);
        let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == own) else { continue };
        for used in used_modules(&shipped(&text)) {
            if used != own && modules.contains(&used) && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{} uses crate::{used}; {own} may use {allowed:?}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_module_has_a_place_in_the_import_table() {
    let known = |name: &str| ["lib", "main", "app", "cli"].contains(&name) || IMPORTS.iter().any(|(module, _)| *module == name);
    let unknown: BTreeSet<String> =
        files(&root().join("host/src"), "rs").iter().map(|(path, _)| module(path)).filter(|name| !known(name)).collect();
    assert!(unknown.is_empty(), "say in tests/tidy.rs what these may import: {unknown:?}");
}

#[test]
fn foreign_crates_stay_at_home() {
    let mut wrong = Vec::new();
    for (path, text) in files(&root().join("host/src"), "rs") {
        let (own, code) = (module(&path), shipped(&text));
        for (needle, home) in HOMES {
            if own != *home && !is_test(&path) && code.contains(needle) {
                wrong.push(format!("{} holds {needle}, which lives in {home} alone", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn nothing_is_left_behind() {
    let mut wrong = Vec::new();
    for folder in ["host", "sdk", "plugins", "tests"] {
        for (path, text) in files(&root().join(folder), "rs") {
            let found = LEFT_BEHIND.iter().filter(|needle| code(&text).contains(**needle));
            wrong.extend(found.map(|needle| format!("{} holds {needle}", path.display())));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_file_of_the_host_is_too_long() {
    let long: Vec<String> = files(&root().join("host/src"), "rs")
        .iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| format!("{}: {lines} lines, at most {LINES_MAX}", path.display()))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn every_case_is_run() {
    let runner = std::fs::read_to_string(root().join("tests/it/cases.rs")).expect("the cases' runner");
    let folders = std::fs::read_dir(root().join("tests/cases")).expect("the cases").flatten();
    let cases = folders.filter(|entry| entry.path().join("hook.json").exists());
    let names: BTreeSet<String> = cases.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert!(!names.is_empty());
    let missing: Vec<&String> = names.iter().filter(|name| !runner.contains(&format!("    {name},\n"))).collect();
    assert!(missing.is_empty(), "not listed in tests/it/cases.rs: {missing:?}");
}

#[test]
fn the_map_names_every_module_and_nothing_that_is_not_there() {
    let map = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let modules: BTreeSet<String> = files(&root().join("host/src"), "rs").iter().map(|(path, _)| module(path)).collect();
    let named = |name: &str| {
        ["lib", "main"].contains(&name)
            || [format!("`{name}`"), format!("{name}/"), format!("{name}.rs")].iter().any(|form| map.contains(form))
    };
    let missing: Vec<&String> = modules.iter().filter(|name| !named(name)).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md does not name {missing:?}");
    let top = ["host/", "sdk/", "plugins/", "tests/", "wit/", ".ci/"];
    let quoted = map.split('`').skip(1).step_by(2).filter(|text| top.iter().any(|top| text.starts_with(top)));
    let gone: Vec<&str> = quoted.filter(|path| !path.contains(['*', '{', '<', ' '])).filter(|path| !root().join(path).exists()).collect();
    assert!(gone.is_empty(), "ARCHITECTURE.md names what is not there: {gone:?}");
}

#[test]
fn released_contracts_are_unchanged() {
    let hash =
        |text: &str| text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    for entry in std::fs::read_dir(root().join("wit")).expect("the contract").flatten().filter(|entry| entry.path().is_dir()) {
        let version = entry.file_name().to_string_lossy().into_owned();
        if version == "v0" {
            continue;
        }
        let files = files(&entry.path(), "wit");
        let text: String =
            files.iter().map(|(path, text)| format!("{}\n{text}", path.file_name().unwrap_or_default().to_string_lossy())).collect();
        let known = RELEASED.iter().find(|(name, _)| *name == version).map(|(_, hash)| *hash);
        assert_eq!(
            known,
            Some(hash(&text)),
            "wit/{version} is released and frozen; a new contract is a new folder (hash now: {:#x})",
            hash(&text)
        );
    }
}
