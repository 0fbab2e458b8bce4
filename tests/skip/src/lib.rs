//! Tests that cannot run everywhere, and where they must not be silent about it.

use std::fmt::Display;

/// Says why a test does nothing here.
///
/// # Panics
/// As root in a run that requires everything (`cargo xtask test` sets `XIEZHI_REQUIRE_PEERS`): there
/// a test that does nothing would pass for proof. `XIEZHI_ALLOW_SKIPS=1` accepts it.
#[expect(clippy::print_stderr, reason = "a test says why it is skipped")]
pub fn skip(reason: impl Display) {
    let is_set = |name: &str| std::env::var_os(name).is_some();
    let required = is_set("XIEZHI_REQUIRE_PEERS") && !is_set("XIEZHI_ALLOW_SKIPS");
    assert!(
        !(required && is_root()),
        "this test cannot run here and would prove nothing: {reason}; \
         XIEZHI_ALLOW_SKIPS=1 accepts that"
    );
    eprintln!("skipped: {reason}");
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}
