//! The whole way of a file by paused clocks, without sockets.

use futures_util::stream;

use super::room::ROOM_BYTES;
use super::*;

const PACE: Pace = Pace {
    window: Duration::from_secs(30),
    whole: Duration::from_secs(900),
};

/// So many bytes at once, and then a piece of so many bytes after each pause.
fn body(first: usize, bytes: usize, pause: Duration, pieces: usize) -> BodyDataStream {
    let start = (0..first.div_ceil(1 << 20)).map(move |at| (first - (at << 20)).min(1 << 20));
    let start = start.map(|bytes| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; bytes])));
    let piece = move |at| async move {
        if at == pieces {
            return None;
        }
        tokio::time::sleep(pause).await;
        Some((Ok(Bytes::from(vec![b'x'; bytes])), at + 1))
    };
    let all = stream::iter(start).chain(stream::unfold(0, piece));
    Body::from_stream(all).into_data_stream()
}

fn slowly(bytes: usize, pieces: usize) -> BodyDataStream {
    body(0, bytes, Duration::from_secs(1), pieces)
}

fn at_once(bytes: usize) -> BodyDataStream {
    body(bytes, 0, Duration::ZERO, 0)
}

#[tokio::test(start_paused = true)]
async fn a_thin_line_has_its_time_and_a_trickle_has_not() {
    let desk = UploadDesk::default();
    // 16 kbit/s for five minutes.
    let mut thin = slowly(2 << 10, 300);
    let read = desk.read(1, &mut thin, 1 << 20, PACE).await.unwrap();
    assert_eq!(read.bytes().len(), 600 << 10);
    let mut trickle = slowly(1, usize::MAX);
    let refused = desk.read(1, &mut trickle, 1 << 20, PACE).await.unwrap_err();
    assert_eq!(refused.status(), StatusCode::REQUEST_TIMEOUT);
    // Just fast enough, and never done.
    let mut endless = slowly(2 << 10, usize::MAX);
    let refused = desk.read(1, &mut endless, usize::MAX, PACE).await;
    assert_eq!(refused.unwrap_err().status(), StatusCode::REQUEST_TIMEOUT);
    drop(read);
    assert_eq!(desk.room.load(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_account_sends_two_files_and_what_has_arrived_counts_until_it_is_read() {
    let desk = UploadDesk::default();
    let one = |user, bytes| {
        let desk = &desk;
        async move { desk.read(user, &mut at_once(bytes), 10, PACE).await }
    };
    let held = [one(1, 1).await.unwrap(), one(1, 1).await.unwrap()];
    let third = one(1, 1).await.unwrap_err();
    assert_eq!(third.status(), StatusCode::TOO_MANY_REQUESTS);
    one(2, 1).await.unwrap();
    let [first, second] = held;
    let kept = first.clone();
    assert_eq!(desk.parse(first, |bytes| bytes.len()).await.unwrap(), 1);
    let third = one(1, 1).await.unwrap_err();
    assert_eq!(third.status(), StatusCode::TOO_MANY_REQUESTS);
    drop(kept);
    one(1, 1).await.unwrap();
    let large = one(1, 11).await.unwrap_err();
    assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);
    drop(second);
    assert_eq!(desk.room.load(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_second_of_two_large_files_waits_for_its_accounts_share() {
    let desk = Arc::new(UploadDesk::default());
    let mut large = at_once(SHARE_BYTES);
    let first = desk.read(1, &mut large, usize::MAX, PACE).await.unwrap();
    let sends = Arc::clone(&desk);
    let second = tokio::spawn(async move {
        let mut body = at_once(2 << 20);
        sends.read(1, &mut body, usize::MAX, PACE).await
    });
    tokio::time::sleep(PACE.window / 2).await;
    assert!(!second.is_finished());
    drop(first);
    second.await.unwrap().unwrap();
    let mut large = at_once(SHARE_BYTES);
    let held = desk.read(1, &mut large, usize::MAX, PACE).await.unwrap();
    let refused = desk.read(1, &mut at_once(1), usize::MAX, PACE).await;
    assert_eq!(refused.unwrap_err().status(), StatusCode::TOO_MANY_REQUESTS);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn of_two_large_files_of_an_account_one_gets_through() {
    let desk = Arc::new(UploadDesk::default());
    let both = [(); 2].map(|()| {
        let desk = Arc::clone(&desk);
        // Side by side, a megabyte at a time.
        let mut body = body(0, 1 << 20, Duration::from_secs(1), 14);
        tokio::spawn(async move { desk.read(1, &mut body, usize::MAX, PACE).await })
    });
    let mut through = 0;
    for one in both {
        match one.await.unwrap() {
            Ok(read) => through += usize::from(read.bytes().len() == 14 << 20),
            Err(refused) => assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE),
        }
    }
    assert_eq!(through, 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_holds_most_gives_way_to_a_newcomer() {
    let desk = Arc::new(UploadDesk::default());
    // Each of them alone could hold it for a quarter of an hour.
    let slow = (0..16).map(|user| {
        let desk = Arc::clone(&desk);
        let mut body = body(
            ROOM_BYTES / 16,
            32 << 10,
            Duration::from_secs(20),
            usize::MAX,
        );
        tokio::spawn(async move { desk.read(user, &mut body, usize::MAX, PACE).await })
    });
    let slow: Vec<_> = slow.collect();
    while desk.room.load().1 < ROOM_BYTES {
        tokio::task::yield_now().await;
    }
    let begun = Instant::now();
    let new = desk.read(99, &mut at_once(6 << 20), usize::MAX, PACE).await;
    assert_eq!(new.unwrap().bytes().len(), 6 << 20);
    // Once it was patient, and for no other piece.
    assert!(begun.elapsed() < PATIENCE * 2);
    let mut gone = 0;
    for one in slow.into_iter().filter(|one| one.is_finished()) {
        let refused = one.await.unwrap().unwrap_err();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        gone += 1;
    }
    assert!((1..=2).contains(&gone), "{gone}");
}
