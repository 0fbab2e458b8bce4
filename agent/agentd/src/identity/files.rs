//! The identity folder: what is in it, and writing it so that a crash leaves the old or the new.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};

/// What the host knows of itself; not secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HostRecord {
    /// Identifier that the controller gave.
    pub(crate) host: String,
    /// Name of the site, for a person.
    pub(crate) site: String,
    /// Address of the controller, `host:port`.
    pub(crate) controller: String,
    /// Fingerprint of the policy root that was installed with `--policy-root`; empty means that
    /// this host only observes.
    pub(crate) policy_root: String,
    /// When the certificate in use begins, Unix seconds.
    pub(crate) not_before_s: i64,
    /// When it ends, Unix seconds.
    pub(crate) not_after_s: i64,
}

/// A certificate chain and its key.
pub(crate) struct Credentials {
    /// Leaf first.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// Its private key.
    pub(crate) key: PrivateKeyDer<'static>,
}

/// The files of an identity, in the order in which they are adopted; the record is last.
const PARTS: [&str; 4] = ["key.pem", "chain.pem", "root.pem", "host.json"];

/// Key of an enrolment that has not come to its end.
const ENROLMENT_KEY: &str = "enrol-key.pem";

/// The identity folder.
#[derive(Debug, Clone)]
pub(crate) struct IdentityFiles {
    dir: PathBuf,
}

impl IdentityFiles {
    /// The folder below `state_dir`; it need not exist.
    pub(crate) fn below(state_dir: &Path) -> Self {
        Self {
            dir: state_dir.join("identity"),
        }
    }

    /// Makes the folder for its owner only.
    pub(crate) fn create(&self) -> Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .with_context(|| format!("making {}", self.dir.display()))
    }

    /// Path of one of its files.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Whether this host has enrolled.
    pub(crate) fn is_enrolled(&self) -> bool {
        self.path("host.json").exists()
    }

    /// Reads the host record.
    pub(crate) fn record(&self) -> Result<HostRecord> {
        let path = self.path("host.json");
        let absent = std::fs::symlink_metadata(&path)
            .is_err_and(|error| error.kind() == ErrorKind::NotFound);
        if absent {
            bail!(
                "this host has not enrolled (no {}): run `xiezhi-agent enrol --controller URL --token TOKEN`",
                path.display()
            );
        }
        let text = self.read("host.json")?;
        serde_json::from_str(&text).context("host.json is damaged: enrol again with --force")
    }

    /// The pinned root.
    pub(crate) fn root(&self) -> Result<CertificateDer<'static>> {
        let text = self.read("root.pem")?;
        CertificateDer::from_pem_slice(text.as_bytes())
            .context("root.pem is damaged: enrol again with --force")
    }

    /// A chain and its key by the prefix of their file names: `` or `next-`.
    pub(crate) fn credentials(&self, prefix: &str) -> Result<Credentials> {
        let chain = self.read(&format!("{prefix}chain.pem"))?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes())
            .collect::<Result<_, _>>()
            .with_context(|| format!("{prefix}chain.pem is damaged: enrol again with --force"))?;
        ensure!(
            !chain.is_empty(),
            "{prefix}chain.pem holds no certificate: enrol again with --force"
        );
        let key = self.read(&format!("{prefix}key.pem"))?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .with_context(|| format!("{prefix}key.pem is damaged: enrol again with --force"))?;
        Ok(Credentials { chain, key })
    }

    /// Secret files that others than their owner may read or change, each with what to do.
    pub(crate) fn exposed(&self) -> Vec<String> {
        let mut exposed = Vec::new();
        for name in ["key.pem", "next-key.pem", ENROLMENT_KEY, "evidence.key"] {
            let path = self.path(name);
            let mode = std::fs::metadata(&path).map(|metadata| metadata.mode() & 0o7777);
            if let Some(mode) = mode.ok().filter(|mode| mode & 0o077 != 0) {
                exposed.push(format!(
                    "{path} has mode {mode:04o}, so others may have read this secret: `chmod 0600 {path}`, and \
                     enrol again with --force if the host has other users",
                    path = path.display()
                ));
            }
        }
        exposed
    }

    /// Whether a new identity waits to be used. Its record is written last, so it is whole.
    pub(crate) fn has_next(&self) -> bool {
        self.path("next-host.json").exists()
    }

    /// The key that an enrolment asks a certificate for, PEM; `make` makes it if none is there.
    ///
    /// It is on the disk before the controller hears of it and stays until its identity is adopted:
    /// the controller takes an agent that asks again with the same key for the same host, whatever
    /// became of the first answer.
    pub(crate) fn enrolment_key(&self, make: impl FnOnce() -> Result<String>) -> Result<String> {
        let path = self.path(ENROLMENT_KEY);
        if !path.exists() {
            write(&path, make()?.as_bytes())?;
        }
        self.read(ENROLMENT_KEY)
    }

    /// Stores a new identity beside the one in use; `root` only if it is another one.
    pub(crate) fn write_next(
        &self,
        key_pem: &str,
        chain_pem: &str,
        root_pem: Option<&str>,
        record: &HostRecord,
    ) -> Result<()> {
        self.discard_next();
        write(&self.path("next-key.pem"), key_pem.as_bytes())?;
        write(&self.path("next-chain.pem"), chain_pem.as_bytes())?;
        if let Some(root_pem) = root_pem {
            write(&self.path("next-root.pem"), root_pem.as_bytes())?;
        }
        write(
            &self.path("next-host.json"),
            serde_json::to_string_pretty(record)?.as_bytes(),
        )
    }

    /// The new identity takes the place of the old one, whole or not at all: a crash in between is
    /// mended by [`IdentityFiles::mend`], which the marker tells what to do.
    pub(crate) fn adopt_next(&self) -> Result<()> {
        write(&self.path("adopting"), b"")?;
        self.finish_adoption()
    }

    /// Finishes an adoption that a crash interrupted.
    pub(crate) fn mend(&self) -> Result<()> {
        if self.path("adopting").exists() {
            self.finish_adoption()?;
        }
        Ok(())
    }

    fn finish_adoption(&self) -> Result<()> {
        for name in PARTS {
            let from = self.path(&format!("next-{name}"));
            if from.exists() {
                std::fs::rename(&from, self.path(name))
                    .with_context(|| format!("adopting {}", from.display()))?;
            }
        }
        self.end_enrolment()?;
        sync_dir(&self.dir)?;
        std::fs::remove_file(self.path("adopting")).context("ending the adoption")
    }

    /// Forgets the key of an enrolment once it is the key in use; another's, which a renewal
    /// overtook, may still be answered.
    fn end_enrolment(&self) -> Result<()> {
        let path = self.path(ENROLMENT_KEY);
        if path.exists() && self.read(ENROLMENT_KEY)? == self.read("key.pem")? {
            std::fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        }
        Ok(())
    }

    /// Forgets a new identity that the controller does not take. Its record goes first, so that
    /// what is left never looks whole.
    pub(crate) fn discard_next(&self) {
        for name in PARTS.iter().rev() {
            let path = self.path(&format!("next-{name}"));
            if path.exists()
                && let Err(error) = std::fs::remove_file(&path)
            {
                tracing::warn!(%error, path = %path.display(), "cannot discard");
            }
        }
    }

    fn read(&self, name: &str) -> Result<String> {
        let path = self.path(name);
        std::fs::read_to_string(&path).map_err(|error| {
            let what = if error.kind() == ErrorKind::PermissionDenied {
                forbidden(&path)
            } else {
                format!("reading {}", path.display())
            };
            anyhow::Error::new(error).context(what)
        })
    }
}

fn forbidden(path: &Path) -> String {
    format!(
        "{} may not be read by this user: run it as root or as xiezhi-agent (the configuration's \
         `user`); if you did, the file belongs to somebody else and needs `chown`",
        path.display()
    )
}

/// Writes a file of the identity folder so that a crash leaves the old one or the new one; mode 0600.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = path.with_extension("new");
    let attempt = || -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    attempt().with_context(|| format!("writing {}", path.display()))?;
    sync_dir(path.parent().unwrap_or(Path::new("/")))
}

fn sync_dir(dir: &Path) -> Result<()> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.with_context(|| format!("syncing {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(site: &str) -> HostRecord {
        HostRecord {
            host: "1".to_owned(),
            site: site.to_owned(),
            controller: "c:1".to_owned(),
            policy_root: String::new(),
            not_before_s: 0,
            not_after_s: 1,
        }
    }

    #[test]
    fn an_adoption_that_was_interrupted_anywhere_is_finished() {
        for moved in 0..=PARTS.len() {
            let folder = tempfile::tempdir().unwrap();
            let files = IdentityFiles::below(folder.path());
            files.create().unwrap();
            files
                .write_next("k1", "c1", Some("r1"), &record("old"))
                .unwrap();
            files.adopt_next().unwrap();
            files
                .write_next("k2", "c2", Some("r2"), &record("new"))
                .unwrap();
            std::fs::write(files.path("adopting"), "").unwrap();
            for name in PARTS.iter().take(moved) {
                std::fs::rename(files.path(&format!("next-{name}")), files.path(name)).unwrap();
            }
            files.mend().unwrap();
            assert_eq!(files.record().unwrap(), record("new"), "{moved}");
            assert_eq!(
                std::fs::read_to_string(files.path("key.pem")).unwrap(),
                "k2"
            );
            assert!(!files.has_next() && !files.path("adopting").exists());
        }
    }

    #[test]
    fn the_key_of_an_enrolment_stays_until_its_identity_is_adopted() {
        let folder = tempfile::tempdir().unwrap();
        let files = IdentityFiles::below(folder.path());
        files.create().unwrap();
        assert_eq!(files.enrolment_key(|| Ok("k1".to_owned())).unwrap(), "k1");
        let mode = std::fs::metadata(files.path(ENROLMENT_KEY)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        // Another identity is adopted meanwhile.
        files
            .write_next("k0", "c0", Some("r0"), &record("other"))
            .unwrap();
        files.adopt_next().unwrap();
        assert_eq!(files.enrolment_key(|| Ok("k2".to_owned())).unwrap(), "k1");
        files
            .write_next("k1", "c1", Some("r1"), &record("own"))
            .unwrap();
        files.adopt_next().unwrap();
        assert_eq!(files.enrolment_key(|| Ok("k2".to_owned())).unwrap(), "k2");
    }

    #[test]
    fn a_new_identity_that_was_only_half_written_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let files = IdentityFiles::below(folder.path());
        files.create().unwrap();
        files
            .write_next("k1", "c1", Some("r1"), &record("old"))
            .unwrap();
        files.adopt_next().unwrap();
        std::fs::write(files.path("next-key.pem"), "k2").unwrap();
        files.mend().unwrap();
        assert!(!files.has_next());
        assert_eq!(
            std::fs::read_to_string(files.path("key.pem")).unwrap(),
            "k1"
        );
    }
}
