//! Makes the components that no Rust program compiles to, from the text files in `wat/`, into the folder that is named.
//!
//! A file that starts with `(component` is translated as it is. Any other holds the fields of a core module, among them `$handle`; the rest of a
//! handler (`describe`, `validate`, memory) is the same for all and is added from `frame.wat`.

use std::path::Path;

use anyhow::{Context, Result};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A handler that also has a resource of its own: its handles are made without any call to the host.
const ODD: &str = r#"
package test:odd;
interface things { resource thing { constructor(); } }
world handler-component { include tenterhook:hook/handler-component@0.1.0; export things; }
world prepared-handler { include tenterhook:hook/prepared-handler@0.1.0; export things; }
"#;

fn main() -> Result<()> {
    let folder = std::env::args().nth(1).context("the folder to write to is missing")?;
    let wat = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wat");
    let frame = std::fs::read_to_string(wat.join("frame.wat"))?;
    std::fs::create_dir_all(&folder)?;
    for entry in std::fs::read_dir(&wat)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).context("a file without a name")?;
        if name == "frame" {
            continue;
        }
        let text = std::fs::read_to_string(&path)?;
        let component = if text.lines().any(|line| line.starts_with("(component")) {
            wat::parse_str(&text)?
        } else {
            handler(&text, &frame).with_context(|| format!("in {name}"))?
        };
        // Other test processes may be reading: what has not changed is left alone.
        let to = Path::new(&folder).join(format!("{name}.wasm"));
        if std::fs::read(&to).ok().is_none_or(|there| there != component) {
            std::fs::write(to, component)?;
        }
    }
    Ok(())
}

/// Imports stand before everything else in a module.
fn handler(fields: &str, frame: &str) -> Result<Vec<u8>> {
    let (imports, rest): (Vec<&str>, Vec<&str>) = fields.lines().partition(|line| line.starts_with("(import"));
    let mut module = wat::parse_str(format!("(module {}\n{frame}\n{})", imports.join("\n"), rest.join("\n")))?;
    let mut resolve = Resolve::default();
    let (mut package, _) = resolve.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../wit/v0"))?;
    if fields.contains("test:odd/") {
        package = resolve.push_str("odd.wit", ODD)?;
    }
    let world = if fields.contains("(export \"prepare\")") { "prepared-handler" } else { "handler-component" };
    let world = resolve.select_world(&[package], Some(world))?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)?;
    ComponentEncoder::default().validate(true).module(&module)?.encode()
}
