//! The store's tests, through its own door and against real sled. `power` is the disk they break; `support` makes events and hooks.

mod basics;
mod damage;
mod full_disk;
mod golden;
mod model;
mod past;
mod power;
mod retention;
mod support;
