//! The capability `log`: lines for the operator. They are kept with the attempt and written to the host's log.
//!
//! Line breaks are kept, control characters are escaped when shown. More than the limit (64 KiB by default, setting `limits.log_bytes`) ends the
//! attempt. `println!` works too and arrives as `info`, but costs more.

/// Kong's levels, least urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For the handler's author.
    Debug,
    /// Worth a line.
    Info,
    /// Normal, but worth noticing.
    Notice,
    /// Something may be wrong.
    Warn,
    /// Something is wrong.
    Err,
    /// Something important is wrong.
    Crit,
    /// Somebody must act at once.
    Alert,
    /// Nothing works.
    Emerg,
}

/// Writes one line. It need not be UTF-8.
pub fn write(level: Level, line: impl AsRef<[u8]>) {
    write_bytes(level, line.as_ref());
}

/// Writes one line at [`Level::Debug`].
pub fn debug(line: impl AsRef<[u8]>) {
    write_bytes(Level::Debug, line.as_ref());
}

/// Writes one line at [`Level::Info`].
pub fn info(line: impl AsRef<[u8]>) {
    write_bytes(Level::Info, line.as_ref());
}

/// Writes one line at [`Level::Notice`].
pub fn notice(line: impl AsRef<[u8]>) {
    write_bytes(Level::Notice, line.as_ref());
}

/// Writes one line at [`Level::Warn`].
pub fn warn(line: impl AsRef<[u8]>) {
    write_bytes(Level::Warn, line.as_ref());
}

/// Writes one line at [`Level::Err`].
pub fn err(line: impl AsRef<[u8]>) {
    write_bytes(Level::Err, line.as_ref());
}

/// Writes one line at [`Level::Crit`].
pub fn crit(line: impl AsRef<[u8]>) {
    write_bytes(Level::Crit, line.as_ref());
}

/// Writes one line at [`Level::Alert`].
pub fn alert(line: impl AsRef<[u8]>) {
    write_bytes(Level::Alert, line.as_ref());
}

/// Writes one line at [`Level::Emerg`].
pub fn emerg(line: impl AsRef<[u8]>) {
    write_bytes(Level::Emerg, line.as_ref());
}

#[cfg(target_arch = "wasm32")]
fn write_bytes(level: Level, line: &[u8]) {
    use crate::bindings::tenterhook::hook::log as import;

    let level = match level {
        Level::Debug => import::Level::Debug,
        Level::Info => import::Level::Info,
        Level::Notice => import::Level::Notice,
        Level::Warn => import::Level::Warn,
        Level::Err => import::Level::Err,
        Level::Crit => import::Level::Crit,
        Level::Alert => import::Level::Alert,
        Level::Emerg => import::Level::Emerg,
    };
    import::write(level, line);
}

#[cfg(not(target_arch = "wasm32"))]
fn write_bytes(level: Level, line: &[u8]) {
    crate::testing::write_log(level, line);
}
