//! The browsers' port over real sockets.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use xiezhi_identity::{CertificateSlot, web_server_config};
use xiezhi_model::{Grant, Role};

use super::bench::{Bench, START_MS};
use crate::{ServeOptions, serve};

const DEADLINE: Duration = Duration::from_secs(30);

async fn healthz(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> String {
    let request = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut text = String::new();
    let read = stream.read_to_string(&mut text);
    drop(
        tokio::time::timeout(DEADLINE, read)
            .await
            .expect("an answer in time"),
    );
    text
}

fn client(root_pem: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(root_pem.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

#[tokio::test]
async fn over_tls_one_stalled_handshake_does_not_hold_up_others() {
    let bench = Bench::new().await;
    let identity = bench
        .authority
        .issue_web(&["localhost".to_owned()], START_MS / 1000)
        .unwrap();
    let tls = web_server_config(&CertificateSlot::new(identity)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let options = ServeOptions {
        handshakes: 2,
        ..ServeOptions::default()
    };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let router = bench.router.clone();
    let server = tokio::spawn(serve(listener, Some(tls), router, options, async {
        drop(stopped.await);
    }));
    let stalled = TcpStream::connect(address).await.unwrap();
    let connector = client(&bench.authority.root_pem());
    let name = ServerName::try_from("localhost").unwrap();
    for _ in 0..3 {
        let plain = TcpStream::connect(address).await.unwrap();
        match connector.connect(name.clone(), plain).await {
            Ok(mut stream) => assert!(healthz(&mut stream).await.starts_with("HTTP/1.1 200")),
            // The certificate is dated by the test's clock; rustls judges by the machine's.
            Err(error) => assert!(error.to_string().contains("certificate"), "{error}"),
        }
    }
    drop(stalled);
    drop(stop);
    server.await.unwrap().unwrap();
}

/// A plain port that is served until the handle is aborted.
async fn plain(bench: &Bench, options: ServeOptions) -> (SocketAddr, JoinHandle<io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = bench.router.clone();
    let stop = std::future::pending();
    (
        address,
        tokio::spawn(serve(listener, None, router, options, stop)),
    )
}

/// Connects from an address of this machine's own network.
async fn from(source: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((source, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

fn ended(registry: &Registry, reason: &str) -> u64 {
    let families = registry.gather();
    let found = families
        .iter()
        .filter(|family| family.name() == "xiezhi_web_connections_ended_total")
        .flat_map(|family| family.get_metric())
        .find(|metric| {
            metric
                .get_label()
                .iter()
                .any(|label| label.value() == reason)
        });
    found.map_or(0, |metric| metric.get_counter().get_value() as u64)
}

/// The answer of a connection that stays open.
async fn answer(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"}") && !text.ends_with(b"}\n") {
        let read = tokio::time::timeout(DEADLINE, stream.read_buf(&mut text));
        assert!(read.await.expect("an answer in time").unwrap() > 0);
    }
    String::from_utf8(text).unwrap()
}

/// Sends a header line again and again until the server hangs up.
async fn drip(mut stream: TcpStream) {
    loop {
        if stream.write_all(b"x-more: 1\r\n").await.is_err() {
            return;
        }
        let mut byte = [0];
        let read = tokio::time::timeout(Duration::from_millis(20), stream.read(&mut byte));
        if let Ok(Ok(0) | Err(_)) = read.await {
            return;
        }
    }
}

#[tokio::test]
async fn headers_that_never_end_are_cut_also_after_a_whole_request() {
    let bench = Bench::new().await;
    let options = ServeOptions {
        head_timeout: Duration::from_millis(300),
        ..ServeOptions::default()
    };
    let registry = options.registry.clone();
    let (address, server) = plain(&bench, options).await;
    let mut first = TcpStream::connect(address).await.unwrap();
    first
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n")
        .await
        .unwrap();
    let mut later = TcpStream::connect(address).await.unwrap();
    let whole = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    later.write_all(whole).await.unwrap();
    assert!(answer(&mut later).await.starts_with("HTTP/1.1 200"));
    later.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    for slow in [first, later] {
        tokio::time::timeout(DEADLINE, drip(slow))
            .await
            .expect("the connection is cut");
    }
    assert_eq!(ended(&registry, "head"), 2);
    server.abort();
}

#[tokio::test]
async fn an_idle_connection_outlives_the_time_for_headers() {
    let bench = Bench::new().await;
    let head_timeout = Duration::from_millis(100);
    let options = ServeOptions {
        head_timeout,
        ..ServeOptions::default()
    };
    let (address, server) = plain(&bench, options).await;
    let mut kept = TcpStream::connect(address).await.unwrap();
    let whole = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    kept.write_all(whole).await.unwrap();
    assert!(answer(&mut kept).await.starts_with("HTTP/1.1 200"));
    let mut byte = [0];
    let closed = tokio::time::timeout(head_timeout * 5, kept.read(&mut byte));
    assert!(closed.await.is_err(), "nothing comes, not even an end");
    assert!(healthz(&mut kept).await.starts_with("HTTP/1.1 200"));
    server.abort();
}

#[tokio::test]
async fn an_address_that_holds_its_share_keeps_nobody_else_out() {
    let bench = Bench::new().await;
    let options = ServeOptions {
        connections: 8,
        ..ServeOptions::default()
    };
    let registry = options.registry.clone();
    let (address, server) = plain(&bench, options).await;
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(from([127, 0, 0, 2], address).await);
    }
    let mut beyond = from([127, 0, 0, 2], address).await;
    let mut byte = [0];
    let end = tokio::time::timeout(DEADLINE, beyond.read(&mut byte));
    assert!(!matches!(end.await.unwrap(), Ok(1..)), "closed");
    assert_eq!(ended(&registry, "address"), 1);
    let mut other = from([127, 0, 0, 3], address).await;
    assert!(healthz(&mut other).await.starts_with("HTTP/1.1 200"));
    drop(held);
    server.abort();
}

#[tokio::test]
async fn a_connection_over_which_nothing_moves_is_closed() {
    let bench = Bench::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let idle_timeout = Duration::from_millis(50);
    let options = ServeOptions {
        connections: 1,
        idle_timeout,
        ..ServeOptions::default()
    };
    let router = bench.router.clone();
    let server = tokio::spawn(serve(
        listener,
        None,
        router,
        options,
        std::future::pending(),
    ));
    // It takes the only place, and must give it back for the next to be served.
    let silent = TcpStream::connect(address).await.unwrap();
    let mut next = TcpStream::connect(address).await.unwrap();
    let text = healthz(&mut next).await;
    assert!(
        text.starts_with("HTTP/1.1 200") && text.contains("{\"status\":\"ok\""),
        "{text}"
    );
    drop(silent);
    server.abort();
}

/// Begins to send a table of rooms, which an account may.
async fn sending(to: SocketAddr, cookie: &str, bytes: usize) -> TcpStream {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let head = format!(
        "POST /api/v1/imports?kind=rooms HTTP/1.1\r\nhost: x\r\ncookie: {cookie}\r\n\
         x-xiezhi-request: 1\r\nconnection: close\r\ncontent-length: {bytes}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_file_that_keeps_coming_outlives_the_time_for_idleness() {
    let bench = Bench::new().await;
    let idle_timeout = Duration::from_secs(1);
    let options = ServeOptions {
        idle_timeout,
        ..ServeOptions::default()
    };
    let registry = options.registry.clone();
    let (address, server) = plain(&bench, options).await;
    let grants = [Grant::province(Role::ProvinceAdministrator)];
    let (_, cookie) = bench.account("slow", &grants).await;
    let mut table = "code,name,site\n".to_owned();
    for line in 0..60 {
        table.push_str(&format!("R-{line},机房,gs-01\n"));
    }
    let mut thin = sending(address, &cookie, table.len()).await;
    // Three times as long as a connection may be idle, a piece every twentieth of it.
    let pieces = table.as_bytes().chunks(table.len().div_ceil(60));
    for piece in pieces {
        tokio::time::sleep(idle_timeout / 20).await;
        thin.write_all(piece).await.expect("the line is kept");
    }
    let mut told = String::new();
    let read = tokio::time::timeout(DEADLINE, thin.read_to_string(&mut told));
    read.await.expect("an answer in time").expect("an answer");
    assert!(told.starts_with("HTTP/1.1 201"), "{told}");
    assert_eq!(ended(&registry, "idle"), 0);
    // One that stops in the middle has its time, and no more.
    let mut stuck = sending(address, &cookie, table.len()).await;
    stuck.write_all(&table.as_bytes()[..100]).await.unwrap();
    let mut told = String::new();
    let end = tokio::time::timeout(DEADLINE, stuck.read_to_string(&mut told));
    end.await.expect("it is cut").ok();
    assert!(!told.starts_with("HTTP/1.1 201"), "{told}");
    assert_eq!(ended(&registry, "stalled"), 1);
    server.abort();
}
