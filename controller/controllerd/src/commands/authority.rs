//! `ca`: the certificate authority.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use xiezhi_identity::{Authority, PassphraseSource, Passphrases, Summary};

use super::{local_time, passphrase_source};
use crate::cli::Ca;
use crate::clock::now_s;
use crate::config::Config;
use crate::terminal::say;

/// Does what `ca …` asks.
pub(super) fn run(config: &Config, what: Ca) -> Result<()> {
    let online = config.authority_dir();
    match what {
        Ca::Init {
            offline_dir,
            root_passphrase_file,
        } => init(config, &offline_dir, root_passphrase_file),
        Ca::Rotate {
            offline_dir,
            root_passphrase_file,
        } => {
            let passphrases = Passphrases {
                online: passphrase_source(config).read("the online key")?,
                offline: root_source(root_passphrase_file).read("the root key")?,
            };
            let summary = Authority::rotate(&online, &offline_dir, &passphrases, now_s())?;
            show(&summary);
            say!("restart the controller to issue from the new intermediate");
            Ok(())
        }
        Ca::Request => {
            let passphrase = passphrase_source(config).read_new("the online key")?;
            say!("{}", Authority::request(&online, &passphrase, now_s())?);
            Ok(())
        }
        Ca::Import { certificate, root } => {
            let passphrase = passphrase_source(config).read("the online key")?;
            let certificate = read(&certificate)?;
            let root = root.map(|root| read(&root)).transpose()?;
            let summary =
                Authority::import(&online, &passphrase, &certificate, root.as_deref(), now_s())?;
            show(&summary);
            Ok(())
        }
        Ca::Show => {
            let passphrase = passphrase_source(config).read("the online key")?;
            let authority = Authority::open(&online, &passphrase, now_s())?;
            let fingerprint = data_encoding::HEXLOWER.encode(&authority.root_fingerprint());
            say!("root fingerprint  {fingerprint}");
            say!(
                "intermediate ends {}",
                local_time(authority.intermediate_not_after_s() * 1000)
            );
            Ok(())
        }
    }
}

/// Makes root and intermediate.
pub(super) fn init(
    config: &Config,
    offline: &Path,
    root_passphrase: Option<PathBuf>,
) -> Result<()> {
    let passphrases = Passphrases {
        offline: root_source(root_passphrase).read_new("the root key")?,
        online: passphrase_source(config).read_new("the online key")?,
    };
    let summary = Authority::init(&config.authority_dir(), offline, &passphrases, now_s())?;
    show(&summary);
    say!(
        "put {} into a safe: whoever has it and its passphrase is the authority",
        offline.display()
    );
    Ok(())
}

fn root_source(file: Option<PathBuf>) -> PassphraseSource {
    file.map_or(PassphraseSource::Prompt, PassphraseSource::File)
}

fn show(summary: &Summary) {
    say!("root fingerprint  {}", summary.root_fingerprint);
    say!(
        "root ends         {}",
        local_time(summary.root_not_after_s * 1000)
    );
    say!(
        "intermediate ends {}",
        local_time(summary.intermediate_not_after_s * 1000)
    );
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}
