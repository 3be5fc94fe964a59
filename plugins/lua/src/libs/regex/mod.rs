//! Regular expressions in PCRE's syntax, for `ngx.re`. A matcher of our own, because the known crates bring Unicode tables that weigh more than the whole
//! component may, and none has lookbehind, backreferences, possessive quantifiers and PCRE's error texts together.

mod escape;
mod exec;
mod first;
mod group;
mod parse;
mod program;
mod set;
#[cfg(test)]
mod tests;

pub(crate) use exec::Places;
use program::Program;

/// How a pattern is read and run: the letters of `ngx.re`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Flags {
    pub(crate) anchored: bool,
    pub(crate) caseless: bool,
    pub(crate) multi_line: bool,
    pub(crate) dot_all: bool,
    pub(crate) extended: bool,
    pub(crate) utf: bool,
    pub(crate) ungreedy: bool,
    pub(crate) duplicate_names: bool,
    /// PCRE's DFA: the longest match, and no groups.
    pub(crate) longest: bool,
}

impl Flags {
    /// Reads the letters. `o` (compile once) and `j` (just in time) mean nothing here: every pattern is kept.
    pub(crate) fn read(letters: &[u8]) -> Result<Self, String> {
        let mut flags = Self::default();
        for letter in letters {
            match letter {
                b'a' => flags.anchored = true,
                b'd' => flags.longest = true,
                b'i' => flags.caseless = true,
                b'm' => flags.multi_line = true,
                b's' => flags.dot_all = true,
                b'x' => flags.extended = true,
                b'u' | b'U' => flags.utf = true,
                b'D' => flags.duplicate_names = true,
                b'o' | b'j' | b'J' => {}
                other => return Err(format!("unknown flag \"{}\" (flags \"{}\")", char::from(*other), String::from_utf8_lossy(letters))),
            }
        }
        Ok(flags)
    }
}

/// Why a search gave up. The numbers are PCRE's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exec {
    TooManySteps,
    TooDeep,
    NotUtf8,
}

impl Exec {
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::TooManySteps => "pcre_exec() failed: -8",
            Self::TooDeep => "pcre_exec() failed: -21",
            Self::NotUtf8 => "pcre_exec() failed: -10",
        }
    }
}

/// The longest pattern that is read.
const PATTERN_MAX: usize = 64 << 10;

/// A compiled pattern.
pub(crate) struct Regex {
    program: Program,
    flags: Flags,
}

impl Regex {
    /// The error is what `ngx.re` gives as its second value.
    pub(crate) fn new(pattern: &[u8], flags: Flags) -> Result<Self, Vec<u8>> {
        let wrong = |message: &str, at: Option<usize>| {
            let mut text = format!("pcre_compile() failed: {message} in \"").into_bytes();
            text.extend_from_slice(pattern);
            if let Some(at) = at.filter(|&at| at < pattern.len()) {
                text.extend_from_slice(b"\" at \"");
                text.extend_from_slice(&pattern[at..]);
            }
            text.push(b'"');
            text
        };
        if pattern.len() > PATTERN_MAX {
            return Err(b"pcre_compile() failed: regular expression is too large".to_vec());
        }
        if (flags.utf || pattern.starts_with(b"(*UTF")) && std::str::from_utf8(pattern).is_err() {
            return Err(wrong("invalid UTF-8 string", None));
        }
        let parsed = parse::parse(pattern, flags).map_err(|parse::Wrong { message, at }| wrong(message, Some(at)))?;
        let flags = parsed.flags;
        let program = program::compile(parsed).map_err(|refusal| wrong(refusal.message(), None))?;
        Ok(Self { program, flags })
    }

    /// The first match at or after the byte `from`: start and end of each group, group 0 first. `\K` can put a start behind the end: then it is empty.
    pub(crate) fn find(&self, subject: &[u8], from: usize) -> Result<Option<Places>, Exec> {
        if from > subject.len() {
            return Ok(None);
        }
        // A search that goes on was checked when it began.
        if self.flags.utf && from == 0 && std::str::from_utf8(subject).is_err() {
            return Err(Exec::NotUtf8);
        }
        let found = exec::search(&self.program, subject, from, self.flags.anchored, self.flags.longest)?;
        Ok(found.map(|places| places.into_iter().map(|place| place.map(|(start, end)| (start.min(end), end))).collect()))
    }

    /// The place one character on; behind the end, if this is the end.
    pub(crate) fn after(&self, subject: &[u8], at: usize) -> usize {
        if self.flags.utf && at < subject.len() { at + exec::decode(subject, at).1 } else { at + 1 }
    }

    /// The names of groups, in the order of the pattern.
    pub(crate) fn names(&self) -> &[(Vec<u8>, usize)] {
        &self.program.names
    }

    pub(crate) fn groups(&self) -> usize {
        self.program.groups
    }
}
