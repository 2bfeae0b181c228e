//! Programs for people who read them instruction by instruction.

use std::fmt;

use super::{
    Instruction, Program,
    instruction::{Alu, Comparison, Operation, Source},
    outcome,
    returned::architecture,
};

/// A program as `scmp_bpf_disasm` of libseccomp's `tools/` writes it, with what is loaded and returned in words.
#[derive(Clone, Copy, Debug)]
pub struct Assembly<'a> {
    /// The program.
    pub program: &'a Program,
    /// Whether the machine has the high word of a 64-bit number first.
    pub big_endian: bool,
}

impl fmt::Display for Assembly<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, " line  OP   JT   JF   K")?;
        writeln!(f, "=================================")?;
        for (at, one) in self.program.instructions().iter().enumerate() {
            let Instruction { code, jt, jf, k } = one;
            let text = self.text(at);
            let (text, comment) = text.split_once(';').unwrap_or((&text, ""));
            write!(f, " {at:04}: {code:#04x} {jt:#04x} {jf:#04x} {k:#010x}   ")?;
            if comment.is_empty() {
                writeln!(f, "{}", text.trim_end())?;
            } else {
                writeln!(f, "{text:<36};{comment}")?;
            }
        }
        Ok(())
    }
}

impl Assembly<'_> {
    /// One instruction; what follows a semicolon is in words.
    fn text(&self, at: usize) -> String {
        let (operation, one) = self.program.operation(at);
        let Instruction { jt, jf, k, .. } = one;
        let operand = |source| match source {
            Source::K => format!("{k:#x}"),
            Source::X => "x".to_owned(),
        };
        match operation {
            Operation::Load => format!("ld  $data[{k}];{}", self.place(k)),
            Operation::LoadLength => "ld  len".to_owned(),
            Operation::LoadLengthToX => "ldx len".to_owned(),
            Operation::LoadConstant => format!("ld  {k:#x}"),
            Operation::LoadConstantToX => format!("ldx {k:#x}"),
            Operation::LoadScratch => format!("ld  $temp[{k}]"),
            Operation::LoadScratchToX => format!("ldx $temp[{k}]"),
            Operation::Store => format!("st  $temp[{k}]"),
            Operation::StoreX => format!("stx $temp[{k}]"),
            Operation::ToX => "tax".to_owned(),
            Operation::FromX => "txa".to_owned(),
            Operation::Negate => "neg".to_owned(),
            Operation::Compute(alu, source) => format!("{} {}", mnemonic(alu), operand(source)),
            Operation::Jump => format!("jmp {:04}", at + 1 + k as usize),
            Operation::Branch(comparison, source) => {
                let name = match comparison {
                    Comparison::Equal => "jeq",
                    Comparison::Greater => "jgt",
                    Comparison::GreaterOrEqual => "jge",
                    Comparison::AnyBit => "jset",
                };
                let to = |distance: u8| at + 1 + usize::from(distance);
                let arch = architecture(k).filter(|_| {
                    comparison == Comparison::Equal && source == Source::K && k > u32::from(u16::MAX)
                });
                let comment = arch.map_or_else(String::new, |arch| format!("; {arch}"));
                format!("{name:<3} {} true:{:04} false:{:04}{comment}", operand(source), to(jt), to(jf))
            }
            Operation::ReturnConstant => format!("ret {k:#x}; {}", outcome(k)),
            Operation::Return => "ret a".to_owned(),
        }
    }

    /// What stands at a place of `struct seccomp_data`.
    fn place(&self, k: u32) -> String {
        match k {
            0 => " the call's number".to_owned(),
            4 => " the architecture".to_owned(),
            _ => {
                let is_high = k.is_multiple_of(8) == self.big_endian;
                let word = if is_high { "high" } else { "low" };
                match k / 8 {
                    1 => format!(" the instruction pointer's {word} word"),
                    other => format!(" argument {}'s {word} word", other - 2),
                }
            }
        }
    }
}

const fn mnemonic(alu: Alu) -> &'static str {
    match alu {
        Alu::Add => "add",
        Alu::Sub => "sub",
        Alu::Mul => "mul",
        Alu::Div => "div",
        Alu::And => "and",
        Alu::Or => "or ",
        Alu::Xor => "xor",
        Alu::ShiftLeft => "lsh",
        Alu::ShiftRight => "rsh",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_written_as_libseccomps_tool_writes_it() {
        let codes = [
            (0x20, 0, 0, 4),
            (0x15, 0, 3, 0xc000_003e),
            (0x20, 0, 0, 16),
            (0x54, 0, 0, 0x10),
            (0x45, 1, 0, 1),
            (0x06, 0, 0, 0),
            (0x06, 0, 0, 0x7fff_0000),
        ];
        let instructions = codes.map(|(code, jt, jf, k)| Instruction { code, jt, jf, k }).to_vec();
        let program = Program::new(instructions).expect("a program");
        let text = Assembly { program: &program, big_endian: false }.to_string();
        let expected = [
            " line  OP   JT   JF   K",
            "=================================",
            " 0000: 0x20 0x00 0x00 0x00000004   ld  $data[4]                        ; the architecture",
            " 0001: 0x15 0x00 0x03 0xc000003e   jeq 0xc000003e true:0002 false:0005 ; SCMP_ARCH_X86_64",
            " 0002: 0x20 0x00 0x00 0x00000010   ld  $data[16]                       ; argument 0's low word",
            " 0003: 0x54 0x00 0x00 0x00000010   and 0x10",
            " 0004: 0x45 0x01 0x00 0x00000001   jset 0x1 true:0006 false:0005",
            " 0005: 0x06 0x00 0x00 0x00000000   ret 0x0                             ; SCMP_ACT_KILL_THREAD",
            " 0006: 0x06 0x00 0x00 0x7fff0000   ret 0x7fff0000                      ; SCMP_ACT_ALLOW",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }
}
