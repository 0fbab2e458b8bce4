//! Authorised keys of all local accounts: which key may come in as whom.
//!
//! The files are the users' own, so a helper reads them and answers with fingerprints only. The
//! folders are those of sshd's default and of `AuthorizedKeysFile` in its configuration. A file
//! that cannot be read is told as such, and its known keys stand until it can be: nobody hides a
//! key by making its file too long.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::{BASE64, BASE64_NOPAD};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use xiezhi_protocol::event::{Severity, kinds};

use super::privileged::Ask;
use super::watcher::{Context, Loss, Pending, Watcher};

/// Accounts, keys and bytes at most.
const MAX_ACCOUNTS: usize = 10_000;
const MAX_KEYS: usize = 10_000;
const MAX_BYTES: u64 = 1 << 20;

/// One key in one file; its text form is what is compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct AuthorizedKey {
    user: String,
    path: String,
    fingerprint: String,
    kind: String,
    comment: String,
    options: String,
}

/// A file that may hold keys but could not be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Unread {
    user: String,
    path: String,
    /// Why, in words.
    unread: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    keys: Option<BTreeSet<AuthorizedKey>>,
    #[serde(default)]
    unread: BTreeSet<Unread>,
    loss: Loss,
}

/// The watcher.
#[derive(Debug, Default)]
pub(crate) struct AuthorizedKeys {
    state: State,
    pending: Pending,
    asked_boot_ms: Option<i64>,
}

/// A helper costs some milliseconds.
const ASK_EVERY_MS: i64 = 600_000;

impl Watcher for AuthorizedKeys {
    fn name(&self) -> &'static str {
        "authorized_keys"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(2)
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        if let Some(answer) = self.pending.take(context) {
            self.answered(context, answer);
        }
        let is_early = self
            .asked_boot_ms
            .is_some_and(|at| context.now.boot_ms - at < ASK_EVERY_MS);
        if is_early || self.pending.waiting() {
            return;
        }
        self.asked_boot_ms = Some(context.now.boot_ms);
        match self.pending.ask(context, Ask::AuthorizedKeys) {
            Ok(()) => {
                if let Some(answer) = self.pending.take(context) {
                    self.answered(context, answer);
                }
            }
            Err(error) => self.state.loss.lost(context, &error.to_string()),
        }
    }

    fn loss(&self) -> Option<String> {
        self.state.loss.current()
    }

    fn save(&self) -> Value {
        serde_json::to_value(&self.state).unwrap_or(Value::Null)
    }

    fn load(&mut self, saved: Value) -> bool {
        serde_json::from_value(saved)
            .map(|state| self.state = state)
            .is_ok()
    }
}

impl AuthorizedKeys {
    fn answered(&mut self, context: &mut Context<'_>, answer: Result<Vec<u8>, String>) {
        let bytes = match answer {
            Ok(bytes) => bytes,
            Err(reason) => return self.state.loss.lost(context, &reason),
        };
        self.state.loss.regained(context);
        let mut now: BTreeSet<AuthorizedKey> = super::json_lines(&bytes).collect();
        let unread: BTreeSet<Unread> = super::json_lines(&bytes).collect();
        self.tell_unread(context, unread);
        let Some(before) = self.state.keys.take() else {
            self.state.keys = Some(now);
            return context.mark_urgent();
        };
        let is_unread = |key: &&AuthorizedKey| {
            let mut unread = self.state.unread.iter();
            unread.any(|file| (&file.user, &file.path) == (&key.user, &key.path))
        };
        // Not seen is not gone.
        now.extend(before.iter().filter(is_unread).cloned());
        now.difference(&before)
            .for_each(|key| emit(context, key, "added"));
        before
            .difference(&now)
            .for_each(|key| emit(context, key, "removed"));
        self.state.keys = Some(now);
    }

    fn tell_unread(&mut self, context: &mut Context<'_>, unread: BTreeSet<Unread>) {
        for file in unread.difference(&self.state.unread) {
            let message = format!(
                "authorised keys of {} cannot be read: {}: {}",
                file.user, file.path, file.unread
            );
            let event = context
                .event(kinds::KEY_CHANGED, Severity::Warning, message)
                .with("user", file.user.as_str())
                .with("path", file.path.as_str())
                .with("change", file.unread.as_str());
            context.emit(event);
            context.mark_urgent();
        }
        self.state.unread = unread;
    }
}

fn emit(context: &mut Context<'_>, key: &AuthorizedKey, change: &str) {
    let message = format!(
        "authorised key {change}: {} may log in as {}",
        key.fingerprint, key.user
    );
    let mut event = context
        .event(kinds::KEY_CHANGED, Severity::Warning, message)
        .with("user", key.user.as_str())
        .with("path", key.path.as_str())
        .with("fingerprint", key.fingerprint.as_str())
        .with("key_type", key.kind.as_str())
        .with("change", change);
    for (name, value) in [("comment", &key.comment), ("options", &key.options)] {
        if !value.is_empty() {
            event = event.with(name, value.as_str());
        }
    }
    context.emit(event);
}

/// Serves [`Ask::AuthorizedKeys`]: one key per line of JSON.
pub(crate) fn serve(root: &Path, pause: &mut dyn FnMut(), out: &mut dyn Write) -> io::Result<()> {
    let passwd = super::read_bounded(&root.join("etc/passwd"), MAX_BYTES)?;
    let patterns = patterns(root);
    let mut seen = BTreeMap::new();
    let mut left = MAX_KEYS;
    for line in passwd.lines().take(MAX_ACCOUNTS) {
        let mut parts = line.split(':');
        let (Some(user), Some(home)) = (parts.next(), parts.nth(4)) else {
            continue;
        };
        for pattern in &patterns {
            let path = expand(pattern, user, home);
            // Several accounts with one home (`/`, `/nonexistent`) are one look.
            let text = seen
                .entry(path.clone())
                .or_insert_with(|| read_keys(root, &path));
            let reason = match text {
                Ok(keys) if keys.len() <= left => {
                    left -= keys.len();
                    for key in keys {
                        let key = AuthorizedKey {
                            user: user.to_owned(),
                            path: path.clone(),
                            ..key.clone()
                        };
                        write_line(out, &key)?;
                    }
                    continue;
                }
                Ok(_) => "too many keys to read",
                Err(reason) => reason.as_str(),
            };
            let file = Unread {
                user: user.to_owned(),
                path,
                unread: reason.to_owned(),
            };
            write_line(out, &file)?;
        }
        pause();
    }
    Ok(())
}

fn write_line(out: &mut dyn Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

/// The keys of a file; none if there is no such file or sshd would not read it.
///
/// # Errors
/// Why a file that sshd might read could not be read, in words.
fn read_keys(root: &Path, path: &str) -> Result<Vec<AuthorizedKey>, String> {
    let path = root.join(path.trim_start_matches('/'));
    match read_text(&path) {
        Ok(Some(bytes)) if bytes.len() as u64 > MAX_BYTES => Err("file too large to read".into()),
        Ok(Some(bytes)) => {
            let text = String::from_utf8_lossy(&bytes);
            Ok(text.split('\n').filter_map(parse_key).collect())
        }
        Ok(None) => Ok(Vec::new()),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(Vec::new()),
            _ => Err(format!("file cannot be read: {}", error.kind())),
        },
    }
}

/// The bytes of a regular file, at most one more than the bound; `None` for anything else.
///
/// sshd follows links, so they are followed, but before anything is opened: to open a device may
/// have an effect. What is put in place meanwhile is caught by the flags and the second look.
fn read_text(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let path: PathBuf = std::fs::canonicalize(path)?;
    if !std::fs::symlink_metadata(&path)?.is_file() {
        return Ok(None);
    }
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
        .open(&path)?;
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// `[options ]TYPE BASE64[ comment]` as sshd reads it; a line that is no key says nothing.
fn parse_key(line: &str) -> Option<AuthorizedKey> {
    // sshd sees the line as a string of C.
    let line = line.split('\0').next()?.trim_start_matches(BLANK);
    if line.starts_with('#') {
        return None;
    }
    parse_bare(line, "").or_else(|| {
        let (options, rest) = split_options(line)?;
        parse_bare(rest, options)
    })
}

/// What separates the parts of a line for sshd.
const BLANK: [char; 2] = [' ', '\t'];

/// The options and what follows them; `None` if a quote is left open.
///
/// A blank within quotes belongs to the options; `\"` neither opens nor closes.
fn split_options(line: &str) -> Option<(&str, &str)> {
    let mut is_quoted = false;
    let mut letters = line.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => drop(letters.next_if(|(_, next)| *next == '"')),
            '"' => is_quoted = !is_quoted,
            ' ' | '\t' if !is_quoted => {
                let (options, rest) = line.split_at_checked(at)?;
                return Some((options, rest.trim_start_matches(BLANK)));
            }
            _ => {}
        }
    }
    None
}

/// `TYPE BASE64[ comment]`.
fn parse_bare(line: &str, options: &str) -> Option<AuthorizedKey> {
    let (kind, rest) = line.split_once(BLANK)?;
    let rest = rest.trim_start_matches(BLANK);
    let (blob, comment) = rest.split_once(BLANK).unwrap_or((rest, ""));
    let blob = decode(blob)?;
    // A type of tomorrow is a key too if its blob is built like one.
    if !is_key_type(kind) && !names_its_type(&blob) {
        return None;
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, &blob);
    let cut = |text: &str| -> String { text.trim().chars().take(256).collect() };
    Some(AuthorizedKey {
        user: String::new(),
        path: String::new(),
        fingerprint: format!("SHA256:{}", BASE64_NOPAD.encode(digest.as_ref())),
        kind: cut(kind),
        comment: cut(comment),
        options: cut(options),
    })
}

/// Like sshd's decoder: white space within the text does not count.
fn decode(text: &str) -> Option<Vec<u8>> {
    let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let bytes: Vec<u8> = text.bytes().filter(|byte| !is_space(byte)).collect();
    let decoded = BASE64
        .decode(&bytes)
        .or_else(|_| BASE64_NOPAD.decode(&bytes))
        .ok()?;
    (!decoded.is_empty()).then_some(decoded)
}

/// Whether a blob begins with the name of its type, as every key of SSH does.
fn names_its_type(blob: &[u8]) -> bool {
    let Some((length, rest)) = blob.split_first_chunk::<4>() else {
        return false;
    };
    let name = usize::try_from(u32::from_be_bytes(*length))
        .ok()
        .and_then(|length| rest.get(..length));
    name.is_some_and(|name| (1..=64).contains(&name.len()) && name.iter().all(u8::is_ascii_graphic))
}

fn is_key_type(word: &str) -> bool {
    ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-", "sm2"]
        .iter()
        .any(|start| word.starts_with(start))
}

/// Patterns of `AuthorizedKeysFile`, and sshd's default.
fn patterns(root: &Path) -> Vec<String> {
    let mut files = vec![root.join("etc/ssh/sshd_config")];
    if let Ok(entries) = std::fs::read_dir(root.join("etc/ssh/sshd_config.d")) {
        files.extend(entries.flatten().map(|entry| entry.path()).take(64));
    }
    let mut found: Vec<String> = files.iter().flat_map(configured).collect();
    found.push(".ssh/authorized_keys".to_owned());
    found.push(".ssh/authorized_keys2".to_owned());
    found.sort();
    found.dedup();
    found
}

fn configured(file: impl AsRef<Path>) -> Vec<String> {
    let text = super::read_bounded(file.as_ref(), MAX_BYTES).unwrap_or_default();
    let lines = text.lines().filter_map(|line| {
        let line = line.trim().replacen('=', " ", 1);
        let mut words = line.split_ascii_whitespace();
        let is_option = words.next()?.eq_ignore_ascii_case("AuthorizedKeysFile");
        is_option.then(|| {
            words
                .filter(|word| *word != "none")
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
    });
    lines.flatten().take(16).collect()
}

fn expand(pattern: &str, user: &str, home: &str) -> String {
    let path = pattern
        .replace("%h", home)
        .replace("%u", user)
        .replace("%%", "%");
    if path.starts_with('/') {
        path
    } else {
        format!("{}/{path}", home.trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIGJpVkVvoR6xI6Kn8vCmPg1uYFqLrTSTS5rMTLNzH0Lg";

    #[test]
    fn keys_are_told_by_fingerprint_with_options_and_comment() {
        let key = parse_key(&format!(
            "command=\"/bin/date\",no-pty ssh-ed25519 {KEY} li@gs 01"
        ))
        .unwrap();
        assert!(key.fingerprint.starts_with("SHA256:") && key.fingerprint.len() == 50);
        assert_eq!(
            (key.options.as_str(), key.comment.as_str()),
            ("command=\"/bin/date\",no-pty", "li@gs 01")
        );
        assert_eq!(parse_key("# ssh-ed25519 AAAA"), None);
        assert_eq!(parse_key("root:$6$secret:19000::::::"), None);
    }

    #[test]
    fn no_option_hides_a_key() {
        for (options, shown) in [
            (r#"command="a ssh-x b""#, None),
            (r#"command="say \"ssh-rsa AAAA\" twice",no-pty"#, None),
            ("\t cert-authority", Some("cert-authority")),
            (r#"environment="A=\\b",no-pty"#, None),
        ] {
            let key = parse_key(&format!("{options} \t ssh-ed25519  {KEY}  li\r")).unwrap();
            assert_eq!(key.options, shown.unwrap_or(options));
            assert_eq!(
                (key.kind.as_str(), key.comment.as_str()),
                ("ssh-ed25519", "li")
            );
        }
        let (head, tail) = KEY.split_at(20);
        let odd = format!("ssh-ed25519 {head}\x0b\x0c{tail}\0");
        let bare = parse_key(&format!("ssh-ed25519 {KEY}"));
        assert!(bare.is_some());
        assert_eq!(parse_key(&odd), bare, "sshd reads both alike");
        // To sshd a backslash before a quote always belongs to it, whatever is before both.
        for open in [r#"command="a"#, r#"environment="A=\\""#] {
            let line = format!("{open} ssh-ed25519 {KEY}");
            assert_eq!(parse_key(&line), None, "sshd refuses an open quote");
        }
    }

    #[test]
    fn a_key_of_an_unknown_type_is_told_with_what_can_be_read() {
        let key = parse_key(&format!("no-pty tomorrow@x {KEY} li")).unwrap();
        assert_eq!(
            (key.kind.as_str(), key.options.as_str()),
            ("tomorrow@x", "no-pty")
        );
        assert!(key.fingerprint.starts_with("SHA256:"));
    }

    proptest! {
        #[test]
        fn a_line_never_panics_and_options_never_hide_its_key(
            line in any::<String>(),
            quoted in "[^\"\\\\\0\n]{0,40}",
        ) {
            parse_key(&line);
            parse_key(&format!("{line} ssh-ed25519 {KEY}"));
            let key = parse_key(&format!("command=\"{quoted}\" ssh-ed25519 {KEY} li"));
            prop_assert_eq!(key.map(|key| key.comment), Some("li".to_owned()));
        }
    }

    fn served(root: &Path) -> (Vec<AuthorizedKey>, Vec<Unread>) {
        let mut out = Vec::new();
        serve(root, &mut || {}, &mut out).unwrap();
        (
            super::super::json_lines(&out).collect(),
            super::super::json_lines(&out).collect(),
        )
    }

    #[test]
    fn a_file_beyond_the_bound_is_told_and_links_are_followed_but_pipes_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let folder = root.join("home/li/.ssh");
        std::fs::create_dir_all(root.join("etc")).unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        let passwd = "li:x:1000:1000::/home/li:/bin/bash\n";
        std::fs::write(root.join("etc/passwd"), passwd).unwrap();
        let path = folder.join("authorized_keys");
        std::fs::write(&path, "#".repeat(1 + (1 << 20))).unwrap();
        let (keys, unread) = served(root);
        assert_eq!(keys, []);
        assert_eq!(unread.len(), 1);
        assert_eq!(unread[0].unread, "file too large to read");
        assert_eq!(unread[0].path, "/home/li/.ssh/authorized_keys");

        std::fs::write(folder.join("kept"), format!("ssh-ed25519 {KEY}\n")).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("kept", &path).unwrap();
        assert_eq!(served(root).0.len(), 1);

        std::fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        assert_eq!(served(root), (Vec::new(), Vec::new()));
    }

    #[test]
    fn configured_files_are_looked_at_too() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir_all(root.join("etc/ssh/keys")).unwrap();
        std::fs::create_dir_all(root.join("home/li/.ssh")).unwrap();
        std::fs::write(
            root.join("etc/passwd"),
            "li:x:1000:1000::/home/li:/bin/bash\n",
        )
        .unwrap();
        std::fs::write(
            root.join("etc/ssh/sshd_config"),
            "AuthorizedKeysFile /etc/ssh/keys/%u\n",
        )
        .unwrap();
        std::fs::write(
            root.join("etc/ssh/keys/li"),
            format!("ssh-ed25519 {KEY} a\n"),
        )
        .unwrap();
        std::fs::write(
            root.join("home/li/.ssh/authorized_keys"),
            format!("ssh-ed25519 {KEY} b\n"),
        )
        .unwrap();
        let mut out = Vec::new();
        serve(root, &mut || {}, &mut out).unwrap();
        let keys: Vec<AuthorizedKey> = super::super::json_lines(&out).collect();
        let paths: Vec<_> = keys.iter().map(|key| key.path.as_str()).collect();
        assert_eq!(paths, ["/home/li/.ssh/authorized_keys", "/etc/ssh/keys/li"]);
    }
}
