//! Handshakes against authorities made here: root, name and time decide; the local clock never does.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use rustls::{ClientConnection, ServerConfig, ServerConnection};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use xiezhi_protocol::CONTROLLER_NAME;

use super::time::TrustedTime;
use super::verifier::{Anchor, fingerprint, tls_config};

const DAY: i64 = 86_400;

struct Authority {
    root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::default();
        parameters
            .distinguished_name
            .push(DnType::CommonName, "test root");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = parameters.self_signed(&key).unwrap();
        Self {
            root: root.der().clone(),
            issuer: Issuer::new(parameters, key),
        }
    }

    /// A server that shows a certificate for `name`, valid from and to these Unix seconds.
    fn server(&self, name: &str, from_s: i64, to_s: i64) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        parameters.not_before = time::OffsetDateTime::from_unix_timestamp(from_s).unwrap();
        parameters.not_after = time::OffsetDateTime::from_unix_timestamp(to_s).unwrap();
        let leaf = parameters.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone(), self.root.clone()], key)
            .unwrap();
        Arc::new(config)
    }
}

/// Trusted time with the controller last seen at `last_s`; it is never before the build.
fn time_at(last_s: i64) -> Arc<TrustedTime> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("time");
    std::fs::write(&file, (last_s * 1000).to_string()).unwrap();
    Arc::new(TrustedTime::open(file))
}

/// A whole handshake in memory; the error is the client's.
fn handshake(
    anchor: Anchor,
    time: Arc<TrustedTime>,
    server: Arc<ServerConfig>,
) -> Result<(), rustls::Error> {
    let mut config = tls_config(anchor, time, None).unwrap();
    config.alpn_protocols.clear();
    // The address is not what is verified: any will do.
    let address = ServerName::try_from("10.9.8.7").unwrap();
    let mut client = ClientConnection::new(Arc::new(config), address).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    for _ in 0..10 {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        server.read_tls(&mut bytes.as_slice()).unwrap();
        server.process_new_packets().ok();
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
        if !client.is_handshaking() && !server.is_handshaking() {
            return Ok(());
        }
    }
    panic!("the handshake does not end");
}

fn built_s() -> i64 {
    time_at(0).now_s()
}

#[test]
fn the_pinned_root_and_the_fixed_name_are_accepted_at_any_address() {
    let authority = Authority::new();
    let now = built_s();
    let server = authority.server(CONTROLLER_NAME, now - DAY, now + DAY);
    handshake(
        Anchor::Root(authority.root.clone()),
        time_at(0),
        Arc::clone(&server),
    )
    .unwrap();
    handshake(
        Anchor::Fingerprint(fingerprint(&authority.root)),
        time_at(0),
        server,
    )
    .unwrap();
}

#[test]
fn another_authority_or_another_name_is_refused() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let now = built_s();
    let foreign = theirs.server(CONTROLLER_NAME, now - DAY, now + DAY);
    assert!(
        handshake(
            Anchor::Root(ours.root.clone()),
            time_at(0),
            Arc::clone(&foreign)
        )
        .is_err()
    );
    assert!(
        handshake(
            Anchor::Fingerprint(fingerprint(&ours.root)),
            time_at(0),
            foreign
        )
        .is_err()
    );
    let misnamed = ours.server("host.xiezhi.internal", now - DAY, now + DAY);
    assert!(handshake(Anchor::Root(ours.root.clone()), time_at(0), misnamed).is_err());
}

#[test]
fn a_certificate_made_after_this_program_was_built_is_accepted() {
    let authority = Authority::new();
    let now = built_s();
    let server = authority.server(CONTROLLER_NAME, now + 300 * DAY, now + 390 * DAY);
    handshake(Anchor::Root(authority.root.clone()), time_at(0), server).unwrap();
}

#[test]
fn a_certificate_that_ended_before_the_controller_was_last_seen_is_refused() {
    let authority = Authority::new();
    let now = built_s();
    let server = authority.server(CONTROLLER_NAME, now - DAY, now + 30 * DAY);
    let anchor = Anchor::Root(authority.root.clone());
    handshake(anchor.clone(), time_at(now + 29 * DAY), Arc::clone(&server)).unwrap();
    assert!(handshake(anchor, time_at(now + 31 * DAY), server).is_err());
}

#[test]
fn a_controller_whose_clock_is_far_ahead_does_not_shut_itself_out() {
    let authority = Authority::new();
    let now = built_s();
    let server = authority.server(CONTROLLER_NAME, now - DAY, now + 60 * DAY);
    let folder = tempfile::tempdir().unwrap();
    let time = Arc::new(TrustedTime::open(folder.path().join("time")));
    let anchor = Anchor::Root(authority.root.clone());
    handshake(anchor.clone(), Arc::clone(&time), Arc::clone(&server)).unwrap();
    time.learn((now + 365 * DAY) * 1000).unwrap();
    assert!(time.now_s() < now + DAY);
    handshake(anchor, Arc::clone(&time), server).unwrap();
    time.learn((now + 30 * DAY) * 1000).unwrap();
    assert!(time.now_s() >= now + 30 * DAY);
}
