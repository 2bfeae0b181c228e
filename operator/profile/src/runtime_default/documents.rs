//! Made by `cargo run -p xtask -- runtime-defaults`.

documents! {
    // Of the Go module github.com/containerd/containerd v1.7.35.
    "containerd@1.7", "containerd 1.7.35", "containerd-1.7.35";
    // Of the Go module github.com/containerd/containerd/v2 v2.0.14.
    "containerd@2.0", "containerd 2.0.14", "containerd-2.0.14";
    // Of the Go module github.com/containerd/containerd/v2 v2.1.9.
    "containerd@2.1", "containerd 2.1.9", "containerd-2.1.9";
    // Of the Go module github.com/containerd/containerd/v2 v2.2.9.
    "containerd@2.2", "containerd 2.2.9", "containerd-2.2.9";
    // Of the Go module github.com/containerd/containerd/v2 v2.3.7.
    "containerd@2.3", "containerd 2.3.7", "containerd-2.3.7";
    // Of the Go module github.com/containerd/containerd/v2 v2.4.2.
    "containerd@2.4", "containerd 2.4.2", "containerd-2.4.2";
    // Of Debian's golang-github-containers-common 0.67.1-3, as CRI-O changes it.
    "cri-o@1.37", "CRI-O 1.37", "cri-o-1.37";
}
