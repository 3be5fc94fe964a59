//! The contract as Rust: generated from `wit/v0`, and never seen by an author.
//!
//! The generated code is where the canonical ABI's raw pointers are; nothing written by hand in this crate is `unsafe`.

wit_bindgen::generate!({
    path: "../../wit/v0",
    world: "handler-component",
    pub_export_macro: true,
    export_macro_name: "export_handler_component",
});
