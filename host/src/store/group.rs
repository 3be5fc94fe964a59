//! A group: what is committed together. It sees the committed memory and its own decisions.

use std::collections::HashMap;

use super::StoreError;
use super::claim::Claim;
use super::item::{Body, Effect};
use super::nouns::{Accept, Change, ContentHash, Durability, Fingerprint, Remembered, Settled, Settlement};
use super::record::AcceptNote;
use super::shared::Shared;
use super::throttle::{Mark, MarkKey};
use super::writer::{Ready, Writer};
use crate::model::{CommitNo, DeliveryId, Event, EventId, EventNo, HookNo, ThrottleKey, ThrottleMark, Timestamp};

/// Hooks that matched and were not queued, kept per event.
const NOT_QUEUED_MAX: usize = 256;

/// What is decided and not yet committed. Dropped, nothing of it happened.
pub struct Group<'a> {
    writer: &'a mut Writer,
    body: Body,
    effects: Vec<Effect>,
    events: Vec<(Event, usize)>,
    first_event: EventNo,
    next_hook: HookNo,
    /// Settled, or given back, when the commit is made.
    claims: Vec<(Claim, bool)>,
    keys: HashMap<Fingerprint, (ContentHash, EventId, u32)>,
    marks: HashMap<MarkKey, Mark>,
    /// None: deleted.
    hooks: HashMap<HookNo, Option<u64>>,
    /// It holds something that must be synced before it counts.
    urgent: bool,
    /// Sealing a config failed; the commit will say so.
    failed: Option<StoreError>,
}

impl<'a> Group<'a> {
    pub(super) fn new(writer: &'a mut Writer) -> Self {
        let (first_event, next_hook) = {
            let state = writer.shared.state();
            (state.next_event, state.next_hook)
        };
        Self {
            writer,
            body: Body::default(),
            effects: Vec::new(),
            events: Vec::new(),
            first_event,
            next_hook,
            claims: Vec::new(),
            keys: HashMap::new(),
            marks: HashMap::new(),
            hooks: HashMap::new(),
            urgent: false,
            failed: None,
        }
    }

    /// What is remembered of a key, for as long as keys are. An error of a key file counts as not remembered: an event too many, never one too few.
    pub fn remembered(&self, key: &Fingerprint) -> Option<Remembered> {
        if let Some((content, event, deliveries)) = self.keys.get(key) {
            return Some(Remembered { content: *content, event: event.clone(), deliveries: *deliveries });
        }
        let shared = &self.writer.shared;
        let age = i64::try_from(shared.limits.keys_age.as_millis()).unwrap_or(i64::MAX / 4);
        let oldest = Timestamp(shared.clock.now().0.saturating_sub(age));
        if let Some(entry) = shared.state().window.keys.get(key) {
            return (entry.at >= oldest).then(|| entry.remembered.clone());
        }
        shared.keys.get(key, oldest).unwrap_or_else(|error| {
            tracing::warn!(%error, "a file of remembered keys cannot be read");
            None
        })
    }

    /// A hook's throttle mark, if it was made under this revision of the hook.
    pub fn throttle_mark(&self, hook: HookNo, revision: u64, key: &ThrottleKey) -> Option<ThrottleMark> {
        let mark = self.marks.get(&(hook, *key)).copied().or_else(|| self.writer.shared.state().throttle.get((hook, *key)));
        mark.filter(|(of, _)| *of == revision).map(|(_, mark)| mark)
    }

    /// Is there such a hook?
    pub fn hook_exists(&self, hook: HookNo) -> bool {
        self.hook_revision(hook).is_some()
    }

    /// The hook's revision; None if there is no such hook.
    pub fn hook_revision(&self, hook: HookNo) -> Option<u64> {
        match self.hooks.get(&hook) {
            Some(revision) => *revision,
            None => self.writer.shared.state().hooks.get(&hook).map(|entry| entry.hook.revision),
        }
    }

    /// The number that the next new hook gets.
    pub fn next_hook_no(&self) -> HookNo {
        self.next_hook
    }

    /// Accepts an event and gives its number, which counts once the commit is made.
    pub fn accept(&mut self, accept: Accept) -> EventNo {
        let Accept { event, mut owes, mut not_queued, remember, throttle } = accept;
        let no = EventNo(self.first_event.0 + self.events.len() as u64);
        owes.retain(|hook| self.hook_exists(*hook));
        not_queued.truncate(NOT_QUEUED_MAX);
        if let Some((key, content)) = remember {
            let deliveries = u32::try_from(owes.len()).unwrap_or(u32::MAX);
            self.keys.insert(key, (content, event.event.id.clone(), deliveries));
        }
        self.marks.extend(throttle.iter().map(|(hook, revision, key, mark)| ((*hook, *key), (*revision, *mark))));
        let note = AcceptNote { owes, not_queued, remember: remember.map(|(key, content)| (key.0, content.0)), throttle };
        self.body.accept(&event.bytes, &note);
        self.events.push((Event { no, ..event.event }, note.owes.len()));
        let id = remember.is_some().then(|| self.events[self.events.len() - 1].0.id.clone());
        self.effects.push(Effect::Accept { no, id, note });
        self.urgent = true;
        no
    }

    /// Settles a claim. If the commit fails the delivery is as it was before the claim.
    pub fn settle(&mut self, claim: Claim, settlement: Settlement) {
        let Settlement { verdict, attempt, hook_state } = settlement;
        if verdict == Settled::Released && attempt.is_none() && hook_state.is_none() {
            self.claims.push((claim, false));
            return;
        }
        self.body.settle(claim.id, &verdict, attempt.as_ref(), hook_state.as_ref());
        self.effects.push(Effect::Settle { id: claim.id, verdict, attempt, hook_state });
        self.claims.push((claim, true));
    }

    /// Changes something of the operator's.
    pub fn change(&mut self, change: Change) {
        if let Err(e) = self.body.change(&change, &self.writer.shared.sealer) {
            self.failed.get_or_insert(e);
        }
        match &change {
            Change::PutHook(hook) => {
                self.hooks.insert(hook.no, Some(hook.revision));
                self.next_hook = self.next_hook.max(hook.no.next());
            }
            Change::DeleteHook(no) => {
                self.hooks.insert(*no, None);
            }
            Change::PutHookState(..)
            | Change::PutSource { .. }
            | Change::DeleteSource { .. }
            | Change::PutHandler(_)
            | Change::DeleteHandler(_)
            | Change::Cancel(_)
            | Change::Replay(_)
            | Change::Forget(_) => {}
        }
        self.effects.push(Effect::Change(change));
        self.urgent = true;
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.writer.shared
    }

    pub(super) fn put_settle(&mut self, id: DeliveryId, verdict: &Settled) {
        self.body.settle(id, verdict, None, None);
        self.urgent = true;
    }

    pub(super) fn put_effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Is there nothing to write?
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// Bytes of what there is to write, before compression.
    pub fn bytes(&self) -> usize {
        self.body.len()
    }

    /// Commits. None if there was nothing to write. On an error nothing in memory has changed, and the claims are given back.
    pub fn commit(self, durability: Durability) -> Result<Option<CommitNo>, StoreError> {
        let Self { writer, body, effects, events, first_event, claims, urgent, failed, .. } = self;
        if let Some(error) = failed {
            return Err(error);
        }
        if body.is_empty() {
            return Ok(None);
        }
        // Nothing may be claimed from a commit that is not synced, and an admin call is answered after the sync.
        let durability = if urgent { Durability::Synced } else { durability };
        let no = writer.commit(Ready { body, effects, events, first_event, durability })?;
        for (claim, settled) in claims {
            if settled {
                claim.settled();
            }
        }
        Ok(Some(no))
    }
}
