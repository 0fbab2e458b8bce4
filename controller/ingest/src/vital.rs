//! What must not die alone.

use tracing::error;

/// Ends the process if the thread or task that holds it panics.
///
/// A committer that is gone would leave every batch unanswered while the controller looks healthy: a
/// restart by the service manager is better, for nothing that was acknowledged is lost by it.
#[derive(Debug)]
pub(crate) struct Vital(pub(crate) &'static str);

impl Drop for Vital {
    fn drop(&mut self) {
        if std::thread::panicking() {
            error!(
                part = self.0,
                "a part that nothing works without has failed by a mistake in the program; \
                 the controller ends so that it can be started again. Please report the lines above"
            );
            std::process::abort();
        }
    }
}
