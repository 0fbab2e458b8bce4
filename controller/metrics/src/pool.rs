//! Threads that evaluate queries, at a lower priority than those that take samples in.
//!
//! Two is the number of cores of a small server; more would only make every query slower. Jobs that
//! find no free thread wait; beyond a bound the caller hears "busy" at once. Whoever sees the same sites
//! waits in one line, and lines take turns: a court that asks a hundred things at once makes itself wait,
//! not the province.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

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
    lines: Arc<Lines>,
    /// Tells the threads when the last clone goes.
    _end: Arc<End>,
}

/// Jobs that wait, by share; the line at the front is served next.
#[derive(Default)]
struct Waiting {
    lines: VecDeque<(u64, VecDeque<Job>)>,
    count: usize,
    /// Threads that wait for a job.
    free: usize,
    is_over: bool,
}

struct Lines {
    waiting: Mutex<Waiting>,
    bell: Condvar,
    /// Jobs that wait at most.
    most: usize,
}

struct End(Arc<Lines>);

impl Pool {
    /// Starts `threads` threads with places for `waiting` jobs.
    ///
    /// # Errors
    /// If the system gives no threads.
    pub fn start(threads: usize, waiting: usize) -> std::io::Result<Self> {
        let lines = Arc::new(Lines {
            waiting: Mutex::default(),
            bell: Condvar::new(),
            most: waiting,
        });
        let end = Arc::new(End(Arc::clone(&lines)));
        for _ in 0..threads.max(1) {
            let lines = Arc::clone(&lines);
            let builder = std::thread::Builder::new().name("xiezhi-query".to_owned());
            builder.spawn(move || work(&lines))?;
        }
        Ok(Self { lines, _end: end })
    }

    /// Puts a job at the end of a share's line. One share holds three quarters of all places at most.
    ///
    /// # Errors
    /// [`Busy`]; the job was dropped.
    pub fn submit(&self, share: u64, job: impl FnOnce() + Send + 'static) -> Result<(), Busy> {
        let most = self.lines.most;
        let mut waiting = self.lines.lock();
        let is_free = waiting.free > waiting.count;
        if !is_free && waiting.count >= most {
            return Err(Busy);
        }
        let place = waiting.lines.iter().position(|line| line.0 == share);
        match place.and_then(|place| waiting.lines.get_mut(place)) {
            Some((_, line)) if !is_free && line.len() >= most - most / 4 => return Err(Busy),
            Some((_, line)) => line.push_back(Box::new(job)),
            None => {
                let line = VecDeque::from([Box::new(job) as Job]);
                waiting.lines.push_back((share, line));
            }
        }
        waiting.count += 1;
        drop(waiting);
        self.lines.bell.notify_one();
        Ok(())
    }
}

impl Waiting {
    /// The oldest job of the line whose turn it is; that line goes to the end.
    fn take(&mut self) -> Option<Job> {
        let (share, mut line) = self.lines.pop_front()?;
        let job = line.pop_front();
        if !line.is_empty() {
            self.lines.push_back((share, line));
        }
        self.count -= usize::from(job.is_some());
        job
    }
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a job; none comes any more at the end.
    fn next(&self) -> Option<Job> {
        let mut waiting = self.lock();
        loop {
            if let Some(job) = waiting.take() {
                return Some(job);
            }
            if waiting.is_over {
                return None;
            }
            waiting.free += 1;
            waiting = self
                .bell
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
            waiting.free -= 1;
        }
    }
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Lines")
    }
}

impl std::fmt::Debug for End {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("End")
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.bell.notify_all();
    }
}

fn work(lines: &Lines) {
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(error = %error, "queries run at normal priority");
    }
    while let Some(job) = lines.next() {
        // A fault in one query must not take the thread from all others.
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
            tracing::error!("a query ended by a panic: please report it with the query");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    /// Occupies the only thread until the sender is used.
    fn occupied(pool: &Pool) -> Sender<()> {
        let (started, is_started) = channel();
        let (go, wait) = channel::<()>();
        let job = move || {
            started.send(()).unwrap();
            wait.recv().unwrap();
        };
        pool.submit(0, job).unwrap();
        is_started.recv().unwrap();
        go
    }

    #[test]
    fn a_full_line_says_busy_and_work_goes_on_afterwards() {
        let pool = Pool::start(1, 1).unwrap();
        let go = occupied(&pool);
        let (done, is_done) = channel();
        let second = done.clone();
        pool.submit(0, move || second.send(2).unwrap()).unwrap();
        assert_eq!(pool.submit(0, || ()), Err(Busy));
        go.send(()).unwrap();
        assert_eq!(is_done.recv(), Ok(2));
        pool.submit(0, move || done.send(3).unwrap()).unwrap();
        assert_eq!(is_done.recv(), Ok(3));
    }

    #[test]
    fn who_asks_much_makes_only_themselves_wait() {
        let pool = Pool::start(1, 8).unwrap();
        let go = occupied(&pool);
        let (done, is_done) = channel();
        let ask = |share: u64, name: &'static str| {
            let done = done.clone();
            pool.submit(share, move || done.send(name).unwrap())
        };
        for _ in 0..6 {
            ask(1, "court").unwrap();
        }
        assert_eq!(
            ask(1, "court"),
            Err(Busy),
            "a quarter is left for the others"
        );
        ask(2, "province").unwrap();
        ask(2, "province").unwrap();
        go.send(()).unwrap();
        let order: Vec<_> = is_done.iter().take(8).collect();
        assert_eq!(
            order[..5],
            ["court", "province", "court", "province", "court"]
        );
    }

    #[test]
    fn the_threads_end_with_the_last_clone() {
        let pool = Pool::start(2, 4).unwrap();
        let lines = Arc::downgrade(&pool.lines);
        let other = pool.clone();
        drop(pool);
        let (done, is_done) = channel();
        other.submit(0, move || done.send(()).unwrap()).unwrap();
        assert_eq!(is_done.recv(), Ok(()));
        drop(other);
        while lines.upgrade().is_some() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_panic_costs_only_its_own_query() {
        let pool = Pool::start(1, 4).unwrap();
        pool.submit(0, || panic!("on purpose")).unwrap();
        let (done, is_done) = channel();
        pool.submit(0, move || done.send(()).unwrap()).unwrap();
        assert_eq!(is_done.recv(), Ok(()));
    }
}
