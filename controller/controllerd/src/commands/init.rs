//! `init`: from an empty data folder to a controller that can be started.
//!
//! Each part that is there already stays as it is, so that a second call ends what a first one, a
//! crash or `ca import` left.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use xiezhi_identity::{Authority, password};
use xiezhi_model::{Grant, Role};
use xiezhi_store::NewUser;

use super::{authority, by_console, open_store, passwords};
use crate::cli::Init;
use crate::config::Config;
use crate::terminal::say;

/// Makes the authority and the administrator account.
pub(super) async fn run(config: &Config, what: &Init) -> Result<()> {
    let has_authority = Authority::is_there(&config.authority_dir());
    if !has_authority && what.offline_dir.is_none() {
        bail!(
            "`--offline-dir FOLDER` is needed: the new root key goes there, best on removable media. \
             With an authority of your own, run `ca request` and `ca import` first"
        );
    }
    make_private(&config.data_dir)?;
    let store = open_store(config).await?;
    let there = store.user_by_name(passwords::ADMINISTRATOR).await?;
    // Asked for first: an authority is made once, so a password that is refused after that would
    // leave no way to try again.
    let secret = match there {
        None => Some(passwords::ask(what.password_file.as_deref())?),
        Some(_) => None,
    };
    match &what.offline_dir {
        Some(offline_dir) if !has_authority => authority::init(
            config,
            offline_dir,
            what.root_passphrase_file.clone(),
            what.online_key.clone(),
        )?,
        _ => say!("the certificate authority exists already and is left as it is"),
    }
    let name = passwords::ADMINISTRATOR;
    let Some(secret) = secret else {
        say!("the account {name} exists already and is left as it is");
        return Ok(());
    };
    let hash = password::hash(&secret).context("hashing the password")?;
    let audit = by_console("user.create", name);
    let new = NewUser {
        name: name.to_owned(),
        display_name: String::new(),
        home: None,
        password_hash: hash,
        password_once: false,
        grants: [Grant::province(Role::ProvinceAdministrator)]
            .into_iter()
            .collect(),
    };
    store.create_user(&new, None, audit).await?;
    store.close().await;
    say!("account {name} is ready");
    say!("next: xiezhi-controller sites import FILE, then start the controller");
    Ok(())
}

/// Makes a folder that only its owner may read.
fn make_private(dir: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir);
    made.with_context(|| format!("making the data folder {}", dir.display()))
}
