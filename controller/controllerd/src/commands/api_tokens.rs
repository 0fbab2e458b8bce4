//! `api-token`: how programs get in.

use anyhow::{Context as _, Result};
use xiezhi_identity::tokens;
use xiezhi_store::{NewApiToken, Store};

use super::{by_console, local_time, open_store};
use crate::cli::ApiToken;
use crate::clock::now_ms;
use crate::config::Config;
use crate::terminal::say;

/// Does what `api-token …` asks.
pub(super) async fn run(config: &Config, what: ApiToken) -> Result<()> {
    let store = open_store(config).await?;
    match what {
        ApiToken::Create {
            name,
            right,
            site,
            expires,
        } => {
            let site = match &site {
                None => None,
                Some(key) => Some(store.site_by_key(key).await?.with_context(|| {
                    format!("there is no site `{key}`: see `xiezhi-controller sites list`")
                })?),
            };
            let (secret, hash) = tokens::api_token()?;
            let life = i64::try_from(expires.as_millis()).unwrap_or(i64::MAX);
            let wanted = NewApiToken {
                name,
                secret_hash: hash.to_string(),
                right,
                site: site.as_ref().map(|site| site.id),
                expires_ms: now_ms().saturating_add(life),
            };
            let audit = by_console("api_token.create", "")
                .with("name", wanted.name.clone())
                .with("right", right.word());
            let made = store.create_api_token(&wanted, audit).await?;
            // The token alone on standard output, so that scripts can take it.
            eprintln!(
                "API token {} ({}) for {}, until {}; it is shown only now",
                made.id,
                right.word(),
                site.map_or_else(|| "the whole province".to_owned(), |site| site.name),
                local_time(made.expires_ms)
            );
            say!("{secret}");
        }
        ApiToken::List => list(&store).await?,
        ApiToken::Revoke { id } => {
            let audit = by_console("api_token.revoke", format!("api-token:{id}"));
            store.revoke_api_token(id, audit).await?;
            say!("API token {id} is revoked");
        }
    }
    store.close().await;
    Ok(())
}

async fn list(store: &Store) -> Result<()> {
    let sites = store.site_tree().await?;
    for token in store.api_tokens().await? {
        let site = token.site.and_then(|site| sites.get(site));
        let state = match token.revoked_ms {
            Some(_) => "revoked",
            None if token.is_valid(now_ms()) => "valid",
            None => "expired",
        };
        say!(
            "{:>4}  {:<13}  {state:<8}  until {}  {}  {}",
            token.id,
            token.right.word(),
            local_time(token.expires_ms),
            site.map_or("the whole province", |site| site.name.as_str()),
            token.name
        );
    }
    Ok(())
}
