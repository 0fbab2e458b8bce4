//! Accounts: who may do what where. Changes that touch the security or the audit duty are only asked for
//! here; a second person does them, see `acts.rs`.

pub(crate) mod export;

use std::collections::HashMap;

use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xiezhi_identity::password;
use xiezhi_model::{
    Account, AccountChange, Grant, Grants, LONGEST_ACCOUNT_NAME, Needs, Permission, Role, SiteId,
    SiteTree, account_name,
};
use xiezhi_store::{AccountError, NewUser};

use super::acts::ActRow;
use super::login;
use crate::answer::{Answer, Created};
use crate::extract::{Json, Path, Query};
use crate::problem::{FieldTold, Problem};
use crate::rows::{RoleRow, SiteName};
use crate::view::View;

const PAGE: usize = 100;
const LARGEST_PAGE: usize = 500;

/// Most characters of a reason.
const MAX_REASON: usize = 400;

#[derive(Serialize, JsonSchema)]
pub(crate) struct UserRow {
    id: i64,
    name: String,
    display_name: String,
    /// `None` is the province.
    home: Option<SiteName>,
    roles: Vec<RoleRow>,
    created_ms: i64,
    password_changed_ms: i64,
    password_once: bool,
    second_factor: bool,
    /// Tokens under which programs act for it now, as far as the caller sees their places.
    tokens: usize,
    disabled_ms: Option<i64>,
    /// Whether the caller may change it, alone or with a second person.
    manageable: bool,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Filter {
    /// Part of a name, whatever its case.
    q: Option<String>,
    /// Only accounts that hold this role.
    role: Option<String>,
    /// Accounts on a page, 500 at most; 100 unless given.
    limit: Option<usize>,
    /// Number of the last account of the page before.
    cursor: Option<i64>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Users {
    items: Vec<UserRow>,
    next: Option<i64>,
    total: usize,
}

/// The accounts that belong to the caller's part of the organisation, or hold a role there.
pub(crate) async fn list(
    view: View,
    Query(filter): Query<Filter>,
) -> Result<Answer<Users>, Problem> {
    let marks = Marks::read(&view).await?;
    let accounts = matching(&view, &filter).await?;
    let total = accounts.len();
    let limit = filter.limit.unwrap_or(PAGE).clamp(1, LARGEST_PAGE);
    let after = accounts
        .into_iter()
        .filter(|one| one.user.id > filter.cursor.unwrap_or(0));
    let mut page: Vec<Account> = after.take(limit.saturating_add(1)).collect();
    let more = page.len() > limit;
    page.truncate(limit);
    Ok(Answer(Users {
        next: page.last().filter(|_| more).map(|account| account.user.id),
        items: page
            .into_iter()
            .map(|account| row(&view, account, &marks))
            .collect(),
        total,
    }))
}

/// Those that the caller sees and the filter finds, by number.
async fn matching(view: &View, filter: &Filter) -> Result<Vec<Account>, Problem> {
    let role = filter.role.as_deref().map(role_of).transpose()?;
    let q = filter
        .q
        .as_deref()
        .map(str::trim)
        .unwrap_or_default()
        .to_lowercase();
    let mut accounts = view.state.inner.store.accounts().await?;
    accounts.retain(|account| {
        let named = |name: &str| name.to_lowercase().contains(&q);
        is_seen(view, account)
            && (named(&account.user.name) || named(&account.user.display_name))
            && role.is_none_or(|role| {
                let seen = |grant: &Grant| grant.role == role && view.scope.covers(grant.site);
                account.grants.iter().any(seen)
            })
    });
    Ok(accounts)
}

pub(crate) async fn read(view: View, Path(id): Path<i64>) -> Result<Answer<UserRow>, Problem> {
    let account = find(&view, id).await?;
    let marks = Marks::read(&view).await?;
    Ok(Answer(row(&view, account, &marks)))
}

/// One account that the caller sees.
pub(super) async fn find(view: &View, id: i64) -> Result<Account, Problem> {
    let account = view.state.inner.store.account(id).await?;
    let seen = account.filter(|account| is_seen(view, account));
    seen.ok_or_else(|| Problem::not_found("account"))
}

/// What is kept of accounts elsewhere than in them.
#[derive(Default)]
struct Marks {
    /// Accounts with a second factor.
    factors: Vec<i64>,
    /// How many valid tokens act for each, in the caller's part of the organisation.
    tokens: HashMap<i64, usize>,
}

impl Marks {
    async fn read(view: &View) -> Result<Self, Problem> {
        let store = &view.state.inner.store;
        let mut tokens = HashMap::new();
        for token in store.acting_api_tokens(view.state.now_ms()).await? {
            let on_behalf = token.on_behalf.filter(|_| view.scope.covers(token.site));
            if let Some(on_behalf) = on_behalf {
                *tokens.entry(on_behalf.user).or_default() += 1;
            }
        }
        let factors = store.users_with_second_factor().await?;
        Ok(Self { factors, tokens })
    }
}

pub(super) fn is_seen(view: &View, account: &Account) -> bool {
    let grants = account.grants.iter().map(|grant| grant.site);
    let mut places = std::iter::once(account.user.home).chain(grants);
    places.any(|site| view.scope.covers(site))
}

fn row(view: &View, account: Account, marks: &Marks) -> UserRow {
    let officer = Grant {
        role: Role::SecurityOfficer,
        site: account.user.home,
    };
    // Who looks after security changes no other account, but may ask for such a role for it.
    let begins = [AccountChange::Disable, AccountChange::Grant(officer)];
    let manageable = begins
        .into_iter()
        .any(|change| may(view, change, &account).is_ok());
    let Account { user, grants } = account;
    let tree = view.tree();
    // What is held elsewhere is not named here.
    let seen = grants.iter().filter(|grant| view.scope.covers(grant.site));
    UserRow {
        second_factor: marks.factors.contains(&user.id),
        tokens: marks.tokens.get(&user.id).copied().unwrap_or(0),
        home: home_of(&user, view, tree),
        roles: seen.map(|grant| RoleRow::new(*grant, tree)).collect(),
        id: user.id,
        name: user.name,
        display_name: user.display_name,
        created_ms: user.created_ms,
        password_changed_ms: user.password_changed_ms,
        password_once: user.password_once,
        disabled_ms: user.disabled_ms,
        manageable,
    }
}

fn home_of(user: &xiezhi_model::User, view: &View, tree: &SiteTree) -> Option<SiteName> {
    let seen = user.home.filter(|site| view.scope.sees(*site));
    seen.map(|site| SiteName::of(site, tree))
}

/// A role as a request names it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedRole {
    role: String,
    /// `None` is the whole province.
    #[serde(default)]
    site: Option<i64>,
}

impl WantedRole {
    fn grant(&self) -> Result<Grant, Problem> {
        Ok(Grant {
            role: role_of(&self.role)?,
            site: self.site.map(SiteId),
        })
    }
}

fn role_of(word: &str) -> Result<Role, Problem> {
    Role::from_word(word).ok_or_else(|| {
        let words: Vec<&str> = Role::ALL.iter().map(|role| role.word()).collect();
        Problem::bad_request(format!("`role` must be one of {}", words.join(", ")))
    })
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAccount {
    name: String,
    #[serde(default)]
    display_name: String,
    /// Where it belongs; `None` is the province.
    #[serde(default)]
    home: Option<i64>,
    #[serde(default)]
    roles: Vec<WantedRole>,
}

/// An account with the password for one use that goes to its owner; shown once.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Handed {
    account: UserRow,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
}

pub(crate) async fn create(
    view: View,
    Json(wanted): Json<NewAccount>,
) -> Result<Created<Handed>, Problem> {
    let name = name_of(&wanted.name)?;
    if wanted.display_name.chars().count() > LONGEST_ACCOUNT_NAME {
        let said = format!("`display_name` may have {LONGEST_ACCOUNT_NAME} characters at most");
        return Err(wrong("display_name", "too_long", said));
    }
    let home = wanted.home.map(SiteId);
    if !view.scope.covers(home) {
        return Err(not_here());
    }
    let grants = wanted.roles.iter().map(WantedRole::grant);
    let grants = grants.collect::<Result<Grants, Problem>>()?;
    for grant in grants.iter() {
        let change = AccountChange::Grant(*grant);
        if change.needs(&Grants::default()) != Needs::One(Permission::ManageAccounts) {
            return Err(second_person());
        }
        if !view.scope.covers(grant.site) {
            return Err(not_here());
        }
    }
    let once = once()?;
    let new = NewUser {
        name: name.to_owned(),
        display_name: wanted.display_name.trim().to_owned(),
        home,
        password_hash: login::hashed(&view.state, once.clone()).await?,
        password_once: true,
        grants,
    };
    let now_ms = view.state.now_ms();
    let mut audit = view
        .who
        .audit(now_ms, "user.create", format!("user:{name}"));
    if !new.grants.is_empty() {
        audit = audit.with("roles", roles_text(&new.grants));
    }
    let by = Some(view.who.account.user.id);
    let made = view.state.inner.store.create_user(&new, by, audit).await?;
    let handed = Handed {
        account: row(&view, made, &Marks::default()),
        password: Some(once),
    };
    Ok(Created(handed))
}

fn roles_text(grants: &Grants) -> String {
    let one = |grant: &Grant| match grant.site {
        Some(site) => format!("{}@{site}", grant.role.word()),
        None => grant.role.word().to_owned(),
    };
    grants.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn name_of(text: &str) -> Result<&str, Problem> {
    account_name(text).ok_or_else(|| {
        let said = format!(
            "`name` must have 1 to {LONGEST_ACCOUNT_NAME} letters or digits; . - _ @ may be among them"
        );
        wrong("name", "no_account_name", said)
    })
}

/// What is wrong with one field, and which word a page has a text for.
fn wrong(field: &'static str, word: &'static str, said: String) -> Problem {
    let told = FieldTold {
        field,
        word,
        message: said.clone(),
    };
    Problem::new(StatusCode::BAD_REQUEST, "bad_fields", said).about(vec![told])
}

pub(super) fn once() -> Result<String, Problem> {
    password::generate_once().map_err(|error| {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Problem::new(status, "password_not_made", error.to_string())
    })
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    /// `grant`, `withdraw`, `reset_password`, `reset_second_factor`, `disable` or `enable`.
    change: String,
    /// For `grant` and `withdraw`.
    #[serde(default)]
    role: Option<WantedRole>,
    /// Why; needed where a second person has to consent.
    #[serde(default)]
    reason: String,
}

/// What became of a change.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// It is done.
    Done(Handed),
    /// It waits for a second person.
    Asked(ActRow),
}

/// Changes an account, or asks for it where that takes two.
pub(crate) async fn change(
    view: View,
    Path(id): Path<i64>,
    Json(wanted): Json<Change>,
) -> Result<Answer<Outcome>, Problem> {
    let account = find(&view, id).await?;
    let grant = wanted.role.as_ref().map(WantedRole::grant).transpose()?;
    let change = AccountChange::from_word(&wanted.change, grant).ok_or_else(|| {
        Problem::bad_request(
            "`change` must be grant or withdraw, with a `role`; or reset_password, \
             reset_second_factor, disable or enable, without",
        )
    })?;
    let needs = may(&view, change, &account)?;
    let by = view.who.account.user.id;
    let subject = format!("user:{}", account.user.name);
    let now_ms = view.state.now_ms();
    let mut audit = view.who.audit(now_ms, change.action(), subject);
    if let Some(grant) = grant {
        audit = audit.with("role", roles_text(&Grants::default().with(grant)));
    }
    let reason = wanted.reason.trim();
    if !reason.is_empty() {
        audit = audit.with("reason", reason);
    }
    let store = &view.state.inner.store;
    if matches!(needs, Needs::Two { .. }) {
        if reason.is_empty() || reason.chars().count() > MAX_REASON {
            return Err(Problem::bad_request(format!(
                "`reason` must say why, in at most {MAX_REASON} characters: a second person decides by it"
            )));
        }
        audit.action = "act.ask".to_owned();
        let audit = audit.with("change", change.word());
        let act = store.ask_for_act(id, change, reason, by, audit).await?;
        return Ok(Answer(Outcome::Asked(ActRow::new(&view, act).await?)));
    }
    let password = change.hands_password().then(once).transpose()?;
    let hash = match &password {
        Some(password) => Some(login::hashed(&view.state, password.clone()).await?),
        None => None,
    };
    let changed = store
        .change_account(id, change, Some(by), hash.as_deref(), audit)
        .await?;
    let marks = Marks::read(&view).await?;
    Ok(Answer(Outcome::Done(Handed {
        account: row(&view, changed, &marks),
        password,
    })))
}

/// Who must be there for a change, if the caller may begin it.
pub(super) fn may(view: &View, change: AccountChange, account: &Account) -> Result<Needs, Problem> {
    if account.user.id == view.who.account.user.id {
        let detail = "nobody changes their own account's roles or state: ask another administrator";
        return Err(Problem::new(StatusCode::FORBIDDEN, "own_account", detail));
    }
    let needs = change.needs(&account.grants);
    reaches(view, needs.ask(), change, account)?;
    Ok(needs)
}

/// That a permission of the caller reaches the account with all that it holds, and what it would be
/// given.
pub(super) fn reaches(
    view: &View,
    permission: Permission,
    change: AccountChange,
    account: &Account,
) -> Result<(), Problem> {
    let scope = view.scope_of(permission).ok_or_else(|| {
        let detail = if permission == Permission::GrantSecurity {
            "this account belongs to the security duty: only security administrators change it"
        } else {
            "this account may not manage accounts"
        };
        Problem::new(StatusCode::FORBIDDEN, "not_allowed", detail)
    })?;
    let given = change.grant().is_none_or(|grant| scope.covers(grant.site));
    if account.is_within(&scope) && given {
        return Ok(());
    }
    Err(not_here())
}

fn not_here() -> Problem {
    let detail =
        "this account or role reaches beyond what you manage: ask who manages the whole of it";
    Problem::new(StatusCode::FORBIDDEN, "beyond_scope", detail)
}

fn second_person() -> Problem {
    let detail = "roles of the security and the audit duty need a second person: make the account \
                  without them, then ask for the role";
    Problem::new(StatusCode::FORBIDDEN, "second_person_needed", detail)
}

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        let code = match error {
            AccountError::Store(error) => return error.into(),
            AccountError::Grants(_) => "roles_exclude",
            AccountError::NotIndependent(_) => "not_independent",
            AccountError::Last(_) => "last_administrator",
            AccountError::AlreadySo => "already_so",
            AccountError::TakesTwo => "takes_two",
            // The console's own, which this never does.
            AccountError::TwoCan { .. }
            | AccountError::NotAway(_)
            | AccountError::TooNew(_)
            | AccountError::TakesOne => "takes_two",
            AccountError::RefusedTwice => "refused_twice",
            AccountError::AskerGone => "asker_gone",
            AccountError::MayNot => "not_allowed",
            AccountError::Over => "over",
        };
        Self::new(StatusCode::CONFLICT, code, error.to_string())
    }
}
