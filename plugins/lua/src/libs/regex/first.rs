//! Which bytes a match can begin with: most places of a subject are passed over without running the program.

use super::program::{Op, Program};

/// None: it can begin with anything, or with nothing.
pub(super) fn bytes(program: &Program) -> Option<Box<[bool; 256]>> {
    let mut first = Box::new([false; 256]);
    let mut seen = vec![false; program.ops.len()];
    let mut open = vec![0];
    while let Some(at) = open.pop() {
        if std::mem::replace(&mut seen[at], true) {
            continue;
        }
        match &program.ops[at] {
            Op::Byte(byte) => first[usize::from(*byte)] = true,
            Op::Set(set) => add(program, *set, &mut first),
            Op::Run { set, min, .. } => {
                add(program, *set, &mut first);
                if *min == 0 {
                    open.push(at + 1);
                }
            }
            Op::Split(one, other) => open.extend([*one, *other]),
            Op::Jump(to) => open.push(*to),
            Op::Save(_) | Op::Close { .. } | Op::Mark(_) | Op::Cut(_) => open.push(at + 1),
            Op::Caseless(_)
            | Op::Moved { .. }
            | Op::Assert(_)
            | Op::Back { .. }
            | Op::IfGroup { .. }
            | Op::Rewind(_)
            | Op::CutBack { .. }
            | Op::Refuse(_)
            | Op::Match => return None,
        }
    }
    Some(first)
}

fn add(program: &Program, set: usize, first: &mut [bool; 256]) {
    for byte in 0..=255_u8 {
        first[usize::from(byte)] |= (program.utf && byte >= 128) || program.sets[set].has_byte(byte);
    }
}
