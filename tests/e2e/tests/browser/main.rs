//! The screens in a real browser: Chromium, driven over WebDriver, against a real controller with a
//! real agent.
//!
//! Every screen is opened in both languages, both themes and on a desk and a phone; see `screens`.
//! The other files are what people do there. With `XIEZHI_SCREENS=1`, as `cargo xtask test` sets
//! it, pictures of all screens are written to `target/screens`. Chromium and its driver come from
//! Debian's packages; without them the tests fail and say so, because a screen that nobody looked
//! at is not known to work.

#![expect(
    clippy::indexing_slicing,
    reason = "a panic in a test is a failure that says where"
)]

#[path = "../shared/asked.rs"]
mod asked;
mod browser;
mod budget;
mod checks;
mod contrast;
mod exports;
mod first_day;
mod first_day_courts;
mod frame;
mod host;
mod idle;
mod imports;
mod keyboard;
mod login;
mod look;
mod people;
mod screens;
mod spreadsheet;
mod tokens;
mod unwell;
mod wall;
