//! The text of a pattern → a tree. The syntax is PCRE's (pcrepattern(3)), without recursion, callouts and backtracking verbs.

use super::Flags;
use super::escape::Escape;
use super::set::{Set, SetBuilder};

/// PCRE's own limit for nested parentheses.
const DEPTH_MAX: usize = 250;
/// PCRE's own limit for a number in braces.
const COUNT_MAX: u32 = 65_535;

#[derive(Clone, Debug)]
pub(super) enum Node {
    Empty,
    Literal {
        code: u32,
        caseless: bool,
    },
    Set(Set),
    Group(Box<Node>, usize),
    Cat(Vec<Node>),
    Alt(Vec<Node>),
    Repeat {
        node: Box<Node>,
        min: u32,
        max: Option<u32>,
        kind: Kind,
    },
    Look {
        node: Box<Node>,
        behind: bool,
        negated: bool,
    },
    Atomic(Box<Node>),
    Assert(Assert),
    Back {
        group: usize,
        caseless: bool,
    },
    BackNamed {
        name: Vec<u8>,
        caseless: bool,
    },
    If {
        group: Name,
        yes: Box<Node>,
        no: Box<Node>,
    },
    /// `\K`: what is matched starts here.
    Keep,
}

/// A group, by number or by name.
#[derive(Clone, Debug)]
pub(super) enum Name {
    Number(usize),
    Text(Vec<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Greedy,
    Lazy,
    Possessive,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Assert {
    SubjectStart,
    LineStart,
    SubjectEnd,
    /// At the end, or before a line break that is the last character.
    SubjectEndLine,
    LineEnd,
    WordEdge,
    NotWordEdge,
    /// `\G`: where this search began.
    SearchStart,
}

/// What is wrong, in PCRE's words, and at which byte of the pattern.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) message: &'static str,
    pub(super) at: usize,
}

/// A parsed pattern.
pub(super) struct Parsed {
    pub(super) node: Node,
    pub(super) groups: usize,
    pub(super) names: Vec<(Vec<u8>, usize)>,
    pub(super) flags: Flags,
}

pub(super) struct Parser<'a> {
    pub(super) text: &'a [u8],
    pub(super) at: usize,
    pub(super) flags: Flags,
    pub(super) groups: usize,
    pub(super) names: Vec<(Vec<u8>, usize)>,
    /// The highest group that the pattern refers to, and where.
    highest: (usize, usize),
    depth: usize,
}

pub(super) fn parse(text: &[u8], flags: Flags) -> Result<Parsed, Wrong> {
    let mut parser = Parser { text, at: 0, flags, groups: 0, names: Vec::new(), highest: (0, 0), depth: 0 };
    parser.leading_verbs()?;
    let utf = parser.flags.utf;
    let node = parser.alternatives()?;
    if parser.at < text.len() {
        return Err(parser.wrong("unmatched parentheses"));
    }
    if parser.highest.0 > parser.groups {
        return Err(Wrong { message: "reference to non-existent subpattern", at: parser.highest.1 });
    }
    Ok(Parsed { node, groups: parser.groups, names: parser.names, flags: Flags { utf, ..flags } })
}

impl Parser<'_> {
    pub(super) fn wrong(&self, message: &'static str) -> Wrong {
        Wrong { message, at: self.at.min(self.text.len()) }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    pub(super) fn eat(&mut self, expected: &[u8]) -> bool {
        let found = self.text[self.at..].starts_with(expected);
        if found {
            self.at += expected.len();
        }
        found
    }

    /// The next character of the pattern: a byte, or a code point.
    pub(super) fn next_code(&mut self) -> Option<u32> {
        let byte = self.peek()?;
        if !self.flags.utf || byte < 128 {
            self.at += 1;
            return Some(u32::from(byte));
        }
        // The pattern was checked to be UTF-8 before.
        let (code, length) = super::exec::decode(self.text, self.at);
        self.at += length;
        Some(code)
    }

    fn leading_verbs(&mut self) -> Result<(), Wrong> {
        while self.text[self.at..].starts_with(b"(*") {
            if self.eat(b"(*UTF8)") || self.eat(b"(*UTF)") {
                self.flags.utf = true;
            } else if !self.eat(b"(*LF)") {
                return Err(self.wrong("(*VERB) not recognized or malformed"));
            }
        }
        Ok(())
    }

    pub(super) fn alternatives(&mut self) -> Result<Node, Wrong> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.wrong("parentheses are too deeply nested"));
        }
        let mut branches = vec![self.branch()?];
        while self.eat(b"|") {
            branches.push(self.branch()?);
        }
        self.depth -= 1;
        Ok(if branches.len() == 1 { branches.swap_remove(0) } else { Node::Alt(branches) })
    }

    pub(super) fn branch(&mut self) -> Result<Node, Wrong> {
        let mut parts = Vec::new();
        loop {
            self.skip_extended();
            match self.peek() {
                None | Some(b'|' | b')') => break,
                Some(_) => {}
            }
            let part = self.atom()?;
            let part = self.quantified(part)?;
            if !matches!(part, Node::Empty) {
                parts.push(part);
            }
        }
        Ok(match parts.len() {
            0 => Node::Empty,
            1 => parts.swap_remove(0),
            _ => Node::Cat(parts),
        })
    }

    /// White space and comments, under the flag `x`; `(?#…)` always.
    fn skip_extended(&mut self) {
        loop {
            if self.text[self.at..].starts_with(b"(?#") {
                let rest = &self.text[self.at..];
                self.at += rest.iter().position(|&byte| byte == b')').map_or(rest.len(), |end| end + 1);
                continue;
            }
            match self.peek() {
                Some(b' ' | b'\t'..=b'\r') if self.flags.extended => self.at += 1,
                Some(b'#') if self.flags.extended => {
                    let rest = &self.text[self.at..];
                    self.at += rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
                }
                _ => return,
            }
        }
    }

    fn atom(&mut self) -> Result<Node, Wrong> {
        let flags = self.flags;
        match self.peek() {
            Some(b'(') => self.group(),
            Some(b'[') => {
                self.at += 1;
                self.class()
            }
            Some(b'\\') => self.escape_node(),
            Some(b'^') => self.one(Node::Assert(if flags.multi_line { Assert::LineStart } else { Assert::SubjectStart })),
            Some(b'$') => self.one(Node::Assert(if flags.multi_line { Assert::LineEnd } else { Assert::SubjectEndLine })),
            Some(b'.') => {
                let mut set = SetBuilder::default();
                if !flags.dot_all {
                    set.add(0x0a, 0x0a);
                }
                self.one(Node::Set(set.build(true, false, flags.utf)))
            }
            Some(b'*' | b'+' | b'?') => Err(self.wrong("nothing to repeat")),
            _ => {
                let code = self.next_code().unwrap_or(0);
                Ok(Node::Literal { code, caseless: flags.caseless })
            }
        }
    }

    fn one(&mut self, node: Node) -> Result<Node, Wrong> {
        self.at += 1;
        Ok(node)
    }

    fn escape_node(&mut self) -> Result<Node, Wrong> {
        let caseless = self.flags.caseless;
        let start = self.at;
        Ok(match self.escape(false)? {
            Escape::Code(code) => Node::Literal { code, caseless },
            Escape::Set(set) => Node::Set(set.build(false, caseless, self.flags.utf)),
            Escape::Assert(assert) => Node::Assert(assert),
            Escape::Back(group) => {
                self.refer(group, start);
                Node::Back { group, caseless }
            }
            Escape::BackNamed(name) => Node::BackNamed { name, caseless },
            Escape::Keep => Node::Keep,
            Escape::LineBreak => self.line_break(),
            Escape::Text(text) => Node::Cat(text.into_iter().map(|code| Node::Literal { code, caseless }).collect()),
        })
    }

    /// `\R`.
    fn line_break(&self) -> Node {
        let literal = |code| Node::Literal { code, caseless: false };
        let mut set = SetBuilder::default();
        for &(first, last) in super::set::VERTICAL {
            set.add(first, last);
        }
        let pair = Node::Cat(vec![literal(0x0d), literal(0x0a)]);
        Node::Atomic(Box::new(Node::Alt(vec![pair, Node::Set(set.build(false, false, self.flags.utf))])))
    }

    pub(super) fn refer(&mut self, group: usize, at: usize) {
        if group > self.highest.0 {
            self.highest = (group, at);
        }
    }

    fn quantified(&mut self, mut node: Node) -> Result<Node, Wrong> {
        let mut count = 0;
        loop {
            self.skip_extended();
            let Some((min, max)) = self.quantifier()? else { return Ok(node) };
            count += 1;
            if count > 8 || matches!(node, Node::Keep) {
                return Err(self.wrong("nothing to repeat"));
            }
            let kind = if self.eat(b"+") {
                Kind::Possessive
            } else if self.eat(b"?") {
                if self.flags.ungreedy { Kind::Greedy } else { Kind::Lazy }
            } else if self.flags.ungreedy {
                Kind::Lazy
            } else {
                Kind::Greedy
            };
            // A text that `\Q…\E` quoted: the quantifier belongs to its last character.
            if let Node::Cat(parts) = &mut node
                && let Some(last) = parts.pop()
            {
                parts.push(Node::Repeat { node: Box::new(last), min, max, kind });
                continue;
            }
            node = Node::Repeat { node: Box::new(node), min, max, kind };
        }
    }

    fn quantifier(&mut self) -> Result<Option<(u32, Option<u32>)>, Wrong> {
        Ok(Some(match self.peek() {
            Some(b'*') => (self.one(Node::Empty).map(|_| 0)?, None),
            Some(b'+') => (self.one(Node::Empty).map(|_| 1)?, None),
            Some(b'?') => (self.one(Node::Empty).map(|_| 0)?, Some(1)),
            Some(b'{') => return self.counts(),
            _ => return Ok(None),
        }))
    }

    /// `{2}`, `{2,}`, `{2,3}`; anything else in braces is literal text.
    fn counts(&mut self) -> Result<Option<(u32, Option<u32>)>, Wrong> {
        let rest = &self.text[self.at + 1..];
        let Some(end) = rest.iter().position(|&byte| byte == b'}') else { return Ok(None) };
        let inside = &rest[..end];
        let (first, second) = match inside.iter().position(|&byte| byte == b',') {
            Some(comma) => (&inside[..comma], Some(&inside[comma + 1..])),
            None => (inside, None),
        };
        let digits = |text: &[u8]| text.iter().all(u8::is_ascii_digit);
        if first.is_empty() || !digits(first) || !digits(second.unwrap_or_default()) {
            return Ok(None);
        }
        let min = self.count(first)?;
        let max = match second {
            None => Some(min),
            Some([]) => None,
            Some(text) => Some(self.count(text)?),
        };
        self.at += end + 2;
        if max.is_some_and(|max| max < min) {
            return Err(self.wrong("numbers out of order in {} quantifier"));
        }
        Ok(Some((min, max)))
    }

    fn count(&self, digits: &[u8]) -> Result<u32, Wrong> {
        let number = digits.iter().try_fold(0_u32, |sum, digit| sum.checked_mul(10)?.checked_add(u32::from(digit - b'0')));
        number.filter(|&number| number <= COUNT_MAX).ok_or_else(|| self.wrong("number too big in {} quantifier"))
    }
}
