//! `sites`: the organisation tree.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use xiezhi_inventory::Language;
use xiezhi_model::Tier;

/// Sites of the organisation tree.
#[derive(Debug, Subcommand)]
pub(crate) enum Sites {
    /// Add, change and move sites from a list: CSV (UTF-8 or GB18030) or XLSX with the columns id, name,
    /// tier, parent_id, court_code
    #[command(
        after_help = "Examples:\n  xiezhi-controller sites import --preview courts.csv\n  xiezhi-controller sites import courts.csv"
    )]
    Import {
        /// The file; without it the demonstration's 113 courts
        file: Option<PathBuf>,
        /// Only say what would be done
        #[arg(long, visible_alias = "dry-run")]
        preview: bool,
    },
    /// List the imports that were done or wait for a decision
    Imports,
    /// Take an import back, if nothing of it was changed or used since
    Undo {
        /// Its number, as in `sites imports`
        id: i64,
    },
    /// List all sites
    List,
    /// Write all sites in use to a file that an import takes back: .csv or .xlsx
    Export {
        /// The file, which must not be there yet
        file: PathBuf,
        /// Language of the file: zh or en; an import takes both
        #[arg(long, default_value = "zh", value_parser = super::language)]
        lang: Language,
    },
    /// Add a site
    #[command(
        after_help = "Example:\n  xiezhi-controller sites add gs-01-10 兰州新区第二人民法院 --tier basic_court --parent gs-01 --court-code 甘0110"
    )]
    Add(NewSiteAt),
    /// Give a site another name
    Rename {
        /// Its id, as in `sites list`
        id: String,
        /// The new name
        name: String,
    },
    /// Move a site, with all that is below it
    Move {
        /// Its id, as in `sites list`
        id: String,
        /// Id of the new site above it
        to: String,
    },
    /// Take a site out of use, if nothing in use is there
    Retire {
        /// Its id, as in `sites list`
        id: String,
    },
    /// Take a retired site into use again
    Restore {
        /// Its id, as in `sites list`
        id: String,
    },
    /// Show who changed what of a site, and where it stood
    History {
        /// Its id, as in `sites list`
        id: String,
    },
}

/// A site that is to be.
#[derive(Debug, Args)]
pub(crate) struct NewSiteAt {
    /// Identifier, which never changes: gs-01-09
    pub(crate) id: String,
    /// Name for people
    pub(crate) name: String,
    /// high_court, intermediate_court, basic_court, tribunal or other
    #[arg(long, value_parser = tier)]
    pub(crate) tier: Tier,
    /// Id of the site above it
    #[arg(long)]
    pub(crate) parent: Option<String>,
    /// 法院代字
    #[arg(long, default_value = "")]
    pub(crate) court_code: String,
}

fn tier(text: &str) -> Result<Tier, String> {
    let words = Tier::ALL.map(Tier::word).join(", ");
    Tier::from_word(text).ok_or_else(|| format!("write one of {words}"))
}
