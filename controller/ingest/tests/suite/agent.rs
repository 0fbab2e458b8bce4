//! A small agent: keys, TLS, HTTP/2 and records, without a spool.

use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{Request, StatusCode};
use rcgen::{CertificateParams, KeyPair};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde::Serialize;
use tokio::net::TcpSocket;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use xiezhi_model::HostId;
use xiezhi_protocol::batch::{Stream, encode_events};
use xiezhi_protocol::codec::Encoder;
use xiezhi_protocol::enrol::{EnrolRequest, EnrolResponse, Issued, Problem, RenewRequest, Token};
use xiezhi_protocol::event::{Event, Severity, kinds};
use xiezhi_protocol::message::{Ack, Hello, Refused, Welcome};
use xiezhi_protocol::record::{self, Kind};
use xiezhi_protocol::report::Report;
use xiezhi_protocol::{
    CONTROLLER_NAME, DIRECTIVES_PATH, ENROL_PATH, PROTOCOL_VERSION, RENEW_PATH, UPLINK_PATH,
};

use crate::port::{DEADLINE, Port};

/// A key and what was issued for it.
pub(crate) struct Identity {
    pub(crate) host: HostId,
    pub(crate) key: KeyPair,
    pub(crate) issued: Issued,
}

pub(crate) fn csr(key: &KeyPair) -> String {
    CertificateParams::default()
        .serialize_request(key)
        .unwrap()
        .pem()
        .unwrap()
}

pub(crate) fn enrol_request(token: &Token, key: &KeyPair, name: &str) -> EnrolRequest {
    let hex = data_encoding::HEXLOWER;
    let seed: Vec<u8> = name.bytes().cycle().take(32).collect();
    let mut request = EnrolRequest {
        token_id: token.id_text(),
        token_secret: hex.encode(&token.secret),
        csr_pem: csr(key),
        evidence_key: String::new(),
        evidence_proof: String::new(),
        hostname: name.to_owned(),
        machine: hex.encode(name.as_bytes()),
        version: "1.2.3".to_owned(),
        policy_root: String::new(),
    };
    prove(
        &mut request,
        &Ed25519KeyPair::from_seed_unchecked(&seed).unwrap(),
    );
    request
}

/// Records this evidence key, and proves that the agent holds it.
pub(crate) fn prove(request: &mut EnrolRequest, evidence: &Ed25519KeyPair) {
    let hex = data_encoding::HEXLOWER;
    request.evidence_key = hex.encode(evidence.public_key().as_ref());
    let digest = ring::digest::digest(&ring::digest::SHA256, request.csr_pem.as_bytes());
    let statement = request.evidence_statement(digest.as_ref().try_into().unwrap());
    request.evidence_proof = hex.encode(evidence.sign(statement.as_bytes()).as_ref());
}

impl Port {
    /// Enrols a host through the port.
    pub(crate) async fn enrol(&self, name: &str) -> Identity {
        let token = self.token().await;
        let key = KeyPair::generate().unwrap();
        let issued = self
            .try_enrol(&enrol_request(&token, &key, name))
            .await
            .unwrap();
        let EnrolResponse::Issued(issued) = issued else {
            panic!("{issued:?}")
        };
        Identity {
            host: issued.host.parse().unwrap(),
            key,
            issued,
        }
    }

    pub(crate) async fn try_enrol(&self, request: &EnrolRequest) -> Result<EnrolResponse, Problem> {
        self.try_enrol_from(Ipv4Addr::LOCALHOST, request).await
    }

    pub(crate) async fn try_enrol_from(
        &self,
        source: Ipv4Addr,
        request: &EnrolRequest,
    ) -> Result<EnrolResponse, Problem> {
        let mut http = self.connect_from(source, None).await.unwrap();
        let (status, body) = post(&mut http, ENROL_PATH, request).await;
        if status.is_success() {
            return Ok(serde_json::from_slice(&body).unwrap());
        }
        Err(serde_json::from_slice(&body).unwrap())
    }

    pub(crate) async fn renew(&self, identity: &Identity) -> Result<Identity, Problem> {
        let mut http = self.connect(Some(identity)).await.unwrap();
        let key = KeyPair::generate().unwrap();
        let (status, body) =
            post(&mut http, RENEW_PATH, &RenewRequest { csr_pem: csr(&key) }).await;
        if !status.is_success() {
            return Err(serde_json::from_slice(&body).unwrap());
        }
        Ok(Identity {
            host: identity.host,
            key,
            issued: serde_json::from_slice(&body).unwrap(),
        })
    }

    /// A connection, with or without a certificate.
    pub(crate) async fn connect(
        &self,
        identity: Option<&Identity>,
    ) -> std::io::Result<SendRequest<Bytes>> {
        self.connect_from(Ipv4Addr::LOCALHOST, identity).await
    }

    pub(crate) async fn connect_from(
        &self,
        source: Ipv4Addr,
        identity: Option<&Identity>,
    ) -> std::io::Result<SendRequest<Bytes>> {
        let root = CertificateDer::from_pem_slice(self.authority.root_pem().as_bytes()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(root).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(Identity { key, issued, .. }) => {
                let chain: Vec<_> = CertificateDer::pem_slice_iter(issued.chain_pem.as_bytes())
                    .map(Result::unwrap)
                    .collect();
                let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let socket = TcpSocket::new_v4()?;
        socket.bind((source, 0).into())?;
        let tcp = socket.connect(self.address).await?;
        let name = ServerName::try_from(CONTROLLER_NAME).unwrap();
        let tls = TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await?;
        let (http, connection) = h2::client::handshake(tls)
            .await
            .map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        Ok(http)
    }

    /// An open session of a fresh spool.
    pub(crate) async fn session(&self, identity: &Identity) -> Agent {
        self.session_with(identity, self.hello()).await.unwrap()
    }

    pub(crate) fn hello(&self) -> Hello {
        Hello {
            protocol: PROTOCOL_VERSION,
            version: "1.2.3".to_owned(),
            hostname: "host".to_owned(),
            clock_ms: self.now_ms(),
            interval_ms: 15_000,
            ..Hello::default()
        }
    }

    pub(crate) async fn session_with(
        &self,
        identity: &Identity,
        hello: Hello,
    ) -> Result<Agent, Problem> {
        let mut http = self.connect(Some(identity)).await.unwrap();
        let (response, mut up) = http.send_request(request(UPLINK_PATH), false).unwrap();
        let mut bytes = Vec::new();
        record::write(
            &mut bytes,
            Kind::Hello,
            &serde_json::to_vec(&hello).unwrap(),
        );
        up.send_data(Bytes::from(bytes), false).unwrap();
        let response = timeout(DEADLINE, response).await.unwrap().unwrap();
        let (head, body) = response.into_parts();
        let mut agent = Agent {
            http,
            up,
            down: Downward::new(body),
            welcome: Welcome::default(),
            encoder: Encoder::new(15_000),
        };
        if !head.status.is_success() {
            let problem = agent.down.rest().await;
            return Err(serde_json::from_slice(&problem).unwrap());
        }
        let Down::Welcome(welcome) = agent.down.next().await else {
            panic!("no welcome")
        };
        agent.welcome = welcome;
        Ok(agent)
    }
}

fn request(path: &str) -> Request<()> {
    Request::post(format!("https://{CONTROLLER_NAME}{path}"))
        .body(())
        .unwrap()
}

pub(crate) async fn post(
    http: &mut SendRequest<Bytes>,
    path: &str,
    body: &impl Serialize,
) -> (StatusCode, Vec<u8>) {
    let (response, mut up) = http.send_request(request(path), false).unwrap();
    up.send_data(Bytes::from(serde_json::to_vec(body).unwrap()), true)
        .unwrap();
    let (head, body) = timeout(DEADLINE, response)
        .await
        .unwrap()
        .unwrap()
        .into_parts();
    (head.status, Downward::new(body).rest().await)
}

/// What comes down.
#[derive(Debug)]
pub(crate) enum Down {
    Welcome(Welcome),
    Ack(Ack),
    Refused(Refused),
    Directive(xiezhi_protocol::message::DirectiveMessage),
    End,
}

impl Down {
    pub(crate) fn ack(self) -> Ack {
        match self {
            Self::Ack(ack) => ack,
            other => panic!("no acknowledgement but {other:?}"),
        }
    }

    pub(crate) fn refused(self) -> Refused {
        match self {
            Self::Refused(refused) => refused,
            other => panic!("no refusal but {other:?}"),
        }
    }
}

pub(crate) struct Downward {
    body: RecvStream,
    buffer: Vec<u8>,
}

impl Downward {
    pub(crate) fn new(body: RecvStream) -> Self {
        Self {
            body,
            buffer: Vec::new(),
        }
    }

    pub(crate) async fn next(&mut self) -> Down {
        loop {
            if let Some((kind, payload, used)) = record::read(&self.buffer).unwrap() {
                let down = match Kind::from_number(kind).unwrap() {
                    Kind::Welcome => Down::Welcome(serde_json::from_slice(payload).unwrap()),
                    Kind::Ack => Down::Ack(record::read_ack(payload).unwrap()),
                    Kind::Refused => Down::Refused(serde_json::from_slice(payload).unwrap()),
                    Kind::Directive => Down::Directive(serde_json::from_slice(payload).unwrap()),
                    other => panic!("{other:?}"),
                };
                self.buffer.drain(..used);
                return down;
            }
            if !self.more().await {
                return Down::End;
            }
        }
    }

    async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.buffer)
    }

    async fn more(&mut self) -> bool {
        let chunk = timeout(DEADLINE, self.body.data())
            .await
            .expect("nothing came down");
        let Some(Ok(chunk)) = chunk else { return false };
        self.buffer.extend_from_slice(&chunk);
        self.body
            .flow_control()
            .release_capacity(chunk.len())
            .unwrap();
        true
    }
}

/// An open session.
pub(crate) struct Agent {
    pub(crate) http: SendRequest<Bytes>,
    pub(crate) up: SendStream<Bytes>,
    pub(crate) down: Downward,
    pub(crate) welcome: Welcome,
    pub(crate) encoder: Encoder,
}

/// A report of three series with `value` in all of them.
pub(crate) fn report(time_ms: i64, value: f64) -> Report {
    let mut report = Report::new();
    report.start(time_ms);
    report.push("node_load1", &[], value).unwrap();
    report
        .push("node_memory_MemTotal_bytes", &[], 1000.0)
        .unwrap();
    report
        .push("node_memory_MemAvailable_bytes", &[], value)
        .unwrap();
    report
}

impl Agent {
    /// Encodes a report as the next frame of this agent's chain.
    pub(crate) fn frame(&mut self, seq: u64, time_ms: i64, value: f64) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encoder
            .encode(seq, &report(time_ms, value), &mut bytes);
        bytes
    }

    /// Sends a report on the live lane.
    pub(crate) fn live(&mut self, seq: u64, time_ms: i64, value: f64) {
        let frame = self.frame(seq, time_ms, value);
        self.send(Kind::LiveSamples, &frame);
    }

    pub(crate) fn send(&mut self, kind: Kind, payload: &[u8]) {
        let mut bytes = Vec::new();
        record::write(&mut bytes, kind, payload);
        self.raw(bytes);
    }

    pub(crate) fn raw(&mut self, bytes: Vec<u8>) {
        self.up.send_data(Bytes::from(bytes), false).unwrap();
    }

    pub(crate) fn flush(&mut self) {
        self.send(Kind::Flush, &[]);
    }

    pub(crate) fn login(&mut self, seq: u64, user: &str) {
        let event = Event::new(1_000 + seq as i64, kinds::LOGIN, Severity::Notice, "login");
        let mut bytes = Vec::new();
        encode_events(seq, 1_000, &[event.with("user", user)], &mut bytes).unwrap();
        self.send(Kind::Security, &bytes);
    }

    /// The next acknowledgement of samples, as its epoch and ranges.
    pub(crate) async fn acked(&mut self) -> (u64, Vec<(u64, u64)>) {
        let ack = self.down.next().await.ack();
        assert_eq!(ack.stream, Stream::Samples);
        (ack.epoch, ack.ranges.ranges().to_vec())
    }

    /// Opens the directive stream.
    pub(crate) async fn directives(&mut self) -> (SendStream<Bytes>, Downward) {
        let (response, up) = self
            .http
            .send_request(request(DIRECTIVES_PATH), false)
            .unwrap();
        let response = timeout(DEADLINE, response).await.unwrap().unwrap();
        assert!(response.status().is_success());
        (up, Downward::new(response.into_body()))
    }
}
