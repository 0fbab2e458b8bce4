//! Making, keeping and replacing the authority's files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DnType,
    IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P384_SHA384,
};
use time::OffsetDateTime;
use xiezhi_model::HostId;

use super::{Fixture, csr, days};
use crate::{Authority, IdentityError, KeyPlace, Passphrase};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn with_extension(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(folder.join("intermediates"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect()
}

fn key_of(fixture: &Fixture) -> PathBuf {
    let [key] = with_extension(fixture.online(), "key").try_into().unwrap();
    key
}

#[test]
fn keys_are_sealed_private_and_the_roots_is_offline_only() {
    let fixture = Fixture::new();
    let online_key = key_of(&fixture);
    let offline_key = fixture.offline().join("root.key");
    for key in [&online_key, &offline_key] {
        assert_eq!(mode(key), 0o600);
        let content = fs::read(key).unwrap();
        assert_eq!(content[0], 1, "format version");
        assert!(!content.windows(7).any(|bytes| bytes == b"PRIVATE"));
    }
    assert_eq!(mode(&fixture.online().join("intermediates")), 0o700);
    assert!(!fixture.online().join("root.key").exists());
    assert_eq!(
        fs::read(fixture.online().join("root.pem")).unwrap(),
        fs::read(fixture.offline().join("root.pem")).unwrap()
    );
}

#[test]
fn an_authority_is_never_overwritten() {
    let (fixture, other) = (Fixture::new(), Fixture::empty());
    for (online, offline) in [
        (fixture.online(), fixture.offline()),
        (fixture.online(), other.offline()),
        (other.online(), fixture.offline()),
    ] {
        let again = Authority::init(online, offline, &fixture.passphrases, days(0)).unwrap_err();
        assert!(
            matches!(again, IdentityError::AlreadyInitialised { .. }),
            "{again}"
        );
    }
    let same = Authority::init(other.online(), other.online(), &other.passphrases, days(0));
    assert!(matches!(same, Err(IdentityError::SameFolder)));
    assert!(fixture.open_at(days(0)).is_ok());
}

#[test]
fn an_empty_folder_says_how_to_begin() {
    let fixture = Fixture::empty();
    let error = fixture.open_at(days(0)).unwrap_err();
    assert!(
        error.to_string().contains("xiezhi-controller init"),
        "{error}"
    );
    let rotate = Authority::rotate(
        fixture.online(),
        fixture.offline(),
        &fixture.passphrases,
        &KeyPlace::SealedFile,
        &[],
        days(0),
    );
    assert!(matches!(rotate, Err(IdentityError::NotInitialised { .. })));
}

#[test]
fn a_wrong_passphrase_and_a_damaged_key_are_told_apart() {
    let fixture = Fixture::new();
    let wrong = Authority::open(fixture.online(), &fixture.passphrases.offline, days(0));
    assert!(matches!(wrong, Err(IdentityError::WrongPassphrase { .. })));
    let path = key_of(&fixture);
    let content = fs::read(&path).unwrap();
    let mut changed = content.clone();
    changed[60] ^= 1;
    for damaged in [&changed[..], &content[..40], b"", b"\x09newer"] {
        fs::write(&path, damaged).unwrap();
        let error = fixture.open_at(days(0)).unwrap_err();
        assert!(matches!(error, IdentityError::KeyDamaged { .. }), "{error}");
    }
    fs::write(&path, &content).unwrap();
    assert!(fixture.open_at(days(0)).is_ok());
}

#[test]
fn a_key_that_others_may_read_is_not_used() {
    let fixture = Fixture::new();
    for loose in [0o640, 0o604, 0o660] {
        fs::set_permissions(key_of(&fixture), fs::Permissions::from_mode(loose)).unwrap();
        let error = fixture.open_at(days(0)).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
}

#[test]
fn a_key_of_another_certificate_is_not_used() {
    let (fixture, other) = (Fixture::new(), Fixture::new());
    fs::copy(key_of(&other), key_of(&fixture)).unwrap();
    let error = fixture.open_at(days(0)).unwrap_err();
    assert!(
        matches!(error, IdentityError::KeyMismatch { .. }),
        "{error}"
    );
}

#[test]
fn a_damaged_certificate_is_named() {
    let fixture = Fixture::new();
    fs::write(
        fixture.online().join("root.pem"),
        "-----BEGIN CERTIFICATE-----\nnonsense",
    )
    .unwrap();
    let error = fixture.open_at(days(0)).unwrap_err();
    assert!(error.to_string().contains("root.pem"), "{error}");
}

#[test]
fn a_rotation_issues_from_a_new_intermediate_of_the_same_root() {
    let fixture = Fixture::new();
    let before = fixture.open();
    let summary = Authority::rotate(
        fixture.online(),
        fixture.offline(),
        &fixture.passphrases,
        &KeyPlace::SealedFile,
        &[],
        days(600),
    )
    .unwrap();
    assert_eq!(summary.intermediate_not_after_s, days(600 + 730));
    let after = fixture.open_at(days(600)).unwrap();
    assert_eq!(after.root_fingerprint(), before.root_fingerprint());
    assert_eq!(after.intermediate_not_after_s(), days(600 + 730));
    assert_eq!(with_extension(fixture.online(), "pem").len(), 2);
    assert_eq!(
        with_extension(fixture.online(), "key").len(),
        1,
        "the old key is gone"
    );
}

#[test]
fn a_rotation_with_a_clock_that_ran_ahead_before_still_counts() {
    let fixture = Fixture::empty();
    Authority::init(
        fixture.online(),
        fixture.offline(),
        &fixture.passphrases,
        days(400),
    )
    .unwrap();
    Authority::rotate(
        fixture.online(),
        fixture.offline(),
        &fixture.passphrases,
        &KeyPlace::SealedFile,
        &[],
        days(0),
    )
    .map(|summary| assert_eq!(summary.intermediate_not_after_s, days(730)))
    .unwrap();
    // The certificate begins when its root does, for webpki checks no more than that.
    let authority = fixture.open_at(days(500)).unwrap();
    assert_eq!(authority.intermediate_not_after_s(), days(730));
}

#[test]
fn a_rotation_that_stopped_half_way_changes_nothing() {
    let fixture = Fixture::new();
    let stray = fixture.online().join("intermediates").join("00ff.key");
    fs::write(&stray, b"written just before the power went").unwrap();
    assert_eq!(fixture.open().intermediate_not_after_s(), days(730));
}

#[test]
fn a_rotation_needs_the_same_root_and_its_passphrase() {
    let (fixture, other) = (Fixture::new(), Fixture::new());
    let rotate = |offline: &Path, passphrases| {
        Authority::rotate(
            fixture.online(),
            offline,
            passphrases,
            &KeyPlace::SealedFile,
            &[],
            days(1),
        )
        .unwrap_err()
    };
    let error = rotate(other.offline(), &fixture.passphrases);
    assert!(matches!(error, IdentityError::OtherRoot { .. }), "{error}");
    let mut passphrases = fixture.passphrases.clone();
    passphrases.offline = Passphrase::new("something else").unwrap();
    let error = rotate(fixture.offline(), &passphrases);
    assert!(
        matches!(error, IdentityError::WrongPassphrase { .. }),
        "{error}"
    );
}

/// A root that someone else keeps, on another curve than ours.
struct ExternalRoot(CertifiedIssuer<'static, KeyPair>);

impl ExternalRoot {
    fn new() -> Self {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "Provincial Root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn sign(&self, csr_pem: &str, change: impl FnOnce(&mut CertificateParams)) -> String {
        let mut request = CertificateSigningRequestParams::from_pem(csr_pem).unwrap();
        request.params.not_before = OffsetDateTime::from_unix_timestamp(days(0)).unwrap();
        request.params.not_after = OffsetDateTime::from_unix_timestamp(days(365)).unwrap();
        change(&mut request.params);
        request.signed_by(&self.0).unwrap().pem()
    }
}

#[test]
fn a_root_held_elsewhere_signs_our_intermediate() {
    let fixture = Fixture::empty();
    let root = ExternalRoot::new();
    let passphrase = &fixture.passphrases.online;
    let request =
        Authority::request(fixture.online(), passphrase, &KeyPlace::SealedFile, days(0)).unwrap();
    assert_eq!(mode(&fixture.online().join("pending.key")), 0o600);
    let signed = root.sign(&request, |_| {});
    let import = |root: Option<&str>, now_s| {
        Authority::import(fixture.online(), passphrase, &signed, root, now_s)
    };
    let error = import(None, days(1)).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("give the root's certificate too"),
        "{error}"
    );
    let summary = import(Some(&root.pem()), days(1)).unwrap();
    assert_eq!(summary.intermediate_not_after_s, days(365));
    let authority = fixture.open_at(days(1)).unwrap();
    assert_eq!(
        authority.root_pem().trim(),
        root.pem().trim().replace("\r\n", "\n")
    );
    let key = KeyPair::generate().unwrap();
    assert!(authority.issue_host(&csr(&key), HostId(1), days(1)).is_ok());
    assert!(!fixture.online().join("pending.key").exists());
    // What the external root does not forbid is allowed, as with an intermediate of earlier releases.
    assert!(authority.permits("monitor.test") && authority.permits("10.0.0.1"));

    // A second round needs no root certificate and replaces the intermediate.
    let request = Authority::request(
        fixture.online(),
        passphrase,
        &KeyPlace::SealedFile,
        days(300),
    )
    .unwrap();
    let signed = root.sign(&request, |params| {
        params.not_before = OffsetDateTime::from_unix_timestamp(days(300)).unwrap();
        params.not_after = OffsetDateTime::from_unix_timestamp(days(900)).unwrap();
    });
    Authority::import(fixture.online(), passphrase, &signed, None, days(300)).unwrap();
    let authority = fixture.open_at(days(300)).unwrap();
    assert_eq!(authority.intermediate_not_after_s(), days(900));
}

#[test]
fn a_request_asked_for_twice_keeps_its_key() {
    let fixture = Fixture::empty();
    let passphrase = &fixture.passphrases.online;
    let root = ExternalRoot::new();
    let first =
        Authority::request(fixture.online(), passphrase, &KeyPlace::SealedFile, days(0)).unwrap();
    Authority::request(fixture.online(), passphrase, &KeyPlace::SealedFile, days(0)).unwrap();
    let signed = root.sign(&first, |_| {});
    let import = Authority::import(
        fixture.online(),
        passphrase,
        &signed,
        Some(&root.pem()),
        days(1),
    );
    assert!(import.is_ok(), "{import:?}");
    let other = Passphrase::new("something else").unwrap();
    Authority::request(fixture.online(), passphrase, &KeyPlace::SealedFile, days(2)).unwrap();
    let error =
        Authority::request(fixture.online(), &other, &KeyPlace::SealedFile, days(2)).unwrap_err();
    assert!(
        matches!(error, IdentityError::WrongPassphrase { .. }),
        "{error}"
    );
}

#[test]
fn an_import_says_which_check_failed_and_changes_nothing() {
    let fixture = Fixture::empty();
    let passphrase = &fixture.passphrases.online;
    let (root, stranger) = (ExternalRoot::new(), ExternalRoot::new());
    let import = |signed: &str, root: &str| {
        Authority::import(fixture.online(), passphrase, signed, Some(root), days(1))
            .unwrap_err()
            .to_string()
    };
    assert!(import("", &root.pem()).contains("run `ca request` first"));
    let request =
        Authority::request(fixture.online(), passphrase, &KeyPlace::SealedFile, days(0)).unwrap();
    let elsewhere = Fixture::empty();
    let other = Authority::request(
        elsewhere.online(),
        passphrase,
        &KeyPlace::SealedFile,
        days(0),
    )
    .unwrap();
    let moment = |day| OffsetDateTime::from_unix_timestamp(days(day)).unwrap();
    let good = root.sign(&request, |_| {});
    let cases = [
        ("", root.pem(), "not a PEM certificate"),
        (&good, String::new(), "the root is not a PEM certificate"),
        (
            &root.sign(&other, |_| {}),
            root.pem(),
            "not made for the key",
        ),
        (
            &root.sign(&request, |params| params.is_ca = IsCa::NoCa),
            root.pem(),
            "CA:TRUE",
        ),
        (
            &root.sign(&request, |params| {
                params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            }),
            root.pem(),
            "keyCertSign",
        ),
        (
            &root.sign(&request, |params| params.not_after = moment(0)),
            root.pem(),
            "it ended on",
        ),
        (
            &root.sign(&request, |params| params.not_before = moment(2)),
            root.pem(),
            "it begins on",
        ),
        (&good, stranger.pem(), "the root did not sign it"),
        (&good, good.clone(), "the root is not self-signed"),
        (
            &root.sign(&request, |params| {
                params.name_constraints = Some(rcgen::NameConstraints {
                    permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("court.test".into())],
                    excluded_subtrees: vec![],
                });
            }),
            root.pem(),
            "agents would refuse it",
        ),
    ];
    for (signed, root, expected) in cases {
        let error = import(signed, &root);
        assert!(error.contains(expected), "{error} should say {expected}");
        assert!(!fixture.online().join("root.pem").exists());
        assert!(fixture.online().join("pending.key").exists());
    }
    let summary = Authority::import(
        fixture.online(),
        passphrase,
        &good,
        Some(&root.pem()),
        days(1),
    );
    assert!(summary.is_ok(), "{summary:?}");
}

#[test]
fn the_root_is_proved_by_its_folder_and_passphrase_together() {
    let (fixture, other) = (Fixture::new(), Fixture::new());
    let prove = |offline: &Path, passphrase: &Passphrase| {
        Authority::prove_root(fixture.online(), offline, passphrase)
    };
    prove(fixture.offline(), &fixture.passphrases.offline).unwrap();
    for (offline, passphrase) in [
        (other.offline(), &other.passphrases.offline),
        (fixture.offline(), &fixture.passphrases.online),
        (fixture.online(), &fixture.passphrases.online),
    ] {
        assert!(prove(offline, passphrase).is_err());
    }
}
