//! An agent that fits in a test: encoder, spool and uplink, wired as the real one is.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use xiezhi_protocol::batch::{Stream, encode_signed_events};
use xiezhi_protocol::codec::{Encoder, peek};
use xiezhi_protocol::event::{Event, Severity, kinds};
use xiezhi_protocol::message::{DirectiveMessage, Hello, Status};
use xiezhi_protocol::poll::encode_poll;
use xiezhi_protocol::report::Report;
use xiezhi_protocol::signature::BatchSignature;
use xiezhi_spool::{Limits, Spool};
use xiezhi_uplink::{Config, Connector, Target, Uplink};

use crate::controller::Controller;

pub struct Link {
    target: Target,
    pub refusals: Mutex<Vec<String>>,
}

impl Connector for Link {
    fn target(&self) -> Result<Target, String> {
        Ok(self.target.clone())
    }
    fn hello(&self) -> Hello {
        Hello {
            hostname: "test".to_owned(),
            ..Hello::default()
        }
    }
    fn status(&self) -> Status {
        Status::default()
    }
    fn now_ms(&self) -> i64 {
        1_700_000_000_000
    }
    fn welcomed(&self, _time_ms: i64) {}
    fn refused(&self, code: &str, _detail: &str) {
        self.refusals.lock().unwrap().push(code.to_owned());
    }
}

pub struct Agent {
    pub spool: Arc<Mutex<Spool>>,
    pub uplink: Uplink,
    pub directives: mpsc::Receiver<DirectiveMessage>,
    pub link: Arc<Link>,
    encoder: Encoder,
    chain: u64,
    reports: u64,
    _folder: Option<tempfile::TempDir>,
}

/// Short waits, so that a test with many sessions ends soon; nothing is judged by them.
pub fn quick() -> Config {
    Config {
        start_within: Duration::ZERO,
        retry_within: Duration::from_millis(5),
        retry_cap: Duration::from_millis(20),
        ..Config::default()
    }
}

impl Agent {
    pub fn start(controller: &Controller, config: Config) -> Self {
        Self::start_with(controller, config, |_| {})
    }

    /// `before` fills the spool before there is an uplink.
    pub fn start_with(
        controller: &Controller,
        config: Config,
        before: impl FnOnce(&mut Filler<'_>),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(folder.path(), Limits::default(), 0).unwrap();
        let mut encoder = Encoder::new(15_000);
        let mut reports = 0;
        before(&mut Filler {
            spool: &mut spool,
            encoder: &mut encoder,
            reports: &mut reports,
        });
        let spool = Arc::new(Mutex::new(spool));
        let target = Target {
            address: controller.address.to_string(),
            tls: Arc::clone(&controller.client),
        };
        let link = Arc::new(Link {
            target,
            refusals: Mutex::default(),
        });
        let (sender, directives) = mpsc::channel(4);
        let uplink = Uplink::spawn(
            config,
            Arc::clone(&spool),
            Arc::clone(&link) as Arc<_>,
            sender,
        );
        let chain = uplink.chain();
        let folder = Some(folder);
        Self {
            spool,
            uplink,
            directives,
            link,
            encoder,
            chain,
            reports,
            _folder: folder,
        }
    }

    /// One report, as agentd takes it.
    pub fn report(&mut self) -> u64 {
        if self.uplink.chain() != self.chain {
            self.chain = self.uplink.chain();
            self.encoder.restart();
        }
        let seq = {
            let mut spool = self.spool.lock().unwrap();
            let reports = &mut self.reports;
            Filler {
                spool: &mut spool,
                encoder: &mut self.encoder,
                reports,
            }
            .report()
        };
        self.uplink.notify_live();
        seq
    }

    pub fn event(&mut self, stream: Stream) -> u64 {
        let seq = {
            let mut spool = self.spool.lock().unwrap();
            let reports = &mut self.reports;
            Filler {
                spool: &mut spool,
                encoder: &mut self.encoder,
                reports,
            }
            .event(stream)
        };
        self.uplink.notify_live();
        seq
    }

    /// One poll of a device, as agentd takes it.
    pub fn poll(&mut self) -> u64 {
        let seq = {
            let mut spool = self.spool.lock().unwrap();
            let reports = &mut self.reports;
            Filler {
                spool: &mut spool,
                encoder: &mut self.encoder,
                reports,
            }
            .poll()
        };
        self.uplink.notify_live();
        seq
    }

    pub fn pending(&self) -> u64 {
        self.spool.lock().unwrap().status().pending
    }

    pub async fn connected(&self) {
        until("connected", || {
            self.uplink.state().connected_since_ms.is_some()
        })
        .await;
    }

    pub async fn delivered(&self) {
        until("everything is acknowledged", || self.pending() == 0).await;
    }
}

/// Fills a spool.
pub struct Filler<'a> {
    pub spool: &'a mut Spool,
    pub encoder: &'a mut Encoder,
    pub reports: &'a mut u64,
}

impl Filler<'_> {
    pub fn report(&mut self) -> u64 {
        *self.reports += 1;
        let mut report = Report::new();
        report.start(1_700_000_000_000 + *self.reports as i64 * 15_000);
        for index in 0..150u64 {
            let cpu = index.to_string();
            let value = if index % 2 == 0 {
                *self.reports * (index + 3)
            } else {
                index
            };
            report
                .push(
                    "node_cpu_seconds_total",
                    &[("cpu", &cpu)],
                    value as f64 / 100.0,
                )
                .unwrap();
        }
        if self.spool.needs_key() {
            self.encoder.restart();
        }
        let mut frame = Vec::new();
        let seq = self.spool.next_seq(Stream::Samples);
        let info = self.encoder.encode(seq, &report, &mut frame);
        let key = peek(&frame).unwrap().key;
        self.spool
            .append(Stream::Samples, info, key, &frame)
            .unwrap();
        seq
    }

    /// The content is not looked at on its way.
    pub fn poll(&mut self) -> u64 {
        let seq = self.spool.next_seq(Stream::Polls);
        let mut bytes = Vec::new();
        let info = encode_poll(seq, 1_700_000_000_000, &[seq as u8; 3000], &mut bytes).unwrap();
        self.spool
            .append(Stream::Polls, info, true, &bytes)
            .unwrap();
        seq
    }

    pub fn event(&mut self, stream: Stream) -> u64 {
        let seq = self.spool.next_seq(stream);
        let event = Event::new(
            seq as i64,
            kinds::LOGIN,
            Severity::Info,
            format!("event {seq}"),
        );
        let mut bytes = Vec::new();
        let sign = |_: &[u8]| {
            (stream == Stream::Security).then(|| BatchSignature {
                host: "1".to_owned(),
                epoch: 1,
                bytes: [1; 64],
            })
        };
        let info = encode_signed_events(seq, 5, &[event], &mut bytes, sign).unwrap();
        self.spool.append(stream, info, true, &bytes).unwrap();
        seq
    }
}

/// Waits for a condition, with a deadline that only a broken test meets.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
