//! Where the authority's files lie, and how they are written: whole or not at all.
//!
//! | online folder | content |
//! |---|---|
//! | `root.pem` | the root's certificate; hosts trust its fingerprint |
//! | `intermediates/SERIAL.pem` | each intermediate certificate there ever was |
//! | `intermediates/SERIAL.key` | sealed key of the present one; earlier ones are deleted |
//! | `intermediates/SERIAL.pkcs11` | instead of it: the address of a key in a token |
//! | `pending.key` or `.pkcs11`, `pending.csr.pem` | a request that waits for a signature from elsewhere |
//!
//! The offline folder holds `root.pem` and `root.key`, sealed. It belongs on a medium in a safe.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rcgen::KeyPair;
use zeroize::Zeroizing;

use crate::certificate::Certificate;
use crate::error::IdentityError;
use crate::key::{AuthorityKey, KeyPlace};
use crate::passphrase::Passphrase;
use crate::pkcs11::{Pkcs11Address, Pkcs11Error, TokenKey};
use crate::sealed::{self, SealError};

/// Most bytes that are read of any file here.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// The folder that the running controller reads.
#[derive(Debug, Clone)]
pub(crate) struct OnlineFolder(PathBuf);

/// What lies on disk for a private key.
#[derive(Debug)]
pub(crate) enum StoredKey {
    /// The key itself, sealed.
    Sealed(Vec<u8>),
    /// Where in a token it is.
    InToken(Pkcs11Address),
}

impl StoredKey {
    /// Its address, if it is in a token.
    pub(crate) fn address(&self) -> Option<&Pkcs11Address> {
        match self {
            Self::Sealed(_) => None,
            Self::InToken(address) => Some(address),
        }
    }
}

/// A path without its ending: what is stored for a key is at `.key` or at `.pkcs11`.
#[derive(Debug)]
pub(crate) struct KeySlot(PathBuf);

/// The folder that only `ca init` and `ca rotate` see.
#[derive(Debug, Clone)]
pub(crate) struct OfflineFolder(PathBuf);

impl OnlineFolder {
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.0.join("root.pem")
    }

    pub(crate) fn pending_key(&self) -> KeySlot {
        KeySlot(self.0.join("pending"))
    }

    pub(crate) fn pending_request(&self) -> PathBuf {
        self.0.join("pending.csr.pem")
    }

    pub(crate) fn key_of(&self, intermediate: &Certificate) -> KeySlot {
        KeySlot(self.intermediates_folder().join(&intermediate.serial))
    }

    pub(crate) fn create(&self) -> Result<(), IdentityError> {
        create_folder(&self.0)?;
        create_folder(&self.intermediates_folder())
    }

    /// Every intermediate certificate, newest first.
    pub(crate) fn intermediates(&self) -> Result<Vec<Certificate>, IdentityError> {
        let folder = self.intermediates_folder();
        let failed = |source| IdentityError::Read {
            path: folder.clone(),
            source,
        };
        let mut found = Vec::new();
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "pem") {
                found.push(read_certificate(&path)?);
            }
        }
        found.sort_by(|one, other| {
            (other.not_before_s, &other.serial).cmp(&(one.not_before_s, &one.serial))
        });
        Ok(found)
    }

    /// Puts a new intermediate in place; the last file written is the one that makes it count.
    /// Returns the addresses of earlier keys that stay in a token, which only a person can remove.
    pub(crate) fn install(
        &self,
        intermediate: &Certificate,
        key: &StoredKey,
    ) -> Result<Vec<String>, IdentityError> {
        let earlier = self.intermediates()?;
        self.key_of(intermediate).write(key)?;
        let path = self
            .intermediates_folder()
            .join(format!("{}.pem", intermediate.serial));
        write_public(&path, intermediate.to_pem().as_bytes())?;
        let mut left = Vec::new();
        for certificate in earlier
            .iter()
            .filter(|earlier| earlier.serial != intermediate.serial)
        {
            // Its certificates stay trusted; its key is of no more use to anyone but a thief.
            let slot = self.key_of(certificate);
            let address = slot
                .address()?
                .filter(|address| key.address() != Some(address));
            left.extend(address.map(|address| address.to_string()));
            slot.remove()?;
        }
        Ok(left)
    }

    fn intermediates_folder(&self) -> PathBuf {
        self.0.join("intermediates")
    }
}

impl OfflineFolder {
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.0.join("root.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.0.join("root.key")
    }

    pub(crate) fn create(&self) -> Result<(), IdentityError> {
        create_folder(&self.0)
    }
}

impl KeySlot {
    fn sealed(&self) -> PathBuf {
        self.0.with_extension("key")
    }

    fn in_token(&self) -> PathBuf {
        self.0.with_extension("pkcs11")
    }

    pub(crate) fn exists(&self) -> bool {
        self.sealed().exists() || self.in_token().exists()
    }

    /// Makes a new key in this place, and stores it or its address here.
    pub(crate) fn create(
        &self,
        place: &KeyPlace,
        secret: &Passphrase,
    ) -> Result<AuthorityKey, IdentityError> {
        let (key, stored) = new_key(place, secret)?;
        self.write(&stored)?;
        Ok(key)
    }

    /// Opens the key with its passphrase, or the PIN of its token.
    pub(crate) fn open(&self, secret: &Passphrase) -> Result<AuthorityKey, IdentityError> {
        match self.read()? {
            StoredKey::InToken(address) => {
                Ok(AuthorityKey::Token(TokenKey::open(&address, secret)?))
            }
            StoredKey::Sealed(_) => Ok(AuthorityKey::File(open_key(&self.sealed(), secret)?)),
        }
    }

    /// [`KeySlot::open`], and makes sure that it belongs to this certificate.
    pub(crate) fn open_for(
        &self,
        certificate: &Certificate,
        secret: &Passphrase,
    ) -> Result<AuthorityKey, IdentityError> {
        let key = self.open(secret)?;
        if !certificate.has_key(&key) {
            let path = match &key {
                AuthorityKey::File(_) => self.sealed(),
                AuthorityKey::Token(_) => self.in_token(),
            };
            return Err(IdentityError::KeyMismatch { path });
        }
        Ok(key)
    }

    /// What is stored here.
    pub(crate) fn read(&self) -> Result<StoredKey, IdentityError> {
        match self.address()? {
            Some(address) => Ok(StoredKey::InToken(address)),
            None => Ok(StoredKey::Sealed(read(&self.sealed())?)),
        }
    }

    /// The address of a key in a token; one that cannot be read is named with its file.
    fn address(&self) -> Result<Option<Pkcs11Address>, IdentityError> {
        let path = self.in_token();
        if !path.exists() {
            return Ok(None);
        }
        let text = read(&path)?;
        let address = String::from_utf8_lossy(&text).trim().parse();
        let address = address.map_err(|error: Pkcs11Error| {
            Pkcs11Error::Address(format!("{}: {error}", path.display()))
        })?;
        Ok(Some(address))
    }

    fn write(&self, key: &StoredKey) -> Result<(), IdentityError> {
        match key {
            StoredKey::Sealed(sealed) => write_private(&self.sealed(), sealed),
            StoredKey::InToken(address) => {
                write_public(&self.in_token(), format!("{address}\n").as_bytes())
            }
        }
    }

    /// Removes what is stored here; a key in a token stays there.
    pub(crate) fn remove(&self) -> Result<(), IdentityError> {
        remove(&self.sealed())?;
        remove(&self.in_token())
    }
}

/// Makes a key in this place; what is returned with it is still to be stored.
pub(crate) fn new_key(
    place: &KeyPlace,
    secret: &Passphrase,
) -> Result<(AuthorityKey, StoredKey), IdentityError> {
    match place {
        KeyPlace::SealedFile => {
            let key = KeyPair::generate().map_err(IdentityError::Issue)?;
            let sealed = seal_key(&key, secret)?;
            Ok((AuthorityKey::File(key), StoredKey::Sealed(sealed)))
        }
        KeyPlace::Token(address) => {
            let (address, key) = TokenKey::create(address, secret)?;
            Ok((AuthorityKey::Token(key), StoredKey::InToken(address)))
        }
    }
}

pub(crate) fn read_certificate(path: &Path) -> Result<Certificate, IdentityError> {
    let bytes = read(path)?;
    let text = String::from_utf8_lossy(&bytes);
    Certificate::from_pem(&text).map_err(|detail| IdentityError::Certificate {
        what: path.display().to_string(),
        detail,
    })
}

/// Opens a sealed key file and makes sure that it belongs to this certificate.
pub(crate) fn open_key_of(
    certificate: &Certificate,
    path: &Path,
    passphrase: &Passphrase,
) -> Result<KeyPair, IdentityError> {
    let key = open_key(path, passphrase)?;
    if !certificate.has_key(&key) {
        return Err(IdentityError::KeyMismatch {
            path: path.to_owned(),
        });
    }
    Ok(key)
}

/// Opens a sealed key file.
pub(crate) fn open_key(path: &Path, passphrase: &Passphrase) -> Result<KeyPair, IdentityError> {
    let owned = || path.to_owned();
    let mode = fs::metadata(path)
        .map_err(|source| IdentityError::Read {
            path: owned(),
            source,
        })?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        return Err(IdentityError::KeyReadable { path: owned() });
    }
    let key = sealed::open(&read(path)?, passphrase).map_err(|error| match error {
        SealError::Damaged(detail) => IdentityError::KeyDamaged {
            path: owned(),
            detail,
        },
        SealError::WrongPassphrase => IdentityError::WrongPassphrase { path: owned() },
        SealError::Derive => IdentityError::Derive,
        SealError::Random => IdentityError::Random,
    })?;
    KeyPair::try_from(key.as_slice()).map_err(|_| IdentityError::KeyDamaged {
        path: owned(),
        detail: "it holds no key",
    })
}

pub(crate) fn seal_key(key: &KeyPair, passphrase: &Passphrase) -> Result<Vec<u8>, IdentityError> {
    sealed::seal(&Zeroizing::new(key.serialize_der()), passphrase).map_err(|error| match error {
        SealError::Random => IdentityError::Random,
        _ => IdentityError::Derive,
    })
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    let failed = |source| IdentityError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_FILE_BYTES)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(bytes)
}

/// A file that only its owner may read.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<(), IdentityError> {
    write(path, content, 0o600)
}

/// A file that everybody who reaches the folder may read.
pub(crate) fn write_public(path: &Path, content: &[u8]) -> Result<(), IdentityError> {
    write(path, content, 0o644)
}

/// Removes a file that may be gone already.
pub(crate) fn remove(path: &Path) -> Result<(), IdentityError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(IdentityError::Write {
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

fn create_folder(path: &Path) -> Result<(), IdentityError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| IdentityError::Write {
            path: path.to_owned(),
            source,
        })
}

/// Writes beside, makes it durable, renames: a crash leaves the old file or the new one.
fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), IdentityError> {
    let replace = || -> io::Result<()> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        if let Err(error) = fs::remove_file(&beside)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    replace().map_err(|source| IdentityError::Write {
        path: path.to_owned(),
        source,
    })
}
