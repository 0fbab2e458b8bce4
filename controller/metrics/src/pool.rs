//! Threads that evaluate queries, at a lower priority than those that take samples in.
//!
//! Two is the number of cores of a small server; more would only make every query slower. Jobs that
//! find no free thread wait in a short line; beyond it the caller hears "busy" at once.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// The nice value of query threads: ingest, at 0, gets about three times their share.
const NICE: i32 = 5;

type Job = Box<dyn FnOnce() + Send>;

/// Nobody was free and the line was full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many queries at once: try again in a few seconds")]
pub struct Busy;

/// The threads. They end with the last clone.
#[derive(Debug, Clone)]
pub struct Pool {
    line: SyncSender<Job>,
}

impl Pool {
    /// Starts `threads` threads with a line of `waiting` jobs.
    ///
    /// # Errors
    /// If the system gives no threads.
    pub fn start(threads: usize, waiting: usize) -> std::io::Result<Self> {
        let (line, jobs) = sync_channel::<Job>(waiting);
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..threads.max(1) {
            let jobs = Arc::clone(&jobs);
            let builder = std::thread::Builder::new().name("xiezhi-query".to_owned());
            builder.spawn(move || work(&jobs))?;
        }
        Ok(Self { line })
    }

    /// Puts a job into the line.
    ///
    /// # Errors
    /// [`Busy`]; the job was dropped.
    pub fn submit(&self, job: impl FnOnce() + Send + 'static) -> Result<(), Busy> {
        match self.line.try_send(Box::new(job)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(Busy),
        }
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(error = %error, "queries run at normal priority");
    }
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        // A fault in one query must not take the thread from all others.
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
            tracing::error!("a query ended by a panic: please report it with the query");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_full_line_says_busy_and_work_goes_on_afterwards() {
        let pool = Pool::start(1, 1).unwrap();
        let (started, is_started) = channel();
        let (go, wait) = channel::<()>();
        pool.submit(move || {
            started.send(()).unwrap();
            wait.recv().unwrap();
        })
        .unwrap();
        is_started.recv().unwrap();
        let (done, is_done) = channel();
        let second = done.clone();
        pool.submit(move || second.send(2).unwrap()).unwrap();
        assert_eq!(pool.submit(|| ()), Err(Busy));
        go.send(()).unwrap();
        assert_eq!(is_done.recv(), Ok(2));
        pool.submit(move || done.send(3).unwrap()).unwrap();
        assert_eq!(is_done.recv(), Ok(3));
    }

    #[test]
    fn a_panic_costs_only_its_own_query() {
        let pool = Pool::start(1, 4).unwrap();
        pool.submit(|| panic!("on purpose")).unwrap();
        let (done, is_done) = channel();
        pool.submit(move || done.send(()).unwrap()).unwrap();
        assert_eq!(is_done.recv(), Ok(()));
    }
}
