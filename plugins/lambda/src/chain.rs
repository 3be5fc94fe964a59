//! The chain of functions: checked, prepared, run.

use std::cell::RefCell;

use tenterhook_lua::{Error, ErrorKind, Kept, State, Value};
use tenterhook_sdk::{Answer, Attempt, Event, Failure, Settings, log};

use crate::Config;
use crate::settings::{self, Untrusted};

/// What the chunks of a stored memory image are called until an attempt says which hook they belong to.
const NAMELESS: &str = "event_hooks";

/// Asks for every module that is compiled when it is asked for.
const MODULES: &[u8] = br#"
for _, name in ipairs({ "pl.stringx", "pl.tablex", "resty.sha256", "resty.string", "kong.tools.string", "kong.tools.table" }) do
  require(name)
end
"#;

/// A chain whose chunks have run: what is left is to call the functions.
struct Chain {
    state: State,
    chunks: Vec<Kept>,
    functions: Vec<Kept>,
}

/// A chain made by [`prepare`], and what it was made of.
struct Prepared {
    config: Config,
    untrusted: Untrusted,
    chain: Chain,
}

thread_local! {
    /// Taken by the first attempt: what one event changes in it, the next must not see.
    static PREPARED: RefCell<Option<Prepared>> = const { RefCell::new(None) };
}

/// Everything that is wrong with the chunks: each is compiled and run once, in a sandbox of its own, as Kong does when a hook is made.
pub(crate) fn faults(config: &Config, untrusted: Result<Untrusted, String>) -> Vec<(u32, String)> {
    let untrusted = untrusted.map_err(|reason| format!("Error parsing function: {reason}"));
    let one = |text: &String| {
        let untrusted = untrusted.as_ref().map_err(Clone::clone)?;
        let mut state = State::new(&untrusted.options()).map_err(|error| error.to_string())?;
        // Kong gives no name here, so Lua names the chunk after its text.
        compile(&mut state, text, text).map(drop).map_err(|fault| fault.to_text())
    };
    (0..).zip(&config.functions).filter_map(|(index, text)| one(text).err().map(|message| (index, message))).collect()
}

/// Why a chunk gives no function.
enum Fault {
    Load(Error),
    Raised(Error),
    NoFunction(&'static str),
}

impl Fault {
    /// In Kong's words.
    fn to_text(&self) -> String {
        match self {
            Self::Load(error) if error.kind == ErrorKind::Syntax => format!("Error parsing function: {error}"),
            Self::Load(error) | Self::Raised(error) => error.to_string(),
            Self::NoFunction(got) => format!("Bad return value from function, expected function type, got {got}"),
        }
    }

    /// At run time Kong gives the bare error.
    fn at_run_time(&self) -> String {
        if let Self::Load(error) = self { error.to_string() } else { self.to_text() }
    }
}

/// The chunk, and the function that it returns.
fn compile(state: &mut State, name: &str, text: &str) -> Result<(Kept, Kept), Fault> {
    let chunk = state.load(name, text.as_bytes()).map_err(Fault::Load)?;
    let function = state.run(&chunk, &[]).and_then(|mut results| results.keep(0)).map_err(Fault::Raised)?;
    if function.is_function() { Ok((chunk, function)) } else { Err(Fault::NoFunction(function.type_name())) }
}

impl Chain {
    fn new(config: &Config, untrusted: &Untrusted, name: &str) -> Result<Self, String> {
        let state = State::new(&untrusted.options()).map_err(|error| error.to_string())?;
        let mut chain = Self { state, chunks: Vec::new(), functions: Vec::new() };
        for text in &config.functions {
            let (chunk, function) = compile(&mut chain.state, name, text).map_err(|fault| fault.at_run_time())?;
            chain.chunks.push(chunk);
            chain.functions.push(function);
        }
        Ok(chain)
    }

    /// Compiles the modules that scripts may ask for, so that no event has to.
    fn load_all(&mut self) -> Result<(), String> {
        let all = self.state.load("modules", MODULES).and_then(|chunk| self.state.run(&chunk, &[]).map(drop));
        all.map_err(|error| error.to_string())
    }

    fn rename(&mut self, name: &str) -> Result<(), String> {
        self.chunks.iter().try_for_each(|chunk| self.state.rename(*chunk, name)).map_err(|error| error.to_string())
    }

    /// Calls the functions in turn. Values stay in Lua between them: what one changes in a table, the next sees.
    fn call(&mut self, event: &Event, pid: u64) -> Result<Value, Ended> {
        let mut data = Value::from_json(&event.data).map_err(|error| Ended::Unreadable(error.to_string()))?;
        let names = [Value::text(&event.name), Value::text(&event.source)];
        #[allow(clippy::cast_precision_loss, reason = "a process id has less than 53 bits")]
        let pid = Value::Number(pid as f64);
        for (index, function) in self.functions.iter().enumerate() {
            let [name, source] = names.clone();
            let mut results = self.state.run(function, &[data, name, source, pid.clone()]).map_err(Ended::Raised)?;
            let error = results.value(1).map_err(Ended::Raised)?;
            if !matches!(error, Value::Nil | Value::Bool(false)) {
                return Err(Ended::Refused(error));
            }
            if index + 1 == self.functions.len() {
                return results.value(0).map_err(Ended::Raised);
            }
            data = results.keep(0).map(Value::Kept).map_err(Ended::Raised)?;
        }
        Err(Ended::NoFunctions)
    }
}

/// How a chain ends before its end.
enum Ended {
    /// A function raised an error.
    Raised(Error),
    /// A function returned an error as its second result.
    Refused(Value),
    /// The event's data are not JSON that can be read.
    Unreadable(String),
    /// There is nothing to call.
    NoFunctions,
}

/// `prepare`: everything that needs no event.
pub(crate) fn prepare(config: &str, settings: &Settings) -> Result<(), String> {
    let config: Config = tenterhook_sdk::config::read(config, |_, _| ()).map_err(|violations| violations.to_string())?;
    let untrusted = settings::read(settings)?;
    let mut chain = Chain::new(&config, &untrusted, NAMELESS)?;
    chain.load_all()?;
    PREPARED.set(Some(Prepared { config, untrusted, chain }));
    Ok(())
}

/// `handle`.
pub(crate) fn run(event: &Event, attempt: &Attempt, config: Config, settings: &Settings) -> Result<Answer, Failure> {
    let untrusted = settings::read(settings).map_err(Failure::retry)?;
    let name = format!("event_hooks:{}", attempt.hook_id);
    let mut chain = ready(config, &untrusted, &name).map_err(Failure::retry)?;
    chain.state.reseed(attempt.seed);
    let result = chain.call(event, settings.pid());
    // This handler is never used for two events (the host's rule for what runs users' code), so there is nobody to free it for.
    chain.state.abandon();
    answer(&result.map_err(failure)?, attempt.test)
}

/// The prepared chain if it is the one that is wanted, else a new one.
fn ready(config: Config, untrusted: &Untrusted, name: &str) -> Result<Chain, String> {
    match PREPARED.take() {
        Some(Prepared { config: same, untrusted: alike, mut chain }) if same == config && alike == *untrusted => {
            chain.rename(name)?;
            Ok(chain)
        }
        _ => Chain::new(&config, untrusted, name),
    }
}

fn failure(ended: Ended) -> Failure {
    match ended {
        Ended::Raised(error) => {
            log::err(&error.message);
            Failure::retry(error.to_string())
        }
        Ended::Refused(error) => Failure::retry(text(&error)),
        Ended::Unreadable(error) => Failure::reject(format!("the event's data cannot be read: {error}")),
        Ended::NoFunctions => Failure::retry("the hook has no functions: none can return true"),
    }
}

/// Exactly `true` is done. `/test` shows whatever came out.
fn answer(result: &Value, test: bool) -> Result<Answer, Failure> {
    if !test && *result != Value::Bool(true) {
        return Err(Failure::retry(format!("the last function returned {}, not true", shown(result))));
    }
    let json = result.to_json().map_err(|error| Failure::retry(format!("the result cannot be shown: {error}")))?;
    Ok(Answer::Done(if *result == Value::Nil { None } else { Some(json) }))
}

/// An error value as text.
fn text(value: &Value) -> String {
    match value.as_bytes() {
        Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        None => shown(value),
    }
}

/// A value in a sentence: as JSON if it is short, else its type.
fn shown(value: &Value) -> String {
    const LENGTH_MAX: usize = 200;
    match value.to_json() {
        Ok(json) if *value != Value::Nil && json.len() <= LENGTH_MAX => json,
        _ => value.type_name().to_owned(),
    }
}
