//! What commands print. A reader that goes away (`… | head`) ends the command, quietly.

use std::fmt::Arguments;
use std::io::Write as _;

/// Prints a line on standard output.
pub(crate) fn line(line: Arguments<'_>) {
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(0);
    }
}

/// Prints a line on standard output; takes what `format!` takes.
macro_rules! say {
    ($($argument:tt)*) => { $crate::terminal::line(format_args!($($argument)*)) };
}
pub(crate) use say;
