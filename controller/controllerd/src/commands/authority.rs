//! `ca`: the certificate authority.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use xiezhi_identity::{
    Authority, KeyPlace, Passphrase, PassphraseSource, Passphrases, Pkcs11Address, Summary,
};

use super::{local_time, passphrase_source};
use crate::cli::Ca;
use crate::clock::now_s;
use crate::config::Config;
use crate::terminal::say;
use crate::web_certificate;

/// Does what `ca …` asks.
pub(super) fn run(config: &Config, what: Ca) -> Result<()> {
    let online = config.authority_dir();
    match what {
        Ca::Init {
            offline_dir,
            root_passphrase_file,
            online_key,
        } => init(config, &offline_dir, root_passphrase_file, online_key),
        Ca::Rotate {
            offline_dir,
            root_passphrase_file,
            online_key,
        } => {
            let place = place(online_key);
            let passphrases = Passphrases {
                online: online_secret(config, &place)?,
                offline: root_source(root_passphrase_file).read("the root key")?,
            };
            let names = web_certificate::names(config);
            let summary =
                Authority::rotate(&online, &offline_dir, &passphrases, &place, &names, now_s())?;
            show(&summary);
            say!("restart the controller to issue from the new intermediate");
            Ok(())
        }
        Ca::Request { online_key } => {
            let place = place(online_key);
            let secret = new_online_secret(config, &place)?;
            say!("{}", Authority::request(&online, &secret, &place, now_s())?);
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
    online_key: Option<Pkcs11Address>,
) -> Result<()> {
    refuse_inside(offline, &config.data_dir)?;
    let place = place(online_key);
    let passphrases = Passphrases {
        offline: root_source(root_passphrase).read_new("the root key")?,
        online: new_online_secret(config, &place)?,
    };
    let online = config.authority_dir();
    let names = web_certificate::names(config);
    let summary = Authority::init_in(&online, offline, &passphrases, &place, &names, now_s())?;
    show(&summary);
    say!(
        "put {} into a safe: whoever has it and its passphrase is the authority",
        offline.display()
    );
    Ok(())
}

/// The root key next to the online key would be no more offline than that one.
fn refuse_inside(offline: &Path, data: &Path) -> Result<()> {
    let inside = real(offline)?.starts_with(real(data)?);
    ensure!(
        !inside,
        "{} is inside the data folder {}: give a folder on removable media for the root key",
        offline.display(),
        data.display()
    );
    Ok(())
}

/// `path` without links, as far as it exists.
fn real(path: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(path).context("finding the current folder")?;
    let found = path.ancestors().find_map(|above| {
        let real = above.canonicalize().ok()?;
        Some(real.join(path.strip_prefix(above).ok()?))
    });
    Ok(found.unwrap_or(path))
}

fn place(online_key: Option<Pkcs11Address>) -> KeyPlace {
    online_key.map_or(KeyPlace::SealedFile, KeyPlace::Token)
}

/// What opens the online key: its passphrase, or the PIN of its token.
fn online_secret(config: &Config, place: &KeyPlace) -> Result<Passphrase> {
    let what = match place {
        KeyPlace::SealedFile => "the online key",
        KeyPlace::Token(_) => "the token (its PIN)",
    };
    Ok(passphrase_source(config).read(what)?)
}

/// As [`online_secret`] for a key that is about to be made. A PIN is the token's own affair: it is
/// neither chosen here nor measured.
fn new_online_secret(config: &Config, place: &KeyPlace) -> Result<Passphrase> {
    match place {
        KeyPlace::SealedFile => Ok(passphrase_source(config).read_new("the online key")?),
        KeyPlace::Token(_) => online_secret(config, place),
    }
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
    if let Some(token) = &summary.token {
        say!("online key        {token}");
    }
    for left in &summary.left_in_tokens {
        say!("the earlier key is still in its token, remove it with the token's own tool: {left}");
    }
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_key_never_goes_into_the_data_folder() {
        let folder = tempfile::tempdir().unwrap();
        let (data, link) = (folder.path().join("data"), folder.path().join("link"));
        std::fs::create_dir(&data).unwrap();
        std::os::unix::fs::symlink(&data, &link).unwrap();
        for inside in [data.clone(), data.join("a/b"), link.join("a"), link.clone()] {
            let refused = refuse_inside(&inside, &data).unwrap_err().to_string();
            assert!(refused.contains("removable"), "{refused}");
        }
        for outside in ["data-2", "safe/data", "."] {
            refuse_inside(&folder.path().join(outside), &data).unwrap();
        }
    }
}
