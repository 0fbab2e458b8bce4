//! Traps as they come: whose each is, whether it is new, and what is told of it.

mod drops;
mod engine;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use rustix::net::{SendFlags, SocketType, sockopt};
use serde::Serialize;
use xiezhi_devices::Login;
use xiezhi_devices::moment::Moment;
use xiezhi_devices::traps::intake::{Batch, Counted, Intake};
use xiezhi_devices::traps::repeats::Repeats;
use xiezhi_devices::traps::{Ear, Heard, Notice, Refusal, meaning};
use xiezhi_profiles::{Oid, Profile};
use xiezhi_protocol::event::{Event, Severity, kinds};

use super::limiter::Limiter;

/// Bytes that the kernel keeps before anybody reads, if the host allows so many.
const BUFFER: usize = 8 << 20;

/// How often the same refusal, or strangers, are told.
const TELL_EVERY_MS: u64 = 3_600_000;

/// Refusals that are remembered as told, by device and reason.
const MOST_TOLD: usize = 4096;

/// Where traps come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    /// The socket that this process was started with as standard output.
    HandedOver,
    /// A port that this process opens itself.
    Own(SocketAddr),
}

/// Whose traps are known how.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) device: String,
    pub(crate) address: SocketAddr,
    pub(crate) login: Login,
    pub(crate) from: Vec<IpAddr>,
}

/// A trap that is to be told.
#[derive(Debug)]
pub(crate) struct New {
    pub(crate) device: String,
    pub(crate) address: SocketAddr,
    pub(crate) notice: Notice,
    /// How often the same came since it was told before.
    repeats: u64,
    /// Traps of the device that were not told because there were too many.
    held_back: u64,
    now_ms: i64,
}

impl New {
    /// Its event, in the words of the device's profile.
    pub(crate) fn event(
        &self,
        profile: Option<&Profile>,
        ports: &xiezhi_devices::memory::ports::PortBook,
    ) -> Event {
        let device = (self.device.as_str(), self.address);
        let mut event = meaning::event(device, profile, ports, &self.notice, self.now_ms);
        for (name, count) in [("repeats", self.repeats), ("held_back", self.held_back)] {
            if count > 0 {
                event = event.with(name, count.to_string());
            }
        }
        event
    }
}

/// What one datagram came to.
#[derive(Debug)]
pub(crate) enum Taken {
    /// A new trap of a device.
    New(Box<New>),
    /// A new trap that is not told, because its device told too many.
    HeldBack(String),
    /// Nothing to do, or something to tell.
    Nothing(Option<Event>),
}

/// What was heard since the start.
#[derive(Debug, Default, Clone, Serialize)]
pub(crate) struct HeardReport {
    /// Whether this host listens for traps.
    listening: bool,
    /// Datagrams that came in.
    received: u64,
    /// Traps and informs of devices, repeated ones among them.
    taken: u64,
    /// Those that were the same again.
    repeated: u64,
    /// Those that were not told, because their device told too many.
    held_back: u64,
    /// Datagrams that were refused, by reason; `stranger` are those from addresses of no device.
    refused: BTreeMap<&'static str, u64>,
    /// Datagrams that were lost, by where: `kernel`, `queue`, `rate`.
    lost: BTreeMap<&'static str, u64>,
}

/// Everything about traps.
pub(crate) struct Traps {
    intake: Option<Intake>,
    batch: Batch,
    ear: Ear,
    started: std::time::Instant,
    sources: BTreeMap<IpAddr, Vec<Source>>,
    repeats: Repeats,
    limiter: Limiter,
    taken: u64,
    repeated: u64,
    held_back: u64,
    refused: BTreeMap<Refusal, u64>,
    /// What was refused of a device and why: how often since it was told, and when that was.
    told: BTreeMap<(String, Refusal), (u64, u64)>,
    strangers: Strangers,
    /// Losses that were told.
    lost: Lost,
}

/// Who sent without being a device.
#[derive(Debug, Default)]
struct Strangers {
    addresses: BTreeSet<IpAddr>,
    /// All of them that were told.
    told: u64,
    told_ms: Option<u64>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Lost {
    kernel: u64,
    queue: u64,
    rate: u64,
}

impl Traps {
    /// Listens at `port`. `state` is the folder where the engine is kept. What cannot be listened at is
    /// told, and devices are asked all the same.
    pub(crate) fn start(port: Option<Port>, state: &Path) -> Result<Self> {
        let intake = port.and_then(|port| {
            let opened = open(port).and_then(|socket| {
                // More is better, what there is will do.
                sockopt::set_socket_recv_buffer_size(&socket, BUFFER).ok();
                sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER).ok();
                tracing::info!(at = ?socket.local_addr().ok(), "listening for traps");
                Intake::start(socket).context("starting the thread that receives traps")
            });
            let told = |error: &anyhow::Error| {
                tracing::warn!("traps are not received, devices are asked all the same: {error:#}");
            };
            opened.inspect_err(told).ok()
        });
        let engine = engine::next(&state.join("engine"))?;
        Ok(Self {
            intake,
            batch: Batch::default(),
            ear: Ear::new(engine),
            started: std::time::Instant::now(),
            sources: BTreeMap::new(),
            repeats: Repeats::default(),
            limiter: Limiter::default(),
            taken: 0,
            repeated: 0,
            held_back: 0,
            refused: BTreeMap::new(),
            told: BTreeMap::new(),
            strangers: Strangers::default(),
            lost: Lost::default(),
        })
    }

    /// Takes `sources` as all that there are.
    pub(crate) fn know(&mut self, sources: Vec<Source>) {
        self.sources.clear();
        for source in sources {
            let mut addresses: BTreeSet<IpAddr> = source.from.iter().copied().collect();
            addresses.insert(source.address.ip());
            for address in addresses {
                let known = self.sources.entry(address.to_canonical()).or_default();
                known.push(Source {
                    device: source.device.clone(),
                    address: source.address,
                    login: source.login.clone(),
                    from: Vec::new(),
                });
            }
        }
        if let Some(intake) = &self.intake {
            intake.know(self.sources.keys().copied().collect());
        }
    }

    /// Waits until a datagram is there. May be dropped while it waits; nothing is lost by it.
    pub(crate) async fn come(&mut self) {
        if !self.batch.is_done() {
            return;
        }
        match &self.intake {
            Some(intake) => intake.next(&mut self.batch).await,
            None => std::future::pending().await,
        }
    }

    /// Takes the next datagram; `None` if none is there. `clears` says which trap a notice of a device
    /// ends.
    pub(crate) fn take(
        &mut self,
        now: Moment,
        clears: impl Fn(&str, &Notice) -> Option<Oid>,
    ) -> Option<Taken> {
        let (from, datagram) = self.batch.take()?;
        let address = from.ip().to_canonical();
        let Some(known) = self.sources.get(&address) else {
            // The devices changed since it came.
            return Some(Taken::Nothing(None));
        };
        let logins: Vec<&Login> = known.iter().map(|source| &source.login).collect();
        // An engine counts 68 years.
        let now_s = u32::try_from(self.started.elapsed().as_secs()).unwrap_or(u32::MAX);
        let Heard { what, reply } = self.ear.take(datagram, address, &logins, now_s);
        if let (Some(reply), Some(intake)) = (reply, &self.intake) {
            // Who waits for it and does not get it sends again.
            rustix::net::sendto(intake.socket(), &reply, SendFlags::DONTWAIT, &from).ok();
        }
        let (place, notice) = match what {
            Ok(heard) => heard,
            Err(why) => {
                let device = known
                    .first()
                    .map(|source| (source.device.clone(), source.address));
                return Some(Taken::Nothing(self.refuse(device, why, now)));
            }
        };
        let source = known.get(place)?;
        self.taken += 1;
        let ended = clears(&source.device, &notice);
        let repeats = self
            .repeats
            .take(&source.device, &notice, ended.as_ref(), now.boot_ms);
        let Some(repeats) = repeats else {
            self.repeated += 1;
            return Some(Taken::Nothing(None));
        };
        let Some(held_back) = self.limiter.admit(&source.device, now.boot_ms) else {
            self.held_back += 1;
            return Some(Taken::HeldBack(source.device.clone()));
        };
        Some(Taken::New(Box::new(New {
            device: source.device.clone(),
            address: source.address,
            notice,
            repeats,
            held_back,
            now_ms: now.unix_ms,
        })))
    }

    /// Counts a refusal, and tells it if it was not told within the hour.
    fn refuse(
        &mut self,
        device: Option<(String, SocketAddr)>,
        why: Refusal,
        now: Moment,
    ) -> Option<Event> {
        *self.refused.entry(why).or_default() += 1;
        if why == Refusal::Discovery {
            return None;
        }
        let (device, address) = device?;
        let is_full = self.told.len() >= MOST_TOLD;
        let told = self.told.entry((device.clone(), why));
        let (count, told_ms) = match told {
            std::collections::btree_map::Entry::Vacant(_) if is_full => return None,
            std::collections::btree_map::Entry::Vacant(vacant) => vacant.insert((0, 0)),
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
        };
        *count += 1;
        if *told_ms != 0 && now.boot_ms.saturating_sub(*told_ms) < TELL_EVERY_MS {
            return None;
        }
        *told_ms = now.boot_ms.max(1);
        let count = std::mem::take(count);
        let word = why.word();
        let message = format!("traps of device {device} are refused: {word}");
        let event = Event::new(
            now.unix_ms,
            kinds::DEVICE_TRAPS_REFUSED,
            Severity::Warning,
            message,
        );
        Some(
            event
                .with("device", device)
                .with("address", address.to_string())
                .with("reason", word)
                .with("count", count.to_string()),
        )
    }

    /// What else is to be told, once a minute: strangers, and what was lost.
    pub(crate) fn tend(&mut self, now: Moment) -> Vec<Event> {
        self.repeats.tidy(now.boot_ms);
        let Some(intake) = &self.intake else {
            return Vec::new();
        };
        let counted = intake.counted();
        let mut events = Vec::new();
        self.strangers
            .addresses
            .extend(intake.strangers().into_keys());
        events.extend(self.strangers.event(&counted, now));
        let lost = Lost {
            kernel: drops::of(intake.socket()),
            queue: counted.queue_full,
            rate: counted.too_many,
        };
        if lost != self.lost {
            let message = "traps were lost before they were read; devices are asked all the same";
            let severity = Severity::Warning;
            let mut event = Event::new(now.unix_ms, kinds::DEVICE_TRAPS_LOST, severity, message);
            for (name, count) in lost.since(self.lost) {
                event = event.with(name, count.to_string());
            }
            events.push(event);
            self.lost = lost;
        }
        events
    }

    pub(crate) fn report(&self) -> HeardReport {
        let Some(intake) = &self.intake else {
            return HeardReport::default();
        };
        let counted = intake.counted();
        let lost = Lost {
            kernel: drops::of(intake.socket()),
            queue: counted.queue_full,
            rate: counted.too_many,
        };
        let mut refused: BTreeMap<_, _> = self
            .refused
            .iter()
            .map(|(why, count)| (why.word(), *count))
            .collect();
        refused.insert("stranger", counted.strangers);
        HeardReport {
            listening: true,
            received: counted.received,
            taken: self.taken,
            repeated: self.repeated,
            held_back: self.held_back,
            refused,
            lost: lost.since(Lost::default()).collect(),
        }
    }
}

impl Lost {
    fn since(self, before: Self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("kernel", self.kernel.saturating_sub(before.kernel)),
            ("queue", self.queue.saturating_sub(before.queue)),
            ("rate", self.rate.saturating_sub(before.rate)),
        ]
        .into_iter()
    }
}

impl Strangers {
    /// Once an hour: who sent traps and is no device.
    fn event(&mut self, counted: &Counted, now: Moment) -> Option<Event> {
        let count = counted.strangers - self.told;
        let is_told = |told| now.boot_ms.saturating_sub(told) < TELL_EVERY_MS;
        if count == 0 || self.told_ms.is_some_and(is_told) {
            return None;
        }
        self.told = counted.strangers;
        self.told_ms = Some(now.boot_ms);
        let addresses = std::mem::take(&mut self.addresses);
        let addresses: Vec<String> = addresses.iter().take(32).map(ToString::to_string).collect();
        let addresses = addresses.join(", ");
        let message = format!("traps came from addresses of no device: {addresses}");
        let event = Event::new(
            now.unix_ms,
            kinds::DEVICE_TRAPS_UNKNOWN,
            Severity::Notice,
            message,
        );
        Some(
            event
                .with("addresses", addresses)
                .with("count", count.to_string()),
        )
    }
}

fn open(port: Port) -> Result<UdpSocket> {
    match port {
        Port::Own(address) => {
            let socket = UdpSocket::bind(address).or_else(|error| match address.ip() {
                // A host without IPv6.
                IpAddr::V6(ip) if ip.is_unspecified() && !is_taken(&error) => {
                    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, address.port()))
                }
                _ => Err(error),
            });
            socket.with_context(|| format!("listening at {address}"))
        }
        Port::HandedOver => {
            const NO_SOCKET: &str = "standard output is no socket for traps";
            let stdout = io::stdout();
            ensure!(
                sockopt::socket_type(&stdout) == Ok(SocketType::DGRAM),
                NO_SOCKET
            );
            let socket: OwnedFd = rustix::io::fcntl_dupfd_cloexec(&stdout, 3).context(NO_SOCKET)?;
            let null = std::fs::File::options().write(true).open("/dev/null");
            rustix::stdio::dup2_stdout(null.context(NO_SOCKET)?).context(NO_SOCKET)?;
            Ok(UdpSocket::from(socket))
        }
    }
}

fn is_taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
    )
}
