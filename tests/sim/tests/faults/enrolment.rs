//! An enrolment that ends early: killed after the controller recorded the host, before the host
//! heard of it.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use xiezhi_test_support::{TestAgent, TestController, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_enrolment_killed_after_the_commit_works_when_it_is_tried_again() -> Result<()> {
    let controller = TestController::start().await?;
    let api = controller.api().await?;
    let token = controller.token(1)?;
    let line = answerless(controller.agents()).await?;
    let mut agent = TestAgent::prepare("interval: 1s\nreconnect_within: 1s\n")?;
    let url = format!("https://{line}");
    let mut enrolling = agent.start_command(&["enrol", "--controller", &url, "--token", &token])?;
    let host = eventually("the controller knows the host", async || {
        enrolling.check()?;
        api.only_host().await
    })
    .await?;
    enrolling.kill();
    assert!(!agent.state().join("identity/host.json").exists());

    let said = agent.enrol_with(controller.agents(), &token, &[])?;
    let id = host["id"].as_i64().context("the row has no id")?;
    assert!(said.contains(&format!("enrolled as host {id} ")), "{said}");
    assert!(!agent.state().join("identity/enrol-key.pem").exists());
    agent.run()?;
    assert_eq!(api.only_host_when("up").await?["id"], id);
    agent.stop()
}

/// A relay to `target` that passes nothing down once the client has asked something.
async fn answerless(target: &str) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let target = target.to_owned();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            if let Ok(far) = TcpStream::connect(&target).await {
                tokio::spawn(carry(near, far));
            }
        }
    });
    Ok(address)
}

/// What the client says behind the server's half of the handshake is its question.
async fn carry(near: TcpStream, far: TcpStream) {
    let (mut near_read, mut near_write) = near.into_split();
    let (mut far_read, mut far_write) = far.into_split();
    let (greeted, asked) = (AtomicBool::new(false), AtomicBool::new(false));
    let up = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = near_read.read(&mut buffer).await {
            asked.fetch_or(greeted.load(Ordering::SeqCst), Ordering::SeqCst);
            if far_write.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    let down = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = far_read.read(&mut buffer).await {
            if asked.load(Ordering::SeqCst) {
                // The line stays open and silent.
                std::future::pending::<()>().await;
            }
            greeted.store(true, Ordering::SeqCst);
            if near_write.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}
