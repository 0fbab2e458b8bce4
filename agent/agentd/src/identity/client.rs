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

/// Posts JSON to `path` of the controller at `address` and reads the JSON answer.
///
/// # Errors
/// A [`Refusal`] if the controller explained itself; otherwise what went wrong on the way.
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
        .context("reading the controller's answer")?;
    if status.is_success() {
        return serde_json::from_slice(&bytes).context("the controller's answer is not understood");
    }
    match serde_json::from_slice::<Problem>(&bytes) {
        Ok(Problem { code, detail }) => Err(Refusal { code, detail }.into()),
        Err(_) => bail!("the controller answered {status}"),
    }
}

/// Says which of the two it was: not reachable, or not ours.
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
        cause = inner.source();
    }
    anyhow!(
        "cannot reach the controller at {address} ({last}): check the address, the line and the firewall"
    )
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
}
