//! `token`: how hosts get in.

use std::time::Duration;

use anyhow::{Context as _, Result};
use xiezhi_identity::{Authority, tokens};
use xiezhi_model::EnrolmentToken;
use xiezhi_store::Store;

use super::{by_console, local_time, open_store};
use crate::cli::Token;
use crate::clock::now_ms;
use crate::config::Config;
use crate::terminal::say;

/// Does what `token …` asks.
pub(super) async fn run(config: &Config, what: Token) -> Result<()> {
    let store = open_store(config).await?;
    match what {
        Token::Create {
            site,
            uses,
            expires,
            approval,
            simulated,
        } => {
            let wanted = Wanted {
                site,
                uses,
                expires,
                approval,
                simulated,
            };
            create(config, &store, wanted).await?;
        }
        Token::List => list(&store).await?,
        Token::Revoke { id } => {
            store
                .revoke_token(&id, by_console("token.revoke", id.clone()))
                .await?;
            say!("token {id} is revoked");
        }
    }
    store.close().await;
    Ok(())
}

/// A token that is to be made.
pub(super) struct Wanted {
    pub(super) site: String,
    pub(super) uses: u32,
    pub(super) expires: Duration,
    pub(super) approval: bool,
    pub(super) simulated: bool,
}

/// A token and what it is for. Its text is nowhere else.
pub(super) struct Made {
    pub(super) record: EnrolmentToken,
    pub(super) text: String,
    /// Name of the site.
    pub(super) site: String,
}

async fn create(config: &Config, store: &Store, wanted: Wanted) -> Result<()> {
    let made = make(config, store, wanted).await?;
    // The token alone on standard output, so that scripts can take it.
    eprintln!(
        "token {} for {}: {} uses, until {}; it is shown only now",
        made.record.id,
        made.site,
        made.record.uses,
        local_time(made.record.expires_ms)
    );
    say!("{}", made.text);
    Ok(())
}

/// Makes a token.
pub(super) async fn make(config: &Config, store: &Store, wanted: Wanted) -> Result<Made> {
    let site = store.site_by_key(&wanted.site).await?.with_context(|| {
        format!(
            "there is no site `{}`: see `xiezhi-controller sites list`",
            wanted.site
        )
    })?;
    let fingerprint = Authority::root_fingerprint_of(&config.authority_dir())
        .context("reading the root certificate: run `xiezhi-controller init` first")?;
    let (token, hash) = tokens::generate(fingerprint)?;
    let now = now_ms();
    let life = i64::try_from(wanted.expires.as_millis()).unwrap_or(i64::MAX);
    let record = EnrolmentToken {
        id: token.id_text(),
        secret_hash: hash.to_string(),
        site: site.id,
        uses: wanted.uses,
        uses_left: wanted.uses,
        expires_ms: now.saturating_add(life),
        needs_approval: wanted.approval,
        simulated: wanted.simulated,
        created_ms: now,
        created_by: "console".to_owned(),
        revoked_ms: None,
    };
    let audit = by_console("token.create", record.id.clone())
        .with("site", site.key.clone())
        .with("uses", wanted.uses.to_string());
    store.create_token(&record, audit).await?;
    Ok(Made {
        record,
        text: token.to_text(),
        site: site.name,
    })
}

async fn list(store: &Store) -> Result<()> {
    let sites = store.site_tree().await?;
    for token in store.tokens().await? {
        let site = sites.get(token.site).map_or("?", |site| site.name.as_str());
        let state = match token.revoked_ms {
            Some(_) => "revoked",
            None if token.expires_ms <= now_ms() => "expired",
            None if token.uses_left == 0 => "used up",
            None => "valid",
        };
        say!(
            "{}  {:<8} {}/{} uses left, until {}  {site}",
            token.id,
            state,
            token.uses_left,
            token.uses,
            local_time(token.expires_ms)
        );
    }
    Ok(())
}
