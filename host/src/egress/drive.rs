//! Moving a connection and the request on it within one task.
//!
//! Hyper's request and connection are two futures that wake each other at each step. Left to the runtime, each of these wakes would put the task
//! back into the queue and rouse another thread for it, about two system calls a request. So they get a waker of their own: what wakes it
//! while they are being polled only causes one more round; what wakes it at any other time is passed on to the task.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Rounds before other tasks get a turn. A small answer takes three.
const ROUNDS_MAX: usize = 32;

/// What moves a connection; done when it has ended.
pub(super) type Moving = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// A connection that moves while somebody waits for something of it.
pub(super) struct Driver {
    /// None when it has ended.
    moving: Option<Moving>,
    bell: Arc<Bell>,
    /// Rings the bell.
    waker: Waker,
}

impl Driver {
    pub(super) fn new(moving: Moving) -> Self {
        let bell = Arc::new(Bell { state: AtomicU8::new(Bell::POLLED), task: Mutex::new(Waker::noop().clone()) });
        Self { moving: Some(moving), waker: Arc::clone(&bell).into(), bell }
    }

    /// Moves what can be moved without waiting. False if the connection has ended.
    pub(super) fn settle(&mut self) -> bool {
        // Nobody waits: until the next `during`, which looks at everything anew, rings go unheard.
        self.bell.begin_round();
        self.step()
    }

    /// Does `work` while moving the connection. None if the connection ended and `work` takes no notice.
    pub(super) async fn during<T>(&mut self, mut work: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        poll_fn(|context| {
            self.bell.answer_to(context.waker());
            for _ in 0..ROUNDS_MAX {
                self.bell.begin_round();
                if let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(&self.waker)) {
                    return Poll::Ready(Some(done));
                }
                if !self.step() {
                    // Whoever waits for the connection has been told by its end.
                    return match work.as_mut().poll(&mut Context::from_waker(&self.waker)) {
                        Poll::Ready(done) => Poll::Ready(Some(done)),
                        Poll::Pending => Poll::Ready(None),
                    };
                }
                if self.bell.was_quiet() {
                    return Poll::Pending;
                }
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await
    }

    /// Polls the connection. One that has ended is dropped, which fails whoever waits for it.
    fn step(&mut self) -> bool {
        let mut context = Context::from_waker(&self.waker);
        if self.moving.as_mut().is_some_and(|moving| moving.as_mut().poll(&mut context).is_ready()) {
            self.moving = None;
        }
        self.moving.is_some()
    }
}

/// The waker.
struct Bell {
    state: AtomicU8,
    task: Mutex<Waker>,
}

impl Bell {
    /// The task waits: a ring wakes it.
    const WAITING: u8 = 0;
    /// A round is being polled, or nobody waits.
    const POLLED: u8 = 1;
    /// It rang since.
    const RUNG: u8 = 2;

    fn answer_to(&self, waker: &Waker) {
        self.task.lock().unwrap_or_else(PoisonError::into_inner).clone_from(waker);
    }

    fn begin_round(&self) {
        self.state.store(Self::POLLED, Ordering::SeqCst);
    }

    /// True if it did not ring in this round; from then on a ring wakes the task.
    fn was_quiet(&self) -> bool {
        self.state.compare_exchange(Self::POLLED, Self::WAITING, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(Self::RUNG, Ordering::SeqCst) == Self::WAITING {
            self.task.lock().unwrap_or_else(PoisonError::into_inner).wake_by_ref();
        }
    }
}
