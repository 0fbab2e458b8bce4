//! From an address to a welcomed session.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{PingPong, RecvStream, SendStream};
use http::{Request, StatusCode};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use xiezhi_protocol::enrol::Problem;
use xiezhi_protocol::message::{Dropped, Hello, Welcome};
use xiezhi_protocol::record::{self, Kind};
use xiezhi_protocol::{CONTROLLER_NAME, OLDEST_PROTOCOL_VERSION, PROTOCOL_VERSION, UPLINK_PATH};
use xiezhi_spool::Spool;

use crate::config::{Connector, Target};
use crate::lanes::without_polls;

/// Flow-control windows: only bounds, and so large that no update is ever sent for the few bytes
/// that come down.
const WINDOW_BYTES: u32 = 1 << 20;
/// Bytes that HTTP/2 may hold for the socket; backlog waits behind it.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// The kernel's share of the same, which a live report must queue behind.
const SOCKET_BUFFER_BYTES: u32 = 64 * 1024;
/// Sent data that nobody confirms for so long means that the line is cut.
const USER_TIMEOUT: Duration = Duration::from_secs(60);
/// Most of a refusal's body that is read.
const PROBLEM_BYTES: usize = 8 * 1024;

/// Why there is no session.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: String,
    /// The controller's own word and sentence.
    pub(crate) problem: Option<(String, String)>,
    pub(crate) retry_after: Option<Duration>,
}

impl Refusal {
    pub(crate) fn because(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            problem: None,
            retry_after: None,
        }
    }
}

/// The task that moves bytes; ends with what it belongs to.
pub(crate) struct Driver(pub(crate) JoinHandle<Result<(), h2::Error>>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A welcomed session.
pub(crate) struct Connected {
    pub(crate) driver: Driver,
    pub(crate) requests: SendRequest<Bytes>,
    pub(crate) ping: Option<PingPong>,
    pub(crate) up: SendStream<Bytes>,
    pub(crate) down: RecvStream,
    pub(crate) inbox: BytesMut,
    pub(crate) welcome: Welcome,
    /// What the greeting said was dropped.
    pub(crate) reported: Vec<Dropped>,
}

pub(crate) fn lock(spool: &Mutex<Spool>) -> MutexGuard<'_, Spool> {
    spool.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Connects, greets and waits for the welcome.
pub(crate) async fn connect(
    connector: &dyn Connector,
    spool: &Mutex<Spool>,
) -> Result<Connected, Refusal> {
    let target = connector.target().map_err(Refusal::because)?;
    let tcp = dial(&target.address).await?;
    let tls = handshake(&target, tcp).await?;
    let (mut requests, mut connection) = h2::client::Builder::new()
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .max_header_list_size(16 * 1024)
        .header_table_size(0)
        .max_concurrent_reset_streams(4)
        .enable_push(false)
        .handshake(tls)
        .await
        .map_err(|error| http2_refusal(&error))?;
    let ping = connection.ping_pong();
    let driver = Driver(tokio::spawn(connection));
    let (hello, reported) = greeting(connector, spool);
    let (response, mut up) = requests
        .send_request(post(UPLINK_PATH)?, false)
        .map_err(|error| http2_refusal(&error))?;
    up.send_data(hello, false)
        .map_err(|error| http2_refusal(&error))?;
    let response = response.await.map_err(|error| http2_refusal(&error))?;
    if response.status() != StatusCode::OK {
        return Err(read_refusal(response).await);
    }
    let mut down = response.into_body();
    let mut inbox = BytesMut::new();
    let welcome = read_welcome(&mut down, &mut inbox).await?;
    Ok(Connected {
        driver,
        requests,
        ping,
        up,
        down,
        inbox,
        welcome,
        reported,
    })
}

pub(crate) fn post(path: &str) -> Result<Request<()>, Refusal> {
    Request::post(format!("https://{CONTROLLER_NAME}{path}"))
        .body(())
        .map_err(|error| Refusal::because(error.to_string()))
}

async fn dial(address: &str) -> Result<TcpStream, Refusal> {
    let unreachable =
        |error: std::io::Error| Refusal::because(format!("cannot reach {address}: {error}"));
    let mut last = Refusal::because(format!("{address} has no address"));
    for resolved in lookup_host(address).await.map_err(unreachable)? {
        let socket = if resolved.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        };
        let socket = socket.map_err(unreachable)?;
        socket
            .set_send_buffer_size(SOCKET_BUFFER_BYTES)
            .map_err(unreachable)?;
        match socket.connect(resolved).await {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(unreachable)?;
                let limit = USER_TIMEOUT.as_millis() as u32;
                if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(&stream, limit) {
                    tracing::debug!(%error, "no user timeout; pings find a dead line");
                }
                return Ok(stream);
            }
            Err(error) => last = unreachable(error),
        }
    }
    Err(last)
}

async fn handshake(
    target: &Target,
    tcp: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Refusal> {
    let name = rustls_pki_types::ServerName::try_from(CONTROLLER_NAME)
        .map_err(|error| Refusal::because(error.to_string()))?;
    TlsConnector::from(target.tls.clone())
        .connect(name, tcp)
        .await
        .map_err(|error| Refusal::because(format!("TLS with {}: {error}", target.address)))
}

fn greeting(connector: &dyn Connector, spool: &Mutex<Spool>) -> (Bytes, Vec<Dropped>) {
    let mut hello = connector.hello();
    hello.protocol = PROTOCOL_VERSION;
    hello.clock_ms = connector.now_ms();
    {
        let spool = lock(spool);
        hello.epoch = spool.epoch();
        spool.session().clone_into(&mut hello.previous_session);
        hello.spool = spool.status();
    }
    // Whoever answers may know no polls, and could not read the greeting.
    hello.spool.dropped = without_polls(hello.spool.dropped);
    (encode_hello(&hello), hello.spool.dropped)
}

fn encode_hello(hello: &Hello) -> Bytes {
    let mut bytes = Vec::new();
    // A struct of texts and numbers always becomes JSON.
    record::write(
        &mut bytes,
        Kind::Hello,
        &serde_json::to_vec(hello).unwrap_or_default(),
    );
    bytes.into()
}

async fn read_welcome(down: &mut RecvStream, inbox: &mut BytesMut) -> Result<Welcome, Refusal> {
    loop {
        let first = record::read(inbox).map_err(|error| Refusal::because(error.to_string()))?;
        if let Some((kind, payload, used)) = first {
            if kind != Kind::Welcome as u8 {
                return Err(Refusal::because(
                    "the controller's first word is no welcome",
                ));
            }
            let welcome: Welcome = serde_json::from_slice(payload)
                .map_err(|error| Refusal::because(format!("unreadable welcome: {error}")))?;
            bytes::Buf::advance(inbox, used);
            let spoken = OLDEST_PROTOCOL_VERSION..=PROTOCOL_VERSION;
            if !spoken.contains(&welcome.protocol) {
                let version = welcome.protocol;
                return Err(Refusal::because(format!(
                    "the controller speaks protocol {version}"
                )));
            }
            return Ok(welcome);
        }
        match down.data().await {
            Some(Ok(chunk)) => receive(down, inbox, &chunk),
            Some(Err(error)) => return Err(http2_refusal(&error)),
            None => return Err(Refusal::because("the controller closed before its welcome")),
        }
    }
}

/// Adds what came to what waits to be read.
pub(crate) fn receive(down: &mut RecvStream, inbox: &mut BytesMut, chunk: &Bytes) {
    inbox.extend_from_slice(chunk);
    // Fails only on a stream that is over; the next read says so.
    drop(down.flow_control().release_capacity(chunk.len()));
}

async fn read_refusal(response: http::Response<RecvStream>) -> Refusal {
    let status = response.status();
    let header = response.headers().get(http::header::RETRY_AFTER);
    let seconds = header.and_then(|value| value.to_str().ok()?.parse().ok());
    let mut body = response.into_body();
    let mut bytes = BytesMut::new();
    while let Some(Ok(chunk)) = body.data().await {
        receive(&mut body, &mut bytes, &chunk);
        if bytes.len() > PROBLEM_BYTES {
            break;
        }
    }
    let problem = serde_json::from_slice::<Problem>(&bytes).ok();
    let reason = match &problem {
        Some(problem) => format!("refused: {} ({})", problem.detail, problem.code),
        None => format!("refused with HTTP status {status}"),
    };
    // One that was shut out is not helped by asking every minute.
    let shut_out = matches!(status, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED);
    Refusal {
        reason,
        problem: problem.map(|problem| (problem.code, problem.detail)),
        retry_after: seconds
            .map(Duration::from_secs)
            .or(shut_out.then_some(Duration::from_secs(60))),
    }
}

fn http2_refusal(error: &h2::Error) -> Refusal {
    Refusal::because(format!("connection lost: {error}"))
}
