//! PostgreSQL: the whole suite once more on a real server, and what only a server can do.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use xiezhi_store::{Address, BatchOutcome, Store, StoreError};
use xiezhi_test_support::{Random, TestPostgres};

use crate::copy;
use crate::support::*;

/// Each test of this file is about a server of its own; the others run on the shared one.
#[tokio::test]
async fn the_whole_suite_holds_on_postgresql() {
    let Some(server) = TestPostgres::start().await.unwrap() else {
        return;
    };
    let suite = Command::new(std::env::current_exe().unwrap())
        .args(["--skip", "server::", "--test-threads", "4"])
        .env(SERVER, server.url())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&suite.stdout);
    eprintln!("{said}{}", String::from_utf8_lossy(&suite.stderr));
    assert!(suite.status.success(), "the suite fails on PostgreSQL");
    assert!(!said.contains(" 0 passed"), "nothing ran");
    let tables = server.sql_in(
        "xiezhi",
        "SELECT count(*) FROM pg_tables WHERE tablename = 'schema_version'",
    );
    let schemas: u32 = tables.unwrap().parse().unwrap();
    assert!(schemas > 50, "only {schemas} tests used the server");
}

/// From the file to a server, where texts have another order by default, and back into a file.
#[tokio::test]
async fn a_store_moves_to_a_server_and_back() {
    let Some(server) = TestPostgres::start().await.unwrap() else {
        return;
    };
    let file = copy::filled().await;
    let address = Address::parse(&server.url()).unwrap();
    let moved = Store::open_for_controller(&address).await.unwrap();
    copy::copied(&file, &moved).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("back.db");
    let back = Store::open(path.to_str().unwrap()).await.unwrap();
    copy::copied(&moved, &back).await;
    copy_again(&moved, &back).await;
    moved.close().await;
    // The next controller counts its turns on from there.
    let next = Store::open_for_controller(&address).await.unwrap();
    next.append_audit(entry("next")).await.unwrap();
    next.close().await;
}

async fn copy_again(from: &Store, into: &Store) {
    let error = from.copy_to(into, |_| {}).await.unwrap_err();
    assert!(matches!(error, StoreError::NotEmpty(_)), "{error:?}");
}

/// As an installation was that began before texts had SQLite's order.
#[tokio::test]
async fn an_older_database_gets_the_order_of_the_other() {
    let Some(server) = TestPostgres::start().await.unwrap() else {
        return;
    };
    let store = Store::open(&server.url()).await.unwrap();
    let [root, ..] = province(&store).await;
    let host = enrolled(&store, root).await;
    for serial in ["b", "B", "a", "A", "_"] {
        let one = certificate(host, serial);
        let added = store.add_certificate(&one, entry("host.certificate_renewed"));
        added.await.unwrap();
    }
    store.close().await;
    let sql = format!(
        "ALTER TABLE certificates ALTER COLUMN serial TYPE TEXT COLLATE \"zh-x-icu\"; \
         {WITHOUT_PEOPLE} DELETE FROM schema_version WHERE version >= 5"
    );
    server.sql_in("xiezhi", &sql).unwrap();
    let store = Store::open(&server.url()).await.unwrap();
    let listed = store.certificates_of(host).await.unwrap();
    let serials: Vec<_> = listed.iter().map(|one| one.serial.as_str()).collect();
    assert_eq!(serials, ["A", "B", "HostId(1)-1", "_", "a", "b"]);
    let sql = "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'public' \
               AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'";
    assert_eq!(server.sql_in("xiezhi", sql).unwrap(), "0");
}

#[tokio::test]
async fn only_a_server_that_proves_itself_gets_the_password_and_errors_say_what_to_do() {
    let Some(server) = TestPostgres::start().await.unwrap() else {
        return;
    };
    let open = async |url: &str, password: &str| {
        let address = Address::parse(url).unwrap();
        Store::open_at(&address.with_password(Some(password.to_owned()))).await
    };
    let url = server.network_url();
    let store = open(&url, server.password()).await.unwrap();
    province(&store).await;
    store.close().await;

    let unknown = url.replace("sslrootcert", "application_name");
    let error = open(&unknown, server.password()).await.unwrap_err();
    assert!(matches!(error, StoreError::Untrusted(_)), "{error:?}");
    let error = open(&url, "wrong").await.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    let error = open(&url.replace("/xiezhi?", "/none?"), server.password()).await;
    let error = error.unwrap_err();
    assert!(matches!(error, StoreError::NoDatabase(_)), "{error:?}");
    assert!(error.to_string().contains("CREATE DATABASE"), "{error}");

    let ascii = "CREATE DATABASE ascii OWNER xiezhi ENCODING 'SQL_ASCII' LOCALE 'C' \
                 LOCALE_PROVIDER libc TEMPLATE template0";
    server.sql(ascii).unwrap();
    let error = open(&url.replace("/xiezhi?", "/ascii?"), server.password()).await;
    let error = error.unwrap_err();
    assert!(
        matches!(&error, StoreError::Encoding(name) if name == "SQL_ASCII"),
        "{error:?}"
    );

    let foreign = "CREATE DATABASE foreign_one ENCODING 'UTF8' TEMPLATE template0";
    server.sql(foreign).unwrap();
    let error = open(&url.replace("/xiezhi?", "/foreign_one?"), server.password()).await;
    let error = error.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
}

#[tokio::test]
async fn a_server_that_may_lose_what_it_confirmed_gets_no_controller() {
    let Some(mut server) = TestPostgres::start().await.unwrap() else {
        return;
    };
    server.kill();
    server.set("fsync=off");
    server.run().await.unwrap();
    let address = Address::parse(&server.url()).unwrap();
    let error = Store::open_for_controller(&address).await.unwrap_err();
    assert!(
        matches!(error, StoreError::NotDurable("fsync")),
        "{error:?}"
    );
    assert!(error.to_string().contains("fsync = on"), "{error}");
    Store::open_at(&address).await.unwrap().close().await;
}

#[tokio::test]
async fn a_controller_that_lost_its_turn_to_another_writes_no_more() {
    let Some(server) = TestPostgres::start().await.unwrap() else {
        return;
    };
    let address = Address::parse(&server.url()).unwrap();
    let first = Store::open_for_controller(&address).await.unwrap();
    // Its connections end: without another controller it goes on by itself.
    end_sessions(&server);
    first.append_audit(entry("still.me")).await.unwrap();

    end_sessions(&server);
    let second = Store::open_for_controller(&address).await.unwrap();
    let held = first.append_audit(entry("not.me")).await.unwrap_err();
    assert!(matches!(held, StoreError::SecondController), "{held:?}");
    assert!(held.is_temporary());
    second.append_audit(entry("me.now")).await.unwrap();
    second.close().await;

    // The other is gone again, but what the first remembers is stale.
    let stale = loop {
        match first.append_audit(entry("not.me.either")).await {
            // The server has not noticed the end of the other's session yet.
            Err(StoreError::SecondController) => tokio::task::yield_now().await,
            outcome => break outcome.unwrap_err(),
        }
    };
    assert!(matches!(stale, StoreError::Superseded), "{stale:?}");
    first.superseded().await;
    let actions: Vec<_> = first.audit(&Default::default()).await.unwrap();
    let actions: Vec<_> = actions.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["me.now", "still.me"]);
}

fn end_sessions(server: &TestPostgres) {
    let sql = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity \
               WHERE usename = 'xiezhi'";
    server.sql(sql).unwrap();
}

#[tokio::test]
async fn a_silent_server_is_away_and_work_goes_on_when_it_speaks_again() {
    let Some(mut server) = TestPostgres::start().await.unwrap() else {
        return;
    };
    let address = Address::parse(&server.url()).unwrap();
    let store = Store::open_for_controller(&address).await.unwrap();
    let [root, ..] = province(&store).await;
    server.signal("STOP").unwrap();
    let error = store.sites().await.unwrap_err();
    assert!(matches!(error, StoreError::Away(_)), "{error:?}");
    assert!(error.is_temporary());
    server.signal("CONT").unwrap();
    assert_eq!(until_it_works(async || store.sites().await).await.len(), 4);
    until_it_works(async || store.append_audit(entry("again")).await).await;

    server.kill();
    let error = store.sites().await.unwrap_err();
    assert!(matches!(error, StoreError::Away(_)), "{error:?}");
    let error = store.append_audit(entry("lost")).await.unwrap_err();
    assert!(matches!(error, StoreError::Away(_)), "{error:?}");
    server.run().await.unwrap();
    until_it_works(async || store.append_audit(entry("after")).await).await;
    assert_eq!(store.site(root).await.unwrap().unwrap().id, root);
    store.close().await;
}

async fn until_it_works<T>(mut attempt: impl AsyncFnMut() -> Result<T, StoreError>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(error) if error.is_temporary() && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Two writers, as a controller and its commands, while the server is killed at random moments: most
/// fall into a transaction or its commit. What was confirmed is there once, the chain of the audit
/// record holds, and nobody but the server was started again.
#[tokio::test]
async fn a_server_killed_in_the_middle_of_commits_loses_nothing_and_doubles_nothing() {
    let Some(mut server) = TestPostgres::start().await.unwrap() else {
        return;
    };
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let (rounds, seed) = (
        number("XIEZHI_ROUNDS").unwrap_or(8),
        number("XIEZHI_SEED").unwrap_or(1),
    );
    let mut random = Random::new(seed);
    let address = Address::parse(&server.url()).unwrap();
    let store = Store::open_for_controller(&address).await.unwrap();
    let [root, ..] = province(&store).await;
    let host = enrolled(&store, root).await;
    let (stop, unsure) = (AtomicBool::new(false), AtomicU64::new(0));
    let stored = AtomicU64::new(0);
    let crashes = async {
        for _ in 0..rounds {
            // However slow the machine is, something is confirmed between two crashes.
            let before = stored.load(Ordering::Acquire);
            let deadline = Instant::now() + Duration::from_secs(60);
            while stored.load(Ordering::Acquire) == before {
                assert!(Instant::now() < deadline, "nothing is stored any more");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // The schedule of the crashes, not a wait for anything.
            tokio::time::sleep(random.moment(Duration::from_millis(400))).await;
            server.kill();
            server.run().await.unwrap();
        }
        stop.store(true, Ordering::Release);
    };
    let (confirmed, ()) = tokio::join!(
        write_batches(&store, host, &stop, (&stored, &unsure)),
        crashes
    );
    assert_eq!(store.count_events().await.unwrap(), confirmed * 3);
    let verdict = store.verify_audit().await.unwrap();
    let entries = confirmed + unsure.load(Ordering::Acquire);
    match verdict {
        xiezhi_store::AuditVerdict::Intact { position, .. } => {
            // Import, token and host; then one for each confirmed, and perhaps one for each unsure.
            let position = u64::try_from(position).unwrap();
            assert!(
                (confirmed + 3..=entries + 3).contains(&position),
                "{position}"
            );
        }
        broken => panic!("{broken:?}"),
    }
    for seq in 1..=confirmed {
        let again = store.insert_batches(&[numbered(host, seq)], NOW).await;
        assert_eq!(again.unwrap(), [BatchOutcome::Replay], "{seq}");
    }
    assert_eq!(store.count_events().await.unwrap(), confirmed * 3);
    assert!(
        confirmed >= rounds,
        "too little to prove anything: {confirmed}"
    );
    eprintln!("{rounds} crashes, {confirmed} batches, {unsure:?} of them failed once or more");
    store.close().await;
}

/// Inserts one batch after the other, each until it is confirmed, as the intake does; how many.
async fn write_batches(
    store: &Store,
    host: xiezhi_model::HostId,
    stop: &AtomicBool,
    (confirmed, unsure): (&AtomicU64, &AtomicU64),
) -> u64 {
    let mut seq = 0;
    while !stop.load(Ordering::Acquire) {
        seq += 1;
        until_it_works(async || {
            let stored = store.insert_batches(&[numbered(host, seq)], NOW).await;
            stored.inspect_err(|error| assert!(error.is_temporary(), "{error:?}"))
        })
        .await;
        confirmed.store(seq, Ordering::Release);
        until_it_works(async || {
            let appended = store.append_audit(entry("counted")).await;
            appended.inspect_err(|_| {
                unsure.fetch_add(1, Ordering::AcqRel);
            })
        })
        .await;
    }
    seq
}

fn numbered(host: xiezhi_model::HostId, seq: u64) -> xiezhi_store::EventBatch {
    let events = (0..3).map(|_| event(NOW, "login", "法院")).collect();
    batch(host, seq, 7, events)
}
