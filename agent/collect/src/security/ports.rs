//! Listening ports: what opened and what closed.
//!
//! A UDP socket in the ephemeral range is usually the answer side of a query and gone in a moment;
//! such a one is reported only if two readings in a row show it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use xiezhi_protocol::event::{Severity, kinds};

use super::watcher::{Context, Watcher};
use crate::sockets::{ListeningSockets, Protocol};

/// Ports at most.
const MAX_PORTS: usize = 4096;

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
    sockets: ListeningSockets,
    loss: Option<String>,
}

impl Watcher for ListeningPorts {
    fn name(&self) -> &'static str {
        "listening_ports"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(30)
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        let read = match self.read_ports(context) {
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
    fn read_ports(&mut self, context: &Context<'_>) -> std::io::Result<Ports> {
        let is_live = context.root == Path::new("/");
        let proc = context.path("proc");
        let mut ports = Ports::new();
        for protocol in Protocol::ALL {
            let name = protocol.name().trim_end_matches('6');
            let read = self.sockets.read(&proc, is_live, protocol, &mut |socket| {
                if ports.len() < MAX_PORTS {
                    let port = socket.port;
                    let shown = match socket.address {
                        IpAddr::V4(v4) => format!("{name} {v4}:{port}"),
                        IpAddr::V6(v6) => format!("{name} [{v6}]:{port}"),
                    };
                    ports.insert(shown, socket.uid);
                }
            });
            match read {
                // Without IPv6 its files do not exist.
                Err(error)
                    if error.kind() == std::io::ErrorKind::NotFound
                        && protocol != Protocol::Tcp => {}
                Err(error) => return Err(error),
                Ok(()) => {}
            }
        }
        Ok(ports)
    }

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
