//! The order in which places are given out.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use crate::model::HookNo;
use crate::sandbox::gate::{Acquire, Gate, Place};

const A: HookNo = HookNo(1);
const B: HookNo = HookNo(2);
const C: HookNo = HookNo(3);

fn poll(acquire: &mut Acquire) -> Option<Place> {
    match pin!(acquire).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(place) => Some(place),
        Poll::Pending => None,
    }
}

#[test]
fn hooks_take_turns() {
    let gate = Gate::new(1);
    let held = gate.try_acquire(A).unwrap();
    assert!(gate.try_acquire(B).is_none());
    let mut waiting = [gate.acquire(A), gate.acquire(A), gate.acquire(A), gate.acquire(B)];
    assert!(waiting.iter_mut().all(|acquire| poll(acquire).is_none()));
    let mut order = Vec::new();
    let mut held = Some(held);
    while order.len() < 4 {
        drop(held.take());
        for (i, acquire) in waiting.iter_mut().enumerate() {
            if !order.contains(&i)
                && let Some(place) = poll(acquire)
            {
                order.push(i);
                held = Some(place);
            }
        }
    }
    // B came last and is served second.
    assert_eq!(order, [0, 3, 1, 2]);
    drop(held);
    assert_eq!(gate.held(), 0);
}

#[test]
fn a_hook_gets_no_second_place_while_another_waits_for_its_first() {
    let gate = Gate::new(2);
    let _of_a = gate.try_acquire(A).unwrap();
    let of_c = gate.try_acquire(C).unwrap();
    let (mut again, mut first) = (gate.acquire(A), gate.acquire(B));
    assert!(poll(&mut again).is_none() && poll(&mut first).is_none());
    drop(of_c);
    assert!(poll(&mut again).is_none());
    let of_b = poll(&mut first).expect("it is B's turn");
    drop(of_b);
    assert!(poll(&mut again).is_some(), "nobody else waits");
}

#[test]
fn who_gives_up_passes_the_place_on() {
    let gate = Gate::new(1);
    let held = gate.try_acquire(A).unwrap();
    let (mut first, mut second, mut third) = (gate.acquire(A), gate.acquire(B), gate.acquire(C));
    assert!(poll(&mut first).is_none() && poll(&mut second).is_none() && poll(&mut third).is_none());
    // One gives up while waiting, one after the place was granted to it and before it noticed.
    drop(second);
    drop(held);
    assert_eq!(gate.held(), 1);
    drop(first);
    assert!(poll(&mut third).is_some());
    assert_eq!(gate.held(), 0);
    assert!(gate.try_acquire(B).is_some());
}
