//! Runs a program over a subject, by backtracking as PCRE does: alternatives are tried in their order, and the first way to match wins. The stack is a
//! list, not the machine's, so that no pattern can overflow it.

use super::Exec;
use super::parse::{Assert, Kind};
use super::program::{Op, Program};
use super::set::{Set, same_but_case};

/// Instructions and retries in one search. PCRE's default is ten million calls of its matcher. A search of this length takes about a tenth of a second.
const STEPS_MAX: u32 = 10_000_000;
/// Frames on the stack: 16 bytes each.
const FRAMES_MAX: usize = 300_000;
const UNSET: u32 = u32::MAX;

enum Frame {
    Choice {
        op: u32,
        at: u32,
    },
    Undo {
        slot: u32,
        old: u32,
    },
    /// A greedy run that can give back one more character, down to `low`.
    Back {
        op: u32,
        low: u32,
        at: u32,
    },
    /// A lazy run that can take `left` more.
    Forward {
        op: u32,
        at: u32,
        left: u32,
    },
}

pub(super) struct Search<'a> {
    program: &'a Program,
    subject: &'a [u8],
    /// Where the search began: `\G`.
    from: usize,
    stack: Vec<Frame>,
    slots: Vec<u32>,
    steps: u32,
    /// Of all ways to match, the longest: what PCRE's DFA finds.
    longest: bool,
    best: Option<(u32, u32)>,
}

/// The places of the groups: start and end of each, group 0 first.
pub(crate) type Places = Vec<Option<(usize, usize)>>;

pub(super) fn search(program: &Program, subject: &[u8], from: usize, anchored: bool, longest: bool) -> Result<Option<Places>, Exec> {
    let (stack, slots) = (Vec::new(), vec![UNSET; program.slots]);
    let mut search = Search { program, subject, from, stack, slots, steps: 0, longest, best: None };
    let mut start = from;
    loop {
        if !anchored && let Some(first) = &program.first {
            while start < subject.len() && !first[usize::from(subject[start])] {
                start += 1;
            }
            if start >= subject.len() {
                return Ok(None);
            }
        }
        if search.run(start)? {
            return Ok(Some(search.places()));
        }
        if anchored || start >= subject.len() {
            return Ok(None);
        }
        start += if program.utf { decode(subject, start).1 } else { 1 };
    }
}

/// The code point at `at`, and how many bytes it has. The text is UTF-8 and `at` a boundary; whatever else is there, is one byte long.
pub(super) fn decode(text: &[u8], at: usize) -> (u32, usize) {
    let tail = |index: usize| u32::from(text.get(at + index).copied().unwrap_or(0) & 0x3f);
    let lead = u32::from(text[at]);
    let (code, length) = match lead {
        0xc0..0xe0 => ((lead & 0x1f) << 6 | tail(1), 2),
        0xe0..0xf0 => ((lead & 0x0f) << 12 | tail(1) << 6 | tail(2), 3),
        0xf0..0xf8 => ((lead & 0x07) << 18 | tail(1) << 12 | tail(2) << 6 | tail(3), 4),
        _ => (lead, 1),
    };
    (code, length.min(text.len() - at))
}

impl Search<'_> {
    fn places(&self) -> Places {
        if let Some((start, end)) = self.best {
            return vec![Some((start as usize, end as usize))];
        }
        let groups = self.slots.chunks_exact(2).take(self.program.groups + 1);
        groups.map(|pair| (pair[0] != UNSET && pair[1] != UNSET).then_some((pair[0] as usize, pair[1] as usize))).collect()
    }

    /// Whether a match starts here.
    fn run(&mut self, start: usize) -> Result<bool, Exec> {
        self.stack.clear();
        self.slots.fill(UNSET);
        self.slots[0] = start as u32;
        let (mut op, mut at) = (0, start);
        loop {
            self.steps += 1;
            if self.steps > STEPS_MAX {
                return Err(Exec::TooManySteps);
            }
            if self.stack.len() > FRAMES_MAX {
                return Err(Exec::TooDeep);
            }
            if matches!(self.program.ops[op], Op::Match) {
                if !self.longest {
                    self.slots[1] = at as u32;
                    return Ok(true);
                }
                let best = self.best.unwrap_or((self.slots[0], 0));
                if self.best.is_none() || at as u32 > best.1 {
                    self.best = Some((self.slots[0], at as u32));
                }
            } else if let Some(next) = self.step(op, at) {
                (op, at) = next;
                continue;
            }
            match self.retry() {
                Some(next) => (op, at) = next,
                None => return Ok(self.best.is_some()),
            }
        }
    }

    /// One instruction. None: it failed.
    fn step(&mut self, op: usize, at: usize) -> Option<(usize, usize)> {
        let program = self.program;
        match &program.ops[op] {
            Op::Byte(byte) => (self.subject.get(at) == Some(byte)).then_some((op + 1, at + 1)),
            Op::Caseless(character) => {
                let (found, length) = self.character(at)?;
                same_but_case(found, *character).then_some((op + 1, at + length))
            }
            Op::Set(set) => self.one(&program.sets[*set], at).map(|next| (op + 1, next)),
            Op::Run { set, min, max, kind } => self.take_run(op, at, &program.sets[*set], (*min, *max), *kind),
            Op::Split(first, second) => {
                self.stack.push(Frame::Choice { op: *second as u32, at: at as u32 });
                Some((*first, at))
            }
            Op::Jump(to) => Some((*to, at)),
            Op::Save(slot) => {
                self.set_slot(*slot, at);
                Some((op + 1, at))
            }
            Op::Close { group, from } => {
                let from = self.slots[*from] as usize;
                self.set_slot(2 * group, from);
                self.set_slot(2 * group + 1, at);
                Some((op + 1, at))
            }
            Op::Moved { slot, out } => Some((if self.slots[*slot] == at as u32 { *out } else { op + 1 }, at)),
            Op::Assert(assert) => self.holds(*assert, at).then_some((op + 1, at)),
            Op::Back { group, caseless } => self.back(*group, *caseless, at).map(|next| (op + 1, next)),
            Op::IfGroup { group, no } => Some((if self.slots[2 * group + 1] == UNSET { *no } else { op + 1 }, at)),
            Op::Rewind(length) => self.rewind(at, *length).map(|at| (op + 1, at)),
            Op::Mark(slot) => {
                // The mark lies above its own undo.
                let height = self.stack.len() + 1;
                self.set_slot(*slot, height);
                Some((op + 1, at))
            }
            Op::Cut(mark) => {
                self.cut(*mark);
                Some((op + 1, at))
            }
            Op::CutBack { mark, place } => {
                self.cut(*mark);
                Some((op + 1, self.slots[*place] as usize))
            }
            Op::Refuse(mark) => {
                self.drop_to(self.slots[*mark] as usize);
                None
            }
            Op::Match => None,
        }
    }

    fn set_slot(&mut self, slot: usize, value: usize) {
        self.stack.push(Frame::Undo { slot: slot as u32, old: self.slots[slot] });
        self.slots[slot] = value as u32;
    }

    /// Goes back to the last choice.
    fn retry(&mut self) -> Option<(usize, usize)> {
        loop {
            match self.stack.pop()? {
                Frame::Choice { op, at } => return Some((op as usize, at as usize)),
                Frame::Undo { slot, old } => self.slots[slot as usize] = old,
                Frame::Back { op, low, at } => {
                    let at = self.before(at as usize);
                    if at > low as usize {
                        self.stack.push(Frame::Back { op, low, at: at as u32 });
                    }
                    return Some((op as usize + 1, at));
                }
                Frame::Forward { op, at, left } => {
                    let Op::Run { set, .. } = &self.program.ops[op as usize] else { continue };
                    let Some(next) = self.one(&self.program.sets[*set], at as usize) else { continue };
                    if left > 1 {
                        self.stack.push(Frame::Forward { op, at: next as u32, left: left - 1 });
                    }
                    return Some((op as usize + 1, next));
                }
            }
        }
    }

    /// Forgets the choices above the mark; what they saved must still be undone when something below is tried anew.
    fn cut(&mut self, mark: usize) {
        let height = self.slots[mark] as usize;
        let mut keep = height;
        for index in height..self.stack.len() {
            if matches!(self.stack[index], Frame::Undo { .. }) {
                self.stack.swap(keep, index);
                keep += 1;
            }
        }
        self.stack.truncate(keep);
    }

    fn drop_to(&mut self, height: usize) {
        while self.stack.len() > height {
            if let Some(Frame::Undo { slot, old }) = self.stack.pop() {
                self.slots[slot as usize] = old;
            }
        }
    }

    fn take_run(&mut self, op: usize, start: usize, set: &Set, (min, max): (u32, u32), kind: Kind) -> Option<(usize, usize)> {
        let mut at = start;
        for _ in 0..min {
            at = self.one(set, at)?;
        }
        let (low, mut left) = (at, max - min);
        if kind == Kind::Lazy {
            if left > 0 {
                self.stack.push(Frame::Forward { op: op as u32, at: at as u32, left });
            }
            return Some((op + 1, at));
        }
        while left > 0 {
            let Some(next) = self.one(set, at) else { break };
            at = next;
            left -= 1;
        }
        // A step is what takes time; a run through a long subject is many.
        self.steps = self.steps.saturating_add((at - start) as u32 / 16);
        if at > low && kind == Kind::Greedy {
            self.stack.push(Frame::Back { op: op as u32, low: low as u32, at: at as u32 });
        }
        Some((op + 1, at))
    }

    fn character(&self, at: usize) -> Option<(char, usize)> {
        self.subject.get(at)?;
        let (code, length) = decode(self.subject, at);
        Some((char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), length))
    }

    fn one(&self, set: &Set, at: usize) -> Option<usize> {
        let byte = *self.subject.get(at)?;
        if !self.program.utf || byte < 128 {
            return set.has_byte(byte).then_some(at + 1);
        }
        let (character, length) = self.character(at)?;
        set.has_char(character).then_some(at + length)
    }

    /// One character back.
    fn before(&self, at: usize) -> usize {
        let mut at = at - 1;
        while self.program.utf && at > 0 && self.subject[at] & 0xc0 == 0x80 {
            at -= 1;
        }
        at
    }

    fn rewind(&self, mut at: usize, length: usize) -> Option<usize> {
        for _ in 0..length {
            if at == 0 {
                return None;
            }
            at = self.before(at);
        }
        Some(at)
    }

    fn back(&mut self, group: usize, caseless: bool, at: usize) -> Option<usize> {
        let (start, end) = (self.slots[2 * group], self.slots[2 * group + 1]);
        if start == UNSET || end == UNSET {
            return None;
        }
        let (subject, text) = (self.subject, &self.subject[start as usize..end as usize]);
        self.steps = self.steps.saturating_add(text.len() as u32 / 16);
        let candidate = subject.get(at..at + text.len());
        if !caseless || !self.program.utf {
            let same = |found: &[u8]| if caseless { found.eq_ignore_ascii_case(text) } else { found == text };
            return candidate.filter(|found| same(found)).map(|_| at + text.len());
        }
        let (mut left, mut right) = (start as usize, at);
        while left < end as usize {
            let ((one, width), (other, length)) = (self.character(left)?, self.character(right)?);
            if !same_but_case(one, other) {
                return None;
            }
            left += width;
            right += length;
        }
        Some(right)
    }

    fn holds(&self, assert: Assert, at: usize) -> bool {
        let (subject, end) = (self.subject, self.subject.len());
        let word = |index: usize| subject.get(index).is_some_and(|&byte| byte == b'_' || byte.is_ascii_alphanumeric());
        let word_edge = (at > 0 && word(at - 1)) != word(at);
        match assert {
            Assert::SubjectStart => at == 0,
            // Not after the line break that ends the subject.
            Assert::LineStart => at == 0 || (subject[at - 1] == b'\n' && at < end),
            Assert::SubjectEnd => at == end,
            Assert::SubjectEndLine => at == end || (at + 1 == end && subject[at] == b'\n'),
            Assert::LineEnd => at == end || subject[at] == b'\n',
            Assert::WordEdge => word_edge,
            Assert::NotWordEdge => !word_edge,
            Assert::SearchStart => at == self.from,
        }
    }
}
