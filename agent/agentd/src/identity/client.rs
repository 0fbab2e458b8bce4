//! One request to the controller outside of a session.

use std::error::Error as _;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use rustls::ClientConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;
use xiezhi_protocol::enrol::Problem;

/// A refusal that the controller explained; its code is for the program.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub(crate) struct Refusal {
    /// Short word, as in [`Problem::code`].
    pub(crate) code: String,
    /// One sentence that says what to do.
    pub(crate) detail: String,
}

/// The connection was closed before the answer: a controller with too many at once does that, and so
/// does a firewall between. Worth another try.
#[derive(Debug, thiserror::Error)]
#[error(
    "the controller at {address} is busy or unreachable: the connection was closed before an answer \
     came; try again in some minutes, and check the line and the firewall if it stays so"
)]
pub(crate) struct CutOff {
    address: String,
}

impl CutOff {
    /// At this `host:port`.
    pub(crate) fn of(address: &str) -> Self {
        Self {
            address: address.to_owned(),
        }
    }
}

/// Posts JSON to `path` of the controller at `address` and reads the JSON answer.
///
/// # Errors
/// A [`Refusal`] if the controller explained itself, a [`CutOff`] if it closed early; otherwise what
/// went wrong on the way.
pub(crate) async fn post<Q: Serialize, A: DeserializeOwned>(
    address: &str,
    path: &str,
    tls: ClientConfig,
    body: &Q,
) -> Result<A> {
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .http2_prior_knowledge()
        .no_proxy()
        .timeout(Duration::from_secs(30))
        .build()
        .context("preparing the request")?;
    let url = format!("https://{address}{path}");
    let sent = client.post(&url).json(body).send().await;
    let response = sent.map_err(|error| explain(address, &error))?;
    let status = response.status();
    let bytes = response
        .bytes()
        .await
        .map_err(|error| explain(address, &error))?;
    if status.is_success() {
        return serde_json::from_slice(&bytes).context("the controller's answer is not understood");
    }
    match serde_json::from_slice::<Problem>(&bytes) {
        Ok(Problem { code, detail }) => Err(Refusal { code, detail }.into()),
        Err(_) => bail!("the controller answered {status}"),
    }
}

/// Says which it was: not ours, cut off, or not reachable.
fn explain(address: &str, error: &reqwest::Error) -> anyhow::Error {
    let mut cause = error.source();
    let mut last = error.to_string();
    while let Some(inner) = cause {
        last = inner.to_string();
        if last.contains("invalid peer certificate") {
            return anyhow!(
                "{address} is not the controller that this token or host belongs to ({last}): \
                 check the address, or ask for a new token"
            );
        }
        if inner.downcast_ref::<std::io::Error>().is_some_and(is_cut) {
            return CutOff::of(address).into();
        }
        cause = inner.source();
    }
    anyhow!(
        "cannot reach the controller at {address} ({last}): check the address, the line and the firewall"
    )
}

fn is_cut(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    // One may wrap another, which `source` passes over.
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    let cuts = [
        BrokenPipe,
        ConnectionAborted,
        ConnectionReset,
        UnexpectedEof,
    ];
    cuts.contains(&error.kind()) || inner.is_some_and(is_cut)
}

/// `host:port` of a controller's URL.
///
/// # Errors
/// It is no `https://host:port`.
pub(crate) fn address_of(url: &str) -> Result<String> {
    let parsed: reqwest::Url = url
        .parse()
        .with_context(|| format!("`{url}` is no address: write https://host:8443"))?;
    let host = parsed.host_str().filter(|_| parsed.scheme() == "https");
    let Some(host) = host else {
        bail!("`{url}` is no address: write https://host:8443")
    };
    Ok(format!("{host}:{}", parsed.port().unwrap_or(8443)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_urls() {
        assert_eq!(
            address_of("https://c.example:9000").unwrap(),
            "c.example:9000"
        );
        assert_eq!(address_of("https://10.0.0.1").unwrap(), "10.0.0.1:8443");
        assert_eq!(address_of("https://[::1]:5/").unwrap(), "[::1]:5");
        for bad in ["http://c:1", "c:1", "", "https://"] {
            assert!(address_of(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_controller_that_closes_early_is_called_busy_in_plain_words() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                // Read what was said first: closing with unread bytes would be a reset.
                let mut greeting = [0; 4096];
                tokio::io::AsyncReadExt::read(&mut stream, &mut greeting)
                    .await
                    .unwrap();
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let time = super::super::TrustedTime::open(folder.path().join("time"));
        let anchor = super::super::Anchor::Fingerprint([0; 32]);
        let tls = super::super::tls_config(anchor, std::sync::Arc::new(time), None).unwrap();
        let error = post::<_, ()>(&address, "/", tls, &()).await.unwrap_err();
        assert!(error.is::<CutOff>(), "{error:#}");
        let text = format!("{error:#}");
        assert!(text.contains("busy or unreachable"), "{text}");
        assert!(
            !text.contains("https://") && !text.contains("close_notify"),
            "{text}"
        );
    }
}
