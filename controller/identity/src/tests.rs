//! Tests of the authority as a whole, with real files and real TLS 1.3 handshakes over loopback.

mod constraints;
mod handshake;
mod issue;
mod requests;
mod setup;

use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::client::ClientConnection;
use rustls::crypto::ring::default_provider;
use rustls::server::ServerConnection;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tempfile::TempDir;
use xiezhi_model::HostId;
use xiezhi_protocol::CONTROLLER_NAME;

use crate::certificate::DAY_S;
use crate::{Authority, IdentityError, KeyPlace, Passphrase, Passphrases, Peer, peer_of};

/// Some moment in January 2027.
const NOW_S: i64 = 1_800_000_000;

/// A clock that stands still.
#[derive(Debug)]
struct At(i64);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

/// An authority in folders of its own.
struct Fixture {
    online: TempDir,
    offline: TempDir,
    passphrases: Passphrases,
}

impl Fixture {
    fn new() -> Self {
        Self::for_names(&[])
    }

    /// One that may sign certificates for browsers with these names.
    fn for_names(names: &[&str]) -> Self {
        let fixture = Self::empty();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        Authority::init_in(
            fixture.online(),
            fixture.offline(),
            &fixture.passphrases,
            &KeyPlace::SealedFile,
            &names,
            NOW_S,
        )
        .unwrap();
        fixture
    }

    fn empty() -> Self {
        let passphrases = Passphrases {
            online: Passphrase::new("online passphrase").unwrap(),
            offline: Passphrase::new("offline passphrase").unwrap(),
        };
        Self {
            online: tempfile::tempdir().unwrap(),
            offline: tempfile::tempdir().unwrap(),
            passphrases,
        }
    }

    fn online(&self) -> &Path {
        self.online.path()
    }

    fn offline(&self) -> &Path {
        self.offline.path()
    }

    fn open(&self) -> Authority {
        self.open_at(NOW_S).unwrap()
    }

    fn open_at(&self, now_s: i64) -> Result<Authority, IdentityError> {
        Authority::open(self.online(), &self.passphrases.online, now_s)
    }
}

/// A key and certificate chain as an agent holds them.
struct Agent {
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

impl Agent {
    fn enrolled(authority: &Authority, host: i64, now_s: i64) -> Self {
        let key = KeyPair::generate().unwrap();
        let issued = authority
            .issue_host(&csr(&key), HostId(host), now_s)
            .unwrap();
        Self {
            chain: chain(&issued.chain_pem),
            key,
        }
    }

    fn client(&self, authority: &Authority, now_s: i64) -> ClientConfig {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        trusting(authority, now_s)
            .with_client_auth_cert(self.chain.clone(), key)
            .unwrap()
    }
}

fn chain(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .unwrap()
}

fn csr(key: &KeyPair) -> String {
    CertificateParams::default()
        .serialize_request(key)
        .unwrap()
        .pem()
        .unwrap()
}

type WantsClientCert = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

/// A client that trusts this authority's root and nothing else, as an agent does.
fn trusting(authority: &Authority, now_s: i64) -> WantsClientCert {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.root_pem().as_bytes()).unwrap())
        .unwrap();
    ClientConfig::builder_with_details(Arc::new(default_provider()), Arc::new(At(now_s)))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
}

fn anonymous(authority: &Authority, now_s: i64) -> ClientConfig {
    trusting(authority, now_s).with_no_client_auth()
}

/// What both ends of one handshake came to.
struct Met {
    server: Result<ServerConnection, rustls::Error>,
    client: Result<ClientConnection, rustls::Error>,
}

impl Met {
    fn peer(&self, now_s: i64) -> Peer {
        let server = self.server.as_ref().map_err(Clone::clone).unwrap();
        peer_of(server.peer_certificates(), now_s).unwrap()
    }

    fn refusal(self) -> rustls::Error {
        self.server.map(|_| "accepted").unwrap_err()
    }
}

/// One real handshake over loopback, to the name that agents check.
fn meet(mut client: ClientConfig, server: &Arc<ServerConfig>) -> Met {
    if client.alpn_protocols.is_empty() {
        client.alpn_protocols = vec![b"h2".to_vec()];
    }
    meet_as(Arc::new(client), server, CONTROLLER_NAME)
}

fn meet_as(client: Arc<ClientConfig>, server: &Arc<ServerConfig>, name: &str) -> Met {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let calling = std::thread::spawn(move || {
        let mut socket = connect(TcpStream::connect(address));
        let mut connection = ClientConnection::new(client, name).unwrap();
        finish(&mut connection, &mut socket)?;
        // The client is done before the server has judged it: the verdict comes as the next record,
        // or as the end of the stream.
        while connection.wants_read() {
            let read = connection.read_tls(&mut socket);
            let state = connection.process_new_packets()?;
            if !matches!(read, Ok(1..)) || state.plaintext_bytes_to_read() > 0 {
                break;
            }
        }
        Ok(connection)
    });
    let mut socket = connect(listener.accept().map(|(socket, _)| socket));
    let mut connection = ServerConnection::new(Arc::clone(server)).unwrap();
    let result = finish(&mut connection, &mut socket).map(|()| {
        io::Write::write_all(&mut connection.writer(), b"!").unwrap();
        while connection.wants_write() {
            connection.write_tls(&mut socket).unwrap();
        }
        connection
    });
    drop(socket);
    Met {
        server: result,
        client: calling.join().unwrap(),
    }
}

fn connect(socket: io::Result<TcpStream>) -> TcpStream {
    let socket = socket.unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    socket
}

fn finish<Data>(
    connection: &mut rustls::ConnectionCommon<Data>,
    socket: &mut TcpStream,
) -> Result<(), rustls::Error>
where
    Data: rustls::SideData,
{
    while connection.is_handshaking() {
        if let Err(error) = connection.complete_io(socket) {
            let general = rustls::Error::General(error.to_string());
            let inner = error
                .into_inner()
                .and_then(|inner| inner.downcast::<rustls::Error>().ok());
            return Err(inner.map_or(general, |inner| *inner));
        }
    }
    while connection.wants_write() {
        connection.write_tls(socket).unwrap();
    }
    Ok(())
}

fn days(count: i64) -> i64 {
    NOW_S + count * DAY_S
}
