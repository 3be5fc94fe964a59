//! What was accepted and is still kept, with what was decided about it: events by id, by time, and the deliveries that came of them.
//!
//! There is no index from ids to events. An id carries the time at which its event came in, and events are numbered in the order in which they were
//! accepted, so an id is looked for among the commits of the minute behind it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::StoreError;
use super::item::{Commit, Effect, Kind};
use super::nouns::{DeliveryRecord, DeliveryState, PastEvent, Settled};
use super::record::read_event_id;
use super::shared::Shared;
use crate::model::{CommitNo, DeliveryId, EventId, EventNo, Generation, HookNo, Timestamp};

/// An event is committed at most this long after its id was made; one that waited longer is not found by its id.
const LATE: Duration = Duration::from_secs(60);
/// Commits that are read at a time: memory is bounded, and a group of events is at most a few megabytes.
const COMMITS: usize = 4;
/// Events whose ids one request may look at, over all the ids that it asks for.
const LOOKED_AT_MAX: usize = 2_000_000;

/// A stretch of events, and where it ends: the next one begins there.
pub(super) struct Stretch {
    commits: Vec<Arc<Commit>>,
    /// Events that were copied out of segments that are gone.
    moved: Vec<(EventNo, Arc<Commit>)>,
    from: EventNo,
    next: Option<EventNo>,
}

/// When events were accepted, sampled: a copy, so that nobody waits while ids are looked for. Clocks are set back now and then, so both ends of a range
/// are found among running maxima and minima, which only rise.
struct Times {
    numbers: Vec<EventNo>,
    /// The latest time up to here.
    latest: Vec<Timestamp>,
    /// The earliest time from here on.
    earliest: Vec<Timestamp>,
    next: EventNo,
}

impl Times {
    /// An event of this time, or a later one, has this number or a higher one.
    fn begin(&self, from: Timestamp) -> EventNo {
        // The sample before stands for the events up to the next one. Below the first sample there are only copies.
        let at = self.latest.partition_point(|at| *at < from);
        at.checked_sub(1).map_or(EventNo(0), |at| self.numbers[at])
    }

    /// An event whose id says this time, or an earlier one, has a lower number.
    fn end(&self, to: Timestamp) -> EventNo {
        let end = to.plus(LATE);
        let at = self.earliest.partition_point(|at| *at < end);
        self.numbers.get(at).copied().unwrap_or(self.next)
    }
}

/// `evt_…` tells when.
fn made_at(id: &EventId) -> Option<Timestamp> {
    id.unix_millis().map(Timestamp)
}

impl Shared {
    /// The next commits with events from `from` on.
    fn stretch(&self, from: EventNo) -> Result<Stretch, StoreError> {
        let (entries, next) = self.accepts_from(from)?;
        let mut commits = Vec::with_capacity(entries.len());
        for no in entries {
            // One that cannot be read was lost to damage; the start has said so.
            commits.extend(self.journal.commit(no)?);
        }
        let moved: Vec<(EventNo, CommitNo)> = {
            let state = self.state();
            state.moved.range(from..next.unwrap_or(EventNo(u64::MAX))).map(|(no, commit)| (*no, *commit)).collect()
        };
        let here: HashSet<EventNo> = commits.iter().flat_map(|commit| accepted_in(commit)).collect();
        let mut copies = Vec::new();
        for (no, commit) in moved.into_iter().filter(|(no, _)| !here.contains(no)) {
            copies.extend(self.journal.commit(commit)?.map(|commit| (no, commit)));
        }
        Ok(Stretch { commits, moved: copies, from, next })
    }

    /// Commits that accepted events from `from` on, and the first event behind them; none at the end.
    fn accepts_from(&self, from: EventNo) -> Result<(Vec<CommitNo>, Option<EventNo>), StoreError> {
        let take = |accepts: &[(EventNo, CommitNo)], last: EventNo| {
            let at = accepts.partition_point(|(first, _)| *first <= from).saturating_sub(1);
            let rest = &accepts[at..];
            let next = rest.get(COMMITS).map_or(last.next(), |(first, _)| *first);
            (rest.iter().take(COMMITS).map(|(_, commit)| *commit).collect(), Some(next))
        };
        for slot in self.journal.slots() {
            let Some(summary) = slot.summary().filter(|summary| summary.events > 0 && summary.last_event() >= from) else { continue };
            return Ok(take(self.index(&slot)?.accepts(), summary.last_event()));
        }
        let state = self.state();
        let window = state.windows().find(|window| window.summary.events > 0 && window.summary.last_event() >= from);
        Ok(window.map_or((Vec::new(), None), |window| take(&window.accepts, window.summary.last_event())))
    }

    /// See `Store::past_events`.
    pub(super) fn past_events(&self, from: EventNo) -> Result<(Vec<PastEvent>, Option<EventNo>), StoreError> {
        let stretch = self.stretch(from)?;
        let mut events = Vec::new();
        for (no, commit) in &stretch.moved {
            events.extend(past(commit, |found| found == *no)?);
        }
        for commit in &stretch.commits {
            events.extend(past(commit, |no| no >= stretch.from)?);
        }
        events.sort_unstable_by_key(|past| past.event.no);
        events.dedup_by_key(|past| past.event.no);
        Ok((events, stretch.next))
    }

    /// See `Store::past_before`.
    pub(super) fn past_before(&self, before: EventNo) -> Result<Option<EventNo>, StoreError> {
        let moved = self.state().moved.range(..before).next_back().map(|(no, _)| *no);
        let of_commit = |accepts: &[(EventNo, CommitNo)]| {
            let below = accepts.partition_point(|(first, _)| *first < before);
            accepts.get(below.checked_sub(COMMITS.min(below).max(1))?).map(|(first, _)| *first)
        };
        let in_memory = {
            let state = self.state();
            let windows: Vec<_> = state.windows().collect();
            let newest = windows.into_iter().rev().find(|window| window.summary.events > 0 && window.summary.first_event < before);
            newest.and_then(|window| of_commit(&window.accepts))
        };
        let mut found = in_memory;
        if found.is_none() {
            let newest = self
                .journal
                .slots()
                .into_iter()
                .rev()
                .find(|slot| slot.summary().is_some_and(|summary| summary.events > 0 && summary.first_event < before));
            if let Some(slot) = newest {
                found = of_commit(self.index(&slot)?.accepts());
            }
        }
        // What was copied out of segments that are gone lies below all others, or between them.
        Ok(found.max(moved))
    }

    /// See `Store::event_numbers`.
    pub(super) fn event_numbers(&self, from: Option<Timestamp>, to: Option<Timestamp>) -> (EventNo, EventNo) {
        let times = self.times();
        (from.map_or(EventNo(0), |from| times.begin(from)), to.map_or(times.next, |to| times.end(to)))
    }

    fn times(&self) -> Times {
        let state = self.state();
        let mut times = Times { numbers: Vec::new(), latest: Vec::new(), earliest: Vec::new(), next: state.next_event };
        let mut latest = Timestamp(i64::MIN);
        for (no, at) in &state.samples {
            latest = latest.max(*at);
            times.numbers.push(*no);
            times.latest.push(latest);
            times.earliest.push(*at);
        }
        drop(state);
        let mut earliest = Timestamp(i64::MAX);
        for at in times.earliest.iter_mut().rev() {
            earliest = earliest.min(*at);
            *at = earliest;
        }
        times
    }

    /// See `Store::find_events`.
    pub(super) fn find_events(&self, ids: &[EventId]) -> Result<Vec<Option<PastEvent>>, StoreError> {
        let mut wanted: Vec<(Timestamp, usize)> = ids.iter().enumerate().filter_map(|(at, id)| Some((made_at(id)?, at))).collect();
        wanted.sort_unstable();
        let mut found: Vec<Option<PastEvent>> = vec![None; ids.len()];
        let mut looked_at = 0;
        let times = self.times();
        let mut rest = wanted.into_iter().peekable();
        while let Some((at, index)) = rest.next() {
            let (mut from, mut end) = (times.begin(at), times.end(at));
            let mut open: HashMap<&str, Vec<usize>> = HashMap::from([(ids[index].as_str(), vec![index])]);
            // Ids whose stretches overlap are looked for together.
            while let Some((at, index)) = rest.next_if(|(at, _)| times.begin(*at) <= end) {
                end = end.max(times.end(at));
                open.entry(ids[index].as_str()).or_default().push(index);
            }
            while !open.is_empty() && from < end {
                let stretch = self.stretch(from)?;
                looked_at += look(&stretch, &mut open, &mut found)?;
                if looked_at > LOOKED_AT_MAX {
                    let what = format!("more than {LOOKED_AT_MAX} events were looked at for these ids; ask for fewer of them at a time");
                    return Err(StoreError::Conflict(what));
                }
                let Some(next) = stretch.next else { break };
                from = next;
            }
        }
        Ok(found)
    }

    /// See `Store::deliveries_of`.
    pub(super) fn deliveries_of(&self, past: &PastEvent) -> Result<Vec<DeliveryRecord>, StoreError> {
        let no = past.event.no;
        let mut ids: BTreeSet<DeliveryId> =
            past.owes.iter().map(|hook| DeliveryId { event: no, hook: *hook, generation: Generation(0) }).collect();
        ids.extend(self.state().owed_of(no).into_iter().map(|(id, _)| id));
        for slot in self.journal.slots() {
            if slot.summary().is_some_and(|summary| summary.last_event() >= no) {
                ids.extend(self.index(&slot)?.settles_of_event(no));
            }
        }
        {
            let state = self.state();
            for (hook, settles) in state.windows().flat_map(|window| &window.settles) {
                let of_event = settles.iter().filter(|(event, ..)| *event == no);
                ids.extend(of_event.map(|(_, generation, _)| DeliveryId { event: no, hook: *hook, generation: *generation }));
            }
        }
        let mut records = Vec::with_capacity(ids.len());
        for id in ids {
            records.push(match self.delivery(id)? {
                Some(record) => record,
                // Neither owed nor settled: what waited for a hook goes with it.
                None => {
                    let (event, state) = (Some(past.event.clone()), DeliveryState::Canceled);
                    DeliveryRecord { id, event, state, due: None, attempts: Vec::new() }
                }
            });
        }
        Ok(records)
    }

    /// See `Store::generations`.
    pub(super) fn generations(&self, hook: HookNo, first: EventNo, last: EventNo) -> Result<BTreeMap<EventNo, Generation>, StoreError> {
        let mut newest: BTreeMap<EventNo, Generation> = BTreeMap::new();
        let mut note = |no: EventNo, generation: Generation| {
            if first <= no && no <= last {
                let known = newest.entry(no).or_insert(generation);
                *known = generation.max(*known);
            }
        };
        for slot in self.journal.slots() {
            if slot.summary().is_some_and(|summary| summary.last_event() >= first) {
                self.index(&slot)?.settles_between(hook, first, last).for_each(|(no, generation, _)| note(no, generation));
            }
        }
        let state = self.state();
        let active = state.windows().filter_map(|window| window.settles.get(&hook)).flatten();
        active.for_each(|(no, generation, _)| note(*no, *generation));
        Ok(newest)
    }

    /// See `Store::latest_states`.
    pub(super) fn latest_states(&self, events: &[&PastEvent]) -> Result<Vec<Vec<(DeliveryId, DeliveryState)>>, StoreError> {
        let settled = self.settled_commits(events)?;
        let mut latest: Vec<Vec<DeliveryId>> = Vec::with_capacity(events.len());
        for past in events {
            let no = past.event.no;
            let of_hook = |hook: &HookNo| {
                let first = DeliveryId { event: no, hook: *hook, generation: Generation(0) };
                let last = DeliveryId { generation: Generation(u32::MAX), ..first };
                let settled = settled.range(first..=last).next_back().map(|(id, _)| *id);
                let state = self.state();
                let owed = state.hooks.get(hook).and_then(|entry| entry.queue.of_event(no).into_iter().max());
                settled.into_iter().chain(owed.map(|(_, generation)| DeliveryId { generation, ..first })).max().unwrap_or(first)
            };
            latest.push(past.owes.iter().map(of_hook).collect());
        }
        let ends = self.ends(&settled, &latest.iter().flatten().copied().collect())?;
        latest.into_iter().map(|ids| ids.into_iter().map(|id| Ok((id, self.now_or_end(id, &ends)?))).collect()).collect()
    }

    fn now_or_end(&self, id: DeliveryId, ends: &HashMap<DeliveryId, DeliveryState>) -> Result<DeliveryState, StoreError> {
        if let Some(owed) = self.owed_state(id) {
            return Ok(owed);
        }
        Ok(match ends.get(&id) {
            Some(end) => *end,
            None => self.dead_letter_state(id)?.unwrap_or(DeliveryState::Canceled),
        })
    }

    /// The commits that settled these events' deliveries.
    fn settled_commits(&self, events: &[&PastEvent]) -> Result<BTreeMap<DeliveryId, BTreeSet<CommitNo>>, StoreError> {
        let mut wanted: BTreeMap<HookNo, BTreeSet<EventNo>> = BTreeMap::new();
        for past in events {
            for hook in &past.owes {
                wanted.entry(*hook).or_default().insert(past.event.no);
            }
        }
        let mut settled: BTreeMap<DeliveryId, BTreeSet<CommitNo>> = BTreeMap::new();
        let mut note = |hook: HookNo, (event, generation, commit): (EventNo, Generation, CommitNo)| {
            settled.entry(DeliveryId { event, hook, generation }).or_default().insert(commit);
        };
        let oldest = events.iter().map(|past| past.event.no).min().unwrap_or(EventNo(u64::MAX));
        for slot in self.journal.slots() {
            if slot.summary().is_none_or(|summary| summary.last_event() < oldest) {
                continue;
            }
            let index = self.index(&slot)?;
            for (hook, numbers) in &wanted {
                numbers.iter().for_each(|no| index.settles_between(*hook, *no, *no).for_each(|settle| note(*hook, settle)));
            }
        }
        let state = self.state();
        for window in state.windows() {
            for (hook, numbers) in &wanted {
                let settles = window.settles.get(hook).into_iter().flatten();
                settles.filter(|(no, ..)| numbers.contains(no)).for_each(|settle| note(*hook, *settle));
            }
        }
        Ok(settled)
    }

    /// How deliveries ended. Each commit is read once, whatever it settles.
    fn ends(
        &self,
        settled: &BTreeMap<DeliveryId, BTreeSet<CommitNo>>,
        wanted: &HashSet<DeliveryId>,
    ) -> Result<HashMap<DeliveryId, DeliveryState>, StoreError> {
        let commits: BTreeSet<CommitNo> =
            settled.iter().filter(|(id, _)| wanted.contains(id)).flat_map(|(_, commits)| commits).copied().collect();
        let mut ends = HashMap::new();
        for no in commits {
            let Some(commit) = self.journal.commit(no)? else { continue };
            for item in commit.items()?.into_iter().filter(|item| item.kind == Kind::Settle) {
                let Effect::Settle { id, verdict, .. } = commit.effect(item, &self.sealer)? else { continue };
                if let Some(end) = end_of(&verdict, ends.get(&id).copied()).filter(|_| wanted.contains(&id)) {
                    ends.insert(id, end);
                }
            }
        }
        Ok(ends)
    }
}

/// What a further settlement makes of how a delivery ended: the first end counts, but what was delivered all the same was delivered.
pub(super) fn end_of(verdict: &Settled, before: Option<DeliveryState>) -> Option<DeliveryState> {
    match verdict {
        Settled::Delivered => Some(DeliveryState::Delivered),
        Settled::Canceled => before.or(Some(DeliveryState::Canceled)),
        Settled::Dead { kind, .. } => before.or(Some(super::listing::dead_state(*kind))),
        Settled::RetryAt { .. } | Settled::Released => before,
    }
}

/// The numbers of the events that a commit accepted.
fn accepted_in(commit: &Commit) -> Vec<EventNo> {
    commit.items().map(|items| items.into_iter().filter(|item| item.kind == Kind::Accept).map(|item| item.no).collect()).unwrap_or_default()
}

/// The events of a commit that are wanted, with what was decided about each.
fn past(commit: &Commit, wanted: impl Fn(EventNo) -> bool) -> Result<Vec<PastEvent>, StoreError> {
    let mut events = Vec::new();
    for item in commit.items()?.into_iter().filter(|item| matches!(item.kind, Kind::Accept | Kind::Copy)) {
        let Some(no) = commit.event_no(item)?.filter(|no| wanted(*no)) else { continue };
        let Some(event) = commit.event(item)? else { continue };
        let note = commit.note(item)?;
        let accepted_at = made_at(&event.id).unwrap_or(commit.at);
        debug_assert_eq!(event.no, no);
        events.push(PastEvent { event, accepted_at, owes: note.owes, not_queued: note.not_queued });
    }
    Ok(events)
}

/// Takes out of `open` what a stretch holds. How many events were looked at.
fn look(stretch: &Stretch, open: &mut HashMap<&str, Vec<usize>>, found: &mut [Option<PastEvent>]) -> Result<usize, StoreError> {
    let mut looked_at = 0;
    let moved = stretch.moved.iter().map(|(no, commit)| (commit, Some(*no)));
    for (commit, only) in stretch.commits.iter().map(|commit| (commit, None)).chain(moved) {
        let mut hits = HashSet::new();
        for item in commit.items()?.into_iter().filter(|item| matches!(item.kind, Kind::Accept | Kind::Copy)) {
            looked_at += 1;
            let (bytes, _) = commit.event_bytes(item)?;
            if read_event_id(bytes).is_some_and(|id| open.contains_key(&*id)) {
                hits.extend(commit.event_no(item)?.filter(|no| only.is_none_or(|only| only == *no)));
            }
        }
        if hits.is_empty() {
            continue;
        }
        for event in past(commit, |no| hits.contains(&no))? {
            for at in open.remove(event.event.id.as_str()).into_iter().flatten() {
                found[at] = Some(event.clone());
            }
        }
    }
    Ok(looked_at)
}
