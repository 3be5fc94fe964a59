//! Guests: plain ones and hostile ones, built from `tests/components`.

/// The finished component of this name. Built at the first call, which takes a while.
pub fn component(name: &str) -> Vec<u8> {
    super::built::component(name)
}
