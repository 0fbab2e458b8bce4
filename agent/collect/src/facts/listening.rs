//! Ports that are listened on.

use xiezhi_protocol::facts::Listening;

use super::Looking;
use crate::sockets::{ListeningSockets, Protocol};

/// Most ports that are listed.
const MAX_PORTS: usize = 4096;

pub(super) fn listening(
    sockets: &mut ListeningSockets,
    looking: &mut Looking<'_>,
) -> Vec<Listening> {
    let mut found = Vec::new();
    for protocol in Protocol::ALL {
        let host = looking.host;
        let read = sockets.read(&host.proc, host.is_live(), protocol, &mut |socket| {
            found.push(Listening {
                protocol: protocol.name().to_owned(),
                address: socket.address.to_string(),
                port: socket.port,
                uid: socket.uid,
            });
        });
        match read {
            // Absent where that version of IP is switched off.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                looking.miss("listening ports", &format!("{}: {error}", protocol.name()));
            }
            Ok(()) => {}
        }
    }
    found.sort_unstable();
    found.dedup();
    found.truncate(MAX_PORTS);
    found
}
