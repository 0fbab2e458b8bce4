//! Traps and informs of net-snmp, as a device would send them: told once, in plain words, with a poll at
//! once; and everything that is forged, foreign or torn refused with its reason.

use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;
use xiezhi_protocol::event::{Event, Severity, kinds};
use xiezhi_protocol::poll::DeviceState;
use xiezhi_test_device::FakeDevice;
use xiezhi_test_skip::skip;

use crate::program::{COMMUNITY, Program, SWITCH, Switch, behaviour, folder, runtime};

const COLD_START: &str = ".1.3.6.1.6.3.1.1.5.1";
const LINK_DOWN: &str = ".1.3.6.1.6.3.1.1.5.3";
const PASSWORD: &str = "signing-password";
const CIPHER_PASSWORD: &str = "ciphering-password";

/// The program, listening at a port that was free a moment ago.
fn listening(folder: &Path) -> (Program, u16) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    drop(socket);
    let address = format!("127.0.0.1:{port}");
    let words = ["--traps", &address, "--report-every", "1"];
    // What an earlier one said says nothing of this one.
    std::fs::remove_file(folder.join("log")).ok();
    let program = Program::start_with(folder, &words);
    program.until_logged("devices read");
    (program, port)
}

/// Runs one of net-snmp's senders.
fn send(program: &str, words: &[&str], port: u16, what: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    Command::new(program)
        .args(["-m", "", "-r", "0", "-t", "20"])
        .args(words)
        .arg(format!("127.0.0.1:{port}"))
        .args(what)
        .env("SNMP_PERSISTENT_DIR", folder.path())
        .output()
        .unwrap()
}

fn sent(program: &str, words: &[&str], port: u16, what: &[&str]) {
    let output = send(program, words, port, what);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {words:?}: {said}");
}

/// Whether net-snmp's senders are here.
fn has_senders() -> bool {
    let are_here = ["snmptrap", "snmpinform"]
        .iter()
        .all(|name| Path::new("/usr/bin").join(name).exists());
    if !are_here {
        skip("no snmptrap here (Debian package snmp)");
    }
    are_here
}

/// A device that is asked once an hour.
fn lazy(name: &str, address: &str, credentials: &str) -> String {
    format!("- {{name: {name}, address: '{address}', every: 1h, credentials: {credentials}}}\n")
}

fn community() -> String {
    format!("{{version: 2c, community: {COMMUNITY}}}")
}

fn user(name: &str, digest: &str, cipher: &str) -> String {
    format!(
        "{{version: 3, user: {name}, auth: {{protocol: {digest}, password: {PASSWORD}}}, \
         privacy: {{protocol: {cipher}, password: {CIPHER_PASSWORD}}}}}"
    )
}

fn devices(entries: &[String]) -> TempDir {
    folder(&format!("devices:\n{}", entries.concat()))
}

fn refused(program: &mut Program, reason: &str) -> Event {
    let event = program.event(kinds::DEVICE_TRAPS_REFUSED);
    assert_eq!(event.fields["reason"], reason, "{event:?}");
    event
}

#[test]
fn a_trap_is_told_with_its_port_and_its_device_asked_long_before_its_turn() {
    if !has_senders() {
        return;
    }
    let runtime = runtime();
    let device = runtime
        .block_on(FakeDevice::start(SWITCH.walk(), behaviour(true)))
        .unwrap();
    let folder = devices(&[lazy("sw-1", &device.address().to_string(), &community())]);
    let (mut program, port) = listening(folder.path());
    let v2c = ["-v2c", "-c", COMMUNITY];

    sent("snmptrap", &v2c, port, &["", COLD_START]);
    let event = program.event(kinds::DEVICE_TRAP);
    assert_eq!(event.fields["name"], "coldStart");
    assert_eq!(event.fields["address"], device.address().to_string());
    // Its turn would come within the hour.
    let poll = program.poll("sw-1", |_| true);
    assert_eq!(poll.about.unwrap().state, DeviceState::Answered);

    // A port goes down; the poll that follows proves it.
    let switch = Switch {
        second_is_up: false,
        ..SWITCH
    };
    device.tell(switch.walk());
    let down = [LINK_DOWN, ".1.3.6.1.2.1.2.2.1.1.2", "i", "2"];
    for _ in 0..3 {
        sent("snmptrap", &v2c, port, &[&[""], &down[..]].concat());
    }
    let event = program.event(kinds::DEVICE_TRAP);
    assert_eq!(event.message, "device sw-1: link down GE0/0/2");
    assert_eq!(event.severity, Severity::Warning);
    let proved = program.event(kinds::DEVICE_PORT_DOWN);
    assert_eq!(proved.fields["port"], "GE0/0/2");

    // An inform of the same is acknowledged and not told again; an SNMPv1 trap is translated.
    sent("snmpinform", &v2c, port, &[&[""], &down[..]].concat());
    let v1 = ["-v1", "-c", COMMUNITY];
    let own = [".1.3.6.1.4.1.99999", "127.0.0.1", "6", "17", "55"];
    sent("snmptrap", &v1, port, &own);
    let event = program.event(kinds::DEVICE_TRAP);
    assert_eq!(event.fields["trap"], "1.3.6.1.4.1.99999.0.17");
    let report = program.report(|report| report["traps"]["taken"] == 6);
    assert_eq!(report["traps"]["repeated"], 3, "{report}");
    assert_eq!(report["traps"]["lost"]["kernel"], 0, "{report}");
    assert!(!program.log().contains(COMMUNITY));
}

#[test]
fn signed_traps_and_informs_are_taken_and_forged_ones_refused_with_their_reason() {
    if !has_senders() {
        return;
    }
    let folder = devices(&[
        lazy("sw-1", "127.0.0.1:1", &user("one", "sha1", "aes128")),
        lazy("sw-2", "127.0.0.1:2", &user("two", "sha256", "aes256")),
    ]);
    let (mut program, port) = listening(folder.path());
    let engine = ["-e", "0x80001f8804636f757274", "-Z", "5,1000"];
    let secrets = ["-A", PASSWORD, "-X", CIPHER_PASSWORD, "-l", "authPriv"];
    let one = [
        &["-v3", "-u", "one", "-a", "SHA", "-x", "AES"],
        &secrets[..],
    ]
    .concat();
    let two = [
        &["-v3", "-u", "two", "-a", "SHA-256", "-x", "AES-256"],
        &secrets[..],
    ]
    .concat();
    for (who, name) in [(&one, "sw-1"), (&two, "sw-2")] {
        sent(
            "snmptrap",
            &[&who[..], &engine].concat(),
            port,
            &["", COLD_START],
        );
        let event = program.event(kinds::DEVICE_TRAP);
        assert_eq!(event.fields["device"], name);
        // The sender discovers who this is, and its clock; the acknowledgement is signed and encrypted.
        let inform = ["", LINK_DOWN, ".1.3.6.1.2.1.31.1.1.1.1.7", "s", "Eth7"];
        sent("snmpinform", who, port, &inform);
        let event = program.event(kinds::DEVICE_TRAP);
        assert_eq!(event.fields["device"], name);
        assert_eq!(event.fields["port"], "Eth7");
    }

    // Signed only is enough, not signed is not.
    let signed = [
        "-v3",
        "-u",
        "two",
        "-a",
        "SHA-256",
        "-A",
        PASSWORD,
        "-l",
        "authNoPriv",
    ];
    let other = ["", ".1.3.6.1.6.3.1.1.5.5"];
    sent("snmptrap", &[&signed[..], &engine].concat(), port, &other);
    assert_eq!(
        program.event(kinds::DEVICE_TRAP).fields["name"],
        "authenticationFailure"
    );
    let open = ["-v3", "-u", "two", "-l", "noAuthNoPriv"];
    sent(
        "snmptrap",
        &[&open[..], &engine].concat(),
        port,
        &["", COLD_START],
    );
    refused(&mut program, "unsigned");

    // Another password, another cipher password, a user that nobody knows, an earlier start.
    let with = |word: &str, by: &str, at: [&str; 2]| -> Vec<String> {
        let words = two.iter().map(|own| if *own == word { by } else { own });
        let words = words.chain(["-e", at[0], "-Z", at[1]]);
        words.map(str::to_owned).collect()
    };
    let at = [engine[1], engine[3]];
    for (words, reason) in [
        (with(PASSWORD, "another-password", at), "wrong_signature"),
        (
            with(CIPHER_PASSWORD, "another-password", at),
            "wrong_cipher",
        ),
        (with("two", "three", at), "unknown_user"),
        (with("", "", [engine[1], "4,2000"]), "wrong_time"),
        // More than 150 seconds before what was told.
        (with("", "", [engine[1], "5,700"]), "wrong_time"),
    ] {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        sent("snmptrap", &words, port, &["", COLD_START]);
        if words.contains(&"5,700") {
            // Told within the hour, and counted.
            let report = program.report(|report| report["traps"]["refused"]["wrong_time"] == 2);
            assert_eq!(report["traps"]["taken"], 5, "{report}");
        } else {
            refused(&mut program, reason);
        }
    }
    // A forged inform is not acknowledged.
    let forged: Vec<&str> = one
        .iter()
        .map(|own| {
            if *own == PASSWORD {
                "another-password"
            } else {
                own
            }
        })
        .collect();
    let forged = [&["-t", "1"], &forged[..]].concat();
    assert!(
        !send("snmpinform", &forged, port, &["", COLD_START])
            .status
            .success()
    );

    // What was signed for an earlier start of this host is refused: its number of starts has grown.
    drop(program);
    let kept = std::fs::read_to_string(folder.path().join("state/engine")).unwrap();
    assert!(kept.ends_with(" 1\n"), "{kept}");
    let (mut program, port) = listening(folder.path());
    sent("snmpinform", &one, port, &["", COLD_START]);
    program.event(kinds::DEVICE_TRAP);
    let kept = std::fs::read_to_string(folder.path().join("state/engine")).unwrap();
    assert!(kept.ends_with(" 2\n"), "{kept}");
    for secret in [PASSWORD, CIPHER_PASSWORD] {
        assert!(!program.log().contains(secret));
    }
}

#[test]
fn foreign_and_torn_datagrams_are_counted_and_harm_nobody() {
    if !has_senders() {
        return;
    }
    let folder = devices(&[
        lazy("sw-1", "127.0.0.1:1", &community()),
        // Its traps have another community, and come from another address, too.
        "- {name: sw-2, address: '127.0.0.2:1', every: 1h, credentials: {version: 2c, community: other}, \
         traps: {credentials: {version: 2c, community: trap-word}, from: [127.0.0.1]}}\n"
            .to_owned(),
    ]);
    let (mut program, port) = listening(folder.path());
    sent(
        "snmptrap",
        &["-v2c", "-c", "wrong"],
        port,
        &["", COLD_START],
    );
    let event = refused(&mut program, "wrong_community");
    assert_eq!(event.fields["count"], "1");
    sent(
        "snmptrap",
        &["-v2c", "-c", "trap-word"],
        port,
        &["", COLD_START],
    );
    assert_eq!(program.event(kinds::DEVICE_TRAP).fields["device"], "sw-2");
    // Its other community is for asking only.
    sent(
        "snmptrap",
        &["-v2c", "-c", "other"],
        port,
        &["", COLD_START],
    );
    let noise = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = ("127.0.0.1", port);
    for datagram in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"",
        &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
    ] {
        noise.send_to(datagram, to).unwrap();
    }
    refused(&mut program, "malformed");
    let stranger = UdpSocket::bind("127.0.0.9:0").unwrap();
    for _ in 0..5 {
        stranger.send_to(b"anything", to).unwrap();
    }
    let report = program.report(|report| report["traps"]["refused"]["stranger"] == 5);
    assert_eq!(report["traps"]["refused"]["wrong_community"], 2, "{report}");
    assert_eq!(report["traps"]["refused"]["malformed"], 3, "{report}");
    let event = program.event(kinds::DEVICE_TRAPS_UNKNOWN);
    assert_eq!(event.fields["addresses"], "127.0.0.9");
    // Somebody who may trap goes on to be heard.
    sent(
        "snmpinform",
        &["-v2c", "-c", COMMUNITY],
        port,
        &["", COLD_START],
    );
    assert_eq!(program.event(kinds::DEVICE_TRAP).fields["device"], "sw-1");
}
