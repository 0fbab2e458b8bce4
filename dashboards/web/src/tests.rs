//! What must stay true of the assets as a whole.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

mod actions;
mod reasons;
mod source;
mod words;

const BOTH: Encodings = Encodings {
    brotli: true,
    gzip: true,
};

fn text(path: &str) -> String {
    let file = EMBEDDED.iter().find(|file| file.path == path);
    let file = file.unwrap_or_else(|| panic!("{path} is imported and does not exist"));
    String::from_utf8(file.raw.to_vec()).unwrap()
}

fn scripts() -> impl Iterator<Item = &'static str> {
    EMBEDDED
        .iter()
        .map(|file| file.path)
        .filter(|path| path.ends_with(".js"))
}

/// What follows each occurrence of `before`, up to `until`.
fn quoted_after(source: &str, before: &str, until: char) -> Vec<String> {
    source
        .match_indices(before)
        .filter_map(|(at, _)| source[at + before.len()..].split_once(until))
        .map(|(found, _)| found.to_owned())
        .collect()
}

fn resolve(from: &str, import: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in import.split('/') {
        match part {
            "." => {}
            ".." => assert!(parts.pop().is_some(), "{from} imports outside the assets"),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// Static imports of one module. Vendored files are minified: `from"./x"`.
fn imports(path: &str) -> Vec<String> {
    let source = text(path);
    let mut found = quoted_after(&source, "from '", '\'');
    found.extend(quoted_after(&source, "from\"", '"'));
    found.extend(quoted_after(&source, "\nimport '", '\''));
    found.iter().map(|import| resolve(path, import)).collect()
}

fn closure(roots: &[&str]) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut todo: Vec<String> = roots.iter().map(|root| (*root).to_owned()).collect();
    while let Some(path) = todo.pop() {
        if seen.insert(path.clone()) {
            todo.extend(imports(&path));
        }
    }
    seen
}

#[test]
fn every_import_is_relative_and_exists() {
    for path in scripts().filter(|path| *path != "vendor/uplot.js") {
        let source = text(path);
        let mut all = quoted_after(&source, "from '", '\'');
        all.extend(quoted_after(&source, "from\"", '"'));
        all.extend(quoted_after(&source, "import('", '\''));
        for import in all {
            assert!(
                import.starts_with("./") || import.starts_with("../"),
                "{path}: {import}"
            );
            text(&resolve(path, &import));
        }
    }
}

#[test]
fn the_first_page_stays_within_its_budget_of_script() {
    let sizes: BTreeMap<&str, usize> = EMBEDDED
        .iter()
        .map(|file| (file.path, file.brotli.len()))
        .collect();
    let modules = closure(&["app.js", "theme.js", "pages/overview.js"]);
    let total: usize = modules.iter().map(|path| sizes[path.as_str()]).sum();
    assert!(
        total <= 60_000,
        "{total} bytes of script on the wire for the first page"
    );
    assert!(
        !modules.contains("vendor/uplot.js"),
        "charts are loaded only where one is drawn"
    );
}

#[test]
fn what_is_embedded_is_its_source_without_lines_of_comment() {
    let assets = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    let mut left_out = 0;
    for path in scripts() {
        let source = std::fs::read_to_string(assets.join(path)).unwrap();
        let embedded = text(path);
        if path.starts_with("vendor/") {
            assert_eq!(embedded, source, "{path} is not ours to shorten");
            continue;
        }
        assert_eq!(embedded.lines().count(), source.lines().count(), "{path}");
        for (number, (kept, line)) in embedded.lines().zip(source.lines()).enumerate() {
            if kept == line {
                continue;
            }
            left_out += 1;
            let start = ["//", "/*", "*"]
                .iter()
                .any(|mark| line.trim().starts_with(mark));
            assert!(kept.is_empty() && start, "{path}:{}: {line}", number + 1);
        }
    }
    assert!(left_out > 100, "{left_out} lines of comment left out");
}

#[test]
fn the_page_preloads_exactly_what_it_imports() {
    let page = text(INDEX);
    let needed = closure(&["app.js"]);
    for path in &needed {
        assert!(
            page.contains(&format!("/{path}\"")),
            "index.html does not preload {path}"
        );
    }
}

#[test]
fn the_page_has_no_inline_script_or_style() {
    let page = text(INDEX);
    assert!(!page.contains("<style") && !page.contains("style="));
    for tag in page.split("<script").skip(1) {
        assert!(tag.trim_start().contains("src="), "inline script: {tag}");
    }
}

#[test]
fn every_text_that_a_page_asks_for_is_in_the_table_in_both_languages() {
    let tables = [
        "i18n",
        "ailments",
        "actions",
        "people",
        "frame",
        "problems",
        "register",
        "importpreview",
        "enrol",
        "devices",
        "links",
        "tree",
        "display",
        "audited",
        "owntokens",
        "programs",
        "files",
    ];
    let table: String = tables
        .iter()
        .map(|name| text(&format!("lib/{name}.js")))
        .collect();
    let known: BTreeSet<String> = table
        .lines()
        .filter_map(|line| line.trim().strip_prefix('\'')?.split_once("': ["))
        .map(|(key, texts)| {
            assert!(
                texts.matches("', '").count() == 1,
                "{key} needs exactly two texts"
            );
            key.to_owned()
        })
        .collect();
    assert!(
        known.len() > 100,
        "the table's shape changed: {} keys",
        known.len()
    );
    for path in scripts().filter(|path| !path.starts_with("vendor/")) {
        for key in quoted_after(&text(path), "t('", '\'') {
            let prefix = key.ends_with('.');
            let path_like = key.starts_with(['.', '/']);
            let found = path_like
                || known.contains(&key)
                || prefix && known.iter().any(|k| k.starts_with(&key));
            assert!(found || !key.contains('.'), "{path} asks for {key}");
        }
    }
}

#[test]
fn nothing_that_the_oldest_browser_lacks_is_used() {
    // Chrome 86 is the floor: domestic browsers on old kernels.
    let scripts_lack = [
        ".at(",
        "structuredClone(",
        "Object.hasOwn(",
        ".findLast(",
        "static {",
    ];
    let styles_lack = [
        "color-mix(",
        ":has(",
        "@layer",
        "@container",
        "oklch(",
        "inset-inline",
    ];
    for file in EMBEDDED
        .iter()
        .filter(|file| !file.path.starts_with("vendor/licences"))
    {
        let lacking: &[&str] = match file.path.rsplit_once('.').unwrap().1 {
            "js" => &scripts_lack,
            "css" => &styles_lack,
            _ => continue,
        };
        let source = text(file.path);
        for word in lacking {
            assert!(!source.contains(word), "{} uses {word}", file.path);
        }
    }
}

#[test]
fn embedded_files_come_in_the_best_encoding_that_the_browser_takes() {
    let brotli = embedded("app.js", BOTH).unwrap();
    let gzip = embedded(
        "app.js",
        Encodings {
            brotli: false,
            gzip: true,
        },
    )
    .unwrap();
    let raw = embedded("app.js", Encodings::default()).unwrap();
    assert_eq!(brotli.encoding, Some("br"));
    assert_eq!(gzip.encoding, Some("gzip"));
    assert_eq!(raw.encoding, None);
    assert!(brotli.body.len() < gzip.body.len() && gzip.body.len() < raw.body.len());
    assert!(brotli.etag != gzip.etag && gzip.etag != raw.etag);
    assert!(brotli.immutable);
}

#[test]
fn paths_outside_the_assets_are_not_served() {
    for path in [
        "../Cargo.toml",
        "/etc/passwd",
        "lib/../../Cargo.toml",
        ".git",
        "lib//x",
        "",
    ] {
        assert!(asset(path, BOTH).is_none(), "{path}");
        assert!(from_disk(path).is_none(), "{path}");
        assert!(embedded(path, BOTH).is_none(), "{path}");
    }
    assert!(
        asset(INDEX, BOTH).is_none(),
        "the page has no version and must be revalidated"
    );
    assert!(!index(BOTH).immutable);
}
