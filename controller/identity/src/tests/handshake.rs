//! Who gets through the agent port, and as whom.

use std::sync::Arc;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use rustls::client::Resumption;
use rustls::{AlertDescription, CertificateError, Error, HandshakeKind};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use xiezhi_model::HostId;

use super::{Agent, At, Fixture, anonymous, chain, days, meet, meet_as, trusting};
use crate::certificate::{self, to_pem};
use crate::{Authority, CertificateSlot, KeyPlace, Peer, ServerIdentity, web_server_config};

fn server_at(authority: &Authority, now_s: i64) -> Arc<rustls::ServerConfig> {
    authority.server_config_at(Arc::new(At(now_s))).unwrap()
}

#[test]
fn a_caller_without_a_certificate_is_anonymous() {
    let authority = Fixture::new().open();
    let met = meet(
        anonymous(&authority, days(0)),
        &server_at(&authority, days(0)),
    );
    assert_eq!(met.peer(days(0)), Peer::Anonymous);
    let client = met.client.unwrap();
    assert_eq!(client.alpn_protocol(), Some(&b"h2"[..]));
    assert_eq!(
        client.protocol_version(),
        Some(rustls::ProtocolVersion::TLSv1_3)
    );
}

#[test]
fn a_host_is_known_by_its_number_and_serial() {
    let authority = Fixture::new().open();
    let key = KeyPair::generate().unwrap();
    let issued = authority
        .issue_host(&super::csr(&key), HostId(17), days(0))
        .unwrap();
    let agent = Agent {
        chain: chain(&issued.chain_pem),
        key,
    };
    let met = meet(
        agent.client(&authority, days(1)),
        &server_at(&authority, days(1)),
    );
    let expected = Peer::Host {
        host: HostId(17),
        serial: issued.serial,
        not_after_s: days(30),
        expired: false,
    };
    assert_eq!(met.peer(days(1)), expected);
    assert!(met.client.is_ok());
}

#[test]
fn the_leaf_alone_is_enough() {
    let authority = Fixture::new().open();
    let mut agent = Agent::enrolled(&authority, 17, days(0));
    agent.chain.truncate(1);
    let met = meet(
        agent.client(&authority, days(1)),
        &server_at(&authority, days(1)),
    );
    assert!(matches!(
        met.peer(days(1)),
        Peer::Host {
            host: HostId(17),
            ..
        }
    ));
}

#[test]
fn an_expired_host_is_let_in_as_expired_for_180_days() {
    let authority = Fixture::new().open();
    let agent = Agent::enrolled(&authority, 17, days(0));
    for (now_s, through) in [(days(30), false), (days(30) + 1, true), (days(210), true)] {
        authority.issue_server(now_s).unwrap();
        let met = meet(
            agent.client(&authority, now_s),
            &server_at(&authority, now_s),
        );
        let Peer::Host { host, expired, .. } = met.peer(now_s) else {
            panic!("anonymous")
        };
        assert_eq!((host, expired), (HostId(17), through));
    }
    authority.issue_server(days(210)).unwrap();
    let met = meet(
        agent.client(&authority, days(210)),
        &server_at(&authority, days(210) + 1),
    );
    let told = met.client.as_ref().map(|_| "accepted").unwrap_err().clone();
    assert_eq!(
        told,
        Error::AlertReceived(AlertDescription::CertificateExpired)
    );
    assert_eq!(
        met.refusal(),
        Error::InvalidCertificate(CertificateError::Expired)
    );
}

#[test]
fn a_certificate_whose_time_has_not_begun_is_refused() {
    let authority = Fixture::new().open();
    let agent = Agent::enrolled(&authority, 17, days(10));
    let met = meet(
        agent.client(&authority, days(0)),
        &server_at(&authority, days(9)),
    );
    assert_eq!(
        met.refusal(),
        Error::InvalidCertificate(CertificateError::NotValidYet)
    );
    let hour_before = days(10) - 3600;
    let met = meet(
        agent.client(&authority, days(0)),
        &server_at(&authority, hour_before),
    );
    assert!(met.server.is_ok());
}

#[test]
fn a_certificate_of_another_authority_is_refused_whatever_it_says() {
    let (ours, theirs) = (Fixture::new().open(), Fixture::new().open());
    let agent = Agent::enrolled(&theirs, 17, days(0));
    let met = meet(agent.client(&ours, days(0)), &server_at(&ours, days(0)));
    assert_eq!(
        met.refusal(),
        Error::InvalidCertificate(CertificateError::UnknownIssuer)
    );
}

#[test]
fn a_forged_issuer_with_the_right_name_is_refused() {
    let authority = Fixture::new().open();
    let real = Agent::enrolled(&authority, 17, days(0));
    // The forger copies the intermediate's name and key identifier, with a key of its own.
    let issuer_key = KeyPair::generate().unwrap();
    let forged = Issuer::from_ca_cert_der(&real.chain[1], issuer_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = certificate::host(HostId(17), days(0))
        .unwrap()
        .signed_by(&key, &forged)
        .unwrap();
    let agent = Agent {
        chain: vec![leaf.der().clone(), real.chain[1].clone()],
        key,
    };
    let met = meet(
        agent.client(&authority, days(0)),
        &server_at(&authority, days(0)),
    );
    assert_eq!(
        met.refusal(),
        Error::InvalidCertificate(CertificateError::BadSignature)
    );
}

#[test]
fn an_intermediate_that_the_root_signed_for_someone_else_is_not_ours() {
    let (fixture, elsewhere) = (Fixture::new(), Fixture::empty());
    let authority = fixture.open();
    // The same root signs an intermediate for another controller's folder.
    std::fs::copy(
        fixture.online().join("root.pem"),
        elsewhere.online().join("root.pem"),
    )
    .unwrap();
    std::fs::create_dir(elsewhere.online().join("intermediates")).unwrap();
    let passphrases = &fixture.passphrases;
    Authority::rotate(
        elsewhere.online(),
        fixture.offline(),
        passphrases,
        &KeyPlace::SealedFile,
        &[],
        days(0),
    )
    .unwrap();
    let other = Authority::open(elsewhere.online(), &passphrases.online, days(0)).unwrap();
    let agent = Agent::enrolled(&other, 17, days(0));
    let met = meet(
        agent.client(&authority, days(0)),
        &server_at(&authority, days(0)),
    );
    assert_eq!(
        met.refusal(),
        Error::InvalidCertificate(CertificateError::UnknownIssuer)
    );
}

#[test]
fn someone_elses_certificate_is_useless_without_its_key() {
    let authority = Fixture::new().open();
    let victim = Agent::enrolled(&authority, 17, days(0));
    let key = KeyPair::generate().unwrap();
    let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let signer = rustls::crypto::ring::sign::any_supported_type(&private).unwrap();
    // rustls itself would not pair them, so the thief's client is built from parts.
    let pair = rustls::sign::CertifiedKey::new(victim.chain, signer);
    let resolver = rustls::sign::SingleCertAndKey::from(pair);
    let client = trusting(&authority, days(0)).with_client_cert_resolver(Arc::new(resolver));
    let met = meet(client, &server_at(&authority, days(0)));
    assert_eq!(
        met.refusal(),
        Error::InvalidCertificate(CertificateError::BadSignature)
    );
}

#[test]
fn certificates_for_one_side_do_not_serve_on_the_other() {
    let authority = Fixture::new().open();
    let host = Agent::enrolled(&authority, 17, days(0));
    let key = PrivateKeyDer::try_from(host.key.serialize_der()).unwrap();
    let posing = CertificateSlot::new(ServerIdentity::new(host.chain, &key).unwrap());
    let server = web_server_config(&posing).unwrap();
    let met = meet(anonymous(&authority, days(0)), &server);
    assert!(matches!(met.client, Err(Error::InvalidCertificate(_))));

    let key = KeyPair::generate().unwrap();
    let issued = signed_like_a_host(&authority, &key, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let agent = Agent {
        chain: vec![issued],
        key,
    };
    let met = meet(
        agent.client(&authority, days(0)),
        &server_at(&authority, days(0)),
    );
    assert_eq!(
        met.refusal(),
        Error::InvalidCertificate(CertificateError::InvalidPurpose)
    );
}

#[test]
fn a_certificate_that_names_no_host_or_two_is_refused() {
    let authority = Fixture::new().open();
    let uris: [&[&str]; 5] = [
        &[],
        &["xiezhi://host/17", "xiezhi://host/18"],
        &["https://host/17"],
        &["xiezhi://host/017"],
        &["xiezhi://host/-1"],
    ];
    for uris in uris {
        let key = KeyPair::generate().unwrap();
        let names = uris
            .iter()
            .map(|uri| SanType::URI((*uri).try_into().unwrap()));
        let issued = signed_like_a_host(&authority, &key, |params| {
            params.subject_alt_names = names.collect();
        });
        let agent = Agent {
            chain: vec![issued],
            key,
        };
        let met = meet(
            agent.client(&authority, days(0)),
            &server_at(&authority, days(0)),
        );
        let expected = CertificateError::ApplicationVerificationFailure;
        assert_eq!(
            met.refusal(),
            Error::InvalidCertificate(expected),
            "{uris:?}"
        );
    }
}

/// What our own intermediate would sign if it were careless.
fn signed_like_a_host(
    authority: &Authority,
    key: &KeyPair,
    change: impl FnOnce(&mut CertificateParams),
) -> CertificateDer<'static> {
    let mut params = certificate::host(HostId(17), days(0)).unwrap();
    change(&mut params);
    authority.sign_for_test(params, key)
}

#[test]
fn too_long_a_chain_is_refused_before_it_is_read() {
    let authority = Fixture::new().open();
    let mut agent = Agent::enrolled(&authority, 17, days(0));
    let filler = agent.chain[1].clone();
    agent.chain.resize(5, filler);
    let met = meet(
        agent.client(&authority, days(0)),
        &server_at(&authority, days(0)),
    );
    assert_eq!(
        met.refusal(),
        Error::InvalidCertificate(CertificateError::BadEncoding)
    );
}

#[test]
fn no_session_is_ever_resumed_so_every_connection_is_judged() {
    let authority = Fixture::new().open();
    let agent = Agent::enrolled(&authority, 17, days(0));
    let mut client = agent.client(&authority, days(0));
    client.resumption = Resumption::in_memory_sessions(8);
    client.alpn_protocols = vec![b"h2".to_vec()];
    let client = Arc::new(client);
    let server = server_at(&authority, days(0));
    for _ in 0..3 {
        let met = meet_as(
            Arc::clone(&client),
            &server,
            xiezhi_protocol::CONTROLLER_NAME,
        );
        let connection = met.client.unwrap();
        assert_eq!(connection.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(connection.tls13_tickets_received(), 0);
    }
}

#[test]
fn a_host_of_the_intermediate_before_stays_known_until_its_certificate_ends() {
    let fixture = Fixture::new();
    let agent = Agent::enrolled(&fixture.open(), 17, days(700));
    Authority::rotate(
        fixture.online(),
        fixture.offline(),
        &fixture.passphrases,
        &KeyPlace::SealedFile,
        &[],
        days(705),
    )
    .unwrap();
    let authority = fixture.open_at(days(705)).unwrap();
    let met = meet(
        agent.client(&authority, days(710)),
        &server_at(&authority, days(710)),
    );
    assert!(matches!(
        met.peer(days(710)),
        Peer::Host { expired: false, .. }
    ));
    // Its intermediate ended on day 730; as an expired one it still reaches renewal.
    authority.issue_server(days(800)).unwrap();
    let met = meet(
        agent.client(&authority, days(800)),
        &server_at(&authority, days(800)),
    );
    assert!(matches!(
        met.peer(days(800)),
        Peer::Host { expired: true, .. }
    ));
}

#[test]
fn a_certificate_that_outlives_its_intermediate_ends_with_it() {
    let authority = Fixture::new().open();
    let key = KeyPair::generate().unwrap();
    let issued = signed_like_a_host(&authority, &key, |params| {
        params.not_after = time::OffsetDateTime::from_unix_timestamp(days(2000)).unwrap();
    });
    let agent = Agent {
        chain: vec![issued],
        key,
    };
    let met = meet(
        agent.client(&authority, days(0)),
        &server_at(&authority, days(800)),
    );
    assert_eq!(
        met.refusal(),
        Error::InvalidCertificate(CertificateError::UnknownIssuer)
    );
}

#[test]
fn a_new_controller_certificate_shows_from_the_next_handshake_on() {
    let authority = Fixture::new().open();
    let server = server_at(&authority, days(61));
    let leaf = |met: super::Met| met.client.unwrap().peer_certificates().unwrap()[0].clone();
    let first = leaf(meet(anonymous(&authority, days(61)), &server));
    assert_eq!(leaf(meet(anonymous(&authority, days(61)), &server)), first);
    assert!(authority.server_certificate_due(days(61)));
    authority.issue_server(days(61)).unwrap();
    assert!(!authority.server_certificate_due(days(61)));
    assert_ne!(leaf(meet(anonymous(&authority, days(61)), &server)), first);
}

#[test]
fn the_browser_port_serves_its_names_and_files() {
    let names = ["monitor.gs-01.test", "127.0.0.1", "::1"];
    let authority = Fixture::for_names(&names).open();
    let names = names.map(str::to_owned);
    let slot = CertificateSlot::new(authority.issue_web(&names, days(0)).unwrap());
    let server = web_server_config(&slot).unwrap();
    let client = |protocol: &str| {
        let mut client = anonymous(&authority, days(0));
        client.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Arc::new(client)
    };
    for name in &names {
        let met = meet_as(client("http/1.1"), &server, name);
        assert_eq!(
            met.client.unwrap().alpn_protocol(),
            Some(&b"http/1.1"[..]),
            "{name}"
        );
    }
    let met = meet_as(client("h2"), &server, xiezhi_protocol::CONTROLLER_NAME);
    assert!(
        met.client.is_err(),
        "the browser's certificate is not the controller's"
    );
    let refused = authority
        .issue_web(&["not a name".to_owned()], days(0))
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "\"not a name\" is neither a DNS name nor an IP address"
    );

    let agent = Agent::enrolled(&authority, 17, days(0));
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    let pem: String = agent
        .chain
        .iter()
        .map(|der| to_pem("CERTIFICATE", der))
        .collect();
    std::fs::write(&certificate, pem).unwrap();
    std::fs::write(&key, agent.key.serialize_pem()).unwrap();
    assert_eq!(
        ServerIdentity::from_pem_files(&certificate, &key)
            .unwrap()
            .chain(),
        agent.chain
    );
    std::fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let refused = ServerIdentity::from_pem_files(&certificate, &key).unwrap_err();
    assert!(
        refused
            .to_string()
            .ends_with("does not belong to its certificate"),
        "{refused}"
    );
    let refused = ServerIdentity::from_pem_files(&key, &key).unwrap_err();
    assert!(
        refused.to_string().contains("no BEGIN CERTIFICATE"),
        "{refused}"
    );
}
