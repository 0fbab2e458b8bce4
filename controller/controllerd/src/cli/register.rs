//! `register …` on the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use xiezhi_inventory::Language;
use xiezhi_model::{Field, MAX_TOKEN_USES, RegisterKind};

/// Rooms, staff and assets.
#[derive(Debug, Subcommand)]
pub(crate) enum Register {
    /// Add and change items from a spreadsheet (CSV or XLSX): all of it, or nothing
    #[command(
        after_help = "Examples:\n  xiezhi-controller register import rooms.xlsx --kind rooms --site gs-01 --dry-run\n  xiezhi-controller register import rooms.xlsx --kind rooms --site gs-01"
    )]
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
    /// List items, by site and code
    List(Listed),
    /// Show one item with all that was changed of it
    Show(OneItem),
    /// Write one item down
    Add {
        #[command(flatten)]
        item: OneItem,
        /// Its values: name=核心交换机 room=301 warranty=2028-12-31; `register list --help` names the fields
        #[arg(required = true, value_parser = value)]
        values: Vec<(Field, String)>,
    },
    /// Change one item; what is not named stays as it is
    Change {
        #[command(flatten)]
        item: OneItem,
        /// New values: state=retired note=; an empty one takes away what is there
        #[arg(value_parser = value)]
        values: Vec<(Field, String)>,
        /// Key of the site that it moves to
        #[arg(long)]
        to: Option<String>,
    },
    /// Write items to a file that an import takes back: .csv or .xlsx
    Export {
        /// The file, which must not be there yet
        file: PathBuf,
        /// Language of the file: zh or en; an import takes both
        #[arg(long, default_value = "zh", value_parser = super::language)]
        lang: Language,
        #[command(flatten)]
        which: Listed,
    },
    /// Write a page with labels of assets to print, three by eight on A4: name, code, court and QR code
    Labels {
        /// The HTML file, which must not be there yet; a browser prints it or saves it as PDF
        file: PathBuf,
        /// Address of the pages, for the QR codes: `https://xiezhi.example:8444`
        #[arg(long, value_parser = address)]
        address: String,
        /// Language of the page: zh or en
        #[arg(long, default_value = "zh", value_parser = super::language)]
        lang: Language,
        #[command(flatten)]
        which: Narrowed,
    },
    /// Make an enrolment token for a court and write a page to print for its technician
    Instructions {
        /// The HTML file, which must not be there yet; it holds the token, so only you can read it
        file: PathBuf,
        /// Key of the court, as in `sites list`
        #[arg(long)]
        site: String,
        /// Host name or address of this controller, as agents reach it, with a port if it is another one;
        /// without it the first of the configuration's `web.names`
        #[arg(long)]
        controller: Option<String>,
        /// How many hosts may use the token, 1 to 10000
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_TOKEN_USES)))]
        uses: u32,
        /// How long it is valid, at most 90d: 12h, 7d
        #[arg(long, default_value = "7d", value_parser = super::enrolment_life)]
        expires: Duration,
        /// A person must approve each host, in the browser or with `host approve`
        #[arg(long)]
        approval: bool,
        /// Language of the page: zh or en
        #[arg(long, default_value = "zh", value_parser = super::language)]
        lang: Language,
    },
    /// List the newest imports
    Imports,
    /// Take an import back, as long as nothing of it was changed since
    Undo {
        /// Its number, as in `register imports`
        id: i64,
        /// Only say, row by row and field by field, what would change back and what is in the way
        #[arg(long, visible_alias = "preview")]
        dry_run: bool,
    },
}

/// Which items.
#[derive(Debug, Args)]
#[command(
    after_help = "Fields: code, name, state, note; of rooms also use, floor, phone; of staff room, title, \
phone, email; of assets type, model, serial, room, owner, bought, warranty"
)]
pub(crate) struct Listed {
    /// rooms, staff or assets
    #[arg(long, value_parser = kind)]
    pub(crate) kind: RegisterKind,
    #[command(flatten)]
    pub(crate) narrowed: Narrowed,
}

/// Which of a kind.
#[derive(Debug, Args)]
pub(crate) struct Narrowed {
    /// Only of this site, by its key as in `sites list`
    #[arg(long)]
    pub(crate) site: Option<String>,
    /// And of all sites below it
    #[arg(long, requires = "site")]
    pub(crate) below: bool,
    /// Only what has this text in its code, name, model, serial number or note
    #[arg(long)]
    pub(crate) search: Option<String>,
    /// Only in this state: in_use, retired; of assets also in_stock, repair, idle
    #[arg(long)]
    pub(crate) state: Option<String>,
    /// Only what names the room with this code
    #[arg(long)]
    pub(crate) room: Option<String>,
    /// Only what names the member of staff with this code
    #[arg(long)]
    pub(crate) owner: Option<String>,
}

impl Narrowed {
    /// In words, for the audit log.
    pub(crate) fn told(&self) -> String {
        let texts = [
            ("site", &self.site),
            ("search", &self.search),
            ("state", &self.state),
            ("room", &self.room),
            ("owner", &self.owner),
        ];
        let told = texts.into_iter().filter_map(|(name, text)| {
            let text = text.as_ref()?;
            Some(format!("{name}={text}"))
        });
        let below = self.below.then(|| "below".to_owned());
        told.chain(below).collect::<Vec<_>>().join("; ")
    }
}

/// One item, by what it is known by.
#[derive(Debug, Args)]
pub(crate) struct OneItem {
    /// rooms, staff or assets
    #[arg(long, value_parser = kind)]
    pub(crate) kind: RegisterKind,
    /// Key of its site, as in `sites list`
    #[arg(long)]
    pub(crate) site: String,
    /// Its code at that site
    pub(crate) code: String,
}

/// `name=核心交换机`
fn value(text: &str) -> Result<(Field, String), String> {
    let (word, value) = text.split_once('=').ok_or("write FIELD=VALUE")?;
    let field = Field::from_word(word).ok_or_else(|| {
        let words: Vec<&str> = Field::ALL.into_iter().map(Field::word).collect();
        format!("the fields are {}", words.join(", "))
    })?;
    if field == Field::Code {
        return Err("the code stands by itself and never changes".to_owned());
    }
    Ok((field, value.to_owned()))
}

fn address(text: &str) -> Result<String, String> {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() && !host.contains(char::is_whitespace) => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => Err("write the address as a browser has it: https://xiezhi.example:8444".to_owned()),
    }
}

fn kind(text: &str) -> Result<RegisterKind, String> {
    RegisterKind::from_word(text).ok_or_else(|| {
        let words = RegisterKind::ALL.map(RegisterKind::word);
        format!("write one of {}", words.join(", "))
    })
}
