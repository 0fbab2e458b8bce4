//! Prints the CPU time that one full handshake with a host certificate costs the controller.
//!
//! `cargo run --release -p xiezhi-identity --example handshake_cost [COUNT]`
//!
//! Client and server talk through memory, and only the server's share is counted, on this thread's
//! CPU clock. No system calls are in it: a real connection adds accept, epoll and a few reads.

#![allow(clippy::print_stdout, reason = "an example's result is what it prints")]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, KeyPair};
use rustix::time::{ClockId, clock_gettime};
use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use xiezhi_identity::{Authority, Passphrase, Passphrases, Peer, peer_of};
use xiezhi_model::HostId;
use xiezhi_protocol::CONTROLLER_NAME;

fn main() -> Result<(), Box<dyn Error>> {
    let count: u32 = std::env::args()
        .nth(1)
        .map_or(Ok(1000), |text| text.parse())?;
    let now_s = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    let (online, offline) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let passphrases = Passphrases {
        online: Passphrase::random()?,
        offline: Passphrase::random()?,
    };
    Authority::init(online.path(), offline.path(), &passphrases, now_s)?;
    let authority = Authority::open(online.path(), &passphrases.online, now_s)?;
    let server = authority.server_config()?;
    let client = Arc::new(agent(&authority, now_s)?);
    let name = ServerName::try_from(CONTROLLER_NAME)?;

    let mut spent = Duration::ZERO;
    for _ in 0..count {
        let mut caller = ClientConnection::new(Arc::clone(&client), name.clone())?;
        let before = cpu_time();
        let mut listener = ServerConnection::new(Arc::clone(&server))?;
        spent += cpu_time() - before;
        while caller.is_handshaking() || listener.is_handshaking() {
            let up = take(|out| caller.write_tls(out))?;
            let before = cpu_time();
            give(&mut listener, &up)?;
            let down = take(|out| listener.write_tls(out))?;
            spent += cpu_time() - before;
            give(&mut caller, &down)?;
        }
        let before = cpu_time();
        let peer = peer_of(listener.peer_certificates(), now_s)?;
        spent += cpu_time() - before;
        assert!(
            matches!(
                peer,
                Peer::Host {
                    host: HostId(17),
                    ..
                }
            ),
            "{peer:?}"
        );
    }
    let each = spent / count;
    println!(
        "{count} full handshakes: {} µs of controller CPU each",
        each.as_micros()
    );
    Ok(())
}

fn agent(authority: &Authority, now_s: i64) -> Result<ClientConfig, Box<dyn Error>> {
    let key = KeyPair::generate()?;
    let csr = CertificateParams::default()
        .serialize_request(&key)?
        .pem()?;
    let issued = authority.issue_host(&csr, HostId(17), now_s)?;
    let chain = CertificateDer::pem_slice_iter(issued.chain_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(
        authority.root_pem().as_bytes(),
    )?)?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, PrivateKeyDer::try_from(key.serialize_der())?)?;
    config.alpn_protocols = vec![xiezhi_protocol::ALPN.to_vec()];
    Ok(config)
}

fn take(
    mut write: impl FnMut(&mut dyn std::io::Write) -> std::io::Result<usize>,
) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while write(&mut bytes)? > 0 {}
    Ok(bytes)
}

fn give<Data>(
    connection: &mut rustls::ConnectionCommon<Data>,
    mut bytes: &[u8],
) -> Result<(), Box<dyn Error>>
where
    Data: rustls::SideData,
{
    while !bytes.is_empty() {
        connection.read_tls(&mut bytes)?;
        connection.process_new_packets()?;
    }
    Ok(())
}

/// This thread's CPU time; other threads and processes do not disturb it.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}
