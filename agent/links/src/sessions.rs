//! What a reflector remembers of those who measure against it: one count for each session, so that loss can
//! be told by its way, and each packet answered once.
//!
//! A session is known by who sends, from which port, with which identifier. Everything is bounded: who may
//! measure, how many sessions there are, how many packets a second one peer may have answered. An answer is
//! never longer than what asked for it, so nobody is made to flood a third party.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use crate::packet::{Echo, Key, Probe, Refusal};
use crate::stamp::{self, ErrorEstimate};

/// Most sessions at one time: all courts of a large province against its centre, four times.
pub const SESSIONS: usize = 1024;

/// After this long without a packet a session may make room for another, and is forgotten, nanoseconds.
const QUIET_NS: i64 = 60_000_000_000;
const FORGOTTEN_NS: i64 = 3_600_000_000_000;

/// Who may measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The addresses that it sends from: a network and the length of its prefix.
    pub network: (IpAddr, u8),
    /// The key that its packets are signed by; `None` takes plain ones.
    pub key: Option<Key>,
}

impl Peer {
    /// Whether it may send from there.
    #[must_use]
    pub fn includes(&self, address: IpAddr) -> bool {
        let same = |one: &[u8], other: &[u8], prefix: u8| {
            let bits = usize::from(prefix).min(one.len() * 8);
            let (whole, rest) = (bits / 8, bits % 8);
            let mask = u8::try_from(0xff00_u16 >> rest & 0xff).unwrap_or_default();
            one.iter().zip(other).enumerate().all(|(place, (a, b))| {
                let cared = match place.cmp(&whole) {
                    std::cmp::Ordering::Less => 0xff,
                    std::cmp::Ordering::Equal => mask,
                    std::cmp::Ordering::Greater => 0,
                };
                (a ^ b) & cared == 0
            })
        };
        match (self.network, address) {
            ((IpAddr::V4(one), prefix), IpAddr::V4(other)) => {
                same(&one.octets(), &other.octets(), prefix)
            }
            ((IpAddr::V6(one), prefix), IpAddr::V6(other)) => {
                same(&one.octets(), &other.octets(), prefix)
            }
            _ => false,
        }
    }
}

/// Who sends, and as which session.
type Name = (SocketAddr, u16);

#[derive(Debug)]
struct Session {
    /// The next number.
    next: u32,
    /// The highest number of the sender that came, and which of the 128 up to it did: bit 0 is itself.
    newest: u32,
    came: u128,
    /// The latest time that a packet of it was sent, as the sender says.
    newest_sent_ns: i64,
    seen_ns: i64,
}

/// Packets that one sender may still have answered.
#[derive(Debug)]
struct Allowance {
    left: f64,
    at_ns: i64,
}

/// What came in and what was answered, since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Packets that were answered.
    pub answered: u64,
    /// Packets that were refused, in the order of [`Refusal::ALL`].
    pub refused: [u64; Refusal::ALL.len()],
    /// Sessions that are open.
    pub sessions: usize,
}

/// All sessions of a reflector.
#[derive(Debug)]
pub struct Sessions {
    peers: Vec<Peer>,
    rate: f64,
    sessions: HashMap<Name, Session>,
    allowances: HashMap<IpAddr, Allowance>,
    tally: Tally,
}

/// A packet that may be answered.
#[derive(Debug)]
pub struct Answer<'a> {
    probe: Probe,
    number: u32,
    key: Option<&'a Key>,
}

impl Sessions {
    /// Nobody measures yet. `rate` is how many packets a second one address may have answered.
    #[must_use]
    pub fn new(peers: Vec<Peer>, rate: u32) -> Self {
        Self {
            peers,
            rate: f64::from(rate),
            sessions: HashMap::new(),
            allowances: HashMap::new(),
            tally: Tally::default(),
        }
    }

    /// What came in so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        Tally {
            sessions: self.sessions.len(),
            ..self.tally.clone()
        }
    }

    /// Takes a packet that came at `now_ns`, by the clock that nobody sets. What is refused is counted.
    ///
    /// # Errors
    /// Why it gets no answer.
    pub fn take(
        &mut self,
        packet: &[u8],
        from: SocketAddr,
        now_ns: i64,
    ) -> Result<Answer<'_>, Refusal> {
        match self.judge(packet, from, now_ns) {
            Ok((peer, probe, number)) => {
                self.tally.answered += 1;
                let key = self.peers.get(peer).and_then(|peer| peer.key.as_ref());
                Ok(Answer { probe, number, key })
            }
            Err(refusal) => {
                let counted = Refusal::ALL.iter().zip(&mut self.tally.refused);
                for (_, count) in counted.filter(|(word, _)| **word == refusal) {
                    *count += 1;
                }
                Err(refusal)
            }
        }
    }

    fn judge(
        &mut self,
        packet: &[u8],
        from: SocketAddr,
        now_ns: i64,
    ) -> Result<(usize, Probe, u32), Refusal> {
        let (place, probe) = self.read(packet, from.ip())?;
        self.spend(from.ip(), now_ns)?;
        let name = (from, probe.session);
        if !self.sessions.contains_key(&name) {
            self.make_room(now_ns)?;
        }
        let sent_ns = stamp::to_unix_ns(probe.sent, probe.error.is_ptp());
        let session = self.sessions.entry(name).or_insert(Session {
            next: 0,
            newest: probe.sequence,
            came: 0,
            newest_sent_ns: sent_ns,
            seen_ns: now_ns,
        });
        let number = session.take(probe.sequence, sent_ns, now_ns)?;
        Ok((place, probe, number))
    }

    /// The packet, read as the first peer has it whose address and key fit.
    fn read(&self, packet: &[u8], from: IpAddr) -> Result<(usize, Probe), Refusal> {
        let mut refusal = Refusal::Peer;
        let peers = self.peers.iter().enumerate();
        for (place, peer) in peers.filter(|(_, peer)| peer.includes(from)) {
            match Probe::decode(packet, peer.key.as_ref()) {
                Ok(probe) => return Ok((place, probe)),
                Err(why) => refusal = why,
            }
        }
        Err(refusal)
    }

    fn spend(&mut self, from: IpAddr, now_ns: i64) -> Result<(), Refusal> {
        if self.allowances.len() >= SESSIONS && !self.allowances.contains_key(&from) {
            // Whoever was quiet has a full allowance anyway.
            self.allowances
                .retain(|_, one| now_ns.saturating_sub(one.at_ns) < QUIET_NS);
            if self.allowances.len() >= SESSIONS {
                return Err(Refusal::Sessions);
            }
        }
        let allowance = self.allowances.entry(from).or_insert(Allowance {
            left: self.rate,
            at_ns: now_ns,
        });
        let passed_s = now_ns.saturating_sub(allowance.at_ns) as f64 / 1e9;
        allowance.left = (allowance.left + passed_s * self.rate).min(self.rate);
        allowance.at_ns = now_ns;
        if allowance.left < 1.0 {
            return Err(Refusal::Rate);
        }
        allowance.left -= 1.0;
        Ok(())
    }

    fn make_room(&mut self, now_ns: i64) -> Result<(), Refusal> {
        if self.sessions.len() < SESSIONS {
            return Ok(());
        }
        let quiet = |session: &Session| now_ns.saturating_sub(session.seen_ns);
        self.sessions
            .retain(|_, session| quiet(session) < FORGOTTEN_NS);
        if self.sessions.len() < SESSIONS {
            return Ok(());
        }
        let oldest = self
            .sessions
            .iter()
            .max_by_key(|(_, session)| quiet(session))
            .filter(|(_, session)| quiet(session) > QUIET_NS)
            .map(|(name, _)| *name);
        let oldest = oldest.ok_or(Refusal::Sessions)?;
        self.sessions.remove(&oldest);
        Ok(())
    }
}

impl Session {
    /// The number of the answer.
    fn take(&mut self, sequence: u32, sent_ns: i64, now_ns: i64) -> Result<u32, Refusal> {
        let ahead = sequence.wrapping_sub(self.newest);
        let behind = self.newest.wrapping_sub(sequence);
        if behind != 0 && ahead <= u32::MAX / 2 {
            self.came = self.came.checked_shl(ahead).unwrap_or_default() | 1;
            self.newest = sequence;
        } else {
            // What is too far back to be known is taken for one that came.
            let bit = 1_u128.checked_shl(behind).unwrap_or_default();
            if bit != 0 && self.came & bit == 0 {
                self.came |= bit;
            } else if sent_ns > self.newest_sent_ns {
                // Sent later than all others: its sender began again, from the same port. Copies never are.
                self.next = 0;
                self.newest = sequence;
                self.came = 1;
            } else {
                return Err(Refusal::Replayed);
            }
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.newest_sent_ns = self.newest_sent_ns.max(sent_ns);
        self.seen_ns = now_ns;
        Ok(number)
    }
}

impl Answer<'_> {
    /// The octets of the answer to `packet`, which came at `received` with this time to live and is answered
    /// now.
    #[must_use]
    pub fn encode(
        &self,
        packet: &[u8],
        received_ns: i64,
        ttl: u8,
        (sent_ns, error): (i64, ErrorEstimate),
    ) -> Vec<u8> {
        let echo = Echo {
            sequence: self.number,
            sent: stamp::to_ntp(sent_ns),
            error,
            session: self.probe.session,
            received: stamp::to_ntp(received_ns),
            probe: self.probe,
            ttl,
        };
        echo.encode(self.key, packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{PLAIN, SIGNED};

    const S: i64 = 1_000_000_000;

    fn peer(network: &str, prefix: u8, key: Option<&str>) -> Peer {
        Peer {
            network: (network.parse().unwrap(), prefix),
            key: key.map(|text| Key::new(text).unwrap()),
        }
    }

    fn packet(sequence: u32, sent_ns: i64, session: u16, key: Option<&Key>) -> Vec<u8> {
        let probe = Probe {
            sequence,
            sent: stamp::to_ntp(sent_ns),
            error: ErrorEstimate::of(None),
            session,
        };
        probe.encode(key, if key.is_some() { SIGNED } else { PLAIN })
    }

    fn from(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn number(
        sessions: &mut Sessions,
        packet: &[u8],
        who: &str,
        now_ns: i64,
    ) -> Result<u32, Refusal> {
        let taken = sessions.take(packet, from(who), now_ns);
        taken.map(|answer| answer.number)
    }

    #[test]
    fn networks_hold_their_addresses_and_no_others() {
        for (network, prefix, address, expected) in [
            ("10.8.0.0", 13, "10.15.255.255", true),
            ("10.8.0.0", 13, "10.16.0.0", false),
            ("10.8.0.7", 32, "10.8.0.7", true),
            ("10.8.0.7", 32, "10.8.0.6", false),
            ("0.0.0.0", 0, "192.0.2.1", true),
            ("0.0.0.0", 0, "::1", false),
            ("2001:db8::", 33, "2001:db8:7fff::1", true),
            ("2001:db8::", 33, "2001:db8:8000::1", false),
        ] {
            let peer = peer(network, prefix, None);
            assert_eq!(
                peer.includes(address.parse().unwrap()),
                expected,
                "{address} in {network}/{prefix}"
            );
        }
    }

    #[test]
    fn each_session_has_its_own_count_and_each_packet_one_answer() {
        let mut sessions = Sessions::new(vec![peer("10.0.0.0", 8, None)], 100);
        let one = "10.0.0.1:5000";
        for (sequence, expected) in [
            (0, Ok(0)),
            (1, Ok(1)),
            (3, Ok(2)),
            (2, Ok(3)),
            (3, Err(Refusal::Replayed)),
        ] {
            let packet = packet(sequence, S + i64::from(sequence), 7, None);
            assert_eq!(
                number(&mut sessions, &packet, one, 0),
                expected,
                "{sequence}"
            );
        }
        let packet = packet(0, S, 8, None);
        assert_eq!(number(&mut sessions, &packet, one, 0), Ok(0));
        assert_eq!(number(&mut sessions, &packet, "10.0.0.1:5001", 0), Ok(0));
        assert_eq!(
            number(&mut sessions, &packet, "11.0.0.1:5001", 0),
            Err(Refusal::Peer)
        );
        let tally = sessions.tally();
        assert_eq!((tally.answered, tally.sessions), (6, 3));
        assert_eq!(tally.refused.iter().sum::<u64>(), 2);
    }

    #[test]
    fn a_sender_that_begins_again_is_counted_anew_and_a_recording_is_not_answered() {
        for length in [40, 400] {
            let mut sessions = Sessions::new(vec![peer("10.0.0.0", 8, None)], 100_000);
            let who = "10.0.0.1:862";
            let first: Vec<_> = (0..length)
                .map(|n| packet(n, S + i64::from(n), 0, None))
                .collect();
            for packet in &first {
                number(&mut sessions, packet, who, 0).unwrap();
            }
            for packet in &first {
                assert_eq!(
                    number(&mut sessions, packet, who, 0),
                    Err(Refusal::Replayed)
                );
            }
            for sequence in 0..20 {
                let packet = packet(sequence, 9 * S + i64::from(sequence), 0, None);
                assert_eq!(number(&mut sessions, &packet, who, 0), Ok(sequence));
            }
        }
    }

    #[test]
    fn who_must_sign_signs() {
        let key = Key::new("a key of both ends").unwrap();
        let peers = vec![
            peer("10.0.0.1", 32, Some("a key of both ends")),
            peer("10.0.0.2", 32, None),
        ];
        let mut sessions = Sessions::new(peers, 100);
        let (signed, plain) = (packet(0, S, 1, Some(&key)), packet(0, S, 1, None));
        assert_eq!(number(&mut sessions, &signed, "10.0.0.1:1", 0), Ok(0));
        assert_eq!(
            number(&mut sessions, &plain, "10.0.0.1:1", 0),
            Err(Refusal::Short)
        );
        let mut forged = plain.clone();
        forged.resize(SIGNED, 0);
        assert_eq!(
            number(&mut sessions, &forged, "10.0.0.1:1", 0),
            Err(Refusal::Signature)
        );
        assert_eq!(number(&mut sessions, &plain, "10.0.0.2:1", 0), Ok(0));
        let answer = sessions
            .take(&packet(1, S, 1, Some(&key)), from("10.0.0.1:1"), 0)
            .unwrap();
        let back = answer.encode(&signed, S, 64, (S, ErrorEstimate::of(None)));
        assert!(Echo::decode(&back, Some(&key)).is_ok());
    }

    #[test]
    fn a_peer_that_sends_too_much_gets_what_it_may_and_disturbs_no_other() {
        let mut sessions = Sessions::new(vec![peer("10.0.0.0", 8, None)], 20);
        let mut answered = [0, 0];
        for step in 0..1000_u32 {
            // A thousand in two seconds.
            let now_ns = i64::from(step) * S / 500;
            let packet = packet(step, now_ns, 0, None);
            answered[0] += u32::from(number(&mut sessions, &packet, "10.0.0.1:1", now_ns).is_ok());
            if step % 50 == 0 {
                answered[1] +=
                    u32::from(number(&mut sessions, &packet, "10.0.0.2:1", now_ns).is_ok());
            }
        }
        assert!((58..=60).contains(&answered[0]), "{answered:?}");
        assert_eq!(answered[1], 20);
    }

    #[test]
    fn there_are_never_more_sessions_than_there_may_be() {
        let mut sessions = Sessions::new(vec![peer("10.0.0.0", 8, None)], 1_000_000);
        let packet = packet(0, S, 0, None);
        let mut open = |port: usize, now_ns: i64| {
            let who = format!("10.0.0.1:{}", 1000 + port);
            number(&mut sessions, &packet, &who, now_ns)
        };
        for port in 0..SESSIONS {
            assert_eq!(open(port, 0), Ok(0));
        }
        assert_eq!(open(SESSIONS, S), Err(Refusal::Sessions));
        // One that was quiet for a minute makes room.
        assert_eq!(open(SESSIONS, 61 * S), Ok(0));
        assert_eq!(sessions.tally().sessions, SESSIONS);
    }
}
