//! Files that people send: read whole before anything of the controller's waits for them.
//!
//! A court's line is thin, so a file may take minutes. What arrives is held in memory, bounded for each
//! account and for all of them together, and a sender that stops moving is let go. Nobody's file holds a
//! turn of anybody else: turns are for reading what is already here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use xiezhi_model::Permission;

use crate::guard::Held;
use crate::problem::Problem;
use crate::state::AppState;
use crate::view::View;

/// Files that one account sends at one time: the second is for whoever chose the wrong one first.
const MOST_OF_ACCOUNT: usize = 2;

/// Memory for the files of everybody, bytes: eight of the largest, or a hundred as courts have them.
const ROOM_BYTES: usize = 128 << 20;

/// What must arrive within each [`Pace::window`], bytes: about 1 KiB a second.
const LEAST_BYTES: usize = 32 << 10;

/// Files that are read into rows at one time: each may take some hundred megabytes for a moment.
const READ_AT_ONCE: usize = 2;

/// A file that has arrived. Its room is free again with the last clone.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    bytes: Bytes,
    _room: Arc<Vec<OwnedSemaphorePermit>>,
    /// It counts as its account's until it has been read: else one account's files could all wait at once.
    _sending: Arc<Sending>,
}

impl Upload {
    pub(crate) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }
}

/// How fast a file must come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// [`LEAST_BYTES`] must arrive in it, or the end.
    pub(crate) window: Duration,
    /// The whole file must be here by then.
    pub(crate) whole: Duration,
}

/// The bounds of all files that are on their way.
#[derive(Debug)]
pub(crate) struct UploadDesk {
    /// How many each account sends.
    open: Arc<Mutex<HashMap<i64, usize>>>,
    /// One permit is a byte.
    room: Arc<Semaphore>,
    reading: Arc<Semaphore>,
}

impl Default for UploadDesk {
    fn default() -> Self {
        Self {
            open: Arc::default(),
            room: Arc::new(Semaphore::new(ROOM_BYTES)),
            reading: Arc::new(Semaphore::new(READ_AT_ONCE)),
        }
    }
}

/// One of an account's files on its way, or waiting to be read.
#[derive(Debug)]
struct Sending {
    open: Arc<Mutex<HashMap<i64, usize>>>,
    user: i64,
}

impl Drop for Sending {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.user) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&self.user);
            }
        }
    }
}

impl UploadDesk {
    fn begin(&self, user: i64) -> Result<Sending, Problem> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(user).or_default();
        if *count >= MOST_OF_ACCOUNT {
            let detail = format!(
                "this account sends {MOST_OF_ACCOUNT} files already: wait until one of them is through"
            );
            let status = StatusCode::TOO_MANY_REQUESTS;
            return Err(Problem::new(status, "too_many_uploads", detail).retry_after(10));
        }
        *count += 1;
        let open = Arc::clone(&self.open);
        Ok(Sending { open, user })
    }

    /// How many are on their way.
    #[cfg(test)]
    pub(crate) fn sending(&self) -> usize {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.values().sum()
    }

    /// Reads a file of at most `most` bytes that an account sends.
    async fn read(
        &self,
        user: i64,
        body: Body,
        most: usize,
        pace: Pace,
    ) -> Result<Upload, Problem> {
        let sending = self.begin(user)?;
        let mut stream = body.into_data_stream();
        let (mut bytes, mut room) = (Vec::new(), Vec::new());
        let end = Instant::now() + pace.whole;
        let mut until = end.min(Instant::now() + pace.window);
        let mut goal = LEAST_BYTES;
        loop {
            let next = timeout_at(until, stream.next()).await;
            let Some(piece) = next.map_err(|_| too_slow())? else {
                break;
            };
            let piece = piece.map_err(|_| Problem::bad_request("the file did not arrive whole"))?;
            if bytes.len() + piece.len() > most {
                return Err(too_large(most));
            }
            let permits = u32::try_from(piece.len()).unwrap_or(u32::MAX);
            let taken = Arc::clone(&self.room).try_acquire_many_owned(permits);
            let taken = taken.map_err(|_| Problem::busy())?;
            match room.first_mut() {
                Some(held) => OwnedSemaphorePermit::merge(held, taken),
                None => room.push(taken),
            }
            bytes.extend_from_slice(&piece);
            if bytes.len() >= goal {
                goal = bytes.len() + LEAST_BYTES;
                until = end.min(Instant::now() + pace.window);
            }
        }
        Ok(Upload {
            bytes: bytes.into(),
            _room: Arc::new(room),
            _sending: Arc::new(sending),
        })
    }

    /// Reads a file into rows, off the threads that take samples in, when it is its turn.
    pub(crate) async fn parse<T, F>(&self, upload: Upload, read: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: FnOnce(&[u8]) -> T + Send + 'static,
    {
        let turn = Arc::clone(&self.reading).acquire_owned().await;
        let turn = turn.map_err(|_| Problem::busy())?;
        let reading = tokio::task::spawn_blocking(move || {
            let rows = read(&upload.bytes);
            // Held to the end of the work, even if nobody waits for it any more.
            drop(turn);
            rows
        });
        let failed = |_| Problem::bad_request("the file cannot be read");
        reading.await.map_err(failed)
    }
}

fn too_slow() -> Problem {
    let detail = "the file came too slowly: send it again over a better line, or split it";
    Problem::new(StatusCode::REQUEST_TIMEOUT, "too_slow", detail)
}

fn too_large(most: usize) -> Problem {
    let detail = format!("a file may have {} MB at most: split it", most >> 20);
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
}

/// Takes the file of a request in and then lets it pass, with what its sender may do by then.
pub(crate) async fn take(
    state: AppState,
    permission: Permission,
    most: usize,
    request: Request,
    next: Next,
) -> Response {
    let taken = arrived(&state, permission, most, request).await;
    match taken {
        Ok(request) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

async fn arrived(
    state: &AppState,
    permission: Permission,
    most: usize,
    request: Request,
) -> Result<Request, Problem> {
    let (mut parts, body) = request.into_parts();
    let view = parts.extensions.get::<View>().cloned();
    let view = view.ok_or_else(Problem::signed_out)?;
    let window = state.inner.options.request_timeout;
    let pace = Pace {
        window,
        whole: window.saturating_mul(30),
    };
    let user = view.who.account.user.id;
    let upload = state.inner.uploads.read(user, body, most, pace).await?;
    // Minutes may have passed.
    let held = Held::of(&view, permission);
    held.still().await?;
    if let Some(view) = held.view_again().await {
        parts.extensions.insert(view);
    }
    parts.extensions.insert(upload);
    Ok(Request::from_parts(parts, Body::empty()))
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    const PACE: Pace = Pace {
        window: Duration::from_secs(30),
        whole: Duration::from_secs(900),
    };

    /// A piece of so many bytes after each pause.
    fn slowly(bytes: usize, pause: Duration, pieces: usize) -> Body {
        let piece = move |at| async move {
            if at == pieces {
                return None;
            }
            tokio::time::sleep(pause).await;
            let piece: Result<_, std::io::Error> = Ok(Bytes::from(vec![b'x'; bytes]));
            Some((piece, at + 1))
        };
        Body::from_stream(stream::unfold(0, piece))
    }

    #[tokio::test(start_paused = true)]
    async fn a_thin_line_has_its_time_and_a_trickle_has_not() {
        let desk = UploadDesk::default();
        // 16 kbit/s for five minutes.
        let thin = slowly(2 << 10, Duration::from_secs(1), 300);
        let read = desk.read(1, thin, 1 << 20, PACE).await.unwrap();
        assert_eq!(read.bytes().len(), 600 << 10);
        let trickle = slowly(1, Duration::from_secs(1), usize::MAX);
        let refused = desk.read(1, trickle, 1 << 20, PACE).await.unwrap_err();
        assert_eq!(refused.status(), StatusCode::REQUEST_TIMEOUT);
        // Just fast enough, and never done.
        let endless = slowly(2 << 10, Duration::from_secs(1), usize::MAX);
        let refused = desk.read(1, endless, usize::MAX, PACE).await.unwrap_err();
        assert_eq!(refused.status(), StatusCode::REQUEST_TIMEOUT);
        drop(read);
        assert_eq!(desk.room.available_permits(), ROOM_BYTES);
        assert!(desk.open.lock().unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_sends_two_files_at_once_and_all_together_have_a_bound() {
        let desk = Arc::new(UploadDesk::default());
        let held = [desk.begin(1).unwrap(), desk.begin(1).unwrap()];
        let third = desk.read(1, Body::from("x"), 10, PACE).await;
        assert_eq!(third.unwrap_err().status(), StatusCode::TOO_MANY_REQUESTS);
        desk.read(2, Body::from("x"), 10, PACE).await.unwrap();
        drop(held);
        // What has arrived and waits for its turn counts as well.
        let arrived = desk.read(1, Body::from("x"), 10, PACE).await.unwrap();
        let _other = desk.begin(1).unwrap();
        let third = desk.read(1, Body::from("x"), 10, PACE).await;
        assert_eq!(third.unwrap_err().status(), StatusCode::TOO_MANY_REQUESTS);
        drop(arrived);
        desk.read(1, Body::from("x"), 10, PACE).await.unwrap();
        let large = desk.read(1, Body::from("xyz"), 2, PACE).await;
        assert_eq!(large.unwrap_err().status(), StatusCode::PAYLOAD_TOO_LARGE);
        let all = Arc::clone(&desk.room).try_acquire_many_owned(ROOM_BYTES as u32);
        let full = desk.read(3, Body::from("x"), 10, PACE).await;
        assert_eq!(full.unwrap_err().status(), StatusCode::SERVICE_UNAVAILABLE);
        drop(all.unwrap());
        desk.read(3, Body::from("x"), 10, PACE).await.unwrap();
    }
}
