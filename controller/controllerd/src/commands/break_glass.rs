//! `user break-glass`: what takes two people, where no two are left who can.
//!
//! The root's key and passphrase are the second person here: they lie in a safe, apart from whoever has
//! the controller's machine. It is refused while two people can do it, it is audited whether it was done
//! or refused, and security and audit have it before their eyes for 30 days.

use anyhow::{Result, anyhow};
use xiezhi_identity::{Authority, PassphraseSource, password};
use xiezhi_store::Store;

use super::{by_console, users};
use crate::cli::BreakGlass;
use crate::config::Config;
use crate::terminal::say;

/// Does it, or says why not.
pub(super) async fn run(config: &Config, store: &Store, what: &BreakGlass) -> Result<()> {
    let done = attempt(config, store, what).await;
    if let Err(error) = &done {
        let audit = by_console("user.break_glass_refuse", format!("user:{}", what.name));
        let audit = audit
            .with("change", what.change.word())
            .with("reason", &*what.reason)
            .with("why", format!("{error:#}"));
        store.append_audit(audit).await?;
    }
    done
}

async fn attempt(config: &Config, store: &Store, what: &BreakGlass) -> Result<()> {
    let BreakGlass { name, change, .. } = what;
    let user = store.user_by_name(name).await?;
    let user = user.ok_or_else(|| anyhow!("there is no account {name}: see `user list`"))?;
    for absent in &what.absent {
        let known = store.user_by_name(absent).await?;
        known.ok_or_else(|| anyhow!("there is no account {absent}: see `user list`"))?;
    }
    let source = match &what.root_passphrase_file {
        Some(file) => PassphraseSource::File(file.clone()),
        None => PassphraseSource::Prompt,
    };
    let passphrase = source.read("the root key")?;
    Authority::prove_root(&config.authority_dir(), &what.offline_dir, &passphrase)?;
    let once = change.hands_password().then(password::generate_once);
    let once = once.transpose()?;
    let hash = once.as_deref().map(password::hash).transpose()?;
    let mut audit = by_console("user.break_glass", format!("user:{name}"));
    audit = audit
        .with("change", change.word())
        .with("reason", &*what.reason);
    if !what.absent.is_empty() {
        audit = audit.with("absent", what.absent.join(", "));
    }
    let (absent, reason) = (&what.absent, &what.reason);
    store
        .break_glass(user.id, *change, absent, hash.as_deref(), reason, audit)
        .await?;
    match once {
        Some(once) => users::hand(name, &once),
        None => say!("account {name}: done; its sessions have ended"),
    }
    eprintln!(
        "security and audit are shown for 30 days that this was done; put the root key back into its safe"
    );
    Ok(())
}
