//! Secrets of devices: the key that seals them, where plain ones stand, and asking for them.

use std::fs;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use xiezhi_devices::sealed::{Key, PREFIX, SealError};
use xiezhi_devices::{Cipher, Credentials, Digest, Secret, Security};
use xiezhi_document::{Document, Said, Section};

/// The groups whose members ask devices, the likelier first.
const GROUPS: [&str; 2] = ["xiezhi-devices", "xiezhi-agent"];

/// The key's file, read when the first sealed value is met.
pub(crate) struct Keys {
    path: PathBuf,
    key: std::cell::OnceCell<Result<Key, Said>>,
}

impl Keys {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            key: std::cell::OnceCell::new(),
        }
    }

    /// Opens a sealed value, or says what to do.
    pub(crate) fn open(&self, sealed: &str) -> Result<Secret, Said> {
        let key = self.key.get_or_init(|| self.read());
        let key = key.as_ref().map_err(Clone::clone)?;
        key.open(sealed).map_err(|error| {
            let path = self.path.display();
            match error {
                SealError::OtherKey => Said::new(
                    format!(
                        "this was sealed with another key than {path}: put the right key there, or \
                         enter the secret again"
                    ),
                    format!("该值不是用 {path} 中的密钥密封的：请放回原来的密钥，或重新输入口令"),
                ),
                _ => Said::new(
                    "this sealed value was cut or changed: enter the secret again",
                    "密封的值不完整或被改动：请重新输入口令",
                ),
            }
        })
    }

    fn read(&self) -> Result<Key, Said> {
        let path = self.path.display();
        let text = fs::read_to_string(&self.path).map(Secret::new).map_err(|error| {
            Said::new(
                format!(
                    "cannot read the key {path} ({error}), without which nothing sealed opens: put it \
                     back from a backup, or enter the secrets again"
                ),
                format!(
                    "无法读取密钥 {path}（{error}），密封的口令无法打开：请从备份恢复密钥，或重新输入口令"
                ),
            )
        })?;
        Key::parse(&text).map_err(|_| {
            Said::new(
                format!("{path} is no key of sealed secrets: put the right one there"),
                format!("{path} 不是密封密钥，请放回正确的密钥文件"),
            )
        })
    }
}

/// The key of this host, made if there is none yet.
pub(crate) fn key(path: &Path) -> Result<Key> {
    if !path.exists() {
        let text = Key::generate()?;
        write_for_devices(path, text.reveal()).context("making the key of sealed secrets")?;
    }
    let reading = || format!("reading the key {}", path.display());
    let mode = fs::metadata(path).with_context(reading)?.mode();
    ensure!(
        mode & 0o007 == 0,
        "{0} can be read by everybody: chmod o= {0}",
        path.display()
    );
    let text = Secret::new(fs::read_to_string(path).with_context(reading)?);
    Key::parse(&text).with_context(reading)
}

/// Writes a new file for this user and the group that asks devices.
pub(crate) fn write_for_devices(path: &Path, text: &str) -> Result<()> {
    let making = || format!("making {}", path.display());
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(making)?;
    give_to_devices(path).with_context(making)?;
    file.write_all(text.as_bytes()).with_context(making)?;
    file.sync_all().with_context(making)
}

/// As root: lets the group that asks devices read it.
pub(crate) fn give_to_devices(path: &Path) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    let Some(group) = GROUPS.iter().find_map(|name| group_number(&groups, name)) else {
        return Ok(());
    };
    chown(path, None, Some(group))?;
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o640))?;
    Ok(())
}

fn group_number(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut parts = line.split(':');
        (parts.next() == Some(name)).then(|| parts.nth(1)?.parse().ok())?
    })
}

/// A secret that stands in a file as plain text: line and column of its value, from 1, and the value.
pub(crate) struct Plain {
    pub(crate) place: (usize, usize),
    pub(crate) value: Secret,
}

/// How many secrets stand in a file as plain text.
pub(crate) fn plain_secrets(text: &str) -> usize {
    plain_places(text).len()
}

/// Where they stand.
pub(crate) fn plain_places(text: &str) -> Vec<Plain> {
    let mut found = Vec::new();
    let document = Document::parse("", text);
    // What is wrong with the file is told where it is read in earnest.
    document.read(|section| {
        let names = |section: &mut Section<'_>, found: &mut Vec<Plain>| {
            for name in section.keys() {
                section.section(&name, |section| of_login(section, found));
            }
        };
        section.section("credentials", |section| names(section, &mut found));
        section.sections("devices", |section| {
            of_own(section, &mut found);
            if section.is_section("traps") {
                section.section("traps", |section| of_own(section, &mut found));
            }
        });
    });
    found
}

/// A login of its own, not the name of a set.
fn of_own(section: &mut Section<'_>, found: &mut Vec<Plain>) {
    if section.is_section("credentials") {
        section.section("credentials", |section| of_login(section, found));
    }
}

fn of_login(section: &mut Section<'_>, found: &mut Vec<Plain>) {
    note(section, "community", found);
    for part in ["auth", "privacy"] {
        if section.is_section(part) {
            section.section(part, |section| note(section, "password", found));
        }
    }
}

fn note(section: &mut Section<'_>, key: &str, found: &mut Vec<Plain>) {
    let place = section.place(key);
    let value = section.text(key).filter(|text| !text.starts_with(PREFIX));
    found.extend(value.map(|value| Plain {
        place,
        value: Secret::new(value),
    }));
}

/// Credentials as a text for the worker, which is handed over through a pipe.
pub(crate) fn plain(credentials: &Credentials) -> Secret {
    let quoted = |secret: &Secret| quoted(secret.reveal());
    let text = match credentials {
        Credentials::V1 { community } => format!("version: 1\ncommunity: {}\n", quoted(community)),
        Credentials::V2c { community } => {
            format!("version: 2c\ncommunity: {}\n", quoted(community))
        }
        Credentials::V3(user) => {
            let mut text = format!("version: 3\nuser: {}\n", self::quoted(&user.name));
            if !user.context.is_empty() {
                text.push_str(&format!("context: {}\n", self::quoted(&user.context)));
            }
            let auth = |digest: &Digest, password| {
                format!(
                    "auth: {{protocol: {}, password: {}}}\n",
                    digest.word(),
                    quoted(password)
                )
            };
            let privacy = |cipher: &Cipher, password| {
                format!(
                    "privacy: {{protocol: {}, password: {}}}\n",
                    cipher.word(),
                    quoted(password)
                )
            };
            match &user.security {
                Security::None => {}
                Security::Authenticated { digest, password } => {
                    text.push_str(&auth(digest, password));
                }
                Security::Private {
                    digest,
                    password,
                    cipher,
                    cipher_password,
                } => {
                    text.push_str(&auth(digest, password));
                    text.push_str(&privacy(cipher, cipher_password));
                }
            }
            text
        }
    };
    Secret::new(text)
}

/// Any text of one line as YAML has it: single quotes, doubled, are the one way to write any.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Asks for a secret: on the terminal without showing it, else a line of standard input.
pub(crate) fn asked(what: &str) -> Result<Secret> {
    let stdin = io::stdin();
    let shown = if stdin.is_terminal() {
        Some(tcgetattr(&stdin)?)
    } else {
        None
    };
    if let Some(shown) = &shown {
        say_part!("{what}: ");
        io::stdout().flush().ok();
        let mut hidden = shown.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Flush, &hidden)?;
    }
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    if let Some(shown) = &shown {
        tcsetattr(&stdin, OptionalActions::Flush, shown)?;
        say!("");
    }
    read.with_context(|| format!("reading {what}"))?;
    let line = Secret::new(line);
    let text = line.reveal().trim_end_matches(['\r', '\n']);
    ensure!(
        !text.is_empty(),
        "{what} is missing: type it, or give it as a line of standard input"
    );
    Ok(Secret::new(text.to_owned()))
}
