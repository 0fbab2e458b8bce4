//! Where the state database is, as a person writes it: a file, or a PostgreSQL server.
//!
//! An address never carries a password, because addresses are shown in errors and logs; the password
//! is given beside it. Over a network the server must prove who it is: an address that would talk to
//! whoever answers is refused.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr as _;

use sqlx::any::AnyConnectOptions;

/// How an SQLite file and a PostgreSQL server are written.
pub(crate) const FORMS: &str =
    "sqlite:///absolute/path/to/file.db or postgres://user@host/database";

/// What may stand behind the `?` of a PostgreSQL address, besides `options[NAME]`.
const PARAMETERS: &[&str] = &[
    "application_name",
    "dbname",
    "host",
    "options",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];

/// Where Debian and most others have the server's socket.
const SOCKET_FOLDER: &str = "/var/run/postgresql";

/// Which database is behind an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

/// Where the state database is, and the password for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    text: String,
    password: Option<String>,
}

/// Why a text is no address, and what to write instead. Never holds the text, which may hold a
/// password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AddressError(String);

impl Address {
    /// An address as a person wrote it: `sqlite:///absolute/path`, a bare absolute path, or
    /// `postgres://user@host:port/database?…` with libpq's parameters. Looks at no file and asks no
    /// server.
    ///
    /// # Errors
    /// It is neither; it holds a password; it has an unknown parameter; or it would talk over a
    /// network to a server that proves nothing.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        match dialect_of(text) {
            Some(Dialect::Sqlite) => {}
            Some(Dialect::Postgres) => drop(postgres_options(text)?),
            None => return Err(AddressError(format!("write {FORMS}"))),
        }
        Ok(Self {
            text: text.to_owned(),
            password: None,
        })
    }

    /// The same with the server's password; a file takes none.
    #[must_use]
    pub fn with_password(mut self, password: Option<String>) -> Self {
        self.password = password;
        self
    }

    pub(crate) fn dialect(&self) -> Dialect {
        dialect_of(&self.text).unwrap_or(Dialect::Sqlite)
    }

    /// The file of an SQLite database.
    pub(crate) fn file(&self) -> &Path {
        Path::new(self.text.strip_prefix("sqlite://").unwrap_or(&self.text))
    }

    /// What the driver connects to.
    pub(crate) fn options(&self) -> Result<AnyConnectOptions, AddressError> {
        match self.dialect() {
            Dialect::Sqlite => {
                let text = self.file().to_str().unwrap_or_default();
                let escaped = text
                    .replace('%', "%25")
                    .replace('?', "%3F")
                    .replace('#', "%23");
                AnyConnectOptions::from_str(&format!("sqlite://{escaped}")).map_err(unreadable)
            }
            Dialect::Postgres => {
                let mut options = postgres_options(&self.text)?;
                if let Some(password) = &self.password {
                    // The URL encodes everything else that needs it.
                    let password = password.replace('%', "%25");
                    let set = options.database_url.set_password(Some(&password));
                    set.map_err(|()| AddressError(format!("it takes no password: write {FORMS}")))?;
                }
                Ok(options)
            }
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Address({:?})", self.text)
    }
}

fn dialect_of(text: &str) -> Option<Dialect> {
    match text.split_once("://") {
        Some(("postgres" | "postgresql", _)) => Some(Dialect::Postgres),
        Some(("sqlite", path)) => path.starts_with('/').then_some(Dialect::Sqlite),
        _ => text.starts_with('/').then_some(Dialect::Sqlite),
    }
}

/// The driver says what is wrong with an address in a way that may show all of it.
fn unreadable(_: sqlx::Error) -> AddressError {
    AddressError(format!("it cannot be read: write {FORMS}"))
}

fn postgres_options(text: &str) -> Result<AnyConnectOptions, AddressError> {
    let mut options = AnyConnectOptions::from_str(text).map_err(unreadable)?;
    let url = &mut options.database_url;
    let parameters: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let given = |name: &str| {
        let mut all = parameters.iter().rev();
        all.find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    if url.password().is_some() || given("password").is_some() {
        return Err(AddressError(
            "the password does not belong into the address: put it into a file that only the \
             controller may read and name that (`database_password_file`)"
                .to_owned(),
        ));
    }
    for (key, _) in &parameters {
        if !PARAMETERS.contains(&key.as_str()) && !key.starts_with("options[") {
            return Err(AddressError(format!(
                "`{key}` is not a parameter that it may have: {}",
                PARAMETERS.join(", ")
            )));
        }
    }
    let host = given("host").or(url.host_str()).unwrap_or_default();
    let is_local = is_local(host);
    let mode = given("sslmode");
    if !is_local && !matches!(mode, None | Some("verify-full" | "verify-ca")) {
        return Err(AddressError(format!(
            "sslmode={} would trust whoever answers at {host}: write sslmode=verify-full, with \
             sslrootcert=/path/to/ca.pem if the server's certificate is from an authority of your \
             own",
            mode.unwrap_or_default()
        )));
    }
    let (has_host, has_mode, has_name) = (
        !host.is_empty(),
        mode.is_some(),
        given("application_name").is_some(),
    );
    let mut more = url.query_pairs_mut();
    if !has_host {
        more.append_pair("host", SOCKET_FOLDER);
    }
    if !is_local && !has_mode {
        more.append_pair("sslmode", "verify-full");
    }
    if !has_name {
        more.append_pair("application_name", "xiezhi-controller");
    }
    drop(more);
    if url.host_str().is_none_or(str::is_empty) {
        // A URL without a host holds neither user nor password; `host=` has the last word anyway.
        let set = url.set_host(Some("localhost"));
        set.map_err(|_| AddressError(format!("it cannot be read: write {FORMS}")))?;
    }
    Ok(options)
}

/// Whether a server is on this machine: a socket's folder, `localhost` or a loopback address.
fn is_local(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.is_empty()
        || host == "localhost"
        || host.starts_with('/')
        || host.to_ascii_lowercase().starts_with("%2f")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> String {
        let address = Address::parse(text).unwrap();
        address.options().unwrap().database_url.to_string()
    }

    fn refusal(text: &str) -> String {
        Address::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_server_over_a_network_must_prove_who_it_is() {
        assert!(url("postgres://xiezhi@db.court/xiezhi").contains("sslmode=verify-full"));
        for mode in ["disable", "prefer", "allow", "require", "nonsense"] {
            let said = refusal(&format!("postgres://u@10.0.0.5/d?sslmode={mode}"));
            assert!(
                said.contains("verify-full") && said.contains(mode),
                "{said}"
            );
        }
        assert!(url("postgres://u@db/d?sslmode=verify-ca").contains("sslmode=verify-ca"));
        // `host=` has the last word, so it decides.
        let said = refusal("postgres://u@localhost/d?host=10.0.0.5&sslmode=disable");
        assert!(said.contains("10.0.0.5"), "{said}");
    }

    #[test]
    fn a_server_on_this_machine_may_go_without() {
        for host in ["localhost", "127.0.0.1", "[::1]", "%2Frun%2Fpostgresql"] {
            let url = url(&format!("postgres://u@{host}/d"));
            assert!(!url.contains("sslmode"), "{url}");
        }
        assert!(url("postgres:///d").contains("host=%2Fvar%2Frun%2Fpostgresql"));
        assert!(url("postgres://u@localhost/d?sslmode=disable").contains("disable"));
    }

    #[test]
    fn a_password_stays_out_of_addresses_and_is_never_shown() {
        for text in [
            "postgres://u:geheim@db/d",
            "postgres://u@db/d?password=geheim",
            "postgres://u:geheim@[/d",
            "mysql://u:geheim@db/d",
        ] {
            let said = refusal(text);
            assert!(!said.contains("geheim"), "{said}");
        }
        let address = Address::parse("postgres:///d").unwrap();
        let address = address.with_password(Some("a/b@c:d %".to_owned()));
        let options = address.options().unwrap();
        let password = options.database_url.password().unwrap();
        assert_eq!(password, "a%2Fb%40c%3Ad%20%25");
        assert!(!format!("{address} {address:?}").contains("a/b"));
    }

    #[test]
    fn parameters_that_nobody_knows_are_named() {
        let said = refusal("postgres://u@db/d?sslmod=verify-full");
        assert!(
            said.contains("`sslmod`") && said.contains("sslmode"),
            "{said}"
        );
    }

    #[test]
    fn files_are_absolute() {
        assert_eq!(url("/a b%#?.db"), "sqlite:///a%20b%25%23%3F.db");
        for text in ["", "state.db", "sqlite://relative.db", "sqlite::memory:"] {
            assert!(refusal(text).contains("sqlite:///absolute/path"), "{text}");
        }
    }
}
