//! What a table is, and the two macros that declare tables and categories once, for everything:
//! Rust row, Arrow columns, checks, and published documents.

use std::cmp::Ordering;

use arrow::array::ArrayRef;
use arrow::datatypes::{Field, Schema};

use crate::cell::CellType;

/// A declared table.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Name, and file name without `.parquet`.
    pub name: &'static str,
    /// Semantic version. Major: a column removed, renamed, retyped, or its unit, meaning or
    /// default changed. Minor: a nullable column added.
    pub version: &'static str,
    /// Earlier names of the table, each with its last version; readers accept files of these names.
    pub former: &'static [(&'static str, &'static str)],
    /// The stage that writes it.
    pub producer: &'static str,
    /// One row per what.
    pub doc: &'static str,
    /// Rows are in strictly increasing order of these columns.
    pub sort_key: &'static [&'static str],
    /// Columns in file order.
    pub columns: &'static [Column],
}

/// A declared column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Name.
    pub name: &'static str,
    /// Type.
    pub cell: CellType,
    /// Whether it may be null; the documentation says what null means.
    pub nullable: bool,
    /// Meaning, unit, range.
    pub doc: &'static str,
}

impl Table {
    /// The Arrow schema; `dim` is the length of the unit vectors in this file (0 where there are none).
    pub fn arrow(&self, dim: usize) -> Schema {
        let field = |c: &Column| Field::new(c.name, c.cell.arrow(dim), c.nullable);
        Schema::new(self.columns.iter().map(field).collect::<Vec<_>>())
    }

    /// File name inside a run directory.
    pub fn file_name(&self) -> String {
        format!("{}.parquet", self.name)
    }
}

/// A row of a table; implemented by `table!`.
pub trait Row: Sized {
    /// The table.
    const TABLE: &'static Table;
    /// Order by the sort key.
    fn cmp_key(&self, other: &Self) -> Ordering;
    /// Columns in declared order.
    fn to_arrays(rows: &[Self], dim: usize) -> Result<Vec<ArrayRef>, (&'static str, String)>;
    /// Rows from columns in declared order.
    fn from_arrays(arrays: &[ArrayRef]) -> Result<Vec<Self>, (&'static str, String)>;
    /// Says what is wrong with the row, if anything.
    fn check(&self) -> Result<(), String>;
}

/// Declares a row struct and its [`Table`].
macro_rules! table {
    (
        $(#[doc = $doc:literal])+
        $row:ident = $name:literal $version:literal
        $(, formerly ($former:literal $former_version:literal))?, written by $producer:literal,
        sorted by ($($key:ident),+) $(, checked by $check:path)? {
            $($(#[doc = $field_doc:literal])+ $field:ident: $type:ty,)+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq)]
        pub struct $row {
            $($(#[doc = $field_doc])+ pub $field: $type,)+
        }

        impl $crate::table::Row for $row {
            const TABLE: &'static $crate::table::Table = &$crate::table::Table {
                name: $name,
                version: $version,
                former: &[$(($former, $former_version))?],
                producer: $producer,
                doc: concat!($($doc, "\n"),+),
                sort_key: &[$(stringify!($key)),+],
                columns: &[$($crate::table::Column {
                    name: stringify!($field),
                    cell: <$type as $crate::cell::Cell>::TYPE,
                    nullable: <$type as $crate::cell::Cell>::NULLABLE,
                    doc: concat!($($field_doc, "\n"),+),
                }),+],
            };

            fn cmp_key(&self, other: &Self) -> std::cmp::Ordering {
                std::cmp::Ordering::Equal$(.then_with(|| self.$key.cmp(&other.$key)))+
            }

            fn to_arrays(
                rows: &[Self],
                dim: usize,
            ) -> Result<Vec<arrow::array::ArrayRef>, (&'static str, String)> {
                Ok(vec![$({
                    let cells: Vec<&$type> = rows.iter().map(|row| &row.$field).collect();
                    <$type as $crate::cell::Cell>::to_array(&cells, dim).map_err(|e| (stringify!($field), e))?
                }),+])
            }

            fn from_arrays(arrays: &[arrow::array::ArrayRef]) -> Result<Vec<Self>, (&'static str, String)> {
                let mut arrays = arrays.iter();
                $(let $field = {
                    let array = arrays.next().ok_or((stringify!($field), "is missing".to_owned()))?;
                    <$type as $crate::cell::Cell>::from_array(array).map_err(|e| (stringify!($field), e))?
                };)+
                let mut rows = Vec::new();
                $(let mut $field = $field.into_iter();)+
                while let ($(Some($field),)+) = ($($field.next(),)+) {
                    rows.push(Self { $($field),+ });
                }
                Ok(rows)
            }

            fn check(&self) -> Result<(), String> {
                $($crate::cell::Cell::check(&self.$field)
                    .map_err(|e| format!(concat!("column `", stringify!($field), "` {}"), e))?;)+
                $($check(self)?;)?
                Ok(())
            }
        }
    };
}

/// Declares an enum that is stored as a dictionary-encoded string.
macro_rules! category {
    (
        $(#[$meta:meta])+
        $name:ident { $($(#[$variant_meta:meta])+ $variant:ident = $word:literal,)+ }
    ) => {
        $(#[$meta])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_meta])+ $variant,)+ }

        /// The order of the stored strings, so that a sorted table is sorted for other readers too.
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                use $crate::cell::Category as _;
                self.word().cmp(other.word())
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl $crate::cell::Category for $name {
            const WORDS: &'static [&'static str] = &[$($word),+];
            fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
            fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl $crate::cell::Value for $name {
            const TYPE: $crate::cell::CellType =
                $crate::cell::CellType::Category(<Self as $crate::cell::Category>::WORDS);
            fn to_array(values: &[Option<&Self>], _dim: usize) -> Result<arrow::array::ArrayRef, String> {
                $crate::cell::category_to_array(values)
            }
            fn from_array(array: &arrow::array::ArrayRef) -> Result<Vec<Option<Self>>, String> {
                $crate::cell::category_from_array(array)
            }
        }
    };
}

pub(crate) use {category, table};
