//! `audit`: the audit record and its proof.

use std::path::PathBuf;

use clap::Subcommand;
use xiezhi_evidence::Hash;
use xiezhi_inventory::Language;

/// The audit record.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Check that no entry was changed, removed or inserted, and that the newest ones were not cut off
    ///
    /// Who can write to the database can rewrite the whole chain with its head: that shows only by a head
    /// that was noted elsewhere (`audit head`) and is given with --expect-head.
    Verify {
        /// Check this file of `audit export` instead, without the database
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// The hash of a head that was noted elsewhere: a file must end with it, the database must hold it
        #[arg(long, value_name = "HASH")]
        expect_head: Option<Hash>,
    },
    /// Print how many entries there are and the hash of the newest: note it where this machine's
    /// administrators cannot change it
    Head,
    /// Write the whole record into a new file that `audit verify --file` checks anywhere
    Export {
        /// File to make
        file: PathBuf,
    },
    /// Write all entries for a spreadsheet: .csv, or .xlsx with at most 20,000 of them
    Sheet {
        /// The file, which must not be there yet
        file: PathBuf,
        /// Language of the file: zh or en
        #[arg(long, default_value = "zh", value_parser = super::language)]
        lang: Language,
    },
    /// Print the newest entries
    List {
        /// How many
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
}
