//! One connection to the cluster's write address, and whether it was ever lost.
//!
//! A ready client with a pool would hide when a connection ended and another took its place. But that
//! is how a restart of the cluster shows, after which what it acknowledged last must be sent again;
//! so the connection is held here, by hyper itself.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::target::{Target, TargetError, is_certificate};

/// Longest time to connect, TLS included.
const CONNECT: Duration = Duration::from_secs(10);
/// Read of an answer at most; only its beginning is shown.
const MAX_ANSWER: usize = 64 << 10;
const SHOWN_ANSWER: usize = 300;

/// What the cluster said.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    pub(super) text: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("no connection")]
    Connect(#[source] std::io::Error),
    #[error(
        "its certificate is not accepted: check `cluster.ca_file` and the host name in the address"
    )]
    Certificate(#[source] std::io::Error),
    #[error("no answer within {} s", .0.as_secs())]
    Silent(Duration),
    #[error("the connection was lost")]
    Lost(#[source] hyper::Error),
    /// Found before anything was sent.
    #[error("the connection had ended")]
    Ended,
    #[error("the answer cannot be read")]
    Answer,
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("the address cannot be used")]
    Address,
}

/// A connection, made when it is needed.
#[derive(Debug)]
pub(super) struct Link {
    target: Arc<Target>,
    timeout: Duration,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    sender: SendRequest<Full<Bytes>>,
    headers: HeaderMap,
    /// The cluster said that it would end the connection.
    is_farewell: bool,
}

impl Link {
    pub(super) fn new(target: Arc<Target>, timeout: Duration) -> Self {
        Self {
            target,
            timeout,
            open: None,
        }
    }

    /// Ends the connection; the next request makes another.
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    /// Sends one body and waits for the answer.
    ///
    /// # Errors
    /// Any error means that the connection is gone, and with it perhaps what was acknowledged on it.
    pub(super) async fn post(&mut self, body: Bytes) -> Result<Answered, LinkError> {
        let limit = self.timeout;
        let result = match timeout(limit, self.exchange(body)).await {
            Ok(result) => result,
            Err(_) => Err(LinkError::Silent(limit)),
        };
        if result.is_err() {
            self.open = None;
        }
        result
    }

    async fn exchange(&mut self, body: Bytes) -> Result<Answered, LinkError> {
        let uri = self.target.write.clone();
        let open = self.opened().await?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::post(path)
            .body(Full::new(body))
            .map_err(|_| LinkError::Address)?;
        *request.headers_mut() = open.headers.clone();
        let answer = open.sender.send_request(request).await;
        let answer = answer.map_err(LinkError::Lost)?;
        let (head, body) = answer.into_parts();
        let closes = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"close");
        let is_last = head.headers.get(CONNECTION).is_some_and(closes);
        open.is_farewell = is_last || head.version == http::Version::HTTP_10;
        let text = Limited::new(body, MAX_ANSWER).collect().await;
        let text = text.map_err(|_| LinkError::Answer)?.to_bytes();
        let text = String::from_utf8_lossy(&text);
        let retry_after = head.headers.get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Answered {
            status: head.status,
            retry_after: retry_after.map(Duration::from_secs),
            text: text.trim().chars().take(SHOWN_ANSWER).collect(),
        })
    }

    async fn opened(&mut self) -> Result<&mut Open, LinkError> {
        if let Some(open) = &mut self.open {
            if open.is_farewell {
                self.open = None;
            } else if open.sender.ready().await.is_err() {
                return Err(LinkError::Ended);
            }
        }
        let open = match self.open.take() {
            Some(open) => open,
            None => match timeout(CONNECT, self.connect()).await {
                Ok(open) => open?,
                Err(_) => return Err(LinkError::Silent(CONNECT)),
            },
        };
        Ok(self.open.insert(open))
    }

    async fn connect(&self) -> Result<Open, LinkError> {
        let uri = &self.target.write;
        let host = uri.host().ok_or(LinkError::Address)?;
        let is_tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        // A literal IPv6 address is written in brackets, which the resolver does not know.
        let name = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let headers = self.headers(uri.authority().map_or(host, |all| all.as_str()))?;
        let stream = TcpStream::connect((name.as_str(), port)).await;
        let stream = stream.map_err(LinkError::Connect)?;
        stream.set_nodelay(true).map_err(LinkError::Connect)?;
        let sender = if is_tls {
            let name = ServerName::try_from(name).map_err(|_| LinkError::Address)?;
            let connector = TlsConnector::from(Arc::clone(&self.target.tls));
            let stream = connector.connect(name, stream).await.map_err(|error| {
                if is_certificate(&error) {
                    LinkError::Certificate(error)
                } else {
                    LinkError::Connect(error)
                }
            });
            serve(TokioIo::new(stream?)).await?
        } else {
            serve(TokioIo::new(stream)).await?
        };
        Ok(Open {
            sender,
            headers,
            is_farewell: false,
        })
    }

    fn headers(&self, authority: &str) -> Result<HeaderMap, LinkError> {
        let mut headers = self.target.headers()?;
        // What comes before an @ is no part of the name.
        let name = authority.rsplit('@').next().unwrap_or_default();
        let name = HeaderValue::from_str(name).map_err(|_| LinkError::Address)?;
        headers.insert(HOST, name);
        let fixed = [
            (CONTENT_TYPE, "application/x-protobuf"),
            (CONTENT_ENCODING, "snappy"),
            (USER_AGENT, concat!("xiezhi/", env!("CARGO_PKG_VERSION"))),
        ];
        for (name, value) in fixed {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let version = HeaderValue::from_static("0.1.0");
        headers.insert("x-prometheus-remote-write-version", version);
        Ok(headers)
    }
}

async fn serve<T>(io: TokioIo<T>) -> Result<SendRequest<Full<Bytes>>, LinkError>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(io).await.map_err(LinkError::Lost)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = %error, "a connection to the cluster ended");
        }
    });
    Ok(sender)
}
