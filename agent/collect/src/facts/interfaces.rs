//! Network interfaces with their addresses.
//!
//! `/sys/class/net` describes them; addresses are asked of the kernel by getifaddrs(3). A recorded
//! host has only the IPv6 ones, of `/proc/net/if_inet6`.

use std::net::{IpAddr, Ipv6Addr};

use xiezhi_protocol::facts::Interface;

use super::Looking;
use crate::bytes::{hexadecimal, lines, number, text, words};
use crate::files::{Base, Names};

/// Most interfaces that are described.
const MAX_INTERFACES: usize = 256;

pub(super) fn interfaces(looking: &mut Looking<'_>) -> Vec<Interface> {
    let mut names = Names::default();
    let listed = looking.files.list(Base::Sys, &["class/net"], &mut names);
    looking.check("network interfaces", listed);
    let addresses = addresses(looking);
    let mut found = Vec::new();
    for name in names.iter().take(MAX_INTERFACES) {
        let mut interface = interface(looking, name);
        if interface.state.is_empty() {
            continue;
        }
        let own = addresses.iter().filter(|(owner, _)| owner == name);
        interface.addresses = own.map(|(_, address)| address.clone()).collect();
        found.push(interface);
    }
    found
}

fn interface(looking: &mut Looking<'_>, name: &str) -> Interface {
    let folder = looking.host.sys.join("class/net").join(name);
    let driver = std::fs::read_link(folder.join("device/driver")).ok();
    let driver = driver.as_deref().and_then(|path| path.file_name());
    let mut read = |file| looking.attribute(Base::Sys, &["class/net/", name, "/", file]);
    Interface {
        name: name.to_owned(),
        mac: read("address").to_lowercase(),
        addresses: Vec::new(),
        // -1 where the driver does not know.
        speed_mbit: number(read("speed").as_bytes()),
        state: read("operstate"),
        driver: driver
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default(),
    }
}

/// Interface and `address/prefix`.
fn addresses(looking: &mut Looking<'_>) -> Vec<(String, String)> {
    if !looking.host.is_live() {
        return recorded_addresses(looking);
    }
    match nix::ifaddrs::getifaddrs() {
        Err(error) => {
            looking.miss("addresses", &error.to_string());
            Vec::new()
        }
        Ok(all) => all.filter_map(|entry| live_address(&entry)).collect(),
    }
}

fn live_address(entry: &nix::ifaddrs::InterfaceAddress) -> Option<(String, String)> {
    let ip = |storage: &nix::sys::socket::SockaddrStorage| -> Option<IpAddr> {
        let four = storage
            .as_sockaddr_in()
            .map(|address| IpAddr::from(address.ip()));
        four.or_else(|| {
            storage
                .as_sockaddr_in6()
                .map(|address| IpAddr::from(address.ip()))
        })
    };
    let address = ip(entry.address.as_ref()?)?;
    let prefix = match entry.netmask.as_ref().and_then(ip) {
        Some(IpAddr::V4(mask)) => u32::from(mask).count_ones(),
        Some(IpAddr::V6(mask)) => u128::from(mask).count_ones(),
        None if address.is_ipv4() => 32,
        None => 128,
    };
    Some((entry.interface_name.clone(), format!("{address}/{prefix}")))
}

/// `fe80…32 hexadecimal digits index prefix scope flags name`
fn recorded_addresses(looking: &mut Looking<'_>) -> Vec<(String, String)> {
    let content = looking
        .files
        .attribute(Base::Proc, &["net/if_inet6"])
        .unwrap_or_default();
    let parse = |line| {
        let mut fields = words(line);
        let digits = std::str::from_utf8(fields.next()?)
            .ok()
            .filter(|text| text.len() == 32)?;
        let address = Ipv6Addr::from(u128::from_str_radix(digits, 16).ok()?);
        let prefix = hexadecimal(fields.nth(1)?)?;
        Some((
            text(fields.nth(2)?).into_owned(),
            format!("{address}/{prefix}"),
        ))
    };
    lines(content).filter_map(parse).collect()
}
