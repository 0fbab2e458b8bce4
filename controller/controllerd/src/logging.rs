//! The controller's own log: one line per event on standard error, where the journal picks it up.

use tracing::Level;

/// Starts logging at `level`. Called once per process.
pub(crate) fn start(level: Level) {
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(terminal);
    // The journal stamps lines itself.
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        builder.without_time().init();
    } else {
        builder.init();
    }
}
