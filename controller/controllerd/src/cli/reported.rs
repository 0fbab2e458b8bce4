//! `event` and `device`: what hosts report.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use xiezhi_inventory::Language;
use xiezhi_model::Severity;

/// Events that hosts reported.
#[derive(Debug, Subcommand)]
pub(crate) enum EventCommand {
    /// Write events to a file, newest first, with the gaps among them: .csv, or .xlsx with at most 20,000 rows
    #[command(
        after_help = "Examples:\n  xiezhi-controller event export events.csv --site gs-01 --from 2026-11-01\n  xiezhi-controller event export logins.xlsx --kind login_failed --lang en"
    )]
    Export(Events),
    /// Write the gaps to a file: data that hosts gave up
    Gaps {
        /// The file, which must not be there yet
        file: PathBuf,
        /// Language of the file: zh or en
        #[arg(long, default_value = "zh", value_parser = super::language)]
        lang: Language,
    },
}

/// Which events, and where to.
#[derive(Debug, Args)]
pub(crate) struct Events {
    /// The file, which must not be there yet
    pub(crate) file: PathBuf,
    /// Security events, plain ones, or all
    #[arg(long, value_enum, default_value_t = WhichStream::All)]
    pub(crate) stream: WhichStream,
    /// Only of this site and all below it, by its key as in `sites list`
    #[arg(long)]
    pub(crate) site: Option<String>,
    /// Only of this host, as in `host list`
    #[arg(long)]
    pub(crate) host: Option<i64>,
    /// Only of this kind, such as login_failed
    #[arg(long)]
    pub(crate) kind: Option<String>,
    /// At least this severe: info, notice, warning or critical
    #[arg(long, value_parser = severity)]
    pub(crate) severity: Option<Severity>,
    /// Only with this text in the message or a field
    #[arg(long)]
    pub(crate) search: Option<String>,
    /// Since the begin of this day in Asia/Shanghai: 2026-11-22
    #[arg(long, value_parser = super::day)]
    pub(crate) from: Option<i64>,
    /// Before the begin of this day in Asia/Shanghai
    #[arg(long, value_parser = super::day)]
    pub(crate) to: Option<i64>,
    /// Language of the file: zh or en
    #[arg(long, default_value = "zh", value_parser = super::language)]
    pub(crate) lang: Language,
}

/// Which streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WhichStream {
    /// Security events
    Security,
    /// Plain events
    Events,
    /// Both
    All,
}

/// Devices of the network.
#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// List all devices
    List,
    /// Write the list of devices to a file: .csv, or .xlsx with at most 20,000 of them
    #[command(after_help = "Example:\n  xiezhi-controller device export devices.xlsx --site gs-01")]
    Export {
        /// The file, which must not be there yet
        file: PathBuf,
        /// Only of this site and all below it, by its key as in `sites list`
        #[arg(long)]
        site: Option<String>,
        /// Language of the file: zh or en
        #[arg(long, default_value = "zh", value_parser = super::language)]
        lang: Language,
    },
}

fn severity(text: &str) -> Result<Severity, String> {
    let words = Severity::ALL.map(Severity::word).join(", ");
    Severity::from_word(text).ok_or_else(|| format!("write one of {words}"))
}
