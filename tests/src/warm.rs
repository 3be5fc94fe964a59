//! Compiled handlers for new data folders. A host on an empty folder compiles its built-in handlers, which takes seconds on a busy machine; hundreds
//! of tests would each pay for it, and measure nothing but that. The first test of a run lets one host compile, and all others begin with what it
//! left. Tests that are about a cold start give a folder of their own ([`HostBuilder::data`](crate::HostBuilder::data)).

use std::fs::{self, DirBuilder};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a host keeps of compiled code: the key that seals it, and the folder.
const KEY: &str = "cache.key";
const CACHE: &str = "cache";

/// Makes the data folder and puts this binary's compiled handlers in.
pub(crate) fn fill(data: &Path, binary: &Path) {
    let warm = warm(binary);
    make(data);
    copy(&warm, data);
}

/// The folder with what this binary compiled; the first caller makes it, and the others wait for it.
fn warm(binary: &Path) -> PathBuf {
    let about = fs::metadata(binary).expect("the binary under test exists");
    let folder = crate::binary::target().join("tmp");
    fs::create_dir_all(&folder).expect("a folder can be made in cargo's target folder");
    let warm = folder.join(format!("compiled-{}-{}-{}", about.ino(), about.mtime_nsec(), about.len()));
    if warm.exists() {
        return warm;
    }
    let lock = fs::File::create(folder.join("compiled.lock")).expect("a lock file can be made");
    lock.lock().expect("the lock file can be locked");
    if !warm.exists() {
        compile(binary, &folder, &warm);
    }
    warm
}

fn compile(binary: &Path, folder: &Path, warm: &Path) {
    let scratch = tempfile::tempdir_in(folder).expect("a temporary folder can be made");
    let (data, made) = (scratch.path().join("data"), scratch.path().join("made"));
    let mut host = Command::new(binary);
    host.arg("serve").arg("--data").arg(&data).args(["--events-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    let mut host = host.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary under test can be started");
    let mut ready = String::new();
    BufReader::new(host.stdout.take().expect("standard output is piped")).read_line(&mut ready).expect("the ready line can be read");
    host.kill().expect("the host can be killed");
    host.wait().expect("the host can be waited for");
    assert!(!ready.is_empty(), "a host with the default settings gets ready");
    make(&made);
    copy(&data, &made);
    fs::rename(&made, warm).expect("a folder can be renamed");
}

fn make(folder: &Path) {
    DirBuilder::new().mode(0o700).create(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
}

fn copy(from: &Path, to: &Path) {
    make(&to.join(CACHE));
    let files = fs::read_dir(from.join(CACHE)).expect("the folder of compiled code can be read");
    let names = files.map(|file| Path::new(CACHE).join(file.expect("its files can be listed").file_name()));
    for name in names.chain([PathBuf::from(KEY)]) {
        fs::copy(from.join(&name), to.join(&name)).unwrap_or_else(|error| panic!("{}: {error}", name.display()));
    }
}
