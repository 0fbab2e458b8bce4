//! Listening ports: what opened and what closed, from `/proc/net/{tcp,tcp6,udp,udp6}`.
//!
//! A UDP socket in the ephemeral range is usually the answer side of a query and gone in a moment;
//! such a one is reported only if two readings in a row show it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use xiezhi_protocol::event::{Severity, kinds};

use super::watcher::{Context, Watcher};

/// Ports at most.
const MAX_PORTS: usize = 4096;
/// Largest file that is read: about 400,000 connections.
const MAX_BYTES: u64 = 64 << 20;

/// `tcp 0.0.0.0:22` → uid.
type Ports = BTreeMap<String, u32>;

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    ports: Option<Ports>,
}

/// The watcher.
#[derive(Debug, Default)]
pub(crate) struct ListeningPorts {
    state: State,
    passing: Ports,
    loss: Option<String>,
}

impl Watcher for ListeningPorts {
    fn name(&self) -> &'static str {
        "listening_ports"
    }

    /// Reading costs a microsecond per connection of the host.
    fn every(&self) -> Duration {
        Duration::from_secs(30)
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        let read = match read_ports(context) {
            Ok(read) => read,
            Err(error) => return self.loss = Some(error.to_string()),
        };
        self.loss = None;
        let now = self.settled(context, read);
        let Some(before) = self.state.ports.replace(now.clone()) else {
            return context.mark_urgent();
        };
        for (port, uid) in now.iter().filter(|(port, _)| !before.contains_key(*port)) {
            emit(context, kinds::LISTENING_PORT_OPENED, port, *uid);
        }
        for (port, uid) in before.iter().filter(|(port, _)| !now.contains_key(*port)) {
            emit(context, kinds::LISTENING_PORT_CLOSED, port, *uid);
        }
    }

    fn loss(&self) -> Option<String> {
        self.loss.clone()
    }

    fn save(&self) -> Value {
        serde_json::to_value(&self.state).unwrap_or(Value::Null)
    }

    fn load(&mut self, saved: Value) -> bool {
        serde_json::from_value(saved)
            .map(|state| self.state = state)
            .is_ok()
    }
}

impl ListeningPorts {
    /// Without the ephemeral UDP ports that are seen for the first time.
    fn settled(&mut self, context: &Context<'_>, read: Ports) -> Ports {
        let first = ephemeral_from(context);
        let is_passing = |port: &str| {
            port.starts_with("udp")
                && port.rsplit(':').next().and_then(|n| n.parse::<u16>().ok()) >= Some(first)
        };
        let known = |port: &String| {
            self.state
                .ports
                .as_ref()
                .is_some_and(|ports| ports.contains_key(port))
        };
        let (passing, settled): (Ports, Ports) = read.into_iter().partition(|(port, _)| {
            is_passing(port) && !known(port) && !self.passing.contains_key(port)
        });
        self.passing = passing;
        settled
    }
}

fn ephemeral_from(context: &Context<'_>) -> u16 {
    std::fs::read_to_string(context.path("proc/sys/net/ipv4/ip_local_port_range"))
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .unwrap_or(32_768)
}

fn read_ports(context: &Context<'_>) -> std::io::Result<Ports> {
    let mut ports = Ports::new();
    for (protocol, state) in [("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")] {
        let path = context.path("proc/net").join(protocol);
        // Without IPv6 its files do not exist.
        let text = match super::read_bounded(&path, MAX_BYTES) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && protocol != "tcp" => {
                continue;
            }
            Err(error) => return Err(error),
        };
        parse(&text, protocol.trim_end_matches('6'), state, &mut ports);
    }
    Ok(ports)
}

/// `  0: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 …`
fn parse(text: &str, protocol: &str, wanted_state: &str, ports: &mut Ports) {
    for line in text.lines().skip(1) {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (Some(local), _, Some(state)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        if state != wanted_state || ports.len() >= MAX_PORTS {
            continue;
        }
        let uid = words.nth(3).and_then(|uid| uid.parse().ok()).unwrap_or(0);
        if let Some((address, port)) = parse_local(local) {
            let shown = match address {
                IpAddr::V4(v4) => format!("{protocol} {v4}:{port}"),
                IpAddr::V6(v6) => format!("{protocol} [{v6}]:{port}"),
            };
            ports.insert(shown, uid);
        }
    }
}

/// The kernel prints each 32-bit word of an address in its own byte order.
fn parse_local(local: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |index: usize| {
        let digits = address.get(index * 8..index * 8 + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    match address.len() {
        8 => Some((IpAddr::V4(Ipv4Addr::from(word(0)?)), port)),
        32 => {
            let mut bytes = [0; 16];
            for (chunk, index) in bytes.chunks_exact_mut(4).zip(0..) {
                chunk.copy_from_slice(&word(index)?);
            }
            Some((IpAddr::V6(Ipv6Addr::from(bytes)), port))
        }
        _ => None,
    }
}

fn emit(context: &mut Context<'_>, kind: &str, socket: &str, uid: u32) {
    let (protocol, address_and_port) = socket.split_once(' ').unwrap_or(("", socket));
    let (address, port) = address_and_port
        .rsplit_once(':')
        .unwrap_or((address_and_port, ""));
    let is_local = ["127.", "[::1]"]
        .iter()
        .any(|start| address.starts_with(start));
    let is_opened = kind == kinds::LISTENING_PORT_OPENED;
    let severity = match (is_opened, is_local) {
        (true, false) => Severity::Warning,
        (true, true) => Severity::Notice,
        (false, _) => Severity::Info,
    };
    let verb = if is_opened { "opened" } else { "closed" };
    let event = context
        .event(
            kind,
            severity,
            format!("listening port {verb}: {socket}, user {uid}"),
        )
        .with("protocol", protocol)
        .with("address", address.trim_matches(['[', ']']))
        .with("port", port)
        .with("uid", uid.to_string());
    context.emit(event);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 30412 1 0000 100 0 0 10 0
   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 30413 1 0000 20 4 30 10 -1
";
    const TCP6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
";

    #[test]
    fn only_listening_sockets_count() {
        let mut ports = Ports::new();
        parse(TCP, "tcp", "0A", &mut ports);
        parse(TCP6, "tcp", "0A", &mut ports);
        let expected = [
            ("tcp 127.0.0.1:8080".to_owned(), 1000),
            ("tcp [::1]:22".to_owned(), 0),
        ];
        assert_eq!(ports.into_iter().collect::<Vec<_>>(), expected);
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "(\\PC|\n){0,300}") {
            parse(&text, "udp", "07", &mut Ports::new());
        }
    }
}
