//! The screens' files: one page for every address of a screen, and what it loads.

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use xiezhi_web::{Asset, Encodings};

use crate::extract::Path;
use crate::problem::Problem;

/// A file below `/assets/<version>/`. An older version's address answers with today's file, so
/// that a page that was open during an upgrade goes on until it is reloaded; it may not be kept.
pub(crate) async fn file(
    Path((version, path)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let asset = xiezhi_web::asset(&path, accepted(&headers));
    let asset = asset.ok_or_else(|| Problem::not_found("file"))?;
    let immutable = asset.immutable && version == xiezhi_web::version();
    Ok(send(asset, immutable, &headers))
}

/// Everything else: the page if a browser asks for one, otherwise 404.
pub(crate) async fn page(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path();
    // Labels on things lead to `/assets/12`; files of the pages lie deeper.
    let file = path
        .strip_prefix("/assets/")
        .is_some_and(|rest| rest.is_empty() || !rest.bytes().all(|sign| sign.is_ascii_digit()));
    let of_a_page = !path.starts_with("/api/") && !file;
    if of_a_page && matches!(method, Method::GET | Method::HEAD) {
        return send(xiezhi_web::index(accepted(&headers)), false, &headers);
    }
    Problem::not_found("resource").into_response()
}

fn accepted(headers: &HeaderMap) -> Encodings {
    let value = headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok());
    Encodings::from_header(value.unwrap_or_default())
}

fn send(asset: Asset, immutable: bool, request: &HeaderMap) -> Response {
    let matches = request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|tag| tag.trim().trim_start_matches("W/") == asset.etag);
    let cache = if immutable {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let mut response = if matches {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = axum::body::Bytes::from(asset.body.into_owned()).into_response();
        let kind = HeaderValue::from_static(asset.content_type);
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if let Some(encoding) = asset.encoding {
            let encoding = HeaderValue::from_static(encoding);
            response
                .headers_mut()
                .insert(header::CONTENT_ENCODING, encoding);
        }
        response
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Ok(tag) = HeaderValue::from_str(&asset.etag) {
        headers.insert(header::ETAG, tag);
    }
    response
}
