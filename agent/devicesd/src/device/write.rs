//! Files of devices as commands write them, with sealed secrets.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use xiezhi_devices::config::{self, Device, File};
use xiezhi_devices::sealed::Key;

use super::secrets::{self, Keys, asked, plain_places, quoted};
use super::{Words, texts};
use crate::show;

/// What the device that is being added is called in messages.
const NEW: &str = "new.yaml";

/// The text of a device's file; asks for the secrets. The folder and the key are made if there are none.
pub(super) fn entry(words: &Words, name: &str) -> Result<String> {
    let address = words.words.get(1).context("ADDRESS is missing")?;
    ensure!(
        config::parse_address(address).is_some(),
        "`{address}` is no address such as 10.8.0.7 or 10.8.0.7:1161"
    );
    let mut text = format!("devices:\n- name: {name}\n  address: {}\n", quoted(address));
    let optional = [
        ("every", &words.every),
        ("profile", &words.profile),
        ("note", &words.note),
    ];
    for (key, value) in optional {
        if let Some(value) = value {
            writeln!(text, "  {key}: {}", quoted(value))?;
        }
    }
    match &words.set {
        Some(set) => writeln!(text, "  credentials: {}", quoted(set))?,
        None => text.push_str(&login(words)?),
    }
    Ok(text)
}

/// The credentials, sealed.
fn login(words: &Words) -> Result<String> {
    if let Some(folder) = words.key().parent() {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    let key = secrets::key(&words.key())?;
    let sealed = |what: &str| -> Result<String> { Ok(quoted(&key.seal(&asked(what)?)?)) };
    let version = words.version.as_deref().unwrap_or("2c");
    let mut text = format!("  credentials:\n    version: {version}\n");
    match version {
        "1" | "2c" => {
            let stray = words.user.is_some() || words.auth.is_some() || words.privacy.is_some();
            ensure!(!stray, "--user, --auth and --privacy are for --version 3");
            writeln!(text, "    community: {}", sealed("community")?)?;
        }
        "3" => {
            let user = words.user.as_deref().context("--user NAME is missing")?;
            writeln!(text, "    user: {}", quoted(user))?;
            let auth = words.auth.as_deref().unwrap_or("sha256");
            let privacy = match words.privacy.as_deref() {
                Some(given) => given,
                None if auth == "none" => "none",
                None => "aes128",
            };
            if auth != "none" {
                let password = sealed("password for signing (auth)")?;
                writeln!(
                    text,
                    "    auth: {{protocol: {}, password: {password}}}",
                    quoted(auth)
                )?;
            }
            if privacy != "none" {
                let password = sealed("password for encrypting (privacy)")?;
                let protocol = quoted(privacy);
                writeln!(
                    text,
                    "    privacy: {{protocol: {protocol}, password: {password}}}"
                )?;
            }
        }
        other => bail!("`--version {other}`: there are 1, 2c and 3"),
    }
    Ok(text)
}

/// Reads an entry as the folder would be read, with all sets of credentials.
pub(super) fn parsed(words: &Words, entry: &str) -> Result<Device> {
    let texts = texts(words.folder())?;
    let mut all: Vec<File<'_>> = vec![File {
        path: NEW,
        text: entry,
    }];
    for (path, text) in &texts {
        if let Ok(text) = text {
            all.push(File {
                path,
                text: text.reveal(),
            });
        }
    }
    let keys = Keys::new(&words.key());
    let open = |sealed: &str| keys.open(sealed);
    let own = crate::files::own(words.profiles.as_deref())?;
    let (library, _) = crate::files::library(&own);
    let folder = config::read(&all, &open, &|name| library.get(name).is_some());
    let found = folder
        .devices
        .into_values()
        .find(|device| device.file == NEW);
    found.with_context(|| {
        let all = folder
            .problems
            .iter()
            .map(|problems| problems.shown(words.language()));
        let own: Vec<String> = all.filter(|shown| shown.starts_with(NEW)).collect();
        format!("the device cannot be added:\n{}", own.concat().trim_end())
    })
}

/// Writes a device's new file.
pub(super) fn new(words: &Words, path: &Path, text: &str) -> Result<()> {
    let folder = words.folder();
    if !folder.is_dir() {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    secrets::write_for_devices(path, text)
}

/// `device seal`: replaces the plain secrets of all files.
pub(super) fn seal(words: &Words) -> Result<ExitCode> {
    let mut count = 0;
    for (path, text) in texts(words.folder())? {
        let text = text.with_context(|| format!("reading {path}"))?;
        let plain = plain_places(text.reveal()).len();
        if plain == 0 {
            continue;
        }
        let key = secrets::key(&words.key())?;
        let sealed = sealed(text.reveal(), &key).with_context(|| path.clone())?;
        let beside = Path::new(&path).with_extension("yaml.new");
        // What is left of an attempt that was stopped.
        fs::remove_file(&beside).ok();
        secrets::write_for_devices(&beside, &sealed)?;
        fs::rename(&beside, &path).with_context(|| format!("replacing {path}"))?;
        count += plain;
    }
    say!(
        "{}",
        show::word(
            words.language(),
            &format!("已密封 {count} 个口令"),
            &format!("sealed {count} secrets"),
        )
    );
    Ok(ExitCode::SUCCESS)
}

/// A file's text with its plain secrets sealed, and everything else as it was.
fn sealed(text: &str, key: &Key) -> Result<String> {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let mut plain = plain_places(text);
    // From the end, so that places that come before stay where they are.
    plain.sort_by_key(|plain| std::cmp::Reverse(plain.place));
    for one in plain {
        let (line, column) = one.place;
        let line = line
            .checked_sub(1)
            .and_then(|line| lines.get_mut(line))
            .context(CANNOT)?;
        let start = line
            .char_indices()
            .nth(column.saturating_sub(1))
            .map(|(at, _)| at)
            .context(CANNOT)?;
        let (before, rest) = line.split_at_checked(start).context(CANNOT)?;
        let after = rest.get(length(rest)..).context(CANNOT)?;
        *line = format!("{before}{}{after}", quoted(&key.seal(&one.value)?));
    }
    let sealed = lines.join("\n");
    // Only what reads the same may take the file's place.
    ensure!(plain_places(&sealed).is_empty(), CANNOT);
    ensure!(opened(&sealed, key) == opened(text, key), CANNOT);
    Ok(sealed)
}

const CANNOT: &str =
    "a secret in it is written in a way that cannot be replaced: write it as 'text' on one line";

/// What a file says once its secrets are opened.
fn opened(text: &str, key: &Key) -> Vec<Device> {
    let open = |sealed: &str| key.open(sealed).map_err(|error| error.to_string().into());
    let file = File { path: "", text };
    let folder = config::read(&[file], &open, &|_| true);
    folder.devices.into_values().collect()
}

/// How long the value is that `text` begins with.
fn length(text: &str) -> usize {
    match text.chars().next() {
        Some('\'') => {
            let mut at = 1;
            loop {
                match text.get(at..).and_then(|rest| rest.find('\'')) {
                    // A doubled one is part of the value.
                    Some(found)
                        if text
                            .get(at + found + 1..)
                            .is_some_and(|r| r.starts_with('\'')) =>
                    {
                        at += found + 2;
                    }
                    Some(found) => return at + found + 1,
                    None => return text.len(),
                }
            }
        }
        Some('"') => {
            let mut escaped = false;
            for (at, one) in text.char_indices().skip(1) {
                match one {
                    '"' if !escaped => return at + 1,
                    '\\' => escaped = !escaped,
                    _ => escaped = false,
                }
            }
            text.len()
        }
        _ => {
            let end = text.find(" #").unwrap_or(text.len());
            let value = text.get(..end).unwrap_or(text);
            // In a mapping on one line the value ends before the next key.
            let end = value.find([',', '}']).unwrap_or(value.len());
            value.get(..end).unwrap_or(value).trim_end().len()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_secrets_are_sealed_and_everything_else_stays() {
        let key = Key::parse(&Key::generate().unwrap()).unwrap();
        let text = "# 三楼\ncredentials:\n  campus: {version: 2c, community: hidden one }  # old\n\
            devices:\n- name: sw-1\n  address: 10.0.0.1\n  credentials:\n    version: 3\n    user: xz\n\
            \x20   auth: {protocol: sha256, password: 'hidden ''two'''}\n\
            \x20   privacy:\n      protocol: aes128\n      password: \"hidden \\\"three\"   # new\n\
            - {name: sw-2, address: 10.0.0.2, credentials: campus}\n";
        let sealed = sealed(text, &key).unwrap();
        assert!(!sealed.contains("hidden"), "{sealed}");
        assert_eq!(sealed.matches("sealed:").count(), 3);
        for part in ["# 三楼\n", "}  # old\n", "   # new\n", "user: xz\n"] {
            assert!(sealed.contains(part), "{part}\n{sealed}");
        }
        assert_eq!(opened(&sealed, &key), opened(text, &key));
        assert_eq!(opened(&sealed, &key).len(), 2);
        // Once more changes nothing.
        assert_eq!(self::sealed(&sealed, &key).unwrap(), sealed);
    }

    #[test]
    fn a_secret_that_cannot_be_found_again_is_left_and_told() {
        let key = Key::parse(&Key::generate().unwrap()).unwrap();
        let text = "devices:\n- name: a\n  address: 10.0.0.1\n  credentials:\n    version: 2c\n\
            \x20   community: >-\n      folded\n      words\n";
        let told = self::sealed(text, &key).unwrap_err().to_string();
        assert_eq!(told, CANNOT);
    }
}
