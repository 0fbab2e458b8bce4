//! The browsers' port, as a program sees it.

use anyhow::{Context as _, Result, bail};
use reqwest::{Method, header};
use serde_json::Value;

use crate::wait::eventually;

/// What a program of others answers at an address.
///
/// # Errors
/// It cannot be reached, or the status is not a success.
pub async fn fetch(address: &str) -> Result<String> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let response = reqwest::Client::builder()
        .build()?
        .get(address)
        .send()
        .await?;
    Ok(response.error_for_status()?.text().await?)
}

/// What `/readyz` answers, well or unwell.
pub(crate) async fn probe(address: &str) -> Result<Value> {
    // reqwest wants to know a provider even for plain HTTP.
    drop(rustls::crypto::ring::default_provider().install_default());
    let url = format!("http://{address}/readyz");
    let body = reqwest::get(url).await?.text().await?;
    serde_json::from_str(&body).with_context(|| format!("the probe said {body:?}"))
}

/// A signed-in client.
#[derive(Clone)]
pub struct Api {
    client: reqwest::Client,
    base: String,
    cookie: String,
}

impl Api {
    /// Signs in as the administrator.
    ///
    /// # Errors
    /// The controller refused.
    pub async fn sign_in(address: &str, password: &str) -> Result<Self> {
        Self::sign_in_as(address, "admin", password).await
    }

    /// Signs in under a name.
    ///
    /// # Errors
    /// The controller refused.
    pub async fn sign_in_as(address: &str, user: &str, password: &str) -> Result<Self> {
        // reqwest wants to know a provider even for plain HTTP.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder().build()?;
        let base = format!("http://{address}");
        let body = serde_json::json!({ "user": user, "password": password });
        let response = client
            .post(format!("{base}/api/v1/login"))
            .header("X-Xiezhi-Request", "1")
            .json(&body)
            .send()
            .await?;
        let status = response.status();
        let cookie = response
            .headers()
            .get(header::SET_COOKIE)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(';').next())
            .map(str::to_owned);
        match cookie {
            Some(cookie) if status.is_success() => Ok(Self {
                client,
                base,
                cookie,
            }),
            _ => bail!("sign-in failed: {status}: {}", response.text().await?),
        }
    }

    /// The session's cookie, as a request carries it.
    #[must_use]
    pub fn cookie(&self) -> &str {
        &self.cookie
    }

    /// Reads an address that is open to everybody, whatever its status.
    ///
    /// # Errors
    /// Nobody answers, or the body is no JSON.
    pub async fn probe(address: &str) -> Result<Value> {
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder().build()?;
        Ok(client.get(address).send().await?.json().await?)
    }

    /// Reads a resource.
    ///
    /// # Errors
    /// The status is not a success, or the body is no JSON.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.call(Method::GET, path, None).await
    }

    /// Does something.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// Takes something away.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn delete(&self, path: &str) -> Result<Value> {
        self.call(Method::DELETE, path, None).await
    }

    /// Sends a text as it is.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn post_text(&self, path: &str, text: &str) -> Result<Value> {
        let request = self.client.post(format!("{}{path}", self.base));
        let request = request
            .header(header::COOKIE, &self.cookie)
            .header("X-Xiezhi-Request", "1");
        let response = request.body(text.to_owned()).send().await?;
        let (status, text) = (response.status(), response.text().await?);
        if !status.is_success() {
            bail!("{path}: {status}: {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("{path} said {text:?}"))
    }

    /// Row of the only host in the list of hosts; `None` while the list is empty.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn only_host(&self) -> Result<Option<Value>> {
        let list = self.get("/api/v1/hosts").await?;
        Ok(list["items"].get(0).cloned())
    }

    /// That row once its presence is `presence`.
    ///
    /// # Errors
    /// It did not become so within a minute.
    pub async fn only_host_when(&self, presence: &str) -> Result<Value> {
        eventually(&format!("the host is {presence}"), async || {
            let host = self.only_host().await?;
            match host {
                Some(host) if host["presence"] == presence => Ok(Some(host)),
                other => bail!("{other:?}"),
            }
        })
        .await
    }

    /// Value of one of the controller's own metrics, added up over its labels.
    ///
    /// # Errors
    /// The page cannot be read.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let page = self.client.get(format!("{}/metrics", self.base));
        let page = page
            .header(header::COOKIE, &self.cookie)
            .send()
            .await?
            .text()
            .await?;
        let named = |line: &&str| line.split(['{', ' ']).next() == Some(name);
        let values = page
            .lines()
            .filter(named)
            .filter_map(|line| line.rsplit(' ').next());
        Ok(values.filter_map(|value| value.parse::<f64>().ok()).sum())
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.base))
            .header(header::COOKIE, &self.cookie)
            .header("X-Xiezhi-Request", "1");
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await?;
        let status = response.status();
        let text = response.text().await?;
        if !status.is_success() {
            bail!("{path}: {status}: {text}");
        }
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).with_context(|| format!("{path}: not JSON: {text}"))
    }
}
