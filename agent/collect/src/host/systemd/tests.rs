//! Talks to a bus of a few lines over a real socket, and to a real dbus-daemon where there is one.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use xiezhi_protocol::report::Report;

use super::bus::Writer;
use super::*;
use crate::files::Files;

fn collect(host: &HostRoot) -> (Vec<(String, f64)>, Result<(), CollectError>) {
    let (mut files, mut report, mut name) = (Files::open(host), Report::new(), String::new());
    let outcome = {
        let mut readings = Readings::new(&mut files, &mut report, &mut name);
        Systemd.collect(host, &mut readings)
    };
    let samples = report
        .iter()
        .map(|(series, value)| (series.to_owned(), value))
        .collect();
    (samples, outcome)
}

/// Reads one call and yields its serial and member.
fn read_call(stream: &mut impl std::io::Read) -> Option<(u32, Vec<u8>)> {
    let mut head = [0; 16];
    stream.read_exact(&mut head).ok()?;
    let at = |position: usize| u32::from_le_bytes(head[position..position + 4].try_into().unwrap());
    let mut rest = vec![0; (at(12) as usize).next_multiple_of(8) + at(4) as usize];
    stream.read_exact(&mut rest).ok()?;
    Some((at(8), rest))
}

fn message(kind: u8, serial: u32, body: &[u8]) -> Vec<u8> {
    let mut message = Writer::default();
    message.bytes.extend([b'l', kind, 0, 1]);
    message.number(body.len());
    message.number(99);
    let mut fields = Writer::default();
    fields.bytes.push(5);
    fields.signature("u");
    fields.number(serial as usize);
    message.number(fields.bytes.len());
    message.bytes.extend(&fields.bytes);
    message.align(8);
    message.bytes.extend(body);
    message.bytes
}

fn unit_list(units: &[(&str, &str)]) -> Vec<u8> {
    let mut elements = Writer::default();
    for (name, state) in units {
        elements.align(8);
        for text in [name, "about", "loaded", state, "sub", "", "/unit"] {
            elements.string(text);
        }
        elements.number(0);
        elements.string("");
        elements.string("/");
    }
    let mut body = Writer::default();
    body.number(elements.bytes.len());
    body.align(8);
    body.bytes.extend(elements.bytes);
    body.bytes
}

fn text_variant(text: &str) -> Vec<u8> {
    let mut body = Writer::default();
    body.signature("s");
    body.string(text);
    body.bytes
}

/// Serves one connection; each reply is preceded by an unrelated message.
fn serve(listener: &UnixListener, units: &[u8]) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert!(line.starts_with("\0AUTH EXTERNAL "), "{line}");
    stream.write_all(b"OK 0123\r\n").unwrap();
    let mut begin = [0; 7];
    lines.read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"BEGIN\r\n");
    while let Some((serial, call)) = read_call(&mut lines) {
        let has = |text: &str| {
            call.windows(text.len())
                .any(|window| window == text.as_bytes())
        };
        let body = if has("ListUnits") {
            units.to_vec()
        } else if has("SystemState") {
            text_variant("degraded")
        } else if has("Type") {
            text_variant("oneshot")
        } else {
            unit_list(&[])
        };
        let unrelated = message(2, serial + 1000, b"");
        let reply = message(2, serial, &body);
        // The client may have left already after a reply that it could not read.
        if stream.write_all(&[unrelated, reply].concat()).is_err() {
            return;
        }
    }
}

fn host_with_bus(units: Vec<u8>) -> (tempfile::TempDir, HostRoot, std::thread::JoinHandle<()>) {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run/dbus");
    std::fs::create_dir_all(&run).unwrap();
    let listener = UnixListener::bind(run.join("system_bus_socket")).unwrap();
    let server = std::thread::spawn(move || serve(&listener, &units));
    let host = HostRoot::at(folder.path());
    (folder, host, server)
}

#[test]
fn units_are_counted_by_state_and_failed_ones_are_named() {
    let units = [
        ("a.service", "active"),
        ("b.service", "failed"),
        ("c.mount", "failed"),
        ("d.timer", "active"),
        ("e.socket", "inactive"),
    ];
    let (_folder, host, server) = host_with_bus(unit_list(&units));
    let (samples, outcome) = collect(&host);
    outcome.unwrap();
    server.join().unwrap();
    let expected = [
        ("node_systemd_units{state=\"active\"}", 2.0),
        ("node_systemd_units{state=\"activating\"}", 0.0),
        ("node_systemd_units{state=\"deactivating\"}", 0.0),
        ("node_systemd_units{state=\"failed\"}", 2.0),
        ("node_systemd_units{state=\"inactive\"}", 1.0),
        (
            "node_systemd_unit_state{name=\"b.service\",state=\"failed\",type=\"oneshot\"}",
            1.0,
        ),
        (
            "node_systemd_unit_state{name=\"c.mount\",state=\"failed\",type=\"\"}",
            1.0,
        ),
        ("node_systemd_system_running", 0.0),
    ];
    assert_eq!(
        samples,
        expected.map(|(series, value)| (series.to_owned(), value))
    );
}

#[test]
fn a_truncated_unit_list_is_an_error_and_not_a_panic() {
    let full = unit_list(&[("a.service", "active"), ("b.service", "failed")]);
    for end in (0..full.len()).step_by(7) {
        let (_folder, host, server) = host_with_bus(full[..end].to_vec());
        let (_, outcome) = collect(&host);
        let error = outcome.unwrap_err();
        assert!(
            matches!(error, CollectError::Malformed { .. }),
            "{end}: {}",
            error.chain()
        );
        server.join().unwrap();
    }
}

#[test]
fn without_a_bus_the_loss_is_stated() {
    let folder = tempfile::tempdir().unwrap();
    let (samples, outcome) = collect(&HostRoot::at(folder.path()));
    assert!(samples.is_empty());
    assert!(outcome.unwrap_err().is_no_data());
}

struct Stop(Child);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A real bus, without systemd on it, must let us in and say that nobody is there.
#[test]
fn a_real_bus_without_systemd_is_no_data() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run/dbus");
    std::fs::create_dir_all(&run).unwrap();
    let socket = run.join("system_bus_socket");
    let daemon = Command::new("dbus-daemon")
        .args(["--session", "--nofork", "--nopidfile", "--address"])
        .arg(format!("unix:path={}", socket.display()))
        .stderr(Stdio::null())
        .spawn();
    let Ok(daemon) = daemon else {
        xiezhi_test_skip::skip("dbus-daemon is not installed: apt-get install dbus-daemon");
        return;
    };
    let _stop = Stop(daemon);
    let deadline = Instant::now() + Duration::from_secs(20);
    while UnixStream::connect(&socket).is_err() {
        assert!(Instant::now() < deadline, "dbus-daemon does not listen");
        std::thread::yield_now();
    }
    let (_, outcome) = collect(&HostRoot::at(folder.path()));
    let error = outcome.unwrap_err();
    assert!(error.is_no_data(), "{}", error.chain());
}
