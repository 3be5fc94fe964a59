//! `ngx.re`, as far as it needs no callback: patterns, kept once compiled, and their matches, many at a time. The rest is `lua/re.lua`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::regex::{Flags, Regex};
use crate::{Args, Reply, Value};

/// More patterns than this are not kept: a script that makes them of its data would fill the memory.
const PATTERNS_MAX: usize = 200;
/// Numbers in one answer.
const PLACES_MAX: usize = 8_192;

type Compiled = Result<Rc<Regex>, Vec<u8>>;
/// Pattern and flags.
type Key = (Vec<u8>, Vec<u8>);

/// The patterns of one state.
#[derive(Default)]
pub(super) struct Patterns(RefCell<HashMap<Key, Compiled>>);

impl Patterns {
    /// The error of a wrong flag is raised, that of a wrong pattern is given back.
    fn compiled(&self, args: Args<'_>) -> Result<Compiled, String> {
        let key = (args.bytes(1, "re")?.into_owned(), args.bytes(2, "re")?.into_owned());
        let mut patterns = self.0.borrow_mut();
        if let Some(found) = patterns.get(&key) {
            return Ok(found.clone());
        }
        let compiled = Regex::new(&key.0, Flags::read(&key.1)?).map(Rc::new);
        if patterns.len() >= PATTERNS_MAX {
            patterns.clear();
        }
        patterns.insert(key, compiled.clone());
        Ok(compiled)
    }

    /// `host.re_names(pattern, flags)`: names and numbers in turn, or nil and why the pattern is wrong.
    pub(super) fn names(&self, args: Args<'_>) -> Reply {
        Ok(match self.compiled(args)? {
            Err(why) => vec![Value::Nil, Value::Bytes(why)],
            Ok(regex) => {
                let names = regex.names().iter().flat_map(|(name, group)| [Value::text(name), Value::Number(*group as f64)]);
                vec![Value::List(names.collect()), Value::Number(regex.groups() as f64)]
            }
        })
    }

    /// `host.re_search(pattern, flags, subject, from, count)`: the next matches from this place on (0 is the first), as a list of starts and ends of all
    /// groups (counted from 1, the end included; `start` 0: not set), and where to go on, or nil at the end. Or nil and why it failed.
    pub(super) fn search(&self, args: Args<'_>) -> Reply {
        let regex = match self.compiled(args)? {
            Ok(regex) => regex,
            Err(why) => return Ok(vec![Value::Nil, Value::Bytes(why)]),
        };
        let subject = args.bytes(3, "re")?;
        let (mut from, mut left) = (args.number(4, "re")? as usize, args.number(5, "re")? as usize);
        let mut places = Vec::new();
        while left > 0 && places.len() < PLACES_MAX {
            left -= 1;
            let found = match regex.find(&subject, from) {
                Ok(Some(found)) => found,
                Ok(None) => return Ok(vec![Value::List(places), Value::Nil]),
                Err(why) => return Ok(vec![Value::Nil, Value::text(why.message())]),
            };
            for place in &found {
                let (start, end) = place.map_or((0, 0), |(start, end)| (start + 1, end));
                places.extend([Value::Number(start as f64), Value::Number(end as f64)]);
            }
            let (start, end) = found.first().copied().flatten().unwrap_or((from, from));
            // After nothing, one character on.
            from = if start == end { regex.after(&subject, end) } else { end };
        }
        Ok(vec![Value::List(places), Value::Number(from as f64)])
    }
}
