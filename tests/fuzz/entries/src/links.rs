//! Readers of what another end of a link sends, and of what people write about links.

use std::net::SocketAddr;

use xiezhi_document::Language;
use xiezhi_links::clock::Instant;
use xiezhi_links::config;
use xiezhi_links::ledger::Ledger;
use xiezhi_links::packet::{Echo, Key, PLAIN, Probe, SIGNED};
use xiezhi_links::sessions::{Peer, Sessions};
use xiezhi_links::stamp::ErrorEstimate;

fn key() -> Key {
    Key::new("a key of both ends").expect("long enough")
}

fn probe(sequence: u32) -> Probe {
    Probe {
        sequence,
        sent: 0xea00_0000_8000_0000,
        error: ErrorEstimate::of(Some(100)),
        session: 7,
    }
}

/// Test packets of both directions, plain and signed: an answer is as long as what asked for it and reads back,
/// and every packet that was sent is judged once, whatever comes.
pub fn stamp(bytes: &[u8]) {
    let key = key();
    let from = SocketAddr::from(([10, 0, 0, 1], 862));
    for key in [None, Some(&key)] {
        let peer = Peer {
            network: ([0, 0, 0, 0].into(), 0),
            key: key.cloned(),
        };
        let mut sessions = Sessions::new(vec![peer], 1000);
        if let Ok(answer) = sessions.take(bytes, from, 0) {
            let back = answer.encode(bytes, 5, 64, (6, ErrorEstimate::of(None)));
            assert_eq!(back.len(), bytes.len(), "no longer than what asked for it");
            let read = Echo::decode(&back, key).expect("what was written is read");
            assert_eq!(Probe::decode(bytes, key), Ok(read.probe));
            assert_eq!(sessions.tally().answered, 1);
        }
        let mut ledger = Ledger::new(7, 1000, true);
        for _ in 0..3 {
            ledger.send(Instant::default(), ErrorEstimate::of(None));
        }
        if let Ok(echo) = Echo::decode(bytes, key) {
            let again = (0..2).filter(|_| ledger.arrive(&echo, Instant::default()).is_ok());
            assert!(again.count() <= 1, "an answer counts once");
        }
        ledger.judge(Instant {
            wall_ns: 0,
            steady_ns: 1000,
        });
        let counts = ledger.counts();
        assert_eq!((counts.sent, counts.answered + counts.lost), (3, 3));
    }
}

/// A file of `links.d`: what is wrong is told, and what is right can be measured.
pub fn links_file(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let file = config::File {
        path: "fuzzed.yaml",
        text: &text,
    };
    let open = |sealed: &str| Err(format!("closed: {} bytes", sealed.len()).into());
    let folder = config::read(&[file], &open);
    for one in &folder.problems {
        assert!(
            !one.shown(Language::Chinese).is_empty(),
            "a problem is told"
        );
    }
    for (name, link) in &folder.links {
        assert!(xiezhi_protocol::poll::is_device_name(name), "{name}");
        assert!(link.rate > 0 && link.size >= PLAIN && link.peer.port() > 0);
    }
}

pub(crate) fn stamps() -> Vec<Vec<u8>> {
    let key = key();
    let mut seeds = Vec::new();
    for (key, length) in [
        (None, PLAIN),
        (None, 60),
        (Some(&key), SIGNED),
        (Some(&key), 200),
    ] {
        let packet = probe(1).encode(key, length);
        let echo = Echo {
            sequence: 1,
            sent: 0xea00_0000_8100_0000,
            error: ErrorEstimate::of(Some(100)),
            session: 7,
            received: 0xea00_0000_8080_0000,
            probe: probe(1),
            ttl: 61,
        };
        seeds.push(echo.encode(key, &packet));
        seeds.push(packet);
    }
    seeds.push(vec![0; 41]);
    seeds
}

pub(crate) fn links_files() -> Vec<Vec<u8>> {
    let texts = [
        "links:\n- {name: a, address: 10.0.0.1, key: a key of both ends, rate: 20, size: 200}\n",
        "reflector:\n  port: 862\n  listen: [10.0.0.1]\n  peers:\n  - {address: 10.0.0.0/8, key: 'sealed:x'}\n",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
