//! Components that are refused, each with its code and a sentence.

use super::{bench, built, limits, marked};
use crate::sandbox::Limits;
use crate::sandbox::engine::{Pool, engine_config};

#[tokio::test]
async fn every_refusal_has_a_code_and_a_sentence() {
    let bench = bench();
    let hostile = built::component("hostile");
    let precompiled = wasmtime::Engine::new(&engine_config(&limits(), Pool::OnDemand)).unwrap().precompile_component(&hostile).unwrap();
    let cut = hostile[..hostile.len() / 2].to_vec();
    let described = |as_what: &str| marked("hostile", "DESCRIBE-IS:plain", &format!("DESCRIBE-IS:{as_what}"));
    let cases: Vec<(Vec<u8>, &str, &str)> = vec![
        (b"#!/bin/sh".to_vec(), "not-wasm", "this is not WebAssembly: a component in its binary form is expected"),
        (Vec::new(), "not-wasm", "this is not WebAssembly"),
        (b"\0asm\x01\0\0\0".to_vec(), "core-module", "this is a core module; a handler is a component: build for wasm32-wasip2"),
        (precompiled, "precompiled", "this is compiled machine code (.cwasm)"),
        (cut, "malformed", "the component cannot be read: "),
        (
            marked("hostile", "tenterhook:hook/handler@0.1.0", "tenterhook:hook/handler@0.3.0"),
            "contract-version",
            "built for contract 0.3.0, this host speaks 0.1.0",
        ),
        (
            marked("hostile", "tenterhook:hook/handler@0.1.0", "tenterhook:hook/handler@0.1.7"),
            "contract-version",
            "built for contract 0.1.7, this host speaks 0.1.0",
        ),
        (
            built::component("other-export"),
            "missing-export",
            "the component does not export tenterhook:hook/handler@0.1.0; it exports acme:other/thing@1.0.0",
        ),
        (built::component("hollow"), "missing-export", "the component does not export what contract 0.1.0 asks for: "),
        (
            built::component("unknown-import"),
            "unknown-import",
            "the component imports acme:net/raw-socket@1.0.0, which this host does not offer; handlers may import tenterhook:hook/types@0.1.0, \
             tenterhook:hook/log@0.1.0, tenterhook:hook/http@0.1.0, and of WASI 0.2 ",
        ),
        (
            marked("hostile", "wasi:random/random@0.2.", "wasi:random/wholly@0.2."),
            "unknown-import",
            "the component imports wasi:random/wholly@0.2.",
        ),
        (built::component("too-many-memories"), "compile", "the component "),
        (described("loops"), "describe", "describe failed (fuel-limit): fuel limit of 500000000 units exceeded (fixed for describe)"),
        (described("panic"), "describe", "describe failed (panic): wasm trap: wasm `unreachable` instruction executed"),
        (described("sends"), "describe", "describe failed (panic): "),
        (described("large"), "describe", "describe failed (answer-limit): the answer is larger than 262144 bytes (fixed for describe)"),
        (described("wrong"), "describe", "describe gave a config-schema that is not JSON: "),
        (
            described("named"),
            "describe",
            "describe gave the name \"Not A Name\"; it must be 1 to 64 lower-case letters, digits and hyphens",
        ),
    ];
    for (bytes, code, message) in cases {
        let error = bench.sandbox.load(bytes.into()).await.expect_err(message);
        assert_eq!(error.code, code, "{}", error.message);
        assert!(error.message.starts_with(message), "expected {message:?}, got {:?}", error.message);
    }
    let metrics = bench.sandbox.metrics();
    assert_eq!((metrics.living, metrics.handlers), (0, 0));
    // The sandbox still serves.
    let hostile = bench.load("hostile").await;
    assert_eq!(hostile.description().name, "hostile");
    assert_eq!(hostile.description().asks.http_hosts, ["*"]);
}

#[tokio::test]
async fn too_large_a_component_is_refused_before_it_is_read() {
    let bench = super::bench_with(Limits { component_bytes: 100_000, ..limits() });
    let component = built::component("hostile");
    let bytes = component.len();
    let error = bench.sandbox.load(component.into()).await.expect_err("too large");
    assert_eq!(error.code, "too-large");
    let message = format!("the component has {bytes} bytes; at most 100000 are allowed (setting limits.component_bytes)");
    assert_eq!(error.message, message);
}

#[tokio::test]
async fn damaged_components_are_refused_and_never_a_panic() {
    let bench = bench();
    let whole = built::component("many-memories");
    let mut refused = 0;
    for at in (8..whole.len()).step_by(97) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        // A flipped bit in a name or in code may leave a component that works; what matters is that an answer comes.
        match bench.sandbox.load(bytes.into()).await {
            Ok(_) => {}
            Err(error) => {
                assert_ne!(error.code, "host-bug", "byte {at}: {}", error.message);
                refused += 1;
            }
        }
    }
    assert!(refused > 10, "{refused}");
}
