//! Compiled code on disk. Compiling takes from a tenth of a second to fifteen; loading what was compiled takes under a millisecond.
//!
//! Compiled code is machine code that the process will run, so an entry is believed only if it carries a MAC made with a key that never leaves
//! this host. What is checked is what is loaded: the bytes are read once, checked in memory and loaded from there.
//!
//! Entry: 8 bytes of format, 32 bytes HMAC-SHA256 over format, name and code, then the code.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use hmac::{Hmac, Mac};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::model::{Clock, Digest};

type Hmac256 = Hmac<sha2::Sha256>;

const FORMAT: &[u8; 8] = b"thkcode1";
const MAC_BYTES: usize = 32;
const HEAD_BYTES: usize = FORMAT.len() + MAC_BYTES;
const KEY_BYTES: usize = 32;
const KEY_FILE: &str = "cache.key";
/// Half-written entries end like this.
const UNFINISHED: &str = "new";

/// What an entry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A component, under its own digest.
    Component,
    /// A component with the exports by which a snapshot is taken, under the digest of the component without them.
    Opened,
    /// A snapshot, under the digest of everything that it was made from.
    Snapshot,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Component, Self::Opened, Self::Snapshot];

    /// How its files end.
    fn extension(self) -> &'static str {
        match self {
            Self::Component => "code",
            Self::Opened => "opened",
            Self::Snapshot => "snapshot",
        }
    }
}

/// Compiled code, loaded.
pub(super) struct Loaded {
    pub(super) component: Component,
    /// Size of the code.
    pub(super) bytes: u64,
}

/// Entries of one kind that were asked for, since the start.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
}

/// The cache. Blocking: called on threads where that is allowed.
pub(super) struct Cache {
    folder: PathBuf,
    key: [u8; KEY_BYTES],
    bytes_max: u64,
    /// Of this engine's settings and version: entries of others are never looked at, and age out.
    compatibility: u64,
    clock: Clock,
    /// One at a time puts and evicts, so that the budget holds.
    writing: Mutex<()>,
    asked: [Asked; Kind::ALL.len()],
    pub(super) rejected: AtomicU64,
}

impl Cache {
    /// Makes the folder (0700) and the key (0600, beside the folder) if they are missing.
    pub(super) fn open(folder: &Path, bytes_max: u64, engine: &Engine, clock: Clock) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
        let key = key(&folder.parent().unwrap_or(folder).join(KEY_FILE))?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let cache = Self {
            folder: folder.to_owned(),
            key,
            bytes_max,
            compatibility: hasher.finish(),
            clock,
            writing: Mutex::new(()),
            asked: Default::default(),
            rejected: AtomicU64::new(0),
        };
        for file in cache.files(UNFINISHED)? {
            fs::remove_file(file.path)?;
        }
        Ok(cache)
    }

    /// How often entries of this kind were asked for.
    pub(super) fn asked(&self, kind: Kind) -> &Asked {
        &self.asked[kind as usize]
    }

    /// What was compiled earlier, if there is a sound entry. A bad one is reported and counts as none; the next `put` replaces it.
    pub(super) fn get(&self, engine: &Engine, kind: Kind, digest: Digest) -> Option<Loaded> {
        let name = self.name(kind, digest);
        let asked = self.asked(kind);
        let path = self.folder.join(&name);
        let found = match self.read(&path, &name) {
            Ok(Some(code)) => load(engine, &code).map_err(|error| format!("{error:#}")),
            Ok(None) => {
                asked.misses.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            Err(reason) => Err(reason),
        };
        match found {
            Ok(loaded) => {
                asked.hits.fetch_add(1, Ordering::Relaxed);
                self.touch(&path);
                Some(loaded)
            }
            Err(reason) => {
                self.rejected.fetch_add(1, Ordering::Relaxed);
                asked.misses.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(entry = name, reason, "an entry of the code cache is not sound: compiling again");
                None
            }
        }
    }

    /// Keeps code that the engine has just compiled, and loads it. What does not fit into the budget is not kept.
    pub(super) fn put(&self, engine: &Engine, kind: Kind, digest: Digest, code: &[u8]) -> wasmtime::Result<Loaded> {
        let loaded = load(engine, code)?;
        let name = self.name(kind, digest);
        if let Err(error) = self.write(&name, code) {
            tracing::warn!(entry = name, %error, "compiled code could not be kept: it will be compiled again at the next start");
        }
        Ok(loaded)
    }

    /// Removes an entry, if there is one.
    pub(super) fn remove(&self, kind: Kind, digest: Digest) {
        let name = self.name(kind, digest);
        match fs::remove_file(self.folder.join(&name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(entry = name, %error, "an entry of the code cache could not be removed");
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// Removes every entry of this kind but these, those of other engines included.
    pub(super) fn keep_only(&self, kind: Kind, kept: &HashSet<Digest>) -> io::Result<()> {
        let kept: HashSet<_> = kept.iter().map(|digest| self.folder.join(self.name(kind, *digest))).collect();
        for file in self.files(kind.extension())? {
            if !kept.contains(&file.path) {
                fs::remove_file(&file.path)?;
            }
        }
        Ok(())
    }

    fn name(&self, kind: Kind, digest: Digest) -> String {
        format!("{digest}-{:016x}.{}", self.compatibility, kind.extension())
    }

    /// Over the name too: an entry cannot pass for another component's.
    fn mac(&self, name: &str, code: &[u8]) -> Hmac256 {
        let mut mac = Hmac256::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        mac.update(FORMAT);
        mac.update(&(name.len() as u64).to_be_bytes());
        mac.update(name.as_bytes());
        mac.update(code);
        mac
    }

    fn read(&self, path: &Path, name: &str) -> Result<Option<Vec<u8>>, String> {
        let mut bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        if bytes.len() < HEAD_BYTES || !bytes.starts_with(FORMAT) {
            return Err("it is not an entry of this format".into());
        }
        let code = bytes.split_off(HEAD_BYTES);
        self.mac(name, &code).verify_slice(&bytes[FORMAT.len()..]).map_err(|_| "its seal is wrong".to_owned())?;
        Ok(Some(code))
    }

    fn write(&self, name: &str, code: &[u8]) -> io::Result<()> {
        let size = (HEAD_BYTES + code.len()) as u64;
        if size > self.bytes_max {
            return Ok(());
        }
        let _one_at_a_time = self.writing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.make_room(size)?;
        let unfinished = self.folder.join(format!("{name}.{UNFINISHED}"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(FORMAT)?;
        file.write_all(&self.mac(name, code).finalize().into_bytes())?;
        file.write_all(code)?;
        // Not synced: after a crash the seal does not fit and the code is compiled again.
        fs::rename(unfinished, self.folder.join(name))
    }

    /// Removes what was used longest ago until `size` more bytes fit.
    fn make_room(&self, size: u64) -> io::Result<()> {
        let mut files = Vec::new();
        for kind in Kind::ALL {
            files.extend(self.files(kind.extension())?);
        }
        files.sort_by_key(|file| file.used);
        let mut sum: u64 = files.iter().map(|file| file.bytes).sum();
        for file in files {
            if sum + size <= self.bytes_max {
                break;
            }
            fs::remove_file(&file.path)?;
            sum -= file.bytes;
        }
        Ok(())
    }

    fn files(&self, extension: &str) -> io::Result<Vec<Entry>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let path = entry.path();
            if path.extension().is_some_and(|other| other == extension) {
                let about = entry.metadata()?;
                found.push(Entry { path, bytes: about.len(), used: about.modified()? });
            }
        }
        Ok(found)
    }

    /// Marks an entry as used just now. Only the order of eviction depends on it, so failing is no harm.
    fn touch(&self, path: &Path) {
        let now = Duration::from_millis(u64::try_from(self.clock.now().0).unwrap_or(0));
        if let Ok(file) = File::options().append(true).open(path) {
            drop(file.set_modified(SystemTime::UNIX_EPOCH + now));
        }
    }
}

struct Entry {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

/// Reads the key, or makes one. A new key makes every entry unsound, which only costs compiling.
fn key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let mut key = [0; KEY_BYTES];
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
            file.write_all(&key)?;
            file.sync_all()?;
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
            let wrong =
                |error: io::Error| io::Error::new(error.kind(), format!("{} is not a key of 32 bytes; remove it: {error}", path.display()));
            File::open(path)?.read_exact(&mut key).map_err(wrong)?;
        }
        Err(error) => return Err(error),
    }
    Ok(key)
}

/// Turns machine code into a component.
#[allow(
    unsafe_code,
    reason = "loading compiled code is unsafe because forged code would run as part of the host; these bytes were compiled by this engine a \
              moment ago, or carry the MAC of an entry that was"
)]
fn load(engine: &Engine, code: &[u8]) -> wasmtime::Result<Loaded> {
    // SAFETY: see the reason above; `read` and `put` are the only callers' sources, and the bytes are in memory that nobody else can write.
    let component = unsafe { Component::deserialize(engine, code)? };
    Ok(Loaded { component, bytes: code.len() as u64 })
}
