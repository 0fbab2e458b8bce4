//! Writes that their callers named are begun once.

use xiezhi_store::{Begun, NamedRequest, NewNamedRequest};

use crate::support::*;

fn new(user: i64, key_hash: &str) -> NewNamedRequest<'_> {
    NewNamedRequest {
        user,
        key_hash,
        sealed: "asked",
        now_ms: NOW,
        expires_ms: NOW + 1000,
        most: 2,
    }
}

#[tokio::test]
async fn a_named_request_is_begun_once_for_each_account_and_known_until_it_expires() {
    let fresh = fresh().await;
    let mut users = Vec::new();
    for name in ["a", "b"] {
        let person = new_user(name);
        let made = fresh.create_user(&person, None, entry("user.create"));
        users.push(made.await.unwrap().user.id);
    }
    let [a, b] = [users[0], users[1]];
    let begin = |wanted| fresh.begin_named_request(wanted);
    assert_eq!(begin(new(a, "one")).await.unwrap(), Begun::New);
    let known = |sealed: &str, is_done| {
        Begun::Known(NamedRequest {
            sealed: sealed.to_owned(),
            is_done,
            started_ms: NOW,
        })
    };
    assert_eq!(begin(new(a, "one")).await.unwrap(), known("asked", false));
    assert_eq!(begin(new(b, "one")).await.unwrap(), Begun::New);
    fresh
        .finish_named_request(a, "one", "answered")
        .await
        .unwrap();
    assert_eq!(begin(new(a, "one")).await.unwrap(), known("answered", true));
    // What is done is not forgotten before its time; what changed nothing is.
    fresh.forget_named_request(a, "one").await.unwrap();
    assert_eq!(begin(new(a, "one")).await.unwrap(), known("answered", true));
    fresh.forget_named_request(b, "one").await.unwrap();
    assert_eq!(begin(new(b, "one")).await.unwrap(), Begun::New);
    assert_eq!(begin(new(a, "two")).await.unwrap(), Begun::New);
    assert_eq!(begin(new(a, "three")).await.unwrap(), Begun::TooMany);
    let later = NewNamedRequest {
        now_ms: NOW + 1000,
        expires_ms: NOW + 2000,
        ..new(a, "one")
    };
    assert_eq!(begin(later).await.unwrap(), Begun::New);
}

#[tokio::test]
async fn of_two_who_begin_at_once_one_does() {
    let fresh = fresh().await;
    let person = new_user("a");
    let made = fresh.create_user(&person, None, entry("user.create"));
    let user = made.await.unwrap().user.id;
    let (one, two) = tokio::join!(
        fresh.begin_named_request(new(user, "one")),
        fresh.begin_named_request(new(user, "one"))
    );
    let both = [one.unwrap(), two.unwrap()];
    assert_eq!(
        both.iter().filter(|begun| **begun == Begun::New).count(),
        1,
        "{both:?}"
    );
}
