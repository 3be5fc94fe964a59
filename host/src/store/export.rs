//! The export: all entities in one file, so that a damaged catalog can be made again from it and the journal.
//!
//! File: magic, CRC32 of the rest, then MessagePack. Hooks' configs are sealed in it as everywhere.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::StoreError;
use super::entity::{HookStateV1, read_handler, read_hook, read_source, write_handler, write_hook, write_source};
use super::nouns::Change;
use super::record::{Blob, read, write};
use super::seam::FaultPoint;
use super::secret::Sealer;
use super::shared::Shared;
use super::state::State;
use crate::model::{CommitNo, EventNo, HookNo};

const MAGIC: &[u8; 8] = b"THexprt\x01";
const FILE: &str = "entities";

/// What the export holds. `commit` is the last commit that it knows.
#[derive(Debug, Serialize, Deserialize)]
struct ExportV1 {
    commit: u64,
    next_hook: u32,
    next_event: u64,
    hooks: Vec<(Blob, HookStateV1)>,
    sources: Vec<Blob>,
    handlers: Vec<Blob>,
}

impl Shared {
    /// Writes the export if an entity changed since the last one.
    pub(super) fn export(&self) -> Result<(), StoreError> {
        let path = self.dir.join(FILE);
        let (hooks, states, sources, handlers, head) = {
            let mut state = self.state();
            if !state.unexported {
                return Ok(());
            }
            // The file may be ahead of the synced journal by nothing: changes are synced before they are applied.
            state.unexported = false;
            let hooks: Vec<_> = state.hooks.values().map(|entry| entry.hook.clone()).collect();
            let states: Vec<_> = state.hooks.values().map(|entry| HookStateV1::from(&entry.state)).collect();
            let handlers: Vec<_> = state.handlers.values().cloned().collect();
            (hooks, states, state.sources.clone(), handlers, (state.synced, state.next_hook, state.next_event))
        };
        let hooks = hooks.iter().map(|hook| write_hook(hook, &self.sealer).map(Blob)).collect::<Result<Vec<_>, _>>();
        let outcome = hooks.and_then(|hooks| {
            let export = ExportV1 {
                commit: head.0.0,
                next_hook: head.1.0,
                next_event: head.2.0,
                hooks: hooks.into_iter().zip(states).collect(),
                sources: sources
                    .iter()
                    .flat_map(|(source, events)| events.iter().map(move |(event, about)| Blob(write_source(source, event, about))))
                    .collect(),
                handlers: handlers.iter().map(|handler| Blob(write_handler(handler))).collect(),
            };
            let body = write(1, &export);
            let bytes = [MAGIC.as_slice(), &crc32fast::hash(&body).to_be_bytes(), &body].concat();
            self.seam.write_file(FaultPoint::Export, &path, &bytes)
        });
        if outcome.is_err() {
            self.state().unexported = true;
        }
        outcome
    }
}

/// Puts the exported entities into an empty memory. Gives the commit they stand for; None if there is no export that can be read.
pub(super) fn import(dir: &std::path::Path, sealer: &Sealer, state: &mut State) -> Result<Option<CommitNo>, StoreError> {
    let path: PathBuf = dir.join(FILE);
    let place = path.display().to_string();
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(StoreError::file(&path, e)),
    };
    let Some((head, body)) = bytes.split_first_chunk::<12>() else { return Ok(None) };
    if &head[..8] != MAGIC || crc32fast::hash(body).to_be_bytes() != head[8..] {
        return Ok(None);
    }
    let export: ExportV1 = read(&place, body)?;
    let commit = CommitNo(export.commit);
    let mut put = |change| state.apply(commit, crate::model::Timestamp(0), super::item::Effect::Change(change));
    for (hook, hook_state) in export.hooks {
        let hook = read_hook(&place, &hook.0, sealer)?;
        let no = hook.no;
        put(Change::PutHook(hook));
        put(Change::PutHookState(no, hook_state.into()));
    }
    for source in export.sources {
        let (source, event, about) = read_source(&place, &source.0)?;
        put(Change::PutSource { source, event, about });
    }
    for handler in export.handlers {
        put(Change::PutHandler(read_handler(&place, &handler.0)?));
    }
    state.next_hook = state.next_hook.max(HookNo(export.next_hook));
    state.next_event = state.next_event.max(EventNo(export.next_event));
    Ok(Some(commit))
}
