//! The estate as files describe it: reads the list of courts into sites.
//!
//! The file is CSV in UTF-8, with or without a byte order mark, and its first line is
//! `id,name,tier,parent_id,court_code`. Lines may stand in any order. All problems are reported
//! together, each with its line and what to do; a file with problems yields no sites at all.
//! Rooms, staff and assets come from spreadsheets of many shapes; see [`register`].
//! Nothing here touches the disk or the store.

mod courts;
mod problem;
pub mod register;

pub use courts::parse_courts;
pub use problem::{Problem, ProblemKind};
use xiezhi_model::NewSite;

/// The 113 courts of the demo's province.
pub const DEMO_COURTS_CSV: &str = include_str!("../data/courts.csv");

/// [`DEMO_COURTS_CSV`] as sites: one high court, 17 intermediate and 95 basic courts.
///
/// # Errors
/// Never with the file that is built in; a test holds it to that.
pub fn demo_courts() -> Result<Vec<NewSite>, Vec<Problem>> {
    parse_courts(DEMO_COURTS_CSV.as_bytes())
}
