//! Builds the handlers that ship with the binary (`PLUGINS`) as WebAssembly components, and writes a file that embeds them:
//! `include!(concat!(env!("OUT_DIR"), "/built_in.rs"))` gives `BUILT_IN: &[(&str, &[u8])]`, name and component.
//!
//! They are built by a second cargo, with a target folder of its own (`target/plugins`) because the first one holds the lock of its folder. That
//! folder is shared by all profiles, so a clean build pays once. Nothing is downloaded that is not in `Cargo.lock`; `cargo fetch` makes the build
//! work without a network.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

const TARGET: &str = "wasm32-wasip2";

/// Of the workspace's `Cargo.toml`: small, and with the names of functions.
const PROFILE: &str = "plugin";

/// The name of the handler; its package is `tenterhook-plugin-<name>`.
const PLUGINS: [&str; 4] = ["webhook", "webhook-custom", "log", "lambda"];

/// What the components are made of, from the top of the repository.
const SOURCES: [&str; 6] = ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "wit", "sdk/rust", "plugins"];

/// Variables of cargo and rustc that the second cargo keeps: where things are, how to reach the network, how many jobs at a time. Any other would
/// change the components or build them anew each time: RUSTFLAGS and profile settings of the outer build, the wrapper that clippy puts around rustc.
const KEPT: [&str; 9] = [
    "CARGO_HOME",
    "CARGO_NET_",
    "CARGO_HTTP_",
    "CARGO_REGISTR",
    "CARGO_SOURCE_",
    "CARGO_BUILD_JOBS",
    "CARGO_MAKEFLAGS",
    "RUSTUP_",
    "RUSTC_WRAPPER",
];

fn main() {
    if let Err(message) = run() {
        for line in message.lines() {
            tell("error", line);
        }
    }
}

fn run() -> Result<(), String> {
    let out = PathBuf::from(variable("OUT_DIR")?);
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("..");
    for source in SOURCES {
        tell("rerun-if-changed", &root.join(source).display().to_string());
    }
    ensure_target(&root)?;
    let folder = target_folder(&out).join("plugins");
    build(&root, &folder)?;
    let built = folder.join(TARGET).join(PROFILE);
    let mut code =
        String::from("/// The handlers that ship with the binary: name, component.\npub(crate) const BUILT_IN: &[(&str, &[u8])] = &[\n");
    for name in PLUGINS {
        // Copied, because the shared folder may be cleaned or rebuilt while this crate is not.
        let component = out.join(format!("{name}.wasm"));
        let from = built.join(format!("tenterhook_plugin_{}.wasm", name.replace('-', "_")));
        fs::copy(&from, &component).map_err(|error| format!("cannot copy {} to {}: {error}", from.display(), component.display()))?;
        let _ = writeln!(code, "    ({name:?}, include_bytes!({:?})),", component.display().to_string());
    }
    code.push_str("];\n");
    let file = out.join("built_in.rs");
    fs::write(&file, code).map_err(|error| format!("cannot write {}: {error}", file.display()))
}

/// Asks for the target's standard library, and installs it if there is none.
fn ensure_target(root: &Path) -> Result<(), String> {
    let library = clean(Command::new("rustc")).current_dir(root).args(["--print", "target-libdir", "--target", TARGET]).output();
    let library = library.map_err(|error| format!("cannot run rustc: {error}"))?;
    if library.status.success() && Path::new(String::from_utf8_lossy(&library.stdout).trim()).is_dir() {
        return Ok(());
    }
    let advice = format!("the built-in handlers are compiled for {TARGET}: install it with `rustup target add {TARGET}`");
    match clean(Command::new("rustup")).current_dir(root).args(["target", "add", TARGET]).output() {
        Ok(installed) if installed.status.success() => Ok(()),
        Ok(refused) => Err(format!("{advice}\nrustup said:\n{}", String::from_utf8_lossy(&refused.stderr))),
        Err(error) => Err(format!("{advice}\nrustup could not be run: {error}")),
    }
}

/// Builds all plugins. Silent unless it fails.
fn build(root: &Path, folder: &Path) -> Result<(), String> {
    let mut cargo = clean(Command::new(variable("CARGO")?));
    cargo.current_dir(root).args(["build", "--quiet", "--locked", "--target", TARGET, "--profile", PROFILE, "--target-dir"]).arg(folder);
    for name in PLUGINS {
        cargo.arg("--package").arg(format!("tenterhook-plugin-{name}"));
    }
    let built = cargo.output().map_err(|error| format!("cannot run cargo: {error}"))?;
    if built.status.success() {
        return Ok(());
    }
    Err(format!("the built-in handlers do not compile:\n{}", String::from_utf8_lossy(&built.stderr)))
}

/// Without what the outer build put into the environment.
fn clean(mut command: Command) -> Command {
    for (name, _) in env::vars_os() {
        if !is_kept(&name) {
            command.env_remove(&name);
        }
    }
    command
}

fn is_kept(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return true };
    let of_a_build = ["CARGO", "RUST", "CLIPPY", "__CARGO"].iter().any(|prefix| name.starts_with(prefix));
    !of_a_build || KEPT.iter().any(|kept| name.starts_with(kept))
}

/// The folder that cargo marked as its target folder, whatever its name and however deep this script's own folder lies in it.
fn target_folder(out: &Path) -> &Path {
    out.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file()).unwrap_or(out)
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("cargo did not set {name}: {error}"))
}

/// One instruction to cargo.
fn tell(what: &str, value: &str) {
    // If cargo no longer listens there is nobody left to tell.
    let _ = writeln!(io::stdout(), "cargo::{what}={value}");
}
