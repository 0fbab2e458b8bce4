//! `register …` on the command line.

use std::path::PathBuf;

use clap::Subcommand;
use xiezhi_model::RegisterKind;

/// Rooms, staff and assets.
#[derive(Debug, Subcommand)]
pub(crate) enum Register {
    /// Add and change items from a spreadsheet (CSV or XLSX): all of it, or nothing
    Import {
        /// The file; its first rows name the columns, in Chinese or English
        file: PathBuf,
        /// What it is about: rooms, staff or assets
        #[arg(long, value_parser = kind)]
        kind: RegisterKind,
        /// Key of the site of rows that name none, as in `sites list`
        #[arg(long)]
        site: Option<String>,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// List the newest imports
    Imports,
    /// Take an import back, as long as nothing of it was changed since
    Undo {
        /// Its number, as in `register imports`
        id: i64,
    },
}

fn kind(text: &str) -> Result<RegisterKind, String> {
    RegisterKind::from_word(text).ok_or_else(|| {
        let words = RegisterKind::ALL.map(RegisterKind::word);
        format!("write one of {}", words.join(", "))
    })
}
