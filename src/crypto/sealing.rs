//! Keys at rest. Each is sealed as JWE (`dir`, A256GCM; RFC 7516) under a master key that is not in the database.
//!
//! The protected header names the master key (`kid`), the purpose (`purpose`) and the sealed key (`sealed_kid`), so a
//! sealed key cannot be moved to another row.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::jwe::{self, JweHeader};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use super::{digest, random};
use jeton_oauth::KeyId;

/// The lengths in octets of a master key, and of nonce and authentication tag of A256GCM.
const MASTER_KEY_LENGTH: usize = 32;

const NONCE_LENGTH: usize = 12;

const TAG_LENGTH: usize = 16;

/// What a sealed key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPurpose {
    /// Signs access tokens.
    Signing,
    /// Derives refresh tokens.
    Refresh,
    /// Names failure counters.
    Throttle,
    /// Seals stored password hashes.
    Data,
    /// Seals secrets of one-time passwords and names recovery codes.
    SecondFactor,
}

impl KeyPurpose {
    /// The word in the JWE's header and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Signing => "signing",
            Self::Refresh => "refresh",
            Self::Throttle => "throttle",
            Self::Data => "data",
            Self::SecondFactor => "second_factor",
        }
    }

    /// The purpose with this word.
    #[must_use]
    pub fn find(word: &str) -> Option<Self> {
        let all = [Self::Signing, Self::Refresh, Self::Throttle, Self::SecondFactor, Self::Data];
        all.into_iter().find(|purpose| purpose.as_str() == word)
    }
}

/// A master key cannot be read or made, or a sealed key not opened. The text names setting, file and remedy.
#[derive(Debug, Error)]
pub enum SealingError {
    /// No file is named.
    #[error("--master-key-file names no file")]
    NoFile,
    /// The first master key cannot be made.
    #[error(
        "cannot make the master key {} (--master-key-file): {source}; {}",
        file.display(), remedy(source)
    )]
    NotMade {
        /// Its file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A master key was to be made where a file exists already.
    #[error(
        "{} (--master-key-file) exists, so no master key was made: a database may need the one that is \
         there; name another file",
        .0.display()
    )]
    Exists(PathBuf),
    /// A file cannot be read.
    #[error(
        "cannot read the master key {} (--master-key-file): {source}; without it the keys in the \
         database cannot be opened",
        file.display()
    )]
    NotRead {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file holds something else. The text does not repeat it, because it may be a key.
    #[error(
        "{} (--master-key-file) is not a master key as jeton makes it: put the right file back",
        .0.display()
    )]
    NoMasterKey(PathBuf),
    /// A sealed key was damaged or altered.
    #[error(
        "the {} key {id} in the database is damaged or was altered: restore the keys table from a \
         backup",
        purpose.as_str()
    )]
    Damaged {
        /// What it is for.
        purpose: KeyPurpose,
        /// Its name.
        id: KeyId,
    },
    /// A key is sealed under a master key that is missing.
    #[error(
        "the {} key {id} is sealed under the master key {master}, which is not in {} \
         (--master-key-file): put that key's file back, or name it as a second --master-key-file; only \
         if no copy of it is left, `jeton key revoke --lost`",
        purpose.as_str(), first_file.display()
    )]
    MasterMissing {
        /// What it is for.
        purpose: KeyPurpose,
        /// Its name.
        id: KeyId,
        /// The name of the master key.
        master: String,
        /// The file of the first master key.
        first_file: PathBuf,
    },
}

/// What to do about a master key that cannot be made.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "make the folder writable for this process, or name another file"
        }
        ErrorKind::WouldBlock => "start again when it is done; if nobody does, delete that file",
        _ => "mend that, or name a file elsewhere",
    }
}

/// The master keys. The first one seals, and all of them open.
pub struct MasterKeys {
    keys: Vec<MasterKey>,
    /// The file of the first one, for messages.
    first_file: PathBuf,
}

struct MasterKey {
    id: String,
    octets: Zeroizing<[u8; MASTER_KEY_LENGTH]>,
}

/// The file of a master key: a JWK (RFC 7518 §6.4) whose `kid` is its RFC 7638 thumbprint.
#[derive(Serialize, Deserialize)]
struct MasterKeyFile {
    kty: String,
    kid: String,
    k: String,
}

impl Drop for MasterKeyFile {
    fn drop(&mut self) {
        self.k.zeroize();
    }
}

impl std::fmt::Debug for MasterKeys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.keys.iter().map(|key| &key.id)).finish()
    }
}

impl MasterKeys {
    /// Reads the files. If nothing was sealed yet and the first file does not exist, it is made with mode 0600.
    /// Processes that start at the same time on one folder agree on one key.
    ///
    /// # Errors
    /// [`SealingError`], which names the setting and the file, and says what to do.
    pub fn load(files: &[PathBuf], anything_sealed: bool) -> Result<Self, SealingError> {
        let Some(first_file) = files.first() else {
            return Err(SealingError::NoFile);
        };
        if !anything_sealed && !first_file.exists() {
            create(first_file)?;
        }
        let keys = files.iter().map(|file| read(file)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { keys, first_file: first_file.clone() })
    }

    /// Makes a master key in a new file with mode 0600, and returns its name. A file that exists is left as
    /// it is.
    ///
    /// # Errors
    /// [`SealingError`], which names the file and what to do.
    pub fn make(file: &Path) -> Result<String, SealingError> {
        if !create(file)? {
            return Err(SealingError::Exists(file.to_owned()));
        }
        Ok(read(file)?.id)
    }

    /// The name of the first one, which seals.
    #[must_use]
    pub fn first(&self) -> &str {
        self.keys.first().map_or("", |key| &key.id)
    }

    /// Whether a master key of this name is among them.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.keys.iter().any(|key| key.id == id)
    }

    /// Seals the secret of a key.
    #[must_use]
    pub fn seal(&self, purpose: KeyPurpose, id: &KeyId, secret: &[u8]) -> String {
        let key = self.keys.first().expect("load refuses an empty list");
        seal(&key.octets, &key.id, (purpose.as_str(), id.as_str()), secret)
    }

    /// Opens a sealed key, if it was sealed for this purpose under this identifier.
    ///
    /// # Errors
    /// [`SealingError`], which names the missing master key or says what else is wrong.
    pub fn open(
        &self,
        purpose: KeyPurpose,
        id: &KeyId,
        sealed: &str,
    ) -> Result<Zeroizing<Vec<u8>>, SealingError> {
        let damaged = || SealingError::Damaged { purpose, id: id.clone() };
        let master = sealed_under(sealed).ok_or_else(damaged)?;
        let Some(key) = self.keys.iter().find(|key| key.id == master) else {
            return Err(SealingError::MasterMissing {
                purpose,
                id: id.clone(),
                master,
                first_file: self.first_file.clone(),
            });
        };
        open(&key.octets, (purpose.as_str(), id.as_str()), sealed).ok_or_else(damaged)
    }
}

/// Seals a secret under a key with this name. What is sealed is bound to a purpose and to the identifier of its row.
pub(super) fn seal(
    key: &[u8; MASTER_KEY_LENGTH],
    kid: &str,
    (purpose, id): (&str, &str),
    secret: &[u8],
) -> String {
    let mut header = JweHeader::new();
    header.set_content_encryption("A256GCM");
    header.set_key_id(kid);
    for (name, value) in [("purpose", purpose), ("sealed_kid", id)] {
        header.set_claim(name, Some(Value::from(value))).expect("a private header name");
    }
    let encrypter = jwe::Dir.encrypter_from_bytes(key).expect("a key of 256 bits");
    jwe::serialize_compact(secret, &header, &encrypter).expect("AES-GCM does not fail")
}

/// Opens what was sealed under a key for this purpose and identifier; `None` for anything else.
pub(super) fn open(
    key: &[u8; MASTER_KEY_LENGTH],
    (purpose, id): (&str, &str),
    sealed: &str,
) -> Option<Zeroizing<Vec<u8>>> {
    let header = Header::read(sealed).filter(|_| has_form(sealed))?;
    let decrypter = jwe::Dir.decrypter_from_bytes(key).expect("a key of 256 bits");
    let (secret, _) = jwe::deserialize_compact(sealed, &decrypter).ok()?;
    let secret = Zeroizing::new(secret);
    (header.purpose == purpose && header.sealed_kid == id).then_some(secret)
}

/// The protected header of a sealed key. Other members and algorithms are refused, so that a row cannot choose them
/// (RFC 8725 §3.1). josekit alone would accept another cipher, and compression.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    enc: String,
    kid: String,
    purpose: String,
    sealed_kid: String,
}

impl Header {
    fn read(sealed: &str) -> Option<Self> {
        let header = URL_SAFE_NO_PAD.decode(sealed.split('.').next()?).ok()?;
        let header: Self = serde_json::from_slice(&header).ok()?;
        (header.alg == "dir" && header.enc == "A256GCM").then_some(header)
    }
}

/// Whether nonce and authentication tag have the length of RFC 7518 §5.3. OpenSSL accepts a shortened tag, and its
/// binding panics without a nonce.
fn has_form(sealed: &str) -> bool {
    let parts: Vec<&str> = sealed.split('.').collect();
    let length = |part: &str| URL_SAFE_NO_PAD.decode(part).map_or(0, |octets| octets.len());
    matches!(parts[..], [_, "", nonce, _, tag]
        if length(nonce) == NONCE_LENGTH && length(tag) == TAG_LENGTH)
}

/// The `kid` of the master key that sealed this, as the header claims.
#[must_use]
pub fn sealed_under(sealed: &str) -> Option<String> {
    Header::read(sealed).map(|header| header.kid)
}

/// Makes a master key file that appears whole or not at all. If the file exists, or another process makes it
/// first, that one stays. Returns whether this call made the file.
fn create(path: &Path) -> Result<bool, SealingError> {
    let octets: Zeroizing<[u8; MASTER_KEY_LENGTH]> = Zeroizing::new(random::octets());
    let k = URL_SAFE_NO_PAD.encode(*octets);
    let file = MasterKeyFile { kty: "oct".to_owned(), kid: thumbprint(&k), k };
    let mut text = serde_json::to_vec_pretty(&file).expect("strings are JSON");
    text.push(b'\n');

    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let failed = |source| SealingError::NotMade { file: path.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let draft = folder.join(format!(".master-{}.draft", random::request_id()));
    let write = || {
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        out.write_all(&text)?;
        out.sync_all()?;
        let is_own = publish(&draft, path, |draft, path| std::fs::hard_link(draft, path))?;
        File::open(folder)?.sync_all()?;
        Ok(is_own)
    };
    let written = write();
    std::fs::remove_file(&draft).ok();
    text.zeroize();
    written.map_err(failed)
}

/// Gives a file its final name, unless there is a file of that name. Returns whether it did. Where the file system has no hard
/// links (FAT, some network and FUSE file systems), one process at a time may rename: the one that could
/// make a file beside.
fn publish(
    draft: &Path,
    path: &Path,
    link: impl Fn(&Path, &Path) -> io::Result<()>,
) -> io::Result<bool> {
    match link(draft, path) {
        Ok(()) => return Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
        Err(_) => {}
    }
    let mut claim = path.as_os_str().to_owned();
    claim.push(".being-made");
    let claim = Path::new(&claim);
    OpenOptions::new().write(true).create_new(true).open(claim).map_err(|error| {
        if error.kind() != ErrorKind::AlreadyExists {
            return error;
        }
        let sentence = format!("another process makes it, as {} says", claim.display());
        io::Error::new(ErrorKind::WouldBlock, sentence)
    })?;
    let renamed =
        if path.exists() { Ok(false) } else { std::fs::rename(draft, path).map(|()| true) };
    std::fs::remove_file(claim).ok();
    renamed
}

/// Reads a master key file and checks that its name is its thumbprint.
fn read(path: &Path) -> Result<MasterKey, SealingError> {
    let text = std::fs::read(path)
        .map(Zeroizing::new)
        .map_err(|source| SealingError::NotRead { file: path.to_owned(), source })?;
    let malformed = || SealingError::NoMasterKey(path.to_owned());
    let file: MasterKeyFile = serde_json::from_slice(&text).map_err(|_| malformed())?;
    let octets = URL_SAFE_NO_PAD.decode(&file.k).map(Zeroizing::new).map_err(|_| malformed())?;
    let octets: [u8; MASTER_KEY_LENGTH] = octets.as_slice().try_into().map_err(|_| malformed())?;
    if file.kty != "oct" || file.kid != thumbprint(&file.k) {
        return Err(malformed());
    }
    Ok(MasterKey { id: file.kid.clone(), octets: Zeroizing::new(octets) })
}

/// The RFC 7638 thumbprint of a symmetric key. It reveals nothing about 256 random bits.
fn thumbprint(k: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::sha256(format!(r#"{{"k":"{k}","kty":"oct"}}"#).as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new_keys() -> MasterKeys {
        let key = MasterKey { id: "m".to_owned(), octets: Zeroizing::new(random::octets()) };
        MasterKeys { keys: vec![key], first_file: PathBuf::from("master.jwk") }
    }

    #[test]
    fn what_was_sealed_opens_only_as_what_it_was() {
        let (keys, id) = (new_keys(), "a".parse::<KeyId>().expect("an id"));
        let sealed = keys.seal(KeyPurpose::Signing, &id, b"secret");
        let opened = keys.open(KeyPurpose::Signing, &id, &sealed).expect("the same key");
        assert_eq!(*opened, b"secret");
        assert_ne!(sealed, keys.seal(KeyPurpose::Signing, &id, b"secret"), "the nonce is random");

        let moved = keys.open(KeyPurpose::Signing, &"b".parse::<KeyId>().expect("an id"), &sealed);
        assert!(moved.is_err_and(|error| error.to_string().contains("altered")));
        let mut other = new_keys();
        assert!(
            other
                .open(KeyPurpose::Signing, &id, &sealed)
                .is_err_and(|error| error.to_string().contains("altered")),
            "a key of the same name but other octets"
        );
        other.keys[0].id = "n".to_owned();
        assert!(
            other
                .open(KeyPurpose::Signing, &id, &sealed)
                .is_err_and(|error| error.to_string().contains(" m,"))
        );
        let parts: Vec<&str> = sealed.split('.').collect();
        for (at, other) in [(1, "AAAA"), (2, ""), (2, "AAAA"), (4, ""), (4, "AAAA")] {
            let mut parts = parts.clone();
            parts[at] = other;
            let altered = keys.open(KeyPurpose::Signing, &id, &parts.join("."));
            assert!(altered.is_err_and(|error| error.to_string().contains("altered")), "part {at}");
        }
        for cut in 0..sealed.len() {
            assert!(keys.open(KeyPurpose::Signing, &id, &sealed[..cut]).is_err());
        }
    }

    #[test]
    fn one_process_makes_the_file_even_without_hard_links() {
        let no_links = |_: &Path, _: &Path| Err(io::Error::from_raw_os_error(1));
        let folder = std::env::temp_dir().join(format!("jeton-links-{}", random::request_id()));
        std::fs::create_dir(&folder).expect("a folder");
        let (path, claim) = (folder.join("master.jwk"), folder.join("master.jwk.being-made"));
        let publish = |text: &str| {
            let draft = folder.join(format!("draft-{text}"));
            std::fs::write(&draft, text).expect("a file");
            publish(&draft, &path, no_links)
        };
        std::fs::write(&claim, "").expect("a file");
        let error = publish("zero").expect_err("another process makes it");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert!(error.to_string().contains("master.jwk.being-made"), "{error}");
        assert!(!path.exists());
        std::fs::remove_file(&claim).expect("a file");
        assert!(publish("one").expect("the first"));
        assert!(!publish("two").expect("another won"));
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), "one");
        assert!(!claim.exists());
        std::fs::remove_dir_all(&folder).expect("a folder");
    }

    /// RFC 8725 §3.1: the row does not choose the algorithm, not even one that the master key was used with.
    #[test]
    fn a_header_that_says_anything_else_does_not_open() {
        let (keys, id) = (new_keys(), "a".parse::<KeyId>().expect("an id"));
        let seal = |cipher: &str, change: fn(&mut JweHeader)| {
            let mut header = JweHeader::new();
            header.set_content_encryption(cipher);
            header.set_key_id("m");
            for (name, value) in [("purpose", "signing"), ("sealed_kid", "a")] {
                header.set_claim(name, Some(Value::from(value))).expect("a private header name");
            }
            change(&mut header);
            let key = jwe::Dir.encrypter_from_bytes(*keys.keys[0].octets).expect("256 bits");
            jwe::serialize_compact(b"secret", &header, &key).expect("a sealed secret")
        };
        let opens = |sealed: &str| keys.open(KeyPurpose::Signing, &id, sealed).is_ok();
        assert!(opens(&seal("A256GCM", |_| ())));
        assert!(!opens(&seal("A128CBC-HS256", |_| ())));
        assert!(!opens(&seal("A256GCM", |header| header.set_compression("DEF"))));
        assert!(!opens(&seal("A256GCM", |header| header.set_content_type("JWT"))));

        let sealed = seal("A256GCM", |_| ());
        let (_, rest) = sealed.split_once('.').expect("five parts");
        let other =
            r#"{"alg":"dir","enc":"A128CBC-HS256","kid":"m","purpose":"signing","sealed_kid":"a"}"#;
        assert!(!opens(&format!("{}.{rest}", URL_SAFE_NO_PAD.encode(other))));
    }
}
