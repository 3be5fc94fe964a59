//! The changes that the one loop makes: of hooks, sources and handlers. Each was checked before; what is left is what needs order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::oneshot;

use super::{After, Loop};
use crate::model::{HandlerRecord, Hook, HookNo, HookState, SourceEvent};
use crate::pipeline::accept::Prepared;
use crate::pipeline::{Catalog, ChangeError, Installed};
use crate::store::{Change, Group, Redo};

/// One change and who waits for it.
pub(in crate::pipeline) struct Request {
    pub(in crate::pipeline) action: Action,
    pub(in crate::pipeline) answer: oneshot::Sender<ChangeResult>,
}

/// What whoever waits for a change is told.
pub(in crate::pipeline) type ChangeResult = Result<(), ChangeRefused>;

/// A change, prepared.
pub(in crate::pipeline) enum Action {
    /// A new hook; its number is given by the loop.
    Create {
        hook: Hook,
        ping: Option<PingOf>,
    },
    /// A changed hook, if it still has the revision that was changed. `resume` ends a pause by the host.
    Replace {
        hook: Hook,
        was: u64,
        resume: bool,
        ping: Option<PingOf>,
    },
    /// A hook goes; its ping may still be sent.
    Delete {
        hook: Arc<Hook>,
        ping: Option<PingOf>,
    },
    /// A hook that was only kept for its last ping is gone for good.
    Forget(HookNo),
    PutSources(Vec<(String, String, SourceEvent)>),
    DeleteSource {
        source: String,
        event: String,
    },
    PutHandler(Box<(HandlerRecord, Installed)>),
    /// What an operator, or a limit, has done about deliveries; `done` counts what still applied.
    Redo {
        wanted: Vec<Redo>,
        done: Arc<AtomicU64>,
    },
}

/// Makes the ping's event, once the hook has its number.
pub(in crate::pipeline) type PingOf = Box<dyn FnOnce(HookNo) -> Prepared + Send>;

/// Why the loop did not make a change.
#[derive(Debug)]
pub(in crate::pipeline) enum ChangeRefused {
    /// Somebody was faster: merge again.
    Conflict,
    /// For the caller.
    Error(ChangeError),
}

impl Loop {
    pub(super) fn decide_change(&self, action: Action, group: &mut Group<'_>, after: &mut After) -> ChangeResult {
        let catalog = self.pipeline.0.catalog.load();
        let ping = match action {
            Action::Create { mut hook, ping } => {
                if catalog.hook(hook.id).is_some() {
                    return Err(ChangeRefused::Error(ChangeError::DuplicateId(hook.id)));
                }
                name_is_free(&catalog, &hook)?;
                hook.no = group.next_hook_no();
                let no = hook.no;
                after.changed.push(no);
                group.change(Change::PutHook(hook));
                ping.map(|ping| ping(no))
            }
            Action::Replace { hook, was, resume, ping } => {
                let no = hook.no;
                if group.hook_revision(no) != Some(was) {
                    return Err(ChangeRefused::Conflict);
                }
                name_is_free(&catalog, &hook)?;
                group.change(Change::PutHook(hook));
                let state = self.state_of(no, after);
                if resume && state.paused_by_host.is_some() {
                    let state = HookState { paused_by_host: None, quarantines: 0, ..state };
                    after.states.insert(no, state.clone());
                    group.change(Change::PutHookState(no, state));
                }
                after.woken.push(no);
                after.changed.push(no);
                ping.map(|ping| ping(no))
            }
            Action::Delete { hook, ping } => {
                after.changed.push(hook.no);
                group.change(Change::DeleteHook(hook.no));
                ping.map(|ping| ping(retire(&hook, group)))
            }
            Action::Forget(hook) => {
                group.change(Change::DeleteHook(hook));
                return Ok(());
            }
            Action::PutSources(sources) => {
                after.sources_changed = true;
                for (source, event, about) in sources {
                    group.change(Change::PutSource { source, event, about });
                }
                return Ok(());
            }
            Action::DeleteSource { source, event } => {
                after.sources_changed = true;
                group.change(Change::DeleteSource { source, event });
                return Ok(());
            }
            Action::PutHandler(both) => {
                let (record, installed) = *both;
                group.change(Change::PutHandler(record));
                after.installed.push(installed);
                return Ok(());
            }
            Action::Redo { wanted, done } => {
                let now = self.pipeline.0.clock.now();
                for redo in wanted {
                    let hook = redo.delivery().hook;
                    if group.redo(redo, now) {
                        done.fetch_add(1, Ordering::Relaxed);
                        after.woken.push(hook);
                    }
                }
                return Ok(());
            }
        };
        after.hooks_changed = true;
        if let Some(ping) = ping {
            self.take(ping, group, after);
        }
        Ok(())
    }
}

/// What waits for a deleted hook goes with it. Its last ping is owed to a copy under a number of its own, which nobody sees and which is forgotten
/// when the ping is settled.
fn retire(hook: &Hook, group: &mut Group<'_>) -> HookNo {
    let copy = Hook { no: group.next_hook_no(), ..hook.clone() };
    let no = copy.no;
    group.change(Change::PutHook(copy));
    group.change(Change::PutHookState(no, HookState { retired: true, ..HookState::default() }));
    no
}

fn name_is_free(catalog: &Catalog, hook: &Hook) -> Result<(), ChangeRefused> {
    let Some(name) = &hook.name else { return Ok(()) };
    match catalog.hook_by_name(name) {
        Some(other) if other.id != hook.id => Err(ChangeRefused::Error(ChangeError::NameTaken(name.clone()))),
        Some(_) | None => Ok(()),
    }
}
