//! The command line.

mod audit;
#[cfg(test)]
mod examples;
mod register;
mod reported;
mod sites;
mod user;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

pub(crate) use self::audit::Audit;
pub(crate) use self::register::{Listed, Narrowed, OneItem, Register};
pub(crate) use self::reported::{DeviceCommand, EventCommand, Events, WhichStream};
pub(crate) use self::sites::{NewSiteAt, Sites};
pub(crate) use self::user::{BreakGlass, RoleAt, User};
use xiezhi_identity::Pkcs11Address;
use xiezhi_ingest::MOST_KBPS;
use xiezhi_inventory::Language;
use xiezhi_model::{
    ApiRight, MAX_REVOCATION_REASON, MAX_TOKEN_DAYS, MAX_TOKEN_USES, revocation_reason,
};

/// What whoever has just installed it does, in this order.
const FIRST_STEPS: &str = "First steps:
  xiezhi-controller init --offline-dir /media/safe
  xiezhi-controller sites import --preview courts.csv
  xiezhi-controller sites import courts.csv
  systemctl start xiezhi-controller
  xiezhi-controller token create --site gs-01 --uses 20

Each command has its own: xiezhi-controller token create --help";

/// The controller of Xiezhi: takes in what agents report, keeps it and shows it.
#[derive(Debug, Parser)]
#[command(name = "xiezhi-controller", version, after_help = FIRST_STEPS)]
pub(crate) struct Cli {
    /// Configuration file [default: /etc/xiezhi/controller.yaml if it exists]
    #[arg(long, global = true)]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make the certificate authority and the administrator account
    #[command(after_help = "Example:\n  xiezhi-controller init --offline-dir /media/safe")]
    Init(Init),
    /// Run the controller
    Run(Run),
    /// The certificate authority
    #[command(subcommand)]
    Ca(Ca),
    /// Sites of the organisation tree
    #[command(subcommand)]
    Sites(Sites),
    /// Rooms, staff and assets
    #[command(subcommand)]
    Register(Register),
    /// Accounts of people and their roles
    #[command(subcommand)]
    User(User),
    /// Enrolment tokens
    #[command(subcommand)]
    Token(Token),
    /// Tokens of programs, such as Grafana
    #[command(subcommand)]
    ApiToken(ApiToken),
    /// Hosts
    #[command(subcommand)]
    Host(Host),
    /// Events that hosts reported, and the gaps among them
    #[command(subcommand)]
    Event(EventCommand),
    /// Devices of the network that hosts poll
    #[command(subcommand)]
    Device(DeviceCommand),
    /// Bandwidth budgets of sites
    #[command(subcommand)]
    Bandwidth(Bandwidth),
    /// Dated settings: how long events are kept
    #[command(subcommand)]
    Settings(Settings),
    /// Set the administrator's password anew
    SetPassword {
        /// File to read the password from instead of the terminal
        #[arg(long)]
        password_file: Option<PathBuf>,
    },
    /// The audit record
    #[command(subcommand)]
    Audit(Audit),
    /// Proof of what hosts reported
    #[command(subcommand)]
    Evidence(Evidence),
    /// The stored samples: backup and verification
    #[command(subcommand)]
    Series(Series),
    /// The state: moving it to another database
    #[command(subcommand)]
    Store(StoreCommand),
    /// Show every problem of the configuration
    CheckConfig,
}

/// The stored samples.
#[derive(Debug, Subcommand)]
pub(crate) enum Series {
    /// Copy the samples into a new folder, whether the controller runs or not
    #[command(after_help = "Example:\n  xiezhi-controller series backup /backup/series-2026-11-22")]
    Backup {
        /// Folder to make
        folder: PathBuf,
    },
    /// Read every stored sample, or a backup, and name what is damaged
    Verify {
        /// Folder that `series backup` made; without it the controller's own samples
        backup: Option<PathBuf>,
    },
}

/// The state.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Copy the whole state into an empty database and compare; the controller must be stopped
    Copy {
        /// Where to: postgres://user@host/database, or a file to make, /absolute/path
        #[arg(long, value_name = "ADDRESS")]
        to: String,
        /// File to read the target server's password from
        #[arg(long, value_name = "FILE")]
        to_password_file: Option<PathBuf>,
    },
}

/// First steps.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Folder for the root key: on removable media that then go into a safe, never on this machine.
    /// Not needed if there is an authority already, by `ca init` or `ca import`
    #[arg(long)]
    pub(crate) offline_dir: Option<PathBuf>,
    /// File to read the root key's new passphrase from instead of the terminal
    #[arg(long)]
    pub(crate) root_passphrase_file: Option<PathBuf>,
    /// Keep the online key in this PKCS#11 token instead of a sealed file; the PIN comes from where
    /// the passphrase would: pkcs11:token=LABEL?module-path=/usr/lib/….so
    #[arg(long, value_name = "URI")]
    pub(crate) online_key: Option<Pkcs11Address>,
    /// File to read the administrator's password from instead of the terminal
    #[arg(long)]
    pub(crate) password_file: Option<PathBuf>,
}

/// How to run.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Print an address with a one-time login on standard output; for demonstrations
    #[arg(long)]
    pub(crate) one_time_login: bool,
    /// Write the ports in use to this file, as JSON, once they are open
    #[arg(long)]
    pub(crate) ready_file: Option<PathBuf>,
}

/// The certificate authority.
#[derive(Debug, Subcommand)]
pub(crate) enum Ca {
    /// Make root and intermediate (part of `init`)
    Init {
        /// Folder for the root key
        #[arg(long)]
        offline_dir: PathBuf,
        /// File to read the root key's new passphrase from instead of the terminal
        #[arg(long)]
        root_passphrase_file: Option<PathBuf>,
        /// Keep the new online key in this PKCS#11 token instead of a sealed file
        #[arg(long, value_name = "URI")]
        online_key: Option<Pkcs11Address>,
    },
    /// Make a new intermediate with the root key; restart the controller afterwards
    Rotate {
        /// Folder with the root key
        #[arg(long)]
        offline_dir: PathBuf,
        /// File to read the root key's passphrase from instead of the terminal
        #[arg(long)]
        root_passphrase_file: Option<PathBuf>,
        /// Keep the new online key in this PKCS#11 token instead of a sealed file
        #[arg(long, value_name = "URI")]
        online_key: Option<Pkcs11Address>,
    },
    /// Print a certificate request for a root that is held elsewhere
    Request {
        /// Keep the new online key in this PKCS#11 token instead of a sealed file
        #[arg(long, value_name = "URI")]
        online_key: Option<Pkcs11Address>,
    },
    /// Take the certificate that was signed for `request`
    Import {
        /// The signed intermediate, PEM
        certificate: PathBuf,
        /// The root that signed it, PEM; needed the first time
        #[arg(long)]
        root: Option<PathBuf>,
    },
    /// Print the root's fingerprint and when the intermediate ends
    Show,
}

/// Enrolment tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token and print it; it is shown only once
    #[command(
        after_help = "Example:\n  xiezhi-controller token create --site gs-01 --uses 20 --expires 7d"
    )]
    Create {
        /// Key of the site whose hosts may use it, as in `sites list`
        #[arg(long)]
        site: String,
        /// How many hosts may use it, 1 to 10000
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_TOKEN_USES)))]
        uses: u32,
        /// How long it is valid, at most 90d: 12h, 7d
        #[arg(long, default_value = "7d", value_parser = enrolment_life)]
        expires: Duration,
        /// A person must approve each host, in the browser or with `host approve`
        #[arg(long)]
        approval: bool,
        /// Hosts that use it are shown as simulated
        #[arg(long)]
        simulated: bool,
    },
    /// List all tokens
    List,
    /// Make a token unusable
    Revoke {
        /// Its identifier, as in `token list`
        id: String,
    },
}

/// Tokens of programs.
#[derive(Debug, Subcommand)]
pub(crate) enum ApiToken {
    /// Make a token and print it; it is shown only once
    #[command(
        after_help = "Examples:\n  xiezhi-controller api-token create --name grafana --right read-metrics\n  xiezhi-controller api-token create --name db-prometheus --right write-metrics --site gs-01"
    )]
    Create {
        /// What it is for, such as "Grafana of the high court"; 1 to 100 letters
        #[arg(long, value_parser = name)]
        name: String,
        /// read-metrics: ask PromQL; write-metrics: send samples by remote write
        #[arg(long, value_parser = right)]
        right: ApiRight,
        /// Key of the site whose subtree it sees [default: all], or to which its samples belong
        #[arg(long, required_if_eq("right", "write-metrics"))]
        site: Option<String>,
        /// How long it is valid, at most 1825d: 12h, 90d
        #[arg(long, default_value = "365d", value_parser = program_life)]
        expires: Duration,
    },
    /// List all API tokens: whose, what for, where, last used
    List,
    /// Make a token unusable
    Revoke {
        /// Its number, as in `api-token list`
        id: i64,
    },
}

/// Hosts.
#[derive(Debug, Subcommand)]
pub(crate) enum Host {
    /// List all hosts
    List,
    /// Write the list of all hosts to a file: .csv or .xlsx
    Export {
        /// The file, which must not be there yet
        file: PathBuf,
        /// Language of the file: zh or en
        #[arg(long, default_value = "zh", value_parser = language)]
        lang: Language,
    },
    /// List the requests of hosts that wait for a person's approval
    Approvals {
        /// Decided ones too
        #[arg(long)]
        all: bool,
    },
    /// Let a waiting host enrol
    Approve {
        /// Number of its request, as in `host approvals`
        id: i64,
    },
    /// Refuse a waiting host
    Refuse {
        /// Number of its request, as in `host approvals`
        id: i64,
    },
    /// Close a host's session and refuse it from now on
    #[command(
        after_help = "Example:\n  xiezhi-controller host revoke 7 --reason 'sold with its disk'"
    )]
    Revoke {
        /// Its number, as in `host list`
        id: i64,
        /// Why, for the audit record: at most 200 characters
        #[arg(long, value_parser = reason)]
        reason: String,
    },
}

/// Bandwidth budgets of sites. Live reports are never held back.
#[derive(Debug, Subcommand)]
pub(crate) enum Bandwidth {
    /// Show what holds for a site, hour by hour
    Show {
        /// Key of the site, as in `sites list`
        #[arg(long)]
        site: String,
    },
    /// Set a limit for some hours; the other hours keep what holds for them now
    #[command(
        after_help = "Examples:\n  xiezhi-controller bandwidth set --site gs-01 --hours 8-18 --kbps 512\n  xiezhi-controller bandwidth set --site gs-01 --kbps unlimited"
    )]
    Set {
        /// Key of the site, as in `sites list`
        #[arg(long)]
        site: String,
        /// From which hour up to which, Beijing time: 8-18, or 22-6 over midnight
        #[arg(long, default_value = "0-24", value_parser = hours)]
        hours: Hours,
        /// Limit in kbit/s; 0 lets only live reports pass; `unlimited` takes the limit away
        #[arg(long = "kbps", value_parser = limit)]
        limit: Limit,
    },
    /// Take a site's own budget away: that of the site above holds again
    Clear {
        /// Key of the site, as in `sites list`
        #[arg(long)]
        site: String,
    },
}

/// Dated settings.
#[derive(Debug, Subcommand)]
pub(crate) enum Settings {
    /// Show what holds now and what will
    List,
    /// Give a setting a new value; earlier ones stay on record
    #[command(
        after_help = "Example:\n  xiezhi-controller settings set event_retention_days 365 --from 2026-12-01 --source '高院 2026 年第 12 号文'"
    )]
    Set {
        /// Which, as in `settings list`
        key: String,
        /// Its value
        value: String,
        /// From the begin of this day in Asia/Shanghai: 2026-12-01 [default: now]
        #[arg(long, value_parser = day)]
        from: Option<i64>,
        /// The rule or decision that it comes from
        #[arg(long)]
        source: String,
    },
}

/// Hours of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hours {
    /// First hour, 0 to 23.
    pub(crate) from: usize,
    /// Hour after the last, 1 to 24; smaller than `from` wraps over midnight.
    pub(crate) to: usize,
}

fn hours(text: &str) -> Result<Hours, String> {
    let parsed = text
        .split_once('-')
        .and_then(|(from, to)| Some((from.trim().parse().ok()?, to.trim().parse().ok()?)));
    match parsed {
        Some((from @ 0..=23, to @ 0..=24)) if from != to => Ok(Hours { from, to }),
        _ => Err("give two hours of the day, such as 8-18 or 22-6".to_owned()),
    }
}

/// A limit in kbit/s; `None` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit(pub(crate) Option<u32>);

fn limit(text: &str) -> Result<Limit, String> {
    if text == "unlimited" {
        return Ok(Limit(None));
    }
    let kbps = text.parse().ok().filter(|kbps| *kbps <= MOST_KBPS);
    kbps.map(|kbps| Limit(Some(kbps)))
        .ok_or_else(|| format!("give kbit/s from 0 to {MOST_KBPS}, or `unlimited`"))
}

/// Proof of what hosts reported.
#[derive(Debug, Subcommand)]
pub(crate) enum Evidence {
    /// Check signatures, stored events and the chain in which they stand; changes nothing
    Verify {
        /// Look only into batches of this host, as in `host list`
        #[arg(long)]
        host: Option<i64>,
        /// Look only into batches since this day in Asia/Shanghai: 2026-11-22
        #[arg(long, value_parser = day)]
        from: Option<i64>,
    },
    /// Write one security event with everything that proves it, to be checked without this program
    Export {
        /// Number of the event, as the browser shows it
        event: i64,
        /// Folder to make for it
        #[arg(long)]
        to: PathBuf,
    },
}

fn language(text: &str) -> Result<Language, String> {
    Language::from_word(text).ok_or_else(|| "write zh or en".to_owned())
}

fn right(text: &str) -> Result<ApiRight, String> {
    match ApiRight::from_word(text) {
        // What a program does by it is its maker's doing: nobody makes one in another's name.
        Some(ApiRight::UseApi) => Err(
            "an account makes such a token for itself, on the page of the own account".to_owned(),
        ),
        Some(right) => Ok(right),
        None => {
            let [one, other] = [ApiRight::ReadMetrics, ApiRight::WriteMetrics].map(ApiRight::word);
            Err(format!("write one of {one}, {other}"))
        }
    }
}

/// A name that a list can show.
fn name(text: &str) -> Result<String, String> {
    const LETTERS: usize = 100;
    let name = text.trim();
    if !(1..=LETTERS).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        return Err(format!("give 1 to {LETTERS} letters in one line"));
    }
    Ok(name.to_owned())
}

fn reason(text: &str) -> Result<String, String> {
    revocation_reason(text)
        .map(str::to_owned)
        .ok_or_else(|| format!("say why, in at most {MAX_REVOCATION_REASON} characters"))
}

/// Life of a secret that lets a host in.
pub(crate) fn enrolment_life(text: &str) -> Result<Duration, String> {
    life(text, MAX_TOKEN_DAYS.into())
}

/// Life of a program's secret: five years, about as long as the machine that holds it.
fn program_life(text: &str) -> Result<Duration, String> {
    life(text, 1825)
}

fn life(text: &str, most_days: u64) -> Result<Duration, String> {
    let life = duration(text)?;
    if life > Duration::from_secs(most_days * 86_400) {
        return Err(format!("at most {most_days}d"));
    }
    Ok(life)
}

/// The begin of a day in Asia/Shanghai, Unix milliseconds.
fn day(text: &str) -> Result<i64, String> {
    let format = time::macros::format_description!("[year]-[month]-[day]");
    let day = time::Date::parse(text, format);
    let day = day.map_err(|_| "write a day such as 2026-11-22".to_owned())?;
    let offset = time::UtcOffset::from_hms(8, 0, 0).map_err(|error| error.to_string())?;
    Ok(day.midnight().assume_offset(offset).unix_timestamp() * 1000)
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    );
    let seconds = match unit {
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err("write a number and m, h or d, such as 12h or 7d".to_owned()),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "write a whole number and m, h or d".to_owned())?;
    number
        .checked_mul(seconds)
        .map(Duration::from_secs)
        .ok_or_else(|| "too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn days_begin_at_midnight_in_shanghai() {
        assert_eq!(day("2026-11-21"), Ok(1_795_190_400_000));
        assert!(day("21.11.2026").is_err() && day("2026-13-01").is_err());
    }

    #[test]
    fn tokens_have_bounds() {
        let taken = |line: &str| {
            let words = line.split(' ').map(|word| word.replace('_', " "));
            Cli::try_parse_from(std::iter::once("x".to_owned()).chain(words)).is_ok()
        };
        for (options, expected) in [
            ("--uses 1 --expires 90d", true),
            ("--uses 10000", true),
            ("--uses 0", false),
            ("--uses 10001", false),
            ("--expires 91d", false),
            ("--expires 1000000d", false),
        ] {
            assert_eq!(
                taken(&format!("token create --site gs {options}")),
                expected,
                "{options}"
            );
        }
        let long = "x".repeat(101);
        for (options, expected) in [
            ("--name grafana --right read-metrics --expires 1825d", true),
            ("--name grafana --right read-metrics --expires 1826d", false),
            ("--name grafana --right write-metrics", false),
            ("--name prometheus --right write-metrics --site gs", true),
            ("--name _ --right read-metrics", false),
            ("--name script --right use-api --site gs", false),
            (&format!("--name {long} --right read-metrics"), false),
        ] {
            assert_eq!(
                taken(&format!("api-token create {options}")),
                expected,
                "{options}"
            );
        }
    }

    #[test]
    fn durations_are_read_with_their_unit() {
        assert_eq!(duration("7d"), Ok(Duration::from_secs(604_800)));
        assert!(
            duration("7").is_err()
                && duration("d").is_err()
                && duration("999999999999999999d").is_err()
        );
    }
}
