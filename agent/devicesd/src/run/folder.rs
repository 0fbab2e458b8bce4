//! The folder of devices, the profiles and the key, read again when one of them changed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use xiezhi_devices::config::{self, Device};
use xiezhi_devices::visit::{Profiles, Subject};
use xiezhi_devices::{Credentials, Login};
use xiezhi_profiles::Library;

use super::Options;
use super::traps::Source;
use crate::{device, files};

/// What a look remembers: each file with its time, length and number.
pub(super) type Seen = BTreeMap<PathBuf, (i64, i64, u64, u64)>;

/// What was read last.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    seen: Option<Seen>,
    profiles_seen: Option<Seen>,
    library: Library,
    /// Logins that are ready, because making one ready takes milliseconds.
    logins: Vec<(Credentials, Login)>,
}

/// What a look brought.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) subjects: Vec<Subject>,
    /// Whose traps are known how.
    pub(crate) traps: Vec<Source>,
    /// The profiles, if they changed.
    pub(crate) profiles: Option<Profiles>,
    /// What is wrong, each with file and line.
    pub(crate) problems: Vec<String>,
    /// What should be done although it works.
    pub(crate) hints: Vec<String>,
}

impl Folder {
    /// Reads everything again; `None` if nothing changed.
    pub(crate) fn look(&mut self, options: &Options) -> Option<Read> {
        let mut seen = look_at(&options.config);
        seen.extend(look_at(&options.key));
        let profiles_seen = options.profiles.as_deref().map(look_at).unwrap_or_default();
        let new_profiles = self.profiles_seen.as_ref() != Some(&profiles_seen);
        if self.seen.as_ref() == Some(&seen) && !new_profiles {
            return None;
        }
        let mut read = Read::default();
        if new_profiles {
            self.read_profiles(options, &mut read);
        }
        self.read_devices(options, &mut read);
        self.seen = Some(seen);
        self.profiles_seen = Some(profiles_seen);
        Some(read)
    }

    fn read_profiles(&mut self, options: &Options, read: &mut Read) {
        let own = match options.profiles.as_deref().map(files::read_any) {
            None => Vec::new(),
            Some(Ok(own)) => own,
            Some(Err(error)) => {
                read.problems.push(format!("{error:#}"));
                Vec::new()
            }
        };
        let (library, problems) = files::library(&own);
        for one in &problems {
            lines(&one.shown(options.language), &mut read.problems);
        }
        self.library = library.clone();
        let texts: Vec<&str> = own.iter().map(|file| file.text.as_str()).collect();
        read.profiles = Some(Profiles::new(library, &texts));
    }

    fn read_devices(&mut self, options: &Options, read: &mut Read) {
        let texts = match device::texts(&options.config) {
            Ok(texts) => texts,
            Err(error) => {
                read.problems.push(format!("{error:#}"));
                BTreeMap::new()
            }
        };
        let mut readable = Vec::new();
        for (path, text) in &texts {
            match text {
                Ok(text) => readable.push(config::File {
                    path,
                    text: text.reveal(),
                }),
                Err(error) => read.problems.push(format!("{path}: {error:#}")),
            }
        }
        let keys = device::Keys::new(&options.key);
        let open = |sealed: &str| keys.open(sealed);
        let is_profile = |name: &str| self.library.get(name).is_some();
        let folder = config::read(&readable, &open, &is_profile);
        for one in &folder.problems {
            lines(&one.shown(options.language), &mut read.problems);
        }
        let plain: usize = readable
            .iter()
            .map(|file| device::plain_secrets(file.text))
            .sum();
        if plain > 0 {
            read.hints.push(format!(
                "{plain} secrets of devices stand in files as plain text; `xiezhi-agent device seal` \
                 replaces them"
            ));
        }
        let mut logins = Vec::new();
        for device in folder.devices.into_values() {
            let trap_credentials = device.traps.credentials.as_ref();
            let wanted = trap_credentials.unwrap_or(&device.credentials);
            let ready = self
                .login(&device.credentials, &mut logins)
                .and_then(|login| Ok((login, self.login(wanted, &mut logins)?)));
            match ready {
                Ok((login, trap_login)) => {
                    read.traps.push(Source {
                        device: device.name.clone(),
                        address: device.address,
                        login: trap_login,
                        from: device.traps.from.clone(),
                    });
                    read.subjects.push(subject(device, login));
                }
                Err(error) => {
                    read.problems
                        .push(format!("{}: device {}: {error}", device.file, device.name));
                }
            }
        }
        self.logins = logins;
    }

    /// A login, shared with all devices that have the same.
    fn login(
        &self,
        wanted: &Credentials,
        logins: &mut Vec<(Credentials, Login)>,
    ) -> Result<Login, xiezhi_devices::BadCredentials> {
        let mut known = logins.iter().chain(&self.logins);
        let found = known.find(|(credentials, _)| credentials == wanted);
        let login = match found {
            Some((_, login)) => login.clone(),
            None => Login::new(wanted)?,
        };
        if !logins.iter().any(|(credentials, _)| credentials == wanted) {
            logins.push((wanted.clone(), login.clone()));
        }
        Ok(login)
    }
}

fn subject(device: Device, login: Login) -> Subject {
    Subject {
        name: device.name,
        address: device.address,
        every: device.every,
        login,
        profile: device.profile,
        pace: None,
    }
}

/// The files of a folder, or the one file, as they are now.
pub(super) fn look_at(path: &Path) -> Seen {
    let entries = fs::read_dir(path).map(|entries| {
        let paths = entries.flatten().map(|entry| entry.path());
        paths
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "yaml")
            })
            .collect()
    });
    let paths: Vec<PathBuf> = entries.unwrap_or_else(|_| vec![path.to_owned()]);
    paths
        .into_iter()
        .filter_map(|path| {
            let found = fs::metadata(&path).ok()?;
            Some((
                path,
                (found.mtime(), found.mtime_nsec(), found.len(), found.ino()),
            ))
        })
        .collect()
}

fn lines(text: &str, into: &mut Vec<String>) {
    into.extend(text.lines().map(str::to_owned));
}
