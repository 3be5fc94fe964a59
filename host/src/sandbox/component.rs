//! Reading a component before it is compiled: is it one, which version of the contract was it built for, does it ask for anything that is not
//! there? Every refusal has a stable code and a sentence for whoever uploaded it.
//!
//! Nothing here runs or compiles anything; the bytes may be hostile.

use std::fmt;

use wasmparser::{ComponentExternalKind, ComponentTypeRef, Encoding, Parser, Payload, TypeBounds};
use wasmtime::Engine;

use super::abi::{PACKAGE, PREPARE, SPOKEN, Spoken};

/// Names listed in a message, at most.
const LISTED_MAX: usize = 12;
/// Interfaces of WASI 0.2 that are linked. Files and sockets are there because runtimes import them unused; nothing is behind them.
const WASI: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// Why a component is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LoadError {
    /// Stable: `precompiled`, `not-wasm`, `core-module`, `too-large`, `malformed`, `contract-version`, `missing-export`, `unknown-import`,
    /// `compile`, `describe`, `host-bug`.
    pub code: &'static str,
    /// A sentence for whoever uploaded it.
    pub message: String,
}

impl LoadError {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// A version of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(pub(super) u64, pub(super) u64, pub(super) u64);

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(|number| number.parse().ok());
        let version = Self(numbers.next()??, numbers.next()??, numbers.next()??);
        numbers.next().is_none().then_some(version)
    }

    /// A host that speaks `self` can serve a component built for `built_for`: the same track (before 1.0, the same minor), and nothing newer.
    fn serves(self, built_for: Self) -> bool {
        let track = |version: Self| (version.0, if version.0 == 0 { version.1 } else { 0 });
        track(self) == track(built_for) && built_for <= self
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// What a component imports and exports, by name.
#[derive(Debug, Default)]
struct Border {
    imports: Vec<String>,
    exports: Vec<String>,
    /// There is a function `prepare` at the root.
    prepares: bool,
}

/// What the checks found out.
pub(super) struct Checked {
    /// The version of the contract under which the component is to be run.
    pub(super) spoken: &'static Spoken,
    /// It exports `prepare`.
    pub(super) prepares: bool,
}

/// All checks that need no compiler.
pub(super) fn check(bytes: &[u8], bytes_max: u64) -> Result<Checked, LoadError> {
    check_kind(bytes)?;
    if bytes.len() as u64 > bytes_max {
        let message = format!("the component has {} bytes; at most {bytes_max} are allowed (setting limits.component_bytes)", bytes.len());
        return Err(LoadError::new("too-large", message));
    }
    let border = read_border(bytes)?;
    let spoken = choose_version(&border)?;
    check_imports(&border, spoken)?;
    Ok(Checked { spoken, prepares: border.prepares })
}

fn check_kind(bytes: &[u8]) -> Result<(), LoadError> {
    if Engine::detect_precompiled(bytes).is_some() {
        let message = "this is compiled machine code (.cwasm); upload the WebAssembly component it was made from: the host compiles itself";
        return Err(LoadError::new("precompiled", message));
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(LoadError::new("not-wasm", "this is not WebAssembly: a component in its binary form is expected"));
    }
    if Parser::is_core_wasm(bytes) {
        let message =
            "this is a core module; a handler is a component: build for wasm32-wasip2, or wrap it with `wasm-tools component new`";
        return Err(LoadError::new("core-module", message));
    }
    Ok(())
}

/// Names of the outermost component; what is nested inside is skipped.
fn read_border(bytes: &[u8]) -> Result<Border, LoadError> {
    let malformed = |error: wasmparser::BinaryReaderError| LoadError::new("malformed", format!("the component cannot be read: {error}"));
    let mut border = Border::default();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(malformed)? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                return Err(LoadError::new("core-module", "this is a core module; a handler is a component"));
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if depth == 0 => {
                for import in imports {
                    let import = import.map_err(malformed)?;
                    // A type is only a name for another one (`use types.{json}` at the root): it asks for nothing.
                    if !matches!(import.ty, ComponentTypeRef::Type(TypeBounds::Eq(_))) {
                        border.imports.push(import.name.name.to_owned());
                    }
                }
            }
            Payload::ComponentExportSection(exports) if depth == 0 => {
                for export in exports {
                    let export = export.map_err(malformed)?;
                    match export.kind {
                        ComponentExternalKind::Instance => border.exports.push(export.name.name.to_owned()),
                        ComponentExternalKind::Func => border.prepares |= export.name.name == PREPARE,
                        // Nothing that the contract asks for.
                        ComponentExternalKind::Module
                        | ComponentExternalKind::Value
                        | ComponentExternalKind::Type
                        | ComponentExternalKind::Component => {}
                    }
                }
            }
            // Everything else does not say what the component needs or offers; the compiler validates it.
            _ => {}
        }
    }
    Ok(border)
}

fn choose_version(border: &Border) -> Result<&'static Spoken, LoadError> {
    let prefix = format!("{PACKAGE}/handler@");
    let built_for: Vec<Version> = border.exports.iter().filter_map(|name| name.strip_prefix(&prefix)).filter_map(Version::parse).collect();
    let serving = SPOKEN.iter().find(|spoken| built_for.iter().any(|version| spoken.version.serves(*version)));
    let speaks = SPOKEN.iter().map(|spoken| spoken.version.to_string()).collect::<Vec<_>>().join(", ");
    match (serving, built_for.first()) {
        (Some(spoken), _) => Ok(spoken),
        (None, Some(version)) => {
            Err(LoadError::new("contract-version", format!("built for contract {version}, this host speaks {speaks}")))
        }
        (None, None) => {
            let newest = SPOKEN[0].version;
            let message = format!("the component does not export {PACKAGE}/handler@{newest}; it exports {}", listed(&border.exports));
            Err(LoadError::new("missing-export", message))
        }
    }
}

fn check_imports(border: &Border, spoken: &Spoken) -> Result<(), LoadError> {
    for import in &border.imports {
        let (name, version) = import.split_once('@').unwrap_or((import, ""));
        let own = name.strip_prefix(PACKAGE).and_then(|rest| rest.strip_prefix('/'));
        let offered = match own {
            Some(interface) => {
                spoken.interfaces.contains(&interface) && Version::parse(version).is_some_and(|version| spoken.version.serves(version))
            }
            None => WASI.contains(&name) && version.starts_with("0.2."),
        };
        if !offered {
            let own: Vec<String> = spoken.interfaces.iter().map(|interface| format!("{PACKAGE}/{interface}@{}", spoken.version)).collect();
            let message = format!(
                "the component imports {import}, which this host does not offer; handlers may import {}, and of WASI 0.2 cli, clocks, \
                 filesystem, io, random and sockets",
                own.join(", ")
            );
            return Err(LoadError::new("unknown-import", message));
        }
    }
    Ok(())
}

fn listed(names: &[String]) -> String {
    match names.len() {
        0 => "no interface".into(),
        count if count > LISTED_MAX => format!("{} and {} more", names[..LISTED_MAX].join(", "), count - LISTED_MAX),
        _ => names.join(", "),
    }
}
