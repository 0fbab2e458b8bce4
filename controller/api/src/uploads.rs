//! Files that people send: read whole before anything of the controller's waits for them.
//!
//! A court's line is thin, so a file may take minutes. What arrives is held in memory, bounded for each
//! account and for all of them together ([`room`]), and a sender that stops moving is let go. Where all of
//! it is held, a newcomer waits a moment, and then whoever holds most gives way; of two files of one account
//! that do not fit beside one another, the one that waited first goes on. Nobody's file holds a turn
//! of anybody else: turns are for reading what is already here.

mod room;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use tokio::time::{Instant, timeout_at};
use xiezhi_model::Permission;

use self::room::{Full, MOST_OF_ACCOUNT, Place, Room, SHARE_BYTES};
use crate::guard::Held;
use crate::leftover::discard;
use crate::problem::Problem;
use crate::state::AppState;
use crate::turns::Turns;
use crate::view::View;

/// What must arrive within each [`Pace::window`], bytes: about 1 KiB a second.
const LEAST_BYTES: usize = 32 << 10;

/// How long a file waits for room before others have to give way: most files are through by then.
const PATIENCE: Duration = Duration::from_secs(5);

/// Files that are read into rows at one time: each may take some hundred megabytes for a moment.
const READ_AT_ONCE: usize = 2;

/// By how much the memory of a file grows at one time, bytes.
const STEP_BYTES: usize = 1 << 20;

/// A file that has arrived. Its place is free again with the last clone.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    bytes: Bytes,
    user: i64,
    /// It counts as its account's until it has been read: else one account's files could all wait at once.
    _place: Arc<Place>,
}

impl Upload {
    pub(crate) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }
}

/// How fast a file must come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// [`LEAST_BYTES`] must arrive in it, or the end. Who waits for room waits no longer either.
    pub(crate) window: Duration,
    /// The whole file must be here by then.
    pub(crate) whole: Duration,
}

/// The bounds of all files that are on their way.
#[derive(Debug)]
pub(crate) struct UploadDesk {
    room: Arc<Room>,
    reading: Turns,
}

impl Default for UploadDesk {
    fn default() -> Self {
        Self {
            room: Arc::default(),
            // One more than can be here: a place is given back a moment before the turn.
            reading: Turns::new(READ_AT_ONCE, MOST_OF_ACCOUNT + 1),
        }
    }
}

/// A file of which something has come.
struct Arriving<'a> {
    room: &'a Room,
    place: Place,
    pace: Pace,
    /// When all of it must be here.
    end: Instant,
    /// Whether it has not waited for room yet.
    patient: bool,
}

impl Arriving<'_> {
    fn window_ends(&self) -> Instant {
        self.end.min(Instant::now() + self.pace.window)
    }

    /// Room for so many bytes more, as soon as there is. Those that hold more give way after a while.
    async fn grow(&mut self, more: usize) -> Result<(), Problem> {
        let until = self.window_ends();
        let wait = if self.patient {
            PATIENCE
        } else {
            Duration::ZERO
        };
        let way = Instant::now() + wait;
        loop {
            let freed = self.room.freed();
            let full = match self.place.grow(more) {
                Ok(()) => return Ok(()),
                Err(full) => full,
            };
            let now = Instant::now();
            if now >= until {
                return Err(no_room(full));
            }
            let mut wakes = until;
            if now < way {
                wakes = way.min(until);
            } else {
                self.patient = false;
                self.place.make_way(full, more);
            }
            tokio::select! {
                biased;
                () = self.place.told() => return Err(gives_way()),
                _ = timeout_at(wakes, freed) => {}
            }
        }
    }
}

impl UploadDesk {
    /// How many are on their way.
    #[cfg(test)]
    pub(crate) fn sending(&self) -> usize {
        self.room.load().0
    }

    /// How many bytes are held.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.room.load().1
    }

    /// Reads a file of at most `most` bytes that an account sends.
    async fn read(
        &self,
        user: i64,
        stream: &mut BodyDataStream,
        most: usize,
        pace: Pace,
    ) -> Result<Upload, Problem> {
        let place = self.room.enter(user).ok_or_else(too_many)?;
        let mut file = Arriving {
            room: &self.room,
            place,
            pace,
            end: Instant::now() + pace.whole,
            patient: true,
        };
        let mut bytes = Vec::new();
        let mut until = file.window_ends();
        let mut goal = LEAST_BYTES;
        loop {
            let next = tokio::select! {
                biased;
                () = file.place.told() => return Err(gives_way()),
                next = timeout_at(until, stream.next()) => next,
            };
            let Some(piece) = next.map_err(|_| too_slow())? else {
                break;
            };
            let piece = piece.map_err(|_| Problem::bad_request("the file did not arrive whole"))?;
            if bytes.len() + piece.len() > most {
                return Err(too_large(most));
            }
            let before = Instant::now();
            file.grow(piece.len()).await?;
            // Nobody is slow while we make them wait.
            until = file.end.min(until + before.elapsed());
            if bytes.capacity() - bytes.len() < piece.len() {
                // Not to twice the size, which nobody counts.
                bytes.reserve_exact(piece.len().max(bytes.len().min(STEP_BYTES)));
            }
            bytes.extend_from_slice(&piece);
            if bytes.len() >= goal {
                goal = bytes.len() + LEAST_BYTES;
                until = file.window_ends();
            }
        }
        if !file.place.arrived() {
            return Err(gives_way());
        }
        Ok(Upload {
            bytes: bytes.into(),
            user,
            _place: Arc::new(file.place),
        })
    }

    /// Reads a file into rows, off the threads that take samples in, when it is its turn.
    pub(crate) async fn parse<T, F>(&self, upload: Upload, read: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: FnOnce(&[u8]) -> T + Send + 'static,
    {
        let turn = self.reading.take(upload.user).await;
        let turn = turn.ok_or_else(too_many)?;
        let reading = tokio::task::spawn_blocking(move || {
            let rows = read(&upload.bytes);
            // Held to the end of the work, even if nobody waits for it any more.
            drop((turn, upload));
            rows
        });
        let failed = |_| Problem::bad_request("the file cannot be read");
        reading.await.map_err(failed)
    }
}

fn too_many() -> Problem {
    let detail = format!(
        "this account sends {MOST_OF_ACCOUNT} files already: wait until one of them is through"
    );
    let status = StatusCode::TOO_MANY_REQUESTS;
    Problem::new(status, "too_many_uploads", detail).retry_after(10)
}

fn no_room(full: Full) -> Problem {
    match full {
        Full::Room => Problem::busy(),
        Full::Share => {
            let detail = format!(
                "this account's files on their way have {} MB together, which is the most: wait until \
                 the other one is through",
                SHARE_BYTES >> 20
            );
            let status = StatusCode::TOO_MANY_REQUESTS;
            Problem::new(status, "too_many_uploads", detail).retry_after(10)
        }
    }
}

fn gives_way() -> Problem {
    let detail =
        "many send files just now, and this one held most: send it again in a while, or split it";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "crowded_out", detail).retry_after(60)
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
    let mut stream = body.into_data_stream();
    let read = state.inner.uploads.read(user, &mut stream, most, pace);
    let upload = match read.await {
        Ok(upload) => upload,
        Err(problem) => {
            if problem.status() != StatusCode::REQUEST_TIMEOUT {
                discard(&mut stream).await;
            }
            return Err(problem);
        }
    };
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
mod tests;
