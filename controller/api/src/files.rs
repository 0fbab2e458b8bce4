//! Lists as files, CSV or XLSX: the same rows as the list, for as long as their reader may see them.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::{Stream, StreamExt as _, stream};
use serde::de::DeserializeOwned;
use xiezhi_inventory::export::{
    FileKind, MOST_SHEET_ROWS, SheetError, csv_lines, csv_start, xlsx_file,
};
use xiezhi_model::Permission;

use crate::guard::Held;
use crate::problem::Problem;
use crate::view::View;

/// Rows that are in memory at one time, where they come page by page.
pub(crate) const SLICE: u32 = 1000;

/// Some rows of a list.
pub(crate) type Rows = Vec<Vec<String>>;

/// The parameters of an export: those of its list, and how the file is written.
#[derive(Debug)]
pub(crate) struct Export<F> {
    pub(crate) filter: F,
    pub(crate) kind: FileKind,
}

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
        let mut query = form_urlencoded::Serializer::new(String::new());
        let rest = query.extend_pairs(rest).finish();
        let uri: Uri = format!("/?{rest}")
            .parse()
            .map_err(|_| Problem::bad_request("the parameters cannot be read"))?;
        let axum::extract::Query(filter) = axum::extract::Query::try_from_uri(&uri)?;
        Ok(Self { filter, kind })
    }
}

fn unknown_format() -> Problem {
    Problem::bad_request("`format` must be `csv` or `xlsx`, once")
}

/// The answer: a list's rows, which `pages` gives in its order. A right that is gone ends the file.
pub(crate) async fn answer<H: AsRef<str>>(
    view: &View,
    permission: Permission,
    (name, kind): (&str, FileKind),
    header: &[H],
    pages: impl Stream<Item = Result<Rows, Problem>> + Send + 'static,
) -> Result<Response, Problem> {
    let held = Arc::new(Held::of(view, permission));
    let pages = pages.then(move |page| {
        let held = Arc::clone(&held);
        async move {
            held.still().await?;
            page
        }
    });
    let body = match kind {
        FileKind::Csv => {
            let start = stream::iter([Ok(csv_start(header))]);
            // What is cut off is seen to be cut off.
            let ended = |problem: Problem| std::io::Error::other(problem.detail().to_owned());
            let lines = pages.map(move |page| page.map(|rows| csv_lines(&rows)).map_err(ended));
            Body::from_stream(start.chain(lines))
        }
        FileKind::Xlsx => {
            let header: Vec<String> = header.iter().map(|cell| cell.as_ref().to_owned()).collect();
            Body::from(workbook(view, header, pages).await?)
        }
    };
    let name = format!("attachment; filename=\"{name}.{}\"", kind.word());
    let headers = [
        (header::CONTENT_TYPE, kind.media_type().to_owned()),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok((headers, body).into_response())
}

/// An XLSX file. It is made whole, one after the other.
async fn workbook(
    view: &View,
    header: Vec<String>,
    pages: impl Stream<Item = Result<Rows, Problem>>,
) -> Result<Vec<u8>, Problem> {
    let turn = Arc::clone(&view.state.inner.workbooks);
    let turn = turn.acquire_owned().await.map_err(|_| Problem::busy())?;
    let mut rows = Rows::new();
    let mut pages = std::pin::pin!(pages);
    while let Some(page) = pages.next().await {
        rows.extend(page?);
        if rows.len() > MOST_SHEET_ROWS {
            return Err(refused(&SheetError::TooManyRows));
        }
    }
    let writing = tokio::task::spawn_blocking(move || {
        let file = xlsx_file(&header, &rows);
        drop(turn);
        file
    });
    let written = writing.await.map_err(|_| Problem::busy())?;
    written.map_err(|error| refused(&error))
}

fn refused(error: &SheetError) -> Problem {
    let (status, code) = match error {
        SheetError::TooManyRows => (StatusCode::UNPROCESSABLE_ENTITY, "too_many_rows"),
        SheetError::Writer(_) => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
    };
    Problem::new(status, code, error.to_string())
}

/// Rows that are all there, a slice at a time.
pub(crate) fn slices(rows: Rows) -> impl Stream<Item = Result<Rows, Problem>> + Send + 'static {
    let mut rows = rows.into_iter();
    let slices = std::iter::from_fn(move || {
        let slice: Rows = rows.by_ref().take(SLICE as usize).collect();
        (!slice.is_empty()).then_some(Ok(slice))
    });
    stream::iter(slices)
}
