//! What each command does, one file per noun.

mod api_tokens;
mod audit;
mod authority;
mod bandwidth;
mod break_glass;
mod evidence;
mod files;
mod hosts;
mod init;
mod passwords;
mod register;
mod reported;
mod series;
mod settings;
mod sites;
mod store;
mod tokens;
mod users;

pub(crate) use self::series::DamagedBackup;

use std::path::Path;

use anyhow::{Context as _, Result};
use xiezhi_identity::PassphraseSource;
use xiezhi_model::{Actor, AuditEntry};
use xiezhi_store::{Address, Store};

use crate::cli::{Cli, Command};
use crate::clock::now_ms;
use crate::config::{Config, NamedFiles};
use crate::terminal::say;
use crate::{logging, service};

/// Does what the command line asks.
pub(crate) fn run(cli: Cli) -> Result<()> {
    let files = match cli.command {
        Command::Run(_) | Command::CheckConfig => NamedFiles::Checked,
        _ => NamedFiles::Ignored,
    };
    let config = Config::load(cli.config.as_deref(), files)?;
    match cli.command {
        Command::Run(how) => {
            logging::start(config.log);
            service::run(config, &how)
        }
        Command::CheckConfig => {
            say!("the configuration has no problems");
            Ok(())
        }
        Command::Ca(what) => authority::run(&config, what),
        Command::Series(what) => series::run(&config, &what),
        Command::Store(what) => wait(store::run(&config, what)),
        Command::Init(what) => wait(init::run(&config, &what)),
        Command::Sites(what) => wait(sites::run(&config, what)),
        Command::Register(what) => wait(register::run(&config, what)),
        Command::User(what) => wait(users::run(&config, what)),
        Command::Token(what) => wait(tokens::run(&config, what)),
        Command::ApiToken(what) => wait(api_tokens::run(&config, what)),
        Command::Host(what) => wait(hosts::run(&config, what)),
        Command::Event(what) => wait(reported::events(&config, what)),
        Command::Device(what) => wait(reported::devices(&config, what)),
        Command::Bandwidth(what) => wait(bandwidth::run(&config, what)),
        Command::Settings(what) => wait(settings::run(&config, what)),
        Command::Audit(what) => wait(audit::run(&config, what)),
        Command::Evidence(what) => wait(evidence::run(&config, what)),
        Command::SetPassword { password_file } => {
            wait(passwords::set(&config, password_file.as_deref()))
        }
    }
}

/// Runs one command's work to its end.
fn wait(work: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.context("starting the runtime")?.block_on(work)
}

/// Opens the state database; commands work beside a running controller.
async fn open_store(config: &Config) -> Result<Store> {
    let address = database_address(config)?;
    Store::open_at(&address)
        .await
        .with_context(|| format!("opening the state database {address}"))
}

/// Where the state database is, with the password that a server asks for.
pub(crate) fn database_address(config: &Config) -> Result<Address> {
    let address = Address::parse(&config.database_url())?;
    let credential = credentials().map(|folder| folder.join("database-password"));
    let source = match (&config.database_password_file, credential) {
        (Some(file), _) => PassphraseSource::File(file.clone()),
        (None, Some(path)) if path.exists() => PassphraseSource::Credential(path),
        _ => return Ok(address),
    };
    let password = source
        .read("the database")
        .context("reading the database's password")?;
    Ok(address.with_password(Some(password.reveal().to_owned())))
}

/// Where systemd puts what the unit names with LoadCredential=.
fn credentials() -> Option<std::path::PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").map(std::path::PathBuf::from)
}

/// An audit entry by whoever sits at this machine's console.
fn by_console(action: &str, subject: impl Into<String>) -> AuditEntry {
    AuditEntry::new(now_ms(), Actor::Console, action, subject)
}

/// `text` in one line that cannot steer the terminal: hosts name themselves.
fn one_line(text: &str) -> String {
    let signs = text.chars().map(|sign| match sign.is_control() {
        true => sign.escape_default().to_string(),
        false => sign.to_string(),
    });
    signs.collect()
}

/// A change as a person reads it; where nothing was, only what will be.
fn change_told(field: &str, before: &str, after: &str) -> String {
    if before.is_empty() {
        return format!("{field} {after:?}");
    }
    format!("{field} {before:?} → {after:?}")
}

/// What an import is called on the pages: the folders of this machine are nobody's concern there.
fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

/// Where the passphrase of the online key comes from.
pub(crate) fn passphrase_source(config: &Config) -> PassphraseSource {
    PassphraseSource::choose(config.passphrase_file.clone(), credentials().as_deref())
}

/// Unix milliseconds as a person reads them, Asia/Shanghai, with the zone.
fn local_time(time_ms: i64) -> String {
    let shanghai = time::UtcOffset::from_hms(8, 0, 0).unwrap_or(time::UtcOffset::UTC);
    let format =
        time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second] +08:00");
    time::OffsetDateTime::from_unix_timestamp(time_ms.div_euclid(1000))
        .ok()
        .and_then(|time| time.to_offset(shanghai).format(format).ok())
        .unwrap_or_else(|| time_ms.to_string())
}
