//! Tenterhook: an event comes in, a sandboxed handler runs, nothing is lost.
//!
//! The modules in reading order: what is talked about, what is decided, and the way of an event from the door to the disk to the handler and out.

pub mod model;

pub mod policy;

pub mod http;

pub mod pipeline;

pub mod store;

pub mod sandbox;

pub mod egress;

pub mod config;

pub mod app;

pub mod cli;
