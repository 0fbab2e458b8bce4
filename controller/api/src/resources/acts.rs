//! Two-person acts: what waits for a second person, and what became of the others.

use std::collections::HashMap;

use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use xiezhi_model::{self as model, Account, Act, ActState, Needs};

use super::login;
use super::users::{find, once, reaches};
use crate::answer::Answer;
use crate::extract::{Path, Query};
use crate::pages::Page;
use crate::problem::Problem;
use crate::rows::RoleRow;
use crate::view::View;

#[derive(Serialize, JsonSchema)]
pub(crate) struct ActRow {
    id: i64,
    user: Named,
    change: &'static str,
    role: Option<RoleRow>,
    reason: String,
    asked_by: Named,
    asked_ms: i64,
    expires_ms: i64,
    /// `pending`, `expired`, `done`, `refused` or `withdrawn`.
    state: &'static str,
    decided_by: Option<Named>,
    decided_ms: Option<i64>,
    /// Whether the account's password and sessions end with it and who consents is handed a new password
    /// for one use.
    hands_password: bool,
    /// Whether the caller may consent, as far as roles go; ties are judged at the consent.
    consentable: bool,
    /// Whether the caller may refuse it.
    refusable: bool,
    /// Whether who asked may not ask for it any more: nobody can consent then.
    asker_gone: bool,
}

#[derive(Clone, Serialize, JsonSchema)]
struct Named {
    id: i64,
    name: String,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Acts {
    /// Newest first.
    items: Vec<ActRow>,
    /// `cursor` of the next page; `None` on the last.
    next: Option<i64>,
}

impl ActRow {
    pub(super) async fn new(view: &View, act: Act) -> Result<Self, Problem> {
        let accounts = by_number(view.state.inner.store.accounts().await?);
        Self::of(view, act, &accounts).ok_or_else(|| Problem::not_found("act"))
    }

    /// `None` if the account that it is about is not the caller's to see.
    fn of(view: &View, act: Act, accounts: &ByNumber) -> Option<Self> {
        let named = |id: i64| Named {
            id,
            name: accounts
                .get(&id)
                .map(|account| account.user.name.clone())
                .unwrap_or_default(),
        };
        let account = accounts.get(&act.user)?;
        let places = account.grants.iter().map(|grant| grant.site);
        let mut places = std::iter::once(account.user.home).chain(places);
        places.any(|site| view.scope.covers(site)).then_some(())?;
        let now_ms = view.state.now_ms();
        let is_pending = act.state == ActState::Pending && act.expires_ms > now_ms;
        let state = match act.state {
            ActState::Pending if !is_pending => "expired",
            state => state.word(),
        };
        let asker = accounts.get(&act.asked_by);
        let asker_gone =
            is_pending && !asker.is_some_and(|asker| may_still_ask(view, &act, asker, account));
        let refusable = is_pending && may_consent(view, &act, account).is_ok();
        Some(Self {
            id: act.id,
            user: named(act.user),
            change: act.change.word(),
            hands_password: act.change.hands_password(),
            role: act
                .change
                .grant()
                .map(|grant| RoleRow::new(grant, view.tree())),
            reason: act.reason,
            asked_by: named(act.asked_by),
            asked_ms: act.asked_ms,
            expires_ms: act.expires_ms,
            state,
            decided_by: act.decided_by.map(named),
            decided_ms: act.decided_ms,
            consentable: refusable && !asker_gone,
            refusable,
            asker_gone,
        })
    }
}

/// Whether who asked could ask for it now. The store judges it again at the consent.
fn may_still_ask(view: &View, act: &Act, asker: &Account, account: &Account) -> bool {
    let ask = act.change.needs(&account.grants).ask();
    model::reaches(asker, ask, act.change, account, view.whole())
}

/// Whether the caller may be the second person, as far as roles go.
fn may_consent(view: &View, act: &Act, account: &Account) -> Result<(), Problem> {
    let me = view.who.account.user.id;
    if me == act.asked_by || me == act.user {
        let detail = "the second person is neither who asked nor whose account it is";
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "not_independent",
            detail,
        ));
    }
    match act.change.needs(&account.grants) {
        Needs::Two { consent, .. } => reaches(view, consent, act.change, account),
        // Its roles changed since; who may do it alone may also agree.
        Needs::One(permission) => reaches(view, permission, act.change, account),
    }
}

type ByNumber = HashMap<i64, Account>;

fn by_number(accounts: Vec<Account>) -> ByNumber {
    let numbered = accounts.into_iter();
    numbered.map(|account| (account.user.id, account)).collect()
}

/// Acts that are looked at in one go where those of a page are not enough.
const LOOK: u32 = 1000;

/// Acts about accounts that the caller does not see stand between the others, so a page may take several
/// looks.
pub(crate) async fn list(view: View, Query(page): Query<Page>) -> Result<Answer<Acts>, Problem> {
    let store = &view.state.inner.store;
    let accounts = by_number(store.accounts().await?);
    let (mut items, mut older) = (Vec::new(), page.query());
    loop {
        let acts = store.acts(older).await?;
        let is_last = acts.len() < older.limit as usize;
        older.before = acts.last().map(|act| act.id);
        older.limit = LOOK;
        let rows = acts.into_iter();
        items.extend(rows.filter_map(|act| ActRow::of(&view, act, &accounts)));
        if is_last || items.len() > page.size() {
            break;
        }
    }
    let next = page.cut(&mut items, |act| act.id);
    Ok(Answer(Acts { items, next }))
}

async fn act_of(view: &View, id: i64) -> Result<(Act, Account), Problem> {
    let act = view.state.inner.store.act(id).await?;
    let act = act.ok_or_else(|| Problem::not_found("act"))?;
    let account = find(view, act.user)
        .await
        .map_err(|_| Problem::not_found("act"))?;
    Ok((act, account))
}

/// What consent brought about.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Consented {
    act: ActRow,
    /// The password for one use, where the act brings one: for the account's owner; shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
}

/// The second person agrees: the change is done.
pub(crate) async fn consent(view: View, Path(id): Path<i64>) -> Result<Answer<Consented>, Problem> {
    let (act, account) = act_of(&view, id).await?;
    may_consent(&view, &act, &account)?;
    let password = act.change.hands_password().then(once).transpose()?;
    let hash = match &password {
        Some(password) => Some(login::hashed(&view.state, password.clone()).await?),
        None => None,
    };
    let (state, me) = (&view.state, view.who.account.user.id);
    let audit = view
        .who
        .audit(
            state.now_ms(),
            "act.consent",
            format!("user:{}", account.user.name),
        )
        .with("act", id.to_string())
        .with("change", act.change.word());
    let store = &state.inner.store;
    store.consent_to_act(id, me, hash.as_deref(), audit).await?;
    let (act, _) = act_of(&view, id).await?;
    Ok(Answer(Consented {
        act: ActRow::new(&view, act).await?,
        password,
    }))
}

/// The second person refuses, or the first takes it back.
pub(crate) async fn end(view: View, Path(id): Path<i64>) -> Result<Answer<ActRow>, Problem> {
    let (act, account) = act_of(&view, id).await?;
    let me = view.who.account.user.id;
    if act.asked_by != me {
        may_consent(&view, &act, &account)?;
    }
    let action = if act.asked_by == me {
        "act.withdraw"
    } else {
        "act.refuse"
    };
    let now_ms = view.state.now_ms();
    let audit = view
        .who
        .audit(now_ms, action, format!("user:{}", account.user.name))
        .with("act", id.to_string())
        .with("change", act.change.word());
    let ended = view.state.inner.store.end_act(id, me, audit).await?;
    Ok(Answer(ActRow::new(&view, ended).await?))
}
