// Writes the filter that containerd gives a container, as JSON. Its arguments are the capabilities of the container's bounding set.
//
// `cargo run -p xtask -- runtime-defaults` builds it in a module of its own, beside a copy of containerd's package in which the
// architecture is set (runtime_defaults/containerd.rs).
package main

import (
	"encoding/json"
	"log"
	"os"

	"runtimedefault/seccomp"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func main() {
	capabilities := &specs.LinuxCapabilities{Bounding: os.Args[1:]}
	spec := &specs.Spec{Process: &specs.Process{Capabilities: capabilities}}
	if err := json.NewEncoder(os.Stdout).Encode(seccomp.DefaultProfile(spec)); err != nil {
		log.Fatal(err)
	}
}
