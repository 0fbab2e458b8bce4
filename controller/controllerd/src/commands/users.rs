//! `user`: accounts from the console, for the first ones and for emergencies.
//!
//! The console can do what one administrator can. The security duty it may touch only until the province
//! has two security administrators, because somebody must be first; after that it takes two people.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use xiezhi_identity::password;
use xiezhi_inventory::Language;
use xiezhi_inventory::lists::{ACCOUNT_HEADER, account_row};
use xiezhi_model::{
    Account, AccountChange, Grant, Grants, LONGEST_ACCOUNT_NAME, Needs, Role, SiteId, account_name,
};
use xiezhi_store::{NewUser, Store};

use super::files::ListFile;
use super::{break_glass, by_console, local_time, one_line, open_store};
use crate::cli::{RoleAt, User};
use crate::config::Config;
use crate::terminal::say;

/// Security administrators of the province from which on the console leaves the duty alone.
const ENOUGH: usize = 2;

/// Does what `user …` asks.
pub(super) async fn run(config: &Config, what: User) -> Result<()> {
    let store = open_store(config).await?;
    match what {
        User::List => list(&store).await?,
        User::Export { file, lang } => export(&store, &file, lang).await?,
        User::Create {
            name,
            display_name,
            home,
            role,
        } => create(&store, name, display_name, home, role).await?,
        User::Grant { name, role } => {
            let grant = grant_of(&store, &role).await?;
            change(&store, &name, AccountChange::Grant(grant)).await?;
        }
        User::Withdraw { name, role } => {
            let grant = grant_of(&store, &role).await?;
            change(&store, &name, AccountChange::Withdraw(grant)).await?;
        }
        User::ResetPassword { name } => change(&store, &name, AccountChange::ResetPassword).await?,
        User::ResetSecondFactor { name } => {
            change(&store, &name, AccountChange::ResetSecondFactor).await?;
        }
        User::Disable { name } => change(&store, &name, AccountChange::Disable).await?,
        User::Enable { name } => change(&store, &name, AccountChange::Enable).await?,
        User::BreakGlass(what) => break_glass::run(config, &store, &what).await?,
    }
    store.close().await;
    Ok(())
}

async fn list(store: &Store) -> Result<()> {
    let sites = store.site_tree().await?;
    let named = |site: SiteId| sites.get(site).map_or("?", |site| site.key.as_str());
    for account in store.accounts().await? {
        let state = match account.user.disabled_ms {
            Some(_) => "disabled",
            None if account.user.password_once => "password to be set",
            None => "active",
        };
        let roles = account.grants.iter().map(|grant| match grant.site {
            Some(site) => format!("{}@{}", grant.role.word(), named(site)),
            None => grant.role.word().to_owned(),
        });
        let roles: Vec<String> = roles.collect();
        let roles = if roles.is_empty() {
            "no role".to_owned()
        } else {
            roles.join(" ")
        };
        let display = match account.user.display_name.as_str() {
            "" => String::new(),
            name => format!("  ({})", one_line(name)),
        };
        say!(
            "{:<20} {state:<18} made {}  {roles}{display}",
            account.user.name,
            local_time(account.user.created_ms),
        );
    }
    Ok(())
}

async fn export(store: &Store, file: &Path, language: Language) -> Result<()> {
    let tree = store.site_tree().await?;
    let factors = store.users_with_second_factor().await?;
    let accounts = store.accounts().await?;
    let row = |account: &Account| {
        let factor = factors.contains(&account.user.id);
        account_row(account, |_| true, factor, &tree, language)
    };
    let mut list = ListFile::begin(file, &language.header(&ACCOUNT_HEADER))?;
    list.push(accounts.iter().map(row).collect())?;
    list.finish(store, by_console("users.export", "")).await
}

async fn create(
    store: &Store,
    name: String,
    display_name: String,
    home: Option<String>,
    role: Option<RoleAt>,
) -> Result<()> {
    let name = account_name(&name).map(str::to_owned).with_context(|| {
        format!(
            "an account's name has 1 to {LONGEST_ACCOUNT_NAME} letters or digits, \
             with . - _ @ among them if you like"
        )
    })?;
    let home = match &home {
        Some(key) => Some(site_of(store, key).await?),
        None => None,
    };
    let mut grants = Grants::default();
    if let Some(role) = &role {
        let grant = grant_of(store, role).await?;
        allow(store, AccountChange::Grant(grant), &grants).await?;
        grants = grants.with(grant);
    }
    let once = password::generate_once()?;
    let new = NewUser {
        display_name,
        home,
        password_hash: password::hash(&once).context("hashing the password")?,
        password_once: true,
        grants,
        name: name.clone(),
    };
    let audit = by_console("user.create", format!("user:{name}"));
    store.create_user(&new, None, audit).await?;
    hand(&name, &once);
    Ok(())
}

async fn change(store: &Store, name: &str, change: AccountChange) -> Result<()> {
    let user = store.user_by_name(name).await?;
    let user = user.ok_or_else(|| anyhow!("there is no account {name}: see `user list`"))?;
    let held = store.grants(user.id).await?;
    allow(store, change, &held).await?;
    let once = change.hands_password().then(password::generate_once);
    let once = once.transpose()?;
    let hash = once.as_deref().map(password::hash).transpose()?;
    let mut audit = by_console(change.action(), format!("user:{name}"));
    if let Some(grant) = change.grant() {
        let site = grant
            .site
            .map_or_else(String::new, |site| format!("@{site}"));
        audit = audit.with("role", format!("{}{site}", grant.role.word()));
    }
    let changed = store.change_account(user.id, change, None, hash.as_deref(), audit);
    changed.await?;
    match once {
        Some(once) => hand(name, &once),
        None => say!("account {name}: done; its sessions have ended"),
    }
    Ok(())
}

/// The password alone on standard output, so that scripts can take it.
pub(super) fn hand(name: &str, once: &str) {
    eprintln!(
        "password of {name} for its first sign-in, within three days; it is shown only now, and its \
         owner sets another"
    );
    say!("{once}");
}

/// Whether the console may do it alone.
async fn allow(store: &Store, change: AccountChange, held: &Grants) -> Result<()> {
    if matches!(change.needs(held), Needs::One(_)) {
        return Ok(());
    }
    let administrator = Grant::province(Role::SecurityAdministrator);
    let accounts = store.accounts().await?;
    let there = accounts
        .iter()
        .filter(|one| one.user.disabled_ms.is_none() && one.grants.holds(administrator));
    if there.count() >= ENOUGH {
        bail!(
            "the province has {ENOUGH} security administrators: what touches the security or the \
             audit duty now takes two people, on the page of accounts (where no two are left who can, \
             see `user break-glass --help`)"
        );
    }
    Ok(())
}

async fn grant_of(store: &Store, role: &RoleAt) -> Result<Grant> {
    Ok(Grant {
        role: role.role,
        site: match &role.site {
            Some(key) => Some(site_of(store, key).await?),
            None => None,
        },
    })
}

async fn site_of(store: &Store, key: &str) -> Result<SiteId> {
    let site = store.site_by_key(key).await?;
    let site = site.ok_or_else(|| anyhow!("there is no site {key}: see `sites list`"))?;
    Ok(site.id)
}
