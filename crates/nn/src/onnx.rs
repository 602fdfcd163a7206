//! The initialisers of an ONNX file, block-wise quantised ones restored to f32.
//!
//! Only what weight files need is read (onnx.proto3, messages ModelProto, GraphProto, NodeProto,
//! AttributeProto, TensorProto). A quantised tensor `X` stands as `X_quantized`, `X_scales`,
//! `X_zero_point` and `X_shape`, tied together by a `DequantizeLinear` node with the attributes
//! `axis` and `block_size`: `w = (q − zero_point) · scale` (ONNX operator set 21).

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{Device, Tensor};
use prost::Message;

use crate::weights::{self, Error, Result};

/// Float tensors by name. A dequantised tensor has the name of its `X_quantized` without the ending.
///
/// # Errors
/// [`Error::Unreadable`], [`Error::NotOnnx`].
pub fn read_initializers(path: &Path) -> Result<HashMap<String, Tensor>> {
    let bytes = weights::read(path)?;
    parse(&bytes).map_err(|reason| Error::NotOnnx { path: path.to_path_buf(), reason })
}

fn parse(bytes: &[u8]) -> std::result::Result<HashMap<String, Tensor>, String> {
    let model = Model::decode(bytes).map_err(|e| e.to_string())?;
    let graph = model.graph.ok_or("it has no graph")?;
    let stored: BTreeMap<&str, &TensorProto> =
        graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
    let mut tensors = HashMap::new();
    for node in graph.node.iter().filter(|n| n.op_type == "DequantizeLinear") {
        let (name, tensor) = dequantised(node, &stored)?;
        tensors.insert(name, tensor);
    }
    for tensor in graph.initializer.iter().filter(|t| t.data_type == FLOAT && !t.name.ends_with("_scales")) {
        let values = to_candle(&tensor.name, floats(tensor)?, shape(tensor)?)?;
        tensors.insert(tensor.name.clone(), values);
    }
    if tensors.is_empty() {
        return Err("it holds no float tensor".into());
    }
    Ok(tensors)
}

fn dequantised(
    node: &Node,
    stored: &BTreeMap<&str, &TensorProto>,
) -> std::result::Result<(String, Tensor), String> {
    let find = |name: &str| stored.get(name).copied().ok_or_else(|| format!("tensor {name} is missing"));
    let [quantised, scales, zeros] = node.input.as_slice() else {
        return Err("a DequantizeLinear node without three inputs".into());
    };
    let name =
        quantised.strip_suffix("_quantized").ok_or_else(|| format!("{quantised} is no quantised name"))?;
    let (quantised, scales, zeros) = (find(quantised)?, find(scales)?, find(zeros)?);
    let dims = shape(quantised)?;
    let attribute = |name: &str| node.attribute.iter().find(|a| a.name == name).map_or(0, |a| a.i);
    let axis = usize::try_from(attribute("axis")).map_err(|e| e.to_string())?;
    let block = usize::try_from(attribute("block_size")).ok().filter(|b| *b > 0).ok_or("no block size")?;
    let length = *dims.get(axis).ok_or_else(|| format!("{name}: axis {axis} of {dims:?}"))?;
    let (values, scales, zeros) = (bytes(quantised)?, floats(scales)?, bytes(zeros)?);
    check_count(name, &dims, values.len())?;
    // No larger than the number of values, so nothing below overflows; without values nothing divides.
    let inner: usize = dims[axis + 1..].iter().product();
    let blocks = length.div_ceil(block);
    let dequantise = |(i, value): (usize, &i8)| {
        let (outer, along, within) = (i / (length * inner), i / inner % length, i % inner);
        let at = (outer * blocks + along / block) * inner + within;
        let (scale, zero) = (scales.get(at)?, zeros.get(at)?);
        Some((f32::from(*value) - f32::from(*zero)) * scale)
    };
    let restored: Option<Vec<f32>> = values.iter().enumerate().map(dequantise).collect();
    let restored = restored.ok_or_else(|| format!("{name}: too few scales for {dims:?}"))?;
    // Weights are stored flattened to two axes; their true shape stands beside them.
    let shape = match stored.get(format!("{name}_shape").as_str()) {
        Some(shape) => integers(shape)?,
        None => dims,
    };
    Ok((name.to_owned(), to_candle(name, restored, shape)?))
}

/// Whether a tensor of this shape has this many values.
fn check_count(name: &str, shape: &[usize], count: usize) -> std::result::Result<(), String> {
    if shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size)) == Some(count) {
        return Ok(());
    }
    Err(format!("{name}: {count} values for the shape {shape:?}"))
}

fn to_candle(name: &str, values: Vec<f32>, shape: Vec<usize>) -> std::result::Result<Tensor, String> {
    check_count(name, &shape, values.len())?;
    Tensor::from_vec(values, shape, &Device::Cpu).map_err(|e| e.to_string())
}

fn shape(tensor: &TensorProto) -> std::result::Result<Vec<usize>, String> {
    let positive = |d: &i64| usize::try_from(*d).map_err(|_| format!("{}: a negative size", tensor.name));
    tensor.dims.iter().map(positive).collect()
}

fn floats(tensor: &TensorProto) -> std::result::Result<Vec<f32>, String> {
    if tensor.raw_data.is_empty() {
        return Ok(tensor.float_data.clone());
    }
    let (chunks, rest) = tensor.raw_data.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(format!("{}: {} bytes are no whole floats", tensor.name, tensor.raw_data.len()));
    }
    Ok(chunks.iter().map(|b| f32::from_le_bytes(*b)).collect())
}

fn bytes(tensor: &TensorProto) -> std::result::Result<Vec<i8>, String> {
    if tensor.data_type != INT8 {
        return Err(format!("{} is not 8-bit", tensor.name));
    }
    if tensor.raw_data.is_empty() {
        let narrow = |v: &i32| i8::try_from(*v).map_err(|_| format!("{} is not 8-bit", tensor.name));
        return tensor.int32_data.iter().map(narrow).collect();
    }
    Ok(tensor.raw_data.iter().map(|b| b.cast_signed()).collect())
}

fn integers(tensor: &TensorProto) -> std::result::Result<Vec<usize>, String> {
    let (chunks, _) = tensor.raw_data.as_chunks::<8>();
    let stored = chunks.iter().map(|b| i64::from_le_bytes(*b));
    let values: Vec<i64> = tensor.int64_data.iter().copied().chain(stored).collect();
    values.into_iter().map(|v| usize::try_from(v).map_err(|e| format!("{}: {e}", tensor.name))).collect()
}

const FLOAT: i32 = 1;
const INT8: i32 = 3;

#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
}

#[derive(Clone, PartialEq, Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    node: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int64, tag = "3")]
    i: i64,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(float, repeated, tag = "4")]
    float_data: Vec<f32>,
    #[prost(int32, repeated, tag = "5")]
    int32_data: Vec<i32>,
    #[prost(int64, repeated, tag = "7")]
    int64_data: Vec<i64>,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    fn floats_of(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
        let raw_data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        TensorProto {
            dims: dims.to_vec(),
            data_type: FLOAT,
            name: name.into(),
            raw_data,
            ..Default::default()
        }
    }

    fn bytes_of(name: &str, dims: &[i64], values: &[i8]) -> TensorProto {
        let raw_data = values.iter().map(|v| v.cast_unsigned()).collect();
        TensorProto {
            dims: dims.to_vec(),
            data_type: INT8,
            name: name.into(),
            raw_data,
            ..Default::default()
        }
    }

    /// Parses a file with one weight `w`, block-wise along its last axis, and these tensors.
    fn parsed(block_size: i64, initializer: Vec<TensorProto>) -> std::result::Result<Vec<f32>, String> {
        let attribute = [("axis", 1), ("block_size", block_size)]
            .map(|(name, i)| Attribute { name: name.into(), i })
            .to_vec();
        let input = ["w_quantized", "w_scales", "w_zero_point"].map(String::from).to_vec();
        let node = vec![Node { input, op_type: "DequantizeLinear".into(), attribute }];
        let model = Model { graph: Some(Graph { node, initializer }) };
        let tensors = parse(&model.encode_to_vec())?;
        Ok(tensors["w"].flatten_all().and_then(|t| t.to_vec1()).unwrap())
    }

    #[test]
    fn every_block_has_its_scale_and_zero() {
        let found = parsed(
            2,
            vec![
                bytes_of("w_quantized", &[2, 3], &[1, 2, 3, 4, 5, 6]),
                floats_of("w_scales", &[2, 2], &[1.0, 10.0, 100.0, 1000.0]),
                bytes_of("w_zero_point", &[2, 2], &[0, 1, 0, -1]),
            ],
        );
        assert_eq!(found.unwrap(), [1.0, 2.0, 20.0, 400.0, 500.0, 7000.0]);
    }

    #[test]
    fn impossible_shapes_are_errors() {
        let huge = 1 << 40;
        for dims in [&[0, 4][..], &[2, huge, huge], &[1, 3], &[-1, 2], &[]] {
            let found = parsed(
                2,
                vec![
                    bytes_of("w_quantized", dims, &[1, 2]),
                    floats_of("w_scales", &[1, 1], &[1.0]),
                    bytes_of("w_zero_point", &[1, 1], &[0]),
                ],
            );
            assert!(found.is_err(), "{dims:?}");
        }
        assert!(parsed(2, vec![floats_of("v", &[huge, huge], &[1.0])]).is_err());
        assert!(parse(b"no protobuf at all").is_err());
    }
}
