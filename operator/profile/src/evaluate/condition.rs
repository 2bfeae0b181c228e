//! Conditions on arguments, as libseccomp compiles them.

use std::fmt;

use crate::{Arg, Operator};

/// How many bits of an argument a filter looks at.
///
/// Source: `_db_rule_gen_32` and `_db_rule_gen_64` in libseccomp's `src/db.c`; x32 counts as 32 bits there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Width {
    Bits32,
    Bits64,
}

impl Width {
    /// The greatest argument.
    pub(crate) const fn max(self) -> u64 {
        match self {
            Self::Bits32 => u32::MAX as u64,
            Self::Bits64 => u64::MAX,
        }
    }
}

/// What is asked of one argument. A range has at least one end open: its other end is 0 or `u64::MAX`; where
/// `from` is above `to` nothing is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Test {
    Range { from: u64, to: u64 },
    Bits { mask: u64, datum: u64 },
    NotBits { mask: u64, datum: u64 },
}

const EVERYTHING: Test = Test::Range { from: 0, to: u64::MAX };
/// No condition that a rule can have holds for nothing in another form.
pub(super) const NOTHING: Test = Test::Range { from: 1, to: 0 };

impl Test {
    /// What libseccomp makes of a condition.
    ///
    /// On a 32-bit architecture only the low word of every value counts. Bits of a datum outside its mask are
    /// dropped, so that `value: 0, valueTwo: 2` of `MASKED_EQ` holds for every argument (`_db_node_mask_fixup` and
    /// `_db_arg_cmp_need_lo` in libseccomp's `src/db.c`, v2.5.4 to v2.6.1).
    pub(crate) const fn of(arg: &Arg, width: Width) -> Self {
        let value = arg.value & width.max();
        match arg.op {
            Operator::MaskedEq => Self::Bits { mask: value, datum: arg.value_two & value },
            Operator::Equal => Self::Bits { mask: u64::MAX, datum: value },
            Operator::NotEqual => Self::NotBits { mask: u64::MAX, datum: value },
            Operator::LessThan if value == 0 => NOTHING,
            Operator::LessThan => Self::Range { from: 0, to: value - 1 },
            Operator::LessOrEqual => Self::Range { from: 0, to: value },
            Operator::GreaterOrEqual => Self::Range { from: value, to: u64::MAX },
            Operator::GreaterThan if value == u64::MAX => NOTHING,
            Operator::GreaterThan => Self::Range { from: value + 1, to: u64::MAX },
        }
    }

    /// Exactly one value.
    pub(crate) const fn equal(value: u64) -> Self {
        Self::Bits { mask: u64::MAX, datum: value }
    }

    pub(crate) const fn holds(self, argument: u64) -> bool {
        match self {
            Self::Range { from, to } => from <= argument && argument <= to,
            Self::Bits { mask, datum } => argument & mask == datum,
            Self::NotBits { mask, datum } => argument & mask != datum,
        }
    }

    /// Holds for every argument that this one doesn't hold for.
    pub(crate) const fn negated(self) -> Self {
        match self {
            Self::Bits { mask, datum } => Self::NotBits { mask, datum },
            Self::NotBits { mask, datum } => Self::Bits { mask, datum },
            Self::Range { from: 0, to: u64::MAX } => NOTHING,
            Self::Range { from: 0, to } => Self::Range { from: to + 1, to: u64::MAX },
            Self::Range { from, to } if from > to => EVERYTHING,
            Self::Range { from, .. } => Self::Range { from: 0, to: from - 1 },
        }
    }

    /// Whether libseccomp leaves the condition out because no bit is compared.
    pub(crate) const fn is_left_out(self) -> bool {
        matches!(self, Self::Bits { mask: 0, .. })
    }

    /// Whether it is an `EQ` or a `MASKED_EQ`.
    pub(crate) const fn is_bits(self) -> bool {
        matches!(self, Self::Bits { .. })
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Range { from, to } if from > to => write!(f, "is never so"),
            Self::Range { from: 0, to: u64::MAX } => write!(f, "is anything"),
            Self::Range { from: 0, to } => write!(f, "<= {}", Number(to)),
            Self::Range { from, .. } => write!(f, ">= {}", Number(from)),
            Self::Bits { mask: u64::MAX, datum } => write!(f, "== {}", Number(datum)),
            Self::NotBits { mask: u64::MAX, datum } => write!(f, "!= {}", Number(datum)),
            Self::Bits { mask, datum } => write!(f, "& {} == {}", Number(mask), Number(datum)),
            Self::NotBits { mask, datum } => write!(f, "& {} != {}", Number(mask), Number(datum)),
        }
    }
}

/// Small numbers in decimal, others in hexadecimal.
pub(crate) struct Number(pub(crate) u64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1024 { write!(f, "{}", self.0) } else { write!(f, "{:#x}", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn arg() -> impl Strategy<Value = Arg> {
        let value = prop_oneof![0..4u64, u64::MAX - 2..=u64::MAX, any::<u64>()];
        (value.clone(), value, proptest::sample::select(Operator::ALL))
            .prop_map(|(value, value_two, op)| Arg { index: 0, value, value_two, op })
    }

    proptest! {
        #[test]
        fn says_what_the_operator_says(arg in arg(), near in -1..=1i64) {
            for argument in [arg.value.wrapping_add_signed(near), arg.value_two, !arg.value, 0, u64::MAX] {
                let expected = match arg.op {
                    Operator::NotEqual => argument != arg.value,
                    Operator::LessThan => argument < arg.value,
                    Operator::LessOrEqual => argument <= arg.value,
                    Operator::Equal => argument == arg.value,
                    Operator::GreaterOrEqual => argument >= arg.value,
                    Operator::GreaterThan => argument > arg.value,
                    Operator::MaskedEq => argument & arg.value == arg.value_two & arg.value,
                };
                let test = Test::of(&arg, Width::Bits64);
                prop_assert_eq!(test.holds(argument), expected);
                prop_assert_eq!(test.negated().holds(argument), !expected);
                prop_assert_eq!(test.negated().negated(), test);
            }
        }
    }
}
