//! The estate as files describe it: lists of courts, and spreadsheets of rooms, staff and assets.
//!
//! All problems of a file are reported together, each with its cell and what to do; a file with problems
//! yields nothing to import. Nothing here touches the disk or the store.

pub mod export;
mod language;
pub mod lists;
pub mod register;
mod reported;
mod sites;

pub use language::{Both, Language};
pub use sites::{SiteList, SiteReading, read_sites};
use xiezhi_model::{NewSite, SiteTree};

/// The 113 courts of the demo's province.
pub const DEMO_COURTS_CSV: &str = include_str!("../data/courts.csv");

/// [`DEMO_COURTS_CSV`] as sites: one high court, 17 intermediate and 95 basic courts.
///
/// # Errors
/// Never with the file that is built in; a test holds it to that.
pub fn demo_courts() -> Result<Vec<NewSite>, Vec<register::CellProblem>> {
    let reading = read_sites(DEMO_COURTS_CSV.as_bytes(), &SiteTree::default());
    match reading.problem_count {
        0 => Ok(reading.list.rows.into_iter().map(|row| row.site).collect()),
        _ => Err(reading.problems),
    }
}
