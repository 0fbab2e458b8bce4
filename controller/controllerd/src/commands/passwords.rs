//! The administrator's password.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use xiezhi_identity::{PassphraseSource, password};

use super::{by_console, open_store};
use crate::config::Config;
use crate::terminal::say;

/// Name of the account that `init` makes.
pub(super) const ADMINISTRATOR: &str = "admin";

/// Sets the administrator's password anew.
pub(super) async fn set(config: &Config, file: Option<&Path>) -> Result<()> {
    let store = open_store(config).await?;
    let Some(user) = store.user_by_name(ADMINISTRATOR).await? else {
        bail!("there is no account {ADMINISTRATOR} yet: run `xiezhi-controller init`");
    };
    let secret = ask(file)?;
    let hash = password::hash(&secret).context("hashing the password")?;
    store
        .set_password(
            user.id,
            &hash,
            None,
            by_console("user.set_password", ADMINISTRATOR),
        )
        .await?;
    store.close().await;
    say!("password of {ADMINISTRATOR} set; its browser sessions have ended");
    Ok(())
}

/// The new password: the file's first line, or asked for twice at the terminal.
pub(super) fn ask(file: Option<&Path>) -> Result<String> {
    let secret = if let Some(file) = file {
        // Guarded as the files of passphrases are.
        let secret = PassphraseSource::File(file.to_owned()).read("the account");
        secret.context("reading the password")?.reveal().to_owned()
    } else {
        let question = format!("New password of {ADMINISTRATOR}: ");
        let first = xiezhi_identity::read_secret(&question).context("asking for the password")?;
        let again =
            xiezhi_identity::read_secret("Once more: ").context("asking for the password")?;
        if *first != *again {
            bail!("the two entries differ: try again");
        }
        first.to_string()
    };
    password::check(&secret, ADMINISTRATOR)?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_password_that_everybody_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "correct horse battery staple\nnot this\n").unwrap();
        let set_mode = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        set_mode(0o644);
        let refused = format!("{:#}", ask(Some(&path)).unwrap_err());
        assert!(refused.contains("chmod 600"), "{refused}");
        set_mode(0o600);
        assert_eq!(ask(Some(&path)).unwrap(), "correct horse battery staple");
    }
}
