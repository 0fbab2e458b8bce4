//! The uplink's view of this host: where to connect, as whom, and what to say first.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use tracing::{error, info, warn};
use xiezhi_protocol::message::{Hello, Status};
use xiezhi_uplink::{Connector, Target};

use crate::clock::now_ms;
use crate::config::Config;
use crate::identity::{self, HostRecord, IdentityFiles, TrustedTime};
use crate::self_use::SelfUse;

/// Wait between two attempts to renew that failed.
const RENEW_RETRY_MS: i64 = 3_600_000;

/// This host's identity in use.
pub(crate) struct Link {
    files: IdentityFiles,
    time: Arc<TrustedTime>,
    interval_ms: u32,
    state: Mutex<State>,
}

struct State {
    record: HostRecord,
    /// The connection under way was made with the renewed certificate.
    trying_next: bool,
    used: SelfUse,
    /// Local clock of the next attempt to renew after a failure.
    renew_after_ms: i64,
    /// Short word of the controller's latest refusal; empty since the latest session.
    refused: String,
    /// A renewal that the controller asked for by refusing an expired certificate.
    renew_now: bool,
}

impl Link {
    /// Loads the identity below the state folder.
    pub(crate) fn open(config: &Config) -> Result<Self> {
        let files = IdentityFiles::below(&config.state_dir);
        files.mend()?;
        let record = files.record()?;
        let time = Arc::new(TrustedTime::open(files.path("time")));
        let state = State {
            record,
            trying_next: false,
            used: SelfUse::default(),
            refused: String::new(),
            renew_after_ms: 0,
            renew_now: false,
        };
        let interval_ms = u32::try_from(config.interval.as_millis()).unwrap_or(15_000);
        Ok(Self {
            files,
            time,
            interval_ms,
            state: Mutex::new(state),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the agent uses, for the next status.
    pub(crate) fn note_use(&self, used: SelfUse) {
        self.state().used = used;
    }

    /// Files whose change by anyone else is tampering.
    pub(crate) fn guarded_files(&self) -> Vec<PathBuf> {
        let own = std::env::current_exe().into_iter();
        let keys = [
            "key.pem",
            "chain.pem",
            "root.pem",
            "host.json",
            "evidence.key",
        ];
        let configuration = PathBuf::from(crate::config::DEFAULT_PATH);
        own.chain(keys.map(|name| self.files.path(name)))
            .chain([configuration])
            .collect()
    }

    /// What signs batches of security events as this host.
    pub(crate) fn evidence_signer(&self) -> Result<identity::EvidenceSigner> {
        let host = self.state().record.host.clone();
        identity::EvidenceSigner::load(&self.files, &host)
    }

    /// Renews at two thirds of the certificate's life; tells whether there is a new one.
    pub(crate) async fn renew_if_due(&self, local_ms: i64) -> bool {
        let due = {
            let state = self.state();
            let HostRecord {
                not_before_s,
                not_after_s,
                ..
            } = state.record;
            let due_s = not_before_s + (not_after_s - not_before_s) / 3 * 2;
            let waited = (state.renew_after_ms - local_ms).abs() > RENEW_RETRY_MS
                || local_ms >= state.renew_after_ms;
            (state.renew_now || self.time.now_s() >= due_s) && waited && !self.files.has_next()
        };
        if !due {
            return false;
        }
        match self.renew().await {
            Ok(()) => true,
            Err(error) => {
                warn!(
                    error = format!("{error:#}"),
                    "the certificate was not renewed, trying again in an hour"
                );
                self.state().renew_after_ms = local_ms + RENEW_RETRY_MS;
                false
            }
        }
    }

    /// Renews now.
    pub(crate) async fn renew(&self) -> Result<()> {
        let record = self.state().record.clone();
        identity::renew(&self.files, &record, &self.time).await?;
        self.state().renew_now = false;
        info!("the certificate was renewed");
        Ok(())
    }

    /// A session was opened with the renewed certificate: it is the one in use from now on.
    fn adopt(&self) -> Result<()> {
        self.files.adopt_next()?;
        let record = self.files.record()?;
        let mut state = self.state();
        state.record = record;
        state.trying_next = false;
        Ok(())
    }

    /// Short word with which the controller refuses this host, such as `revoked`; empty if not.
    pub(crate) fn refusal(&self) -> String {
        self.state().refused.clone()
    }

    fn make_target(&self) -> Result<Target> {
        let next = self.files.has_next();
        let credentials = self.files.credentials(if next { "next-" } else { "" })?;
        let anchor = identity::Anchor::Root(self.files.root()?);
        let tls = identity::tls_config(anchor, Arc::clone(&self.time), Some(credentials))?;
        let mut state = self.state();
        state.trying_next = next;
        Ok(Target {
            address: state.record.controller.clone(),
            tls: Arc::new(tls),
        })
    }
}

impl Connector for Link {
    fn target(&self) -> Result<Target, String> {
        self.make_target().map_err(|error| format!("{error:#}"))
    }

    fn hello(&self) -> Hello {
        let state = self.state();
        let boot_id =
            std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Hello {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            hostname: identity::hostname(),
            boot_id: boot_id.trim().to_owned(),
            machine: identity::machine_digest(),
            interval_ms: self.interval_ms,
            policy_root: state.record.policy_root.clone(),
            certificate_expires_s: state.record.not_after_s,
            ..Hello::default()
        }
    }

    fn status(&self) -> Status {
        let state = self.state();
        Status {
            memory_bytes: state.used.memory_bytes,
            cpu_ms: state.used.cpu_ms,
            certificate_expires_s: state.record.not_after_s,
            ..Status::default()
        }
    }

    fn now_ms(&self) -> i64 {
        now_ms()
    }

    fn welcomed(&self, time_ms: i64) {
        let adopt = {
            let mut state = self.state();
            state.refused.clear();
            state.trying_next
        };
        let kept = self
            .time
            .learn(time_ms)
            .and_then(|()| if adopt { self.adopt() } else { Ok(()) });
        if let Err(error) = kept {
            error!(
                error = format!("{error:#}"),
                "the identity could not be updated"
            );
        }
    }

    fn refused(&self, code: &str, detail: &str) {
        let mut state = self.state();
        warn!(code, detail, "the controller refuses this host");
        code.clone_into(&mut state.refused);
        match code {
            "certificate_expired" => {
                // A renewed one that ended before it was ever used would hold up the renewal.
                if state.trying_next {
                    self.files.discard_next();
                    state.trying_next = false;
                }
                state.renew_now = true;
            }
            // A renewed certificate that the controller does not know: its database is older.
            _ if state.trying_next => self.files.discard_next(),
            _ => {}
        }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Link").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_795_300_000_000;

    /// A host whose controller cannot be reached, with a renewed certificate that was never used.
    fn link(folder: &std::path::Path) -> Link {
        let files = IdentityFiles::below(folder);
        files.create().unwrap();
        let record = HostRecord {
            host: "1".to_owned(),
            site: "s".to_owned(),
            controller: "127.0.0.1:1".to_owned(),
            policy_root: String::new(),
            not_before_s: 0,
            // Not due by itself: only the controller's word makes it so.
            not_after_s: NOW_MS,
        };
        for root in [true, false] {
            let key = rcgen::KeyPair::generate().unwrap();
            let parameters = rcgen::CertificateParams::new(vec!["host".to_owned()]).unwrap();
            let certificate = parameters.self_signed(&key).unwrap().pem();
            let root = root.then_some(certificate.as_str());
            let key = key.serialize_pem();
            files.write_next(&key, &certificate, root, &record).unwrap();
            if root.is_some() {
                files.adopt_next().unwrap();
            }
        }
        let state_dir = folder.to_owned();
        let config = Config {
            state_dir,
            ..Config::default()
        };
        Link::open(&config).unwrap()
    }

    #[tokio::test]
    async fn a_renewed_certificate_that_ended_unused_does_not_hold_up_another_renewal() {
        let folder = tempfile::tempdir().unwrap();
        let link = link(folder.path());
        link.make_target().unwrap();
        link.refused("certificate_expired", "it has ended");
        assert!(!link.files.has_next());
        // What is tried next is the one in use, which still reaches the renewal.
        link.make_target().unwrap();
        assert!(!link.state().trying_next);
        assert!(!link.renew_if_due(NOW_MS).await, "nobody is there to renew");
        let state = link.state();
        assert!(state.renew_now, "the wish must outlive the failure");
        assert_eq!(
            state.renew_after_ms,
            NOW_MS + RENEW_RETRY_MS,
            "a renewal must have been tried"
        );
    }

    #[test]
    fn a_renewed_certificate_that_the_controller_does_not_know_is_dropped_for_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let link = link(folder.path());
        link.make_target().unwrap();
        link.refused("unknown_certificate", "restored from a backup");
        assert!(!link.files.has_next());
        assert!(!link.state().renew_now);
        link.make_target().unwrap();
        assert!(!link.state().trying_next);
    }

    #[test]
    fn a_refusal_of_the_certificate_in_use_leaves_a_renewed_one_alone() {
        let folder = tempfile::tempdir().unwrap();
        let link = link(folder.path());
        link.refused("revoked", "by hand");
        assert!(link.files.has_next());
        link.make_target().unwrap();
        assert!(link.state().trying_next);
    }
}
