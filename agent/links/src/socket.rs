//! A UDP socket whose packets carry the kernel's time of arrival.
//!
//! The time that a packet waits until somebody reads it is no delay of the line, so it is the kernel that says
//! when it came (`SO_TIMESTAMPNS`, socket(7)).

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
    sockopt,
};
use nix::sys::time::TimeSpec;

use crate::clock::{self, Instant};
use crate::packet::LONGEST;

/// A socket.
#[derive(Debug)]
pub struct Socket {
    socket: UdpSocket,
    control: Vec<u8>,
    octets: Vec<u8>,
}

/// A packet that came.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// Its octets; one more than the longest packet may have, of any that is longer.
    pub packet: &'a [u8],
    /// Who sent it.
    pub from: SocketAddr,
    /// When it came.
    pub at: Instant,
    /// Its time to live; 255 if nobody says.
    pub ttl: u8,
    to: Option<nix::libc::in_pktinfo>,
}

impl Socket {
    /// A socket at this address.
    ///
    /// # Errors
    /// The system refuses: the port is taken, or the address is not this host's.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        if address.is_ipv4() {
            setsockopt(&socket, sockopt::Ipv4RecvTtl, &true)?;
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        }
        // As RFC 8762 has it: the other end sees on how many hops it came.
        if address.is_ipv4() {
            setsockopt(&socket, sockopt::Ipv4Ttl, &255)?;
        } else {
            setsockopt(&socket, sockopt::Ipv6Ttl, &255)?;
        }
        Ok(Self {
            socket,
            control: nix::cmsg_space!(TimeSpec, i32, nix::libc::in_pktinfo),
            octets: vec![0; LONGEST + 1],
        })
    }

    /// A socket that exchanges packets with `peer` alone.
    ///
    /// # Errors
    /// As [`Socket::bind`], and if there is no way to the peer.
    pub fn connect(source: Option<IpAddr>, peer: SocketAddr) -> io::Result<Self> {
        let any: IpAddr = if peer.is_ipv4() {
            std::net::Ipv4Addr::UNSPECIFIED.into()
        } else {
            std::net::Ipv6Addr::UNSPECIFIED.into()
        };
        let socket = Self::bind(SocketAddr::new(source.unwrap_or(any), 0))?;
        socket.socket.connect(peer)?;
        Ok(socket)
    }

    /// Where it is bound.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Sends to the peer of [`Socket::connect`].
    ///
    /// # Errors
    /// It was not sent. [`io::ErrorKind::ConnectionRefused`] tells of a packet before this one.
    pub fn send(&self, packet: &[u8]) -> io::Result<()> {
        self.socket.send(packet).map(drop)
    }

    /// The next packet that came; `None` if none did.
    ///
    /// # Errors
    /// If the system says why there will be none: nobody listens at the peer's port, for instance.
    pub fn receive(&mut self) -> io::Result<Option<Arrival<'_>>> {
        let mut slices = [IoSliceMut::new(&mut self.octets)];
        let received = recvmsg::<SockaddrStorage>(
            self.socket.as_raw_fd(),
            &mut slices,
            Some(&mut self.control),
            MsgFlags::MSG_DONTWAIT,
        );
        let message = match received {
            Ok(message) => message,
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut at = clock::now();
        let (mut ttl, mut to) = (u8::MAX, None);
        for control in message.cmsgs()? {
            match control {
                ControlMessageOwned::ScmTimestampns(time) => {
                    let wall_ns = time.tv_sec().saturating_mul(1_000_000_000);
                    at = at.dated(wall_ns.saturating_add(time.tv_nsec()));
                }
                ControlMessageOwned::Ipv4Ttl(told) => ttl = u8::try_from(told).unwrap_or(u8::MAX),
                ControlMessageOwned::Ipv4PacketInfo(told) => to = Some(told),
                _ => {}
            }
        }
        let from = message.address.and_then(address_of);
        let length = message.bytes;
        // Sockets of IP always say who sent.
        let from = from.ok_or(io::ErrorKind::InvalidData)?;
        Ok(Some(Arrival {
            packet: self.octets.get(..length).unwrap_or_default(),
            from,
            at,
            ttl,
            to,
        }))
    }

    /// Sends `packet` back to where one came from, from the address that it was sent to.
    ///
    /// # Errors
    /// It was not sent.
    pub fn answer(&self, packet: &[u8], back: Back) -> io::Result<()> {
        let slices = [io::IoSlice::new(packet)];
        let to = back.to.map(|told| nix::libc::in_pktinfo {
            // Any interface that leads there, but this address.
            ipi_ifindex: 0,
            ipi_spec_dst: told.ipi_addr,
            ipi_addr: told.ipi_addr,
        });
        let control: Vec<_> = to.iter().map(ControlMessage::Ipv4PacketInfo).collect();
        let from = SockaddrStorage::from(back.from);
        let flags = MsgFlags::MSG_DONTWAIT;
        sendmsg(
            self.socket.as_raw_fd(),
            &slices,
            &control,
            flags,
            Some(&from),
        )?;
        Ok(())
    }
}

/// Where an answer goes.
#[derive(Debug, Clone, Copy)]
pub struct Back {
    from: SocketAddr,
    to: Option<nix::libc::in_pktinfo>,
}

impl Arrival<'_> {
    /// Where an answer to it goes.
    #[must_use]
    pub const fn back(&self) -> Back {
        Back {
            from: self.from,
            to: self.to,
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn address_of(address: SockaddrStorage) -> Option<SocketAddr> {
    let four = address
        .as_sockaddr_in()
        .map(|four| SocketAddr::V4((*four).into()));
    four.or_else(|| {
        address
            .as_sockaddr_in6()
            .map(|six| SocketAddr::V6((*six).into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_dated_when_it_came_and_not_when_it_is_read() {
        let mut listener = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let sender = Socket::connect(None, listener.address().unwrap()).unwrap();
        assert!(listener.receive().unwrap().is_none());
        let wait = std::time::Duration::from_millis(40);
        let mut back = None;
        // The kernel begins to date packets a moment after it was asked to.
        let dated = (0..50).any(|_| {
            let sent = clock::now();
            sender.send(b"one").unwrap();
            std::thread::sleep(wait);
            let read = clock::now();
            let arrival = listener.receive().unwrap().unwrap();
            assert_eq!((arrival.packet, arrival.ttl), (&b"one"[..], 255));
            assert!(arrival.at.steady_ns >= sent.steady_ns);
            back = Some(arrival.back());
            read.steady_ns - arrival.at.steady_ns > 30_000_000
        });
        assert!(dated, "packets are dated when they are read");
        listener.answer(b"two", back.unwrap()).unwrap();
        let mut sender = sender;
        loop {
            if let Some(arrival) = sender.receive().unwrap() {
                assert_eq!(arrival.packet, b"two");
                break;
            }
        }
    }
}
