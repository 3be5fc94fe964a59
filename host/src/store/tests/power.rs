//! A disk that loses power: it keeps, beside the real folder, what was synced of it, and can make a folder out of that.
//!
//! What is durable is modelled per file and per folder, as POSIX has it: a file's content as of its last fsync, a folder's list of names as of its
//! last fsync. A name whose file was never synced is an empty file. sled's own files (`snap.*`, `conf`) are taken as of the sync of their
//! folder, because sled syncs them itself and we do not see it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use crate::store::{FaultPoint, Observer, Seam};

/// What happens at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// Everything works.
    Fine,
    /// The point fails once, at its n-th passing, with this errno.
    Fail(FaultPoint, u32, i32),
    /// Everything stops at its n-th passing.
    Crash(FaultPoint, u32),
}

/// Which file: its inode and when that was made, because a file system uses the number of a removed file again.
type FileId = (u64, Option<SystemTime>);

#[derive(Default)]
struct Durable {
    files: HashMap<FileId, Vec<u8>>,
    folders: HashMap<FileId, BTreeMap<String, (FileId, bool)>>,
}

fn id(meta: &fs::Metadata) -> FileId {
    (meta.ino(), meta.created().ok())
}

struct Inner {
    plan: Plan,
    passed: u32,
    crashed: bool,
    /// What a kill would have left: the folder as it was at the crash.
    killed: Option<PathBuf>,
    durable: Durable,
}

/// The disk.
pub(super) struct Disk {
    dir: PathBuf,
    inner: Mutex<Inner>,
    keep_killed: Option<PathBuf>,
}

impl Disk {
    /// Watches `dir`, which must be as durable as it is now. A crash copies the folder to `killed`, if that is given.
    pub(super) fn new(dir: &Path, killed: Option<&Path>) -> Arc<Self> {
        let mut durable = Durable::default();
        if dir.exists() {
            take_all(&mut durable, dir);
        }
        let inner = Inner { plan: Plan::Fine, passed: 0, crashed: false, killed: None, durable };
        Arc::new(Self { dir: dir.to_owned(), inner: Mutex::new(inner), keep_killed: killed.map(Path::to_owned) })
    }

    pub(super) fn seam(self: &Arc<Self>) -> Seam {
        Seam::watched(self.clone())
    }

    pub(super) fn plan(&self, plan: Plan) {
        let mut inner = self.inner.lock().unwrap();
        inner.plan = plan;
        inner.passed = 0;
    }

    pub(super) fn crashed(&self) -> bool {
        self.inner.lock().unwrap().crashed
    }

    pub(super) fn killed(&self) -> Option<PathBuf> {
        self.inner.lock().unwrap().killed.clone()
    }

    /// Writes what is durable to `to`.
    pub(super) fn power_loss(&self, to: &Path) {
        let inner = self.inner.lock().unwrap();
        fs::create_dir_all(to).unwrap();
        let root = id(&fs::metadata(&self.dir).unwrap());
        write_folder(&inner.durable, root, to);
    }
}

fn write_folder(durable: &Durable, folder: FileId, to: &Path) {
    for (name, (file, is_dir)) in durable.folders.get(&folder).into_iter().flatten() {
        let path = to.join(name);
        if *is_dir {
            fs::create_dir_all(&path).unwrap();
            write_folder(durable, *file, &path);
        } else {
            fs::write(&path, durable.files.get(file).map_or(&[][..], Vec::as_slice)).unwrap();
        }
    }
}

fn is_sleds_own(name: &str) -> bool {
    name.starts_with("snap.") || name == "conf"
}

fn take_folder(durable: &mut Durable, dir: &Path) {
    let Ok(meta) = fs::metadata(dir) else { return };
    let mut names = BTreeMap::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_sleds_own(&name)
            && let Ok(bytes) = fs::read(entry.path())
        {
            durable.files.insert(id(&meta), bytes);
        }
        names.insert(name, (id(&meta), meta.is_dir()));
    }
    durable.folders.insert(id(&meta), names);
}

fn take_all(durable: &mut Durable, dir: &Path) {
    take_folder(durable, dir);
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            take_all(durable, &path);
        } else if let (Ok(meta), Ok(bytes)) = (fs::metadata(&path), fs::read(&path)) {
            durable.files.insert(id(&meta), bytes);
        }
    }
}

pub(super) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_folder(&path, &target);
        } else if let Ok(bytes) = fs::read(&path) {
            fs::write(target, bytes).unwrap();
        }
    }
}

impl Observer for Disk {
    fn at(&self, point: FaultPoint) -> io::Result<()> {
        let mut inner = self.inner.lock().unwrap();
        if inner.crashed {
            return Err(io::Error::other("the power is gone"));
        }
        match inner.plan {
            Plan::Fail(at, n, errno) if at == point => {
                inner.passed += 1;
                if inner.passed == n { Err(io::Error::from_raw_os_error(errno)) } else { Ok(()) }
            }
            Plan::Crash(at, n) if at == point => {
                inner.passed += 1;
                if inner.passed < n {
                    return Ok(());
                }
                inner.crashed = true;
                if let Some(to) = &self.keep_killed {
                    copy_folder(&self.dir, to);
                    inner.killed = Some(to.clone());
                }
                Err(io::Error::other("the power is gone"))
            }
            Plan::Fine | Plan::Fail(..) | Plan::Crash(..) => Ok(()),
        }
    }

    fn synced(&self, path: &Path) {
        let mut inner = self.inner.lock().unwrap();
        if inner.crashed {
            return;
        }
        if path.is_dir() {
            take_folder(&mut inner.durable, path);
        } else if let (Ok(meta), Ok(bytes)) = (fs::metadata(path), fs::read(path)) {
            inner.durable.files.insert(id(&meta), bytes);
        }
    }
}
