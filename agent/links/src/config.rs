//! The links of a host and its reflector, as people write them in `links.d/*.yaml`.
//!
//! ```yaml
//! links:
//!   - name: gaoyuan-dianxin          # what it is called everywhere
//!     address: 10.8.0.1              # the other end's reflector, 10.8.0.1:20862
//!     key: "sealed:…"                # without one, packets are plain
//!     source: 10.8.3.1               # the address to send from, and so the line, if there are several
//! reflector:                         # in one file, where others measure against this host
//!   peers:
//!     - {address: 10.8.0.0/16, key: "sealed:…"}
//! ```
//!
//! Pure: texts in, links and problems out. A bad link or file stops no other.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use xiezhi_document::{Document, Problems, Said, Section};
use xiezhi_protocol::poll::is_device_name;
use zeroize::Zeroizing;

use crate::packet::{self, Key, PLAIN, SHORTEST_KEY, SIGNED};
use crate::sessions::Peer;

/// The reflector's port, unless said otherwise. STAMP's own, 862, is below 1024, which the program that
/// measures has no right to; RFC 8762 §4.1 allows any other.
pub const PORT: u16 = 20_862;

/// Most links of one host: all courts of a large province.
pub const MOST: usize = 256;

/// Most peers of a reflector.
pub const MOST_PEERS: usize = 1024;

/// Between two reports, unless said otherwise, and the bounds.
const EVERY: Duration = Duration::from_secs(60);
const EVERY_BOUNDS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// How long an answer is waited for.
const TIMEOUT: Duration = Duration::from_secs(2);
const TIMEOUT_BOUNDS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// Packets a second.
const RATE: u32 = 10;
const MOST_RATE: u32 = 100;

/// Packets a second that a reflector answers one address.
const PEER_RATE: u32 = 200;
const MOST_PEER_RATE: u32 = 100_000;

/// Opens a sealed value, or says what to do.
pub type Opener<'a> = dyn Fn(&str) -> Result<Zeroizing<String>, Said> + 'a;

/// What a sealed value begins with.
const SEALED: &str = "sealed:";

/// A file of the folder.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// As messages name it.
    pub path: &'a str,
    /// What is in it.
    pub text: &'a str,
}

/// A link that is to be measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its name, which is its name everywhere.
    pub name: String,
    /// The reflector at the other end.
    pub peer: SocketAddr,
    /// The address to send from; `None` leaves it to the routes.
    pub source: Option<IpAddr>,
    /// The key that both ends share; without one, packets are plain.
    pub key: Option<Key>,
    /// Packets a second.
    pub rate: u32,
    /// Octets of a packet.
    pub size: usize,
    /// How often numbers are told.
    pub every: Duration,
    /// How long an answer is waited for.
    pub timeout: Duration,
    /// Whether the reflector counts what it sends back. TWAMP Light's need not.
    pub stateful: bool,
    /// Anything that its people want to remember.
    pub note: String,
    /// The file that it stands in.
    pub file: String,
}

/// What answers others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reflector {
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
    /// Who may measure.
    pub peers: Vec<Peer>,
    /// Packets a second that one address may have answered.
    pub rate: u32,
    /// The file that it stands in.
    pub file: String,
}

/// What a folder says.
#[derive(Debug, Clone, Default)]
pub struct Folder {
    /// The links by name.
    pub links: BTreeMap<String, Link>,
    /// The reflector, if there is one.
    pub reflector: Option<Reflector>,
    /// What is wrong, file by file.
    pub problems: Vec<Problems>,
}

/// Reads the files of a folder. `open` opens sealed values.
#[must_use]
pub fn read(files: &[File<'_>], open: &Opener<'_>) -> Folder {
    let mut folder = Folder::default();
    for file in files {
        let document = Document::parse(file.path, file.text);
        let ((links, reflector), mut problems) = document.read(|section| {
            let links = section.sections("links", |section| {
                (link(section, file.path, open), section.place("name"))
            });
            let reflector = section.section("reflector", |section| {
                let read = reflector(section, file.path, open);
                (read, section.place("peers"))
            });
            (links, reflector)
        });
        for (link, (line, column)) in links {
            if let Some(Err(said)) = link.map(|link| folder.add(link)) {
                problems.add(line, column, said);
            }
        }
        if let Some((Some(reflector), (line, column))) = reflector {
            match &folder.reflector {
                None => folder.reflector = Some(reflector),
                Some(other) => {
                    let other = &other.file;
                    let said = Said::new(
                        format!("{other} has a reflector too; a host has one, with all its peers"),
                        format!("{other} 中已有 reflector；一台主机只能有一个，请把对端合并到一处"),
                    );
                    problems.add(line, column, said);
                }
            }
        }
        if !problems.is_empty() {
            folder.problems.push(problems);
        }
    }
    folder
}

impl Folder {
    fn add(&mut self, link: Link) -> Result<(), Said> {
        if let Some(other) = self.links.get(&link.name) {
            let (name, file) = (&link.name, &other.file);
            return Err(Said::new(
                format!("there are two links `{name}`, the other in {file}; keep one"),
                format!("线路 `{name}` 重复（另一处在 {file}），请只保留一处"),
            ));
        }
        if self.links.len() >= MOST {
            return Err(Said::new(
                format!("this host measures at most {MOST} links; measure the others from another"),
                format!("一台主机最多测量 {MOST} 条线路，其余请由其他主机测量"),
            ));
        }
        self.links.insert(link.name.clone(), link);
        Ok(())
    }
}

fn link(section: &mut Section<'_>, file: &str, open: &Opener<'_>) -> Option<Link> {
    let name = name(section);
    let peer = peer_address(section);
    let source = source(section);
    let key = key(section, open);
    let rate = number(section, "rate", RATE, MOST_RATE);
    let every = duration(section, "every", EVERY, EVERY_BOUNDS);
    let timeout = duration(section, "timeout", TIMEOUT, TIMEOUT_BOUNDS);
    let stateful = has(section, "reflector")
        .then(|| section.choice("reflector", &[("stateful", true), ("stateless", false)]));
    let note = section.text("note").unwrap_or_default();
    let signed = matches!(key, Some(Some(_)));
    let size = size(section, signed);
    let (peer, source) = (peer?, source?);
    if source.is_some_and(|source| source.is_ipv4() != peer.is_ipv4()) {
        let said = Said::new(
            "`source` and `address` are not of one kind: both IPv4 or both IPv6",
            "`source` 与 `address` 必须同为 IPv4 或同为 IPv6",
        );
        section.problem("source", said);
        return None;
    }
    Some(Link {
        name: name?,
        peer,
        source,
        key: key?,
        rate: rate?,
        size: size?,
        every: every?,
        timeout: timeout?,
        stateful: stateful.unwrap_or(Some(true))?,
        note,
        file: file.to_owned(),
    })
}

fn reflector(section: &mut Section<'_>, file: &str, open: &Opener<'_>) -> Option<Reflector> {
    let port = if has(section, "port") {
        let what = Said::new("a port from 1 to 65535", "1 到 65535 之间的端口");
        section
            .parsed::<u16>("port", what)
            .filter(|port| *port != 0)
    } else {
        Some(PORT)
    };
    let addresses = if has(section, "listen") {
        let what = Said::new("addresses of this host", "本机的 IP 地址列表");
        section.parsed_list::<IpAddr>("listen", what)
    } else {
        vec![Ipv4Addr::UNSPECIFIED.into()]
    };
    let rate = number(section, "rate", PEER_RATE, MOST_PEER_RATE);
    let peers = section.sections("peers", |section| peer(section, open));
    if peers.is_empty() || peers.len() > MOST_PEERS {
        let said = Said::new(
            format!("`peers` says who may measure: 1 to {MOST_PEERS}, each with address and key"),
            format!("`peers` 列出允许测量的对端：1 到 {MOST_PEERS} 个，每个写明 address 和 key"),
        );
        section.problem("peers", said);
        return None;
    }
    let port = port?;
    Some(Reflector {
        listen: addresses
            .iter()
            .map(|ip| SocketAddr::new(*ip, port))
            .collect(),
        peers: peers.into_iter().flatten().collect(),
        rate: rate?,
        file: file.to_owned(),
    })
}

fn peer(section: &mut Section<'_>, open: &Opener<'_>) -> Option<Peer> {
    let what = Said::new(
        "the peer's address or network, 10.8.0.0/16",
        "对端地址或网段，例如 10.8.0.0/16",
    );
    let text = section.required_text("address", what);
    let key = key(section, open);
    let text = text?;
    let network = parse_network(&text);
    if network.is_none() {
        let said = Said::new(
            format!("`{text}` is no address or network such as 10.8.0.7 or 10.8.0.0/16"),
            format!("`{text}` 不是地址或网段，例如 10.8.0.7 或 10.8.0.0/16"),
        );
        section.problem("address", said);
    }
    Some(Peer {
        network: network?,
        key: key?,
    })
}

/// A network, or one address.
#[must_use]
pub fn parse_network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.map_or(Some(most), |prefix| prefix.parse().ok())?;
    (prefix <= most).then_some((address, prefix))
}

/// A reflector's address with or without its port.
#[must_use]
pub fn parse_address(text: &str) -> Option<SocketAddr> {
    let address: Option<SocketAddr> = text.parse().ok();
    let bare = || text.parse::<IpAddr>().ok();
    address
        .or_else(|| bare().map(|ip| SocketAddr::new(ip, PORT)))
        .filter(|address| address.port() != 0 && !address.ip().is_unspecified())
}

fn has(section: &Section<'_>, key: &str) -> bool {
    section.keys().iter().any(|one| one == key)
}

fn name(section: &mut Section<'_>) -> Option<String> {
    let what = Said::new("what the link is called", "线路名称");
    let name = section.required_text("name", what)?;
    if is_device_name(&name) {
        return Some(name);
    }
    let said = Said::new(
        "a name has 1 to 63 small letters, digits, dots, dashes and underscores, a letter or digit first",
        "名称由 1 至 63 个小写字母、数字、点、连字符或下划线组成，并以字母或数字开头",
    );
    section.problem("name", said);
    None
}

fn peer_address(section: &mut Section<'_>) -> Option<SocketAddr> {
    let what = Said::new("the other end's IP address", "对端的 IP 地址");
    let text = section.required_text("address", what)?;
    let address = parse_address(&text);
    if address.is_none() {
        let said = Said::new(
            format!("`{text}` is no address such as 10.8.0.1, 10.8.0.1:862 or [2001:db8::1]:862"),
            format!("`{text}` 不是地址，例如 10.8.0.1、10.8.0.1:862 或 [2001:db8::1]:862"),
        );
        section.problem("address", said);
    }
    address
}

/// `Some(None)` where none is given, `None` where what is given is none.
fn source(section: &mut Section<'_>) -> Option<Option<IpAddr>> {
    if !has(section, "source") {
        return Some(None);
    }
    let what = Said::new("an address of this host", "本机的一个 IP 地址");
    section.parsed::<IpAddr>("source", what).map(Some)
}

/// As [`source`].
fn key(section: &mut Section<'_>, open: &Opener<'_>) -> Option<Option<Key>> {
    if !has(section, "key") {
        return Some(None);
    }
    let text = Zeroizing::new(section.text("key")?);
    let opened = if text.starts_with(SEALED) {
        match open(&text) {
            Ok(opened) => opened,
            Err(said) => {
                section.problem("key", said);
                return None;
            }
        }
    } else {
        text
    };
    let key = Key::new(&opened);
    if key.is_none() {
        let said = Said::new(
            format!(
                "a key has {SHORTEST_KEY} characters or more; `xiezhi-agent link key` makes one"
            ),
            format!("密钥至少 {SHORTEST_KEY} 个字符；可用 `xiezhi-agent link key` 生成"),
        );
        section.problem("key", said);
    }
    key.map(Some)
}

fn number(section: &mut Section<'_>, key: &str, usual: u32, most: u32) -> Option<u32> {
    if !has(section, key) {
        return Some(usual);
    }
    let what = || {
        Said::new(
            format!("a number from 1 to {most}"),
            format!("1 到 {most} 之间的整数"),
        )
    };
    let number = section.parsed::<u32>(key, what())?;
    if (1..=most).contains(&number) {
        return Some(number);
    }
    section.problem(key, what());
    None
}

fn size(section: &mut Section<'_>, signed: bool) -> Option<usize> {
    let least = if signed { SIGNED } else { PLAIN };
    if !has(section, "size") {
        return Some(least);
    }
    let (first, last) = (least + 4, packet::LONGEST);
    let what = || {
        Said::new(
            format!("octets of a packet: {least}, or {first} to {last}"),
            format!("报文字节数：{least}，或 {first} 到 {last}"),
        )
    };
    let size = section.parsed::<usize>("size", what())?;
    if packet::is_length(size, signed) {
        return Some(size);
    }
    section.problem("size", what());
    None
}

fn duration(
    section: &mut Section<'_>,
    key: &str,
    usual: Duration,
    (least, most): (Duration, Duration),
) -> Option<Duration> {
    if !has(section, key) {
        return Some(usual);
    }
    let duration = section.duration(key)?;
    if (least..=most).contains(&duration) {
        return Some(duration);
    }
    let said = Said::new(
        format!("from {least:?} to {most:?}"),
        format!("应在 {least:?} 到 {most:?} 之间"),
    );
    section.problem(key, said);
    None
}

#[cfg(test)]
mod tests;
