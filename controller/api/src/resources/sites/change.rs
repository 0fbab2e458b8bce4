//! One site: made, renamed, moved, retired, restored; and what happened to it.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xiezhi_model::{NewSite, SiteChange, SiteField, SiteId, Tier};
use xiezhi_store::{SiteError, SiteHistoryEntry, UndoObstacle};

use super::{SiteRow, Tally};
use crate::answer::{Answer, Created};
use crate::extract::{Json, Path, Query};
use crate::problem::{FieldTold, Problem};
use crate::view::View;

const PAGE: u32 = 100;
const LARGEST_PAGE: u32 = 500;

/// A site that is to be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewSite")]
pub(crate) struct New {
    /// Identifier, which never changes: `gs-01-09`.
    key: String,
    name: String,
    tier: String,
    /// Number of the site above it; `null`: none.
    #[serde(default)]
    parent: Option<i64>,
    /// 法院代字.
    #[serde(default)]
    code: String,
}

/// What a site is to hold: all of it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "WantedSite")]
pub(crate) struct Wanted {
    name: String,
    tier: String,
    /// Number of the site above it; `null`: none.
    parent: Option<i64>,
    /// 法院代字.
    code: String,
    /// Whether it is to be out of use.
    #[serde(default)]
    retired: bool,
    /// The version that was read.
    version: i64,
}

fn tier_of(word: &str) -> Result<Tier, Problem> {
    let words = Tier::ALL.map(Tier::word).join(", ");
    let known = Tier::from_word(word);
    known.ok_or_else(|| Problem::bad_request(format!("`tier` must be one of {words}")))
}

fn key_of(view: &View, parent: Option<i64>) -> Result<Option<String>, Problem> {
    let parent = parent.map(|id| view.site(id)).transpose()?;
    Ok(parent.map(|site| site.key.clone()))
}

pub(crate) async fn create(view: View, Json(new): Json<New>) -> Result<Created<SiteRow>, Problem> {
    let site = NewSite {
        key: new.key.trim().to_owned(),
        name: new.name.trim().to_owned(),
        tier: tier_of(&new.tier)?,
        parent: key_of(&view, new.parent)?,
        court_code: new.code.trim().to_owned(),
    };
    let audit = view.who.audit(view.state.now_ms(), "site.create", "");
    let made = view.state.inner.store.create_site(&site, audit).await?;
    let row = Tally::new(view.tree(), &[]).row(&made);
    Ok(Created(row))
}

pub(crate) async fn change(
    view: View,
    Path(id): Path<i64>,
    Json(wanted): Json<Wanted>,
) -> Result<Answer<SiteRow>, Problem> {
    let site = NewSite {
        key: view.site(id)?.key.clone(),
        name: wanted.name.trim().to_owned(),
        tier: tier_of(&wanted.tier)?,
        parent: key_of(&view, wanted.parent)?,
        court_code: wanted.code.trim().to_owned(),
    };
    let audit = view.who.audit(view.state.now_ms(), "site.change", "");
    let store = &view.state.inner.store;
    let changed = store
        .change_site(&site, wanted.retired, wanted.version, audit)
        .await?;
    Ok(Answer(Tally::new(view.tree(), &view.hosts()).row(&changed)))
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "SiteOlder")]
pub(crate) struct Older {
    /// Entries before this number.
    before: Option<i64>,
    /// Entries on a page, 500 at most; 100 unless given.
    limit: Option<u32>,
}

/// A field before and after.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SiteFieldChange")]
pub(crate) struct FieldRow {
    /// `id`, `name`, `tier`, `parent_id`, `court_code` or `state`.
    field: &'static str,
    before: String,
    after: String,
}

/// One entry of a history.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SiteChange")]
pub(crate) struct ChangeRow {
    id: i64,
    time_ms: i64,
    actor: String,
    /// `create`, `change`, `move`, `retire`, `restore` or `undo`.
    action: String,
    import: Option<i64>,
    changes: Vec<FieldRow>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SiteHistory")]
pub(crate) struct History {
    /// Newest first.
    items: Vec<ChangeRow>,
    /// `before` of the next page; `None` on the last.
    next: Option<i64>,
}

pub(crate) async fn history(
    view: View,
    Path(id): Path<i64>,
    Query(older): Query<Older>,
) -> Result<Answer<History>, Problem> {
    let site: SiteId = view.site(id)?.id;
    let limit = older.limit.unwrap_or(PAGE).clamp(1, LARGEST_PAGE);
    let store = &view.state.inner.store;
    let mut entries = store.site_history(site, older.before, limit + 1).await?;
    let more = entries.len() > limit as usize;
    entries.truncate(limit as usize);
    let last = entries.last().filter(|_| more);
    Ok(Answer(History {
        next: last.map(|entry| entry.id),
        items: entries
            .into_iter()
            .map(|entry| change_row(entry, &view))
            .collect(),
    }))
}

fn change_row(entry: SiteHistoryEntry, view: &View) -> ChangeRow {
    let changes = entry.changes.into_iter();
    let name = |key: &str| {
        let site = view.tree().iter().find(|site| site.key == key);
        site.map(|site| site.name.as_str())
    };
    ChangeRow {
        id: entry.id,
        time_ms: entry.time_ms,
        actor: entry.actor,
        action: entry.action,
        import: entry.import,
        changes: changes
            .map(|change| field_row(change, view, name))
            .collect(),
    }
}

/// The site above is shown by what `name` says of its key, and by the key if that is nothing; who does not
/// see the whole province may not learn it.
pub(super) fn field_row<'n>(
    change: SiteChange,
    view: &View,
    name: impl Fn(&str) -> Option<&'n str>,
) -> FieldRow {
    let named = |key: String| match name(&key) {
        Some(name) => name.to_owned(),
        // One that an import added and that is gone.
        None if view.scope.sites().is_none() => key,
        None => String::new(),
    };
    let (before, after) = match change.field {
        SiteField::Parent => (named(change.before), named(change.after)),
        _ => (change.before, change.after),
    };
    FieldRow {
        field: change.field.word(),
        before,
        after,
    }
}

/// What stands against taking an import back: each reason once, with whom it is about.
fn in_the_way(rows: &[UndoObstacle]) -> Vec<FieldTold> {
    let mut told: BTreeMap<&'static str, Vec<&str>> = BTreeMap::new();
    for row in rows {
        told.entry(row.word).or_default().push(&row.code);
    }
    let told = told.into_iter().map(|(word, mut codes)| {
        codes.truncate(MOST_NAMED);
        FieldTold {
            field: "undo",
            word,
            message: codes.join(", "),
        }
    });
    told.collect()
}

/// Most rows that a refusal names.
const MOST_NAMED: usize = 20;

impl From<SiteError> for Problem {
    fn from(error: SiteError) -> Self {
        let said = error.to_string();
        let conflict = |code| Self::new(StatusCode::CONFLICT, code, said.clone());
        match error {
            SiteError::Store(error) => error.into(),
            SiteError::Taken(_) => conflict("exists"),
            SiteError::Stale => conflict("changed"),
            SiteError::StillUsed(uses) => {
                let told = uses.iter().map(|(what, count)| FieldTold {
                    field: what.word(),
                    word: "still_used",
                    message: count.to_string(),
                });
                conflict("still_used").about(told.collect())
            }
            SiteError::Over => conflict("over"),
            SiteError::Moved => conflict("moved"),
            SiteError::NotUndone(rows) => {
                let told = rows.iter().take(MOST_NAMED);
                let told: Vec<String> = told
                    .map(|row| format!("row {} {:?}: {}", row.line, row.code, row.why))
                    .collect();
                let detail = format!("{said}: {}", told.join("; "));
                Self::new(StatusCode::CONFLICT, "not_undone", detail).about(in_the_way(&rows))
            }
            SiteError::Refused { field, problem } => {
                let told = FieldTold {
                    field: field.word(),
                    word: problem.word(),
                    message: problem.to_string(),
                };
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                Self::new(status, "not_possible", said).about(vec![told])
            }
            SiteError::Unfit(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "not_possible", said)
            }
        }
    }
}
