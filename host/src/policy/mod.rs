//! Pure decisions: values in, a value out. No clock, no I/O, no await, nothing async; the caller acts.
//!
//! | file | question |
//! |---|---|
//! | `admit` | may this event come in, is it registered? |
//! | `fits` | does its data fit the schema of its source? |
//! | `matching`, `filter` | which hooks want it? |
//! | `throttle`, `collapse` | has this hook just seen the same? |
//! | `inflight` | how many attempts may a hook have running? |
//! | `retry` | what follows from an attempt? |
//! | `secrets` | which parts of a config are secret? |

pub mod admit;
pub mod collapse;
pub mod filter;
pub mod fits;
pub mod inflight;
pub mod matching;
pub mod retry;
pub mod secrets;
pub mod throttle;
