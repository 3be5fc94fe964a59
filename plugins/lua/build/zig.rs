//! Compiling C for wasm32-wasip2 with zig, whose clang knows WebAssembly's exceptions and comes with the C library.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use super::tell;

const MISSING: &str = "zig is needed to compile Lua for WebAssembly, and was not found. Install it into the project with `make tools`, or name the \
                       program in TENTERHOOK_ZIG.";

/// Small code: measured, it is not slower. Errors are exceptions in the encoding that the host's engine runs.
const FLAGS: [&str; 10] = [
    "-target",
    "wasm32-wasi",
    "-std=c99",
    "-Os",
    "-fno-stack-protector",
    "-mexception-handling",
    "-mllvm",
    "-wasm-enable-sjlj",
    "-mllvm",
    "-wasm-use-legacy-eh=false",
];

/// What setjmp and longjmp call at run time. Part of zig's C library, which is not linked otherwise: Rust brings its own.
const SETJMP: &str = "libc/wasi/libc-top-half/musl/src/setjmp/wasm32/rt.c";

/// Compiles the bridge, Lua and the setjmp runtime, and tells cargo to link them.
pub(crate) fn compile(own: &[PathBuf], lua: &Path, out: &Path) -> Result<(), String> {
    tell("rerun-if-env-changed", "TENTERHOOK_ZIG");
    let zig = Zig::find(out)?;
    let others = [lua.join("one.c"), zig.library()?.join(SETJMP)];
    // Only what is ours can be put right here.
    let files = own.iter().map(|file| (file, "-Wall")).chain(others.iter().map(|file| (file, "-w")));
    let mut objects = Vec::new();
    for (number, (file, warnings)) in files.enumerate() {
        let object = out.join(format!("{number}.o"));
        zig.run(zig.command("cc").args(FLAGS).arg(warnings).arg("-I").arg(lua).args(["-I", "c", "-c"]).arg(file).arg("-o").arg(&object))?;
        objects.push(object);
    }
    let archive = out.join("libtenterhook_lua.a");
    // `ar` adds to an archive that is there.
    let _ = fs::remove_file(&archive);
    zig.run(zig.command("ar").arg("crs").arg(&archive).args(&objects))?;
    tell("rustc-link-search", &format!("native={}", out.display()));
    tell("rustc-link-lib", "static=tenterhook_lua");
    Ok(())
}

struct Zig {
    program: PathBuf,
    cache: PathBuf,
}

impl Zig {
    /// In the order: TENTERHOOK_ZIG, the project's own environment that `make tools` makes, PATH.
    fn find(out: &Path) -> Result<Self, String> {
        // The plugins' target folder lies in the host's.
        let targets: Vec<_> = out.ancestors().filter(|folder| folder.join("CACHEDIR.TAG").is_file()).collect();
        let cache = targets.last().copied().unwrap_or(out).join("tools/zig-cache");
        if let Some(program) = env::var_os("TENTERHOOK_ZIG") {
            let program = PathBuf::from(program);
            return if program.is_file() {
                Ok(Self { program, cache })
            } else {
                Err(format!("TENTERHOOK_ZIG={} is no file", program.display()))
            };
        }
        let own = out.ancestors().find_map(|folder| in_environment(&folder.join("tools/zig")));
        let on_path = || env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join("zig")).find(|program| program.is_file());
        let program = own.or_else(on_path).ok_or(MISSING)?;
        Ok(Self { program, cache })
    }

    fn command(&self, what: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(what).env("ZIG_GLOBAL_CACHE_DIR", &self.cache).env("ZIG_LOCAL_CACHE_DIR", &self.cache);
        command
    }

    /// The folder with the sources of its C library.
    fn library(&self) -> Result<PathBuf, String> {
        let beside = self.program.parent().unwrap_or(Path::new("")).join("lib");
        if beside.join(SETJMP).is_file() {
            return Ok(beside);
        }
        // JSON in older versions, ZON in newer ones: `"lib_dir": "…"` or `.lib_dir = "…"`.
        let about = self.command("env").output().map_err(|error| format!("cannot run {}: {error}", self.program.display()))?;
        let about = String::from_utf8_lossy(&about.stdout).into_owned();
        let line = about.lines().find(|line| line.contains("lib_dir")).unwrap_or_default();
        let folder = PathBuf::from(line.split('"').rfind(|part| part.contains(['/', '\\'])).unwrap_or_default());
        if folder.join(SETJMP).is_file() {
            return Ok(folder);
        }
        Err(format!("{} is a zig without {SETJMP}; `make tools` installs one that has it", self.program.display()))
    }

    fn run(&self, command: &mut Command) -> Result<(), String> {
        let done = command.output().map_err(|error| format!("cannot run {}: {error}", self.program.display()))?;
        if done.status.success() {
            return Ok(());
        }
        Err(format!("zig fails:\n{}", String::from_utf8_lossy(&done.stderr)))
    }
}

/// Where the package `ziglang` puts the program.
fn in_environment(folder: &Path) -> Option<PathBuf> {
    let versions = fs::read_dir(folder.join("lib")).ok()?;
    versions.filter_map(Result::ok).map(|version| version.path().join("site-packages/ziglang/zig")).find(|program| program.is_file())
}
