//! Rooms, staff and assets: lists, single items, their history, and labels.

pub(crate) mod export;
pub(crate) mod imports;
mod shapes;

use axum::http::{HeaderMap, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xiezhi_model::{Field, Item, RegisterKind, SiteId, Values};
use xiezhi_store::{RegisterError, RegisterQuery};

use self::shapes::{ChangeRow, ItemRow, change_row};
use crate::answer::{Answer, Created};
use crate::extract::{Json, Path, Query};
use crate::print::asset_address;
use crate::problem::{FieldTold, Problem};
use crate::qr::QrCode;
use crate::rows::SiteName;
use crate::view::View;

const PAGE: u32 = 100;
const LARGEST_PAGE: u32 = 500;

/// What to list.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "RegisterFilter")]
pub(crate) struct Filter {
    /// Part of a code, name, model, serial number or note, whatever its case.
    q: Option<String>,
    /// Only this site.
    site: Option<i64>,
    /// With `site`: and all sites below it.
    deep: bool,
    /// Only what is in this state of its life cycle: `in_use` or `retired`; of assets
    /// also `in_stock`, `repair` or `idle`.
    state: Option<String>,
    /// Only what names the room with this code.
    room: Option<String>,
    /// Only what names the member of staff with this code.
    owner: Option<String>,
    /// Items on a page, 500 at most; 100 unless given.
    limit: Option<u32>,
    /// Where the page before ended.
    cursor: Option<String>,
}

impl Filter {
    fn query(&self, view: &View) -> Result<RegisterQuery, Problem> {
        let sites = self.site.map(|site| match self.deep {
            true => view.tree().subtree(SiteId(site)),
            false => [SiteId(site)].into(),
        });
        let after = self.cursor.as_deref().map(str::parse).transpose();
        Ok(RegisterQuery {
            sites,
            state: self.state.clone(),
            room: self.room.clone(),
            owner: self.owner.clone(),
            text: self.q.clone(),
            after: after.map_err(|error: xiezhi_store::CursorError| {
                Problem::bad_request(error.to_string())
            })?,
            limit: self.limit.unwrap_or(PAGE).clamp(1, LARGEST_PAGE),
        })
    }
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RegisterPage")]
pub(crate) struct Items {
    items: Vec<ItemRow>,
    /// Where to go on; `None` on the last page.
    next: Option<String>,
}

/// A part of the register.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum Part {
    Rooms,
    Staff,
    Assets,
}

impl From<Part> for RegisterKind {
    fn from(part: Part) -> Self {
        match part {
            Part::Rooms => Self::Room,
            Part::Staff => Self::Staff,
            Part::Assets => Self::Asset,
        }
    }
}

pub(crate) async fn list(
    view: View,
    Path(part): Path<Part>,
    Query(filter): Query<Filter>,
) -> Result<Answer<Items>, Problem> {
    let kind = part.into();
    let query = filter.query(&view)?;
    let store = &view.state.inner.store;
    let page = store.register_page(kind, &query, &view.scope).await?;
    let items = page.items.iter().map(|item| ItemRow::new(item, &view));
    Ok(Answer(Items {
        items: items.collect(),
        next: page.next.map(|next| next.to_string()),
    }))
}

async fn find(view: &View, kind: RegisterKind, id: i64) -> Result<Item, Problem> {
    let store = &view.state.inner.store;
    let item = store.register_item(kind, id, &view.scope).await?;
    item.ok_or_else(|| Problem::not_found(kind.noun()))
}

pub(crate) async fn read(
    view: View,
    Path((part, id)): Path<(Part, i64)>,
) -> Result<Answer<ItemRow>, Problem> {
    let item = find(&view, part.into(), id).await?;
    Ok(Answer(ItemRow::new(&item, &view)))
}

/// What an item is to hold: all of it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "WantedItem")]
pub(crate) struct Wanted {
    site: i64,
    /// Texts by field.
    values: std::collections::BTreeMap<String, String>,
    /// For a change: the version that was read.
    #[serde(default)]
    version: Option<i64>,
}

impl Wanted {
    fn values(&self, kind: RegisterKind) -> Result<Values, Problem> {
        let mut given = Values::new();
        for (word, text) in &self.values {
            let field = Field::from_word(word).filter(|field| kind.fields().contains(field));
            let field = field.ok_or_else(|| {
                Problem::bad_request(format!("{} have no field {word:?}", kind.word()))
            })?;
            given.insert(field, text.clone());
        }
        kind.check(&given).map_err(|problems| {
            let told = problems.iter().map(|(field, why)| FieldTold {
                field: field.word(),
                word: why.word(),
                message: format!("{} {why}", field.word()),
            });
            let told: Vec<FieldTold> = told.collect();
            let all: Vec<&str> = told.iter().map(|one| one.message.as_str()).collect();
            Problem::new(StatusCode::BAD_REQUEST, "bad_fields", all.join("; ")).about(told)
        })
    }
}

pub(crate) async fn create(
    view: View,
    Path(part): Path<Part>,
    Json(wanted): Json<Wanted>,
) -> Result<Created<ItemRow>, Problem> {
    let kind = RegisterKind::from(part);
    let site = view.site_in_use(wanted.site)?.id;
    let values = wanted.values(kind)?;
    let now_ms = view.state.now_ms();
    let audit = view.who.audit(now_ms, "register.create", kind.word());
    let store = &view.state.inner.store;
    let made = store.create_item(kind, site, &values, audit).await?;
    Ok(Created(ItemRow::new(&made, &view)))
}

pub(crate) async fn change(
    view: View,
    Path((part, id)): Path<(Part, i64)>,
    Json(wanted): Json<Wanted>,
) -> Result<Answer<ItemRow>, Problem> {
    let item = find(&view, part.into(), id).await?;
    let site = match wanted.site == item.site.0 {
        true => item.site,
        false => view.site_in_use(wanted.site)?.id,
    };
    let values = wanted.values(item.kind)?;
    let version = wanted
        .version
        .ok_or_else(|| Problem::bad_request("`version` must be that of the item as you read it"))?;
    let seen = Item { version, ..item };
    let now_ms = view.state.now_ms();
    let audit = view.who.audit(now_ms, "register.change", seen.kind.word());
    let store = &view.state.inner.store;
    let changed = store.change_item(&seen, site, &values, audit).await?;
    Ok(Answer(ItemRow::new(&changed, &view)))
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Older {
    /// Entries before this number.
    before: Option<i64>,
    /// Entries on a page, 500 at most; 100 unless given.
    limit: Option<u32>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ItemHistory")]
pub(crate) struct History {
    /// Newest first.
    items: Vec<ChangeRow>,
    /// `before` of the next page; `None` on the last.
    next: Option<i64>,
}

pub(crate) async fn history(
    view: View,
    Path((part, id)): Path<(Part, i64)>,
    Query(older): Query<Older>,
) -> Result<Answer<History>, Problem> {
    let item = find(&view, part.into(), id).await?;
    let limit = older.limit.unwrap_or(PAGE).clamp(1, LARGEST_PAGE);
    let store = &view.state.inner.store;
    let mut entries = store
        .register_history(item.id, older.before, limit + 1)
        .await?;
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

/// What stands on the thing itself.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AssetLabel")]
pub(crate) struct Label {
    id: i64,
    code: String,
    name: String,
    site: SiteName,
    /// What the squares say: the address of the asset's page, as this browser reaches it.
    text: String,
    qr: QrCode,
}

pub(crate) async fn label(
    view: View,
    Path(id): Path<i64>,
    headers: HeaderMap,
) -> Result<Answer<Label>, Problem> {
    let item = find(&view, RegisterKind::Asset, id).await?;
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let host = format!("https://{}", host.unwrap_or("CONTROLLER"));
    let text = asset_address(&host, id);
    Ok(Answer(Label {
        id,
        code: item.value(Field::Code).to_owned(),
        name: item.value(Field::Name).to_owned(),
        site: SiteName::of(item.site, view.tree()),
        qr: QrCode::of(&text)?,
        text,
    }))
}

/// Most rows that a refusal names.
const MOST_NAMED: usize = 20;

impl From<RegisterError> for Problem {
    fn from(error: RegisterError) -> Self {
        let said = error.to_string();
        let conflict = |code| Self::new(StatusCode::CONFLICT, code, said.clone());
        let about = |field: Field, word| {
            vec![FieldTold {
                field: field.word(),
                word,
                message: said.clone(),
            }]
        };
        match error {
            RegisterError::Store(error) => error.into(),
            RegisterError::Taken { .. } => conflict("exists").about(about(Field::Code, "taken")),
            RegisterError::Stale => conflict("changed"),
            RegisterError::StillNamed { .. } => conflict("still_named"),
            RegisterError::Over => conflict("over"),
            RegisterError::Moved => conflict("moved"),
            RegisterError::NotUndone(rows) => {
                let told = rows.iter().take(MOST_NAMED);
                let told: Vec<String> = told.map(ToString::to_string).collect();
                let detail = format!(
                    "{said}: {}; a GET of the same address says what was changed, row by row",
                    told.join("; ")
                );
                Self::new(StatusCode::CONFLICT, "not_undone", detail)
            }
            RegisterError::Unknown { field, .. } => {
                let told = about(field, "unknown_code");
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "not_possible", said).about(told)
            }
            RegisterError::CodeStays => {
                let told = about(Field::Code, "code_stays");
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "not_possible", said).about(told)
            }
        }
    }
}
