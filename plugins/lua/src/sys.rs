//! The calls into C, behind functions that are safe. All of this crate's `unsafe` is here: C has no other door.
#![allow(unsafe_code, reason = "calls into C cannot be made otherwise; the contract of each is in c/bridge.h")]

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::NonNull;

use crate::codec;
use crate::{Args, Reply};

#[repr(C)]
struct Bridge {
    _opaque: [u8; 0],
}

type Callback = unsafe extern "C" fn(*mut c_void, u32, *const u8, usize, u32, *mut *const u8, *mut usize) -> c_int;

unsafe extern "C" {
    fn bridge_open(cap: usize, seed: u64, host: *mut c_void, callback: Callback) -> *mut Bridge;
    fn bridge_close(bridge: *mut Bridge);
    fn bridge_reseed(bridge: *mut Bridge, seed: u64);
    fn bridge_used(bridge: *const Bridge) -> usize;
    fn bridge_register(bridge: *mut Bridge, name: *const u8, name_len: usize, index: u32) -> c_int;
    fn bridge_load(bridge: *mut Bridge, name: *const c_char, text: *const u8, len: usize, sandboxed: c_int, handle: *mut c_int) -> c_int;
    fn bridge_prelude(bridge: *mut Bridge, handle: c_int, mode: *const u8, mode_len: usize) -> c_int;
    fn bridge_call(bridge: *mut Bridge, handle: c_int, args: *const u8, len: usize, count: u32, results: *mut c_int) -> c_int;
    fn bridge_result(bridge: *mut Bridge, index: c_int, bytes: *mut *const u8, len: *mut usize) -> c_int;
    fn bridge_keep(bridge: *mut Bridge, index: c_int, handle: *mut c_int, kind: *mut c_int) -> c_int;
    fn bridge_rename(bridge: *mut Bridge, handle: c_int, name: *const u8, name_len: usize) -> c_int;
    fn bridge_forget(bridge: *mut Bridge, handle: c_int);
    fn bridge_error(bridge: *mut Bridge, text: *mut *const u8, len: *mut usize);
    fn snprintf(out: *mut c_char, len: usize, format: *const c_char, ...) -> c_int;
}

/// A function written in Rust.
pub(crate) type HostFunction = Box<dyn Fn(Args<'_>) -> Reply>;

/// What the callback finds through its pointer.
struct Host {
    functions: Vec<HostFunction>,
    /// Read by C until the next call, so it outlives the call.
    reply: RefCell<Vec<u8>>,
}

/// The owner of a Lua state.
pub(crate) struct Raw {
    bridge: NonNull<Bridge>,
    host: NonNull<Host>,
}

/// Lua's status, never 0.
pub(crate) type Status = c_int;

impl Raw {
    /// `None` when there is not even memory for Lua's libraries.
    pub(crate) fn open(cap: usize, seed: u64, functions: Vec<HostFunction>) -> Option<Self> {
        let host = NonNull::from(Box::leak(Box::new(Host { functions, reply: RefCell::default() })));
        // SAFETY: `host` lives until `drop`, which closes the state first.
        let bridge = NonNull::new(unsafe { bridge_open(cap, seed, host.as_ptr().cast(), callback) });
        let Some(bridge) = bridge else {
            // SAFETY: made by Box above, and nobody else has it.
            drop(unsafe { Box::from_raw(host.as_ptr()) });
            return None;
        };
        Some(Self { bridge, host })
    }

    pub(crate) fn register(&mut self, name: &str, index: u32) -> Result<(), Status> {
        // SAFETY: the name is copied during the call.
        check(unsafe { bridge_register(self.bridge.as_ptr(), name.as_ptr(), name.len(), index) })
    }

    pub(crate) fn load(&mut self, name: &CStr, text: &[u8], sandboxed: bool) -> Result<c_int, Status> {
        let mut handle = 0;
        // SAFETY: name and text are only read, during the call.
        check(unsafe {
            bridge_load(self.bridge.as_ptr(), name.as_ptr(), text.as_ptr(), text.len(), c_int::from(sandboxed), &raw mut handle)
        })?;
        Ok(handle)
    }

    pub(crate) fn prelude(&mut self, handle: c_int, mode: &str) -> Result<(), Status> {
        // SAFETY: the mode is copied during the call.
        check(unsafe { bridge_prelude(self.bridge.as_ptr(), handle, mode.as_ptr(), mode.len()) })
    }

    /// Gives back the number of results.
    pub(crate) fn call(&mut self, handle: c_int, args: &[u8], count: u32) -> Result<usize, Status> {
        let mut results = 0;
        // SAFETY: the arguments are only read, during the call.
        check(unsafe { bridge_call(self.bridge.as_ptr(), handle, args.as_ptr(), args.len(), count, &raw mut results) })?;
        Ok(usize::try_from(results).unwrap_or(0))
    }

    /// The encoded result of the last call; `index` from 1.
    pub(crate) fn result(&mut self, index: c_int) -> Result<&[u8], Status> {
        let (mut bytes, mut len) = (std::ptr::null(), 0);
        // SAFETY: C writes both on success, and the bytes stay until the next call, which needs `&mut self`.
        check(unsafe { bridge_result(self.bridge.as_ptr(), index, &raw mut bytes, &raw mut len) })?;
        // SAFETY: as above.
        Ok(unsafe { bytes_at(bytes, len) })
    }

    /// The handle and Lua's number of the type.
    pub(crate) fn keep(&mut self, index: c_int) -> Result<(c_int, c_int), Status> {
        let (mut handle, mut kind) = (0, 0);
        // SAFETY: both are written during the call.
        check(unsafe { bridge_keep(self.bridge.as_ptr(), index, &raw mut handle, &raw mut kind) })?;
        Ok((handle, kind))
    }

    pub(crate) fn rename(&mut self, handle: c_int, name: &[u8]) -> Result<(), Status> {
        // SAFETY: the name is copied during the call.
        check(unsafe { bridge_rename(self.bridge.as_ptr(), handle, name.as_ptr(), name.len()) })
    }

    pub(crate) fn forget(&mut self, handle: c_int) {
        // SAFETY: any number is harmless: Lua checks the slot.
        unsafe { bridge_forget(self.bridge.as_ptr(), handle) }
    }

    /// The text of the last error.
    pub(crate) fn error(&mut self) -> Vec<u8> {
        let (mut text, mut len) = (std::ptr::null(), 0);
        // SAFETY: C writes both; the text lies on Lua's stack until the next call.
        unsafe {
            bridge_error(self.bridge.as_ptr(), &raw mut text, &raw mut len);
            bytes_at(text, len).to_vec()
        }
    }

    pub(crate) fn reseed(&mut self, seed: u64) {
        // SAFETY: a plain call.
        unsafe { bridge_reseed(self.bridge.as_ptr(), seed) }
    }

    pub(crate) fn used(&self) -> usize {
        // SAFETY: a plain read.
        unsafe { bridge_used(self.bridge.as_ptr()) }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // SAFETY: both were made in `open`, are closed once, and the state, which may call the host, goes first.
        unsafe {
            bridge_close(self.bridge.as_ptr());
            drop(Box::from_raw(self.host.as_ptr()));
        }
    }
}

fn check(status: c_int) -> Result<(), Status> {
    if status == 0 { Ok(()) } else { Err(status) }
}

/// C gives a null pointer for no bytes.
///
/// # Safety
///
/// Unless `len` is 0, that many bytes lie at `at` for as long as the caller says.
unsafe fn bytes_at<'a>(at: *const u8, len: usize) -> &'a [u8] {
    // SAFETY: promised by the caller.
    if len == 0 || at.is_null() { &[] } else { unsafe { std::slice::from_raw_parts(at, len) } }
}

/// Lua calls Rust. Nothing in here raises, so no long jump crosses it; a panic ends the process, as everywhere in a plugin.
unsafe extern "C" fn callback(
    host: *mut c_void,
    index: u32,
    args: *const u8,
    len: usize,
    count: u32,
    reply: *mut *const u8,
    reply_len: *mut usize,
) -> c_int {
    // SAFETY: the pointer is the one of `open`; only shared references to the host are ever made.
    let host = unsafe { &*host.cast::<Host>() };
    // SAFETY: C passes a buffer that it does not touch during the call.
    let args = unsafe { bytes_at(args, len) };
    let mut out = host.reply.borrow_mut();
    out.clear();
    let status = answer(host, index, args, count, &mut out);
    // SAFETY: C passes two valid places.
    unsafe {
        *reply = out.as_ptr();
        *reply_len = out.len();
    }
    status
}

/// The number of values in `out`, or -1 and a text.
fn answer(host: &Host, index: u32, args: &[u8], count: u32, out: &mut Vec<u8>) -> c_int {
    let function = usize::try_from(index).ok().and_then(|index| host.functions.get(index));
    let values = usize::try_from(count).ok().and_then(|count| codec::decode(args, count));
    let (Some(function), Some(values)) = (function, values) else {
        out.extend(b"a call to the host cannot be read");
        return -1;
    };
    match function(Args(&values)) {
        Ok(results) => {
            results.iter().for_each(|result| codec::encode(out, result));
            c_int::try_from(results.len()).unwrap_or(-1)
        }
        Err(message) => {
            out.extend(message.bytes());
            -1
        }
    }
}

/// `%.14g`, as Lua and cjson write numbers. By C, so that all three agree to the last digit.
pub(crate) fn format_number(number: f64) -> String {
    let mut out = [0_u8; 32];
    // SAFETY: `%.14g` takes one double and writes at most 22 bytes; the size is passed.
    let len = unsafe { snprintf(out.as_mut_ptr().cast(), out.len(), c"%.14g".as_ptr(), number) };
    let len = usize::try_from(len).unwrap_or(0).min(out.len());
    String::from_utf8_lossy(&out[..len]).into_owned()
}
