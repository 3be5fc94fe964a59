//! The fake host, and what the imports do natively.
//!
//! A capability is a plain function, so it finds its host through the thread: a [`Host`] is the thread's host while one of its calls runs. Where there
//! is none, lines go nowhere and requests are denied.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::{Value, json};

use crate::http::{Error, Response};
use crate::log::Level;
use crate::{Answer, Attempt, Event, Failure, Handler, PreparedHandler, Request, Settings, Violations};

/// A fake host. Every call is made on it, and it remembers what happened.
pub struct Host {
    settings: Settings,
    world: Rc<World>,
}

/// A line that the handler wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How urgent.
    pub level: Level,
    /// The text; bytes that are not UTF-8 are replaced.
    pub text: String,
}

type AnswerRequest = Box<dyn Fn(&Request) -> Result<Response, Error>>;

/// What a handler can touch.
struct World {
    now: u64,
    answer: Option<AnswerRequest>,
    lines: RefCell<Vec<LogLine>>,
    requests: RefCell<Vec<Request>>,
}

thread_local! {
    /// The host whose call runs on this thread, innermost last.
    static RUNNING: RefCell<Vec<Rc<World>>> = const { RefCell::new(Vec::new()) };
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// Profile `durable`, signature `sha256`, pid 42, and the time 1 700 000 000. Every request is denied.
    pub fn new() -> Self {
        let settings = json!({ "profile": "durable", "signature": "sha256", "pid": 42 });
        let world = World { now: 1_700_000_000, answer: None, lines: RefCell::default(), requests: RefCell::default() };
        Self { settings: Settings::from_json(settings.to_string()), world: Rc::new(world) }
    }

    /// Sets the operator's settings.
    pub fn settings(mut self, settings: &Value) -> Self {
        self.settings = Settings::from_json(settings.to_string());
        self
    }

    /// Sets the time, in seconds since 1970. It stands still.
    pub fn at(self, unix_seconds: u64) -> Self {
        self.with(|world| world.now = unix_seconds)
    }

    /// Answers the requests that the handler makes by [`http::send`](crate::http::send).
    pub fn answer(self, answer: impl Fn(&Request) -> Result<Response, Error> + 'static) -> Self {
        self.with(|world| world.answer = Some(Box::new(answer)))
    }

    /// Checks a config as the host does when a hook is made, and gives back what would be stored.
    pub fn validate<H: Handler>(&self, config: &Value) -> Result<Value, Violations> {
        let checked = self.run(|| H::validate(&config.to_string(), &self.settings))?;
        Ok(serde_json::to_value(&checked).expect("a config is written as JSON"))
    }

    /// Prepares for a hook as the host does, with the config as given: leave secret fields out. What `prepare` puts into a `static` stays there
    /// for the whole test process.
    pub fn prepare<H: PreparedHandler>(&self, config: &Value) -> Result<(), String> {
        self.run(|| H::prepare(&config.to_string(), &self.settings))
    }

    /// Handles an event on its first attempt, with a config that is checked first.
    ///
    /// # Panics
    ///
    /// If the config is not valid: a hook with it would not exist.
    pub fn handle<H: Handler>(&self, event: Event, config: &Value) -> Result<Answer, Failure> {
        self.handle_attempt::<H>(event, super::attempt(), config)
    }

    /// The same, on an attempt of your choice.
    ///
    /// # Panics
    ///
    /// If the config is not valid: a hook with it would not exist.
    pub fn handle_attempt<H: Handler>(&self, event: Event, attempt: Attempt, config: &Value) -> Result<Answer, Failure> {
        let stored = match self.validate::<H>(config) {
            Ok(stored) => stored,
            Err(violations) => panic!("the config of this test is not valid: {violations}"),
        };
        // Through text, as in the host: what `validate` gave back must be readable.
        let config = serde_json::from_str(&stored.to_string()).expect("a stored config can be read");
        self.run(|| H::handle(event, attempt, config, self.settings.clone()))
    }

    /// The lines that were written so far.
    pub fn logs(&self) -> Vec<LogLine> {
        self.world.lines.borrow().clone()
    }

    /// The texts of the lines that were written so far.
    pub fn lines(&self) -> Vec<String> {
        self.world.lines.borrow().iter().map(|line| line.text.clone()).collect()
    }

    /// The requests that were made by [`http::send`](crate::http::send) so far. (The one of [`Answer::Send`] is in the answer.)
    pub fn requests(&self) -> Vec<Request> {
        self.world.requests.borrow().clone()
    }

    fn with(mut self, change: impl FnOnce(&mut World)) -> Self {
        change(Rc::get_mut(&mut self.world).expect("nothing runs while a host is being set up"));
        self
    }

    fn run<T>(&self, call: impl FnOnce() -> T) -> T {
        RUNNING.with_borrow_mut(|running| running.push(Rc::clone(&self.world)));
        let _leave = Leave;
        call()
    }
}

/// Ends a call, even if the handler panics: the next test may run on the same thread.
struct Leave;

impl Drop for Leave {
    fn drop(&mut self) {
        RUNNING.with_borrow_mut(|running| running.pop());
    }
}

fn running() -> Option<Rc<World>> {
    RUNNING.with_borrow(|running| running.last().map(Rc::clone))
}

/// `log.write`.
pub(crate) fn write_log(level: Level, line: &[u8]) {
    if let Some(world) = running() {
        world.lines.borrow_mut().push(LogLine { level, text: String::from_utf8_lossy(line).into_owned() });
    }
}

/// `http.send`.
pub(crate) fn send_http(request: Request) -> Result<Response, Error> {
    let world = running().ok_or_else(|| Error::Denied("no test host is running on this thread".into()))?;
    let answer = match &world.answer {
        Some(answer) => answer(&request),
        None => Err(Error::Denied(format!("the test host has no answer for {} {}", request.method, request.url))),
    };
    world.requests.borrow_mut().push(request);
    answer
}

/// The wall clock.
pub(crate) fn unix_seconds() -> u64 {
    running().map_or(0, |world| world.now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::event;
    use crate::{NoConfig, clock, http, log};

    struct Touches;

    impl Handler for Touches {
        type Config = NoConfig;

        fn handle(event: Event, attempt: Attempt, _: NoConfig, settings: Settings) -> Result<Answer, Failure> {
            log::notice(format!("{} of {} at {}", event.name, settings.pid(), clock::unix_seconds()));
            if attempt.number > 1 {
                panic!("the second attempt panics");
            }
            http::send(Request::get("http://h/"))?;
            Ok(Answer::done())
        }
    }

    #[test]
    fn a_handler_touches_its_own_host_only() {
        let first = Host::new().at(5).settings(&json!({ "pid": 7 }));
        let second = Host::new().answer(|_| Ok(Response::new(204)));
        let denied = first.handle::<Touches>(event("s", "one", json!({})), &json!({}));
        assert_eq!(denied, Err(Failure::retry("denied: the test host has no answer for GET http://h/")));
        assert_eq!(second.handle::<Touches>(event("s", "two", json!({})), &json!(null)), Ok(Answer::done()));
        assert_eq!(first.logs(), [LogLine { level: Level::Notice, text: "one of 7 at 5".into() }]);
        assert_eq!(second.lines(), ["two of 42 at 1700000000"]);
        assert_eq!((first.requests().len(), second.requests().len()), (1, 1));
    }

    #[test]
    fn a_panic_leaves_no_host_behind() {
        let host = Host::new();
        let attempt = Attempt { number: 2, ..crate::testing::attempt() };
        let call = std::panic::AssertUnwindSafe(|| host.handle_attempt::<Touches>(event("s", "n", json!({})), attempt, &json!({})));
        assert!(std::panic::catch_unwind(call).is_err());
        assert_eq!(http::send(Request::get("http://h/")), Err(Error::Denied("no test host is running on this thread".into())));
    }

    #[test]
    #[should_panic(expected = "the config of this test is not valid: x: unknown field")]
    fn a_config_that_no_hook_could_have_fails_the_test() {
        let _ = Host::new().handle::<Touches>(event("s", "n", json!({})), &json!({ "x": 1 }));
    }
}
