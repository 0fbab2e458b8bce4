//! Settings of a run: how many rounds, which seed, how long.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// Another seed at every run, unless `XIEZHI_SEED` names one. It is printed before anything can fail.
pub(crate) fn seed() -> u64 {
    // Each hasher's keys are drawn by the system.
    let drawn = RandomState::new().build_hasher().finish();
    let seed = from_environment("XIEZHI_SEED", drawn);
    eprintln!("XIEZHI_SEED={seed} repeats this run");
    seed
}

/// A number from the environment.
pub(crate) fn from_environment(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text}: not a number"))
    })
}
