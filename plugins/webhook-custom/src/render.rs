//! Filling in templates: without an interpreter where a template only names members of the data, as all of Kong's documented ones do; else in Lua,
//! in the sandbox that `lambda` has too.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};
use tenterhook_lua::template::{Plain, Template};
use tenterhook_lua::{Options, State, Value};
use tenterhook_sdk::{Event, Failure};

/// What messages call a template.
const NAME: &str = "template";

/// An interpreter, and the templates that it has compiled, by their text.
struct Lua {
    state: State,
    compiled: BTreeMap<String, Template>,
}

thread_local! {
    /// Made by [`prepare`], taken by the first attempt: what one event changes in it, the next must not see.
    static PREPARED: RefCell<Option<Lua>> = const { RefCell::new(None) };
}

impl Lua {
    fn new() -> Result<Self, String> {
        let state = State::new(&Options::default()).map_err(|error| error.to_string())?;
        Ok(Self { state, compiled: BTreeMap::new() })
    }

    fn render(&mut self, text: &str, data: &Value) -> Result<Vec<u8>, Vec<u8>> {
        if !self.compiled.contains_key(text) {
            let template = Template::compile(&mut self.state, NAME, text.as_bytes())?;
            self.compiled.insert(text.to_owned(), template);
        }
        self.compiled[text].render(&mut self.state, data)
    }
}

/// Compiles the templates that need the interpreter.
pub(crate) fn prepare<'a>(templates: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut lua = None;
    for text in templates.filter(|text| Plain::compile(text.as_bytes()).is_none()) {
        let lua: &mut Lua = lua.get_or_insert(Lua::new()?);
        let template = Template::compile(&mut lua.state, NAME, text.as_bytes()).map_err(|error| lossy(&error))?;
        lua.compiled.insert(text.to_owned(), template);
    }
    PREPARED.set(lua);
    Ok(())
}

/// Fills in the templates of one attempt.
pub(crate) struct Renderer {
    /// What templates see: the event's data, with `event` and `source` beside them.
    data: Json,
    seed: u64,
    /// Made for the first template that needs it.
    lua: Option<(Lua, Value)>,
}

impl Renderer {
    /// For this event. Data that are no object are seen as `data`.
    pub(crate) fn of(event: &Event, seed: u64) -> Result<Self, Failure> {
        let mut members = match serde_json::from_str(&event.data)? {
            Json::Object(members) => members,
            other => Map::from_iter([("data".to_owned(), other)]),
        };
        members.insert("event".into(), event.name.as_str().into());
        members.insert("source".into(), event.source.as_str().into());
        Ok(Self { data: Json::Object(members), seed, lua: None })
    }

    /// The text filled in, or as it stands. An error in a template is a failure of this attempt, as in Kong.
    pub(crate) fn text(&mut self, text: &str, is_template: bool) -> Result<Vec<u8>, Failure> {
        if !is_template {
            return Ok(text.as_bytes().to_vec());
        }
        let rendered = match Plain::compile(text.as_bytes()) {
            Some(plain) => plain.render(NAME, &self.data),
            None => {
                let (lua, data) = self.lua().map_err(Failure::retry)?;
                lua.render(text, data)
            }
        };
        rendered.map_err(|error| Failure::retry(lossy(&error)))
    }

    /// Leaves the interpreter's memory to the end of the instance, which serves one event.
    pub(crate) fn abandon(self) {
        if let Some((lua, _)) = self.lua {
            lua.state.abandon();
        }
    }

    fn lua(&mut self) -> Result<(&mut Lua, &Value), String> {
        let ready = match self.lua.take() {
            Some(ready) => ready,
            None => {
                let mut lua = PREPARED.take().map_or_else(Lua::new, Ok)?;
                lua.state.reseed(self.seed);
                (lua, Value::from_json(&self.data.to_string()).map_err(|error| error.to_string())?)
            }
        };
        let (lua, data) = self.lua.insert(ready);
        Ok((lua, data))
    }
}

fn lossy(error: &[u8]) -> String {
    String::from_utf8_lossy(error).into_owned()
}
