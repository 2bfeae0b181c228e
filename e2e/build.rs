//! Tells tests whether `KUBECONFIG` names a cluster other than the local one: those that need the local one's nodes are ignored then.

use std::{env, path::PathBuf};

fn main() {
    println!("cargo::rustc-check-cfg=cfg(foreign_cluster)");
    println!("cargo::rerun-if-changed=build.rs");
    for variable in ["KUBECONFIG", "PORTCULLIS_CLUSTER_DIR"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let named = env::var_os("KUBECONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    if named.is_some_and(|path| path.canonicalize().ok().is_none_or(|path| Some(path) != local_kubeconfig()))
    {
        println!("cargo::rustc-cfg=foreign_cluster");
    }
}

/// Where the local cluster has its kubeconfig; none if it is not up.
fn local_kubeconfig() -> Option<PathBuf> {
    let repository = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR")?).join("..");
    let folder =
        env::var_os("PORTCULLIS_CLUSTER_DIR").map_or_else(|| repository.join(".cluster"), PathBuf::from);
    folder.join("run/kubeconfig").canonicalize().ok()
}
