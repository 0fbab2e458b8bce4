//! Readers of what people and devices say of devices: profiles, recorded walks, folders of devices, what
//! is remembered of a device, its answers and its traps.

use xiezhi_devices::answer;
use xiezhi_devices::config;
use xiezhi_devices::counters::Told;
use xiezhi_devices::memory::{Memory, Row};
use xiezhi_devices::moment::{Clocks, Moment};
use xiezhi_devices::traps::{Ear, Engine};
use xiezhi_devices::{Cipher, Credentials, Digest, Login, Secret, Security, User};
use xiezhi_document::Language;
use xiezhi_profiles::{File, Library, Walk, learn, replay};

/// A profile beside the shipped ones: it is told or used, and reads any recording.
pub fn profile(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let file = File {
        path: "fuzzed.yaml",
        name: "fuzzed",
        text: &text,
    };
    let (library, problems) = Library::with(&[file]);
    for one in problems {
        assert!(
            !one.shown(Language::Chinese).is_empty(),
            "a problem is told"
        );
    }
    if let Some(profile) = library.get("fuzzed") {
        let walk = Walk::parse(WALK).0;
        drop(replay::read(profile, &walk));
    }
}

/// A recording: what is accepted is written and read back the same, every shipped profile reads it, and
/// the draft that is made of it has no problems.
pub fn walk(bytes: &[u8]) {
    let (walk, _) = Walk::parse(&String::from_utf8_lossy(bytes));
    let (back, bad) = Walk::parse(&walk.text());
    assert_eq!((&back, bad.len()), (&walk, 0), "read back as it was");
    let library = Library::shipped();
    let probe = replay::probe(&library, &walk);
    if let Some(profile) = library.recognise(&probe) {
        drop(replay::read(profile, &walk));
    }
    let anonymous = learn::anonymised(&walk);
    let draft = learn::draft(&library, "fuzzed", &anonymous);
    // Without a sysObjectID there is nothing to recognise the device by, which the draft's reader is told.
    if !probe.sys_object_id.is_empty() {
        let file = File {
            path: "fuzzed.yaml",
            name: "fuzzed",
            text: &draft,
        };
        let (_, problems) = Library::with(&[file]);
        let ours = problems
            .iter()
            .find(|one| one.to_string().starts_with("fuzzed"));
        // Who learns a device that a shipped profile knows exactly is told so.
        let told = ours.map(ToString::to_string).unwrap_or_default();
        assert!(
            told.is_empty() || told.contains("matches exactly"),
            "{told}\n{draft}"
        );
    }
}

/// A file of `devices.d`: what is wrong is told, and what is right has a name, an address and a login.
pub fn devices_file(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let file = config::File {
        path: "fuzzed.yaml",
        text: &text,
    };
    let open = |sealed: &str| Err(format!("closed: {} bytes", sealed.len()).into());
    let folder = config::read(&[file], &open, &|profile| profile == "generic");
    for one in &folder.problems {
        assert!(
            !one.shown(Language::Chinese).is_empty(),
            "a problem is told"
        );
    }
    for (name, device) in &folder.devices {
        assert_eq!(name, &device.name);
        assert!(xiezhi_protocol::poll::is_device_name(name), "{name}");
    }
}

/// A device's memory, its checksum made right, because no fuzzer finds one: what is accepted is written
/// and read back the same, and the next poll goes on from it.
pub fn memory(bytes: &[u8]) {
    drop(Memory::decode(bytes));
    let end = bytes.len().saturating_sub(4);
    let mut whole = bytes.get(..end).unwrap_or_default().to_vec();
    whole.extend_from_slice(&crc32fast::hash(&whole).to_le_bytes());
    let Ok(memory) = Memory::decode(&whole) else {
        return;
    };
    let back = Memory::decode(&memory.encode()).expect("what was written is read");
    assert_eq!(back, memory);
    let mut next = memory;
    let clocks = Clocks {
        uptime_ticks: Some(100),
        ..Clocks::default()
    };
    let now = Moment {
        unix_ms: 1_700_000_000_000,
        boot_ms: 1,
        boot: 1,
    };
    let since = next.advance(now, clocks);
    let told = Told {
        raw: 7,
        narrow: true,
        limit: None,
        elapsed: since.elapsed,
        now_ms: 0,
        restarted: false,
        discontinued: false,
        forgotten: false,
    };
    next.count(Row(1), "ifInOctets", told).ok();
    next.tidy();
    drop(next.encode());
}

/// An answer of SNMPv1 or v2c: what is read has as many values as were told, each with a name.
pub fn answer(bytes: &[u8]) {
    let Some(read) = answer::read(bytes) else {
        return;
    };
    assert!(read.community.len() < bytes.len(), "a part of it");
    read.response
        .for_each(|name, _| assert!(name.len() > 1, "a name has two arcs"));
}

/// A datagram at the port for traps, of a device with a community and of one with a user: what is taken
/// is of one of them, and nobody who proves nothing gets more back than he sent.
pub fn traps(bytes: &[u8]) {
    thread_local! {
        static LOGINS: [Login; 2] = logins();
    }
    LOGINS.with(|logins| {
        let engine = Engine::new(b"\x80\0\0\0\x05fuzzed".to_vec(), 1).expect("an identity");
        let mut ear = Ear::new(engine);
        let source = std::net::Ipv4Addr::LOCALHOST.into();
        let logins: Vec<&Login> = logins.iter().collect();
        let heard = ear.take(bytes, source, &logins, 100);
        match heard.what {
            Ok((place, notice)) => {
                assert!(place < 2, "one of them");
                assert_eq!(heard.reply.is_some(), notice.is_inform);
            }
            Err(why) => assert!(!why.word().is_empty()),
        }
    });
}

fn logins() -> [Login; 2] {
    let secret = |text: &str| Secret::new(text.to_owned());
    let user = Credentials::V3(User {
        name: "reader".to_owned(),
        context: String::new(),
        security: Security::Private {
            digest: Digest::Sha1,
            password: secret("long-enough"),
            cipher: Cipher::Aes128,
            cipher_password: secret("long-enough"),
        },
    });
    let community = Credentials::V2c {
        community: secret("public"),
    };
    [community, user].map(|one| Login::new(&one).expect("a login"))
}

const WALK: &str = "1.3.6.1.2.1.1.1.0|4|a device\n1.3.6.1.2.1.1.2.0|6|1.3.6.1.4.1.318.1.3.27\n\
    1.3.6.1.2.1.2.2.1.2.1|4|eth0\n1.3.6.1.2.1.2.2.1.8.1|2|1\n1.3.6.1.2.1.31.1.1.1.6.1|70|5\n\
    1.3.6.1.4.1.318.1.1.1.2.3.1.0|66|1000\n1.3.6.1.2.1.33.1.4.4.1.5.1|2|12\n";

pub(crate) fn profiles() -> Vec<Vec<u8>> {
    let own = "profile: fuzzed\nkind: ups\nsource: X\nextends: [generic-ups]\nwithout: [outputs]\n\
        match:\n  - {sys_object_id: [1.3.6.1.4.1.318], has: [1.3.6.1.2.1.33], priority: 2}\n\
        snmp: {max_oids: 4, quirks: [unordered]}\n\
        identity: {model: {oid: 1.3.6.1.2.1.1.1.0, regex: '(?<v>\\w+)'}}\n\
        enums: {e: {1: ok, 2: {state: critical, zh: 坏}}}\n\
        metrics:\n  - {id: battery_state, name: b, oid: 1.3.6.1.4.1.318.1.0, type: state, enum: e}\n\
        tables:\n  - id: t\n    rows: [{oid: 1.3.1, is: [3]}]\n    labels: [{name: l, oid: 1.3.2, arcs: [0, 1]}]\n\
        \x20   columns: [{id: power, name: p, oid: 1.3.3, scale_by: {oid: 1.3.4, values: {1: 10}}, decimals: 1.3.5}]\n\
        advice: {battery_state: 换电池}\n";
    vec![own.as_bytes().to_vec()]
}

pub(crate) fn devices_files() -> Vec<Vec<u8>> {
    let own = "credentials:\n  campus: {version: 2c, community: 'sealed:AAAA'}\n\
        \x20 plain: {version: 3, user: u, auth: {protocol: sha256, password: long-enough}, privacy: {protocol: aes128, password: long-enough}}\n\
        devices:\n- {name: sw-1, address: 10.0.0.1, credentials: plain, every: 30s, note: 三楼}\n\
        - {name: ups-1, address: '[::1]:1161', profile: generic, credentials: {version: 1, community: c}}\n";
    vec![own.as_bytes().to_vec()]
}

pub(crate) fn memories() -> Vec<Vec<u8>> {
    let mut memory = Memory::default();
    let moment = Moment {
        unix_ms: 1_690_000_000_000,
        boot_ms: 5,
        boot: 1,
    };
    memory.advance(moment, Clocks::default());
    let told = Told {
        raw: 5_000_000_000,
        narrow: false,
        limit: None,
        elapsed: std::time::Duration::ZERO,
        now_ms: 0,
        restarted: false,
        discontinued: false,
        forgotten: true,
    };
    memory.count(Row(1), "ifHCInOctets", told).ok();
    memory.object_id = "1.3.6.1.4.1.2011.2".to_owned();
    vec![Memory::default().encode(), memory.encode()]
}

pub(crate) fn walks() -> Vec<Vec<u8>> {
    vec![
        WALK.as_bytes().to_vec(),
        b"1.3.6|4x|00ff\n1.3.7|64|1.2.3.4\n1.3.8|68x|9f780442280000\n".to_vec(),
    ]
}

/// `30 len 02 01 01 04 06 public`, and a PDU.
fn community_message(pdu: u8, bindings: &[u8]) -> Vec<u8> {
    let element = |tag: u8, content: &[u8]| {
        let length = u8::try_from(content.len()).expect("short");
        [&[tag, length], content].concat()
    };
    let head = [&[2, 1, 5, 2, 1, 0, 2, 1, 0][..], &element(0x30, bindings)].concat();
    let message = [&[2, 1, 1, 4, 6][..], b"public", &element(pdu, &head)].concat();
    element(0x30, &message)
}

pub(crate) fn answers() -> Vec<Vec<u8>> {
    let bindings = [
        &b"\x30\x0e\x06\x08\x2b\x06\x01\x02\x01\x01\x01\x00\x04\x02ab"[..],
        b"\x30\x0c\x06\x07\x2b\x06\x01\x02\x01\x01\x03\x43\x01\x07",
        b"\x30\x0b\x06\x07\x2b\x06\x01\x02\x01\x8f\x7f\x82\x00",
    ];
    vec![community_message(0xa2, &bindings.concat())]
}

pub(crate) fn trap_datagrams() -> Vec<Vec<u8>> {
    let bindings = [
        &b"\x30\x0d\x06\x08\x2b\x06\x01\x02\x01\x01\x03\x00\x43\x01\x07"[..],
        b"\x30\x17\x06\x0a\x2b\x06\x01\x06\x03\x01\x01\x04\x01\x00\x06\x09\x2b\x06\x01\x06\x03\x01\x01\x05\x03",
    ];
    let bindings = bindings.concat();
    // A sender of informs that asks who this is.
    let discovery =
        b"\x30\x38\x02\x01\x03\x30\x0e\x02\x01\x07\x02\x03\x00\xff\xe3\x04\x01\x04\x02\x01\x03\
        \x04\x10\x30\x0e\x04\x00\x02\x01\x00\x02\x01\x00\x04\x00\x04\x00\x04\x00\
        \x30\x11\x04\x00\x04\x00\xa0\x0b\x02\x01\x07\x02\x01\x00\x02\x01\x00\x30\x00";
    vec![
        community_message(0xa7, &bindings),
        community_message(0xa6, &bindings),
        discovery.to_vec(),
    ]
}
