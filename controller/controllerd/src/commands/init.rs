//! `init`: from an empty data folder to a controller that can be started.

use std::path::Path;

use anyhow::{Context as _, Result};
use xiezhi_identity::password;

use super::{authority, by_console, open_store, passwords};
use crate::cli::Init;
use crate::config::Config;
use crate::terminal::say;

/// Makes the authority and the administrator account.
pub(super) async fn run(config: &Config, what: &Init) -> Result<()> {
    make_private(&config.data_dir)?;
    authority::init(
        config,
        &what.offline_dir,
        what.root_passphrase_file.clone(),
        what.online_key.clone(),
    )?;
    let store = open_store(config).await?;
    if store
        .user_by_name(passwords::ADMINISTRATOR)
        .await?
        .is_some()
    {
        say!(
            "the account {} exists already and is left as it is",
            passwords::ADMINISTRATOR
        );
        return Ok(());
    }
    let secret = passwords::ask(what.password_file.as_deref())?;
    let hash = password::hash(&secret).context("hashing the password")?;
    let audit = by_console("user.create", passwords::ADMINISTRATOR);
    let role = xiezhi_model::Role::Administrator;
    store
        .create_user(passwords::ADMINISTRATOR, role, &hash, audit)
        .await?;
    store.close().await;
    say!("account {} is ready", passwords::ADMINISTRATOR);
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
