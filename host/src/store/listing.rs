//! Lists: a hook's deliveries and the dead letters, newest event first, in pages.
//!
//! A delivery is in the list as long as it is owed, or its settlement's segment is kept, or it is a dead letter. The list is merged from those, each in
//! order, from the newest event down; an older segment's index is loaded only when the merge gets down to its events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::StoreError;
use super::fold::read_dead;
use super::index::Index;
use super::item::{Dead, Effect, Kind};
use super::keys::{self, Shelf, Tail};
use super::nouns::{DeadKind, DeadLetter, DeadLetterFilter, DeliveryRecord, DeliveryState, Page};
use super::past::end_of;
use super::queue::Key;
use super::shared::Shared;
use super::state::DeadEntry;
use crate::model::{AttemptSummary, CommitNo, DeliveryId, EventNo, Generation, HookNo, Timestamp};

/// No page is longer.
const PAGE_MAX: usize = 1000;
/// A page that finds nothing after looking at so many entries ends, with an offset to go on from.
const LOOKED_AT_MAX: usize = 20_000;
/// Dead letters are looked up in the catalog in stretches of this many.
const STRETCH: usize = 512;

/// Above everything.
const TOP: Key = (EventNo(u64::MAX), Generation(u32::MAX));

/// Where the hook's settled deliveries are found: one of these for the active segment and each sealed one.
struct Source {
    /// No settlement in it is about a later event.
    last_event: EventNo,
    settles: Settles,
}

enum Settles {
    /// Keys, ascending.
    Loaded(BTreeSet<Key>),
    /// Not looked at yet.
    Slot(Arc<super::journal::Slot>),
}

/// What the settlements of one delivery say together.
#[derive(Default)]
struct Story {
    attempts: Vec<AttemptSummary>,
    end: Option<DeliveryState>,
}

fn parse_offset(offset: Option<&str>) -> Result<Option<DeliveryId>, StoreError> {
    let parse = |text: &str| text.parse().map_err(|()| StoreError::Conflict(format!("'{text}' is not an offset of this list")));
    offset.map(parse).transpose()
}

pub(super) fn dead_state(kind: DeadKind) -> DeliveryState {
    match kind {
        DeadKind::Exhausted => DeliveryState::Exhausted,
        DeadKind::Quarantined => DeliveryState::Quarantined,
    }
}

/// Its last attempt failed with this code, or its reason begins with it.
fn has_code(dead: &Dead, code: &str) -> bool {
    let failure = dead.attempt.as_ref().and_then(|attempt| attempt.failure.as_ref());
    let word = dead.reason.split(|c: char| c != '-' && !c.is_ascii_alphanumeric()).next();
    failure.is_some_and(|failure| failure.code.as_str() == code) || word == Some(code)
}

impl Shared {
    /// See `Store::deliveries`.
    pub(super) fn deliveries(
        &self,
        hook: HookNo,
        state: Option<DeliveryState>,
        offset: Option<&str>,
        size: usize,
    ) -> Result<Page<DeliveryRecord>, StoreError> {
        let size = size.clamp(1, PAGE_MAX);
        let mut at = parse_offset(offset)?.map_or(TOP, |id| (id.event, id.generation));
        let mut sources = self.settle_sources(hook);
        let mut items = Vec::new();
        for _ in 0..LOOKED_AT_MAX {
            let Some(key) = self.next_below(hook, at, &mut sources)? else { return Ok(Page { items, next: None }) };
            at = key;
            let id = DeliveryId { event: key.0, hook, generation: key.1 };
            if let Some(record) = self.delivery_if(id, state)? {
                items.push(record);
                if items.len() == size {
                    break;
                }
            }
        }
        let more = self.next_below(hook, at, &mut sources)?.is_some();
        Ok(Page { items, next: more.then(|| DeliveryId { event: at.0, hook, generation: at.1 }.to_string()) })
    }

    /// The active segment's settlements, and the sealed ones to be looked at when it is their turn, newest first.
    fn settle_sources(&self, hook: HookNo) -> Vec<Source> {
        let mut sources = Vec::new();
        {
            let state = self.state();
            let settles = state.windows().filter_map(|window| window.settles.get(&hook)).flatten();
            let keys = settles.map(|(no, generation, _)| (*no, *generation)).collect();
            sources.push(Source { last_event: EventNo(u64::MAX), settles: Settles::Loaded(keys) });
        }
        for slot in self.journal.slots().into_iter().rev() {
            if let Some(summary) = slot.summary() {
                sources.push(Source { last_event: summary.last_event(), settles: Settles::Slot(slot.clone()) });
            }
        }
        sources
    }

    /// The largest key below `at` that is owed or settled.
    fn next_below(&self, hook: HookNo, at: Key, sources: &mut [Source]) -> Result<Option<Key>, StoreError> {
        let mut best = self.state().hooks.get(&hook).and_then(|entry| entry.queue.last_before(at));
        for source in sources {
            // From here on everything is about older events than what was found.
            if best.is_some_and(|best| best.0 > source.last_event) {
                break;
            }
            if let Settles::Slot(slot) = &source.settles {
                let index = self.index(slot)?;
                source.settles = Settles::Loaded(index.settles(hook).map(|(no, generation, _)| (no, generation)).collect());
            }
            if let Settles::Loaded(keys) = &source.settles {
                best = best.max(keys.range(..at).next_back().copied());
            }
        }
        Ok(best)
    }

    /// A delivery's record, if it is in that state.
    fn delivery_if(&self, id: DeliveryId, wanted: Option<DeliveryState>) -> Result<Option<DeliveryRecord>, StoreError> {
        // What is owed is judged in memory, before anything is read.
        let (owed, _) = self.standing(id);
        if wanted.is_some() && owed.is_some() && owed != wanted {
            return Ok(None);
        }
        Ok(self.delivery(id)?.filter(|record| wanted.is_none_or(|wanted| record.state == wanted)))
    }

    /// Where an owed delivery stands, and when it is due.
    fn standing(&self, id: DeliveryId) -> (Option<DeliveryState>, Option<Timestamp>) {
        let state = self.state();
        let Some(queue) = state.hooks.get(&id.hook).map(|entry| &entry.queue) else { return (None, None) };
        let key = (id.event, id.generation);
        if !queue.owes(key) {
            return (None, None);
        }
        let waiting = queue.waiting(key);
        let standing = match waiting {
            _ if queue.is_running(key) => DeliveryState::Running,
            Some(_) => DeliveryState::Retrying,
            None => DeliveryState::Queued,
        };
        (Some(standing), waiting.filter(|_| standing == DeliveryState::Retrying).map(|waiting| waiting.due))
    }

    /// Where a delivery stands that is owed.
    pub(super) fn owed_state(&self, id: DeliveryId) -> Option<DeliveryState> {
        self.standing(id).0
    }

    /// How a dead letter came to be; None if it is none.
    pub(super) fn dead_letter_state(&self, id: DeliveryId) -> Result<Option<DeliveryState>, StoreError> {
        Ok(self.dead(id)?.map(|entry| dead_state(entry.dead.kind)))
    }

    pub(super) fn owes(&self, id: DeliveryId) -> bool {
        self.owed_state(id).is_some()
    }

    pub(super) fn is_running(&self, id: DeliveryId) -> bool {
        self.owed_state(id) == Some(DeliveryState::Running)
    }

    /// See `Store::delivery`.
    pub(super) fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryRecord>, StoreError> {
        let (owed, due) = self.standing(id);
        let story = self.story(id)?;
        let dead = if owed.is_none() { self.dead(id)? } else { None };
        let state = owed.or_else(|| dead.as_ref().map(|entry| dead_state(entry.dead.kind))).or(story.end);
        let Some(state) = state else { return Ok(None) };
        let mut attempts = story.attempts;
        if attempts.is_empty() {
            attempts.extend(dead.and_then(|entry| entry.dead.attempt.clone()));
        }
        Ok(Some(DeliveryRecord { id, event: self.event(id.event)?, state, due, attempts }))
    }

    /// What the kept settlements of a delivery say.
    fn story(&self, id: DeliveryId) -> Result<Story, StoreError> {
        let mut story = Story::default();
        for commit in self.settled_in(id)? {
            let Some(commit) = self.journal.commit(commit)? else { continue };
            for item in commit.items()?.into_iter().filter(|item| item.kind == Kind::Settle) {
                let Effect::Settle { id: of, verdict, attempt, .. } = commit.effect(item, &self.sealer)? else { continue };
                if of != id {
                    continue;
                }
                story.attempts.extend(attempt);
                story.end = end_of(&verdict, story.end);
            }
        }
        Ok(story)
    }

    /// The commits that settled a delivery, oldest first.
    fn settled_in(&self, id: DeliveryId) -> Result<Vec<CommitNo>, StoreError> {
        let key = (id.event, id.generation);
        let mut commits = BTreeSet::new();
        let of_index = |index: &Index, commits: &mut BTreeSet<CommitNo>| {
            commits.extend(index.settles(id.hook).filter(|(no, generation, _)| (*no, *generation) == key).map(|(.., commit)| commit));
        };
        for slot in self.journal.slots() {
            // Settlements come after the event, so segments that ended before it have none.
            if slot.summary().is_some_and(|summary| summary.last_event() >= id.event) {
                of_index(&*self.index(&slot)?, &mut commits);
            }
        }
        let state = self.state();
        let active = state.windows().filter_map(|window| window.settles.get(&id.hook)).flatten();
        commits.extend(active.filter(|(no, generation, _)| (*no, *generation) == key).map(|(.., commit)| *commit));
        Ok(commits.into_iter().collect())
    }

    /// A dead letter: memory, else catalog.
    fn dead(&self, id: DeliveryId) -> Result<Option<Arc<DeadEntry>>, StoreError> {
        if let Some(fresh) = self.state().dead.fresh.get(&id) {
            return Ok(fresh.clone());
        }
        self.catalog.get(&keys::dead(id))?.map(|row| read_dead(&row).map(Arc::new)).transpose()
    }

    /// See `Store::dead_letters`.
    pub(super) fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        offset: Option<&str>,
        size: usize,
    ) -> Result<Page<DeadLetter>, StoreError> {
        let size = size.clamp(1, PAGE_MAX);
        let mut below = parse_offset(offset)?;
        let mut items = Vec::new();
        let mut looked_at = 0;
        loop {
            let stretch = self.dead_below(below)?;
            let Some(last) = stretch.last().map(|(id, _)| *id) else { return Ok(Page { items, next: None }) };
            for (id, entry) in stretch {
                below = Some(id);
                looked_at += 1;
                if let Some(letter) = self.letter(id, &entry, filter)? {
                    items.push(letter);
                }
                if items.len() == size || (looked_at >= LOOKED_AT_MAX && id == last) {
                    let more = !self.dead_below(below)?.is_empty();
                    return Ok(Page { items, next: below.filter(|_| more).map(|id| id.to_string()) });
                }
            }
        }
    }

    /// The next dead letters below an id, newest first; at most a stretch.
    fn dead_below(&self, below: Option<DeliveryId>) -> Result<Vec<(DeliveryId, Arc<DeadEntry>)>, StoreError> {
        // By event first, as `DeliveryId` and the catalog's keys both sort.
        let mut found: BTreeMap<DeliveryId, Arc<DeadEntry>> = BTreeMap::new();
        let prefix = keys::prefix(Shelf::Dead);
        let skip = prefix.len();
        let to = below.map_or_else(|| [prefix.as_slice(), &[0xff; 17]].concat(), keys::dead);
        let fresh: Vec<_> = {
            let state = self.state();
            let fresh = state.dead.fresh.iter().rev().filter(|(id, _)| below.is_none_or(|below| **id < below));
            fresh.map(|(id, entry)| (*id, entry.clone())).collect()
        };
        let removed: BTreeSet<DeliveryId> = fresh.iter().filter(|(_, entry)| entry.is_none()).map(|(id, _)| *id).collect();
        self.catalog.range(skip, prefix, to, true, |key, row| {
            let id = Tail(key).dead().map_err(|what| StoreError::corrupt("catalog, dead letters", what))?;
            if !removed.contains(&id) {
                found.insert(id, Arc::new(read_dead(row)?));
            }
            Ok(found.len() < STRETCH)
        })?;
        found.extend(fresh.into_iter().filter_map(|(id, entry)| Some((id, entry?))));
        Ok(found.into_iter().rev().take(STRETCH).collect())
    }

    /// What is shown of a dead letter, if the filter wants it.
    fn letter(&self, id: DeliveryId, entry: &DeadEntry, filter: &DeadLetterFilter) -> Result<Option<DeadLetter>, StoreError> {
        let dead = &entry.dead;
        let wanted = filter.hook.is_none_or(|hook| hook == id.hook)
            && filter.kind.is_none_or(|kind| kind == dead.kind)
            && filter.code.as_ref().is_none_or(|code| has_code(dead, code))
            && filter.from.is_none_or(|from| dead.at >= from)
            && filter.to.is_none_or(|to| dead.at < to);
        if !wanted {
            return Ok(None);
        }
        let event = match &entry.brief {
            Some(brief) => Some(brief.clone()),
            None => self.event(id.event)?.map(|event| (&*event).into()),
        };
        let matches =
            |wanted: &Option<String>, has: Option<&Arc<str>>| wanted.as_ref().is_none_or(|wanted| has.is_some_and(|has| **has == **wanted));
        if !matches(&filter.source, event.as_ref().map(|e| &e.source)) || !matches(&filter.event, event.as_ref().map(|e| &e.name)) {
            return Ok(None);
        }
        let (kind, reason, at, attempt) = (dead.kind, dead.reason.clone(), dead.at, dead.attempt.clone());
        Ok(Some(DeadLetter { id, event, kind, reason, at, attempt }))
    }
}
