//! Listening ports: what opened and what closed.
//!
//! A UDP socket that nobody bound to a port gets one of the ephemeral range (`ip_local_port_range`, ip(7)),
//! and until it is connected it looks like a service: a resolver, a browser or an NTP client has new ones all
//! day. The kernel does not tell who chose the port. So what listens on a UDP port of that range is told once
//! it has stayed for ten minutes: an intruder's back door there is told too, only later; one outside the
//! range, and any TCP port, at the next reading. It may be missing in one reading between, so that a moment's
//! closing hides nothing, but not in two that follow each other. It is the port that must stay, not the
//! socket: who opens the same port again and again is no client. What stayed when the watch began is not
//! told, as with all other ports.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use xiezhi_protocol::event::{Severity, kinds};

use super::watcher::{Context, Watcher};
use crate::sockets::{ListeningSockets, Protocol};

/// Ports at most.
const MAX_PORTS: usize = 4096;

/// So long a UDP port of the ephemeral range must stay before it is told, milliseconds: longer than what
/// clients keep open for a question and its repetitions, short enough to matter for who watches.
const STAYS_MS: i64 = 600_000;

/// `tcp 0.0.0.0:22` → uid.
type Ports = BTreeMap<String, u32>;

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    ports: Option<Ports>,
}

/// A UDP port of the ephemeral range that may be a client's.
#[derive(Debug, Clone, Copy)]
struct Passing {
    /// When it was seen first, since boot.
    since_ms: i64,
    /// Whether the reading before did not show it.
    is_missed: bool,
    /// Whether it was there when the watch began.
    is_old: bool,
}

/// The watcher.
#[derive(Debug, Default)]
pub(crate) struct ListeningPorts {
    state: State,
    passing: BTreeMap<String, Passing>,
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

    /// Without the UDP ports of the ephemeral range that have not stayed yet.
    fn settled(&mut self, context: &Context<'_>, read: Ports) -> Ports {
        let ephemeral = ephemeral(context);
        let now_ms = context.now.boot_ms;
        let is_first = self.state.ports.is_none();
        let mut before = std::mem::take(&mut self.passing);
        let mut settled = Ports::new();
        for (port, uid) in read {
            let known = self.state.ports.as_ref();
            let is_known = known.is_some_and(|ports| ports.contains_key(&port));
            if is_known || !is_udp_within(&port, &ephemeral) {
                settled.insert(port, uid);
                continue;
            }
            let passing = before.remove(&port).unwrap_or(Passing {
                since_ms: now_ms,
                is_missed: false,
                is_old: is_first,
            });
            if now_ms.saturating_sub(passing.since_ms) < STAYS_MS {
                let is_missed = false;
                let passing = Passing {
                    is_missed,
                    ..passing
                };
                self.passing.insert(port, passing);
                continue;
            }
            if passing.is_old
                && let Some(known) = &mut self.state.ports
            {
                known.insert(port.clone(), uid);
            }
            settled.insert(port, uid);
        }
        let missed = before.into_iter().filter(|(_, one)| !one.is_missed);
        let is_missed = true;
        self.passing
            .extend(missed.map(|(port, one)| (port, Passing { is_missed, ..one })));
        settled
    }
}

fn is_udp_within(shown: &str, range: &RangeInclusive<u16>) -> bool {
    let port = shown.rsplit(':').next().and_then(|port| port.parse().ok());
    shown.starts_with("udp") && port.is_some_and(|port: u16| range.contains(&port))
}

/// The ports that the kernel chooses from; its own default if it does not say.
fn ephemeral(context: &Context<'_>) -> RangeInclusive<u16> {
    let told = std::fs::read_to_string(context.path("proc/sys/net/ipv4/ip_local_port_range"));
    let parsed = told.ok().and_then(|text| {
        let mut words = text.split_whitespace();
        Some(words.next()?.parse().ok()?..=words.next()?.parse().ok()?)
    });
    parsed.unwrap_or(32_768..=60_999)
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
    use std::fs;

    use xiezhi_protocol::event::Event;

    use super::super::privileged::Direct;
    use super::super::watcher::Now;
    use super::super::{SecurityOptions, SecurityWatch};

    const HEAD: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    /// A host whose UDP sockets are told, and what the watch says of them.
    struct Host {
        folder: tempfile::TempDir,
        watch: SecurityWatch,
        now: Now,
    }

    impl Host {
        fn new(range: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path().join("root");
            fs::create_dir_all(root.join("proc/net")).unwrap();
            fs::create_dir_all(root.join("proc/sys/net/ipv4")).unwrap();
            fs::write(root.join("proc/net/tcp"), HEAD).unwrap();
            fs::write(root.join("proc/sys/net/ipv4/ip_local_port_range"), range).unwrap();
            let state = folder.path().join("state");
            let direct = Box::new(Direct::new(&root));
            let options = SecurityOptions::default();
            let watch = SecurityWatch::open(&root, &state, options, direct).unwrap();
            let now = Now {
                wall_ms: 1_795_300_000_000,
                boot_ms: 5_000_000,
            };
            Self { folder, watch, now }
        }

        /// Half a minute later these UDP ports are bound. What is told of them.
        fn see(&mut self, ports: &[u16]) -> Vec<String> {
            let mut table = HEAD.to_owned();
            for (line, port) in ports.iter().enumerate() {
                table.push_str(&format!(
                    "{line:5}: 00000000:{port:04X} 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 {} 2 0000000000000000 0\n",
                    self.now.boot_ms + i64::from(*port)
                ));
            }
            fs::write(self.folder.path().join("root/proc/net/udp"), table).unwrap();
            self.now.wall_ms += 30_000;
            self.now.boot_ms += 30_000;
            let told = |event: &Event| {
                let verb = event.kind.rsplit('_').next().unwrap_or_default();
                event.kind.starts_with("listening_port").then(|| {
                    let port = event.fields.get("port").cloned().unwrap_or_default();
                    format!("{verb} {port}")
                })
            };
            let events = self.watch.poll_at(self.now);
            events.iter().filter_map(told).collect()
        }
    }

    #[test]
    fn ports_of_clients_come_and_go_untold() {
        let mut host = Host::new("32768\t60999\n");
        assert!(host.see(&[53]).is_empty());
        // A resolver: each socket stays for four minutes, and there are eight at any time.
        for reading in 0..120_u16 {
            let ports: Vec<u16> = (reading..reading + 8).map(|at| 40_000 + at).collect();
            let told = host.see(&[&[53], &*ports].concat());
            assert!(told.is_empty(), "reading {reading}: {told:?}");
        }
        assert!(host.see(&[53]).is_empty());
    }

    #[test]
    fn a_back_door_on_a_high_port_is_told_after_ten_minutes_and_elsewhere_at_once() {
        let mut host = Host::new("32768\t60999\n");
        assert!(host.see(&[]).is_empty());
        assert_eq!(
            host.see(&[61_000, 31_337, 45_000]),
            ["opened 31337", "opened 61000"]
        );
        for reading in 1..20 {
            // It is closed for a moment now and then, and is another socket each time.
            let open: &[u16] = if reading % 3 == 0 {
                &[61_000, 31_337]
            } else {
                &[61_000, 31_337, 45_000]
            };
            assert!(host.see(open).is_empty(), "reading {reading}");
        }
        assert_eq!(host.see(&[61_000, 31_337, 45_000]), ["opened 45000"]);
        assert!(host.see(&[61_000, 31_337, 45_000]).is_empty());
        assert_eq!(host.see(&[61_000, 31_337]), ["closed 45000"]);
    }

    #[test]
    fn what_is_gone_for_two_readings_begins_anew() {
        let mut host = Host::new("32768 60999");
        assert!(host.see(&[]).is_empty());
        for reading in 0..60 {
            let open: &[u16] = if reading % 10 < 8 { &[45_000] } else { &[] };
            assert!(host.see(open).is_empty(), "reading {reading}");
        }
    }

    #[test]
    fn what_stayed_from_before_the_watch_is_its_baseline() {
        let mut host = Host::new("32768 60999");
        for _ in 0..40 {
            assert!(host.see(&[45_000]).is_empty());
        }
        assert_eq!(host.see(&[]), ["closed 45000"]);
    }

    #[test]
    fn a_range_that_cannot_be_read_is_the_kernels_default() {
        let mut host = Host::new("garbage");
        assert!(host.see(&[]).is_empty());
        assert_eq!(
            host.see(&[32_767, 32_768, 61_000]),
            ["opened 32767", "opened 61000"]
        );
    }
}
