//! The keys that a document may have, and what to say of the ones that it may not.

/// The keys of one kind of object.
pub(super) struct Keys {
    /// What the object is called in messages.
    pub(super) object: &'static str,
    /// `LinuxSeccomp`'s own, runtime-spec v1.3.0 `specs-go/config.go`.
    pub(super) known: &'static [&'static str],
    /// Keys of the formats that Docker and containers-common add, and what to do about each.
    pub(super) foreign: &'static [(&'static str, &'static str)],
}

/// The document's.
pub(super) const PROFILE: Keys = Keys {
    object: "a profile",
    known: &[
        "defaultAction",
        "defaultErrnoRet",
        "architectures",
        "flags",
        "listenerPath",
        "listenerMetadata",
        "syscalls",
    ],
    foreign: &[
        (
            "archMap",
            "calls through sub-architectures would be killed: list the architectures and sub-architectures in `architectures` instead",
        ),
        (
            "defaultErrno",
            "calls would fail with EPERM instead: write the errno's number in `defaultErrnoRet`, for example 38 for ENOSYS",
        ),
    ],
};

/// A rule's.
pub(super) const RULE: Keys = Keys {
    object: "a rule",
    known: &["names", "action", "errnoRet", "args"],
    foreign: &[
        (
            "name",
            "a rule without `names` is no rule, and a denial of it fails open: write `names: [...]` instead",
        ),
        (
            "includes",
            "a rule meant for some capabilities, architectures or kernels would apply to every container, which fails open: \
             keep the rule without `includes` where its conditions hold for your containers, else remove the rule",
        ),
        (
            "excludes",
            "a rule meant to spare some capabilities, architectures or kernels would apply to every container, which fails open: \
             keep the rule without `excludes` where none of its conditions hold for your containers, else remove the rule",
        ),
        (
            "errno",
            "the call would fail with EPERM instead: write the errno's number in `errnoRet`, for example 38 for ENOSYS",
        ),
        ("comment", "it does nothing: remove it, or keep it outside of the profile"),
    ],
};

/// A condition's.
pub(super) const ARG: Keys =
    Keys { object: "a condition", known: &["index", "value", "valueTwo", "op"], foreign: &[] };

impl Keys {
    /// What is wrong with a key that isn't known.
    pub(super) fn complaint(&self, key: &str) -> String {
        if let Some((_, advice)) = self.foreign.iter().find(|(foreign, _)| *foreign == key) {
            return format!(
                "this key is of Docker's or containers-common's format, not of OCI, and a runtime drops it \
                 without a word: {advice}"
            );
        }
        let valid = self.known.join(", ");
        let meant = super::read::nearest(key, self.known)
            .map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
        format!(
            "{} has no such key, and a runtime would drop it without a word{meant} (valid: {valid})",
            self.object
        )
    }
}
