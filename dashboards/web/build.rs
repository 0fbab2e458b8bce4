//! Embeds `assets/` into the crate: raw, brotli and gzip, with a digest of each file, so that the
//! running controller neither compresses nor hashes anything. Pure Rust; no node, no C.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use sha2::{Digest, Sha256};

/// The one file that names the others' version and therefore cannot be cached by it.
const INDEX: &str = "index.html";

fn main() -> Result<(), Box<dyn Error>> {
    let assets = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("assets");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    println!("cargo::rerun-if-changed=assets");

    let mut files = Vec::new();
    walk(&assets, &assets, &mut files)?;
    files.sort();

    let version = version_of(&assets, &files)?;
    let mut table = format!("pub(crate) const VERSION: &str = {version:?};\n");
    table.push_str("pub(crate) static EMBEDDED: &[Embedded] = &[\n");
    for (number, name) in files.iter().enumerate() {
        let mut raw = fs::read(assets.join(name))?;
        if name == INDEX {
            raw = String::from_utf8(raw)?
                .replace("{{version}}", &version)
                .into_bytes();
        }
        if name.ends_with(".js") && !name.starts_with("vendor/") {
            let source = String::from_utf8(raw)?;
            raw = without_comments(&source)
                .map_err(|line| {
                    format!("{name}:{line}: code behind the end of a comment: give it its own line")
                })?
                .into_bytes();
        }
        let digest = hex(&Sha256::digest(&raw));
        let stem = out.join(format!("asset-{number}"));
        let raw_path = write(&stem, "raw", &raw)?;
        let (brotli, gzip) = (brotli(&raw)?, gzip(&raw)?);
        let brotli_path = write(&stem, "br", &brotli)?;
        let gzip_path = write(&stem, "gz", &gzip)?;
        let etag = digest.get(..32).ok_or("digest is too short")?;
        writeln!(
            table,
            "    Embedded {{ path: {name:?}, etag: {etag:?}, raw: include_bytes!({raw_path:?}), \
             brotli: include_bytes!({brotli_path:?}), gzip: include_bytes!({gzip_path:?}) }},"
        )?;
    }
    table.push_str("];\n");
    fs::write(out.join("embedded.rs"), table)?;
    Ok(())
}

/// A script without the lines that are nothing but comment: they are an eighth of what goes over the line and
/// tell a browser nothing. The lines stay, empty, so that an error names the line that the source has. That no
/// text of a template looks like such a line, `checks/eslint.config.js` sees to.
///
/// Code behind the end of a comment would be lost or kept with half a comment: `Err` has such a line's number.
fn without_comments(source: &str) -> Result<String, usize> {
    let mut kept = String::with_capacity(source.len());
    let mut within = false;
    for (number, line) in source.lines().enumerate() {
        let text = line.trim();
        let begun = if within {
            Some(text)
        } else {
            text.strip_prefix("/*")
        };
        if let Some(rest) = begun {
            within = match rest.split_once("*/") {
                Some((_, "")) => false,
                Some(_) => return Err(number + 1),
                None => true,
            };
        } else if !text.starts_with("//") {
            kept.push_str(line);
        }
        kept.push('\n');
    }
    Ok(kept)
}

/// One digest over all names and contents: it stands in every asset's address, so that a browser
/// may keep assets for ever and still gets the new ones after an upgrade.
fn version_of(assets: &Path, files: &[String]) -> Result<String, Box<dyn Error>> {
    let mut hasher = Sha256::new();
    for name in files {
        let content = fs::read(assets.join(name))?;
        hasher.update(name.as_bytes());
        hasher.update((content.len() as u64).to_le_bytes());
        hasher.update(&content);
    }
    let digest = hex(&hasher.finalize());
    Ok(digest.get(..16).ok_or("digest is too short")?.to_owned())
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<String>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            println!("cargo::rerun-if-changed={}", path.display());
            walk(root, &path, files)?;
        } else {
            println!("cargo::rerun-if-changed={}", path.display());
            let name = path
                .strip_prefix(root)?
                .to_str()
                .ok_or("asset name is not UTF-8")?;
            files.push(name.to_owned());
        }
    }
    Ok(())
}

fn write(stem: &Path, extension: &str, bytes: &[u8]) -> Result<PathBuf, Box<dyn Error>> {
    let path = stem.with_extension(extension);
    fs::write(&path, bytes)?;
    Ok(path)
}

/// Quality 9 of 11: build scripts run unoptimised, and the last two steps cost ten times as much
/// for 3 % of the bytes.
fn brotli(raw: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut compressed = Vec::new();
    let mut writer = brotli::CompressorWriter::new(&mut compressed, 64 * 1024, 9, 18);
    writer.write_all(raw)?;
    drop(writer);
    Ok(compressed)
}

fn gzip(raw: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(raw)?;
    Ok(encoder.finish()?)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}
