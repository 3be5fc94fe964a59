//! The catalog into the memory, at start.

use super::StoreError;
use super::catalog::Catalog;
use super::entity::{HookStateV1, read_handler, read_hook, read_source};
use super::fold::{META, MarkV1, MetaV1};
use super::item::{Effect, Waiting};
use super::keys::{self, Shelf, Tail};
use super::nouns::Change;
use super::record::read;
use super::secret::Sealer;
use super::state::State;
use crate::model::{CommitNo, EventNo, HookNo, Timestamp};

fn wrong(shelf: Shelf) -> impl Fn(String) -> StoreError {
    move |what| StoreError::corrupt(format!("catalog, {shelf:?}"), what)
}

/// Fills an empty memory.
pub(super) fn load(catalog: &Catalog, sealer: &Sealer, state: &mut State) -> Result<(), StoreError> {
    load_entities(catalog, sealer, state)?;
    load_owed(catalog, state)?;
    load_rest(catalog, state)?;
    // Loading went through the same doors as changing; nothing of it is news to the catalog.
    state.dirty = super::state::Dirty::default();
    state.unexported = true;
    // A new catalog has it from the beginning. sled opens a file that it does not know as an empty database, and says nothing.
    let meta = catalog.get(&keys::meta(META))?.ok_or_else(|| StoreError::corrupt("catalog", "it has lost what it held"))?;
    let meta: MetaV1 = read("catalog, meta", &meta)?;
    state.folded = CommitNo(meta.folded);
    state.last = state.folded;
    state.next_hook = state.next_hook.max(HookNo(meta.next_hook));
    state.next_event = state.next_event.max(EventNo(meta.next_event));
    Ok(())
}

fn load_entities(catalog: &Catalog, sealer: &Sealer, state: &mut State) -> Result<(), StoreError> {
    let mut put = |change| state.apply(CommitNo(0), Timestamp(0), Effect::Change(change));
    catalog.each(Shelf::Hook, |_, value| {
        put(Change::PutHook(read_hook("catalog, hooks", value, sealer)?));
        Ok(true)
    })?;
    catalog.each(Shelf::HookState, |key, value| {
        let no = HookNo(Tail(key).u32().map_err(wrong(Shelf::HookState))?);
        put(Change::PutHookState(no, read::<HookStateV1>("catalog, hook states", value)?.into()));
        Ok(true)
    })?;
    catalog.each(Shelf::Source, |_, value| {
        let (source, event, about) = read_source("catalog, sources", value)?;
        put(Change::PutSource { source, event, about });
        Ok(true)
    })?;
    catalog.each(Shelf::Handler, |_, value| {
        put(Change::PutHandler(read_handler("catalog, handlers", value)?));
        Ok(true)
    })
}

fn load_owed(catalog: &Catalog, state: &mut State) -> Result<(), StoreError> {
    catalog.each(Shelf::Owed, |key, value| {
        let mut key = Tail(key);
        let (hook, chunk) = (HookNo(key.u32().map_err(wrong(Shelf::Owed))?), key.u64().map_err(wrong(Shelf::Owed))?);
        if let Some(entry) = state.hooks.get_mut(&hook) {
            entry.queue.load_chunk(chunk, value).map_err(wrong(Shelf::Owed))?;
        }
        Ok(true)
    })?;
    catalog.each(Shelf::Replay, |key, value| {
        let id = Tail(key).delivery().map_err(wrong(Shelf::Replay))?;
        let after = EventNo(read("catalog, replays", value)?);
        if let Some(entry) = state.hooks.get_mut(&id.hook) {
            entry.queue.owe((id.event, id.generation), after);
        }
        Ok(true)
    })?;
    state.owed_total = state.hooks.values().map(|entry| entry.queue.len()).sum();
    catalog.each(Shelf::Waiting, |key, value| {
        let id = Tail(key).delivery().map_err(wrong(Shelf::Waiting))?;
        let waiting = Waiting::from_record(read("catalog, deliveries between attempts", value)?);
        if let Some(entry) = state.hooks.get_mut(&id.hook) {
            entry.queue.wait((id.event, id.generation), waiting);
        }
        Ok(true)
    })
}

fn load_rest(catalog: &Catalog, state: &mut State) -> Result<(), StoreError> {
    catalog.each(Shelf::Mark, |key, value| {
        let key = Tail(key).mark().map_err(wrong(Shelf::Mark))?;
        let mark = read::<MarkV1>("catalog, throttle marks", value)?.into_mark().map_err(wrong(Shelf::Mark))?;
        state.throttle.put(key, mark);
        Ok(true)
    })?;
    catalog.each(Shelf::Moved, |key, value| {
        let no = EventNo(Tail(key).u64().map_err(wrong(Shelf::Moved))?);
        state.moved.insert(no, CommitNo(read("catalog, copied events", value)?));
        Ok(true)
    })?;
    catalog.each(Shelf::Dead, |key, value| {
        let id = Tail(key).dead().map_err(wrong(Shelf::Dead))?;
        state.dead.events.insert(id.event);
        state.dead.folded_count += 1;
        state.dead.folded_bytes += value.len() as u64;
        Ok(true)
    })
}

/// What a fold that a crash cut short has left of hooks that are gone, or of deliveries that are not owed, is marked to be removed by the next one.
pub(super) fn sweep(catalog: &Catalog, state: &mut State) -> Result<(), StoreError> {
    catalog.each(Shelf::Owed, |key, _| {
        let mut key = Tail(key);
        let (hook, chunk) = (HookNo(key.u32().map_err(wrong(Shelf::Owed))?), key.u64().map_err(wrong(Shelf::Owed))?);
        if !state.hooks.contains_key(&hook) {
            state.dirty.owed.insert((hook, chunk));
        }
        Ok(true)
    })?;
    for shelf in [Shelf::Waiting, Shelf::Replay] {
        catalog.each(shelf, |key, _| {
            let id = Tail(key).delivery().map_err(wrong(shelf))?;
            let owed = state.hooks.get(&id.hook).is_some_and(|entry| entry.queue.owes((id.event, id.generation)));
            if !owed {
                state.dirty.waiting.insert(id);
                state.dirty.replays.insert(id);
            }
            Ok(true)
        })?;
    }
    catalog.each(Shelf::HookState, |key, _| {
        let no = HookNo(Tail(key).u32().map_err(wrong(Shelf::HookState))?);
        if !state.hooks.contains_key(&no) {
            state.dirty.states.insert(no);
        }
        Ok(true)
    })
}
