//! Encrypted tables: the rows of a plain one with the key, and nothing without it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use failure::Failure as _;
use schema::Row;
use schema::crypt::{self, Key};
use schema::error::Error;
use schema::io::{TableWriter, encrypt_again, open_with, read_all};
use schema::tables::{Crop, Frame, TrackEmbedding};
use tempfile::TempDir;

use crate::raw::footer;
use crate::rows::{self, DIM};

struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn write<R: Row + Clone>(path: &Path, rows: &[R], dim: usize, key: Option<&Key>) {
    let mut writer = TableWriter::create_with(path, &footer::<R>(dim), key).unwrap();
    rows.iter().cloned().try_for_each(|row| writer.push(row)).unwrap();
    writer.finish().unwrap();
}

fn read<R: Row + Clone>(path: &Path, key: Option<&Key>) -> schema::Result<Vec<R>> {
    let mut rows = Vec::new();
    for batch in open_with::<R>(path, None, key)? {
        rows.extend(batch?);
    }
    Ok(rows)
}

fn crops(n: i64) -> Vec<Crop> {
    (0..n).map(|track| rows::crop(track, 0)).collect()
}

#[test]
fn the_key_gives_the_rows_and_the_footer() {
    let (place, key) = (Place::new(), Key::random().unwrap());
    let path = place.at("crops.parquet");
    let all = crops(600);
    write(&path, &all, 0, Some(&key));
    assert_eq!(read::<Crop>(&path, Some(&key)).unwrap(), all);
    let reader = open_with::<Crop>(&path, None, Some(&key)).unwrap();
    assert_eq!((reader.footer(), reader.row_count()), (&footer::<Crop>(0), 600));
    // Some row groups only, whose encryption has their place in the file.
    let some = BTreeSet::from([300]);
    let rows: Vec<Crop> =
        open_with(&path, Some(("track_id", &some)), Some(&key)).unwrap().flat_map(Result::unwrap).collect();
    assert_eq!(rows, all[256..512]);
    assert_eq!(crypt::id_of(&path).unwrap().as_deref(), Some(key.id()));
    let embeddings: Vec<TrackEmbedding> = vec![rows::track_embedding(0), rows::track_embedding(1)];
    write(&path, &embeddings, DIM, Some(&key));
    assert_eq!(read::<TrackEmbedding>(&path, Some(&key)).unwrap(), embeddings);
    write::<Frame>(&path, &[], 0, Some(&key));
    assert_eq!(read::<Frame>(&path, Some(&key)).unwrap(), []);
}

#[test]
fn no_key_a_wrong_key_and_a_key_too_many_are_refused_with_a_hint() {
    let (place, key, other) = (Place::new(), Key::random().unwrap(), Key::random().unwrap());
    let (path, plain) = (place.at("frames.parquet"), place.at("plain.parquet"));
    let all: Vec<Frame> = (0..9).map(rows::frame).collect();
    write(&path, &all, 0, Some(&key));
    write(&plain, &all, 0, None);
    let refused = |result: schema::Result<Vec<Frame>>| {
        let error = result.unwrap_err();
        assert_eq!(error.exit_code(), 3, "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("--encryption-key")), "{error}");
        error.to_string().replace(&place.folder.path().display().to_string(), "$PATH")
    };
    assert_eq!(refused(read(&path, None)), "`$PATH/frames.parquet` is encrypted, and no key is given");
    assert_eq!(
        refused(read(&path, Some(&other))),
        format!(
            "`$PATH/frames.parquet` is encrypted with the key {}, and the given key is {}",
            key.id(),
            other.id()
        )
    );
    assert_eq!(
        refused(read(&plain, Some(&key))),
        "`$PATH/plain.parquet` is not encrypted, and a key is given"
    );
    // The process of the test has no key.
    assert!(matches!(read_all::<Frame>(&path), Err(Error::NoKey { .. })));
    fs::write(&plain, "no table").unwrap();
    assert!(matches!(read::<Frame>(&plain, Some(&key)), Err(Error::NotParquet { .. })));
}

/// A file that claims to have another key, and one that does not say which key it has.
#[test]
fn a_key_that_is_not_the_right_one_is_found_out_by_the_footer() {
    let (place, key, other) = (Place::new(), Key::random().unwrap(), Key::random().unwrap());
    let path = place.at("frames.parquet");
    write(&path, &[rows::frame(0)], 0, Some(&key));
    let bytes = fs::read(&path).unwrap();
    let at = bytes.windows(16).position(|part| part == key.id().as_bytes()).unwrap();
    for claimed in [other.id(), "no digits at all"] {
        let mut bytes = bytes.clone();
        bytes[at..at + 16].copy_from_slice(claimed.as_bytes());
        fs::write(&path, bytes).unwrap();
        let error = read::<Frame>(&path, Some(&other)).unwrap_err();
        assert!(
            error.to_string().ends_with("it cannot be decrypted with the key: it was changed or damaged")
        );
        assert_eq!(error.exit_code(), 4);
    }
}

#[test]
fn what_is_encrypted_is_not_in_the_file() {
    let (place, key) = (Place::new(), Key::random().unwrap());
    let path = place.at("table.parquet");
    let has = |what: &[u8]| fs::read(&path).unwrap().windows(what.len()).any(|part| part == what);
    // Pictures do not compress.
    let image: Vec<u8> = (0..4000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let rows = [Crop { image: Some(image.clone()), ..rows::crop(0, 0) }];
    write(&path, &rows, 0, None);
    assert!(has(b"facetrack") && has(&image[100..116]), "the test finds what is there");
    write(&path, &rows, 0, Some(&key));
    assert!(!has(&image[100..116]) && !has(b"image") && !has(b"crops") && !has(b"track_id"));
}

/// Not one byte can be changed, left out or added without an error, whatever was read before.
#[test]
fn a_changed_byte_is_an_error_and_never_other_rows() {
    let (place, key) = (Place::new(), Key::random().unwrap());
    let path = place.at("frames.parquet");
    let all: Vec<Frame> = (0..40).map(rows::frame).collect();
    write(&path, &all, 0, Some(&key));
    let good = fs::read(&path).unwrap();
    let mut unnoticed = Vec::new();
    for at in (0..good.len()).step_by(3) {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, bytes).unwrap();
        match catch_unwind(|| read::<Frame>(&path, Some(&key))) {
            Ok(Ok(rows)) => {
                assert_eq!(rows, all, "byte {at}");
                unnoticed.push(at);
            }
            Ok(Err(_)) => {}
            Err(_) => panic!("byte {at} makes the reader panic"),
        }
    }
    // The reader needs neither the head of the file nor the index of pages, which is between pages and footer.
    let is_one_piece = unnoticed.windows(2).skip(2).filter(|pair| pair[1] > pair[0] + 30).count() == 0;
    assert!(is_one_piece && unnoticed.len() < good.len() / 12, "{} of {}", unnoticed.len(), good.len());
    for length in (0..good.len()).step_by(31) {
        fs::write(&path, &good[..length]).unwrap();
        assert!(read::<Frame>(&path, Some(&key)).is_err(), "{length} bytes");
    }
}

#[test]
fn another_key_and_none_leave_every_byte_that_a_writer_without_a_key_writes() {
    let (place, keys) = (Place::new(), [Key::random().unwrap(), Key::random().unwrap()]);
    let at = |name: &str| place.at(name);
    let all = crops(600);
    write(&at("plain"), &all, 0, None);
    encrypt_again(&at("plain"), &at("one"), [None, Some(&keys[0])]).unwrap();
    encrypt_again(&at("one"), &at("two"), [Some(&keys[0]), Some(&keys[1])]).unwrap();
    encrypt_again(&at("two"), &at("again"), [Some(&keys[1]), None]).unwrap();
    assert_eq!(read::<Crop>(&at("two"), Some(&keys[1])).unwrap(), all);
    assert!(read::<Crop>(&at("two"), Some(&keys[0])).is_err());
    assert!(fs::read(at("again")).unwrap() == fs::read(at("plain")).unwrap());
    assert!(encrypt_again(&at("two"), &at("three"), [Some(&keys[0]), None]).is_err());
    // With dictionaries and vectors.
    let embeddings: Vec<TrackEmbedding> = (0..5).map(rows::track_embedding).collect();
    write(&at("plain"), &embeddings, DIM, None);
    encrypt_again(&at("plain"), &at("one"), [None, Some(&keys[0])]).unwrap();
    encrypt_again(&at("one"), &at("again"), [Some(&keys[0]), None]).unwrap();
    assert!(fs::read(at("again")).unwrap() == fs::read(at("plain")).unwrap());
}

#[test]
fn files_that_are_no_tables_are_sealed() {
    let (place, key, other) = (Place::new(), Key::random().unwrap(), Key::random().unwrap());
    let path = place.at("sealed");
    for content in [b"".as_slice(), b"{\"people\": [\"Ida\"]}", &[7; 100_000]] {
        let sealed = crypt::seal(content, Some(&key)).unwrap();
        assert!(!sealed.windows(3).any(|part| part == b"Ida"));
        fs::write(&path, sealed).unwrap();
        assert_eq!(crypt::unseal(&path, Some(&key)).unwrap(), content);
        assert!(crypt::unseal(&path, Some(&other)).is_err());
    }
    fs::write(&path, crypt::seal(b"plain", None).unwrap()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"plain");
    assert_eq!(crypt::unseal(&path, None).unwrap(), b"plain");
}

#[test]
fn a_key_file_is_private_new_and_never_quoted() {
    let place = Place::new();
    let path = place.at("key");
    let key = Key::create(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(Key::read(&path).unwrap(), key);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.len(), 45);
    assert!(Key::create(&path).is_err(), "a key is not overwritten");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    assert_eq!(format!("{key:?}"), format!("Key({})", key.id()));
    let secret = text.trim();
    for content in
        [&secret[..40], &format!("{secret}{secret}"), "", "päss phrase", &format!("-{}", &secret[1..])]
    {
        fs::write(&path, content).unwrap();
        let error = Key::read(&path).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(content.is_empty() || !error.to_string().contains(content), "{error}");
    }
    fs::write(&path, "AAAAAAAAAAAAAAAAAAAAAA==").unwrap();
    assert_eq!(Key::read(&path).unwrap().id(), "e1b08bc74d483acd".to_owned());
    assert!(Key::read(&place.at("missing")).is_err());
}
