//! Compiles Lua 5.1.5 in the dialect of LuaJIT, and the bridge to it in `c/`.
//!
//! The source of Lua is that of the crate `lua-src`: copied to the output folder and changed there by the diffs in `patches/`, one for each file. All of
//! it becomes one translation unit, so that what is internal stays internal. Natively the system's C compiler builds it, for tests; for WebAssembly
//! zig's clang does, where a Lua error is a WebAssembly exception.

#[path = "build/patch.rs"]
mod patch;
#[path = "build/zig.rs"]
mod zig;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// Lua's core and the libraries that touch nothing outside, in an order that one translation unit can take.
const LUA: [&str; 25] = [
    "lapi", "lcode", "ldebug", "ldo", "ldump", "lfunc", "lgc", "llex", "lmem", "lobject", "lopcodes", "lparser", "lstate", "lstring",
    "ltable", "ltm", "lundump", "lvm", "lzio", "lauxlib", "lbaselib", "ldblib", "lmathlib", "lstrlib", "ltablib",
];

/// Makes every internal function `static`: the names are Lua's own, from `etc/all.c` of its distribution. The C library comes first, because Lua has a
/// macro `getline`.
const ONE_UNIT: &str = "#include <stdio.h>\n#define luaall_c\n#define LUA_CORE\n#define LUA_LIB\n";

fn main() {
    if let Err(message) = run() {
        for line in message.lines() {
            tell("error", line);
        }
    }
}

fn run() -> Result<(), String> {
    let out = PathBuf::from(variable("OUT_DIR")?);
    for source in ["build.rs", "build", "c", "patches"] {
        tell("rerun-if-changed", source);
    }
    let lua = out.join("lua");
    copy_and_patch(&source()?, &lua)?;
    let own = listed(Path::new("c"), "c")?;
    if variable("CARGO_CFG_TARGET_ARCH")? == "wasm32" { zig::compile(&own, &lua, &out) } else { natively(&own, &lua) }
}

fn natively(own: &[PathBuf], lua: &Path) -> Result<(), String> {
    let mut build = cc::Build::new();
    // Always optimised: tests are about what Lua code does, and some are about how long it takes.
    build.std("c99").opt_level(2).include(lua).include("c");
    // Only what is ours can be put right here.
    let failed = |error| format!("Lua does not compile natively: {error}");
    build.clone().warnings(true).files(own).try_compile("tenterhook_lua_bridge").map_err(failed)?;
    build.warnings(false).file(lua.join("one.c")).try_compile("tenterhook_lua").map_err(failed)?;
    tell("rustc-link-lib", "m");
    Ok(())
}

/// The folder of Lua 5.1.5 in the crate `lua-src`. A build script is not told where its dependencies lie, so cargo is asked.
fn source() -> Result<PathBuf, String> {
    let mut cargo = Command::new(variable("CARGO")?);
    cargo.args(["metadata", "--format-version", "1", "--locked", "--filter-platform"]).arg(variable("HOST")?);
    let answer = cargo.output().map_err(|error| format!("cannot run cargo: {error}"))?;
    if !answer.status.success() {
        return Err(format!("cargo does not say where the crate lua-src is:\n{}", String::from_utf8_lossy(&answer.stderr)));
    }
    let metadata: serde_json::Value = serde_json::from_slice(&answer.stdout).map_err(|error| format!("cargo metadata: {error}"))?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let manifest = packages.filter(|package| package["name"] == "lua-src").find_map(|package| package["manifest_path"].as_str());
    let folder = manifest.and_then(|manifest| Path::new(manifest).parent()).ok_or("cargo metadata does not list the crate lua-src")?;
    Ok(folder.join("lua-5.1.5"))
}

fn copy_and_patch(from: &Path, to: &Path) -> Result<(), String> {
    fs::create_dir_all(to).map_err(|error| format!("cannot make {}: {error}", to.display()))?;
    let mut patches = listed(Path::new("patches"), "patch")?;
    let mut sources = listed(from, "c")?;
    sources.extend(listed(from, "h")?);
    for source in sources {
        let name = source.file_name().unwrap_or_default();
        let mut text = read(&source)?;
        let patch = Path::new("patches").join(format!("{}.patch", name.to_string_lossy()));
        if let Some(position) = patches.iter().position(|path| *path == patch) {
            patches.swap_remove(position);
            text = patch::apply(&text, &read(&patch)?).map_err(|error| format!("{} does not fit: {error}", patch.display()))?;
        }
        write(&to.join(name), &text)?;
    }
    if let Some(patch) = patches.first() {
        return Err(format!("{} names no file of Lua", patch.display()));
    }
    let mut one = String::from(ONE_UNIT);
    for name in LUA {
        let _ = writeln!(one, "#include \"{name}.c\"");
    }
    write(&to.join("one.c"), &one)
}

/// The files in this folder with this ending, in order.
fn listed(folder: &Path, ending: &str) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("cannot list {}: {error}", folder.display()))?;
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|own| own == ending)).collect();
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<String, String> {
    let bytes = fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    String::from_utf8(bytes).map_err(|error| format!("{}: {error}", path.display()))
}

/// Writes only what changed, so that the compiler's cache holds.
fn write(path: &Path, text: &str) -> Result<(), String> {
    if fs::read(path).is_ok_and(|before| before == text.as_bytes()) {
        return Ok(());
    }
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("cargo did not set {name}: {error}"))
}

/// One instruction to cargo.
fn tell(what: &str, value: &str) {
    // If cargo no longer listens there is nobody left to tell.
    let _ = writeln!(io::stdout(), "cargo::{what}={value}");
}
