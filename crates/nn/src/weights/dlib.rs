//! The layers of a network that dlib has serialised.
//!
//! dlib (`serialize.h`, `dnn/core.h`, `dnn/layers.h`, version 19 and 20) writes a network from its
//! input to its output. Whole numbers are a control byte, the sign and how many bytes follow, and
//! those bytes; names are their length and their letters; tensors are version 2, four sizes, and
//! raw floats. Read are the layers that hold weights, each strictly: `con_4`, `affine_`, `fc_2`. All
//! between them, how layers nest and empty gradients, is passed over.

use std::collections::HashMap;

use super::{Parsed, Tensors, floats, tensor};

/// Layer names as they stand in the file: their length, then themselves.
const CONVOLUTION: &[u8] = b"\x01\x05con_4";
const AFFINE: &[u8] = b"\x01\x07affine_";
const FULLY_CONNECTED: &[u8] = b"\x01\x04fc_2";

/// Reads the parts of a layer.
type Read = fn(&mut Reader<'_>) -> Parsed<Vec<Part>>;

/// Layers with weights: the name in the file, our name, and the reader of what follows the name.
const LAYERS: [(&[u8], &str, Read); 3] = [
    (CONVOLUTION, "conv", |reader| reader.convolution()),
    (AFFINE, "affine", |reader| reader.affine()),
    (FULLY_CONNECTED, "fc", |reader| reader.fully_connected()),
];

/// Versions of dlib's tensors, and of the descriptions of their parts.
const TENSOR_VERSION: usize = 2;
const PART_VERSION: usize = 1;

/// The weights of every layer, each kind numbered from the input on.
pub(super) fn parse(bytes: &[u8]) -> Parsed<Tensors> {
    let mut reader = Reader { rest: bytes };
    let mut tensors = HashMap::new();
    let mut counts = [0; LAYERS.len()];
    while let Some(kind) = reader.next_layer() {
        let (_, name, read) = LAYERS[kind];
        let layer = format!("{name}{}", counts[kind]);
        counts[kind] += 1;
        for (part, shape, values) in read(&mut reader).map_err(|reason| format!("`{layer}`: {reason}"))? {
            let name = format!("{layer}.{part}");
            let weights = tensor(&name, values, shape)?;
            tensors.insert(name, weights);
        }
    }
    if tensors.is_empty() {
        return Err("the file contains no layer with weights".into());
    }
    Ok(tensors)
}

/// Name of the part, shape, values.
type Part = (&'static str, Vec<usize>, Vec<f32>);

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Goes to where the next layer with weights begins, behind its name; returns its place in [`LAYERS`].
    fn next_layer(&mut self) -> Option<usize> {
        while !self.rest.is_empty() {
            if let Some(kind) = LAYERS.iter().position(|(name, ..)| self.rest.starts_with(name)) {
                self.rest = &self.rest[LAYERS[kind].0.len()..];
                return Some(kind);
            }
            self.rest = &self.rest[1..];
        }
        None
    }

    /// Filters and, behind them, biases; then window, strides and padding, which the network knows.
    fn convolution(&mut self) -> Parsed<Vec<Part>> {
        let (_, mut values) = self.tensor()?;
        for _ in 0..7 {
            self.number()?;
        }
        let (filters, biases) = (self.part()?, self.part()?);
        let bias = split(&mut values, &filters, &biases)?;
        Ok(vec![("weight", filters.to_vec(), values), ("bias", vec![bias.len()], bias)])
    }

    fn affine(&mut self) -> Parsed<Vec<Part>> {
        let (_, mut values) = self.tensor()?;
        let (gamma, beta) = (self.part()?, self.part()?);
        let beta = split(&mut values, &gamma, &beta)?;
        Ok(vec![("gamma", vec![values.len()], values), ("beta", vec![beta.len()], beta)])
    }

    /// A matrix of inputs × outputs, which is turned to outputs × inputs.
    fn fully_connected(&mut self) -> Parsed<Vec<Part>> {
        let (outputs, inputs) = (self.number()?, self.number()?);
        let ([rows, columns, ..], values) = self.tensor()?;
        if (rows, columns) != (inputs, outputs) || values.len() != rows.saturating_mul(columns) {
            return Err(format!("found {rows} × {columns} weights for {inputs} inputs without a bias"));
        }
        let turned = (0..outputs).flat_map(|o| values.iter().skip(o).step_by(outputs.max(1)).copied());
        Ok(vec![("weight", vec![outputs, inputs], turned.collect())])
    }

    fn tensor(&mut self) -> Parsed<([usize; 4], Vec<f32>)> {
        let shape = self.shape(TENSOR_VERSION)?;
        let bytes = count(&shape).and_then(|n| n.checked_mul(4)).filter(|n| *n <= self.rest.len());
        let bytes = bytes.ok_or_else(|| format!("the file ends inside a tensor of shape {shape:?}"))?;
        Ok((shape, floats(self.take(bytes)?)?))
    }

    /// Shape of a part of a tensor.
    fn part(&mut self) -> Parsed<[usize; 4]> {
        self.shape(PART_VERSION)
    }

    fn shape(&mut self, expected: usize) -> Parsed<[usize; 4]> {
        let version = self.number()?;
        if version != expected {
            return Err(format!("found a tensor of version {version}, expected {expected}"));
        }
        Ok([self.number()?, self.number()?, self.number()?, self.number()?])
    }

    /// Sizes are never negative, so the sign, the control byte's highest bit, must not be set.
    fn number(&mut self) -> Parsed<usize> {
        let control = self.take(1)?[0];
        if !(1..=8).contains(&control) {
            return Err(format!("invalid number with the control byte {control:#04x}"));
        }
        let mut bytes = [0; 8];
        bytes[..usize::from(control)].copy_from_slice(self.take(control.into())?);
        usize::try_from(u64::from_le_bytes(bytes)).map_err(|e| e.to_string())
    }

    fn take(&mut self, count: usize) -> Parsed<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or("the file ends inside a layer")?;
        self.rest = rest;
        Ok(taken)
    }
}

fn count(shape: &[usize; 4]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size))
}

/// Leaves the first part in `values` and returns the second.
fn split(values: &mut Vec<f32>, first: &[usize; 4], second: &[usize; 4]) -> Parsed<Vec<f32>> {
    let counts = count(first).zip(count(second));
    let fits = |(a, b): &(usize, usize)| a.checked_add(*b) == Some(values.len());
    let (at, _) = counts
        .filter(fits)
        .ok_or_else(|| format!("found {} values for the shapes {first:?} and {second:?}", values.len()))?;
    Ok(values.split_off(at))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn number(value: usize) -> Vec<u8> {
        let bytes = value.to_le_bytes();
        let length = bytes.iter().rposition(|b| *b != 0).map_or(1, |last| last + 1);
        [&[length as u8], &bytes[..length]].concat()
    }

    fn numbers(values: &[usize]) -> Vec<u8> {
        values.iter().flat_map(|v| number(*v)).collect()
    }

    fn raw(shape: [usize; 4], values: &[f32]) -> Vec<u8> {
        let values = values.iter().flat_map(|v| v.to_le_bytes());
        numbers(&[2]).into_iter().chain(numbers(&shape)).chain(values).collect()
    }

    /// A convolution of three filters of 1×1×2, an affine layer and a fully connected one, with
    /// things between them as in real files.
    fn file() -> Vec<u8> {
        let between = b"\x01\x01\x00110\x01\x02\x01\x00".to_vec();
        let convolution = [
            CONVOLUTION.to_vec(),
            raw([9, 1, 1, 1], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]),
            numbers(&[3, 1, 2, 1, 1, 0, 0]),
            numbers(&[1, 3, 1, 1, 2, 1, 1, 3, 1, 1]),
        ];
        let affine = [
            AFFINE.to_vec(),
            raw([6, 1, 1, 1], &[1.0, 2.0, 3.0, 0.1, 0.2, 0.3]),
            numbers(&[1, 1, 3, 1, 1, 1, 1, 3, 1, 1, 0]),
        ];
        let last = [
            FULLY_CONNECTED.to_vec(),
            numbers(&[2, 3]),
            raw([3, 2, 1, 1], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            numbers(&[1, 3, 2, 1, 1]),
        ];
        let head = [b"\x01\x01\x01\x0dloss_metric_2".to_vec(), between.clone()].concat();
        [head, convolution.concat(), between.clone(), affine.concat(), between, last.concat()].concat()
    }

    #[test]
    fn layers_are_read_in_their_order() {
        let tensors = parse(&file()).unwrap();
        let found: BTreeMap<_, _> = tensors
            .iter()
            .map(|(name, t)| {
                (name.as_str(), (t.dims().to_vec(), t.flatten_all().unwrap().to_vec1::<f32>().unwrap()))
            })
            .collect();
        let expected = BTreeMap::from([
            ("conv0.weight", (vec![3, 1, 1, 2], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])),
            ("conv0.bias", (vec![3], vec![7.0, 8.0, 9.0])),
            ("affine0.gamma", (vec![3], vec![1.0, 2.0, 3.0])),
            ("affine0.beta", (vec![3], vec![0.1, 0.2, 0.3])),
            ("fc0.weight", (vec![2, 3], vec![1.0, 3.0, 5.0, 2.0, 4.0, 6.0])),
        ]);
        assert_eq!(found, expected);
    }

    #[test]
    fn every_kind_is_counted_on_its_own() {
        let twice = [file(), file()].concat();
        let tensors = parse(&twice).unwrap();
        assert_eq!(tensors.len(), 10);
        assert!(tensors.contains_key("fc1.weight") && tensors.contains_key("conv1.bias"));
    }

    #[test]
    fn impossible_layers_are_errors() {
        let huge = 1 << 40;
        let wrong = [
            (vec![1, 1, 1, 1, 1], "found a tensor of version 1, expected 2"),
            (
                vec![2, huge, huge, 1, 1],
                "the file ends inside a tensor of shape [1099511627776, 1099511627776, 1, 1]",
            ),
            (vec![2, 1, 1, 1, 1], "the file ends inside a tensor of shape [1, 1, 1, 1]"),
        ];
        for (sizes, reason) in wrong {
            let bytes = [CONVOLUTION.to_vec(), numbers(&sizes)].concat();
            assert_eq!(parse(&bytes).unwrap_err(), format!("`conv0`: {reason}"));
        }
        let negative = [AFFINE, &[0x81, 2]].concat();
        assert_eq!(parse(&negative).unwrap_err(), "`affine0`: invalid number with the control byte 0x81");
        let parts = [AFFINE.to_vec(), raw([1; 4], &[1.0]), numbers(&[1, 1, 1, 1, 1, 1, 1, 1, 1, 1])].concat();
        assert_eq!(
            parse(&parts).unwrap_err(),
            "`affine0`: found 1 values for the shapes [1, 1, 1, 1] and [1, 1, 1, 1]"
        );
        let biased = [FULLY_CONNECTED.to_vec(), numbers(&[1, 1]), raw([2, 1, 1, 1], &[1.0, 2.0])].concat();
        assert_eq!(parse(&biased).unwrap_err(), "`fc0`: found 2 × 1 weights for 1 inputs without a bias");
        assert_eq!(
            parse(b"\x01\x01\x01\x0dloss_metric_2").unwrap_err(),
            "the file contains no layer with weights"
        );
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 0_usize..1000, byte: u8, end in 0_usize..1000) {
            let mut bytes = file();
            let (at, end) = (at % bytes.len(), end % bytes.len());
            bytes[at] = byte;
            let _ = parse(&bytes);
            let _ = parse(&bytes[..end]);
        }
    }
}
