//! The one cookie: a session's identifier.

use axum::http::{HeaderMap, HeaderValue, header};

const NAME: &str = "xiezhi_session";
/// With this prefix a browser takes the cookie over TLS only, for this host only.
const SECURE_NAME: &str = "__Host-xiezhi_session";

fn name(secure: bool) -> &'static str {
    if secure { SECURE_NAME } else { NAME }
}

/// The identifier that a request brings, if it looks like one of ours.
pub(crate) fn read(headers: &HeaderMap, secure: bool) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(found, _)| *found == name(secure))
        .map(|(_, value)| value)
        .filter(|value| value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Sets the cookie; with an empty identifier takes it away.
pub(crate) fn set(identifier: &str, life_s: u64, secure: bool) -> Option<HeaderValue> {
    let life_s = if identifier.is_empty() { 0 } else { life_s };
    let security = if secure { "; Secure" } else { "" };
    let text = format!(
        "{}={identifier}; Path=/; HttpOnly; SameSite=Strict; Max-Age={life_s}{security}",
        name(secure)
    );
    HeaderValue::from_str(&text).ok()
}
