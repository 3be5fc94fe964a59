//! What follows a backslash, and what stands between brackets.

use super::parse::{Assert, Node, Parser, Wrong};
use super::set::{self, Property, SetBuilder};

/// The meaning of an escape.
pub(super) enum Escape {
    Code(u32),
    Set(SetBuilder),
    Assert(Assert),
    Back(usize),
    BackNamed(Vec<u8>),
    Keep,
    LineBreak,
    /// `\Q…\E`.
    Text(Vec<u32>),
}

impl Parser<'_> {
    /// Reads an escape. In a class `\b` is a backspace, and there are no assertions and no references.
    pub(super) fn escape(&mut self, in_class: bool) -> Result<Escape, Wrong> {
        self.at += 1;
        let Some(letter) = self.peek() else { return Err(self.wrong("\\ at end of pattern")) };
        if let Some(set) = self.set_escape(letter)? {
            return Ok(Escape::Set(set));
        }
        if !in_class && let Some(escape) = self.outside_escape(letter)? {
            return Ok(escape);
        }
        if let b'0'..=b'9' = letter {
            return self.digits(in_class);
        }
        self.at += 1;
        Ok(match letter {
            b'a' => Escape::Code(0x07),
            b'b' if in_class => Escape::Code(0x08),
            b'e' => Escape::Code(0x1b),
            b'f' => Escape::Code(0x0c),
            b'n' => Escape::Code(0x0a),
            b'r' => Escape::Code(0x0d),
            b't' => Escape::Code(0x09),
            b'x' => Escape::Code(self.hexadecimal()?),
            b'c' => {
                let Some(control) = self.peek().filter(u8::is_ascii) else { return Err(self.wrong("\\c at end of pattern")) };
                self.at += 1;
                Escape::Code(u32::from(control.to_ascii_uppercase() ^ 0x40))
            }
            b'Q' => Escape::Text(self.quoted()),
            b'E' => Escape::Text(Vec::new()),
            _ if letter.is_ascii_alphanumeric() => {
                return Err(self.wrong("unrecognized character follows \\"));
            }
            _ => {
                self.at -= 1;
                Escape::Code(self.next_code().unwrap_or(0))
            }
        })
    }

    /// `\d`, `\p{L}`: what means the same inside and outside of brackets.
    fn set_escape(&mut self, letter: u8) -> Result<Option<SetBuilder>, Wrong> {
        let mut set = SetBuilder::default();
        let ranges = match letter.to_ascii_lowercase() {
            b'd' => set::DIGITS,
            b'w' => set::WORDS,
            b's' => set::SPACES,
            b'h' => set::HORIZONTAL,
            b'v' => set::VERTICAL,
            b'n' if letter == b'N' => {
                set.add_others(&[(0x0a, 0x0a)]);
                self.at += 1;
                return Ok(Some(set));
            }
            b'p' => {
                self.at += 1;
                let (property, wanted) = self.property()?;
                set.add_property(property, wanted == (letter == b'p'));
                return Ok(Some(set));
            }
            _ => return Ok(None),
        };
        self.at += 1;
        if letter.is_ascii_lowercase() {
            ranges.iter().for_each(|&(first, last)| set.add(first, last));
        } else {
            set.add_others(ranges);
        }
        Ok(Some(set))
    }

    /// `{Lu}`, `{^L}`, `L`.
    fn property(&mut self) -> Result<(Property, bool), Wrong> {
        let rest = &self.text[self.at..];
        let (name, length) = match rest {
            [b'{', inside @ ..] => match inside.iter().position(|&byte| byte == b'}') {
                Some(end) => (&inside[..end], end + 2),
                None => return Err(self.wrong("malformed \\P or \\p sequence")),
            },
            [_, ..] => (&rest[..1], 1),
            [] => return Err(self.wrong("malformed \\P or \\p sequence")),
        };
        let (name, wanted) = name.strip_prefix(b"^").map_or((name, true), |name| (name, false));
        let property = Property::named(name).ok_or_else(|| self.wrong("unknown property name after \\P or \\p"))?;
        self.at += length;
        Ok((property, wanted))
    }

    fn outside_escape(&mut self, letter: u8) -> Result<Option<Escape>, Wrong> {
        let simple = match letter {
            b'A' => Escape::Assert(Assert::SubjectStart),
            b'Z' => Escape::Assert(Assert::SubjectEndLine),
            b'z' => Escape::Assert(Assert::SubjectEnd),
            b'b' => Escape::Assert(Assert::WordEdge),
            b'B' => Escape::Assert(Assert::NotWordEdge),
            b'G' => Escape::Assert(Assert::SearchStart),
            b'K' => Escape::Keep,
            b'R' => Escape::LineBreak,
            b'g' => return self.group_reference().map(Some),
            b'k' => {
                self.at += 1;
                let end = match self.peek() {
                    Some(b'<') => b'>',
                    Some(b'{') => b'}',
                    Some(b'\'') => b'\'',
                    _ => return Err(self.wrong("\\k is not followed by a braced, angle-bracketed, or quoted name")),
                };
                self.at += 1;
                return self.name(end).map(|name| Some(Escape::BackNamed(name)));
            }
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some(simple))
    }

    /// `\g1`, `\g{1}`, `\g{-1}`, `\g{name}`.
    fn group_reference(&mut self) -> Result<Escape, Wrong> {
        const MESSAGE: &str = "a numbered reference must not be zero";
        self.at += 1;
        let braced = self.eat(b"{");
        let relative = self.eat(b"-");
        let mut number = 0_usize;
        let start = self.at;
        while let Some(digit) = self.peek().filter(u8::is_ascii_digit) {
            number = (number * 10 + usize::from(digit - b'0')).min(100_000);
            self.at += 1;
        }
        if self.at == start {
            if braced && !relative {
                return self.name(b'}').map(Escape::BackNamed);
            }
            return Err(self.wrong("\\g is not followed by a braced, angle-bracketed, or quoted name/number or by a plain number"));
        }
        if braced && !self.eat(b"}") {
            return Err(self.wrong("\\g is not followed by a braced, angle-bracketed, or quoted name/number or by a plain number"));
        }
        if relative {
            number = (self.groups + 1).checked_sub(number).ok_or_else(|| self.wrong("reference to non-existent subpattern"))?;
        }
        if number == 0 { Err(self.wrong(MESSAGE)) } else { Ok(Escape::Back(number)) }
    }

    /// A reference, or an octal code: PCRE takes `\1` to `\9` for a reference, and more digits if there are so many groups before.
    fn digits(&mut self, in_class: bool) -> Result<Escape, Wrong> {
        let rest = &self.text[self.at..];
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count().min(5);
        let number = rest[..length].iter().fold(0_usize, |sum, digit| sum * 10 + usize::from(digit - b'0'));
        if !in_class && rest[0] != b'0' && (number < 10 || number <= self.groups) {
            self.at += length;
            return Ok(Escape::Back(number));
        }
        let octal = rest.iter().take(3).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
        if octal == 0 {
            self.at += 1;
            return Ok(Escape::Code(u32::from(rest[0])));
        }
        let code = rest[..octal].iter().fold(0_u32, |sum, digit| sum * 8 + u32::from(digit - b'0'));
        self.at += octal;
        Ok(Escape::Code(if self.flags.utf { code } else { code & 0xff }))
    }

    /// `\x41`, `\x{20ac}`.
    fn hexadecimal(&mut self) -> Result<u32, Wrong> {
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        if self.peek() == Some(b'{') {
            let inside = &self.text[self.at + 1..];
            let length = inside.iter().take_while(|byte| digit(byte).is_some()).count();
            if length > 0 && length <= 8 && inside.get(length) == Some(&b'}') {
                let code = inside[..length].iter().filter_map(digit).fold(0, |sum, digit| sum << 4 | digit);
                self.at += length + 2;
                let fits = if self.flags.utf { char::from_u32(code).is_some() } else { code < 256 };
                return if fits { Ok(code) } else { Err(self.wrong("character value in \\x{} or \\o{} is too large")) };
            }
        }
        let rest = &self.text[self.at..];
        let length = rest.iter().take(2).take_while(|byte| digit(byte).is_some()).count();
        self.at += length;
        Ok(rest[..length].iter().filter_map(digit).fold(0, |sum, digit| sum << 4 | digit))
    }

    fn quoted(&mut self) -> Vec<u32> {
        let mut codes = Vec::new();
        while self.at < self.text.len() && !self.eat(b"\\E") {
            codes.extend(self.next_code());
        }
        codes
    }

    /// A class; its `[` is eaten.
    pub(super) fn class(&mut self) -> Result<Node, Wrong> {
        let negated = self.eat(b"^");
        let mut set = SetBuilder::default();
        let mut first = true;
        loop {
            match self.peek() {
                None => return Err(self.wrong("missing terminating ] for character class")),
                Some(b']') if !first => break,
                Some(b'[') if self.posix_class(&mut set)? => {}
                Some(_) => self.class_item(&mut set)?,
            }
            first = false;
        }
        self.at += 1;
        Ok(Node::Set(set.build(negated, self.flags.caseless, self.flags.utf)))
    }

    fn posix_class(&mut self, set: &mut SetBuilder) -> Result<bool, Wrong> {
        let rest = &self.text[self.at..];
        let Some(inside) = rest.strip_prefix(b"[:") else { return Ok(false) };
        let length = inside.iter().take_while(|&&byte| byte == b'^' || byte.is_ascii_lowercase()).count();
        if !inside[length..].starts_with(b":]") {
            return Ok(false);
        }
        let (name, negated) = inside[..length].strip_prefix(b"^").map_or((&inside[..length], false), |name| (name, true));
        let ranges = set::posix(name).ok_or_else(|| self.wrong("unknown POSIX class name"))?;
        if negated {
            set.add_others(ranges);
        } else {
            ranges.iter().for_each(|&(first, last)| set.add(first, last));
        }
        self.at += length + 4;
        Ok(true)
    }

    fn class_item(&mut self, set: &mut SetBuilder) -> Result<(), Wrong> {
        let Some(first) = self.class_code(set)? else { return Ok(()) };
        let range = self.peek() == Some(b'-') && !matches!(self.text.get(self.at + 1), None | Some(b']'));
        if !range {
            set.add(first, first);
            return Ok(());
        }
        let hyphen = self.at;
        self.at += 1;
        match self.class_code(set)? {
            // `[a-\d]`: the hyphen is a hyphen.
            None => {
                set.add(first, first);
                set.add(0x2d, 0x2d);
            }
            Some(last) if last < first => return Err(Wrong { message: "range out of order in character class", at: hyphen }),
            Some(last) => set.add(first, last),
        }
        Ok(())
    }

    /// One character of a class. None: it was a set, and is added.
    fn class_code(&mut self, set: &mut SetBuilder) -> Result<Option<u32>, Wrong> {
        if self.peek() != Some(b'\\') {
            return Ok(self.next_code());
        }
        match self.escape(true)? {
            Escape::Code(code) => Ok(Some(code)),
            Escape::Set(other) => {
                set.merge(other);
                Ok(None)
            }
            Escape::Text(codes) => {
                codes.into_iter().for_each(|code| set.add(code, code));
                Ok(None)
            }
            Escape::Assert(_) | Escape::Back(_) | Escape::BackNamed(_) | Escape::Keep | Escape::LineBreak => {
                Err(self.wrong("escape sequence is invalid in character class"))
            }
        }
    }
}
