//! Opening: lock, format, what a crash left behind, the catalog, and then the journal read on from where the catalog ends.
//!
//! What cannot be read is set aside under a name that says so and reported in the notes; the rest is used. Nothing here repairs by guessing.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cache::Cache;
use super::catalog::Catalog;
use super::fold::{META, MetaV1};
use super::index::{self, Index};
use super::item::{Commit, Effect};
use super::journal::{Journal, Slot, segment_no};
use super::keeper::{self, RESERVE};
use super::limits::Limits;
use super::nouns::Change;
use super::remembered::{KeyFiles, KeySet};
use super::seam::{FaultPoint, Seam};
use super::secret::Sealer;
use super::segment::Segment;
use super::shared::{Parts, Shared};
use super::state::State;
use super::window::{Summary, Window};
use super::writer::Writer;
use super::{Opened, Store, StoreError, export, keys, load, record};
use crate::model::{Clock, CommitNo, EventNo, Timestamp};

/// The format of the data folder as a whole.
const FORMAT: u32 = 1;

/// Opens the data folder, which is made if it is missing.
pub(super) fn open(dir: &Path, limits: Limits, clock: Clock, seam: Seam) -> Result<Opened, StoreError> {
    match try_open(dir, &limits, &clock, &seam) {
        // sled does not open on a full disk: the reserve was kept for this.
        Err(StoreError::Full { .. }) if dir.join(RESERVE).exists() => {
            seam.remove(FaultPoint::Setup, &dir.join(RESERVE))?;
            let mut opened = try_open(dir, &limits, &clock, &seam)?;
            opened.notes.push("the disk was full: the reserve was used to open the store".into());
            Ok(opened)
        }
        other => other,
    }
}

fn try_open(dir: &Path, limits: &Limits, clock: &Clock, seam: &Seam) -> Result<Opened, StoreError> {
    make_folder(dir)?;
    let lock = take_lock(dir)?;
    check_format(dir, seam)?;
    for folder in ["journal", "keys", "components"] {
        make_folder(&dir.join(folder))?;
    }
    seam.sync_path(FaultPoint::Setup, dir)?;
    let sealer = Sealer::load(dir, limits.key, seam)?;
    let mut opening = Opening { dir, seam, sealer: &sealer, now: clock.now(), notes: Vec::new() };
    opening.remove_leftovers()?;
    #[cfg(feature = "bench")]
    let cache = if limits.journals() { Cache::new(limits.cache_bytes) } else { Cache::unbounded() };
    #[cfg(not(feature = "bench"))]
    let cache = Cache::new(limits.cache_bytes);
    let mut state = State::new(cache, limits.throttle_max);
    let (catalog, exported) = opening.load_catalog(&mut state)?;
    let keys = KeyFiles::load(dir.join("keys"), &mut opening.notes)?;
    let journal = Journal::new(dir.join("journal"), seam.clone(), Vec::new())?;
    let marked = journal.marked();
    let read = opening.read_journal(&mut state, &keys, limits, exported)?;
    opening.finish(&mut state, &read, marked, &catalog)?;
    let notes = opening.notes;
    let journal = Journal::new(dir.join("journal"), seam.clone(), read.slots)?;
    let parts = Parts {
        dir: dir.to_owned(),
        limits: limits.clone(),
        clock: clock.clone(),
        seam: seam.clone(),
        sealer,
        journal,
        catalog,
        keys,
        state,
        lock,
    };
    start(Shared::new(parts), read.active, notes)
}

/// Begins or goes on with the active segment, and starts the keeper.
fn start(shared: Shared, active: Option<Arc<Slot>>, notes: Vec<String>) -> Result<Opened, StoreError> {
    let last = shared.state().last;
    let (slot, segment) = match active {
        Some(slot) => {
            let segment = shared.journal.open(&slot)?;
            segment.cut_after(last)?;
            (slot, segment)
        }
        None => {
            let begun = shared.journal.begin(last.next())?;
            let mut state = shared.state();
            state.window = Window::new(last.next(), state.next_event);
            begun
        }
    };
    // What was read from the journal counts as synced only when it is: the process that wrote it may have been killed before its sync.
    segment.sync(&shared.seam)?;
    shared.journal.mark_synced(last)?;
    shared.measure();
    shared.make_reserve()?;
    let shared = Arc::new(shared);
    let keeper = if shared.limits.background { Some(keeper::start(&shared)?) } else { None };
    let writer = Writer::new(shared.clone(), slot, segment, keeper);
    Ok(Opened { store: Store(shared), writer, notes })
}

fn make_folder(dir: &Path) -> Result<(), StoreError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| StoreError::file(dir, e))
}

fn take_lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join("lock");
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(|e| StoreError::file(&path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(StoreError::Conflict(format!(
            "{}: another tenterhook uses this data folder; stop it, or use another folder",
            dir.display()
        ))),
        Err(fs::TryLockError::Error(e)) => Err(StoreError::file(&path, e)),
    }
}

/// Checks or makes the format mark.
fn check_format(dir: &Path, seam: &Seam) -> Result<(), StoreError> {
    let path = dir.join("format");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return seam.write_file(FaultPoint::Setup, &path, format!("{FORMAT}\n").as_bytes());
        }
        Err(e) => return Err(StoreError::file(&path, e)),
    };
    let number: u32 = text.trim().parse().map_err(|_| StoreError::corrupt(path.display().to_string(), "this is no format number"))?;
    match number.cmp(&FORMAT) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(StoreError::Conflict(format!(
            "{}: this data folder has format {number}, and this version knows formats up to {FORMAT}: start the version that wrote it, or a newer one",
            dir.display()
        ))),
        std::cmp::Ordering::Less => migrate(dir, number),
    }
}

/// Brings an older folder up to this format, into a copy. Format 1 is the first, so whatever is older was never written by a release.
fn migrate(dir: &Path, from: u32) -> Result<(), StoreError> {
    Err(StoreError::Conflict(format!("{}: this data folder has format {from}, which no release has written", dir.display())))
}

/// What reading the journal gave.
struct Read {
    slots: Vec<Arc<Slot>>,
    /// The segment to go on with; None if a new one must be begun.
    active: Option<Arc<Slot>>,
    /// The last whole commit.
    last: CommitNo,
}

/// An opening under way.
struct Opening<'a> {
    dir: &'a Path,
    seam: &'a Seam,
    sealer: &'a Sealer,
    now: Timestamp,
    notes: Vec<String>,
}

impl Opening<'_> {
    fn journal_dir(&self) -> PathBuf {
        self.dir.join("journal")
    }

    fn entries(&self, dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
        let entries = fs::read_dir(dir).map_err(|e| StoreError::file(dir, e))?;
        entries.map(|entry| entry.map(|entry| entry.path()).map_err(|e| StoreError::file(dir, e))).collect()
    }

    /// What a crash left half made or half removed.
    fn remove_leftovers(&self) -> Result<(), StoreError> {
        for dir in [self.dir.to_owned(), self.journal_dir(), self.dir.join("keys"), self.dir.join("components")] {
            for path in self.entries(&dir)? {
                if path.extension().is_some_and(|extension| ["new", "gone", "tmp"].iter().any(|left| extension == *left)) {
                    self.seam.remove(FaultPoint::Remove, &path)?;
                }
            }
        }
        Ok(())
    }

    /// Loads the catalog. If it is missing or damaged: a new one, to be filled from export and journal; then Some with the export's commit.
    fn load_catalog(&mut self, state: &mut State) -> Result<(Catalog, Option<CommitNo>), StoreError> {
        let opened = Catalog::open(self.dir, self.seam).and_then(|catalog| match catalog {
            Some(catalog) => load::load(&catalog, self.sealer, state).map(|()| Some(catalog)),
            None => Ok(None),
        });
        let damage = match opened {
            Ok(Some(catalog)) => return Ok((catalog, None)),
            Ok(None) => None,
            Err(e @ (StoreError::Io { .. } | StoreError::Full { .. } | StoreError::Conflict(_))) => return Err(e),
            Err(e @ StoreError::Corrupt { .. }) => Some(e),
        };
        if let Some(damage) = damage {
            // The key does not fit: what is sealed is not damaged, and making everything anew would lose it.
            if damage.to_string().contains("another key") {
                return Err(damage);
            }
            let aside = Catalog::set_aside(self.dir, self.seam)?;
            let to = aside.map_or_else(|| "nothing was left of it".into(), |to| format!("set aside as {}", to.display()));
            self.notes.push(format!("{damage}; {to}; made again from the export and the journal"));
        }
        let cache = std::mem::replace(&mut state.cache, Cache::new(0));
        *state = State::new(cache, state.throttle_most);
        let exported = export::import(self.dir, self.sealer, state)?;
        let meta = MetaV1 { folded: 0, next_hook: state.next_hook.0, next_event: state.next_event.0 };
        Ok((Catalog::create(self.dir, self.seam, &keys::meta(META), &record::write(1, &meta))?, exported))
    }

    /// Reads every segment as far as it must be read.
    fn read_journal(
        &mut self,
        state: &mut State,
        keys: &KeyFiles,
        limits: &Limits,
        exported: Option<CommitNo>,
    ) -> Result<Read, StoreError> {
        let mut found: Vec<(CommitNo, PathBuf)> =
            self.entries(&self.journal_dir())?.into_iter().filter_map(|path| Some((segment_no(&path)?, path))).collect();
        found.retain(|(_, path)| path.extension().is_none());
        found.sort();
        let newest = found.last().map(|(no, _)| *no);
        // What comes before the newest segment was synced before that was begun; all of it may have been dropped since.
        let before = newest.map_or(CommitNo(0), |no| CommitNo(no.0.saturating_sub(1)));
        let mut read = Read { slots: Vec::new(), active: None, last: before };
        for (first, path) in found {
            let slot = Arc::new(Slot::new(path, first));
            if Some(first) != newest && self.use_index(&slot, state, keys, limits) {
                read.last = read.last.max(slot.summary().map_or(read.last, |summary| summary.last_commit));
                read.slots.push(slot);
                continue;
            }
            match self.scan(&slot, state, exported) {
                Ok(window) => {
                    read.last = read.last.max(window.summary.last_commit);
                    read.slots.push(slot.clone());
                    if Some(first) == newest {
                        state.window = window;
                        read.active = Some(slot);
                    } else {
                        self.seal(&slot, window, keys);
                    }
                }
                Err(e @ StoreError::Corrupt { .. }) if !e.to_string().contains("another key") => self.set_aside(&slot, &e, state)?,
                Err(e) => return Err(e),
            }
        }
        Ok(read)
    }

    /// A sealed segment whose files are there and whose commits are folded need not be opened.
    fn use_index(&mut self, slot: &Slot, state: &mut State, keys: &KeyFiles, limits: &Limits) -> bool {
        let Ok(summary) = index::load_summary(&slot.index_path()) else { return false };
        let remembered = summary.events == 0 || keys.has(slot.first_commit) || self.now.since(summary.last_at) > limits.keys_age;
        if summary.last_commit > state.folded || !remembered {
            return false;
        }
        state.samples.extend(summary.samples.iter().copied());
        state.next_event = state.next_event.max(EventNo(summary.first_event.0 + summary.events));
        slot.seal(summary, None);
        true
    }

    /// Reads a segment whole: for what it indexes, and for the memory from the folded commit on.
    fn scan(&mut self, slot: &Slot, state: &mut State, exported: Option<CommitNo>) -> Result<Window, StoreError> {
        let segment = Segment::open(&slot.dir)?;
        let mut window = Window::new(slot.first_commit, state.next_event);
        let notes = segment.scan(CommitNo(0), |commit, bytes| self.read_commit(&commit, bytes, &mut window, state, exported))?;
        for damage in notes.damaged {
            self.notes.push(format!("{damage}: this commit is lost"));
        }
        state.samples.extend(window.summary.samples.iter().copied());
        Ok(window)
    }

    fn read_commit(
        &mut self,
        commit: &Commit,
        bytes: u64,
        window: &mut Window,
        state: &mut State,
        exported: Option<CommitNo>,
    ) -> Result<(), StoreError> {
        let new = commit.no > state.folded;
        let expected = state.last.next();
        if new && commit.no > expected && exported.is_none() {
            self.notes.push(format!("journal: commits {expected} to {} are missing", commit.no.0 - 1));
        }
        window.commit(commit.no, commit.at, bytes);
        for item in commit.items()? {
            let effect = commit.effect(item, self.sealer)?;
            window.item(commit.no, commit.at, &effect);
            if let Effect::Accept { no, .. } = &effect {
                state.next_event = state.next_event.max(no.next());
            }
            // What the export holds of entities is newer than what the journal said before it.
            let stale = exported.is_some_and(|at| commit.no <= at) && is_entity(&effect);
            if new && !stale {
                state.apply(commit.no, commit.at, effect);
            }
        }
        if new {
            state.last = commit.no;
        }
        Ok(())
    }

    fn seal(&self, slot: &Slot, window: Window, keys: &KeyFiles) {
        let index = Index::of(&window);
        if let Some(set) = KeySet::sealed(window.summary.first_commit, window.keys)
            && !keys.has(slot.first_commit)
        {
            keys.add(set);
        }
        slot.seal(Summary { first_commit: slot.first_commit, ..window.summary }, Some(index));
    }

    fn set_aside(&mut self, slot: &Slot, damage: &StoreError, state: &State) -> Result<(), StoreError> {
        let to = slot.dir.with_extension("bad");
        self.seam.remove(FaultPoint::Setup, &to)?;
        self.seam.rename(FaultPoint::Setup, &slot.dir, &to)?;
        let from = slot.first_commit;
        let what = if from > state.folded {
            "what its commits accepted and settled is gone"
        } else {
            "what was folded of it is in the catalog; its events' records are gone"
        };
        self.notes.push(format!("{damage}; set aside as {}: commits from {from} on; {what}", to.display()));
        Ok(())
    }

    /// Numbers go on above everything that was ever used; a lost tail is named.
    fn finish(&mut self, state: &mut State, read: &Read, marked: CommitNo, catalog: &Catalog) -> Result<(), StoreError> {
        let known = read.last.max(state.folded);
        let synced = marked.max(state.folded);
        if synced > read.last {
            let folded = if state.folded > read.last {
                format!("; what those up to {} settled and owe is in the catalog", state.folded)
            } else {
                String::new()
            };
            self.notes.push(format!(
                "journal: commits {} to {synced} were synced and are gone: the tail of the newest segment is damaged{folded}",
                read.last.next()
            ));
        }
        state.last = known.max(marked);
        state.synced = state.last;
        load::sweep(catalog, state)?;
        Ok(())
    }
}

/// Is this about what the export holds?
fn is_entity(effect: &Effect) -> bool {
    match effect {
        Effect::Change(change) => match change {
            Change::PutHook(_)
            | Change::DeleteHook(_)
            | Change::PutHookState(..)
            | Change::PutSource { .. }
            | Change::DeleteSource { .. }
            | Change::PutHandler(_)
            | Change::DeleteHandler(_) => true,
            Change::Cancel(_) | Change::Replay(_) | Change::Forget(_) => false,
        },
        Effect::Accept { .. } | Effect::Settle { .. } | Effect::Copy { .. } => false,
    }
}
