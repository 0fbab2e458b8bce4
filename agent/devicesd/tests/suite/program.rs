//! The program itself, with the worker's end of its socket, and a switch for it to ask.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_timeout;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};
use tokio::runtime::Runtime;
use xiezhi_profiles::Walk;
use xiezhi_protocol::event::Event;
use xiezhi_protocol::poll::{Poll, encode_poll, read_poll};
use xiezhi_test_device::{Behaviour, FakeDevice};

/// How long anything may take that comes sooner or later.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const COMMUNITY: &str = "hidden-community";

/// What a switch of two ports tells.
#[derive(Clone)]
pub(crate) struct Switch {
    pub(crate) object_id: &'static str,
    pub(crate) uptime_s: u32,
    /// ifIndex of the first and of the second port.
    pub(crate) indexes: [u32; 2],
    pub(crate) octets: [u64; 2],
    pub(crate) second_is_up: bool,
}

pub(crate) const SWITCH: Switch = Switch {
    object_id: "1.3.6.1.4.1.99999.1",
    uptime_s: 1_000_000,
    indexes: [1, 2],
    octets: [5_000_000, 7_000_000],
    second_is_up: true,
};

impl Switch {
    pub(crate) fn walk(&self) -> Walk {
        let mut text = format!(
            "1.3.6.1.2.1.1.1.0|4|A switch\n1.3.6.1.2.1.1.2.0|6|{}\n1.3.6.1.2.1.1.3.0|67|{}\n\
             1.3.6.1.2.1.1.5.0|4|switch-3f\n",
            self.object_id,
            self.uptime_s * 100
        );
        for (place, index) in self.indexes.iter().enumerate() {
            let number = place + 1;
            let state = if place == 1 && !self.second_is_up {
                2
            } else {
                1
            };
            text.push_str(&format!(
                "1.3.6.1.2.1.2.2.1.2.{index}|4|GigabitEthernet0/0/{number}\n\
                 1.3.6.1.2.1.2.2.1.3.{index}|2|6\n1.3.6.1.2.1.2.2.1.7.{index}|2|1\n\
                 1.3.6.1.2.1.2.2.1.8.{index}|2|{state}\n1.3.6.1.2.1.31.1.1.1.1.{index}|4|GE0/0/{number}\n\
                 1.3.6.1.2.1.31.1.1.1.6.{index}|70|{}\n1.3.6.1.2.1.31.1.1.1.15.{index}|66|1000\n",
                self.octets[place]
            ));
        }
        let (walk, bad) = Walk::parse(&text);
        assert_eq!(bad, []);
        walk
    }
}

/// The program, and the worker's end of its socket.
pub(crate) struct Program {
    child: Child,
    socket: OwnedFd,
    log: PathBuf,
    pub(crate) events: Vec<Event>,
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub(crate) enum Told {
    Poll(Box<Poll>),
    Event(Event),
    Report(serde_json::Value),
}

impl Program {
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[])
    }

    /// One that is started with more words on its command line.
    pub(crate) fn start_with(folder: &Path, words: &[&str]) -> Self {
        let (socket, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Recv, Some(PATIENCE)).unwrap();
        let log = folder.join("log");
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_xiezhi-devices"))
            .args(["run", "--lang", "en", "--to-fd", "0", "--config-dir"])
            .arg(folder.join("devices.d"))
            .arg("--state")
            .arg(folder.join("state"))
            .args(words)
            .stdin(Stdio::from(theirs))
            .stderr(file)
            .spawn()
            .unwrap();
        Self {
            child,
            socket,
            log,
            events: Vec::new(),
        }
    }

    pub(crate) fn next(&mut self) -> Told {
        let mut buffer = vec![0; 1 << 20];
        let (length, _) = recv(&self.socket, buffer.as_mut_slice(), RecvFlags::empty())
            .unwrap_or_else(|error| panic!("nothing came: {error}\n{}", self.log()));
        let message = &buffer[..length];
        match message.first() {
            Some(1) => {
                let time_ms = i64::from_le_bytes(message[1..9].try_into().unwrap());
                let mut batch = Vec::new();
                encode_poll(1, time_ms, &message[9..], &mut batch).unwrap();
                Told::Poll(Box::new(read_poll(&batch).unwrap().1))
            }
            Some(2) => Told::Event(serde_json::from_slice(&message[1..]).unwrap()),
            Some(3) => {
                let report: serde_json::Value = serde_json::from_slice(&message[1..]).unwrap();
                assert!(report["devices"].is_u64(), "{report}");
                Told::Report(report)
            }
            other => panic!("{other:?}\n{}", self.log()),
        }
    }

    /// The first poll of `device` that is as wanted; events on the way are kept.
    pub(crate) fn poll(&mut self, device: &str, wanted: impl Fn(&Poll) -> bool) -> Poll {
        let until = Instant::now() + PATIENCE;
        let mut last = None;
        while Instant::now() < until {
            match self.next() {
                Told::Poll(poll) if poll.device == device && wanted(&poll) => return *poll,
                Told::Poll(poll) => last = Some(poll),
                Told::Event(event) => self.events.push(event),
                Told::Report(_) => {}
            }
        }
        panic!("no such poll; the last is {last:#?}\n{}", self.log());
    }

    /// The first event of this kind, which is taken out.
    pub(crate) fn event(&mut self, kind: &str) -> Event {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(at) = self.events.iter().position(|event| event.kind == kind) {
                return self.events.remove(at);
            }
            if let Told::Event(event) = self.next() {
                self.events.push(event);
            }
        }
        panic!("no {kind}; {:#?}", self.events);
    }

    /// Waits until the log has `text`.
    pub(crate) fn until_logged(&self, text: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            assert!(Instant::now() < until, "{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The first report that is as wanted; events on the way are kept.
    pub(crate) fn report(
        &mut self,
        wanted: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let until = Instant::now() + PATIENCE;
        let mut last = serde_json::Value::Null;
        while Instant::now() < until {
            match self.next() {
                Told::Report(report) if wanted(&report) => return report,
                Told::Report(report) => last = report,
                Told::Event(event) => self.events.push(event),
                Told::Poll(_) => {}
            }
        }
        panic!("no such report; the last is {last}\n{}", self.log());
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

pub(crate) fn behaviour(answers: bool) -> Behaviour {
    Behaviour {
        community: COMMUNITY.to_owned(),
        answers,
        ..Behaviour::default()
    }
}

/// A folder with one file of devices.
pub(crate) fn folder(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("devices.d")).unwrap();
    std::fs::write(folder.path().join("devices.d/a.yaml"), text).unwrap();
    folder
}

pub(crate) fn entry(name: &str, device: &FakeDevice) -> String {
    format!(
        "- {{name: {name}, address: '{}', every: 1s, credentials: {{version: 2c, community: {COMMUNITY}}}}}\n",
        device.address()
    )
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}
