//! A controller that fits in a test: real TLS, real HTTP/2, a map instead of stores, and faults on
//! request.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use h2::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use xiezhi_protocol::batch::{Stream, peek_events};
use xiezhi_protocol::codec::{Decoder, peek};
use xiezhi_protocol::message::{
    Ack, Bandwidth, DirectiveOutcome, Goodbye, Hello, Refused, Status, Welcome,
};
use xiezhi_protocol::poll::peek_poll;
use xiezhi_protocol::range_set::RangeSet;
use xiezhi_protocol::record::{self, Kind};
use xiezhi_protocol::{
    ALPN, CONTROLLER_NAME, DIRECTIVES_PATH, POLLS_PROTOCOL, PROTOCOL_VERSION, UPLINK_PATH,
};

/// What the controller does wrong, or says of its own accord.
#[derive(Default)]
pub struct Faults {
    /// The connection dies after so many more records.
    pub dies_after: Option<usize>,
    /// Batches are stored but not acknowledged.
    pub silent: bool,
    /// Answer sessions with this status and Retry-After.
    pub status: Option<(u16, Option<u32>)>,
    /// Refuse these batches, and whether to want them again; each is refused as often as listed.
    pub refuse: HashMap<(Stream, u64), Vec<bool>>,
    /// Sent down raw after the welcome.
    pub nonsense: Vec<u8>,
    pub bandwidth: Option<Bandwidth>,
    /// Sent once, about the whole session, with the next acknowledgement: before or after it.
    pub notice: Option<(String, bool)>,
    /// What the clock reads at each welcome, if another than the agents', Unix milliseconds.
    pub time_ms: Option<i64>,
    /// Epoch of acknowledgements, if another than the session's.
    pub epoch: u64,
    /// Speak this protocol instead of the newest.
    pub protocol: Option<u32>,
    /// Forget the decoder's state once at this live frame.
    pub forgets: Option<u64>,
}

/// What arrived.
#[derive(Default)]
pub struct Seen {
    /// Stored batches with their checksums: exactly once by construction, checked for equality.
    pub stored: BTreeMap<(Stream, u64), u32>,
    /// Every batch record in order of arrival.
    pub order: Vec<(Kind, u64)>,
    pub hellos: Vec<Hello>,
    pub goodbyes: Vec<Goodbye>,
    pub statuses: Vec<Status>,
    pub outcomes: Vec<DirectiveOutcome>,
    pub flushes: usize,
    pub keys: HashSet<u64>,
    /// Version bytes of event batches, in order of arrival.
    pub versions: Vec<u8>,
    pub sessions: u64,
}

#[derive(Clone)]
pub struct Controller {
    pub address: SocketAddr,
    pub client: Arc<rustls::ClientConfig>,
    pub seen: Arc<Mutex<Seen>>,
    pub faults: Arc<Mutex<Faults>>,
    pub received: Arc<AtomicUsize>,
    directives: Arc<Mutex<Option<mpsc::UnboundedSender<Vec<u8>>>>>,
}

impl Controller {
    pub async fn start() -> Self {
        let (server, client) = tls();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let controller = Self {
            address: listener.local_addr().unwrap(),
            client: Arc::new(client),
            seen: Arc::default(),
            faults: Arc::default(),
            received: Arc::default(),
            directives: Arc::default(),
        };
        let this = controller.clone();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let counted = Counted {
                    stream,
                    received: Arc::clone(&this.received),
                };
                let (this, acceptor) = (this.clone(), acceptor.clone());
                tokio::spawn(async move {
                    if let Ok(tls) = acceptor.accept(counted).await {
                        this.serve(tls).await;
                    }
                });
            }
        });
        controller
    }

    /// Sends a directive's JSON down.
    pub fn direct(&self, json: &str) {
        let mut bytes = Vec::new();
        record::write(&mut bytes, Kind::Directive, json.as_bytes());
        self.directives
            .lock()
            .unwrap()
            .as_ref()
            .unwrap()
            .send(bytes)
            .unwrap();
    }

    pub fn has_directive_stream(&self) -> bool {
        self.directives
            .lock()
            .unwrap()
            .as_ref()
            .is_some_and(|sender| !sender.is_closed())
    }

    async fn serve(&self, tls: tokio_rustls::server::TlsStream<Counted>) {
        let Ok(mut http) = h2::server::handshake(tls).await else {
            return;
        };
        let (dead, mut died) = mpsc::unbounded_channel::<()>();
        loop {
            let accepted = tokio::select! {
                accepted = http.accept() => accepted,
                _ = died.recv() => return,
            };
            let Some(Ok((request, mut respond))) = accepted else {
                return;
            };
            let (head, body) = request.into_parts();
            let refusal = self.faults.lock().unwrap().status;
            if let Some((status, retry_after)) = refusal {
                let mut response = http::Response::builder().status(status);
                if let Some(seconds) = retry_after {
                    response = response.header("retry-after", seconds);
                }
                let mut stream = respond
                    .send_response(response.body(()).unwrap(), false)
                    .unwrap();
                let body = r#"{"code":"busy","detail":"come back later"}"#;
                stream
                    .send_data(Bytes::from_static(body.as_bytes()), true)
                    .unwrap();
                continue;
            }
            let down = respond
                .send_response(http::Response::new(()), false)
                .unwrap();
            match head.uri.path() {
                UPLINK_PATH => {
                    let session = Session::new(self.clone(), down);
                    let dead = dead.clone();
                    tokio::spawn(async move {
                        session.run(body).await;
                        // The connection may have ended by itself.
                        let _ = dead.send(());
                    });
                }
                DIRECTIVES_PATH => self.attach(body, down),
                other => panic!("unknown path {other}"),
            }
        }
    }

    fn attach(&self, mut body: RecvStream, mut down: SendStream<Bytes>) {
        let (sender, mut receiver) = mpsc::unbounded_channel::<Vec<u8>>();
        *self.directives.lock().unwrap() = Some(sender);
        let seen = Arc::clone(&self.seen);
        tokio::spawn(async move {
            let mut inbox = BytesMut::new();
            loop {
                tokio::select! {
                    Some(bytes) = receiver.recv() => {
                        let _ = down.send_data(bytes.into(), false);
                    }
                    data = body.data() => {
                        let Some(Ok(data)) = data else { return };
                        inbox.extend_from_slice(&data);
                        let _ = body.flow_control().release_capacity(data.len());
                        while let Some((kind, payload, used)) = record::read(&inbox).unwrap() {
                            assert_eq!(kind, Kind::Outcome as u8);
                            let outcome = serde_json::from_slice(payload).unwrap();
                            seen.lock().unwrap().outcomes.push(outcome);
                            let _ = inbox.split_to(used);
                        }
                    }
                }
            }
        });
    }
}

struct Session {
    controller: Controller,
    down: SendStream<Bytes>,
    live: Decoder,
    backlog: Decoder,
    unacked: BTreeMap<Stream, RangeSet>,
    epoch: u64,
}

impl Session {
    fn new(controller: Controller, down: SendStream<Bytes>) -> Self {
        Self {
            controller,
            down,
            live: Decoder::new(),
            backlog: Decoder::new(),
            unacked: BTreeMap::new(),
            epoch: 1,
        }
    }

    async fn run(mut self, mut body: RecvStream) {
        let mut inbox = BytesMut::new();
        while let Some(Ok(data)) = body.data().await {
            inbox.extend_from_slice(&data);
            let _ = body.flow_control().release_capacity(data.len());
            while let Some((kind, payload, used)) = record::read(&inbox).unwrap() {
                let (kind, payload) = (Kind::from_number(kind).unwrap(), payload.to_vec());
                let _ = inbox.split_to(used);
                let mut faults = self.controller.faults.lock().unwrap();
                if let Some(left) = &mut faults.dies_after {
                    if *left == 0 {
                        faults.dies_after = None;
                        return;
                    }
                    *left -= 1;
                }
                drop(faults);
                self.take(kind, &payload);
            }
            self.acknowledge();
        }
    }

    fn take(&mut self, kind: Kind, payload: &[u8]) {
        match kind {
            Kind::Hello => self.welcome(serde_json::from_slice(payload).unwrap()),
            Kind::LiveSamples | Kind::BacklogSamples => self.take_frame(kind, payload),
            Kind::Events => self.store(Stream::Events, kind, payload),
            Kind::Security => self.store(Stream::Security, kind, payload),
            Kind::Polls => self.take_poll(payload),
            Kind::Status => {
                let status = serde_json::from_slice(payload).unwrap();
                self.controller.seen.lock().unwrap().statuses.push(status);
            }
            Kind::Goodbye => {
                let goodbye = serde_json::from_slice(payload).unwrap();
                self.controller.seen.lock().unwrap().goodbyes.push(goodbye);
            }
            Kind::Flush => self.controller.seen.lock().unwrap().flushes += 1,
            other => panic!("{other:?} is not for controllers"),
        }
    }

    fn welcome(&mut self, hello: Hello) {
        let (number, protocol, bandwidth, nonsense, time_ms) = {
            let mut seen = self.controller.seen.lock().unwrap();
            seen.sessions += 1;
            self.epoch = hello.epoch.max(1);
            seen.hellos.push(hello);
            let mut faults = self.controller.faults.lock().unwrap();
            (
                seen.sessions,
                faults.protocol.unwrap_or(PROTOCOL_VERSION),
                faults.bandwidth.clone(),
                std::mem::take(&mut faults.nonsense),
                faults.time_ms.unwrap_or(1_700_000_000_000),
            )
        };
        let welcome = Welcome {
            protocol,
            session: format!("session-{number}"),
            epoch: self.epoch,
            time_ms,
            version: "test".to_owned(),
            bandwidth,
        };
        self.send(Kind::Welcome, &serde_json::to_vec(&welcome).unwrap());
        if !nonsense.is_empty() {
            let _ = self.down.send_data(nonsense.into(), false);
        }
    }

    fn take_frame(&mut self, kind: Kind, frame: &[u8]) {
        let head = peek(frame).unwrap();
        {
            let mut faults = self.controller.faults.lock().unwrap();
            if kind == Kind::LiveSamples && faults.forgets == Some(head.seq) {
                faults.forgets = None;
                self.live = Decoder::new();
            }
        }
        let decoder = if kind == Kind::LiveSamples {
            &mut self.live
        } else {
            &mut self.backlog
        };
        let Ok(info) = decoder.decode(frame, &mut |name| name.into()) else {
            self.refuse(Stream::Samples, head.seq, true, "chain broken");
            return;
        };
        assert_eq!(info.batch.checksum, head.checksum);
        if self.is_refused(Stream::Samples, head.seq) {
            return;
        }
        if head.key {
            self.controller.seen.lock().unwrap().keys.insert(head.seq);
        }
        self.keep(Stream::Samples, kind, head.seq, head.checksum);
    }

    fn store(&mut self, stream: Stream, kind: Kind, payload: &[u8]) {
        let info = peek_events(payload).unwrap();
        let version = payload[0];
        self.controller.seen.lock().unwrap().versions.push(version);
        if !self.is_refused(stream, info.seq) {
            self.keep(stream, kind, info.seq, info.checksum);
        }
    }

    fn take_poll(&mut self, payload: &[u8]) {
        let protocol = self.controller.faults.lock().unwrap().protocol;
        assert!(
            protocol.is_none_or(|spoken| spoken >= POLLS_PROTOCOL),
            "a poll is not for this one"
        );
        let info = peek_poll(payload).unwrap();
        if !self.is_refused(Stream::Polls, info.seq) {
            self.keep(Stream::Polls, Kind::Polls, info.seq, info.checksum);
        }
    }

    fn is_refused(&mut self, stream: Stream, seq: u64) -> bool {
        let answer = {
            let mut faults = self.controller.faults.lock().unwrap();
            faults.refuse.get_mut(&(stream, seq)).and_then(Vec::pop)
        };
        if let Some(resend) = answer {
            self.refuse(stream, seq, resend, "as the test wants");
        }
        answer.is_some()
    }

    fn keep(&mut self, stream: Stream, kind: Kind, seq: u64, checksum: u32) {
        let mut seen = self.controller.seen.lock().unwrap();
        seen.order.push((kind, seq));
        let stored = *seen.stored.entry((stream, seq)).or_insert(checksum);
        assert_eq!(
            stored, checksum,
            "{stream:?} {seq} came with another content"
        );
        self.unacked.entry(stream).or_default().insert(seq);
    }

    fn acknowledge(&mut self) {
        let mut faults = self.controller.faults.lock().unwrap();
        if faults.silent {
            return;
        }
        let epoch = self.epoch.max(faults.epoch);
        let due = !self.unacked.is_empty();
        let notice = faults.notice.take_if(|_| due);
        drop(faults);
        let (before, after) = match notice {
            Some((reason, true)) => (Some(reason), None),
            Some((reason, false)) => (None, Some(reason)),
            None => (None, None),
        };
        self.notify(before);
        for (stream, ranges) in std::mem::take(&mut self.unacked) {
            let mut payload = Vec::new();
            record::write_ack(
                &mut payload,
                &Ack {
                    stream,
                    epoch,
                    ranges,
                },
            );
            self.send(Kind::Ack, &payload);
        }
        self.notify(after);
    }

    /// Says something about the whole session.
    fn notify(&mut self, reason: Option<String>) {
        let Some(reason) = reason else { return };
        let refused = Refused {
            stream: Stream::Samples,
            seq: None,
            resend: false,
            reason,
        };
        self.send(Kind::Refused, &serde_json::to_vec(&refused).unwrap());
    }

    fn refuse(&mut self, stream: Stream, seq: u64, resend: bool, reason: &str) {
        let refused = Refused {
            stream,
            seq: Some(seq),
            resend,
            reason: reason.to_owned(),
        };
        self.send(Kind::Refused, &serde_json::to_vec(&refused).unwrap());
    }

    fn send(&mut self, kind: Kind, payload: &[u8]) {
        let mut bytes = Vec::new();
        record::write(&mut bytes, kind, payload);
        // The agent may have gone.
        let _ = self.down.send_data(bytes.into(), false);
    }
}

/// A stream that counts what comes in.
struct Counted {
    stream: TcpStream,
    received: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.received
            .fetch_add(buffer.filled().len() - before, Ordering::Relaxed);
        outcome
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

fn tls() -> (rustls::ServerConfig, rustls::ClientConfig) {
    let key = rcgen::KeyPair::generate().unwrap();
    let parameters = rcgen::CertificateParams::new([CONTROLLER_NAME.to_owned()]).unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut client = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![ALPN.to_vec()];
    let key = rustls_pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let mut server = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    server.alpn_protocols = vec![ALPN.to_vec()];
    (server, client)
}
