//! How many datagrams the kernel dropped because a socket was full.

use std::os::fd::AsFd;

/// Dropped since the socket was opened. Source: the last column of `/proc/net/udp` and `udp6`, by inode.
pub(super) fn of(socket: impl AsFd) -> u64 {
    let Ok(found) = rustix::fs::fstat(socket) else {
        return 0;
    };
    let tables = ["/proc/self/net/udp", "/proc/self/net/udp6"];
    let texts = tables.map(|path| std::fs::read_to_string(path).unwrap_or_default());
    texts
        .iter()
        .find_map(|text| in_table(text, found.st_ino))
        .unwrap_or_default()
}

fn in_table(text: &str, inode: u64) -> Option<u64> {
    let inode = inode.to_string();
    text.lines().skip(1).find_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let is_it = words.get(9).is_some_and(|word| *word == inode);
        is_it.then(|| words.last()?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn what_a_full_socket_drops_is_counted() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(of(&socket), 0);
        rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 4096).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..200 {
            sender
                .send_to(&[0; 512], socket.local_addr().unwrap())
                .unwrap();
        }
        socket.set_nonblocking(true).unwrap();
        let mut kept = 0;
        while socket.recv(&mut [0; 512]).is_ok() {
            kept += 1;
        }
        assert!(
            kept > 0 && of(&socket) == 200 - kept,
            "{kept} {}",
            of(&socket)
        );
    }
}
