//! One host's session, as an agent holds it: one connection, two streams, records both ways.
//!
//! A second implementation of the protocol's client side, on purpose: it is lean enough for 20,000
//! in one process, and it shows that the wire is what the protocol crate says.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use bytes::{Bytes, BytesMut};
use h2::{RecvStream, SendStream};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use xiezhi_protocol::message::{Ack, DirectiveMessage, DirectiveOutcome, Hello, Refused, Welcome};
use xiezhi_protocol::record::{self, Kind};
use xiezhi_protocol::{CONTROLLER_NAME, DIRECTIVES_PATH, UPLINK_PATH};

/// An open session.
pub struct Session {
    upload: SendStream<Bytes>,
    answers: Records,
    outcomes: SendStream<Bytes>,
    directives: Records,
    connection: tokio::task::JoinHandle<()>,
}

/// What comes down.
#[derive(Debug)]
pub enum Down {
    /// Batches are durable.
    Ack(Ack),
    /// A batch was refused.
    Refused(Refused),
    /// Something to do.
    Directive(DirectiveMessage),
}

impl Session {
    /// Connects, greets and waits for the welcome.
    ///
    /// # Errors
    /// Any step failed, or the controller refused.
    pub async fn open(
        address: &str,
        tls: Arc<rustls::ClientConfig>,
        hello: &Hello,
    ) -> Result<(Self, Welcome)> {
        let stream = TcpStream::connect(address).await.context("connecting")?;
        stream.set_nodelay(true)?;
        let name = rustls_pki_types::ServerName::try_from(CONTROLLER_NAME)?;
        let stream = TlsConnector::from(tls)
            .connect(name, stream)
            .await
            .context("TLS handshake")?;
        let (mut client, connection) = h2::client::Builder::new()
            .initial_window_size(64 << 10)
            .initial_connection_window_size(128 << 10)
            .handshake(stream)
            .await?;
        let connection = tokio::spawn(async move { drop(connection.await) });
        let (response, mut upload) = client.send_request(request(UPLINK_PATH)?, false)?;
        send(&mut upload, Kind::Hello, &serde_json::to_vec(hello)?)?;
        let mut answers = answer(response.await?).await?;
        let Some((kind, payload)) = answers.next().await? else {
            bail!("no welcome")
        };
        if kind != Kind::Welcome as u8 {
            bail!("refused: {}", String::from_utf8_lossy(&payload));
        }
        let welcome = serde_json::from_slice(&payload)?;
        let (response, outcomes) = client.send_request(request(DIRECTIVES_PATH)?, false)?;
        let directives = answer(response.await?).await?;
        Ok((
            Self {
                upload,
                answers,
                outcomes,
                directives,
                connection,
            },
            welcome,
        ))
    }

    /// Sends one record up.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn send(&mut self, kind: Kind, payload: &[u8]) -> Result<()> {
        send(&mut self.upload, kind, payload)
    }

    /// Says what became of a directive.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn answer(&mut self, outcome: &DirectiveOutcome) -> Result<()> {
        send(
            &mut self.outcomes,
            Kind::Outcome,
            &serde_json::to_vec(outcome)?,
        )
    }

    /// The next record down, of either stream.
    ///
    /// # Errors
    /// The session has ended.
    pub async fn next(&mut self) -> Result<Down> {
        loop {
            let (kind, payload) = tokio::select! {
                record = self.answers.next() => record?,
                record = self.directives.next() => record?,
            }
            .context("the session was closed")?;
            match Kind::from_number(kind) {
                Some(Kind::Ack) => {
                    return Ok(Down::Ack(
                        record::read_ack(&payload).context("malformed ack")?,
                    ));
                }
                Some(Kind::Refused) => return Ok(Down::Refused(serde_json::from_slice(&payload)?)),
                Some(Kind::Directive) => {
                    return Ok(Down::Directive(serde_json::from_slice(&payload)?));
                }
                _ => {}
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

fn request(path: &str) -> Result<http::Request<()>> {
    let uri = format!("https://{CONTROLLER_NAME}{path}");
    Ok(http::Request::builder().method("POST").uri(uri).body(())?)
}

async fn answer(response: http::Response<RecvStream>) -> Result<Records> {
    let status = response.status();
    let mut records = Records {
        stream: response.into_body(),
        buffer: BytesMut::new(),
    };
    if status.is_success() {
        return Ok(records);
    }
    while records.more().await? {}
    bail!("{status}: {}", String::from_utf8_lossy(&records.buffer));
}

fn send(stream: &mut SendStream<Bytes>, kind: Kind, payload: &[u8]) -> Result<()> {
    let mut record = Vec::with_capacity(payload.len() + 8);
    record::write(&mut record, kind, payload);
    Ok(stream.send_data(record.into(), false)?)
}

/// Records that arrive on a stream, however its frames are cut.
struct Records {
    stream: RecvStream,
    buffer: BytesMut,
}

impl Records {
    /// The next record; `None` at the end. Safe to drop while waiting.
    async fn next(&mut self) -> Result<Option<(u8, Vec<u8>)>> {
        loop {
            if let Some((kind, payload, used)) = record::read(&self.buffer)? {
                let record = (kind, payload.to_vec());
                drop(self.buffer.split_to(used));
                return Ok(Some(record));
            }
            if !self.more().await? {
                return Ok(None);
            }
        }
    }

    async fn more(&mut self) -> Result<bool> {
        let Some(data) = self.stream.data().await else {
            return Ok(false);
        };
        let data = data?;
        self.stream.flow_control().release_capacity(data.len())?;
        self.buffer.extend_from_slice(&data);
        Ok(true)
    }
}
