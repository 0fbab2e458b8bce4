//! `evidence`: proof of what hosts reported, and the check that it stands unchanged.
//!
//! Everything here only reads. What `export` writes can be checked without this program, with
//! `sha256sum` and `openssl`; the procedure is in the README.txt beside it.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use xiezhi_evidence::PublicKey;
use xiezhi_model::HostId;
use xiezhi_store::{AuditVerdict, EventProof, EvidenceQuery, EvidenceReport, Store};

use super::{local_time, open_store};
use crate::cli::Evidence;
use crate::clock::now_ms;
use crate::config::Config;
use crate::terminal::say;

/// What lies beside an exported event.
const README: &str = include_str!("evidence_readme.txt");

/// Does what `evidence …` asks.
pub(super) async fn run(config: &Config, what: Evidence) -> Result<()> {
    let store = open_store(config).await?;
    let done = match what {
        Evidence::Verify { host, from } => {
            let query = EvidenceQuery {
                host: host.map(HostId),
                from_ms: from,
            };
            verify(&store, &query).await
        }
        Evidence::Export { event, to } => export(&store, event, &to).await,
    };
    store.close().await;
    done
}

async fn verify(store: &Store, query: &EvidenceQuery) -> Result<()> {
    let audit = store.verify_audit().await?;
    let report = store.verify_evidence(query, now_ms()).await?;
    show(&report);
    match audit {
        AuditVerdict::Intact { position, hash } => {
            say!("audit record: {position} entries, unbroken; head {hash}");
        }
        AuditVerdict::Broken { position, reason } => {
            bail!("the audit record is broken at entry {position}: {reason}");
        }
    }
    ensure!(report.failed == 0, "{} things do not hold", report.failed);
    say!("everything holds; compare the heads with ones that were kept elsewhere");
    Ok(())
}

fn show(report: &EvidenceReport) {
    match &report.head {
        None => say!("chain: no batch of security events yet"),
        Some((position, hash)) => say!(
            "chain: {} links, places {} to {position}; head {hash}",
            report.links,
            report.first
        ),
    }
    if report.first > 1 {
        let before = report.first - 1;
        say!("       places 1 to {before} are not kept any more");
    }
    say!(
        "       {} heads in the audit record compared",
        report.anchors
    );
    say!(
        "looked into {} batches: {} signed, {} unsigned, {} with a wrong signature",
        report.batches,
        report.good,
        report.missing,
        report.bad
    );
    say!("compared {} events with what was signed", report.events);
    for failure in &report.failures {
        let host = failure.host.map(|host| format!(", host {host}"));
        let host = host.unwrap_or_default();
        say!(
            "does not hold: place {}{host}: {}",
            failure.position,
            failure.what
        );
    }
    let unlisted = report.failed - report.failures.len() as u64;
    if unlisted > 0 {
        say!("and {unlisted} more");
    }
}

async fn export(store: &Store, event: i64, to: &Path) -> Result<()> {
    let Some(proof) = store.event_proof(event).await? else {
        bail!(
            "there is no proof of event {event}: only security events have one, and only those \
             that came since the controller keeps proofs"
        );
    };
    write(&proof, event, to)?;
    let signature = proof.signature.word();
    say!(
        "event {event} of host {} is in {}; its signature is {signature}; README.txt there says \
         how to check it",
        proof.host,
        to.display()
    );
    Ok(())
}

/// Writes the files of one proof into a new folder.
fn write(proof: &EventProof, event: i64, to: &Path) -> Result<()> {
    DirBuilder::new()
        .mode(0o700)
        .create(to)
        .with_context(|| format!("making {}: it must not be there yet", to.display()))?;
    put(to, "content.json", &proof.content)?;
    put(to, "batch.bin", &proof.batch)?;
    put(to, "record.bin", &proof.record.canonical_bytes())?;
    put(to, "detail.txt", proof.detail.as_bytes())?;
    if let (Some(text), Some(signature)) = (&proof.signed_text, &proof.signature_bytes) {
        put(to, "signed.txt", text.as_bytes())?;
        put(to, "signature.bin", signature)?;
    }
    if let Some(key) = PublicKey::from_hex(&proof.evidence_key) {
        put(to, "key.pem", key.to_pem().as_bytes())?;
    }
    put(to, "proof.txt", describe(proof, event).as_bytes())?;
    put(to, "README.txt", README.as_bytes())
}

/// What the files cannot say of themselves.
fn describe(proof: &EventProof, event: i64) -> String {
    let record = &proof.record;
    let mut text = String::new();
    let lines = [
        ("event", event.to_string()),
        ("place in content.json", format!("{} (from 0)", proof.index)),
        ("host", proof.host.to_string()),
        ("signature when it came", proof.signature.word().to_owned()),
        ("public key", proof.evidence_key.clone()),
        ("stored", local_time(record.time_ms)),
        ("counted in epoch", proof.epoch.to_string()),
        ("place in the chain", record.seq.to_string()),
        ("hash of the place before", record.previous.to_string()),
        ("hash of this place", record.hash.to_string()),
    ];
    for (name, value) in lines {
        text.push_str(&format!("{name:<26}{value}\n"));
    }
    text
}

fn put(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = folder.join(name);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let written = options.open(&path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use xiezhi_evidence::{Entry, Head, append, signed_text};
    use xiezhi_model::Signature;
    use xiezhi_protocol::batch::{Stream, read_events};

    use super::*;

    /// A batch as version 0.1 signed it, with the key of seed 7.
    const KEPT: &[u8] = include_bytes!("../../../../agent/protocol/tests/kept/events-v2.bin");
    const KEY: &str = "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c";

    fn proof() -> EventProof {
        let read = read_events(KEPT).unwrap();
        let detail = "signature=good events=1+2 sha256=…".to_owned();
        let entry = Entry {
            time_ms: 1_790_000_002_000,
            actor: "host:17",
            action: "batch",
            subject: "security/3/42",
            detail: detail.as_bytes(),
        };
        EventProof {
            host: HostId(17),
            signature: Signature::Good,
            batch: KEPT.to_vec(),
            signed_text: signed_text(Stream::Security, &read),
            signature_bytes: read.signature.map(|signature| signature.bytes.to_vec()),
            evidence_key: KEY.to_owned(),
            epoch: 3,
            record: append(&Head::genesis("security"), &entry).unwrap(),
            detail,
            index: 1,
            content: read.content,
        }
    }

    /// Runs a line of the README in the folder; `None` where the tool is not installed.
    fn run(folder: &Path, line: &str) -> Option<(bool, String)> {
        let mut words = line.split_whitespace();
        let output = Command::new(words.next().unwrap())
            .args(words)
            .current_dir(folder)
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Some((output.status.success(), text))
    }

    #[test]
    fn an_exported_event_is_checked_with_the_tools_that_the_readme_names() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("proof");
        let proof = proof();
        write(&proof, 2, &to).unwrap();
        assert!(write(&proof, 2, &to).is_err(), "nothing is overwritten");
        let line = |begin: &str| {
            let line = README.lines().find(|line| line.trim().starts_with(begin));
            line.unwrap().trim().to_owned()
        };
        let verify = line("openssl pkeyutl");
        let Some((holds, _)) = run(&to, &verify) else {
            xiezhi_test_skip::skip("openssl is not installed: apt-get install openssl");
            return;
        };
        assert!(holds);
        let (_, digest) = run(&to, &line("sha256sum content.json")).unwrap();
        let digest = digest.split_whitespace().next().unwrap();
        assert!(
            proof
                .signed_text
                .unwrap()
                .contains(&format!("sha256 {digest}\n"))
        );
        let (_, digest) = run(&to, &line("sha256sum record.bin")).unwrap();
        assert!(digest.starts_with(&proof.record.hash.to_string()));
        // Any other text, content or key does not hold.
        std::fs::write(to.join("signed.txt"), "xiezhi-batch-1\n").unwrap();
        assert!(!run(&to, &verify).unwrap().0);
    }

    #[test]
    fn a_batch_without_a_signature_is_exported_as_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("proof");
        let unsigned = EventProof {
            signature: Signature::Missing,
            signed_text: None,
            signature_bytes: None,
            ..proof()
        };
        write(&unsigned, 2, &to).unwrap();
        assert!(!to.join("signature.bin").exists());
        let text = std::fs::read_to_string(to.join("proof.txt")).unwrap();
        assert!(text.contains("missing"), "{text}");
    }
}
