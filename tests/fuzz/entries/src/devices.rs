//! Readers of what people and devices say of devices: profiles and recorded walks.

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

pub(crate) fn walks() -> Vec<Vec<u8>> {
    vec![
        WALK.as_bytes().to_vec(),
        b"1.3.6|4x|00ff\n1.3.7|64|1.2.3.4\n1.3.8|68x|9f780442280000\n".to_vec(),
    ]
}
