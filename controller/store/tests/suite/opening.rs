//! Opening: addresses, folders, schemas, and what a person reads when it fails.

use xiezhi_model::{Grant, Role};
use xiezhi_store::{Address, BatchOutcome, Store, StoreError};

use crate::support::*;

#[tokio::test]
async fn what_was_written_is_there_after_opening_again() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    let host = enrolled(&fresh, root).await;
    fresh.store.close().await;
    let again = Store::open(&fresh.url).await.unwrap();
    assert_eq!(again.hosts().await.unwrap().len(), 1);
    assert_eq!(again.host(host).await.unwrap().unwrap().epoch, 1);
}

#[tokio::test]
async fn a_bare_path_is_an_address_and_the_file_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a b%#?.db");
    let store = Store::open(path.to_str().unwrap()).await.unwrap();
    province(&store).await;
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let beside = folder.path().join("a b%#?.db-wal");
    assert_eq!(
        std::fs::metadata(&beside).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[tokio::test]
async fn addresses_that_are_none_say_how_to_write_one() {
    for address in [
        "",
        "state.db",
        "sqlite://relative.db",
        "sqlite::memory:",
        "mysql://host/db",
    ] {
        let error = Store::open(address).await.unwrap_err();
        assert!(
            matches!(error, StoreError::Address(_)),
            "{address}: {error}"
        );
        assert!(
            error.to_string().contains("sqlite:///absolute/path"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_missing_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none/state.db");
    let error = Store::open(path.to_str().unwrap()).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Folder { path: named, .. } if *named == path),
        "{error}"
    );
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let text = "these are someone's notes, and they are long enough to look at ".repeat(20);
    std::fs::write(&path, &text).unwrap();
    let error = Store::open(path.to_str().unwrap()).await.unwrap_err();
    assert!(matches!(error, StoreError::NotADatabase(_)), "{error:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn a_schema_of_a_newer_release_is_refused() {
    let fresh = fresh().await;
    fresh
        .tamper("INSERT INTO schema_version (version) VALUES (99)")
        .await;
    let error = Store::open(&fresh.url).await.unwrap_err();
    assert!(
        matches!(error, StoreError::NewerSchema { found: 99, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_database_of_the_first_schema_is_brought_up_to_date_and_keeps_what_it_knew() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    let id = enrolled(&fresh, root).await;
    let known = [batch(id, 1, 1, vec![event(NOW, "login", "x")])];
    fresh.insert_batches(&known, NOW).await.unwrap();
    let new = new_user("admin");
    let made = fresh.create_user(&new, None, entry("user.create")).await;
    let admin = made.unwrap().user.id;
    let older = format!(
        "DROP TABLE event_batches; DROP TABLE batch_proofs; \
         DROP TABLE audit_repeats; ALTER TABLE events DROP COLUMN signature; {WITHOUT_PEOPLE} \
         DROP TABLE api_tokens; DELETE FROM counters WHERE name = 'api_tokens'; \
         DELETE FROM schema_version WHERE version > 1"
    );
    fresh.tamper(&older).await;
    let again = Store::open(&fresh.url).await.unwrap();
    let more = [batch(id, 2, 1, vec![event(NOW, "login", "y")])];
    let outcomes = again.insert_batches(&more, NOW).await.unwrap();
    assert_eq!(outcomes, [BatchOutcome::Stored]);
    let outcomes = again.insert_batches(&known, NOW).await.unwrap();
    assert_eq!(outcomes, [BatchOutcome::Replay]);
    // The one role of that time is the province's administrator now.
    let holds = again.grants(admin).await.unwrap();
    assert_eq!(
        holds,
        [Grant::province(Role::ProvinceAdministrator)]
            .into_iter()
            .collect()
    );
}

#[tokio::test]
async fn two_programs_that_start_at_once_make_one_schema() {
    let (_folder, url) = unopened().await;
    let (one, two) = tokio::join!(Store::open(&url), Store::open(&url));
    let (one, two) = (one.unwrap(), two.unwrap());
    province(&one).await;
    assert_eq!(two.sites().await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_second_controller_is_refused_until_the_first_has_ended_and_commands_go_on() {
    let (_folder, url) = unopened().await;
    let address = Address::parse(&url).unwrap();
    let first = Store::open_for_controller(&address).await.unwrap();
    let refused = Store::open_for_controller(&address).await.unwrap_err();
    assert!(
        matches!(refused, StoreError::SecondController),
        "{refused:?}"
    );
    let command = Store::open(&url).await.unwrap();
    province(&command).await;
    assert_eq!(first.sites().await.unwrap().len(), 4);
    first.append_audit(entry("still.here")).await.unwrap();
    first.close().await;
    drop(first);
    let second = Store::open_for_controller(&address).await.unwrap();
    second.append_audit(entry("now.me")).await.unwrap();
    second.close().await;
}

#[tokio::test]
async fn another_program_may_write_in_between() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    let second = Store::open(&fresh.url).await.unwrap();
    let tasks = (0..20).map(|number| {
        let store = if number % 2 == 0 {
            fresh.store.clone()
        } else {
            second.clone()
        };
        tokio::spawn(async move { enrolled(&store, root).await })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(fresh.hosts().await.unwrap().len(), 20);
    let verdict = fresh.verify_audit().await.unwrap();
    assert!(
        matches!(
            verdict,
            xiezhi_store::AuditVerdict::Intact { position: 41, .. }
        ),
        "{verdict:?}"
    );
}

/// The driver does not notice when SQLite ends a transaction by itself; the store must.
#[tokio::test]
async fn a_full_disk_is_said_and_work_goes_on_when_it_has_room() {
    let fresh = fresh().await;
    if !fresh.is_sqlite() {
        return;
    }
    let [root, ..] = province(&fresh).await;
    let host = enrolled(&fresh, root).await;
    let small = FullDisk::mount();
    let Some(small) = small else { return };
    drop(fresh);
    let store = Store::open(small.path().join("state.db").to_str().unwrap())
        .await
        .unwrap();
    let [root, ..] = province(&store).await;
    assert_eq!(enrolled(&store, root).await, host);
    let mut stored = 0;
    let error = loop {
        let events = (0..50)
            .map(|_| event(NOW, "login", &"x".repeat(1000)))
            .collect();
        match store
            .insert_batches(&[batch(host, stored + 1, 1, events)], NOW)
            .await
        {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 1000, "the disk never filled");
    };
    assert!(matches!(error, StoreError::Full(_)), "{error:?}");
    assert!(error.is_temporary());
    let error = store.append_audit(entry("still.full")).await;
    assert!(
        matches!(error, Err(StoreError::Full(_)) | Ok(_)),
        "{error:?}"
    );
    // What was confirmed is there, and nothing of what was not.
    assert_eq!(store.count_events().await.unwrap(), stored * 50);
    std::fs::remove_file(small.path().join("ballast")).unwrap();
    let events = vec![event(NOW, "login", "room again")];
    store
        .insert_batches(&[batch(host, stored + 1, 1, events)], NOW)
        .await
        .unwrap();
    assert_eq!(store.count_events().await.unwrap(), stored * 50 + 1);
    store.close().await;
}

const LIMITED: &str = "XIEZHI_TEST_LIMITED";

/// A limit on the length of files looks to SQLite like a disk that does not write.
#[tokio::test]
async fn a_disk_that_does_not_write_is_no_server_that_is_away() {
    if std::env::var_os(LIMITED).is_none() {
        let again = std::process::Command::new("sh")
            .args(["-c", "trap '' XFSZ; ulimit -f 2000; exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "opening::a_disk_that_does_not_write_is_no_server_that_is_away",
            ])
            .env(LIMITED, "1")
            .env_remove(SERVER)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&again.stdout);
        assert!(
            again.status.success() && said.contains("1 passed"),
            "{said}"
        );
        return;
    }
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    let host = enrolled(&fresh, root).await;
    let mut seq = 0;
    let error = loop {
        seq += 1;
        assert!(seq < 1000, "nothing fails");
        let events = vec![event(NOW, "login", &"x".repeat(20_000))];
        let one = [batch(host, seq, 1, events)];
        if let Err(error) = fresh.insert_batches(&one, NOW).await {
            break error;
        }
    };
    assert!(matches!(error, StoreError::Disk(_)), "{error:?}");
    let said = error.to_string();
    assert!(said.contains("dmesg") && !said.contains("server"), "{said}");
    assert_eq!(fresh.count_events().await.unwrap(), seq - 1);
}

/// A file system of a few megabytes with ballast that can be thrown off. Needs root and mount(8);
/// where there is neither, the test has nothing to fill.
struct FullDisk(tempfile::TempDir);

impl FullDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=6m", "none"])
            .arg(folder.path())
            .output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            xiezhi_test_support::skip("mounting a small file system needs root");
            return None;
        }
        std::fs::write(folder.path().join("ballast"), vec![1; 3 << 20]).unwrap();
        Some(Self(folder))
    }

    fn path(&self) -> &std::path::Path {
        self.0.path()
    }
}

impl Drop for FullDisk {
    fn drop(&mut self) {
        let unmounted = std::process::Command::new("umount")
            .arg("-l")
            .arg(self.path())
            .status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}
