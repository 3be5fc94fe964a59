//! Which characters one place of a pattern accepts: `[a-z]`, `\d`, `.`.

/// A property of characters that `\p{…}` can name. PCRE knows every script and category; these are the ones that Rust's core library has tables for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Property {
    Letter,
    Upper,
    Lower,
    Number,
}

impl Property {
    pub(super) fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"L" | b"L&" => Some(Self::Letter),
            b"Lu" => Some(Self::Upper),
            b"Ll" => Some(Self::Lower),
            b"N" | b"Nd" => Some(Self::Number),
            _ => None,
        }
    }

    fn holds(self, character: char) -> bool {
        match self {
            Self::Letter => character.is_alphabetic(),
            Self::Upper => character.is_uppercase(),
            Self::Lower => character.is_lowercase(),
            Self::Number => character.is_numeric(),
        }
    }
}

/// What stands between the brackets, while it is being read.
#[derive(Clone, Debug, Default)]
pub(super) struct SetBuilder {
    ranges: Vec<(u32, u32)>,
    properties: Vec<(Property, bool)>,
}

impl SetBuilder {
    pub(super) fn add(&mut self, first: u32, last: u32) {
        self.ranges.push((first, last));
    }

    pub(super) fn add_property(&mut self, property: Property, wanted: bool) {
        self.properties.push((property, wanted));
    }

    /// Everything but these sorted ranges.
    pub(super) fn add_others(&mut self, ranges: &[(u32, u32)]) {
        let mut next = 0;
        for &(first, last) in ranges {
            if first > next {
                self.add(next, first - 1);
            }
            next = last + 1;
        }
        self.add(next, u32::MAX);
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.ranges.extend(other.ranges);
        self.properties.extend(other.properties);
    }

    /// `utf`: the subject is UTF-8 and a character is a code point; otherwise it is a byte.
    pub(super) fn build(self, negated: bool, caseless: bool, utf: bool) -> Set {
        let mut set = Set { low: [0; 4], high: Vec::new(), properties: self.properties, negated, caseless };
        for code in 0..if utf { 128 } else { 256 } {
            let mut inside = self.ranges.iter().any(|&(first, last)| (first..=last).contains(&code)) || set.has_property(code);
            if caseless && let Some(other) = other_case(code) {
                inside |= self.ranges.iter().any(|&(first, last)| (first..=last).contains(&other)) || set.has_property(other);
            }
            if inside != negated {
                set.low[code as usize / 64] |= 1 << (code % 64);
            }
        }
        set.high = if utf { self.ranges.into_iter().filter(|range| range.1 >= 128).collect() } else { Vec::new() };
        set
    }
}

/// The other case of an ASCII letter. (Bytes above 127 have no case: nginx runs in the C locale.)
fn other_case(code: u32) -> Option<u32> {
    let byte = u8::try_from(code).ok().filter(u8::is_ascii_alphabetic)?;
    Some(u32::from(byte ^ 0x20))
}

/// A finished set.
#[derive(Clone, Debug)]
pub(super) struct Set {
    /// One bit for each byte; in a UTF-8 pattern only the first 128 count. Negation and case are worked in.
    low: [u64; 4],
    /// Code points from 128 on, before negation.
    high: Vec<(u32, u32)>,
    properties: Vec<(Property, bool)>,
    negated: bool,
    caseless: bool,
}

impl Set {
    pub(super) fn has_byte(&self, byte: u8) -> bool {
        self.low[usize::from(byte) / 64] >> (byte % 64) & 1 == 1
    }

    /// For a UTF-8 pattern.
    pub(super) fn has_char(&self, character: char) -> bool {
        if let Ok(byte) = u8::try_from(character)
            && byte < 128
        {
            return self.has_byte(byte);
        }
        let mut inside = self.has_high(character);
        if self.caseless && !inside {
            inside = cases(character).any(|other| self.has_high(other));
        }
        inside != self.negated
    }

    fn has_high(&self, character: char) -> bool {
        let code = u32::from(character);
        self.high.iter().any(|&(first, last)| (first..=last).contains(&code)) || self.has_property(code)
    }

    fn has_property(&self, code: u32) -> bool {
        !self.properties.is_empty()
            && char::from_u32(code)
                .is_some_and(|character| self.properties.iter().any(|&(property, wanted)| property.holds(character) == wanted))
    }
}

/// The character in its other cases.
pub(super) fn cases(character: char) -> impl Iterator<Item = char> {
    character.to_lowercase().chain(character.to_uppercase())
}

/// Whether two characters are the same but for their case.
pub(super) fn same_but_case(left: char, right: char) -> bool {
    left == right || cases(left).any(|other| other == right) || left.to_lowercase().eq(right.to_lowercase())
}

pub(super) const DIGITS: &[(u32, u32)] = &[(0x30, 0x39)];
pub(super) const WORDS: &[(u32, u32)] = &[(0x30, 0x39), (0x41, 0x5a), (0x5f, 0x5f), (0x61, 0x7a)];
/// With VT, as PCRE has it since 8.34.
pub(super) const SPACES: &[(u32, u32)] = &[(0x09, 0x0d), (0x20, 0x20)];
pub(super) const HORIZONTAL: &[(u32, u32)] = &[
    (0x09, 0x09),
    (0x20, 0x20),
    (0xa0, 0xa0),
    (0x1680, 0x1680),
    (0x180e, 0x180e),
    (0x2000, 0x200a),
    (0x202f, 0x202f),
    (0x205f, 0x205f),
    (0x3000, 0x3000),
];
pub(super) const VERTICAL: &[(u32, u32)] = &[(0x0a, 0x0d), (0x85, 0x85), (0x2028, 0x2029)];

/// The ranges of `[:name:]`.
pub(super) fn posix(name: &[u8]) -> Option<&'static [(u32, u32)]> {
    Some(match name {
        b"alpha" => &[(0x41, 0x5a), (0x61, 0x7a)],
        b"lower" => &[(0x61, 0x7a)],
        b"upper" => &[(0x41, 0x5a)],
        b"alnum" => &[(0x30, 0x39), (0x41, 0x5a), (0x61, 0x7a)],
        b"ascii" => &[(0, 0x7f)],
        b"blank" => &[(0x09, 0x09), (0x20, 0x20)],
        b"cntrl" => &[(0, 0x1f), (0x7f, 0x7f)],
        b"digit" => DIGITS,
        b"graph" => &[(0x21, 0x7e)],
        b"print" => &[(0x20, 0x7e)],
        b"punct" => &[(0x21, 0x2f), (0x3a, 0x40), (0x5b, 0x60), (0x7b, 0x7e)],
        b"space" => SPACES,
        b"word" => WORDS,
        b"xdigit" => &[(0x30, 0x39), (0x41, 0x46), (0x61, 0x66)],
        _ => return None,
    })
}
