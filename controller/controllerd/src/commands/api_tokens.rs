//! `api-token`: how programs get in.

use anyhow::{Context as _, Result};
use xiezhi_identity::tokens;
use xiezhi_model::AuditEntry;
use xiezhi_store::{NewApiToken, Store};

use super::{by_console, local_time, one_line, open_store};
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
            let audit = told(&store, id).await?;
            store.revoke_api_token(id, audit).await?;
            say!("API token {id} is revoked");
        }
    }
    store.close().await;
    Ok(())
}

/// One line for each: whose it is, what it may do where, when it was made, used and ends.
async fn list(store: &Store) -> Result<()> {
    let sites = store.site_tree().await?;
    let accounts = store.accounts().await?;
    for token in store.api_tokens().await? {
        let user = token.on_behalf.map(|on_behalf| on_behalf.user);
        let owner = accounts.iter().find(|one| Some(one.user.id) == user);
        let state = token.state(now_ms(), owner.map(|owner| &owner.grants), &sites);
        let place = token.site.map_or("the whole province", |site| {
            sites.get(site).map_or("?", |site| site.name.as_str())
        });
        let role = token.on_behalf.map(|on_behalf| on_behalf.role.word());
        let used = match token.last_used_ms {
            Some(used_ms) => format!("{} from {}", local_time(used_ms), token.last_used_from),
            None => "never".to_owned(),
        };
        say!(
            "{:>4}  {state:<8} {:<13}  of {}  as {} at {place}  made {}  last used {used}  until {}  {}",
            token.id,
            token.right.word(),
            owner.map_or("nobody", |owner| owner.user.name.as_str()),
            role.unwrap_or("a program"),
            local_time(token.created_ms),
            local_time(token.expires_ms),
            one_line(&token.name),
        );
    }
    Ok(())
}

/// What the audit record says of the one that is withdrawn.
async fn told(store: &Store, id: i64) -> Result<AuditEntry> {
    let mut audit = by_console("api_token.revoke", format!("api-token:{id}"));
    let Some(token) = store.api_token(id).await? else {
        return Ok(audit);
    };
    audit = audit.with("name", token.name);
    if let Some(on_behalf) = token.on_behalf
        && let Some(owner) = store.user(on_behalf.user).await?
    {
        audit = audit.with("user", owner.name);
    }
    Ok(audit)
}
