//! Parquet written behind the contract's back, as another program, a damaged disk or an enemy would.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use schema::Row;
use schema::footer::{self, Embedder, Footer};

/// The footer that a stage would write; `dim` is 0 for tables without vectors.
pub(crate) fn footer<R: Row>(dim: usize) -> Footer {
    let embedder = |dim| Embedder {
        name: "sface".into(),
        dim,
        weights_sha256: "0".repeat(64),
        license: "Apache-2.0".into(),
        same_up_to: None,
        similarity: None,
        quality: None,
    };
    Footer {
        table: R::TABLE.name.into(),
        version: R::TABLE.version.into(),
        producer: "test".into(),
        run_id: "run".into(),
        fingerprint: "f".into(),
        embedders: (dim > 0).then(|| embedder(dim)).into_iter().collect(),
        picture: None,
    }
}

/// A table that is about to be written, columns and footer open to every change.
#[derive(Debug, Clone)]
pub(crate) struct Raw {
    columns: Vec<(Field, ArrayRef)>,
    keys: Vec<KeyValue>,
    compression: Compression,
}

impl Raw {
    /// The table as it should be.
    pub(crate) fn of<R: Row>(rows: &[R], dim: usize) -> Self {
        let fields = R::TABLE.arrow(dim).fields().clone();
        let arrays = R::to_arrays(rows, dim).unwrap();
        let fields = fields.iter().map(|field| field.as_ref().clone());
        let json = serde_json::to_string(&footer::<R>(dim)).unwrap();
        Self {
            columns: fields.zip(arrays).collect(),
            keys: vec![KeyValue::new(footer::KEY.into(), json)],
            compression: Compression::UNCOMPRESSED,
        }
    }

    /// Replaces a column, or adds one.
    pub(crate) fn set(mut self, name: &str, array: ArrayRef) -> Self {
        let field = Field::new(name, array.data_type().clone(), true);
        match self.columns.iter_mut().find(|(field, _)| field.name() == name) {
            Some(column) => *column = (field, array),
            None => self.columns.push((field, array)),
        }
        self
    }

    /// Drops a column.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.columns.retain(|(field, _)| field.name() != name);
        self
    }

    /// The columns in the opposite order.
    pub(crate) fn reversed(mut self) -> Self {
        self.columns.reverse();
        self
    }

    /// The value of a column.
    pub(crate) fn column(&self, name: &str) -> ArrayRef {
        let (_, array) = self.columns.iter().find(|(field, _)| field.name() == name).unwrap();
        Arc::clone(array)
    }

    /// Replaces every footer key.
    pub(crate) fn keys(mut self, keys: &[(&str, Option<&str>)]) -> Self {
        let key = |(key, value): &(&str, Option<&str>)| KeyValue {
            key: (*key).to_owned(),
            value: value.map(str::to_owned),
        };
        self.keys = keys.iter().map(key).collect();
        self
    }

    /// Replaces the JSON under the footer key.
    pub(crate) fn footer(self, json: &str) -> Self {
        self.keys(&[(footer::KEY, Some(json))])
    }

    /// Replaces one field of the JSON under the footer key.
    pub(crate) fn footer_field(self, name: &str, value: serde_json::Value) -> Self {
        let json = self.keys.first().and_then(|key| key.value.clone()).unwrap();
        let mut footer: serde_json::Value = serde_json::from_str(&json).unwrap();
        footer[name] = value;
        self.footer(&footer.to_string())
    }

    /// Compresses as another writer would.
    pub(crate) fn compressed(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Writes the file, unchecked.
    pub(crate) fn write(self, path: &Path) {
        let (fields, arrays): (Vec<_>, Vec<_>) = self.columns.into_iter().unzip();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
        let properties = WriterProperties::builder()
            .set_compression(self.compression)
            .set_key_value_metadata(Some(self.keys))
            .build();
        let mut writer =
            ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }
}
