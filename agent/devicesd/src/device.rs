//! `xiezhi-agent device …`: the devices that this host polls, in files that nobody needs to write by hand.
//!
//! `add` asks for the secrets on the terminal, tries the device and writes its file with sealed secrets;
//! `list`, `test` and `remove` do what they say, `seal` replaces plain secrets. As root the network is not
//! touched: the agent's worker tries the device, as for `profile try`.

mod secrets;
mod write;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use lexopt::prelude::*;
use xiezhi_devices::config::{self, Device, File};
use xiezhi_devices::{Login, Secret};
use xiezhi_document::{Language, Problems};

use crate::{Arguments, files, network, show};

pub(crate) use secrets::{
    Keys, asked, key as sealing_key, plain_secrets, quoted, write_for_devices,
};

const HELP: &str = "\
xiezhi-agent device: the devices that this host polls

  xiezhi-agent device add NAME ADDRESS         asks for the secrets, tries the device, writes
                                               /etc/xiezhi/devices.d/NAME.yaml with sealed secrets
  xiezhi-agent device list                     all devices, and every problem with its line
  xiezhi-agent device test NAME                what the device tells now, read with its profile
  xiezhi-agent device remove NAME              no longer polls it
  xiezhi-agent device seal                     replaces plain secrets in all files

  NAME                  small letters, digits, dots, dashes: sw-3f
  ADDRESS               10.8.0.7 or 10.8.0.7:1161
  --version 1|2c|3      default: 2c; the secrets are asked for, or read from standard input, a line each
  --user NAME           with version 3
  --auth PROTOCOL       md5, sha1, sha224, sha256, sha384, sha512; default: sha256; none
  --privacy PROTOCOL    aes128, aes192, aes256, aes192-cisco, aes256-cisco; default: aes128; none
  --credentials SET     a set of credentials that stands in a file of the folder, instead
  --every 60s           how often, from 1s to 1h
  --profile NAME        if the device should not be recognised by itself
  --note TEXT           where it stands, for instance
  --untried             writes the file although the device does not answer
  --config-dir FOLDER   default: /etc/xiezhi/devices.d
  --key FILE            the key of the sealed secrets; default: devices.key beside that folder
  --lang zh|en          default: as your terminal (LANG)
";

/// Where devices are looked for if nothing else is said.
const USUAL: &str = "/etc/xiezhi/devices.d";

/// Longest file of the folder, bytes.
const LONGEST: u64 = 8 << 20;

/// What the command line asks.
#[derive(Debug, Default)]
pub(crate) struct Words {
    pub(crate) words: Vec<String>,
    pub(crate) version: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) auth: Option<String>,
    pub(crate) privacy: Option<String>,
    pub(crate) set: Option<String>,
    pub(crate) every: Option<String>,
    pub(crate) profile: Option<String>,
    pub(crate) note: Option<String>,
    untried: bool,
    folder: Option<PathBuf>,
    key: Option<PathBuf>,
    profiles: Option<PathBuf>,
    config: Option<PathBuf>,
    language: Option<Language>,
}

impl Words {
    pub(crate) fn folder(&self) -> &Path {
        self.folder.as_deref().unwrap_or(Path::new(USUAL))
    }

    pub(crate) fn key(&self) -> PathBuf {
        let given = self.key.clone();
        given.unwrap_or_else(|| key_beside(self.folder()))
    }

    pub(crate) fn language(&self) -> Language {
        self.language.unwrap_or_else(crate::of_the_terminal)
    }

    fn name(&self) -> Result<&str> {
        let name = self.words.first().context("NAME is missing")?;
        ensure!(
            xiezhi_protocol::poll::is_device_name(name),
            "`{name}` is no name of a device: small letters, digits, dots and dashes, such as sw-3f"
        );
        Ok(name)
    }
}

/// The key beside the folder of devices: not in it, so that a copy of the folder has no key.
pub(crate) fn key_beside(folder: &Path) -> PathBuf {
    folder.with_file_name("devices.key")
}

/// Does what the command line asks.
pub(crate) fn run(parser: &mut lexopt::Parser) -> Result<ExitCode> {
    let (command, words) = parse(parser)?;
    let most = match command.as_str() {
        "add" => 2,
        "test" | "remove" => 1,
        _ => 0,
    };
    if let Some(word) = words.words.get(most) {
        bail!("`{word}` is one word too many");
    }
    match command.as_str() {
        "add" => add(&words),
        "list" => list(&words),
        "test" => test(&words),
        "remove" => remove(&words),
        "seal" => write::seal(&words),
        "" | "help" => Ok(show::help(HELP)),
        other => bail!("there is no `device {other}`; try `xiezhi-agent device help`"),
    }
}

fn parse(parser: &mut lexopt::Parser) -> Result<(String, Words)> {
    let mut command = String::new();
    let mut words = Words::default();
    while let Some(argument) = parser.next()? {
        let text = |parser: &mut lexopt::Parser| parser.value()?.string();
        match argument {
            Short('h') | Long("help") => "help".clone_into(&mut command),
            Long("version") => words.version = Some(text(parser)?),
            Long("user") => words.user = Some(text(parser)?),
            Long("auth") => words.auth = Some(text(parser)?),
            Long("privacy") => words.privacy = Some(text(parser)?),
            Long("credentials") => words.set = Some(text(parser)?),
            Long("every") => words.every = Some(text(parser)?),
            Long("profile") => words.profile = Some(text(parser)?),
            Long("note") => words.note = Some(text(parser)?),
            Long("untried") => words.untried = true,
            Long("config-dir") => words.folder = Some(parser.value()?.into()),
            Long("key") => words.key = Some(parser.value()?.into()),
            Long("profiles") => words.profiles = Some(parser.value()?.into()),
            Long("config") => words.config = Some(parser.value()?.into()),
            Long("lang") => {
                let word = text(parser)?;
                words.language =
                    Some(crate::language(&word).context("`--lang`: there are zh and en")?);
            }
            Value(word) if command.is_empty() => command = word.string()?,
            Value(word) => words.words.push(word.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok((command, words))
}

/// The files of a folder by path, each read or why not; a folder that is not there has none.
pub(crate) fn texts(folder: &Path) -> Result<BTreeMap<String, Result<Secret>>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error).with_context(|| format!("reading {}", folder.display())),
    };
    let mut texts = BTreeMap::new();
    for entry in entries {
        let path = entry
            .with_context(|| format!("reading {}", folder.display()))?
            .path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            texts.insert(path.display().to_string(), text(&path));
        }
    }
    Ok(texts)
}

fn text(path: &Path) -> Result<Secret> {
    let length = fs::metadata(path)?.len();
    ensure!(length <= LONGEST, "longer than {LONGEST} bytes");
    Ok(Secret::new(fs::read_to_string(path)?))
}

/// All devices of the folder, with every problem.
fn read(words: &Words) -> Result<(BTreeMap<String, Device>, Vec<String>)> {
    let own = files::own(words.profiles.as_deref())?;
    let (library, _) = files::library(&own);
    let mut problems = Vec::new();
    let texts = texts(words.folder())?;
    let mut readable = Vec::new();
    for (path, text) in &texts {
        match text {
            Ok(text) => readable.push(File {
                path,
                text: text.reveal(),
            }),
            Err(error) => problems.push(format!("{path}: {error:#}\n")),
        }
    }
    let keys = Keys::new(&words.key());
    let open = |sealed: &str| keys.open(sealed);
    let folder = config::read(&readable, &open, &|name| library.get(name).is_some());
    let shown = |one: &Problems| one.shown(words.language());
    problems.extend(folder.problems.iter().map(shown));
    Ok((folder.devices, problems))
}

fn list(words: &Words) -> Result<ExitCode> {
    let (devices, problems) = read(words)?;
    let rows: Vec<[String; 4]> = devices
        .into_values()
        .map(|device| {
            let every = format!("{} s", device.every.as_secs());
            [device.name, device.address.to_string(), every, device.note]
        })
        .collect();
    show::columns(&rows);
    for problem in &problems {
        say_part!("{problem}");
    }
    Ok(code(problems.is_empty()))
}

fn code(good: bool) -> ExitCode {
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn test(words: &Words) -> Result<ExitCode> {
    let name = words.name()?;
    let (devices, problems) = read(words)?;
    for problem in &problems {
        say_part!("{problem}");
    }
    let device = devices
        .get(name)
        .with_context(|| format!("there is no device `{name}`; see `xiezhi-agent device list`"))?;
    try_it(words, device)
}

/// Shows what a device tells, as `profile try` does.
fn try_it(words: &Words, device: &Device) -> Result<ExitCode> {
    Login::new(&device.credentials)?;
    let arguments = Arguments {
        words: vec![device.address.to_string().into()],
        profile: device.profile.clone(),
        profiles: words.profiles.clone(),
        config: words.config.clone(),
        language: words.language,
        login: Some(secrets::plain(&device.credentials)),
        ..Arguments::default()
    };
    network::try_device(&arguments)
}

fn add(words: &Words) -> Result<ExitCode> {
    let name = words.name()?.to_owned();
    let (devices, _) = read(words)?;
    if let Some(device) = devices.get(&name) {
        bail!("there is a device `{name}` already, in {}", device.file);
    }
    let path = words.folder().join(format!("{name}.yaml"));
    ensure!(!path.exists(), "{} is there already", path.display());
    let entry = write::entry(words, &name)?;
    let device = write::parsed(words, &entry)?;
    let tried = try_it(words, &device);
    let answered = matches!(&tried, Ok(code) if *code == ExitCode::SUCCESS);
    if !answered {
        if let Err(error) = &tried {
            show::complain(error);
        }
        ensure!(
            words.untried,
            "the device was not added; `--untried` adds it although it does not answer"
        );
    }
    write::new(words, &path, &entry)?;
    say!(
        "{}",
        show::word(
            words.language(),
            &format!("已写入 {}；约 10 秒后开始采集", path.display()),
            &format!("wrote {}; it is polled within seconds", path.display()),
        )
    );
    Ok(ExitCode::SUCCESS)
}

fn remove(words: &Words) -> Result<ExitCode> {
    let name = words.name()?;
    let own = words.folder().join(format!("{name}.yaml"));
    let (devices, _) = read(words)?;
    let Some(device) = devices.get(name) else {
        bail!("there is no device `{name}`; see `xiezhi-agent device list`");
    };
    let is_alone = devices
        .values()
        .filter(|other| other.file == device.file)
        .count()
        == 1;
    ensure!(
        Path::new(&device.file) == own && is_alone,
        "`{name}` stands in {} with others; take it out there",
        device.file
    );
    fs::remove_file(&own).with_context(|| format!("removing {}", own.display()))?;
    say!(
        "{}",
        show::word(
            words.language(),
            &format!("已删除 {}", own.display()),
            &format!("removed {}", own.display())
        )
    );
    Ok(ExitCode::SUCCESS)
}
