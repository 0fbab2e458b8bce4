//! Sockets that listen: who could be reached on this host, and which user holds the port.
//!
//! The running kernel is asked by sock_diag(7) for listening sockets only. Reading
//! `/proc/net/{tcp,tcp6}` (proc_pid_net(5)) walks the kernel's whole table of connections, whose size
//! follows the machine's memory: 4 ms per read on an idle machine of 24 GB, more than everything else
//! that the agent reads in a minute. The files remain for recorded hosts and for a kernel that
//! refuses the question; of them only the first lines are read, because listening sockets come first.
//!
//! It opens no connection and reads nothing of what passes through a socket.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

use crate::bytes::{hexadecimal, number, split_once, words};

/// Most sockets that are taken of one protocol.
pub(crate) const MAX_SOCKETS: usize = 16_384;

/// A transport protocol over one version of IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Tcp,
    Tcp6,
    Udp,
    Udp6,
}

impl Protocol {
    pub(crate) const ALL: [Self; 4] = [Self::Tcp, Self::Tcp6, Self::Udp, Self::Udp6];

    /// Its name: that of its file below `/proc/net`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tcp6 => "tcp6",
            Self::Udp => "udp",
            Self::Udp6 => "udp6",
        }
    }

    const fn is_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::Tcp6)
    }

    /// The state of a socket that waits for whoever comes: `TCP_LISTEN`, or for UDP `TCP_CLOSE`,
    /// by which the kernel means unconnected.
    const fn wanted_state(self) -> u8 {
        if self.is_tcp() { 0x0a } else { 0x07 }
    }

    const fn family(self) -> AddressFamily {
        match self {
            Self::Tcp | Self::Udp => AddressFamily::INET,
            Self::Tcp6 | Self::Udp6 => AddressFamily::INET6,
        }
    }

    /// `IPPROTO_TCP` or `IPPROTO_UDP`.
    const fn number(self) -> u8 {
        if self.is_tcp() { 6 } else { 17 }
    }
}

/// One socket that listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Socket {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    /// Who made it.
    pub(crate) uid: u32,
}

/// Reads the listening sockets again and again.
#[derive(Debug, Default)]
pub(crate) struct ListeningSockets {
    /// Protocols for which the kernel refused the question: asking again would make it look for a
    /// module that it does not have each time.
    refused: [bool; 4],
}

impl ListeningSockets {
    /// Hands every listening socket of a protocol to `each`. `proc` is the host's `/proc`, `is_live`
    /// whether it is that of the running kernel.
    ///
    /// # Errors
    /// `NotFound` where that version of IP is switched off; anything else if the table cannot be
    /// read.
    pub(crate) fn read(
        &mut self,
        proc: &Path,
        is_live: bool,
        protocol: Protocol,
        each: &mut dyn FnMut(Socket),
    ) -> io::Result<()> {
        let mut refused = self.refused.iter_mut().zip(Protocol::ALL);
        let refused = refused.find_map(|(refused, of)| (of == protocol).then_some(refused));
        if let Some(refused) = refused.filter(|refused| is_live && !**refused) {
            match ask(protocol) {
                Ok(found) => {
                    found.into_iter().for_each(each);
                    return Ok(());
                }
                Err(error) => {
                    tracing::info!(
                        protocol = protocol.name(),
                        %error,
                        "the kernel does not answer sock_diag; reading /proc/net instead"
                    );
                    *refused = true;
                }
            }
        }
        let table = File::open(proc.join("net").join(protocol.name()))?;
        read_table(protocol, BufReader::with_capacity(4096, table), each)
    }
}

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST | NLM_F_DUMP`
const REQUEST_ALL: u16 = 0x301;
/// `struct nlmsghdr`: length, type, flags, number, port.
const HEADER_BYTES: usize = 16;
/// `struct inet_diag_req_v2` after its head of eight bytes is an address filter, which is not used.
const REQUEST_BYTES: usize = HEADER_BYTES + 56;
/// The kernel's parts are at most 8 KiB as long as nobody receives into more.
const PART_BYTES: usize = 16 << 10;

/// Asks the running kernel.
fn ask(protocol: Protocol) -> io::Result<Vec<Socket>> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    rustix::net::send(&socket, &request(protocol), SendFlags::empty())?;
    let mut found = Vec::new();
    let mut part = vec![0; PART_BYTES];
    loop {
        // An answer is made while it is sent for or received: there is never one to wait for.
        let (_, length) = rustix::net::recv(
            &socket,
            part.as_mut_slice(),
            RecvFlags::DONTWAIT | RecvFlags::TRUNC,
        )?;
        let messages = part.get(..length).filter(|part| !part.is_empty());
        let messages = messages.ok_or_else(|| malformed("longer than the kernel's parts are"))?;
        if take_part(protocol, messages, &mut found)? {
            return Ok(found);
        }
    }
}

fn request(protocol: Protocol) -> [u8; REQUEST_BYTES] {
    let mut bytes = [0; REQUEST_BYTES];
    let family = u8::try_from(protocol.family().as_raw()).unwrap_or_default();
    let states = 1u32 << protocol.wanted_state();
    let head = (REQUEST_BYTES as u32).to_ne_bytes().into_iter();
    let filled = head
        .chain(SOCK_DIAG_BY_FAMILY.to_ne_bytes())
        .chain(REQUEST_ALL.to_ne_bytes())
        // Number and port: one question per socket, so neither is needed.
        .chain([0; 8])
        .chain([family, protocol.number(), 0, 0])
        .chain(states.to_ne_bytes());
    bytes
        .iter_mut()
        .zip(filled)
        .for_each(|(to, from)| *to = from);
    bytes
}

/// Takes the messages of one part; `true` after the last one.
fn take_part(protocol: Protocol, mut rest: &[u8], found: &mut Vec<Socket>) -> io::Result<bool> {
    while !rest.is_empty() {
        let message = Message::first(rest).ok_or_else(|| malformed("a cut message"))?;
        match message.kind {
            NLMSG_DONE | NLMSG_ERROR => {
                // A negative error number; the end of a list carries zero or nothing.
                let code = message
                    .body
                    .first_chunk()
                    .map(|code| i32::from_ne_bytes(*code));
                return match code {
                    Some(code) if code < 0 => Err(io::Error::from_raw_os_error(-code)),
                    _ => Ok(true),
                };
            }
            SOCK_DIAG_BY_FAMILY => {
                let socket = parse_message(protocol, message.body);
                let socket = socket.ok_or_else(|| malformed("a short message"))?;
                if found.len() < MAX_SOCKETS {
                    found.push(socket);
                }
            }
            _ => {}
        }
        rest = rest.get(message.stride..).unwrap_or_default();
    }
    Ok(false)
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the answer of sock_diag is {what}"),
    )
}

/// One netlink message (netlink(7)).
struct Message<'a> {
    kind: u16,
    body: &'a [u8],
    /// Where the next one begins: messages are aligned to four bytes.
    stride: usize,
}

impl<'a> Message<'a> {
    fn first(bytes: &'a [u8]) -> Option<Self> {
        let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
        let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
        let body = bytes.get(HEADER_BYTES..length)?;
        let stride = length.next_multiple_of(4);
        Some(Self { kind, body, stride })
    }
}

/// `struct inet_diag_msg`: four bytes, ports and addresses in network order, and after them, among
/// numbers of the machine's order, the user.
fn parse_message(protocol: Protocol, body: &[u8]) -> Option<Socket> {
    let port = u16::from_be_bytes(*body.get(4..)?.first_chunk()?);
    let address = body.get(8..)?;
    let address: IpAddr = match protocol {
        Protocol::Tcp | Protocol::Udp => Ipv4Addr::from(*address.first_chunk::<4>()?).into(),
        Protocol::Tcp6 | Protocol::Udp6 => Ipv6Addr::from(*address.first_chunk::<16>()?).into(),
    };
    let uid = u32::from_ne_bytes(*body.get(64..)?.first_chunk()?);
    Some(Socket { address, port, uid })
}

/// Reads a file of `/proc/net`; lines that are none of its form are passed.
fn read_table(
    protocol: Protocol,
    table: impl BufRead,
    each: &mut dyn FnMut(Socket),
) -> io::Result<()> {
    let mut count = 0;
    for line in table.split(b'\n').skip(1) {
        let Some((state, socket)) = parse_line(&line?) else {
            continue;
        };
        if state == protocol.wanted_state() {
            if count >= MAX_SOCKETS {
                return Ok(());
            }
            count += 1;
            each(socket);
        } else if protocol.is_tcp() {
            return Ok(());
        }
    }
    Ok(())
}

/// `sl local:port remote:port state queues timer retransmits uid …`
fn parse_line(line: &[u8]) -> Option<(u8, Socket)> {
    let mut fields = words(line);
    let (address, port) = split_once(fields.nth(1)?, b':')?;
    let state = u8::try_from(hexadecimal(fields.nth(1)?)?).ok()?;
    let uid = u32::try_from(number(fields.nth(3)?)?).ok()?;
    let socket = Socket {
        address: parse_address(address)?,
        port: u16::try_from(hexadecimal(port)?).ok()?,
        uid,
    };
    Some((state, socket))
}

/// The kernel prints the address's words as numbers of the machine's byte order.
fn parse_address(digits: &[u8]) -> Option<IpAddr> {
    let word = |position: usize| -> Option<[u8; 4]> {
        let digits = digits.get(position * 8..position * 8 + 8)?;
        Some(u32::try_from(hexadecimal(digits)?).ok()?.to_ne_bytes())
    };
    match digits.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for (position, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(position)?);
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TABLE: &[u8] = b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 123
garbage
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 124
   2: 0100007F:1F90 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 125
   3: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 126
";

    fn lines(protocol: Protocol, table: &[u8]) -> Vec<(String, u16, u32)> {
        let mut found = Vec::new();
        read_table(protocol, table, &mut |socket| {
            found.push((socket.address.to_string(), socket.port, socket.uid));
        })
        .unwrap();
        found
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn a_table_is_read_up_to_the_first_connection() {
        let expected = [
            ("127.0.0.1".to_owned(), 8080, 1000),
            ("0.0.0.0".into(), 22, 0),
        ];
        assert_eq!(lines(Protocol::Tcp, TABLE), expected);
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn ipv6_addresses_are_four_words() {
        let address = parse_address(b"00000000000000000000000001000000").unwrap();
        assert_eq!(address.to_string(), "::1");
        assert_eq!(parse_address(b"0000"), None);
    }

    /// Our own socket is in what the kernel answers, with the address, port and user that it has.
    #[test]
    fn the_kernel_names_a_socket_that_was_just_opened() {
        let own = rustix::process::getuid().as_raw();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let cases = [
            (Protocol::Tcp, tcp.local_addr().unwrap()),
            (Protocol::Udp, udp.local_addr().unwrap()),
        ];
        for (protocol, expected) in cases {
            let expected = Socket {
                address: expected.ip(),
                port: expected.port(),
                uid: own,
            };
            for is_live in [true, false] {
                let mut found = Vec::new();
                let mut sockets = ListeningSockets::default();
                sockets
                    .read(Path::new("/proc"), is_live, protocol, &mut |socket| {
                        found.push(socket);
                    })
                    .unwrap();
                assert!(found.contains(&expected), "{protocol:?} {is_live}");
            }
        }
    }

    #[test]
    fn a_connection_is_not_a_listening_socket() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let port = client.local_addr().unwrap().port();
        let Ok(found) = ask(Protocol::Tcp) else {
            return; // A kernel without sock_diag.
        };
        assert!(found.iter().all(|socket| socket.port != port));
    }

    #[test]
    fn a_kernel_that_refused_is_not_asked_again() {
        // The tables of a recorded host: what is found can only come from them.
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("net")).unwrap();
        std::fs::write(folder.path().join("net/tcp"), TABLE).unwrap();
        let mut sockets = ListeningSockets { refused: [true; 4] };
        let mut found = Vec::new();
        sockets
            .read(folder.path(), true, Protocol::Tcp, &mut |socket| {
                found.push(socket.port);
            })
            .unwrap();
        assert_eq!(found, [8080, 22]);
    }

    #[test]
    fn a_refusal_is_an_error() {
        let mut part = 20u32.to_ne_bytes().to_vec();
        part.extend(NLMSG_ERROR.to_ne_bytes());
        part.extend([0; 10]);
        part.extend((-2i32).to_ne_bytes());
        let error = take_part(Protocol::Tcp, &part, &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    proptest! {
        #[test]
        fn arbitrary_parts_never_panic(part in prop::collection::vec(any::<u8>(), 0..300)) {
            drop(take_part(Protocol::Udp6, &part, &mut Vec::new()));
        }

        #[test]
        fn arbitrary_lines_never_panic(text in "(\\PC|\n){0,300}") {
            lines(Protocol::Udp, text.as_bytes());
        }
    }
}
