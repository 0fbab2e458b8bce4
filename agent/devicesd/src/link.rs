//! `xiezhi-agent link …`: the lines that this host measures, and who may measure against it.
//!
//! As root the network is not touched: the agent's worker tries a link, as for `profile try`.

mod attempt;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use data_encoding::BASE64;
use lexopt::prelude::*;
use xiezhi_devices::Secret;
use xiezhi_document::Language;
use xiezhi_links::config::{self, Folder, Link};
use xiezhi_links::packet::Key;

use crate::device::{Keys, asked, key_beside, quoted, sealing_key, write_for_devices};
use crate::run::read_links;
use crate::show;

pub(crate) use attempt::run as attempt;

const HELP: &str = "\
xiezhi-agent link: the leased lines that this host measures

  xiezhi-agent link key                        a new key for both ends of a line
  xiezhi-agent link reflect NETWORK …          at one end: answers measurements from there;
                                               writes /etc/xiezhi/links.d/reflector.yaml
  xiezhi-agent link add NAME ADDRESS           at the other: measures against the reflector at ADDRESS,
                                               tries it, writes /etc/xiezhi/links.d/NAME.yaml
  xiezhi-agent link list                       all links, and every problem with its line
  xiezhi-agent link test NAME                  measures for three seconds and tells the result
  xiezhi-agent link remove NAME                no longer measures it; `reflector` no longer answers

  NAME                  small letters, digits, dots, dashes: gaoyuan-dianxin
  ADDRESS               10.8.0.1 or 10.8.0.1:20862
  NETWORK               10.8.0.7 or 10.8.0.0/16
                        `add` and `reflect` ask for the key of both ends, or read it as a line of standard
                        input; it is written sealed
  --plain               without a key: packets are not signed
  --source ADDRESS      send from this address of the host, and so over its line
  --port PORT           with `reflect`; default: 20862
  --rate N              packets a second, 1 to 100; default: 10
  --size N              octets of a packet
  --every 60s           how often the numbers are told, 5s to 5m
  --stateless           the other end is a TWAMP Light reflector that keeps no count
  --note TEXT           operator, circuit number, or what else is to be remembered
  --untried             writes the file although the other end does not answer
  --config-dir FOLDER   default: /etc/xiezhi/links.d
  --key FILE            the key of sealed secrets; default: devices.key beside that folder
  --lang zh|en          default: as your terminal (LANG)
";

/// Where links are looked for if nothing else is said.
const USUAL: &str = "/etc/xiezhi/links.d";

/// The file of the reflector.
const REFLECTOR: &str = "reflector.yaml";

/// What the command line asks.
#[derive(Debug, Default)]
struct Words {
    words: Vec<String>,
    /// Keys of a link's file that are written as they are given.
    optional: Vec<(&'static str, String)>,
    port: Option<String>,
    stateless: bool,
    plain: bool,
    untried: bool,
    folder: Option<PathBuf>,
    key: Option<PathBuf>,
    config: Option<PathBuf>,
    language: Option<Language>,
}

impl Words {
    fn folder(&self) -> &Path {
        self.folder.as_deref().unwrap_or(Path::new(USUAL))
    }

    fn key(&self) -> PathBuf {
        let given = self.key.clone();
        given.unwrap_or_else(|| key_beside(self.folder()))
    }

    fn language(&self) -> Language {
        self.language.unwrap_or_else(crate::of_the_terminal)
    }

    fn name(&self) -> Result<&str> {
        let name = self.words.first().context("NAME is missing")?;
        ensure!(
            xiezhi_protocol::poll::is_device_name(name),
            "`{name}` is no name of a link: small letters, digits, dots and dashes, such as gaoyuan-dianxin"
        );
        Ok(name)
    }

    fn read(&self) -> (Folder, Vec<String>) {
        read_links(self.folder(), &self.key(), self.language())
    }

    fn say(&self, zh: &str, en: &str) {
        say!("{}", show::word(self.language(), zh, en));
    }
}

/// Does what the command line asks.
pub(crate) fn run(parser: &mut lexopt::Parser) -> Result<ExitCode> {
    let (command, words) = parse(parser)?;
    let most = match command.as_str() {
        "add" => 2,
        "test" | "remove" => 1,
        "reflect" => usize::MAX,
        _ => 0,
    };
    if let Some(word) = words.words.get(most) {
        bail!("`{word}` is one word too many");
    }
    match command.as_str() {
        "key" => new_key(),
        "add" => add(&words),
        "reflect" => reflect(&words),
        "list" => list(&words),
        "test" => test(&words),
        "remove" => remove(&words),
        "" | "help" => Ok(show::help(HELP)),
        other => bail!("there is no `link {other}`; try `xiezhi-agent link help`"),
    }
}

fn parse(parser: &mut lexopt::Parser) -> Result<(String, Words)> {
    let mut command = String::new();
    let mut words = Words::default();
    while let Some(argument) = parser.next()? {
        let text = |parser: &mut lexopt::Parser| parser.value()?.string();
        match argument {
            Short('h') | Long("help") => "help".clone_into(&mut command),
            Long("source") => words.optional.push(("source", text(parser)?)),
            Long("rate") => words.optional.push(("rate", text(parser)?)),
            Long("size") => words.optional.push(("size", text(parser)?)),
            Long("every") => words.optional.push(("every", text(parser)?)),
            Long("note") => words.optional.push(("note", text(parser)?)),
            Long("port") => words.port = Some(text(parser)?),
            Long("stateless") => words.stateless = true,
            Long("plain") => words.plain = true,
            Long("untried") => words.untried = true,
            Long("config-dir") => words.folder = Some(parser.value()?.into()),
            Long("key") => words.key = Some(parser.value()?.into()),
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

fn new_key() -> Result<ExitCode> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow!("the system gives no random numbers: {error}"))?;
    say!("{}", BASE64.encode(&bytes));
    Ok(ExitCode::SUCCESS)
}

/// The line of a file that holds the key, sealed; nothing with `--plain`.
fn key_line(words: &Words, before: &str) -> Result<String> {
    if words.plain {
        return Ok(String::new());
    }
    let secret: Secret = asked("key of both ends")?;
    ensure!(
        Key::new(secret.reveal()).is_some(),
        "that key is too short; `xiezhi-agent link key` makes one"
    );
    if let Some(folder) = words.key().parent() {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    let sealed = sealing_key(&words.key())?.seal(&secret)?;
    Ok(format!("{before}key: {}\n", quoted(&sealed)))
}

fn add(words: &Words) -> Result<ExitCode> {
    let name = words.name()?.to_owned();
    let address = words.words.get(1).context("ADDRESS is missing")?;
    if let Some(link) = words.read().0.links.get(&name) {
        bail!("there is a link `{name}` already, in {}", link.file);
    }
    let path = words.folder().join(format!("{name}.yaml"));
    ensure!(!path.exists(), "{} is there already", path.display());
    let mut text = format!("links:\n- name: {name}\n  address: {}\n", quoted(address));
    for (key, value) in &words.optional {
        writeln!(text, "  {key}: {}", quoted(value))?;
    }
    if words.stateless {
        text.push_str("  reflector: stateless\n");
    }
    text.push_str(&key_line(words, "  ")?);
    let (folder, problems) = parsed(words, &text);
    let link = folder
        .links
        .get(&name)
        .with_context(|| format!("the link cannot be added:\n{}", problems.join("\n")))?;
    let answered = attempt::try_link(link, words.config.as_deref(), words.language())?;
    ensure!(
        answered || words.untried,
        "the link was not added; `--untried` adds it although the other end does not answer"
    );
    write(words, &path, &text)?;
    words.say(
        &format!("已写入 {}；约 10 秒后开始测量", path.display()),
        &format!("wrote {}; it is measured within seconds", path.display()),
    );
    Ok(ExitCode::SUCCESS)
}

fn reflect(words: &Words) -> Result<ExitCode> {
    ensure!(
        !words.words.is_empty(),
        "NETWORK is missing: who may measure, such as 10.8.0.0/16"
    );
    if let Some(other) = words.read().0.reflector {
        bail!(
            "there is a reflector already, in {}: add peers there",
            other.file
        );
    }
    let path = words.folder().join(REFLECTOR);
    ensure!(!path.exists(), "{} is there already", path.display());
    let mut text = String::from("reflector:\n");
    if let Some(port) = &words.port {
        writeln!(text, "  port: {}", quoted(port))?;
    }
    text.push_str("  peers:\n");
    let key = key_line(words, "    ")?;
    for network in &words.words {
        write!(text, "  - address: {}\n{key}", quoted(network))?;
    }
    let (folder, problems) = parsed(words, &text);
    let reflector = folder
        .reflector
        .filter(|_| problems.is_empty())
        .with_context(|| format!("the reflector cannot be added:\n{}", problems.join("\n")))?;
    write(words, &path, &text)?;
    let port = reflector
        .listen
        .first()
        .map_or(config::PORT, std::net::SocketAddr::port);
    words.say(
        &format!(
            "已写入 {}；约 10 秒后在 UDP {port} 端口应答，请在防火墙上放行",
            path.display()
        ),
        &format!(
            "wrote {}; UDP {port} answers within seconds: let it through the firewall",
            path.display()
        ),
    );
    Ok(ExitCode::SUCCESS)
}

/// Reads a text as a file of the folder would be read.
fn parsed(words: &Words, text: &str) -> (Folder, Vec<String>) {
    let keys = Keys::new(&words.key());
    let open = |sealed: &str| {
        let secret = keys.open(sealed)?;
        Ok(zeroize::Zeroizing::new(secret.reveal().to_owned()))
    };
    let file = config::File {
        path: "new.yaml",
        text,
    };
    let folder = config::read(&[file], &open);
    let problems = folder
        .problems
        .iter()
        .map(|one| one.shown(words.language()))
        .collect();
    (folder, problems)
}

fn write(words: &Words, path: &Path, text: &str) -> Result<()> {
    let folder = words.folder();
    if !folder.is_dir() {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    write_for_devices(path, text)
}

fn list(words: &Words) -> Result<ExitCode> {
    let (folder, problems) = words.read();
    let language = words.language();
    let signed = |link: &Link| {
        if link.key.is_some() {
            show::word(language, "已签名", "signed")
        } else {
            show::word(language, "未签名", "plain")
        }
    };
    let rows: Vec<[String; 4]> = folder
        .links
        .values()
        .map(|link| {
            [
                link.name.clone(),
                link.peer.to_string(),
                signed(link).to_owned(),
                link.note.clone(),
            ]
        })
        .collect();
    show::columns(&rows);
    if let Some(reflector) = &folder.reflector {
        for address in &reflector.listen {
            let peers = reflector.peers.len();
            words.say(
                &format!("应答端口 {address}，允许 {peers} 个对端或网段"),
                &format!("answers at {address}, for {peers} peers or networks"),
            );
        }
    }
    for problem in &problems {
        say!("{problem}");
    }
    Ok(if problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn test(words: &Words) -> Result<ExitCode> {
    let name = words.name()?;
    let (folder, problems) = words.read();
    for problem in &problems {
        say!("{problem}");
    }
    let link = folder
        .links
        .get(name)
        .with_context(|| format!("there is no link `{name}`; see `xiezhi-agent link list`"))?;
    let answered = attempt::try_link(link, words.config.as_deref(), words.language())?;
    Ok(if answered {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn remove(words: &Words) -> Result<ExitCode> {
    let name = words.name()?;
    let (folder, _) = words.read();
    let own = words.folder().join(format!("{name}.yaml"));
    let file = if own.ends_with(REFLECTOR) {
        folder.reflector.as_ref().map(|reflector| &reflector.file)
    } else {
        folder.links.get(name).map(|link| &link.file)
    };
    let file =
        file.with_context(|| format!("there is no link `{name}`; see `xiezhi-agent link list`"))?;
    let others = folder
        .links
        .values()
        .filter(|link| link.file == *file && link.name != name)
        .count();
    let with_reflector = !own.ends_with(REFLECTOR)
        && folder
            .reflector
            .as_ref()
            .is_some_and(|reflector| reflector.file == *file);
    ensure!(
        Path::new(file) == own && others == 0 && !with_reflector,
        "`{name}` stands in {file} with others; take it out there"
    );
    fs::remove_file(&own).with_context(|| format!("removing {}", own.display()))?;
    words.say(
        &format!("已删除 {}", own.display()),
        &format!("removed {}", own.display()),
    );
    Ok(ExitCode::SUCCESS)
}
