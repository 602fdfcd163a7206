//! Encryption at rest: the key, and what is encrypted with it.
//!
//! Tables are encrypted by Parquet Modular Encryption (AES-GCM): every page, every header and the footer, each
//! authenticated with its place in the file. One key of 256 bits encrypts all columns and the footer, which is the mode
//! that PyArrow, DuckDB and this program have in common. A file names its key by an [identifier](Key::id).
//!
//! A process has one key at most, [`use_key`]. With a key it reads and writes encrypted tables only, so that everything
//! that it reads was written by a holder of the key; without a key it reads and writes plain tables only.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array as _, BinaryArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use failure::catch_panic;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::encryption::decrypt::FileDecryptionProperties;
use parquet::encryption::encrypt::FileEncryptionProperties;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};

use crate::error::{Error, Result};

/// Length of a key that [`Key::create`] makes, bytes.
const KEY_BYTES: usize = 32;
/// Lengths of keys that are read, bytes: those of AES-128 and AES-256.
const LENGTHS: [usize; 2] = [16, KEY_BYTES];
/// Largest size of a key file, bytes: a key and white space.
const MAX_KEY_FILE: u64 = 1024;
/// Digits of an identifier.
const ID_DIGITS: usize = 16;
/// What stands before the identifier in a file.
const MARK: &[u8] = b"facetrack-key:";
/// Beginning and end of a file with an encrypted footer.
const ENCRYPTED: &[u8; 4] = b"PARE";
/// Bytes at the beginning of the metadata of a file among which the identifier stands: the algorithm takes about 20.
const MAX_BEFORE_ID: usize = 256;
/// Largest sealed file, bytes: a gigabyte of JSON is no record of people.
const MAX_SEALED: usize = 1 << 30;

/// A key of AES-GCM. Its text form shows the identifier only.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    bytes: Vec<u8>,
    id: String,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

impl Key {
    fn of(bytes: Vec<u8>) -> Self {
        // A key has too many bits to be guessed from a part of its hash.
        let hash = hash::bytes(&[b"facetrack key identifier 1\0".as_slice(), &bytes].concat());
        Self { id: hash.get(..ID_DIGITS).unwrap_or_default().to_owned(), bytes }
    }

    /// Makes a random key.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn random() -> Result<Self> {
        let mut bytes = vec![0; KEY_BYTES];
        let failed =
            |e: getrandom::Error| Error::io("read", "/dev/urandom")(std::io::Error::other(e.to_string()));
        getrandom::getrandom(&mut bytes).map_err(failed)?;
        Ok(Self::of(bytes))
    }

    /// Writes a random key into a new file that only the user can read: 44 characters of Base64 and a line feed.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        let key = Self::random()?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let mut file = file.map_err(Error::io("create", path))?;
        let text = format!("{}\n", STANDARD.encode(&key.bytes));
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(Error::io("write", path))?;
        Ok(key)
    }

    /// Reads a key file: the Base64 of 32 or 16 bytes, and white space.
    ///
    /// # Errors
    /// When the file cannot be read or is no key. The error does not have its content.
    pub fn read(path: &Path) -> Result<Self> {
        let wrong = |reason: String| Error::KeyFile { path: path.to_path_buf(), reason };
        // Opening a pipe would wait for a writer.
        if !fs::metadata(path).map_err(|e| wrong(e.to_string()))?.is_file() {
            return Err(wrong("it is not a regular file".into()));
        }
        let mut text = Vec::new();
        let file = File::open(path).map_err(|e| wrong(e.to_string()))?;
        file.take(MAX_KEY_FILE).read_to_end(&mut text).map_err(|e| wrong(e.to_string()))?;
        let bytes = STANDARD.decode(text.trim_ascii()).ok().filter(|bytes| LENGTHS.contains(&bytes.len()));
        bytes.map(Self::of).ok_or_else(|| wrong("it is not the Base64 of 32 or 16 bytes".into()))
    }

    /// Identifier of the key, 16 hexadecimal digits of a hash. It is no secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Settings of a writer that encrypts with the key.
    pub(crate) fn encrypt(
        &self,
        properties: WriterPropertiesBuilder,
    ) -> parquet::errors::Result<WriterPropertiesBuilder> {
        let mark = [MARK, self.id.as_bytes()].concat();
        let encryption =
            FileEncryptionProperties::builder(self.bytes.clone()).with_footer_key_metadata(mark).build()?;
        Ok(properties.with_file_encryption_properties(encryption))
    }

    /// Settings of a reader that decrypts with the key.
    fn decrypt(&self) -> parquet::errors::Result<Arc<FileDecryptionProperties>> {
        FileDecryptionProperties::builder(self.bytes.clone()).build()
    }
}

static KEY: OnceLock<Key> = OnceLock::new();

/// Sets, once, the key of this process.
pub fn use_key(key: Key) {
    // A second call would come from a second command line, which a process does not have.
    let _ = KEY.set(key);
}

/// The key of this process; `None` without encryption.
pub fn key() -> Option<&'static Key> {
    KEY.get()
}

/// Identifier of the key of this process; `None` without encryption.
pub fn key_id() -> Option<&'static str> {
    key().map(Key::id)
}

/// Identifier of the key with which a file is encrypted, as far as the file says: empty for a file that another program
/// encrypted; `None` for a file that is not encrypted, or is no Parquet file.
///
/// # Errors
/// When the file cannot be read.
pub fn id_of(path: &Path) -> Result<Option<String>> {
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    found_id(&mut file).map_err(Error::io("read", path))
}

fn found_id(file: &mut File) -> std::io::Result<Option<String>> {
    let size = file.metadata()?.len();
    let mut ends = [0; 12];
    if size < ends.len() as u64 {
        return Ok(None);
    }
    file.rewind()?;
    file.read_exact(&mut ends[..4])?;
    file.seek(SeekFrom::End(-8))?;
    file.read_exact(&mut ends[4..])?;
    file.rewind()?;
    let [head, length, tail] = [0, 4, 8].map(|at| [ends[at], ends[at + 1], ends[at + 2], ends[at + 3]]);
    if head != *ENCRYPTED && tail != *ENCRYPTED {
        return Ok(None);
    }
    let from_end = i64::from(u32::from_le_bytes(length)) + 8;
    let mut start = Vec::new();
    if u64::try_from(from_end).is_ok_and(|from_end| from_end <= size) {
        file.seek(SeekFrom::End(-from_end))?;
        Read::by_ref(file).take(MAX_BEFORE_ID as u64).read_to_end(&mut start)?;
        file.rewind()?;
    }
    let at = start.windows(MARK.len()).position(|part| part == MARK).map(|at| at + MARK.len());
    let id =
        at.and_then(|at| start.get(at..at + ID_DIGITS)).map(|id| String::from_utf8_lossy(id).into_owned());
    Ok(Some(id.filter(|id| id.bytes().all(|b| b.is_ascii_hexdigit())).unwrap_or_default()))
}

/// Fails unless a file is encrypted with the key or, without a key, is not encrypted.
///
/// # Errors
/// [`Error::NoKey`], [`Error::WrongKey`], [`Error::NotEncrypted`].
pub fn check(path: &Path, found: Option<&str>, key: Option<&Key>) -> Result<()> {
    let path = || path.to_path_buf();
    match (found, key) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err(Error::NotEncrypted { path: path() }),
        (Some(_), None) => Err(Error::NoKey { path: path() }),
        // Another program may leave out the identifier; whether the key is the right one shows when the file is read.
        (Some(found), Some(key)) if found.is_empty() || found == key.id => Ok(()),
        (Some(found), Some(key)) => {
            Err(Error::WrongKey { path: path(), found: found.to_owned(), given: key.id.clone() })
        }
    }
}

/// A Parquet file that is opened with a key, or without.
pub(crate) fn open(
    file: File,
    path: &Path,
    key: Option<&Key>,
) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let mut file = file;
    let found = found_id(&mut file).map_err(Error::io("read", path))?;
    // What is no Parquet file at all is reported as such.
    if key.is_none() || found.is_some() || is_plain(&mut file).map_err(Error::io("read", path))? {
        check(path, found.as_deref(), key)?;
    }
    let opened = catch_panic(|| {
        let options = match key {
            Some(key) => ArrowReaderOptions::new().with_file_decryption_properties(key.decrypt()?),
            None => ArrowReaderOptions::new(),
        };
        ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)
    });
    let reason = match opened {
        Ok(Ok(builder)) => return Ok(builder),
        Ok(Err(_)) if key.is_some() && found.is_some() => {
            "it cannot be decrypted with the key: it was changed or damaged".into()
        }
        Ok(Err(error)) => error.to_string(),
        Err(words) => format!("the Parquet reader failed: {words}"),
    };
    Err(Error::NotParquet { path: path.to_path_buf(), reason })
}

/// Whether a file begins as a Parquet file without encryption does.
fn is_plain(file: &mut File) -> std::io::Result<bool> {
    let mut head = Vec::new();
    Read::by_ref(file).take(4).read_to_end(&mut head)?;
    file.rewind()?;
    Ok(head == b"PAR1")
}

/// Returns the content of a file that is no table, for writing: with a key a Parquet file with one encrypted value, the
/// column `content`; without a key the content as it is.
///
/// # Errors
/// When encryption fails.
pub fn seal(content: &[u8], key: Option<&Key>) -> Result<Vec<u8>> {
    let Some(key) = key else { return Ok(content.to_vec()) };
    let failed = |e: String| Error::io("encrypt", "the content of a file")(std::io::Error::other(e));
    let schema = Arc::new(Schema::new(vec![Field::new("content", DataType::Binary, false)]));
    let column = Arc::new(BinaryArray::from(vec![content]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column]).map_err(|e| failed(e.to_string()))?;
    let written = || {
        let properties = WriterProperties::builder()
            .set_created_by(crate::io::PRODUCER.to_owned())
            .set_dictionary_enabled(false)
            .set_statistics_enabled(parquet::file::properties::EnabledStatistics::None);
        let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(key.encrypt(properties)?.build()))?;
        writer.write(&batch)?;
        writer.into_inner()
    };
    written().map_err(|e: parquet::errors::ParquetError| failed(e.to_string()))
}

/// Returns the content that [`seal`] put into a file.
///
/// # Errors
/// When the file cannot be read, or is not encrypted with the key.
pub fn unseal(path: &Path, key: Option<&Key>) -> Result<Vec<u8>> {
    let Some(key) = key else { return fs::read(path).map_err(Error::io("read", path)) };
    let not_parquet = |reason: String| Error::NotParquet { path: path.to_path_buf(), reason };
    let file = File::open(path).map_err(Error::io("read", path))?;
    let builder = open(file, path, Some(key))?;
    let size = builder.metadata().row_groups().iter().map(|group| group.total_byte_size()).sum::<i64>();
    if !usize::try_from(size).is_ok_and(|size| size <= MAX_SEALED) {
        return Err(not_parquet(format!("its content is larger than {MAX_SEALED} bytes")));
    }
    let batch = catch_panic(|| builder.with_batch_size(1).build()?.next().transpose().map_err(Into::into));
    let batch: parquet::errors::Result<Option<RecordBatch>> = batch.map_err(not_parquet)?;
    let batch = batch.map_err(|e| not_parquet(e.to_string()))?;
    let column = batch.as_ref().and_then(|batch| batch.column_by_name("content"));
    let content = column.and_then(|column| column.as_any().downcast_ref::<BinaryArray>());
    let content = content.filter(|content| content.len() == 1).map(|content| content.value(0).to_vec());
    content.ok_or_else(|| not_parquet("it has no content".into()))
}
