//! Authorised keys of all local accounts: which key may come in as whom.
//!
//! The files are the users' own, so a helper reads them and answers with fingerprints only. The
//! folders are those of sshd's default and of `AuthorizedKeysFile` in its configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use data_encoding::{BASE64, BASE64_NOPAD};
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

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    keys: Option<BTreeSet<AuthorizedKey>>,
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
        let now: BTreeSet<AuthorizedKey> = super::json_lines(&bytes).collect();
        let Some(before) = self.state.keys.replace(now.clone()) else {
            return context.mark_urgent();
        };
        now.difference(&before)
            .for_each(|key| emit(context, key, "added"));
        before
            .difference(&now)
            .for_each(|key| emit(context, key, "removed"));
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
            for key in text.iter().take(left) {
                let key = AuthorizedKey {
                    user: user.to_owned(),
                    path: path.clone(),
                    ..key.clone()
                };
                serde_json::to_writer(&mut *out, &key)?;
                out.write_all(b"\n")?;
            }
            left = left.saturating_sub(text.len());
        }
        pause();
    }
    Ok(())
}

fn read_keys(root: &Path, path: &str) -> Vec<AuthorizedKey> {
    let path = root.join(path.trim_start_matches('/'));
    let is_file = std::fs::metadata(&path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.size() <= MAX_BYTES);
    if !is_file {
        return Vec::new();
    }
    let text = super::read_bounded(&path, MAX_BYTES).unwrap_or_default();
    text.lines().filter_map(parse_key).collect()
}

/// `[options ]TYPE BASE64[ comment]`; a line that is no key says nothing.
fn parse_key(line: &str) -> Option<AuthorizedKey> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let at = words.iter().position(|word| is_key_type(word))?;
    let blob = BASE64.decode(words.get(at + 1)?.as_bytes()).ok()?;
    let digest = ring::digest::digest(&ring::digest::SHA256, &blob);
    let cut = |words: Option<&[&str]>| -> String {
        words
            .unwrap_or_default()
            .join(" ")
            .chars()
            .take(256)
            .collect()
    };
    Some(AuthorizedKey {
        user: String::new(),
        path: String::new(),
        fingerprint: format!("SHA256:{}", BASE64_NOPAD.encode(digest.as_ref())),
        kind: (*words.get(at)?).to_owned(),
        comment: cut(words.get(at + 2..)),
        options: cut(words.get(..at)),
    })
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
