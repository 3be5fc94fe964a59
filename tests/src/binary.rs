//! Where the binary under test comes from: `TENTERHOOK_BIN`, else one build of it for the whole test run.
//!
//! Cargo offers no `CARGO_BIN_EXE_…` across packages, so the tests call cargo themselves. A file lock makes the test processes that start at
//! once wait for the first one's build; the others find nothing to do.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests' package stands in the repository").to_path_buf()
}

/// Cargo's target folder: said by the environment, else the one that this executable was built in.
pub fn target() -> PathBuf {
    if let Some(said) = std::env::var_os("CARGO_TARGET_DIR") {
        return root().join(said);
    }
    let exe = std::env::current_exe().expect("the running executable has a path");
    let found = exe.ancestors().find(|dir| dir.join("CACHEDIR.TAG").exists());
    found.map_or_else(|| root().join("target"), Path::to_path_buf)
}

/// The binary under test, with the feature `test-clock`.
pub fn path() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| match std::env::var_os("TENTERHOOK_BIN") {
        Some(said) => root().join(said),
        None => build(&["--features", "test-clock"], "debug"),
    })
}

/// Builds the binary with these arguments, or finds it up to date; `profile` is the folder that cargo puts it in.
pub fn build(arguments: &[&str], profile: &str) -> PathBuf {
    let target = target();
    std::fs::create_dir_all(&target).expect("cargo's target folder can be made");
    let lock = std::fs::File::create(target.join("tenterhook-tests.lock")).expect("a lock file can be made in cargo's target folder");
    lock.lock().expect("the lock file can be locked");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).args(["build", "--quiet", "-p", "tenterhook"]).args(arguments).arg("--target-dir").arg(&target);
    let status = cargo.status().expect("cargo can be started");
    assert!(status.success(), "the binary under test does not build: {cargo:?} ended with {status}");
    target.join(profile).join("tenterhook")
}
