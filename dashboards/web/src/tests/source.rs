//! The controller's own source: what it refuses and writes down is looked for there.

use std::path::{Path, PathBuf};

/// Where the controller's source lies.
pub(super) fn controller() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../controller")
}

/// Files that ship: neither tests nor examples.
pub(super) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with("test") || ["examples", "benches"].contains(&name) {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path));
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
    found
}

/// A source without its tests and remarks.
pub(super) fn shipped(path: &Path) -> String {
    let source = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let code = source.split("#[cfg(test)]\nmod tests").next().unwrap();
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}
