//! Addresses of keys in tokens, RFC 7512: `pkcs11:token=court;object=ca?module-path=/usr/lib/….so`.
//!
//! A strict reader: an attribute that is not understood could be the one that tells two keys apart,
//! so it is refused. `module-path` is required, because there is no system-wide list of modules that
//! every distribution has.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::Pkcs11Error;

/// What the address may say about the token, besides `slot-id`; compared with what it says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TokenWanted {
    pub(super) token: Option<String>,
    pub(super) manufacturer: Option<String>,
    pub(super) model: Option<String>,
    pub(super) serial: Option<String>,
    pub(super) slot_id: Option<u64>,
}

/// Where a key lies in a PKCS#11 token, or the token in which one is to be made.
///
/// ```
/// use xiezhi_identity::Pkcs11Address;
/// let text = "pkcs11:token=court%20ca;object=online?module-path=/usr/lib/softhsm/libsofthsm2.so";
/// let address: Pkcs11Address = text.parse()?;
/// assert_eq!(address.to_string(), text);
/// # Ok::<(), xiezhi_identity::Pkcs11Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pkcs11Address {
    pub(super) module: PathBuf,
    pub(super) wanted: TokenWanted,
    pub(super) object: Option<String>,
    pub(super) id: Option<Vec<u8>>,
}

impl Pkcs11Address {
    /// The module that speaks to the token.
    #[must_use]
    pub fn module(&self) -> &Path {
        &self.module
    }

    /// Whether it names a key, and not only a token.
    #[must_use]
    pub fn names_key(&self) -> bool {
        self.object.is_some() || self.id.is_some()
    }

    /// The same token's key with this identifier.
    pub(super) fn with_id(&self, id: &[u8]) -> Self {
        Self {
            object: None,
            id: Some(id.to_vec()),
            ..self.clone()
        }
    }

    fn set(&mut self, name: &str, value: Vec<u8>) -> Result<(), Pkcs11Error> {
        let text = |value: Vec<u8>| {
            String::from_utf8(value).map_err(|_| refused(format!("`{name}` is not UTF-8")))
        };
        match name {
            "token" => set_once(&mut self.wanted.token, name, text(value)?),
            "manufacturer" => set_once(&mut self.wanted.manufacturer, name, text(value)?),
            "model" => set_once(&mut self.wanted.model, name, text(value)?),
            "serial" => set_once(&mut self.wanted.serial, name, text(value)?),
            "slot-id" => {
                let number = text(value)?
                    .parse()
                    .map_err(|_| refused("`slot-id` is not a number"))?;
                set_once(&mut self.wanted.slot_id, name, number)
            }
            "object" => set_once(&mut self.object, name, text(value)?),
            "id" => set_once(&mut self.id, name, value),
            "type" if value == b"private" => Ok(()),
            "type" => Err(refused("`type` can only be `private` here")),
            other => Err(refused(format!(
                "`{other}` is not understood; there are token, serial, manufacturer, model, slot-id, \
                 object, id and type=private"
            ))),
        }
    }

    fn set_query(&mut self, name: &str, value: Vec<u8>) -> Result<(), Pkcs11Error> {
        match name {
            "module-path" if self.module.as_os_str().is_empty() => {
                let path =
                    String::from_utf8(value).map_err(|_| refused("`module-path` is not UTF-8"))?;
                self.module = PathBuf::from(path);
                Ok(())
            }
            "module-path" => Err(refused("`module-path` is given twice")),
            "pin-value" | "pin-source" => Err(refused(format!(
                "`{name}` does not belong into it: the PIN comes from where the passphrase comes from \
                 (`passphrase_file`, the systemd credential `ca-passphrase`, or the terminal)"
            ))),
            other => Err(refused(format!(
                "`{other}` is not understood after the `?`; there is module-path"
            ))),
        }
    }
}

fn set_once<T>(place: &mut Option<T>, name: &str, value: T) -> Result<(), Pkcs11Error> {
    if place.replace(value).is_some() {
        return Err(refused(format!("`{name}` is given twice")));
    }
    Ok(())
}

fn refused(reason: impl Into<String>) -> Pkcs11Error {
    Pkcs11Error::Address(reason.into())
}

impl FromStr for Pkcs11Address {
    type Err = Pkcs11Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text
            .strip_prefix("pkcs11:")
            .ok_or_else(|| refused("it does not begin with `pkcs11:`"))?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut address = Self {
            module: PathBuf::new(),
            wanted: TokenWanted::default(),
            object: None,
            id: None,
        };
        for attribute in path.split(';').filter(|one| !one.is_empty()) {
            let (name, value) = split(attribute)?;
            address.set(name, value)?;
        }
        for attribute in query.split('&').filter(|one| !one.is_empty()) {
            let (name, value) = split(attribute)?;
            address.set_query(name, value)?;
        }
        if !address.module.is_absolute() {
            return Err(refused(
                "it needs the module's full path: add `?module-path=/usr/lib/….so`",
            ));
        }
        if address.wanted == TokenWanted::default() {
            return Err(refused("it names no token: add `token=LABEL` or `serial=`"));
        }
        Ok(address)
    }
}

fn split(attribute: &str) -> Result<(&str, Vec<u8>), Pkcs11Error> {
    let (name, value) = attribute
        .split_once('=')
        .ok_or_else(|| refused(format!("`{attribute}` has no `=`")))?;
    let value = decode(value).ok_or_else(|| refused(format!("`{name}` has a broken %-sign")))?;
    Ok((name, value))
}

/// Undoes percent-encoding; `None` if two hex digits do not follow a `%`.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(out)
}

/// Percent-encodes all but RFC 3986's unreserved characters; a path keeps its slashes.
fn encode(bytes: &[u8], keep: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || keep.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

impl fmt::Display for Pkcs11Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wanted = &self.wanted;
        let slot = wanted.slot_id.map(|slot| slot.to_string());
        let texts = [
            ("token", &wanted.token),
            ("manufacturer", &wanted.manufacturer),
            ("model", &wanted.model),
            ("serial", &wanted.serial),
            ("slot-id", &slot),
            ("object", &self.object),
        ];
        let mut parts: Vec<String> = texts
            .into_iter()
            .filter_map(|(name, value)| {
                let value = encode(value.as_ref()?.as_bytes(), b"");
                Some(format!("{name}={value}"))
            })
            .collect();
        if let Some(id) = &self.id {
            let digits: String = id.iter().map(|byte| format!("%{byte:02X}")).collect();
            parts.push(format!("id={digits}"));
        }
        let module = self.module.to_string_lossy();
        let module = encode(module.as_bytes(), b"/");
        write!(formatter, "pkcs11:{}?module-path={module}", parts.join(";"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MODULE: &str = "?module-path=/usr/lib/softhsm/libsofthsm2.so";

    fn parse(text: &str) -> Result<Pkcs11Address, String> {
        text.parse().map_err(|error: Pkcs11Error| error.to_string())
    }

    #[test]
    fn an_address_of_the_rfc_is_understood() {
        let text = format!("pkcs11:token=The%20Software;serial=1A;id=%01%ff;type=private{MODULE}");
        let address = parse(&text).unwrap();
        assert_eq!(address.wanted.token.as_deref(), Some("The Software"));
        assert_eq!(address.wanted.serial.as_deref(), Some("1A"));
        assert_eq!(address.id.as_deref(), Some(&[1, 255][..]));
        assert!(address.names_key());
        assert_eq!(
            address.to_string(),
            format!("pkcs11:token=The%20Software;serial=1A;id=%01%FF{MODULE}")
        );
    }

    #[test]
    fn what_could_mean_another_key_is_refused_with_a_reason() {
        for (text, reason) in [
            ("/dev/hsm", "pkcs11:"),
            ("pkcs11:token=a", "module-path"),
            ("pkcs11:token=a?module-path=libsofthsm2.so", "full path"),
            ("pkcs11:?module-path=/x.so", "names no token"),
            ("pkcs11:object=ca?module-path=/x.so", "names no token"),
            ("pkcs11:token=a;token=b?module-path=/x.so", "twice"),
            (
                "pkcs11:token=a?module-path=/x.so&module-path=/y.so",
                "twice",
            ),
            (
                "pkcs11:token=a;library-version=3?module-path=/x.so",
                "library-version",
            ),
            ("pkcs11:token=a;type=cert?module-path=/x.so", "private"),
            ("pkcs11:token=a%2?module-path=/x.so", "%-sign"),
            ("pkcs11:token=%ff?module-path=/x.so", "UTF-8"),
            ("pkcs11:slot-id=first?module-path=/x.so", "number"),
            ("pkcs11:token?module-path=/x.so", "no `=`"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn a_pin_is_never_part_of_an_address() {
        for pin in ["pin-value=1234", "pin-source=file:/etc/pin"] {
            let error = parse(&format!("pkcs11:token=a?module-path=/x.so&{pin}")).unwrap_err();
            assert!(error.contains("passphrase_file"), "{error}");
            assert!(!error.contains("1234"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(
            token in ".{1,32}",
            object in proptest::option::of(".{1,16}"),
            id in proptest::option::of(proptest::collection::vec(any::<u8>(), 1..20)),
            slot_id in proptest::option::of(any::<u64>()),
        ) {
            let wanted = TokenWanted { token: Some(token), slot_id, ..TokenWanted::default() };
            let module = PathBuf::from("/usr/lib/a module.so");
            let address = Pkcs11Address { module, wanted, object, id };
            prop_assert_eq!(parse(&address.to_string()), Ok(address));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,80}") {
            drop(parse(&format!("pkcs11:{text}")));
        }
    }
}
