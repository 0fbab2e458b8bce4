//! The browsers' port over real sockets.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use xiezhi_identity::{CertificateSlot, web_server_config};

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
