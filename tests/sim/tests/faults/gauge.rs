//! What an agent says of itself on its own page.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use anyhow::Result;

/// A port that nobody listens on at the moment.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Batches that wait for their acknowledgement; `None` before the page is up.
pub(crate) fn pending(port: u16) -> Result<Option<f64>> {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return Ok(None);
    };
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut page = Vec::new();
    stream.read_to_end(&mut page)?;
    let page = String::from_utf8_lossy(&page);
    let line = page
        .lines()
        .find(|line| line.starts_with("xiezhi_agent_spool_pending "));
    Ok(line.and_then(|line| line.rsplit(' ').next()?.parse().ok()))
}
