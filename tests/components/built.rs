//! The finished components of this folder, for whoever tests or measures with them: a file to be included with `#[path]`.
//!
//! The first caller builds; processes that run at the same time wait for each other at a file lock, and cargo itself finds that nothing changed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The bytes of `hostile`, `forward`, `prepared`, or a file in `wat/` without its ending.
pub(crate) fn component(name: &str) -> Vec<u8> {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let path = FOLDER.get_or_init(build).join(format!("{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Builds everything into one folder.
fn build() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/components");
    let target = source.join("target");
    std::fs::create_dir_all(&target).expect("the target folder can be made");
    let lock = File::create(target.join("built.lock")).expect("the lock file can be made");
    lock.lock().expect("the lock can be had");
    let built = target.join("wasm32-wasip2/release");
    cargo(&source, &target, &["build", "-p", "hostile", "-p", "forward", "-p", "prepared", "--target", "wasm32-wasip2", "--release"]);
    cargo(&source, &target, &["run", "-p", "shapes", "--", &built.display().to_string()]);
    built
}

/// The outer build's flags and folders are not for this one.
fn cargo(source: &Path, target: &Path, arguments: &[&str]) {
    let mut cargo = Command::new("cargo");
    cargo.arg(arguments[0]).args(["--locked", "--quiet", "--target-dir"]).arg(target).args(&arguments[1..]).current_dir(source);
    for variable in
        ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"]
    {
        cargo.env_remove(variable);
    }
    let status = cargo.status().expect("cargo can be started");
    assert!(status.success(), "cargo {arguments:?} in {} ended with {status}", source.display());
}
