//! A bounded number of places, given out fairly between hooks.
//!
//! Two things are bounded this way: guests that run (a place is held only while the guest is being polled: it is given back at every epoch
//! yield and at every host call that waits), and instances that live. When a place comes free, the waiting hook that holds the fewest gets it,
//! and among equals the one that has waited longest for its turn: a hook holds at most one place while another hook, holding none, waits.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::future::BoxFuture;

use crate::model::HookNo;

/// The places.
#[derive(Debug)]
pub(super) struct Gate {
    places: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// Places held by each hook; no entry for zero.
    held: HashMap<HookNo, usize>,
    /// Hooks with somebody waiting, each once, in the order of their turns.
    turns: VecDeque<HookNo>,
    /// Who waits for each hook, in order of arrival. Bounded by whoever bounds the callers: living instances, attempts in flight.
    queues: HashMap<HookNo, VecDeque<u64>>,
    waiters: HashMap<u64, Waiter>,
    next_ticket: u64,
}

#[derive(Debug)]
enum Waiter {
    Waiting(Waker),
    /// The place is already counted as held by the waiter's hook.
    Granted,
}

impl Gate {
    /// `places` is at least one.
    pub(super) fn new(places: usize) -> Arc<Self> {
        let places = places.max(1);
        let state = State {
            free: places,
            held: HashMap::new(),
            turns: VecDeque::new(),
            queues: HashMap::new(),
            waiters: HashMap::new(),
            next_ticket: 0,
        };
        Arc::new(Self { places, state: Mutex::new(state) })
    }

    /// Places held now.
    pub(super) fn held(&self) -> usize {
        self.places - self.state().free
    }

    /// A future that resolves to a place. It may be polled again after that, for another one.
    pub(super) fn acquire(self: &Arc<Self>, hook: HookNo) -> Acquire {
        Acquire { gate: self.clone(), hook, ticket: None }
    }

    /// A place, if one is free.
    pub(super) fn try_acquire(self: &Arc<Self>, hook: HookNo) -> Option<Place> {
        self.state().take(hook).then(|| Place { gate: self.clone(), hook })
    }

    /// Nothing panics while the lock is held; a poisoned lock would only mean that a test died.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, hook: HookNo) {
        let waker = self.state().give_back(hook);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl State {
    /// Takes a free place. Nobody waits while one is free.
    fn take(&mut self, hook: HookNo) -> bool {
        if self.free == 0 {
            return false;
        }
        self.free -= 1;
        *self.held.entry(hook).or_default() += 1;
        true
    }

    fn queue(&mut self, hook: HookNo, waker: Waker) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiters.insert(ticket, Waiter::Waiting(waker));
        let queue = self.queues.entry(hook).or_default();
        if queue.is_empty() {
            self.turns.push_back(hook);
        }
        queue.push_back(ticket);
        ticket
    }

    /// Hands the place to whose turn it is. The waker is woken by the caller, outside the lock.
    fn give_back(&mut self, hook: HookNo) -> Option<Waker> {
        if let Some(held) = self.held.get_mut(&hook) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&hook);
            }
        }
        self.free += 1;
        let next = self.whose_turn()?;
        let ticket = self.leave_queue(next)?;
        self.take(next);
        match self.waiters.insert(ticket, Waiter::Granted) {
            Some(Waiter::Waiting(waker)) => Some(waker),
            Some(Waiter::Granted) | None => None,
        }
    }

    /// The hook with the fewest places; the scan ends at the first that has none, after at most as many steps as there are places.
    fn whose_turn(&self) -> Option<HookNo> {
        let mut best: Option<(usize, HookNo)> = None;
        for hook in &self.turns {
            let held = self.held.get(hook).copied().unwrap_or(0);
            if held == 0 {
                return Some(*hook);
            }
            if best.is_none_or(|(fewest, _)| held < fewest) {
                best = Some((held, *hook));
            }
        }
        best.map(|(_, hook)| hook)
    }

    /// The first in a hook's queue; the hook goes to the end of the turns if more of it wait.
    fn leave_queue(&mut self, hook: HookNo) -> Option<u64> {
        self.turns.retain(|other| *other != hook);
        let queue = self.queues.get_mut(&hook)?;
        let ticket = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&hook);
        } else {
            self.turns.push_back(hook);
        }
        ticket
    }

    /// Gives up waiting. True if the place had been granted already and has to be given back.
    fn cancel(&mut self, hook: HookNo, ticket: u64) -> bool {
        match self.waiters.remove(&ticket) {
            Some(Waiter::Granted) => true,
            Some(Waiter::Waiting(_)) => {
                if let Some(queue) = self.queues.get_mut(&hook) {
                    queue.retain(|other| *other != ticket);
                    if queue.is_empty() {
                        self.queues.remove(&hook);
                        self.turns.retain(|other| *other != hook);
                    }
                }
                false
            }
            None => false,
        }
    }
}

/// A place that is held. Given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    gate: Arc<Gate>,
    hook: HookNo,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gate.give_back(self.hook);
    }
}

/// See [`Gate::acquire`].
#[derive(Debug)]
pub(super) struct Acquire {
    gate: Arc<Gate>,
    hook: HookNo,
    ticket: Option<u64>,
}

impl Future for Acquire {
    type Output = Place;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Place> {
        let mut state = self.gate.state();
        let ticket = match self.ticket {
            None if state.take(self.hook) => None,
            None => Some(state.queue(self.hook, context.waker().clone())),
            Some(ticket) => match state.waiters.get_mut(&ticket) {
                Some(Waiter::Waiting(waker)) => {
                    waker.clone_from(context.waker());
                    Some(ticket)
                }
                Some(Waiter::Granted) | None => {
                    state.waiters.remove(&ticket);
                    None
                }
            },
        };
        drop(state);
        self.ticket = ticket;
        if ticket.is_some() { Poll::Pending } else { Poll::Ready(Place { gate: self.gate.clone(), hook: self.hook }) }
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket
            && self.gate.state().cancel(self.hook, ticket)
        {
            self.gate.give_back(self.hook);
        }
    }
}

/// A future that is polled only while it holds a place.
pub(super) struct InTurn<'a, T> {
    acquire: Acquire,
    work: BoxFuture<'a, T>,
}

impl<'a, T> InTurn<'a, T> {
    pub(super) fn new(gate: &Arc<Gate>, hook: HookNo, work: BoxFuture<'a, T>) -> Self {
        Self { acquire: gate.acquire(hook), work }
    }
}

impl<T> Future for InTurn<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match Pin::new(&mut self.acquire).poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(_place) => self.work.as_mut().poll(context),
        }
    }
}
