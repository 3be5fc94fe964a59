//! What a parenthesis begins: groups, looks, conditions, flags.

use super::Flags;
use super::parse::{Name, Node, Parser, Wrong};

/// More than any pattern that a person wrote.
const GROUPS_MAX: usize = 1_000;

impl Parser<'_> {
    pub(super) fn group(&mut self) -> Result<Node, Wrong> {
        let outer = self.flags;
        self.at += 1;
        if self.peek() == Some(b'*') {
            return Err(self.wrong("(*VERB) not recognized or malformed"));
        }
        let node = if self.eat(b"?") { self.special()? } else { self.capture(None)? };
        let Some(node) = node else { return Ok(Node::Empty) };
        if !self.eat(b")") {
            return Err(self.wrong("missing )"));
        }
        self.flags = outer;
        Ok(node)
    }

    fn capture(&mut self, name: Option<Vec<u8>>) -> Result<Option<Node>, Wrong> {
        self.groups += 1;
        let group = self.groups;
        if group > GROUPS_MAX {
            return Err(self.wrong("regular expression is too large"));
        }
        if let Some(name) = name {
            if !self.flags.duplicate_names && self.names.iter().any(|(other, number)| *other == name && *number != group) {
                return Err(self.wrong("two named subpatterns have the same name"));
            }
            self.names.push((name, group));
        }
        Ok(Some(Node::Group(Box::new(self.alternatives()?), group)))
    }

    /// What follows `(?`. None: flags for the rest of the enclosing group, with its parenthesis eaten.
    fn special(&mut self) -> Result<Option<Node>, Wrong> {
        let looks: [(&[u8], bool, bool); 4] = [(b"=", false, false), (b"!", false, true), (b"<=", true, false), (b"<!", true, true)];
        for (mark, behind, negated) in looks {
            if self.eat(mark) {
                let node = Box::new(self.alternatives()?);
                return Ok(Some(Node::Look { node, behind, negated }));
            }
        }
        if self.eat(b":") {
            return self.plain().map(Some);
        }
        if self.eat(b">") {
            return Ok(Some(Node::Atomic(Box::new(self.alternatives()?))));
        }
        if self.eat(b"|") {
            return self.branch_reset().map(Some);
        }
        if self.eat(b"(") {
            return self.condition().map(Some);
        }
        if self.eat(b"P=") {
            let (name, caseless) = (self.name(b')')?, self.flags.caseless);
            self.at -= 1;
            return Ok(Some(Node::BackNamed { name, caseless }));
        }
        for (mark, end) in [(&b"P<"[..], b'>'), (b"<", b'>'), (b"'", b'\'')] {
            if self.eat(mark) {
                let name = self.name(end)?;
                return self.capture(Some(name));
            }
        }
        if matches!(self.peek(), Some(b'R' | b'0'..=b'9' | b'&' | b'P' | b'+' | b'C')) {
            return Err(self.wrong("recursion and callouts are not supported"));
        }
        self.inline_flags()
    }

    /// A group that captures nothing. (In a group of its own, so that a quantifier takes all of it.)
    fn plain(&mut self) -> Result<Node, Wrong> {
        Ok(match self.alternatives()? {
            node @ Node::Cat(_) => Node::Alt(vec![node]),
            node => node,
        })
    }

    /// `(?|…)`: every alternative counts its groups from the same number.
    fn branch_reset(&mut self) -> Result<Node, Wrong> {
        let first = self.groups;
        let mut most = first;
        let mut branches = Vec::new();
        loop {
            self.groups = first;
            branches.push(self.branch()?);
            most = most.max(self.groups);
            if !self.eat(b"|") {
                break;
            }
        }
        self.groups = most;
        Ok(Node::Alt(branches))
    }

    /// `(?(1)yes|no)`, `(?(<name>)…)`, `(?(name)…)`.
    fn condition(&mut self) -> Result<Node, Wrong> {
        let start = self.at;
        let name = if self.eat(b"<") {
            let name = self.name(b'>')?;
            self.eat(b")").then_some(name).ok_or_else(|| self.wrong("missing ) after condition"))?
        } else if self.eat(b"?") {
            return Err(self.wrong("conditions that are assertions are not supported"));
        } else {
            self.name(b')')?
        };
        let number =
            name.iter().try_fold(0_usize, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 % 100_000 + usize::from(byte - b'0')));
        let group = match number {
            Some(group) => {
                self.refer(group, start);
                Name::Number(group)
            }
            None => Name::Text(name),
        };
        let yes = Box::new(self.branch()?);
        let no = Box::new(if self.eat(b"|") { self.branch()? } else { Node::Empty });
        if self.peek() == Some(b'|') {
            return Err(self.wrong("conditional group contains more than two branches"));
        }
        Ok(Node::If { group, yes, no })
    }

    /// A name up to `end`, which is eaten.
    pub(super) fn name(&mut self, end: u8) -> Result<Vec<u8>, Wrong> {
        let rest = &self.text[self.at..];
        let length = rest.iter().take_while(|&&byte| byte == b'_' || byte.is_ascii_alphanumeric()).count();
        if length == 0 || length > 32 || rest.get(length) != Some(&end) {
            return Err(self.wrong("syntax error in subpattern name (missing terminator)"));
        }
        self.at += length + 1;
        Ok(rest[..length].to_vec())
    }

    /// `(?i)`, `(?i-s:…)`, `(?^)`.
    fn inline_flags(&mut self) -> Result<Option<Node>, Wrong> {
        let mut on = true;
        if self.eat(b"^") {
            let Flags { utf, duplicate_names, .. } = self.flags;
            self.flags = Flags { utf, duplicate_names, ..Flags::default() };
        }
        loop {
            let Some(letter) = self.peek() else { return Err(self.wrong("missing )")) };
            self.at += 1;
            match letter {
                b'-' => on = false,
                b'i' => self.flags.caseless = on,
                b'm' => self.flags.multi_line = on,
                b's' => self.flags.dot_all = on,
                b'x' => self.flags.extended = on,
                b'U' => self.flags.ungreedy = on,
                b'J' => self.flags.duplicate_names = on,
                b':' => return self.plain().map(Some),
                b')' => return Ok(None),
                _ => {
                    self.at -= 1;
                    return Err(self.wrong("unrecognized character after (? or (?-"));
                }
            }
        }
    }
}
