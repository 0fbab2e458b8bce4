//! Files over real sockets, beside those that come slowly.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use xiezhi_inventory::register::MAX_FILE_BYTES;
use xiezhi_model::{Grant, Role};

use super::bench::Bench;
use crate::{ServeOptions, serve};

const DEADLINE: Duration = Duration::from_secs(60);

/// A file of exactly the largest size, of which every line is good.
fn largest() -> Vec<u8> {
    let mut file = "code,name,site,more\n".to_owned();
    let filling = "x".repeat(8000);
    for line in 0.. {
        let next = format!("R-{line},机房,gs-01,{filling}\n");
        let left = MAX_FILE_BYTES - file.len();
        if next.len() + 100 > left {
            let start = format!("R-{line},机房,gs-01,");
            let rest = left - start.len() - 1;
            file.push_str(&format!("{start}{}\n", "x".repeat(rest)));
            break;
        }
        file.push_str(&next);
    }
    assert_eq!(file.len(), MAX_FILE_BYTES);
    file.into_bytes()
}

async fn begin(to: SocketAddr, cookie: &str, bytes: usize) -> TcpStream {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let head = format!(
        "POST /api/v1/imports?kind=rooms HTTP/1.1\r\nhost: x\r\ncookie: {cookie}\r\n\
         x-xiezhi-request: 1\r\nconnection: close\r\ncontent-length: {bytes}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

async fn answer(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut text));
    read.await.expect("an answer in time").unwrap();
    String::from_utf8(text).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_accounts_with_large_slow_files_keep_a_fifth_from_nothing() {
    let bench = Bench::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = std::future::pending();
    let router = bench.router.clone();
    let server = tokio::spawn(serve(listener, None, router, ServeOptions::default(), stop));
    let file = largest();
    let grants = [Grant::province(Role::ProvinceAdministrator)];
    let mut slow = Vec::new();
    for number in 0..4 {
        let (_, cookie) = bench.account(&format!("slow{number}"), &grants).await;
        for _ in 0..2 {
            let mut stream = begin(address, &cookie, file.len()).await;
            let most = file[..file.len() - 1000].to_vec();
            slow.push(tokio::spawn(async move {
                // All but the end, which never comes. The second waits for its account's share.
                stream.write_all(&most).await.ok();
                std::future::pending::<()>().await;
            }));
        }
    }
    let wanted = 4 * (MAX_FILE_BYTES - (1 << 20));
    let waited = tokio::time::timeout(DEADLINE, async {
        while bench.state.inner.uploads.held_bytes() < wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.expect("their files arrive");
    let (_, fifth) = bench.account("fifth", &grants).await;
    let mut stream = begin(address, &fifth, file.len()).await;
    stream.write_all(&file).await.unwrap();
    let told = answer(stream).await;
    assert!(told.starts_with("HTTP/1.1 201"), "{told}");
    // Beside the others, and not after them.
    assert!(bench.state.inner.uploads.held_bytes() >= wanted);
    slow.iter().for_each(|one| one.abort());
    server.abort();
}
