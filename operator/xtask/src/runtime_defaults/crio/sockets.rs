//! containers-common's rules for `socket`, so that no two match the same arguments.
//!
//! One rule denies AF_VSOCK, and another allows every domain but AF_NETLINK. What libseccomp makes of rules that overlap or have
//! `NE` beside a second condition is left open, so nothing can be compared with them. libseccomp 2.5.4 lets the denial win. The
//! same is said here by `EQ` and `MASKED_EQ`, over the domains and protocols that Linux can have.

use anyhow::{Result, ensure};
use portcullis_profile::{Action, Arg, Operator, Rule};

const DOMAIN: u8 = 0;
const PROTOCOL: u8 = 2;
const AF_NETLINK: u64 = 16;
const AF_VSOCK: u64 = 40;
const NETLINK_AUDIT: u64 = 9;

/// Domains from 46 on don't exist (`AF_MAX` in Linux' `include/linux/socket.h`).
const DOMAINS: u64 = 64;
/// Protocols of AF_NETLINK from 32 on don't exist (`MAX_LINKS` in Linux' `include/uapi/linux/netlink.h`).
const PROTOCOLS: u64 = 32;

fn is(index: u8, op: Operator, value: u64) -> Arg {
    Arg { index, value, value_two: 0, op }
}

fn rule(action: Action, errno_ret: Option<u32>, args: Vec<Arg>) -> Rule {
    Rule { names: vec!["socket".to_owned()], action, errno_ret, args }
}

/// The rules as containers-common has them for a container without CAP_AUDIT_WRITE.
fn overlapping() -> [Rule; 4] {
    use Operator::{Equal, NotEqual};
    let netlink = |protocol| vec![is(DOMAIN, Equal, AF_NETLINK), is(PROTOCOL, protocol, NETLINK_AUDIT)];
    [
        rule(Action::Errno, Some(1), vec![is(DOMAIN, Equal, AF_VSOCK)]),
        rule(Action::Errno, Some(22), netlink(Equal)),
        rule(Action::Allow, None, netlink(NotEqual)),
        rule(Action::Allow, None, vec![is(DOMAIN, NotEqual, AF_NETLINK)]),
    ]
}

/// Writes the rules anew.
///
/// # Errors
/// Where they aren't those that are known here.
pub(super) fn make_disjoint(rules: &mut Vec<Rule>) -> Result<()> {
    let names_socket = |rule: &&Rule| rule.names.iter().any(|name| name == "socket");
    let known = overlapping();
    ensure!(
        rules.iter().filter(names_socket).eq(&known),
        "the rules for socket are others than they were: look at what they mean, and change {}",
        file!()
    );
    let at = rules.iter().position(|rule| names_socket(&rule)).unwrap_or_default();
    rules.retain(|rule| !names_socket(&rule));
    let domains = blocks(DOMAINS, &[AF_NETLINK, AF_VSOCK]);
    let domains = domains.into_iter().map(|block| vec![block.condition(DOMAIN, u64::MAX)]);
    let protocols = blocks(PROTOCOLS, &[NETLINK_AUDIT]).into_iter();
    // The kernel ignores the high word of an int.
    let protocols = protocols.map(|block| {
        vec![is(DOMAIN, Operator::Equal, AF_NETLINK), block.condition(PROTOCOL, u64::from(u32::MAX))]
    });
    rules.splice(at..at, domains.chain(protocols).map(|args| rule(Action::Allow, None, args)));
    Ok(())
}

/// Numbers that have all bits in common but the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    first: u64,
    size: u64,
}

impl Block {
    /// Where an argument, of which some bits count, is one of the numbers.
    fn condition(self, index: u8, bits: u64) -> Arg {
        let mask = bits & !(self.size - 1);
        match mask {
            u64::MAX => is(index, Operator::Equal, self.first),
            mask => Arg { index, value: mask, value_two: self.first, op: Operator::MaskedEq },
        }
    }
}

/// The numbers below an end, a power of two, without some, in the largest blocks.
fn blocks(end: u64, without: &[u64]) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut first = 0;
    while first < end {
        let fits = |size: &u64| {
            first.is_multiple_of(*size) && !without.iter().any(|one| (first..first + size).contains(one))
        };
        let size = (0..=end.ilog2()).rev().map(|bits| 1 << bits).find(fits);
        blocks.extend(size.map(|size| Block { first, size }));
        first += size.unwrap_or(1);
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_every_number_but_those() {
        let blocks = blocks(64, &[16, 40]);
        let held: Vec<u64> = blocks.iter().flat_map(|block| block.first..block.first + block.size).collect();
        assert_eq!(held, (0..64).filter(|number| ![16, 40].contains(number)).collect::<Vec<u64>>());
        assert_eq!(blocks.len(), 10, "{blocks:?}");
    }

    #[test]
    fn the_rules_say_the_same_one_by_one() {
        let mut rules = overlapping().to_vec();
        rules.insert(0, Rule { names: vec!["read".to_owned()], ..rule(Action::Allow, None, Vec::new()) });
        make_disjoint(&mut rules).unwrap();
        assert_eq!(rules[0].names, ["read"]);
        let matching = |arguments: [u64; 3]| {
            let holds = |arg: &Arg| {
                let argument = arguments[usize::from(arg.index)];
                match arg.op {
                    Operator::Equal => argument == arg.value,
                    _ => argument & arg.value == arg.value_two,
                }
            };
            rules[1..].iter().filter(|rule| rule.args.iter().all(holds)).count()
        };
        for (domain, protocol, allowed) in [
            (1, 0, true),
            (2, 9, true),
            (16, 0, true),
            (16, 9, false),
            (16, 15, true),
            (16, 0x1_0000_0009, false),
            (38, 0, true),
            (40, 0, false),
            (45, 0, true),
            (0x1_0000_0028, 0, false),
        ] {
            assert_eq!(matching([domain, 0, protocol]), usize::from(allowed), "{domain} {protocol}");
        }
    }

    #[test]
    fn other_rules_are_not_guessed_at() {
        let mut rules = overlapping()[1..].to_vec();
        let error = make_disjoint(&mut rules).unwrap_err().to_string();
        assert!(error.contains("the rules for socket are others"), "{error}");
    }
}
