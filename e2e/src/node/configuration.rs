//! The configuration files of a node's kubelet, containerd and network plugins.

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::Node;
use crate::{
    cgroup, image, network,
    paths::{self},
    pki::{certificate_file, key_file},
};

impl Node {
    pub(super) fn write_configuration(&self) -> Result<()> {
        let folder = self.folder();
        let containerd = toml::to_string(&self.containerd_configuration())
            .context("the configuration of containerd can't be rendered")?;
        paths::write(&folder.join("containerd.toml"), containerd)?;
        paths::write_json(&folder.join("cni/10-pods.conflist"), &self.network_configuration())?;
        paths::write_json(&folder.join("kubelet.json"), &self.kubelet_configuration()?)
    }

    /// Version 2 of the format is read by containerd 1.6 to 2.x.
    fn containerd_configuration(&self) -> Value {
        json!({
            "version": 2,
            "plugins": {
                "io.containerd.grpc.v1.cri": {
                    "sandbox_image": image::PAUSE,
                    // Without CAP_SYS_RESOURCE a negative score can't be set.
                    "restrict_oom_score_adj": true,
                    "disable_apparmor": true,
                    "cni": { "bin_dir": "/usr/lib/cni", "conf_dir": self.file("cni") },
                    "containerd": {
                        "snapshotter": "overlayfs",
                        "default_runtime_name": "runc",
                        "runtimes": {
                            "runc": { "runtime_type": "io.containerd.runc.v2" },
                            "crun": {
                                "runtime_type": "io.containerd.runc.v2",
                                "options": { "BinaryName": "/usr/bin/crun" },
                            },
                        },
                    },
                },
                // The default is /opt/containerd, which would stay behind on the machine.
                "io.containerd.internal.v1.opt": { "path": self.file("opt") },
            },
        })
    }

    /// No `ipMasq` and no `portmap`: pods need no way out of the machine, and so no iptables rule is left behind.
    fn network_configuration(&self) -> Value {
        json!({
            "cniVersion": "0.4.0",
            "name": format!("pods-{}", self.name()),
            "plugins": [{
                "type": "bridge",
                "bridge": network::pod_bridge(self.record.index),
                "isGateway": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{ "subnet": network::pod_range(self.record.index) }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            }],
        })
    }

    fn kubelet_configuration(&self) -> Result<Value> {
        let taints = self.record.options.taints.iter().map(|text| taint(text)).collect::<Result<Vec<_>>>()?;
        let address = network::node_address(self.record.index);
        Ok(json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": address,
            "healthzBindAddress": address,
            "authentication": {
                "anonymous": { "enabled": false },
                "webhook": { "enabled": true },
                "x509": { "clientCAFile": self.paths.pki().join("ca.crt") },
            },
            "authorization": { "mode": "Webhook" },
            "tlsCertFile": certificate_file(&self.paths, self.name()),
            "tlsPrivateKeyFile": key_file(&self.paths, self.name()),
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": cgroup::of_node(&self.paths, self.name()),
            "failCgroupV1": false,
            "failSwapOn": false,
            "enforceNodeAllocatable": [],
            // Root in a container often lacks CAP_SYS_RESOURCE; with this a refused setting is no failure.
            "featureGates": { "KubeletInUserNamespace": true },
            "makeIPTablesUtilChains": false,
            "clusterDNS": [network::DNS_SERVICE],
            "clusterDomain": "cluster.local",
            "maxPods": 200,
            "registerWithTaints": taints,
            "volumePluginDir": self.file("volume-plugins"),
            // The full disk of a developer's machine is no reason to evict a test's pods or to collect images that no
            // registry has.
            "imageGCHighThresholdPercent": 100,
            "evictionHard": { "imagefs.available": "0%", "nodefs.available": "0%", "memory.available": "50Mi" },
            // A stopped node shows after seconds, together with the controller manager's grace period.
            "nodeStatusUpdateFrequency": "4s",
            "nodeLeaseDurationSeconds": 12,
            "syncFrequency": "10s",
        }))
    }
}

/// Reads `key=value:Effect` or `key:Effect`, as `kubectl taint` takes it.
fn taint(text: &str) -> Result<Value> {
    let Some((rest, effect)) = text.rsplit_once(':') else {
        bail!("{text:?} is no taint: write key=value:Effect or key:Effect");
    };
    if !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
        bail!("{text:?} is no taint: {effect:?} is not NoSchedule, PreferNoSchedule or NoExecute");
    }
    Ok(match rest.split_once('=') {
        Some((key, value)) => json!({ "key": key, "value": value, "effect": effect }),
        None => json!({ "key": rest, "effect": effect }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taints_are_read_as_kubectl_reads_them() {
        let expected = json!({ "key": "a.b/c", "value": "d", "effect": "NoSchedule" });
        assert_eq!(taint("a.b/c=d:NoSchedule").unwrap(), expected);
        assert_eq!(taint("x:NoExecute").unwrap(), json!({ "key": "x", "effect": "NoExecute" }));
        assert!(taint("x").is_err() && taint("x:Never").is_err());
    }
}
