//! Stories that drive the real binary over real sockets. One binary, one module for each topic.
#![allow(clippy::disallowed_methods, reason = "tests measure real time and own their tasks")]

mod support;

mod cases;
mod cloudevents_sdks;
mod events;
mod events_cloudevents;
mod events_duplicates;
mod events_encoded;
mod events_limits;
mod events_ndjson;

mod admin_errors;
mod admin_forms;
mod admin_hooks;
mod admin_sources;
mod admin_try;

mod delivery;
mod delivery_order;
mod delivery_retry;
mod egress_faults;
mod filter;
mod handlers;
mod lambda;
mod lambda_limits;
mod profile_kong;
mod snapshots;
mod throttle;

mod disk_full;
mod durability;
mod kill;

mod operations;
mod past_events;
mod pressure;
mod redo;
mod security;

mod shared;
