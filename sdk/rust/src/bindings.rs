//! The contract as Rust: generated from `wit/v0`, and never seen by an author.
//!
//! The generated code is where the canonical ABI's raw pointers are; nothing written by hand in this crate is `unsafe`.

wit_bindgen::generate!({
    path: "../../wit/v0",
    world: "handler-component",
    pub_export_macro: true,
    export_macro_name: "export_handler_component",
});

/// What the world `prepared-handler` has more than `handler-component`. A world of its own, because a component that cannot be prepared must not
/// export it; where both are exported, the two become one world when the component is made.
pub mod preparing {
    wit_bindgen::generate!({
        inline: "
            package tenterhook:preparing;
            world preparing {
                export prepare: func(config: string, settings: string) -> result<_, string>;
            }
        ",
        pub_export_macro: true,
        export_macro_name: "export_preparing",
    });
}
