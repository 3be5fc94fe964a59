//! sled panics where a bit was flipped. Here is the one place where it is called so that such a panic becomes an error.
//!
//! A guarded panic is not printed: the operator gets the error, with the place, and not a backtrace of a library.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use super::StoreError;

thread_local! {
    /// How many guards this thread is in.
    static GUARDED: Cell<u32> = const { Cell::new(0) };
}

/// Keeps the panic hook of everybody else and leaves it out while a guard is up.
fn silence_guarded() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if GUARDED.with(Cell::get) == 0 {
                others(info);
            }
        }));
    });
}

/// Runs `work`, which calls sled on the data at `place`; a panic becomes `Corrupt`.
pub(super) fn guarded<T>(place: &str, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    silence_guarded();
    GUARDED.with(|depth| depth.set(depth.get() + 1));
    // What `work` leaves half done is sled's, and the caller drops that database or sets it aside.
    let outcome = catch_unwind(AssertUnwindSafe(work));
    GUARDED.with(|depth| depth.set(depth.get() - 1));
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(StoreError::corrupt(place, format!("the database cannot be read ({})", text.unwrap_or("no reason given"))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_that_names_the_place() {
        let outcome: Result<(), _> = guarded("journal/seg-1", || panic!("bad byte {}", 7));
        assert_eq!(outcome.unwrap_err().to_string(), "journal/seg-1: damaged: the database cannot be read (bad byte 7)");
    }
}
