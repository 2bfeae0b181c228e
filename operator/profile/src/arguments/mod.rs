//! Conditions on arguments in words: `domain is AF_ALG`, `flags without CLONE_NEWUSER`.

mod values;

use values::{
    CLONE_FLAGS, COMMANDS, DOMAINS, OPEN_FLAGS, PERSONAS, PRCTL_OPTIONS, PROTECTIONS, REQUESTS, SOCKET_TYPES,
};

use crate::{
    Arch,
    evaluate::{Condition, Number, Test},
};

/// What an argument's values are.
enum Values {
    /// One of these.
    OneOf(&'static [(&'static str, u64)]),
    /// Bits of these.
    Flags(&'static [(&'static str, u64)]),
}

/// An argument that people know by its values' names.
struct Known {
    call: &'static str,
    index: usize,
    name: &'static str,
    values: Values,
}

const fn one_of(
    call: &'static str,
    index: usize,
    name: &'static str,
    values: &'static [(&'static str, u64)],
) -> Known {
    Known { call, index, name, values: Values::OneOf(values) }
}

const fn flags(
    call: &'static str,
    index: usize,
    name: &'static str,
    values: &'static [(&'static str, u64)],
) -> Known {
    Known { call, index, name, values: Values::Flags(values) }
}

/// Arguments' names are those of the manual pages.
const KNOWN: &[Known] = &[
    flags("clone", 0, "flags", CLONE_FLAGS),
    one_of("fcntl", 1, "op", COMMANDS),
    one_of("fcntl64", 1, "op", COMMANDS),
    one_of("ioctl", 1, "op", REQUESTS),
    flags("mmap", 2, "prot", PROTECTIONS),
    flags("mmap2", 2, "prot", PROTECTIONS),
    flags("mprotect", 2, "prot", PROTECTIONS),
    flags("open", 1, "flags", OPEN_FLAGS),
    flags("openat", 2, "flags", OPEN_FLAGS),
    one_of("personality", 0, "persona", PERSONAS),
    flags("pkey_mprotect", 2, "prot", PROTECTIONS),
    one_of("prctl", 0, "op", PRCTL_OPTIONS),
    flags("setns", 1, "nstype", CLONE_FLAGS),
    one_of("socket", 0, "domain", DOMAINS),
    one_of("socket", 1, "type", SOCKET_TYPES),
    one_of("socketpair", 0, "domain", DOMAINS),
    flags("unshare", 0, "flags", CLONE_FLAGS),
];

/// s390 has the flags of clone(2) behind the stack.
const CLONE_S390: Known = flags("clone", 1, "flags", CLONE_FLAGS);

fn known(arch: Arch, call: &str, index: usize) -> Option<&'static Known> {
    let own_values = matches!(
        arch,
        Arch::Mips
            | Arch::Mips64
            | Arch::Mips64n32
            | Arch::Mipsel
            | Arch::Mipsel64
            | Arch::Mipsel64n32
            | Arch::Ppc
            | Arch::Ppc64
            | Arch::Ppc64le
            | Arch::Parisc
            | Arch::Parisc64
    );
    if own_values && matches!(call, "open" | "openat" | "ioctl" | "fcntl" | "fcntl64" | "socket" | "mmap") {
        return None;
    }
    if call == "clone" && matches!(arch, Arch::S390 | Arch::S390x) {
        return (index == 1).then_some(&CLONE_S390);
    }
    KNOWN.iter().find(|known| known.call == call && known.index == index)
}

/// One condition in words.
pub(crate) fn condition(arch: Arch, call: &str, condition: &Condition) -> String {
    test(arch, call, condition.index, condition.test)
}

/// What is asked of an argument, in words.
pub(crate) fn test(arch: Arch, call: &str, index: usize, test: Test) -> String {
    let Some(known) = known(arch, call, index) else { return format!("arg{index} {test}") };
    let name = known.name;
    match (test, &known.values) {
        (Test::Bits { mask: u64::MAX, datum }, _) => format!("{name} is {}", known.value(datum)),
        (Test::NotBits { mask: u64::MAX, datum }, _) => format!("{name} isn't {}", known.value(datum)),
        (Test::Bits { mask, datum: 0 }, Values::Flags(_)) => {
            format!("{name} without {}", known.bits(mask, ", "))
        }
        (Test::NotBits { mask, datum: 0 }, Values::Flags(_)) => {
            format!("{name} with any of {}", known.bits(mask, ", "))
        }
        (Test::Bits { mask, datum }, Values::Flags(_)) if mask == datum => {
            format!("{name} with {}", known.bits(mask, " and "))
        }
        (Test::NotBits { mask, datum }, Values::Flags(_)) if mask == datum => {
            format!("{name} not with {}", known.bits(mask, " and "))
        }
        (Test::Bits { mask, datum }, Values::Flags(_)) => {
            format!(
                "{name} with {} and without {}",
                known.bits(datum, " and "),
                known.bits(mask & !datum, ", ")
            )
        }
        // The low word alone is how an int is compared.
        (Test::Bits { mask: 0xffff_ffff, datum }, Values::OneOf(_)) => {
            format!("{name} is {}", known.value(datum))
        }
        (Test::NotBits { mask: 0xffff_ffff, datum }, Values::OneOf(_)) => {
            format!("{name} isn't {}", known.value(datum))
        }
        (Test::Range { from: 0, to }, Values::OneOf(_)) if to < u64::MAX => {
            format!("{name} is at most {}", known.numbered(to))
        }
        (Test::Range { from, to: u64::MAX }, Values::OneOf(_)) if from > 0 => {
            format!("{name} is at least {}", known.numbered(from))
        }
        _ => format!("{name} {test}"),
    }
}

impl Known {
    /// A value's name, or the value.
    fn value(&self, value: u64) -> String {
        match self.values {
            Values::Flags(_) if value == 0 => "0".to_owned(),
            Values::Flags(_) => self.bits(value, "|"),
            Values::OneOf(names) => {
                let name = names.iter().find(|(_, one)| *one == value);
                name.map_or_else(|| Number(value).to_string(), |(name, _)| (*name).to_owned())
            }
        }
    }

    /// A bound of a range, where the number says more than the name.
    fn numbered(&self, value: u64) -> String {
        let (name, number) = (self.value(value), Number(value).to_string());
        if name == number { number } else { format!("{number} ({name})") }
    }

    fn bits(&self, mut bits: u64, between: &str) -> String {
        let Values::Flags(names) = self.values else { return Number(bits).to_string() };
        let mut parts = Vec::new();
        for (name, bit) in names {
            if bits & bit == *bit {
                parts.push((*name).to_owned());
                bits &= !bit;
            }
        }
        if bits != 0 {
            parts.push(format!("{bits:#x}"));
        }
        parts.join(between)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arg, Operator, evaluate::width};

    fn words(arch: Arch, call: &str, index: u8, op: Operator, value: u64, value_two: u64) -> String {
        let arg = Arg { index, value, value_two, op };
        condition(arch, call, &Condition::new(&arg, width(arch)))
    }

    #[test]
    fn well_known_values_have_names() {
        use Operator::{Equal, GreaterThan, MaskedEq, NotEqual};
        let amd64 = |call, index, op, value, two| words(Arch::X86_64, call, index, op, value, two);
        assert_eq!(amd64("socket", 0, Equal, 40, 0), "domain is AF_VSOCK");
        assert_eq!(amd64("socket", 0, NotEqual, 99, 0), "domain isn't 99");
        assert_eq!(amd64("socket", 0, MaskedEq, 0xffff_ffff, 38), "domain is AF_ALG");
        assert_eq!(amd64("socket", 0, GreaterThan, 39, 0), "domain is at least 40 (AF_VSOCK)");
        assert_eq!(amd64("clone", 0, MaskedEq, 0x1002_0000, 0), "flags without CLONE_NEWNS, CLONE_NEWUSER");
        assert_eq!(amd64("clone", 0, MaskedEq, 0x1000_0000, 0x1000_0000), "flags with CLONE_NEWUSER");
        assert_eq!(amd64("openat", 2, Equal, 0x80001, 0), "flags is O_WRONLY|O_CLOEXEC");
        assert_eq!(amd64("openat", 2, MaskedEq, 3, 1), "flags with O_WRONLY and without O_RDWR");
        assert_eq!(amd64("prctl", 0, Equal, 38, 0), "op is PR_SET_NO_NEW_PRIVS");
        assert_eq!(amd64("mprotect", 2, MaskedEq, 4, 4), "prot with PROT_EXEC");
        assert_eq!(amd64("read", 0, Equal, 1, 0), "arg0 == 1");
    }

    #[test]
    fn architectures_with_other_values_or_places_get_no_wrong_names() {
        assert_eq!(words(Arch::Mips64, "openat", 2, Operator::Equal, 0x100, 0), "arg2 == 256");
        assert_eq!(words(Arch::S390x, "clone", 0, Operator::Equal, 1, 0), "arg0 == 1");
        assert_eq!(
            words(Arch::S390x, "clone", 1, Operator::MaskedEq, 0x1000_0000, 0),
            "flags without CLONE_NEWUSER"
        );
    }
}
