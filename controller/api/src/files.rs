//! Lists as files, CSV or XLSX: the same rows as the list, for as long as their reader may see them.
//!
//! Before the first byte leaves, the audit log says who takes what and how many rows of it. A slow reader
//! holds no memory: what was made whole lies in a file without a name ([`spool`]), and long lists are read
//! page by page as they are taken.

mod csv;
mod spool;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::{Stream, StreamExt as _};
use serde::de::DeserializeOwned;
use xiezhi_inventory::Language;
use xiezhi_inventory::export::{FileKind, MOST_SHEET_ROWS, SheetError, xlsx_file};
use xiezhi_model::{AuditEntry, Permission};

use self::spool::Spooled;
use crate::answer::accepts_gzip;
use crate::guard::Held;
use crate::problem::Problem;
use crate::turns::{Lines, Stand, Turn, Turns};
use crate::view::View;

/// Rows that are in memory at one time, where they come page by page.
pub(crate) const SLICE: u32 = 1000;

/// Lists that are made into XLSX files at one time: each takes some tens of megabytes.
const WORKBOOKS: usize = 2;

/// XLSX files that one account has made or waits for.
const WORKBOOKS_OF_ACCOUNT: usize = 2;

/// Files that one account takes at one time.
const OPEN_OF_ACCOUNT: usize = 4;

/// Most characters of a filter that the audit log keeps.
const LONGEST_TOLD: usize = 500;

/// How many rows a file has.
const ROWS: HeaderName = HeaderName::from_static("xiezhi-rows");

/// Some rows of a list.
pub(crate) type Rows = Vec<Vec<String>>;

/// What all exports share.
#[derive(Debug)]
pub(crate) struct ExportDesk {
    workbooks: Turns,
    open: Lines,
}

impl Default for ExportDesk {
    fn default() -> Self {
        Self {
            workbooks: Turns::new(WORKBOOKS, WORKBOOKS_OF_ACCOUNT),
            open: Lines::new(OPEN_OF_ACCOUNT),
        }
    }
}

impl ExportDesk {
    /// One more file that an account takes, until this is dropped.
    pub(crate) fn begin(&self, user: i64) -> Result<Stand, Problem> {
        self.open.stand(user).ok_or_else(too_many)
    }

    #[cfg(test)]
    pub(crate) fn workbooks(&self) -> &Turns {
        &self.workbooks
    }

    /// Files that an account takes now.
    #[cfg(test)]
    pub(crate) fn open_of(&self, user: i64) -> usize {
        self.open.count(user)
    }
}

fn too_many() -> Problem {
    let detail = "this account takes enough files already: wait until one of them is through";
    let status = StatusCode::TOO_MANY_REQUESTS;
    Problem::new(status, "too_many_exports", detail).retry_after(10)
}

/// How a file is wanted.
#[derive(Debug, Clone)]
pub(crate) struct Form {
    kind: FileKind,
    /// In which language its columns and words are.
    pub(crate) language: Language,
    /// Whether the caller takes gzip.
    gzip: bool,
    /// The filter in words, for the audit log.
    told: String,
}

/// The parameters of an export: those of its list, and how the file is written.
#[derive(Debug)]
pub(crate) struct Export<F> {
    pub(crate) filter: F,
    pub(crate) form: Form,
}

/// Parameters of a list that say which page of it; a file is all of it.
pub(crate) const OF_PAGES: [&str; 2] = ["limit", "cursor"];

impl<F: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Export<F> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let pairs = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        let (asked, rest): (Vec<_>, Vec<_>) = pairs.partition(|(name, _)| name == "format");
        let kind = match asked.as_slice() {
            [] => FileKind::default(),
            [(_, word)] => FileKind::from_word(word).ok_or_else(unknown_format)?,
            _ => return Err(unknown_format()),
        };
        let (spoken, rest): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|(name, _)| name == "lang");
        let language = match spoken.as_slice() {
            [] => Language::default(),
            [(_, word)] => Language::from_word(word).ok_or_else(unknown_language)?,
            _ => return Err(unknown_language()),
        };
        if rest.iter().any(|(name, _)| OF_PAGES.contains(&&**name)) {
            let detail = "a file is the whole list: it takes no `limit` and no `cursor`";
            return Err(Problem::bad_request(detail));
        }
        let told = rest.iter().filter(|(_, value)| !value.is_empty());
        let told: Vec<String> = told
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let told = shortened(&told.join("; "));
        let mut query = form_urlencoded::Serializer::new(String::new());
        let rest = query.extend_pairs(rest).finish();
        let uri: Uri = format!("/?{rest}")
            .parse()
            .map_err(|_| Problem::bad_request("the parameters cannot be read"))?;
        let axum::extract::Query(filter) = axum::extract::Query::try_from_uri(&uri)?;
        let gzip = accepts_gzip(&parts.headers);
        let form = Form {
            kind,
            language,
            gzip,
            told,
        };
        Ok(Self { filter, form })
    }
}

/// A filter as the audit log keeps it; one that is cut shows it.
fn shortened(told: &str) -> String {
    let mut kept: String = told.chars().take(LONGEST_TOLD).collect();
    if kept.len() < told.len() {
        kept.push('…');
    }
    kept
}

fn unknown_format() -> Problem {
    Problem::bad_request("`format` must be `csv` or `xlsx`, once")
}

fn unknown_language() -> Problem {
    Problem::bad_request("`lang` must be `zh` or `en`, once")
}

/// Which list leaves as a file.
pub(crate) struct Leaving<'a> {
    pub(crate) view: &'a View,
    /// What its reader must still have while it is read.
    pub(crate) permission: Permission,
    pub(crate) form: Form,
    /// What the file is called, without its ending.
    pub(crate) name: &'static str,
    /// Without the form, the filter and the rows.
    pub(crate) audit: AuditEntry,
    pub(crate) header: Vec<String>,
}

impl Leaving<'_> {
    /// Rows of what is all there. Those of a workbook are made when it is its turn.
    pub(crate) async fn held(self, rows: impl FnOnce() -> Rows) -> Result<Response, Problem> {
        let stand = self.begin()?;
        let (count, made) = match self.form.kind {
            FileKind::Xlsx => {
                let turn = self.turn().await?;
                let rows = rows();
                (rows.len(), self.workbook(rows, turn).await?)
            }
            FileKind::Csv => {
                let (rows, header, gzip) = (rows(), self.header.clone(), self.form.gzip);
                let count = rows.len();
                let making = spool::made(move || csv::whole(&header, &rows, gzip));
                (count, making.await?)
            }
        };
        self.spooled(made, count as u64, stand).await
    }

    /// So many rows, which `pages` gives in their order. A right that is gone ends the file.
    pub(crate) async fn paged(
        self,
        count: u64,
        pages: impl Stream<Item = Result<Rows, Problem>> + Send + 'static,
    ) -> Result<Response, Problem> {
        let stand = self.begin()?;
        let still = Arc::new(Held::of(self.view, self.permission));
        let pages = pages.then(move |page| {
            let still = Arc::clone(&still);
            async move {
                still.still().await?;
                page
            }
        });
        match self.form.kind {
            FileKind::Xlsx => {
                if count > MOST_SHEET_ROWS as u64 {
                    return Err(refused(&SheetError::TooManyRows));
                }
                // Rows are gathered by those alone whose turn it is: else all who wait would hold theirs.
                let turn = self.turn().await?;
                let rows = collected(pages).await?;
                let count = rows.len() as u64;
                let made = self.workbook(rows, turn).await?;
                self.spooled(made, count, stand).await
            }
            FileKind::Csv => {
                self.tell(count).await?;
                let lines = csv::stream(self.header.clone(), pages, self.form.gzip);
                let lines = lines.map(move |piece| {
                    // It counts as taken until its last piece is.
                    let _open = &stand;
                    piece
                });
                Ok(self.answer(count, Body::from_stream(lines)))
            }
        }
    }

    fn begin(&self) -> Result<Stand, Problem> {
        let user = self.view.who.account.user.id;
        self.view.state.inner.exports.begin(user)
    }

    /// This account's turn to have an XLSX file made.
    async fn turn(&self) -> Result<Turn, Problem> {
        let user = self.view.who.account.user.id;
        let turn = self.view.state.inner.exports.workbooks.take(user).await;
        turn.ok_or_else(too_many)
    }

    /// Rows as an XLSX file.
    async fn workbook(&self, rows: Rows, turn: Turn) -> Result<Spooled, Problem> {
        if rows.len() > MOST_SHEET_ROWS {
            return Err(refused(&SheetError::TooManyRows));
        }
        let header = self.header.clone();
        let making = spool::made(move || {
            let made = xlsx_file(&header, &rows);
            drop((turn, rows));
            made.map_err(|error| match error {
                SheetError::Writer(_) => std::io::Error::other(error),
                SheetError::TooManyRows => std::io::Error::other("too many rows"),
            })
        });
        making.await
    }

    /// Writes down that so many rows leave.
    async fn tell(&self, count: u64) -> Result<(), Problem> {
        let audit = self.audit.clone();
        let audit = audit
            .with("format", self.form.kind.word())
            .with("rows", count.to_string());
        let audit = match self.form.told.is_empty() {
            true => audit,
            false => audit.with("filter", self.form.told.clone()),
        };
        self.view.state.inner.store.append_audit(audit).await?;
        Ok(())
    }

    async fn spooled(self, made: Spooled, count: u64, stand: Stand) -> Result<Response, Problem> {
        self.tell(count).await?;
        let still = Held::of(self.view, self.permission);
        let bytes = made.bytes();
        let mut response = self.answer(count, Body::from_stream(made.pieces(still, stand)));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
        Ok(response)
    }

    fn answer(&self, count: u64, body: Body) -> Response {
        let Form { kind, gzip, .. } = self.form;
        let name = format!("attachment; filename=\"{}.{}\"", self.name, kind.word());
        let headers = [
            (header::CONTENT_TYPE, kind.media_type().to_owned()),
            (header::CONTENT_DISPOSITION, name),
            (ROWS, count.to_string()),
        ];
        let mut response = (headers, body).into_response();
        if kind == FileKind::Csv {
            let vary = HeaderValue::from_static("accept-encoding");
            response.headers_mut().insert(header::VARY, vary);
            if gzip {
                let encoding = HeaderValue::from_static("gzip");
                let headers = response.headers_mut();
                headers.insert(header::CONTENT_ENCODING, encoding);
            }
        }
        response
    }
}

/// All pages, if they fit into a sheet.
async fn collected(pages: impl Stream<Item = Result<Rows, Problem>>) -> Result<Rows, Problem> {
    let mut rows = Rows::new();
    let mut pages = std::pin::pin!(pages);
    while let Some(page) = pages.next().await {
        rows.extend(page?);
        if rows.len() > MOST_SHEET_ROWS {
            return Err(refused(&SheetError::TooManyRows));
        }
    }
    Ok(rows)
}

fn refused(error: &SheetError) -> Problem {
    let (status, code) = match error {
        SheetError::TooManyRows => (StatusCode::UNPROCESSABLE_ENTITY, "too_many_rows"),
        SheetError::Writer(_) => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
    };
    Problem::new(status, code, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_is_cut_in_the_log_shows_it() {
        let most = "法".repeat(LONGEST_TOLD);
        assert_eq!(shortened(&most), most);
        assert_eq!(shortened(&format!("{most}院")), format!("{most}…"));
    }
}
