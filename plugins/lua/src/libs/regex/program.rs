//! A pattern's tree → a list of instructions for `exec`.

use super::Flags;
use super::parse::{Assert, Kind, Name, Node, Parsed};
use super::set::Set;

/// A pattern that compiles to more is refused: `(((a{1000}){1000}){1000})` would fill the memory.
const INSTRUCTIONS_MAX: usize = 20_000;

#[derive(Clone, Debug)]
pub(super) enum Op {
    Byte(u8),
    /// A character outside of ASCII, in any case.
    Caseless(char),
    Set(usize),
    /// A set, over and over: one instruction and one frame however often.
    Run {
        set: usize,
        min: u32,
        max: u32,
        kind: Kind,
    },
    /// Try the first, later the second.
    Split(usize, usize),
    Jump(usize),
    /// Where we are goes into this slot.
    Save(usize),
    /// The group ends here, and began at `Save(from)`. Until now it held what it last matched.
    Close {
        group: usize,
        from: usize,
    },
    /// Go to `out` unless we have moved since `Save(slot)`: a loop over nothing ends.
    Moved {
        slot: usize,
        out: usize,
    },
    Assert(Assert),
    Back {
        group: usize,
        caseless: bool,
    },
    IfGroup {
        group: usize,
        no: usize,
    },
    /// So many characters back.
    Rewind(usize),
    /// Remember how high the stack is, in a slot.
    Mark(usize),
    /// Forget every choice made since `Mark`.
    Cut(usize),
    /// `Cut`, and go back to where `Save(place)` was: the end of a lookahead or lookbehind.
    CutBack {
        mark: usize,
        place: usize,
    },
    /// The inside of a negated look matched: drop what it did, and fail.
    Refuse(usize),
    Match,
}

pub(super) struct Program {
    pub(super) ops: Vec<Op>,
    pub(super) sets: Vec<Set>,
    /// Captures, then what instructions keep for themselves.
    pub(super) slots: usize,
    pub(super) groups: usize,
    pub(super) names: Vec<(Vec<u8>, usize)>,
    pub(super) utf: bool,
    /// Which bytes a match can begin with, if that is known.
    pub(super) first: Option<Box<[bool; 256]>>,
}

/// Why a tree has no program.
#[derive(Debug)]
pub(super) enum Refusal {
    TooLarge,
    NotFixed,
    NoSuchName,
}

impl Refusal {
    /// PCRE's words.
    pub(super) fn message(&self) -> &'static str {
        match self {
            Self::TooLarge => "regular expression is too large",
            Self::NotFixed => "lookbehind assertion is not fixed length",
            Self::NoSuchName => "reference to non-existent subpattern",
        }
    }
}

pub(super) fn compile(parsed: Parsed) -> Result<Program, Refusal> {
    let Parsed { node, groups, names, flags: Flags { utf, .. } } = parsed;
    let slots = 2 * (groups + 1);
    let mut compiler = Compiler { program: Program { ops: Vec::new(), sets: Vec::new(), slots, groups, names, utf, first: None } };
    compiler.node(&node)?;
    compiler.push(Op::Match)?;
    let mut program = compiler.program;
    program.first = super::first::bytes(&program);
    Ok(program)
}

struct Compiler {
    program: Program,
}

impl Compiler {
    fn push(&mut self, op: Op) -> Result<usize, Refusal> {
        if self.program.ops.len() >= INSTRUCTIONS_MAX {
            return Err(Refusal::TooLarge);
        }
        self.program.ops.push(op);
        Ok(self.program.ops.len() - 1)
    }

    fn next(&self) -> usize {
        self.program.ops.len()
    }

    fn slot(&mut self) -> usize {
        self.program.slots += 1;
        self.program.slots - 1
    }

    fn node(&mut self, node: &Node) -> Result<(), Refusal> {
        match node {
            Node::Empty => {}
            Node::Literal { code, caseless } => self.literal(*code, *caseless)?,
            Node::Set(set) => {
                let op = Op::Set(self.set(set));
                self.push(op)?;
            }
            Node::Group(inside, group) => {
                let from = self.slot();
                self.push(Op::Save(from))?;
                self.node(inside)?;
                self.push(Op::Close { group: *group, from })?;
            }
            Node::Cat(parts) => parts.iter().try_for_each(|part| self.node(part))?,
            Node::Alt(branches) => self.alternatives(branches)?,
            Node::Repeat { node, min, max, kind: Kind::Possessive } => match self.run(node, *min, *max, Kind::Possessive)? {
                true => {}
                false => {
                    let greedy = Node::Repeat { node: node.clone(), min: *min, max: *max, kind: Kind::Greedy };
                    self.atomic(&greedy)?;
                }
            },
            Node::Repeat { node, min, max, kind } => self.repeat(node, *min, *max, *kind)?,
            Node::Look { node, behind, negated } => self.look(node, *behind, *negated)?,
            Node::Atomic(inside) => self.atomic(inside)?,
            Node::Assert(assert) => {
                self.push(Op::Assert(*assert))?;
            }
            Node::Back { group, caseless } => {
                self.push(Op::Back { group: *group, caseless: *caseless })?;
            }
            Node::BackNamed { name, caseless } => {
                let group = self.named(name)?;
                self.push(Op::Back { group, caseless: *caseless })?;
            }
            Node::If { group, yes, no } => self.condition(group, yes, no)?,
            Node::Keep => {
                self.push(Op::Save(0))?;
            }
        }
        Ok(())
    }

    fn set(&mut self, set: &Set) -> usize {
        self.program.sets.push(set.clone());
        self.program.sets.len() - 1
    }

    fn named(&self, name: &[u8]) -> Result<usize, Refusal> {
        let found = self.program.names.iter().find(|(other, _)| other == name);
        found.map(|&(_, group)| group).ok_or(Refusal::NoSuchName)
    }

    fn literal(&mut self, code: u32, caseless: bool) -> Result<(), Refusal> {
        let ascii = u8::try_from(code).ok().filter(|byte| !self.program.utf || byte.is_ascii());
        match ascii {
            Some(byte) if caseless && byte.is_ascii_alphabetic() => {
                let mut set = super::set::SetBuilder::default();
                set.add(code, code);
                let op = Op::Set(self.set(&set.build(false, true, self.program.utf)));
                self.push(op)?;
            }
            Some(byte) => {
                self.push(Op::Byte(byte))?;
            }
            None => {
                let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                if caseless {
                    self.push(Op::Caseless(character))?;
                } else {
                    for &byte in character.encode_utf8(&mut [0; 4]).as_bytes() {
                        self.push(Op::Byte(byte))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn alternatives(&mut self, branches: &[Node]) -> Result<(), Refusal> {
        let mut ends = Vec::new();
        for (index, branch) in branches.iter().enumerate() {
            if index + 1 == branches.len() {
                self.node(branch)?;
                break;
            }
            let split = self.push(Op::Match)?;
            self.node(branch)?;
            ends.push(self.push(Op::Match)?);
            self.program.ops[split] = Op::Split(split + 1, self.next());
        }
        let end = self.next();
        ends.into_iter().for_each(|jump| self.program.ops[jump] = Op::Jump(end));
        Ok(())
    }

    /// One instruction for a repeated set. False: it is not a set.
    fn run(&mut self, node: &Node, min: u32, max: Option<u32>, kind: Kind) -> Result<bool, Refusal> {
        let set = match node {
            Node::Set(set) => set.clone(),
            Node::Literal { code, caseless } if *code < 128 || !self.program.utf => {
                let mut set = super::set::SetBuilder::default();
                set.add(*code, *code);
                set.build(false, *caseless, self.program.utf)
            }
            _ => return Ok(false),
        };
        let op = Op::Run { set: self.set(&set), min, max: max.unwrap_or(u32::MAX), kind };
        self.push(op)?;
        Ok(true)
    }

    fn repeat(&mut self, node: &Node, min: u32, max: Option<u32>, kind: Kind) -> Result<(), Refusal> {
        if self.run(node, min, max, kind)? {
            return Ok(());
        }
        for _ in 0..min {
            self.node(node)?;
        }
        let Some(max) = max else { return self.star(node, kind) };
        let mut splits = Vec::new();
        for _ in min..max {
            splits.push(self.push(Op::Match)?);
            self.node(node)?;
        }
        let end = self.next();
        splits.into_iter().for_each(|split| self.program.ops[split] = branch(kind, split + 1, end));
        Ok(())
    }

    fn star(&mut self, node: &Node, kind: Kind) -> Result<(), Refusal> {
        let slot = self.slot();
        let split = self.push(Op::Match)?;
        let may_be_empty = shortest(node) == 0;
        if may_be_empty {
            self.push(Op::Save(slot))?;
        }
        self.node(node)?;
        let check = if may_be_empty { Some(self.push(Op::Match)?) } else { None };
        self.push(Op::Jump(split))?;
        let out = self.next();
        if let Some(check) = check {
            self.program.ops[check] = Op::Moved { slot, out };
        }
        self.program.ops[split] = branch(kind, split + 1, out);
        Ok(())
    }

    fn atomic(&mut self, node: &Node) -> Result<(), Refusal> {
        let mark = self.slot();
        self.push(Op::Mark(mark))?;
        self.node(node)?;
        self.push(Op::Cut(mark)).map(drop)
    }

    fn look(&mut self, node: &Node, behind: bool, negated: bool) -> Result<(), Refusal> {
        let (mark, place) = (self.slot(), self.slot());
        self.push(Op::Mark(mark))?;
        if negated {
            let split = self.push(Op::Match)?;
            self.inside(node, behind)?;
            self.push(Op::Refuse(mark))?;
            self.program.ops[split] = Op::Split(split + 1, self.next());
            return Ok(());
        }
        self.push(Op::Save(place))?;
        self.inside(node, behind)?;
        self.push(Op::CutBack { mark, place }).map(drop)
    }

    /// In a lookbehind each branch has a length of its own.
    fn inside(&mut self, node: &Node, behind: bool) -> Result<(), Refusal> {
        if !behind {
            return self.node(node);
        }
        let rewound = |branch: &Node| fixed(branch).map(|length| (length, branch.clone())).ok_or(Refusal::NotFixed);
        let branches = match node {
            Node::Alt(branches) => branches.iter().map(rewound).collect::<Result<Vec<_>, _>>()?,
            node => vec![rewound(node)?],
        };
        let mut ends = Vec::new();
        let last = branches.len() - 1;
        for (index, (length, branch)) in branches.iter().enumerate() {
            let split = if index < last { Some(self.push(Op::Match)?) } else { None };
            self.push(Op::Rewind(*length))?;
            self.node(branch)?;
            if let Some(split) = split {
                ends.push(self.push(Op::Match)?);
                self.program.ops[split] = Op::Split(split + 1, self.next());
            }
        }
        let end = self.next();
        ends.into_iter().for_each(|jump| self.program.ops[jump] = Op::Jump(end));
        Ok(())
    }

    fn condition(&mut self, group: &Name, yes: &Node, no: &Node) -> Result<(), Refusal> {
        let group = match group {
            Name::Number(group) => *group,
            Name::Text(name) => self.named(name)?,
        };
        let test = self.push(Op::Match)?;
        self.node(yes)?;
        let jump = self.push(Op::Match)?;
        self.program.ops[test] = Op::IfGroup { group, no: self.next() };
        self.node(no)?;
        self.program.ops[jump] = Op::Jump(self.next());
        Ok(())
    }
}

fn branch(kind: Kind, inside: usize, out: usize) -> Op {
    if kind == Kind::Lazy { Op::Split(out, inside) } else { Op::Split(inside, out) }
}

/// How few characters a match can have; 0 where it is not clear.
fn shortest(node: &Node) -> usize {
    match node {
        Node::Literal { .. } | Node::Set(_) => 1,
        Node::Group(inside, _) | Node::Atomic(inside) => shortest(inside),
        Node::Cat(parts) => parts.iter().map(shortest).fold(0, usize::saturating_add),
        Node::Alt(branches) => branches.iter().map(shortest).min().unwrap_or(0),
        Node::Repeat { node, min, .. } => shortest(node).saturating_mul(*min as usize),
        Node::If { yes, no, .. } => shortest(yes).min(shortest(no)),
        Node::Empty | Node::Look { .. } | Node::Assert(_) | Node::Back { .. } | Node::BackNamed { .. } | Node::Keep => 0,
    }
}

/// How many characters every match has.
fn fixed(node: &Node) -> Option<usize> {
    match node {
        Node::Empty | Node::Look { .. } | Node::Assert(_) | Node::Keep => Some(0),
        Node::Literal { .. } | Node::Set(_) => Some(1),
        Node::Group(inside, _) | Node::Atomic(inside) => fixed(inside),
        Node::Cat(parts) => parts.iter().try_fold(0_usize, |sum, part| sum.checked_add(fixed(part)?)),
        Node::Alt(branches) => same(branches.iter().map(fixed)),
        Node::Repeat { node, min, max: Some(max), .. } if min == max => fixed(node)?.checked_mul(*min as usize),
        Node::If { yes, no, .. } => same([fixed(yes), fixed(no)].into_iter()),
        Node::Repeat { .. } | Node::Back { .. } | Node::BackNamed { .. } => None,
    }
}

fn same(mut lengths: impl Iterator<Item = Option<usize>>) -> Option<usize> {
    let first = lengths.next()??;
    lengths.all(|length| length == Some(first)).then_some(first)
}
