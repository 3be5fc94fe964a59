//! What wasmtime reports when a call ends badly, turned into a failure with a stable code and a text for people.

use std::fmt::{self, Write};

use wasmtime::component::ResourceTableError;
use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::limits::{Budget, Exceeded};
use crate::model::{Failure, FailureCode};

/// A guest's backtrace, at most. Its names are the guest's own and can be of any length.
const BACKTRACE_BYTES: usize = 8 << 10;
/// Longer names are shown as they are: demangling can make a name much longer.
const DEMANGLED_MAX: usize = 1024;
/// wasmtime keeps these two errors private; their texts are the only way to know them. A test holds each.
const HOSTCALL_TEXT: &str = "fuel allocated for hostcalls has been exhausted";
const HANDLES_TEXT: &str = "store handle limit exceeded";

/// `noticed`: the limit that was run into on the way, by our own account: whatever the guest did after it, that was the reason.
pub(super) fn of_error(error: &wasmtime::Error, budget: &Budget, noticed: Option<Exceeded>) -> Failure {
    let mut failure = judge(error, budget, noticed);
    if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() {
        failure.detail.push_str(&backtrace_text(backtrace));
    }
    failure
}

fn judge(error: &wasmtime::Error, budget: &Budget, noticed: Option<Exceeded>) -> Failure {
    if let Some(exceeded) = noticed.or_else(|| exceeded(error)) {
        return budget.failure(exceeded);
    }
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return Failure::new(FailureCode::GuestExit, format!("the handler called exit with status {}", exit.0));
    }
    let in_guest = error.downcast_ref::<WasmBacktrace>().is_some();
    if let Some(trap) = error.downcast_ref::<Trap>() {
        let code = if in_guest { of_trap(*trap) } else { FailureCode::DecodeError };
        return Failure::new(code, trap.to_string());
    }
    let cause = error.root_cause().to_string();
    if in_guest {
        // A host function refused its arguments: a handle that does not exist, too many random bytes.
        return Failure::new(FailureCode::Trap, cause);
    }
    Failure::new(FailureCode::DecodeError, format!("what {} gave back cannot be read: {cause}", budget.export.as_str()))
}

/// The limits that wasmtime itself enforces, and our own on their way through it.
fn exceeded(error: &wasmtime::Error) -> Option<Exceeded> {
    if let Some(exceeded) = error.downcast_ref::<Exceeded>() {
        return Some(*exceeded);
    }
    if matches!(error.downcast_ref::<Trap>(), Some(Trap::OutOfFuel)) {
        return Some(Exceeded::Fuel);
    }
    if matches!(error.downcast_ref::<ResourceTableError>(), Some(ResourceTableError::Full)) {
        return Some(Exceeded::Handles);
    }
    let cause = error.root_cause().to_string();
    if cause.contains(HANDLES_TEXT) {
        return Some(Exceeded::Handles);
    }
    // Copied while the guest was inside a call to the host, or after it had returned: an argument, or the answer.
    let in_guest = error.downcast_ref::<WasmBacktrace>().is_some();
    cause.contains(HOSTCALL_TEXT).then_some(if in_guest { Exceeded::Hostcall } else { Exceeded::Answer })
}

/// Traps of the guest's own code. (The enum is wasmtime's and not closed; what is not named here is a trap like any other.)
fn of_trap(trap: Trap) -> FailureCode {
    match trap {
        Trap::UnreachableCodeReached => FailureCode::Panic,
        Trap::StackOverflow => FailureCode::StackOverflow,
        _ => FailureCode::Trap,
    }
}

/// One line for each frame, innermost first.
fn backtrace_text(backtrace: &WasmBacktrace) -> String {
    let mut text = Bounded { text: String::new(), left: BACKTRACE_BYTES };
    for (i, frame) in backtrace.frames().iter().enumerate() {
        // Not wasmtime's own demangling: it also tries C++ names, whose expansion has no bound.
        let written = match frame.func_name() {
            Some(name) if name.len() <= DEMANGLED_MAX => write!(text, "\n  {i}: {:#}", rustc_demangle::demangle(name)),
            Some(name) => write!(text, "\n  {i}: {name}"),
            None => write!(text, "\n  {i}: function {}", frame.func_index()),
        };
        if written.is_err() {
            text.text.push_str(" …");
            break;
        }
    }
    text.text
}

/// A text that refuses to grow further.
struct Bounded {
    text: String,
    left: usize,
}

impl Write for Bounded {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        if part.len() > self.left {
            let mut end = self.left;
            while !part.is_char_boundary(end) {
                end -= 1;
            }
            self.text.push_str(&part[..end]);
            self.left = 0;
            return Err(fmt::Error);
        }
        self.left -= part.len();
        self.text.push_str(part);
        Ok(())
    }
}
