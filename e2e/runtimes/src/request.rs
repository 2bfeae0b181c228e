//! What a container asks its runtime for.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What a container asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Request {
    /// Another user, one group more, and no capability: everything is given up.
    User,
    /// Another user, and two capabilities, one of which the program has at once.
    Some,
    /// Root with two capabilities.
    Root,
}

impl Request {
    /// Every request.
    pub const ALL: [Self; 3] = [Self::User, Self::Some, Self::Root];

    /// As the table has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Some => "some",
            Self::Root => "root",
        }
    }

    /// The user, and its group.
    pub(crate) const fn id(self) -> u32 {
        match self {
            Self::User | Self::Some => 1000,
            Self::Root => 0,
        }
    }

    /// The groups besides.
    pub(crate) const fn groups(self) -> &'static [u32] {
        match self {
            Self::User | Self::Some => &[2000],
            Self::Root => &[],
        }
    }

    /// The capabilities of each set by which a program gets them at `execve`.
    fn capabilities(self) -> Value {
        let (two, one) = (json!(["CAP_CHOWN", "CAP_NET_BIND_SERVICE"]), json!(["CAP_NET_BIND_SERVICE"]));
        let none = json!([]);
        let [most, inherited] = match self {
            Self::User => [&none, &none],
            Self::Some => [&two, &one],
            Self::Root => [&two, &none],
        };
        json!({
            "bounding": most, "effective": most, "permitted": most, "inheritable": inherited, "ambient": inherited,
        })
    }

    /// The process of the runtime-spec's configuration.
    pub(crate) fn process(self, no_new_privs: bool) -> Value {
        json!({
            "user": {"uid": self.id(), "gid": self.id(), "additionalGids": self.groups()},
            "args": ["/probe"],
            "env": ["PATH=/"],
            "cwd": "/work",
            "capabilities": self.capabilities(),
            "noNewPrivileges": no_new_privs,
        })
    }
}
