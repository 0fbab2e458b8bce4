//! What seals key files, and where it comes from: a file, a systemd credential or the terminal.
//!
//! A passphrase is never an argument or an environment variable, because other processes can read
//! those.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use zeroize::Zeroizing;

/// Fewest characters of a new passphrase.
const MIN_CHARACTERS: usize = 12;

/// Most bytes that are read from a file or a terminal.
const MAX_BYTES: u64 = 4096;

/// Name of the systemd credential.
const CREDENTIAL: &str = "ca-passphrase";

/// A passphrase in memory; wiped when it is dropped, never shown.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
pub enum PassphraseError {
    /// The file or credential could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Everybody may read the file.
    #[error("everybody may read the secret in {}: run `chmod 600 {}`", path.display(), path.display())]
    Readable {
        /// Which file.
        path: PathBuf,
    },
    /// There is no terminal to ask at.
    #[error(
        "there is no terminal to ask for the passphrase: name a file that holds it (`passphrase_file` \
         in controller.yaml; --root-passphrase-file for the root), or give the systemd credential \
         {CREDENTIAL} with LoadCredential="
    )]
    Terminal(#[source] io::Error),
    /// Nothing was given.
    #[error("the secret that was given is empty")]
    Empty,
    /// A new one is too short to protect a key.
    #[error("the passphrase has {characters} characters: use at least {MIN_CHARACTERS}")]
    TooShort {
        /// How many it has.
        characters: usize,
    },
    /// The two entries differ.
    #[error("the two passphrases differ: try again")]
    Differ,
}

/// Where a passphrase comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PassphraseSource {
    /// The first line of this file.
    File(PathBuf),
    /// The credential `ca-passphrase` in systemd's `$CREDENTIALS_DIRECTORY`.
    Credential(PathBuf),
    /// A person at the terminal.
    Prompt,
}

impl Passphrase {
    /// A passphrase for new keys.
    ///
    /// # Errors
    /// If it is shorter than 12 characters.
    pub fn new(text: &str) -> Result<Self, PassphraseError> {
        let characters = text.chars().count();
        if characters < MIN_CHARACTERS {
            return Err(PassphraseError::TooShort { characters });
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// A random passphrase, for a demo or a test: 160 bits.
    ///
    /// # Errors
    /// If the operating system gives no random numbers.
    pub fn random() -> Result<Self, crate::IdentityError> {
        let bytes = Zeroizing::new(crate::tokens::random::<20>()?);
        Ok(Self(Zeroizing::new(
            data_encoding::BASE32_NOPAD.encode(bytes.as_slice()),
        )))
    }

    /// The text itself, for example to write it into a credential file.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Passphrase(…)")
    }
}

impl PassphraseSource {
    /// The file if one is named, else the credential if `credentials_directory` (the value of
    /// `$CREDENTIALS_DIRECTORY`) has it, else the terminal.
    #[must_use]
    pub fn choose(file: Option<PathBuf>, credentials_directory: Option<&Path>) -> Self {
        if let Some(file) = file {
            return Self::File(file);
        }
        match credentials_directory.map(|directory| directory.join(CREDENTIAL)) {
            Some(path) if path.exists() => Self::Credential(path),
            _ => Self::Prompt,
        }
    }

    /// The passphrase of a key that exists. `what` names the key to a person at the terminal.
    ///
    /// # Errors
    /// If there is none to be had from this source.
    pub fn read(&self, what: &str) -> Result<Passphrase, PassphraseError> {
        let text = match self {
            Self::File(path) => read_file(path, true)?,
            // systemd guards the folder, and newer versions grant access by an ACL that the mode
            // bits mistake for a readable file.
            Self::Credential(path) => read_file(path, false)?,
            Self::Prompt => read_secret(&format!("Passphrase of {what}: "))
                .map_err(PassphraseError::Terminal)?,
        };
        if text.is_empty() {
            return Err(PassphraseError::Empty);
        }
        Ok(Passphrase(text))
    }

    /// The passphrase of a key that is about to be made; at the terminal it is asked for twice.
    ///
    /// # Errors
    /// If there is none to be had, or it is too short.
    pub fn read_new(&self, what: &str) -> Result<Passphrase, PassphraseError> {
        let first = self.read(&format!("{what}, at least {MIN_CHARACTERS} characters"))?;
        if matches!(self, Self::Prompt) {
            let second = read_secret("The same again: ").map_err(PassphraseError::Terminal)?;
            if first.0 != second {
                return Err(PassphraseError::Differ);
            }
        }
        Passphrase::new(&first.0)
    }
}

/// Asks at the terminal without showing what is typed; standard input and output may be redirected.
///
/// # Errors
/// If there is no terminal, or the person presses Ctrl-C (`Interrupted`).
pub fn read_secret(question: &str) -> io::Result<Zeroizing<String>> {
    let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
    let before = termios::tcgetattr(&terminal)?;
    let mut silent = before.clone();
    // Without ISIG a Ctrl-C arrives as a byte, so that the terminal is never left silent.
    silent
        .local_modes
        .remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
    terminal.write_all(question.as_bytes())?;
    termios::tcsetattr(&terminal, OptionalActions::Flush, &silent)?;
    let restore = Restore {
        terminal: terminal.try_clone()?,
        before,
    };
    let answer = read_line(&mut terminal);
    drop(restore);
    terminal.write_all(b"\n")?;
    answer
}

/// Gives the terminal its settings back, however the reading ends.
struct Restore {
    terminal: File,
    before: Termios,
}

impl Drop for Restore {
    fn drop(&mut self) {
        if termios::tcsetattr(&self.terminal, OptionalActions::Flush, &self.before).is_err() {
            // The terminal is gone; there is nothing to restore and nobody to tell.
        }
    }
}

/// Reads keys up to Enter; Backspace takes one back, Ctrl-U all, Ctrl-C gives up.
fn read_line(input: &mut impl Read) -> io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(Vec::with_capacity(256));
    let mut key = [0];
    loop {
        if input.read(&mut key)? == 0 {
            break;
        }
        match key[0] {
            b'\r' | b'\n' | 0x04 => break,
            0x03 => return Err(io::ErrorKind::Interrupted.into()),
            0x15 => line.clear(),
            0x08 | 0x7f => while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            byte if (line.len() as u64) < MAX_BYTES => line.push(byte),
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        }
    }
    let text = str::from_utf8(&line).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn read_file(path: &Path, check_mode: bool) -> Result<Zeroizing<String>, PassphraseError> {
    let failed = |source| PassphraseError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    if check_mode && mode & 0o004 != 0 {
        return Err(PassphraseError::Readable {
            path: path.to_owned(),
        });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_BYTES)
        .read_to_string(&mut text)
        .map_err(failed)?;
    Ok(Zeroizing::new(
        text.lines().next().unwrap_or_default().to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(CREDENTIAL);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    #[test]
    fn a_file_gives_its_first_line_if_not_everybody_may_read_it() {
        let (_folder, path) = file("a long passphrase\nnot this\n", 0o640);
        let source = PassphraseSource::File(path);
        assert_eq!(source.read("x").unwrap().reveal(), "a long passphrase");
        let (_folder, path) = file("a long passphrase\n", 0o644);
        let refused = PassphraseSource::File(path.clone()).read("x").unwrap_err();
        assert!(refused.to_string().contains("chmod 600"), "{refused}");
        assert!(PassphraseSource::Credential(path).read("x").is_ok());
    }

    #[test]
    fn an_empty_short_or_missing_passphrase_is_refused() {
        let (_folder, path) = file("\n", 0o600);
        assert!(matches!(
            PassphraseSource::File(path).read("x"),
            Err(PassphraseError::Empty)
        ));
        let (_folder, path) = file("short", 0o600);
        let source = PassphraseSource::File(path);
        assert!(source.read("x").is_ok(), "an old key may have a short one");
        let new = source.read_new("x");
        assert!(matches!(
            new,
            Err(PassphraseError::TooShort { characters: 5 })
        ));
        let missing = PassphraseSource::File("/nonexistent/file".into()).read("x");
        assert!(matches!(missing, Err(PassphraseError::Read { .. })));
    }

    #[test]
    fn a_named_file_wins_over_the_credential_and_that_over_the_terminal() {
        let (folder, path) = file("a long passphrase", 0o600);
        let named = PathBuf::from("/some/file");
        let choose = PassphraseSource::choose;
        assert_eq!(
            choose(Some(named.clone()), Some(folder.path())),
            PassphraseSource::File(named)
        );
        assert_eq!(
            choose(None, Some(folder.path())),
            PassphraseSource::Credential(path)
        );
        assert_eq!(
            choose(None, Some(Path::new("/nonexistent"))),
            PassphraseSource::Prompt
        );
        assert_eq!(choose(None, None), PassphraseSource::Prompt);
    }

    #[test]
    fn typing_can_be_corrected_and_given_up() {
        let read = |keys: &str| read_line(&mut keys.as_bytes());
        assert_eq!(read("secret\nrest").unwrap().as_str(), "secret");
        assert_eq!(read("中国x\u{7f}\u{7f}\r").unwrap().as_str(), "中");
        assert_eq!(read("wrong\u{15}right\r").unwrap().as_str(), "right");
        assert_eq!(
            read("half\u{3}").unwrap_err().kind(),
            io::ErrorKind::Interrupted
        );
        assert_eq!(read("\u{7f}\u{7f}\n").unwrap().as_str(), "");
        assert!(read(&"x".repeat(5000)).is_err());
    }

    #[test]
    fn a_passphrase_never_shows_itself() {
        let passphrase = Passphrase::new("a long passphrase").unwrap();
        assert_eq!(format!("{passphrase:?}"), "Passphrase(…)");
        assert_eq!(Passphrase::random().unwrap().reveal().len(), 32);
    }
}
