//! The addresses of the cluster on its machine. All nodes share the machine's network namespace, so each has an address of
//! its own and keeps the ports that a node usually has.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::command::{command, output};

/// The bridge that holds the addresses of the nodes and of the control plane. It has no ports; a dummy interface would do
/// too, but not every kernel has that type.
const ADDRESS_BRIDGE: &str = "pcl0";
/// The first letters of every interface that the cluster makes.
const PREFIX: &str = "pcl";
/// The API server's address, reachable from every pod.
pub(crate) const CONTROL_PLANE: Ipv4Addr = Ipv4Addr::new(10, 245, 0, 1);
/// The API server's port.
pub(crate) const API_SERVER_PORT: u16 = 6443;
/// The range of ClusterIP services.
pub(crate) const SERVICE_RANGE: &str = "10.96.0.0/16";
/// The ClusterIP of the service `kubernetes`, the first of the range.
pub(crate) const API_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// Where a cluster's DNS usually is. Nothing answers there: the address keeps the kubelet from warning about each pod, and
/// kube-proxy refuses it at once.
pub(crate) const DNS_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// The range of all pods.
pub(crate) const POD_RANGE: &str = "10.244.0.0/16";
/// How many nodes there may be: each has a /24 of the pods' range.
pub(crate) const MAX_NODES: u8 = 99;

/// Where the API server is reached.
pub(crate) fn api_server_url() -> String {
    format!("https://{CONTROL_PLANE}:{API_SERVER_PORT}")
}

/// The address of the node with a number.
pub(crate) fn node_address(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 245, 0, 100 + index)
}

/// The range of the pods of the node with a number.
pub(crate) fn pod_range(index: u8) -> String {
    format!("10.244.{index}.0/24")
}

/// The bridge of the pods of the node with a number.
pub(crate) fn pod_bridge(index: u8) -> String {
    format!("{PREFIX}{index}")
}

/// Makes the bridge that holds the addresses.
pub(crate) fn create_address_bridge() -> Result<()> {
    if links()?.iter().any(|link| link.ifname == ADDRESS_BRIDGE) {
        return Ok(());
    }
    ip(&["link", "add", ADDRESS_BRIDGE, "type", "bridge"])?;
    ip(&["link", "set", ADDRESS_BRIDGE, "up"])
}

/// Gives the machine an address.
pub(crate) fn add_address(address: Ipv4Addr) -> Result<()> {
    ip(&["addr", "replace", &format!("{address}/32"), "dev", ADDRESS_BRIDGE])
}

/// Takes a node's address and its pods' bridge away.
pub(crate) fn remove_node(index: u8) -> Result<()> {
    let address = IpAddr::V4(node_address(index));
    let all = links()?;
    if all.iter().any(|link| link.addr_info.iter().any(|info| info.local == Some(address))) {
        ip(&["addr", "del", &format!("{address}/32"), "dev", ADDRESS_BRIDGE])?;
    }
    let bridge = pod_bridge(index);
    remove_links(all.iter().filter(|link| {
        link.ifname == bridge || (link.ifname.starts_with("veth") && link.master.as_ref() == Some(&bridge))
    }))
}

/// Takes away every interface of the cluster and kube-proxy's tables.
pub(crate) fn remove_all() -> Result<()> {
    remove_links(links()?.iter().filter(|link| is_ours(link)))?;
    for (family, table) in proxy_tables()? {
        output(&mut command("nft", ["delete", "table", &family, &table]))?;
    }
    Ok(())
}

/// The interfaces and tables of the cluster that are there, in words.
pub(crate) fn traces() -> Result<Vec<String>> {
    let all = links()?;
    let interfaces = all.iter().filter(|link| is_ours(link)).map(|link| format!("interface {}", link.ifname));
    let tables = proxy_tables()?;
    let tables = tables.iter().map(|(family, table)| format!("nftables table {family} {table}"));
    Ok(interfaces.chain(tables).collect())
}

/// Fails where a range of the cluster is in use on the machine, which would send its packets astray.
pub(crate) fn check_ranges_are_free() -> Result<()> {
    for link in links()? {
        for address in link.addr_info.iter().filter_map(|info| info.local) {
            let IpAddr::V4(v4) = address else { continue };
            if let ([10, 244 | 245, ..] | [10, 96, ..], false) = (v4.octets(), is_ours(&link)) {
                bail!(
                    "{} has the address {v4}, but the local cluster uses 10.96.0.0/16, 10.244.0.0/16 and \
                     10.245.0.0/24: free them, or set KUBECONFIG to a cluster of yours",
                    link.ifname
                );
            }
        }
    }
    Ok(())
}

fn is_ours(link: &Link) -> bool {
    let numbered = |name: &str| name.strip_prefix(PREFIX).is_some_and(|number| number.parse::<u8>().is_ok());
    numbered(&link.ifname) || link.master.as_deref().is_some_and(numbered)
}

fn remove_links<'a>(links: impl Iterator<Item = &'a Link>) -> Result<()> {
    for link in links {
        let removed = ip(&["link", "del", &link.ifname]);
        // A pod's interface goes by itself when the pod's network namespace goes.
        if removed.is_err() && self::links()?.iter().any(|left| left.ifname == link.ifname) {
            return removed;
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct Link {
    ifname: String,
    master: Option<String>,
    #[serde(default)]
    addr_info: Vec<AddressInfo>,
}

#[derive(Deserialize)]
struct AddressInfo {
    local: Option<IpAddr>,
}

fn links() -> Result<Vec<Link>> {
    let text = output(&mut command("ip", ["-json", "address", "show"]))?;
    serde_json::from_str(&text).context("ip -json address show said something else than a list of interfaces")
}

fn ip(arguments: &[&str]) -> Result<()> {
    output(&mut command("ip", arguments)).map(drop)
}

/// The family and name of the tables that kube-proxy makes in its nftables mode.
fn proxy_tables() -> Result<Vec<(String, String)>> {
    let text = output(&mut command("nft", ["list", "tables"]))?;
    Ok(text.lines().filter_map(parse_proxy_table).collect())
}

fn parse_proxy_table(line: &str) -> Option<(String, String)> {
    let mut words = line.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some("table"), Some(family), Some("kube-proxy")) => {
            Some((family.to_owned(), "kube-proxy".to_owned()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(text: &str) -> Link {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn only_numbered_interfaces_and_their_ports_are_ours() {
        assert!(is_ours(&link(r#"{"ifname":"pcl0"}"#)));
        assert!(is_ours(&link(r#"{"ifname":"veth1234","master":"pcl2"}"#)));
        for other in [r#"{"ifname":"pcla"}"#, r#"{"ifname":"eth0"}"#, r#"{"ifname":"veth1","master":"br0"}"#]
        {
            assert!(!is_ours(&link(other)), "{other}");
        }
    }

    #[test]
    fn only_kube_proxys_tables_are_taken() {
        assert_eq!(parse_proxy_table("table ip6 kube-proxy").unwrap().0, "ip6");
        assert_eq!(parse_proxy_table("table ip filter"), None);
    }
}
