//! What the authority puts into certificates, and until when.

use rcgen::{CertificateParams, IsCa, KeyPair, PublicKeyData};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use xiezhi_model::HostId;

use super::{Fixture, chain, csr, days};
use crate::certificate::HOUR_S;
use crate::{Authority, IdentityError};

#[test]
fn a_host_certificate_lasts_30_days_from_an_hour_ago() {
    let authority = Fixture::new().open();
    let key = KeyPair::generate().unwrap();
    let issued = authority
        .issue_host(&csr(&key), HostId(17), days(5))
        .unwrap();
    assert_eq!(
        (issued.not_before_s, issued.not_after_s),
        (days(5) - HOUR_S, days(35))
    );
    assert_eq!(issued.serial.len(), 32);
    let again = authority
        .issue_host(&csr(&key), HostId(17), days(5))
        .unwrap();
    assert_ne!(again.serial, issued.serial);
}

#[test]
fn of_a_request_only_the_public_key_is_used() {
    let authority = Fixture::new().open();
    let key = KeyPair::generate().unwrap();
    let mut greedy = CertificateParams::new(vec!["controller.xiezhi.internal".to_owned()]).unwrap();
    greedy.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    greedy.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let request = greedy.serialize_request(&key).unwrap().pem().unwrap();
    let issued = authority.issue_host(&request, HostId(17), days(0)).unwrap();
    let leaf = &chain(&issued.chain_pem)[0];
    let (_, leaf) = X509Certificate::from_der(leaf).unwrap();
    assert!(!leaf.is_ca());
    assert_eq!(leaf.public_key().raw, key.subject_public_key_info());
    assert_eq!(leaf.subject().to_string(), "CN=17");
    let names = &leaf
        .subject_alternative_name()
        .unwrap()
        .unwrap()
        .value
        .general_names;
    assert_eq!(names, &[GeneralName::URI("xiezhi://host/17")]);
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth && !usage.any);
}

#[test]
fn nothing_outlives_the_intermediate() {
    let fixture = Fixture::new();
    let authority = fixture.open();
    assert_eq!(authority.intermediate_not_after_s(), days(730));
    let key = KeyPair::generate().unwrap();
    let issued = authority
        .issue_host(&csr(&key), HostId(17), days(720))
        .unwrap();
    assert_eq!(issued.not_after_s, days(730));
    for late in [days(730), days(800)] {
        let refused = authority
            .issue_host(&csr(&key), HostId(17), late)
            .unwrap_err();
        assert!(matches!(refused, IdentityError::IntermediateEnded { .. }));
        assert!(refused.to_string().contains("ca rotate"), "{refused}");
        assert!(matches!(
            authority.issue_server(late),
            Err(IdentityError::IntermediateEnded { .. })
        ));
        assert!(matches!(
            fixture.open_at(late),
            Err(IdentityError::IntermediateEnded { .. })
        ));
    }
    let early = fixture.open_at(days(-1)).unwrap_err();
    assert!(
        matches!(early, IdentityError::IntermediateNotBegun { .. }),
        "{early}"
    );
}

#[test]
fn the_controller_certificate_is_due_after_two_thirds_of_90_days() {
    let authority = Fixture::new().open();
    assert!(!authority.server_certificate_due(days(0)));
    assert!(!authority.server_certificate_due(days(59)));
    assert!(authority.server_certificate_due(days(61)));
    authority.issue_server(days(61)).unwrap();
    assert!(!authority.server_certificate_due(days(120)));
}

#[test]
fn the_fingerprint_is_that_of_the_root_file() {
    let fixture = Fixture::new();
    let authority = fixture.open();
    let file = std::fs::read_to_string(fixture.online().join("root.pem")).unwrap();
    assert_eq!(authority.root_pem(), file);
    let digest = ring::digest::digest(&ring::digest::SHA256, &chain(&file)[0]);
    assert_eq!(authority.root_fingerprint(), digest.as_ref());
    assert_eq!(
        Authority::root_fingerprint_of(fixture.online()).unwrap(),
        authority.root_fingerprint()
    );
    let nothing = Authority::root_fingerprint_of(fixture.offline().join("x").as_path());
    assert!(matches!(nothing, Err(IdentityError::NotInitialised { .. })));
}
