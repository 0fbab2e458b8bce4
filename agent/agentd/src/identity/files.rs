//! The identity folder: what is in it, and writing it so that a crash leaves the old or the new.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
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

/// The identity folder.
#[derive(Debug, Clone)]
pub(crate) struct IdentityFiles {
    dir: PathBuf,
}

impl IdentityFiles {
    /// The folder below `state_dir`; it need not exist.
    pub(crate) fn below(state_dir: &Path) -> Self {
        Self { dir: state_dir.join("identity") }
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
        if !self.is_enrolled() {
            bail!(
                "this host has not enrolled (no {}): run `xiezhi-agent enrol --controller URL --token TOKEN`",
                self.path("host.json").display()
            );
        }
        let text = self.read("host.json")?;
        serde_json::from_str(&text).context("host.json is damaged: enrol again with --force")
    }

    /// Writes the host record.
    pub(crate) fn write_record(&self, record: &HostRecord) -> Result<()> {
        write(&self.path("host.json"), serde_json::to_string_pretty(record)?.as_bytes())
    }

    /// The pinned root.
    pub(crate) fn root(&self) -> Result<CertificateDer<'static>> {
        let text = self.read("root.pem")?;
        CertificateDer::from_pem_slice(text.as_bytes()).context("root.pem is damaged: enrol again with --force")
    }

    /// A chain and its key by the prefix of their file names: `` or `next-`.
    pub(crate) fn credentials(&self, prefix: &str) -> Result<Credentials> {
        let chain = self.read(&format!("{prefix}chain.pem"))?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes())
            .collect::<Result<_, _>>()
            .context("the certificate is damaged: enrol again with --force")?;
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{prefix}key.pem")))
            .context("the key is damaged: enrol again with --force")?;
        Ok(Credentials { chain, key })
    }

    /// Whether renewed credentials wait to be used.
    pub(crate) fn has_next(&self) -> bool {
        self.path("next-chain.pem").exists() && self.path("next-key.pem").exists()
    }

    /// The renewed credentials were used with success: they take the place of the old ones. The
    /// key moves first; a crash between the two moves is mended by [`IdentityFiles::mend`].
    pub(crate) fn adopt_next(&self) -> Result<()> {
        for name in ["key.pem", "chain.pem"] {
            let from = self.path(&format!("next-{name}"));
            if from.exists() {
                std::fs::rename(&from, self.path(name)).with_context(|| format!("adopting {}", from.display()))?;
            }
        }
        sync_dir(&self.dir)
    }

    /// Finishes an adoption that a crash interrupted: a renewed chain without its key means that
    /// the key has moved already.
    pub(crate) fn mend(&self) -> Result<()> {
        if self.path("next-chain.pem").exists() && !self.path("next-key.pem").exists() {
            self.adopt_next()?;
        }
        Ok(())
    }

    /// Forgets renewed credentials that the controller does not take.
    pub(crate) fn discard_next(&self) {
        for name in ["next-chain.pem", "next-key.pem"] {
            if let Err(error) = std::fs::remove_file(self.path(name)) {
                tracing::debug!(%error, name, "nothing to discard");
            }
        }
    }

    fn read(&self, name: &str) -> Result<String> {
        let path = self.path(name);
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }
}

/// Writes a file of the identity folder so that a crash leaves the old one or the new one; mode 0600.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = path.with_extension("new");
    let attempt = || -> std::io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
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
