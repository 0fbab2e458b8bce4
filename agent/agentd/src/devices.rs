//! What `xiezhi-devices` hands over: polls, events, and how it does, as packets of a socket.
//!
//! ```text
//! packet = 1:u8 time:i64le poll | 2:u8 JSON event | 3:u8 JSON state
//! ```
//!
//! The packets come from a process that reads what any box on the network sends, so they are taken as
//! such: a poll is bounded in length and not looked into, an event is of a kind that is about devices
//! and is made anew from its parts, and there is nothing here that it could ask for. Where a warden
//! runs, the socket is standard output, as its own is standard input.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use rustix::net::SocketType;
use serde::Deserialize;
use tokio::net::UnixDatagram;
use xiezhi_document::Section;
use xiezhi_protocol::event::Event;

use crate::privilege::{Asker, AskerOptions, is_supervised};

/// Longest packet; what is longer is cut by the kernel and refused here.
const LONGEST: usize = 192 << 10;
/// Most fields of an event; devices tell a dozen.
const MOST_FIELDS: usize = 32;
/// How the kinds of events that are about devices begin.
const ABOUT_DEVICES: &str = "device_";

/// The port that devices send traps to.
const TRAP_PORT: u16 = 162;

/// How devices are asked, unless the configuration says otherwise.
pub(crate) fn default_options() -> AskerOptions {
    AskerOptions {
        program: std::env::current_exe()
            .unwrap_or_else(|_| PathBuf::from("/usr/bin/xiezhi-agent"))
            .with_file_name("xiezhi-devices"),
        folder: PathBuf::from("/etc/xiezhi/devices.d"),
        state_dir: PathBuf::from("/var/lib/xiezhi-devices"),
        links: PathBuf::from("/etc/xiezhi/links.d"),
        profiles: PathBuf::from("/etc/xiezhi/profiles.d"),
        user: "xiezhi-devices".to_owned(),
        traps: Some(any_address(TRAP_PORT)),
    }
}

/// All addresses of this host, of both families.
fn any_address(port: u16) -> SocketAddr {
    (Ipv6Addr::UNSPECIFIED, port).into()
}

/// `off`, a port, or an address with a port.
fn read_traps(section: &mut Section<'_>, default: Option<SocketAddr>) -> Option<SocketAddr> {
    let Some(text) = section.text("traps") else {
        return default;
    };
    if text == "off" {
        return None;
    }
    let port = text.parse().ok().filter(|port| *port != 0).map(any_address);
    let address = port.or_else(|| text.parse().ok());
    if address.is_none() {
        section.problem(
            "traps",
            "`traps` is a port such as 162, an address such as 10.8.0.1:162, or off",
        );
    }
    address.or(default)
}

/// Reads the section `devices` of the configuration.
pub(crate) fn read_options(
    section: &mut Section<'_>,
    state_refusal: &dyn Fn(&std::path::Path) -> Option<String>,
) -> AskerOptions {
    let default = default_options();
    let state_dir = section.text("state_dir").map(PathBuf::from);
    if let Some(refusal) = state_dir.as_deref().and_then(state_refusal) {
        section.problem("state_dir", refusal);
    }
    AskerOptions {
        program: default.program,
        folder: section.text("folder").map_or(default.folder, PathBuf::from),
        state_dir: state_dir.unwrap_or(default.state_dir),
        links: section.text("links").map_or(default.links, PathBuf::from),
        profiles: section
            .text("profiles")
            .map_or(default.profiles, PathBuf::from),
        user: section.text("user").unwrap_or(default.user),
        traps: read_traps(section, default.traps),
    }
}

/// One packet.
#[derive(Debug)]
pub(crate) enum Packet {
    /// A poll as it goes into the spool, and when it began, Unix milliseconds.
    Poll {
        /// When it began.
        time_ms: i64,
        /// What was learnt.
        content: Vec<u8>,
    },
    /// Something that happened to a device.
    Event(Event),
    /// How the program does.
    State(AskerState),
    /// Something else, which is counted and forgotten.
    Refused(&'static str),
}

/// How the program that asks devices does.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct AskerState {
    /// Devices that it asks.
    pub(crate) devices: u64,
    /// Those of them that do not answer.
    pub(crate) silent: u64,
    /// Polls since it started.
    pub(crate) polls: u64,
    /// Memories that were lost or not written, polls that were not told, since it started.
    pub(crate) faults: u64,
    /// Datagrams that were the answer to nothing, since it started.
    pub(crate) discarded: u64,
    /// Datagrams that were no SNMP, since it started.
    pub(crate) malformed: u64,
    /// Traps and informs.
    pub(crate) traps: TrapState,
    /// Links that it measures.
    pub(crate) links: u64,
    /// Packets of others that its reflector answered, since it started.
    pub(crate) reflected: u64,
    /// Those that it refused.
    pub(crate) reflect_refused: u64,
    /// What is wrong with the files that name the devices, with file and line.
    pub(crate) problems: Vec<String>,
}

/// What came in without being asked for, since the program started.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct TrapState {
    /// Whether this host listens for traps.
    pub(crate) listening: bool,
    /// Traps and informs of devices, repeated ones among them.
    pub(crate) taken: u64,
    /// Those that were the same again.
    pub(crate) repeated: u64,
    /// Datagrams that were refused, by reason.
    pub(crate) refused: BTreeMap<String, u64>,
    /// Datagrams that were lost, by where.
    pub(crate) lost: BTreeMap<String, u64>,
}

impl AskerState {
    /// Its samples in the host's report; none where no devices are asked.
    pub(crate) fn samples(&self) -> impl Iterator<Item = (&'static str, f64)> + use<> {
        let told = *self != Self::default();
        let samples = [
            ("xiezhi_devices", self.devices as f64),
            ("xiezhi_devices_silent", self.silent as f64),
            ("xiezhi_devices_polls_total", self.polls as f64),
            ("xiezhi_devices_faults_total", self.faults as f64),
            ("xiezhi_devices_discarded_total", self.discarded as f64),
            ("xiezhi_devices_malformed_total", self.malformed as f64),
            ("xiezhi_links", self.links as f64),
            ("xiezhi_reflector_answered_total", self.reflected as f64),
            (
                "xiezhi_reflector_refused_total",
                self.reflect_refused as f64,
            ),
            ("xiezhi_devices_problems", self.problems.len() as f64),
            (
                "xiezhi_devices_traps_listening",
                f64::from(u8::from(self.traps.listening)),
            ),
            ("xiezhi_devices_traps_total", self.traps.taken as f64),
            (
                "xiezhi_devices_traps_repeated_total",
                self.traps.repeated as f64,
            ),
            (
                "xiezhi_devices_traps_refused_total",
                sum(&self.traps.refused),
            ),
            ("xiezhi_devices_traps_lost_total", sum(&self.traps.lost)),
        ];
        samples.into_iter().filter(move |_| told)
    }
}

fn sum(counts: &BTreeMap<String, u64>) -> f64 {
    counts
        .values()
        .fold(0, |sum: u64, count| sum.saturating_add(*count)) as f64
}

/// The devices' side of a worker: what comes in and, without a warden, the program itself.
#[derive(Debug)]
pub(crate) struct Devices {
    intake: Option<Intake>,
    asker: Option<Asker>,
    /// How the program does, as it told last.
    pub(crate) state: AskerState,
}

impl Devices {
    /// Takes what the warden's asker hands over or, without a warden, starts one where there are devices.
    ///
    /// # Errors
    /// If there can be no socket between the two.
    pub(crate) fn new(options: &AskerOptions, supervised: bool) -> Result<Self> {
        let (intake, asker) = if supervised {
            (Intake::from_stdout()?, None)
        } else {
            let (asker, ours) = Asker::new(options.clone(), false)?;
            (Some(Intake::new(ours)?), Some(asker))
        };
        Ok(Self {
            intake,
            asker,
            state: AskerState::default(),
        })
    }

    /// The next packet; never, where none can come.
    pub(crate) async fn next(&mut self) -> Packet {
        match &mut self.intake {
            Some(intake) => intake.next().await,
            None => std::future::pending().await,
        }
    }

    /// Without a warden: starts the program if there are devices. Call it every few seconds.
    pub(crate) fn tend(&mut self) {
        if let Some(asker) = &mut self.asker {
            asker.tend();
        }
    }
}

/// Where the packets come in.
#[derive(Debug)]
pub(crate) struct Intake {
    socket: UnixDatagram,
    packet: Vec<u8>,
}

impl Intake {
    /// The socket that the warden left as standard output, which is `/dev/null` afterwards; `None` if no
    /// warden started this process.
    ///
    /// # Errors
    /// If the socket cannot be watched.
    pub(crate) fn from_stdout() -> Result<Option<Self>> {
        let stdout = io::stdout();
        if !is_supervised()
            || rustix::net::sockopt::socket_type(&stdout) != Ok(SocketType::SEQPACKET)
        {
            return Ok(None);
        }
        let socket = rustix::io::fcntl_dupfd_cloexec(&stdout, 3).context(OPENING)?;
        let null = std::fs::File::options().write(true).open("/dev/null");
        rustix::stdio::dup2_stdout(null.context(OPENING)?).context(OPENING)?;
        Self::new(socket).map(Some)
    }

    /// Takes packets from `socket`; call it within the runtime.
    ///
    /// # Errors
    /// If the socket cannot be watched.
    pub(crate) fn new(socket: OwnedFd) -> Result<Self> {
        // Packets of either kind of socket are received alike.
        let socket = std::os::unix::net::UnixDatagram::from(socket);
        socket.set_nonblocking(true).context(OPENING)?;
        Ok(Self {
            socket: UnixDatagram::from_std(socket).context(OPENING)?,
            packet: Vec::new(),
        })
    }

    /// The next packet. May be dropped while it waits; nothing is lost by it.
    pub(crate) async fn next(&mut self) -> Packet {
        if self.socket.readable().await.is_err() {
            // The runtime is ending.
            return std::future::pending().await;
        }
        // One byte more than a packet may have, because the kernel cuts without a word.
        self.packet.resize(LONGEST + 1, 0);
        let received = self.socket.recv(&mut self.packet).await;
        let read = match received {
            Ok(length) if length > LONGEST => Packet::Refused("too_long"),
            Ok(length) => read(self.packet.get(..length).unwrap_or_default()),
            Err(_) => Packet::Refused("unreadable"),
        };
        // Dropped between polls: most agents never need it again.
        self.packet = Vec::new();
        read
    }
}

const OPENING: &str = "opening the socket for what devices tell";

fn read(packet: &[u8]) -> Packet {
    match packet.split_first() {
        Some((1, rest)) => match rest.split_first_chunk() {
            Some((time, content)) if !content.is_empty() => Packet::Poll {
                time_ms: i64::from_le_bytes(*time),
                content: content.to_vec(),
            },
            _ => Packet::Refused("malformed"),
        },
        Some((2, text)) => match serde_json::from_slice::<Event>(text) {
            Ok(event) => about_a_device(event).map_or(Packet::Refused("event"), Packet::Event),
            Err(_) => Packet::Refused("malformed"),
        },
        Some((3, text)) => {
            serde_json::from_slice(text).map_or(Packet::Refused("malformed"), Packet::State)
        }
        _ => Packet::Refused("unknown"),
    }
}

/// The event made anew, so that its texts are clean and bounded; `None` if it is not about a device.
fn about_a_device(told: Event) -> Option<Event> {
    if !told.kind.starts_with(ABOUT_DEVICES) || told.fields.len() > MOST_FIELDS {
        return None;
    }
    let mut event = Event::new(told.time_ms, &told.kind, told.severity, told.message);
    for (name, value) in told.fields {
        event = event.with(&name, value);
    }
    Some(event)
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SendFlags, SocketFlags};
    use xiezhi_protocol::event::Severity;

    use super::*;

    fn event(kind: &str) -> Vec<u8> {
        let event = Event::new(7, kind, Severity::Info, "x");
        let mut packet = vec![2];
        packet.extend(serde_json::to_vec(&event).unwrap());
        packet
    }

    #[test]
    fn only_events_about_devices_are_taken() {
        assert!(matches!(read(&event("device_restarted")), Packet::Event(_)));
        for kind in ["login", "facts", "agent_stopped"] {
            assert!(
                matches!(read(&event(kind)), Packet::Refused("event")),
                "{kind}"
            );
        }
    }

    #[test]
    fn an_event_is_made_anew_so_that_its_texts_are_clean() {
        let text = r#"{"time_ms":7,"kind":"device_silent","severity":"warning",
            "message":"a\u001b[2Jb","fields":{"device":"sw\n1"}}"#;
        let mut packet = vec![2];
        packet.extend(text.as_bytes());
        let Packet::Event(event) = read(&packet) else {
            panic!("{:?}", read(&packet))
        };
        assert_eq!(event.message, "a [2Jb");
        assert_eq!(event.fields["device"], "sw 1");
    }

    #[test]
    fn whatever_else_comes_is_refused() {
        for packet in [
            &b""[..],
            b"\x01",
            b"\x01\0\0\0\0\0\0\0\0",
            b"\x02{",
            b"\x03[",
            b"\x09x",
        ] {
            assert!(matches!(read(packet), Packet::Refused(_)), "{packet:?}");
        }
    }

    #[tokio::test]
    async fn packets_come_whole_and_one_that_is_too_long_costs_itself() {
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let mut intake = Intake::new(ours).unwrap();
        let mut poll = vec![1];
        poll.extend(1234_i64.to_le_bytes());
        poll.extend(vec![5; 100_000]);
        let long = vec![1; LONGEST + 1];
        let sender = std::thread::spawn(move || {
            for packet in [&poll, &long, &poll] {
                rustix::net::send(&theirs, packet, SendFlags::NOSIGNAL).unwrap();
            }
        });
        for expected in [true, false, true] {
            match intake.next().await {
                Packet::Poll { time_ms, content } => {
                    assert!(expected);
                    assert_eq!((time_ms, content.len()), (1234, 100_000));
                }
                other => {
                    assert!(matches!(other, Packet::Refused("too_long")), "{other:?}");
                    assert!(!expected);
                }
            }
        }
        sender.join().unwrap();
    }
}
