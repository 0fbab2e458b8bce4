//! Ports that are listened on, from `/proc/net/{tcp,tcp6,udp,udp6}` (proc_pid_net(5)).
//!
//! The kernel prints listening TCP sockets before the others, so reading stops at the first that
//! does not listen: a host with many thousand connections costs no more than an idle one.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use xiezhi_protocol::facts::Listening;

use super::Looking;
use crate::bytes::{hexadecimal, number, split_once, words};

/// Most ports that are listed.
const MAX_PORTS: usize = 4096;

const TCP_LISTEN: u64 = 0x0a;
const UDP_UNCONNECTED: u64 = 0x07;

pub(super) fn listening(looking: &mut Looking<'_>) -> Vec<Listening> {
    let mut found = Vec::new();
    for protocol in ["tcp", "tcp6", "udp", "udp6"] {
        let path = looking.host.proc.join("net").join(protocol);
        match File::open(path) {
            // Absent where that version of IP is switched off.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => looking.miss("listening ports", &format!("{protocol}: {error}")),
            Ok(file) => read(protocol, BufReader::with_capacity(4096, file), &mut found),
        }
    }
    found.sort_unstable();
    found.dedup();
    found.truncate(MAX_PORTS);
    found
}

fn read(protocol: &str, table: impl BufRead, found: &mut Vec<Listening>) {
    let wanted = if protocol.starts_with("tcp") {
        TCP_LISTEN
    } else {
        UDP_UNCONNECTED
    };
    for line in table.split(b'\n').skip(1) {
        let Ok(line) = line else { return };
        let Some((state, entry)) = parse(protocol, &line) else {
            continue;
        };
        if state == wanted {
            if found.len() >= MAX_PORTS * 4 {
                return;
            }
            found.push(entry);
        } else if wanted == TCP_LISTEN {
            return;
        }
    }
}

/// `sl local:port remote:port state queues timer retransmits uid …`
fn parse(protocol: &str, line: &[u8]) -> Option<(u64, Listening)> {
    let mut fields = words(line);
    let (address, port) = split_once(fields.nth(1)?, b':')?;
    let state = hexadecimal(fields.nth(1)?)?;
    let uid = u32::try_from(number(fields.nth(3)?)?).ok()?;
    let entry = Listening {
        protocol: protocol.to_owned(),
        address: parse_address(address)?.to_string(),
        port: u16::try_from(hexadecimal(port)?).ok()?,
        uid,
    };
    Some((state, entry))
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

    const TABLE: &[u8] = b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 123
garbage
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 124
   2: 0100007F:1F90 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 125
   3: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 126
";

    #[cfg(target_endian = "little")]
    #[test]
    fn listening_ports_are_read_up_to_the_first_connection() {
        let mut found = Vec::new();
        read("tcp", TABLE, &mut found);
        let ports: Vec<_> = found
            .iter()
            .map(|entry| (entry.address.as_str(), entry.port, entry.uid))
            .collect();
        assert_eq!(ports, [("127.0.0.1", 8080, 1000), ("0.0.0.0", 22, 0)]);
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn ipv6_addresses_are_four_words() {
        let address = parse_address(b"00000000000000000000000001000000").unwrap();
        assert_eq!(address.to_string(), "::1");
        assert_eq!(parse_address(b"0000"), None);
    }
}
