//! Cells: the Rust types a column may have, and how each stands in Arrow.
//!
//! Missing is null, never a magic number: `Option<T>` is the nullable column of `T`, and a plain
//! `T` refuses nulls on reading.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, DictionaryArray, FixedSizeListArray, Float32Array,
    Float64Array, Int32Array, Int64Array, ListArray, StringArray, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float32Type};

use crate::footer::MAX_DIM;

/// The type of a column as the published documents name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellType {
    /// Boolean.
    Bool,
    /// 64-bit signed integer, no further from zero than [`MAX_WHOLE`].
    Int64,
    /// 32-bit float, always finite.
    Float32,
    /// 64-bit float, always finite.
    Float64,
    /// UTF-8 text.
    Text,
    /// Repeated UTF-8 text, dictionary-encoded.
    Symbol,
    /// One of the listed variants, dictionary-encoded.
    Category(&'static [&'static str]),
    /// Opaque bytes.
    Bytes,
    /// Fixed number of 32-bit floats, always finite.
    Vector(usize),
    /// 32-bit floats of unit Euclidean norm; every row of a file has the same length.
    UnitVector,
    /// 32-bit floats of unit Euclidean norm; rows of a file may differ in length.
    Ragged,
}

impl CellType {
    /// The Arrow type written; `dim` is the length of [`CellType::UnitVector`]s in this file.
    pub fn arrow(self, dim: usize) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int64 => DataType::Int64,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Text => DataType::Utf8,
            Self::Symbol | Self::Category(_) => {
                DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
            }
            Self::Bytes => DataType::Binary,
            Self::Vector(len) => vector_type(len),
            Self::UnitVector => vector_type(dim),
            Self::Ragged => DataType::List(vector_item()),
        }
    }

    /// Whether a column of type `found` holds this type: as written by us, or as other writers
    /// store the same thing (plain lists, other child names, large or undictionaried text).
    pub fn accepts(self, found: &DataType) -> bool {
        match self {
            Self::Text | Self::Symbol | Self::Category(_) => match found {
                DataType::Dictionary(_, value) => is_text(value),
                other => is_text(other),
            },
            Self::Bytes => matches!(found, DataType::Binary | DataType::LargeBinary | DataType::BinaryView),
            Self::Vector(len) => is_vector(found, Some(len)),
            Self::UnitVector | Self::Ragged => is_vector(found, None),
            _ => *found == self.arrow(0),
        }
    }
}

fn is_text(found: &DataType) -> bool {
    matches!(found, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_vector(found: &DataType, len: Option<usize>) -> bool {
    match found {
        DataType::FixedSizeList(child, n) => {
            let fits = |n: usize| len.map_or(n <= MAX_DIM, |len| n == len);
            *child.data_type() == DataType::Float32 && usize::try_from(*n).is_ok_and(fits)
        }
        DataType::List(child) | DataType::LargeList(child) => *child.data_type() == DataType::Float32,
        _ => false,
    }
}

fn vector_type(len: usize) -> DataType {
    let len = i32::try_from(len).unwrap_or(i32::MAX);
    DataType::FixedSizeList(vector_item(), len)
}

/// The field of a vector's components.
fn vector_item() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Float32, false))
}

/// A non-null value of some [`CellType`].
pub trait Value: Sized {
    /// The type as documented.
    const TYPE: CellType;
    /// Column of these values; `None` becomes null, `dim` is the length of unit vectors.
    fn to_array(values: &[Option<&Self>], dim: usize) -> Result<ArrayRef, String>;
    /// Values of a column whose type [`CellType::accepts`] said yes to; the error says what is wrong.
    fn from_array(array: &ArrayRef) -> Result<Vec<Option<Self>>, String>;
    /// Says what is wrong with the value, if anything: a float that is not finite, a vector that is not unit.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A field of a row: a [`Value`], or an `Option` of one.
pub trait Cell: Sized {
    /// The type as documented.
    const TYPE: CellType;
    /// Whether the column may hold nulls.
    const NULLABLE: bool;
    /// Column of these cells.
    fn to_array(cells: &[&Self], dim: usize) -> Result<ArrayRef, String>;
    /// Cells of a column.
    fn from_array(array: &ArrayRef) -> Result<Vec<Self>, String>;
    /// Says what is wrong with the cell, if anything.
    fn check(&self) -> Result<(), String>;
}

impl<T: Value> Cell for T {
    const TYPE: CellType = T::TYPE;
    const NULLABLE: bool = false;
    fn to_array(cells: &[&Self], dim: usize) -> Result<ArrayRef, String> {
        T::to_array(&cells.iter().map(|cell| Some(*cell)).collect::<Vec<_>>(), dim)
    }
    fn from_array(array: &ArrayRef) -> Result<Vec<Self>, String> {
        let values = <T as Value>::from_array(array)?.into_iter().enumerate();
        values.map(|(i, value)| value.ok_or_else(|| format!("is null at row {i} of its batch"))).collect()
    }
    fn check(&self) -> Result<(), String> {
        Value::check(self)
    }
}

impl<T: Value> Cell for Option<T> {
    const TYPE: CellType = T::TYPE;
    const NULLABLE: bool = true;
    fn to_array(cells: &[&Self], dim: usize) -> Result<ArrayRef, String> {
        T::to_array(&cells.iter().map(|cell| cell.as_ref()).collect::<Vec<_>>(), dim)
    }
    fn from_array(array: &ArrayRef) -> Result<Vec<Self>, String> {
        <T as Value>::from_array(array)
    }
    fn check(&self) -> Result<(), String> {
        self.as_ref().map_or(Ok(()), Value::check)
    }
}

macro_rules! primitive_value {
    ($type:ty, $cell:ident, $array:ident, $check:expr) => {
        impl Value for $type {
            const TYPE: CellType = CellType::$cell;
            fn to_array(values: &[Option<&Self>], _dim: usize) -> Result<ArrayRef, String> {
                Ok(Arc::new($array::from(values.iter().map(|v| v.copied()).collect::<Vec<_>>())))
            }
            fn from_array(array: &ArrayRef) -> Result<Vec<Option<Self>>, String> {
                Ok(array.as_any().downcast_ref::<$array>().ok_or("has another type")?.iter().collect())
            }
            fn check(&self) -> Result<(), String> {
                $check(*self)
            }
        }
    };
}

/// Largest whole number, up or down: doubles, so also JSON and what pandas makes of columns with nulls, hold it
/// exactly, and it may be counted on from without an overflow.
pub const MAX_WHOLE: i64 = 1 << 53;

fn whole(value: i64) -> Result<(), String> {
    if (-MAX_WHOLE..=MAX_WHOLE).contains(&value) {
        return Ok(());
    }
    Err(format!("is {value}, outside ±2^53"))
}

fn finite(value: impl Into<f64>) -> Result<(), String> {
    let value = value.into();
    if value.is_finite() { Ok(()) } else { Err(format!("is {value}, which is not finite")) }
}

primitive_value!(bool, Bool, BooleanArray, |_| Ok(()));
primitive_value!(i64, Int64, Int64Array, whole);
primitive_value!(f32, Float32, Float32Array, finite);
primitive_value!(f64, Float64, Float64Array, finite);

/// Casts to `to`, which [`CellType::accepts`] has already found lossless.
fn normalise(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, String> {
    cast(array, to).map_err(|e| e.to_string())
}

fn text_array(array: &ArrayRef) -> Result<StringArray, String> {
    let plain = normalise(array, &DataType::Utf8)?;
    Ok(plain.as_string_opt::<i32>().ok_or("is not text")?.clone())
}

impl Value for String {
    const TYPE: CellType = CellType::Text;
    fn to_array(values: &[Option<&Self>], _dim: usize) -> Result<ArrayRef, String> {
        Ok(Arc::new(values.iter().map(|v| v.map(String::as_str)).collect::<StringArray>()))
    }
    fn from_array(array: &ArrayRef) -> Result<Vec<Option<Self>>, String> {
        Ok(text_array(array)?.iter().map(|v| v.map(str::to_owned)).collect())
    }
}

impl Value for Vec<u8> {
    const TYPE: CellType = CellType::Bytes;
    fn to_array(values: &[Option<&Self>], _dim: usize) -> Result<ArrayRef, String> {
        Ok(Arc::new(values.iter().map(|v| v.map(Vec::as_slice)).collect::<BinaryArray>()))
    }
    fn from_array(array: &ArrayRef) -> Result<Vec<Option<Self>>, String> {
        let plain = normalise(array, &DataType::Binary)?;
        let plain = plain.as_binary_opt::<i32>().ok_or("is not binary")?;
        Ok(plain.iter().map(|v| v.map(<[u8]>::to_vec)).collect())
    }
}

/// Dictionary column over the distinct strings, numbered by first appearance.
fn dictionary<'a>(words: impl Iterator<Item = Option<&'a str>>) -> Result<ArrayRef, String> {
    let mut numbers = HashMap::new();
    let mut distinct = Vec::new();
    let mut keys = Vec::new();
    for word in words {
        keys.push(word.map(|word| {
            *numbers.entry(word).or_insert_with(|| {
                distinct.push(word);
                i32::try_from(distinct.len() - 1).unwrap_or(i32::MAX)
            })
        }));
    }
    let values: ArrayRef = Arc::new(StringArray::from(distinct));
    let array = DictionaryArray::try_new(Int32Array::from(keys), values).map_err(|e| e.to_string())?;
    Ok(Arc::new(array))
}

/// A short text that repeats over many rows (a video id, the name of an embedder); cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol(Arc<str>);

impl Symbol {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Symbol {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Value for Symbol {
    const TYPE: CellType = CellType::Symbol;
    fn to_array(values: &[Option<&Self>], _dim: usize) -> Result<ArrayRef, String> {
        dictionary(values.iter().map(|v| v.map(Symbol::as_str)))
    }
    fn from_array(array: &ArrayRef) -> Result<Vec<Option<Self>>, String> {
        let mut last: Option<Self> = None;
        let texts = text_array(array)?;
        let shared = texts.iter().map(|text| {
            let text = text?;
            if last.as_ref().is_none_or(|last| last.as_str() != text) {
                last = Some(Self::from(text));
            }
            last.clone()
        });
        Ok(shared.collect())
    }
}

/// An enum whose variants are those of a [`CellType::Category`]; implemented by `category!`.
pub trait Category: Copy + 'static {
    /// Stored strings, in the order of the variants.
    const WORDS: &'static [&'static str];
    /// Stored string of this variant.
    fn word(self) -> &'static str;
    /// The variant of a stored string.
    fn from_word(word: &str) -> Option<Self>;
}

/// Column of a category.
pub(crate) fn category_to_array<T: Category>(values: &[Option<&T>]) -> Result<ArrayRef, String> {
    dictionary(values.iter().map(|v| v.map(|v| v.word())))
}

/// Values of a category column; an unknown string is an error.
pub(crate) fn category_from_array<T: Category>(array: &ArrayRef) -> Result<Vec<Option<T>>, String> {
    let parse = |word: Option<&str>| match word {
        None => Ok(None),
        Some(word) => {
            let unknown = || format!("contains {word:?}, expected one of {}", T::WORDS.join(", "));
            T::from_word(word).map(Some).ok_or_else(unknown)
        }
    };
    text_array(array)?.iter().map(parse).collect()
}

fn vectors_to_array<'a>(
    values: impl Iterator<Item = Option<&'a [f32]>>,
    len: usize,
) -> Result<ArrayRef, String> {
    let mut flat = Vec::new();
    let mut valid = Vec::new();
    for value in values {
        valid.push(value.is_some());
        match value {
            Some(value) if value.len() == len => flat.extend_from_slice(value),
            Some(value) => {
                return Err(format!("contains a vector of length {}, expected {len}", value.len()));
            }
            None => flat.resize(flat.len() + len, 0.0),
        }
    }
    let nulls = valid.contains(&false).then(|| NullBuffer::from(valid.clone()));
    let width = i32::try_from(len).map_err(|e| e.to_string())?;
    if len == 0 {
        return Ok(new_null_array(&vector_type(0), valid.len()));
    }
    let array = FixedSizeListArray::try_new(vector_item(), width, Arc::new(Float32Array::from(flat)), nulls);
    Ok(Arc::new(array.map_err(|e| e.to_string())?))
}

/// A column of vectors as lists of varying length, whichever kind of list the file has.
fn lists(array: &ArrayRef) -> Result<ListArray, String> {
    let item = match array.data_type() {
        DataType::FixedSizeList(item, _) | DataType::List(item) | DataType::LargeList(item) => item,
        _ => return Err("is not a list".into()),
    };
    let lists = normalise(array, &DataType::List(Arc::clone(item)))?;
    Ok(lists.as_list_opt::<i32>().ok_or("is not a list")?.clone())
}

fn vectors_from_array(array: &ArrayRef) -> Result<Vec<Option<Vec<f32>>>, String> {
    let lists = lists(array)?;
    let floats = lists.values().as_primitive_opt::<Float32Type>().ok_or("does not contain 32-bit floats")?;
    let row = |(i, ends): (usize, &[i32])| {
        let (start, len) = (ends[0] as usize, (ends[1] - ends[0]) as usize);
        match floats.nulls().filter(|_| !lists.is_null(i)) {
            Some(nulls) if nulls.slice(start, len).null_count() > 0 => {
                Err("contains a null inside a vector".to_owned())
            }
            _ => Ok((!lists.is_null(i)).then(|| floats.values()[start..start + len].to_vec())),
        }
    };
    lists.offsets().windows(2).enumerate().map(row).collect()
}

/// Says so when a vector of the column has another length than the footer promises: readers compare
/// vectors with each other, so a file of plain lists must not smuggle in odd ones.
pub(crate) fn check_lengths(array: &ArrayRef, dim: usize) -> Result<(), String> {
    match lists(array)?.offsets().lengths().find(|length| *length != dim) {
        Some(found) => Err(format!("contains a vector of length {found}, the footer declares {dim}")),
        None => Ok(()),
    }
}

/// Reports a vector that is longer than those of every embedder in the footer.
pub(crate) fn check_longest(array: &ArrayRef, dim: usize) -> Result<(), String> {
    match lists(array)?.offsets().lengths().max() {
        Some(longest) if longest > dim => {
            Err(format!("contains a vector of length {longest}, the footer declares at most {dim}"))
        }
        _ => Ok(()),
    }
}

impl<const N: usize> Value for [f32; N] {
    const TYPE: CellType = CellType::Vector(N);
    fn to_array(values: &[Option<&Self>], _dim: usize) -> Result<ArrayRef, String> {
        vectors_to_array(values.iter().map(|v| v.map(<[f32; N]>::as_slice)), N)
    }
    fn from_array(array: &ArrayRef) -> Result<Vec<Option<Self>>, String> {
        let exact = |v: Vec<f32>| {
            <[f32; N]>::try_from(v)
                .map_err(|v| format!("contains a vector of length {}, expected {N}", v.len()))
        };
        vectors_from_array(array)?.into_iter().map(|v| v.map(exact).transpose()).collect()
    }
    fn check(&self) -> Result<(), String> {
        self.iter().try_for_each(|v| finite(*v))
    }
}

/// A large value, kept out of its row.
impl<T: Value> Value for Box<T> {
    const TYPE: CellType = T::TYPE;
    fn to_array(values: &[Option<&Self>], dim: usize) -> Result<ArrayRef, String> {
        T::to_array(&values.iter().map(|value| value.map(|value| &**value)).collect::<Vec<_>>(), dim)
    }
    fn from_array(array: &ArrayRef) -> Result<Vec<Option<Self>>, String> {
        Ok(T::from_array(array)?.into_iter().map(|value| value.map(Self::new)).collect())
    }
    fn check(&self) -> Result<(), String> {
        T::check(self)
    }
}

/// A vector of Euclidean norm 1 (within [`UnitVector::TOLERANCE`]).
#[derive(Debug, Clone, PartialEq)]
pub struct UnitVector(Vec<f32>);

impl UnitVector {
    /// How far from 1 the norm of a stored vector may be; f32 rounding stays far below it.
    pub const TOLERANCE: f64 = 1e-3;

    /// Scales `vector` to unit norm; `None` when that is impossible: empty, zero or not finite.
    pub fn normalised(vector: &[f32]) -> Option<Self> {
        let norm = norm(vector);
        let usable = norm.is_finite() && norm > f64::from(f32::MIN_POSITIVE);
        usable.then(|| Self(vector.iter().map(|x| (f64::from(*x) / norm) as f32).collect()))
    }

    /// The components.
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }
}

fn norm(vector: &[f32]) -> f64 {
    vector.iter().fold(0.0, |sum, x| sum + f64::from(*x).powi(2)).sqrt()
}

impl Value for UnitVector {
    const TYPE: CellType = CellType::UnitVector;
    fn to_array(values: &[Option<&Self>], dim: usize) -> Result<ArrayRef, String> {
        vectors_to_array(values.iter().map(|v| v.map(UnitVector::as_slice)), dim)
    }
    fn from_array(array: &ArrayRef) -> Result<Vec<Option<Self>>, String> {
        Ok(vectors_from_array(array)?.into_iter().map(|v| v.map(Self)).collect())
    }
    fn check(&self) -> Result<(), String> {
        let norm = norm(&self.0);
        if (norm - 1.0).abs() <= Self::TOLERANCE {
            Ok(())
        } else {
            Err(format!("has norm {norm}, expected 1"))
        }
    }
}

/// A unit vector in a column whose vectors may differ in length, as those of several embedders do.
#[derive(Debug, Clone, PartialEq)]
pub struct Ragged(pub UnitVector);

impl Value for Ragged {
    const TYPE: CellType = CellType::Ragged;
    fn to_array(values: &[Option<&Self>], dim: usize) -> Result<ArrayRef, String> {
        let longest = values.iter().flatten().map(|v| v.0.0.len()).max().unwrap_or(0);
        if longest > dim {
            return Err(format!("contains a vector of length {longest}, the footer declares at most {dim}"));
        }
        let slices = values.iter().map(|v| v.map_or(&[][..], |v| v.0.as_slice()));
        let offsets = OffsetBuffer::from_lengths(slices.clone().map(<[f32]>::len));
        let components: Float32Array = slices.flatten().copied().collect::<Vec<_>>().into();
        let valid: NullBuffer = values.iter().map(Option::is_some).collect::<Vec<_>>().into();
        let nulls = Some(valid).filter(|valid| valid.null_count() > 0);
        let array = ListArray::try_new(vector_item(), offsets, Arc::new(components), nulls);
        Ok(Arc::new(array.map_err(|e| e.to_string())?))
    }
    fn from_array(array: &ArrayRef) -> Result<Vec<Option<Self>>, String> {
        Ok(<UnitVector as Value>::from_array(array)?.into_iter().map(|v| v.map(Self)).collect())
    }
    fn check(&self) -> Result<(), String> {
        Value::check(&self.0)
    }
}
