//! The screens: plain ES modules, styles and vendored libraries, and the functions that hand them
//! out ready for the wire.
//!
//! There is no build step but this crate's `build.rs`: what is in `assets/` is what the browser
//! runs. A release build embeds every file raw, as brotli and as gzip; a debug build reads
//! `assets/` from disk, so that an edit shows on reload.
//!
//! Every asset's address holds [`version`], a digest over all of them
//! (`/assets/<version>/app.js`), so a browser keeps assets for ever and one upgrade replaces them
//! together; relative imports inside the modules stay within the same version. Only the page
//! itself ([`index`]) is revalidated, by its strong entity tag.
//!
//! This crate never talks HTTP and never knows who is asking; `xiezhi-api` does.

use std::borrow::Cow;

mod kind;

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// One file as `build.rs` left it.
struct Embedded {
    path: &'static str,
    etag: &'static str,
    raw: &'static [u8],
    brotli: &'static [u8],
    gzip: &'static [u8],
}

/// The version that debug builds put into addresses; nothing under it may be cached.
const DEBUG_VERSION: &str = "dev";

/// The page that every screen starts from.
const INDEX: &str = "index.html";

/// A file ready for the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// The body, compressed as [`Asset::encoding`] says.
    pub body: Cow<'static, [u8]>,
    /// Value of `Content-Type`.
    pub content_type: &'static str,
    /// Value of `ETag`, quotes included; strong, and different for each encoding.
    pub etag: String,
    /// Value of `Content-Encoding`, if compressed.
    pub encoding: Option<&'static str>,
    /// Whether a browser may keep it for ever under its address.
    pub immutable: bool,
}

/// Encodings that a request's `Accept-Encoding` allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Encodings {
    /// `br`
    pub brotli: bool,
    /// `gzip`
    pub gzip: bool,
}

impl Encodings {
    /// Reads an `Accept-Encoding` header. An encoding with `q=0` is not accepted.
    ///
    /// ```
    /// let accepted = xiezhi_web::Encodings::from_header("gzip, deflate, br;q=0");
    /// assert!(accepted.gzip && !accepted.brotli);
    /// ```
    #[must_use]
    pub fn from_header(header: &str) -> Self {
        let mut accepted = Self::default();
        for item in header.split(',') {
            let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
            if matches!(
                parameters.replace(' ', "").as_str(),
                "q=0" | "q=0.0" | "q=0.00"
            ) {
                continue;
            }
            match name.trim() {
                "br" => accepted.brotli = true,
                "gzip" => accepted.gzip = true,
                _ => {}
            }
        }
        accepted
    }
}

/// The part of every asset's address that changes with any asset's content.
#[must_use]
pub fn version() -> &'static str {
    if cfg!(debug_assertions) {
        DEBUG_VERSION
    } else {
        VERSION
    }
}

/// The page that every address of a screen answers with.
#[must_use]
pub fn index(accepted: Encodings) -> Asset {
    find(INDEX, accepted).map_or_else(missing_index, |asset| Asset {
        immutable: false,
        ..asset
    })
}

/// The asset at `path` below `/assets/<version>/`, for instance `lib/router.js`.
///
/// Returns `None` for an unknown name and for the page itself, which has no version.
#[must_use]
pub fn asset(path: &str, accepted: Encodings) -> Option<Asset> {
    if path == INDEX {
        None
    } else {
        find(path, accepted)
    }
}

fn find(path: &str, accepted: Encodings) -> Option<Asset> {
    if cfg!(debug_assertions) {
        from_disk(path)
    } else {
        embedded(path, accepted)
    }
}

/// The embedded file, in the best encoding that the browser takes and that helps.
fn embedded(path: &str, accepted: Encodings) -> Option<Asset> {
    let found = EMBEDDED.iter().find(|file| file.path == path)?;
    let (body, encoding) = if accepted.brotli && found.brotli.len() < found.raw.len() {
        (found.brotli, Some("br"))
    } else if accepted.gzip && found.gzip.len() < found.raw.len() {
        (found.gzip, Some("gzip"))
    } else {
        (found.raw, None)
    };
    Some(Asset {
        body: Cow::Borrowed(body),
        content_type: kind::content_type(path),
        etag: format!("\"{}-{}\"", found.etag, encoding.unwrap_or("raw")),
        encoding,
        immutable: true,
    })
}

/// The file as it is on disk now. Names outside the folder cannot be written: no part may begin
/// with a dot, and only plain name characters are taken.
fn from_disk(path: &str) -> Option<Asset> {
    let plain = path.split('/').all(|part| {
        !part.is_empty()
            && !part.starts_with('.')
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    });
    if !plain {
        return None;
    }
    let mut body = std::fs::read(format!("{}/assets/{path}", env!("CARGO_MANIFEST_DIR"))).ok()?;
    if path == INDEX {
        body = String::from_utf8(body)
            .ok()?
            .replace("{{version}}", DEBUG_VERSION)
            .into_bytes();
    }
    Some(Asset {
        etag: format!("\"{:016x}\"", fnv1a(&body)),
        body: Cow::Owned(body),
        content_type: kind::content_type(path),
        encoding: None,
        immutable: false,
    })
}

/// FNV-1a, for the entity tags of a developer's own edits only.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Only a debug build whose folder was moved away gets here.
fn missing_index() -> Asset {
    Asset {
        body: Cow::Borrowed(b"dashboards/web/assets/index.html is missing"),
        content_type: "text/plain; charset=utf-8",
        etag: "\"missing\"".to_owned(),
        encoding: None,
        immutable: false,
    }
}

#[cfg(test)]
mod tests;
