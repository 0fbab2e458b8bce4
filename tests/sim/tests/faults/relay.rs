//! A line between agent and controller that the test can cut.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// State of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// Bytes pass.
    Open,
    /// Connections stay, no byte passes: what a line without power does.
    Silent,
    /// Connections end, and new ones end at once.
    Cut,
}

/// A relay on a port of its own; it ends with the runtime.
pub(crate) struct Relay {
    address: SocketAddr,
    line: watch::Sender<Line>,
}

impl Relay {
    /// Relays to `target`.
    pub(crate) async fn start(target: &str) -> Result<Self> {
        let target: SocketAddr = target.parse()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (line, state) = watch::channel(Line::Open);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, target, state.clone()));
            }
        });
        Ok(Self { address, line })
    }

    /// Where to connect.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Changes the state of the line.
    pub(crate) fn set(&self, line: Line) {
        self.line.send_replace(line);
    }
}

async fn carry(near: TcpStream, target: SocketAddr, mut state: watch::Receiver<Line>) {
    if *state.borrow() == Line::Cut {
        return;
    }
    let Ok(far) = TcpStream::connect(target).await else {
        return;
    };
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let up = pass(near_read, far_write, state.clone());
    let down = pass(far_read, near_write, state.clone());
    tokio::select! {
        _ = async { tokio::join!(up, down) } => {}
        _ = state.wait_for(|line| *line == Line::Cut) => {}
    }
}

/// Carries bytes one way while the line is open; ends with either side.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<Line>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if state.wait_for(|line| *line == Line::Open).await.is_err()
            || to.write_all(&buffer[..length]).await.is_err()
        {
            return;
        }
    }
    drop(to.shutdown().await);
}
