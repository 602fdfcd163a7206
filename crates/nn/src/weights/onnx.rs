//! The initialisers of an ONNX file as f32, block-wise quantised ones restored.
//!
//! Only what weight files need is read (onnx.proto3, messages ModelProto, GraphProto, NodeProto,
//! AttributeProto, TensorProto). A quantised tensor `X` stands as `X_quantized`, `X_scales`,
//! `X_zero_point` and `X_shape`, tied together by a `DequantizeLinear` node with the attributes
//! `axis` and `block_size`: `w = (q − zero_point) · scale` (ONNX operator set 21).
//!
//! PyTorch's exporter folds batch norms into convolutions and then makes names up for the weights
//! (`685`, `onnx::Conv_685`). Such a tensor is also named by the node that reads it: `Conv.12.1` is
//! input 1 of the thirteenth `Conv` of the file.

use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Device, Tensor};
use prost::Message;

use super::{Parsed, Tensors, check_count, tensor};

/// Float tensors by name. A dequantised tensor has the name of its `X_quantized` without the ending.
pub(super) fn parse(bytes: &[u8]) -> Parsed<Tensors> {
    let model = Model::decode(bytes).map_err(|e| e.to_string())?;
    let graph = model.graph.ok_or("the file has no graph")?;
    let stored: BTreeMap<&str, &TensorProto> =
        graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
    let mut tensors = HashMap::new();
    for node in graph.node.iter().filter(|n| n.op_type == "DequantizeLinear") {
        let (name, tensor) = dequantised(node, &stored)?;
        // Once each: a few bytes a node must not cost a tensor's work.
        if let Some(twice) = tensors.insert(name, tensor) {
            return Err(format!("the tensor {:?} is dequantized twice", twice.dims()));
        }
    }
    let kept = |t: &&TensorProto| [FLOAT, HALF].contains(&t.data_type) && !t.name.ends_with("_scales");
    for proto in graph.initializer.iter().filter(kept) {
        tensors.insert(proto.name.clone(), tensor(&proto.name, floats(proto)?, shape(proto)?)?);
    }
    name_by_reader(&graph.node, &mut tensors);
    if tensors.is_empty() {
        return Err("the file contains no float tensor".into());
    }
    Ok(tensors)
}

/// Tensors whose own names say nothing get those of the nodes that read them, too.
fn name_by_reader(nodes: &[Node], tensors: &mut Tensors) {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for node in nodes {
        let count = counts.entry(&node.op_type).or_default();
        for (i, input) in node.input.iter().enumerate().filter(|(_, name)| is_generated(name)) {
            if let Some(tensor) = tensors.get(input).cloned() {
                tensors.insert(format!("{}.{count}.{i}", node.op_type), tensor);
            }
        }
        *count += 1;
    }
}

/// `685` or `onnx::Conv_685`.
fn is_generated(name: &str) -> bool {
    let number = if name.starts_with("onnx::") { name.rsplit('_').next().unwrap_or(name) } else { name };
    !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
}

fn dequantised(node: &Node, stored: &BTreeMap<&str, &TensorProto>) -> Parsed<(String, Tensor)> {
    let find = |name: &str| stored.get(name).copied().ok_or_else(|| format!("missing tensor `{name}`"));
    let [quantised, scales, zeros] = node.input.as_slice() else {
        return Err("a DequantizeLinear node does not have three inputs".into());
    };
    let name = quantised
        .strip_suffix("_quantized")
        .ok_or_else(|| format!("`{quantised}` is not the name of a quantized tensor"))?;
    let (quantised, scales, zeros) = (find(quantised)?, find(scales)?, find(zeros)?);
    let dims = shape(quantised)?;
    let attribute = |name: &str| node.attribute.iter().find(|a| a.name == name).map_or(0, |a| a.i);
    let axis = usize::try_from(attribute("axis")).map_err(|e| e.to_string())?;
    let block =
        usize::try_from(attribute("block_size")).ok().filter(|b| *b > 0).ok_or("missing block size")?;
    let length =
        *dims.get(axis).ok_or_else(|| format!("`{name}`: invalid axis {axis} for the shape {dims:?}"))?;
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
    let restored = restored.ok_or_else(|| format!("`{name}`: too few scales for the shape {dims:?}"))?;
    // Weights are stored flattened to two axes; their true shape stands beside them.
    let shape = match stored.get(format!("{name}_shape").as_str()) {
        Some(shape) => integers(shape)?,
        None => dims,
    };
    Ok((name.to_owned(), tensor(name, restored, shape)?))
}

fn shape(tensor: &TensorProto) -> Parsed<Vec<usize>> {
    let positive = |d: &i64| usize::try_from(*d).map_err(|_| format!("`{}`: a negative size", tensor.name));
    tensor.dims.iter().map(positive).collect()
}

fn floats(tensor: &TensorProto) -> Parsed<Vec<f32>> {
    if tensor.data_location == EXTERNAL {
        return Err(format!("`{}` is stored in another file", tensor.name));
    }
    if tensor.data_type == HALF {
        return halves(tensor);
    }
    if tensor.raw_data.is_empty() {
        return Ok(tensor.float_data.clone());
    }
    super::floats(&tensor.raw_data).map_err(|e| format!("`{}`: {e}", tensor.name))
}

/// Half precision: two raw bytes a value, or the same bits in a 32-bit integer.
fn halves(tensor: &TensorProto) -> Parsed<Vec<f32>> {
    let stored = tensor.int32_data.iter().flat_map(|v| v.to_le_bytes().into_iter().take(2));
    let raw: Vec<u8> = tensor.raw_data.iter().copied().chain(stored).collect();
    if !raw.len().is_multiple_of(2) {
        return Err(format!(
            "{}: {} bytes are not a whole number of half-precision floats",
            tensor.name,
            raw.len()
        ));
    }
    let read = Tensor::from_raw_buffer(&raw, DType::F16, &[raw.len() / 2], &Device::Cpu);
    read.and_then(|t| t.to_dtype(DType::F32)?.to_vec1()).map_err(|e| format!("`{}`: {e}", tensor.name))
}

fn bytes(tensor: &TensorProto) -> Parsed<Vec<i8>> {
    if tensor.data_type != INT8 {
        return Err(format!("`{}` is not 8-bit", tensor.name));
    }
    if tensor.raw_data.is_empty() {
        let narrow = |v: &i32| i8::try_from(*v).map_err(|_| format!("`{}` is not 8-bit", tensor.name));
        return tensor.int32_data.iter().map(narrow).collect();
    }
    Ok(tensor.raw_data.iter().map(|b| b.cast_signed()).collect())
}

fn integers(tensor: &TensorProto) -> Parsed<Vec<usize>> {
    let (chunks, _) = tensor.raw_data.as_chunks::<8>();
    let stored = chunks.iter().map(|b| i64::from_le_bytes(*b));
    let values: Vec<i64> = tensor.int64_data.iter().copied().chain(stored).collect();
    values.into_iter().map(|v| usize::try_from(v).map_err(|e| format!("`{}`: {e}", tensor.name))).collect()
}

const FLOAT: i32 = 1;
const INT8: i32 = 3;
const HALF: i32 = 10;
/// `data_location` of a tensor that is not in the file.
const EXTERNAL: i32 = 1;

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
    #[prost(int32, tag = "14")]
    data_location: i32,
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stored(name: &str, dims: &[i64], data_type: i32, raw_data: Vec<u8>) -> TensorProto {
        TensorProto { dims: dims.to_vec(), data_type, name: name.into(), raw_data, ..Default::default() }
    }

    fn floats_of(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
        stored(name, dims, FLOAT, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    fn bytes_of(name: &str, dims: &[i64], values: &[i8]) -> TensorProto {
        stored(name, dims, INT8, values.iter().map(|v| v.cast_unsigned()).collect())
    }

    fn node(op_type: &str, input: &[&str]) -> Node {
        let input = input.iter().map(|name| (*name).to_owned()).collect();
        Node { input, op_type: op_type.into(), attribute: Vec::new() }
    }

    fn parsed_graph(node: Vec<Node>, initializer: Vec<TensorProto>) -> Parsed<Tensors> {
        parse(&Model { graph: Some(Graph { node, initializer }) }.encode_to_vec())
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().and_then(|t| t.to_vec1()).unwrap()
    }

    /// Parses a file with one weight `w`, block-wise along its last axis, and these tensors.
    fn parsed(block_size: i64, initializer: Vec<TensorProto>) -> Parsed<Vec<f32>> {
        let attribute = [("axis", 1), ("block_size", block_size)]
            .map(|(name, i)| Attribute { name: name.into(), i })
            .to_vec();
        let node = node("DequantizeLinear", &["w_quantized", "w_scales", "w_zero_point"]);
        Ok(values(&parsed_graph(vec![Node { attribute, ..node }], initializer)?["w"]))
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
        let empty = |name: &str| bytes_of(name, &[0, huge, huge], &[]);
        let scales = floats_of("w_scales", &[1], &[1.0]);
        assert!(parsed(2, vec![empty("w_quantized"), scales, empty("w_zero_point")]).is_err());
        assert!(parsed(2, vec![floats_of("v", &[huge, huge], &[1.0])]).is_err());
        assert!(parse(b"no protobuf at all").is_err());
    }

    #[test]
    fn a_tensor_is_restored_once() {
        let attribute = [("axis", 0), ("block_size", 1)].map(|(name, i)| Attribute { name: name.into(), i });
        let quantised = node("DequantizeLinear", &["w_quantized", "w_scales", "w_zero_point"]);
        let quantised = Node { attribute: attribute.to_vec(), ..quantised };
        let stored = || {
            let (values, zeros) = (bytes_of("w_quantized", &[1], &[3]), bytes_of("w_zero_point", &[1], &[1]));
            vec![values, floats_of("w_scales", &[1], &[0.5]), zeros]
        };
        assert_eq!(values(&parsed_graph(vec![quantised.clone()], stored()).unwrap()["w"]), [1.0]);
        let twice = parsed_graph(vec![quantised.clone(), quantised], stored());
        assert_eq!(twice.unwrap_err(), "the tensor [1] is dequantized twice");
    }

    #[test]
    fn halves_are_read_from_both_places() {
        // 1, −2 and 0.5 in half precision.
        let raw = stored("raw", &[3], HALF, vec![0x00, 0x3c, 0x00, 0xc0, 0x00, 0x38]);
        let integers =
            TensorProto { int32_data: vec![0x3c00, 0xc000, 0x3800], ..stored("i", &[3], HALF, vec![]) };
        let tensors = parsed_graph(vec![], vec![raw, integers]).unwrap();
        assert_eq!(values(&tensors["raw"]), [1.0, -2.0, 0.5]);
        assert_eq!(values(&tensors["i"]), [1.0, -2.0, 0.5]);
        assert!(parsed_graph(vec![], vec![stored("odd", &[1], HALF, vec![0; 3])]).is_err());
    }

    #[test]
    fn tensors_with_generated_names_are_also_named_by_their_readers() {
        let one = |name: &str, value| floats_of(name, &[1], &[value]);
        let nodes = vec![
            node("Conv", &["x", "a.weight", "12"]),
            node("PRelu", &["1", "onnx::PRelu_7"]),
            node("Conv", &["2", "onnx::Conv_8", "12"]),
        ];
        let stored =
            vec![one("a.weight", 1.0), one("12", 2.0), one("onnx::PRelu_7", 3.0), one("onnx::Conv_8", 4.0)];
        let tensors = parsed_graph(nodes, stored).unwrap();
        let found: BTreeMap<&str, f32> = tensors.iter().map(|(n, t)| (n.as_str(), values(t)[0])).collect();
        let own = [("a.weight", 1.0), ("12", 2.0), ("onnx::PRelu_7", 3.0), ("onnx::Conv_8", 4.0)];
        let given = [("Conv.0.2", 2.0), ("PRelu.0.1", 3.0), ("Conv.1.1", 4.0), ("Conv.1.2", 2.0)];
        assert_eq!(found, own.into_iter().chain(given).collect());
    }

    #[test]
    fn weights_in_another_file_are_reported() {
        let away = TensorProto { data_location: EXTERNAL, ..floats_of("w", &[1], &[]) };
        assert_eq!(parsed_graph(vec![], vec![away]).unwrap_err(), "`w` is stored in another file");
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 0_usize..1000, byte: u8, end in 0_usize..1000) {
            let attribute = [("axis", 1), ("block_size", 2)].map(|(name, i)| Attribute { name: name.into(), i });
            let quantised = node("DequantizeLinear", &["w_quantized", "w_scales", "w_zero_point"]);
            let node = vec![Node { attribute: attribute.to_vec(), ..quantised }, node("PRelu", &["x", "12"])];
            let initializer = vec![
                bytes_of("w_quantized", &[2, 3], &[1, 2, 3, 4, 5, 6]),
                floats_of("w_scales", &[2, 2], &[1.0, 10.0, 100.0, 1000.0]),
                bytes_of("w_zero_point", &[2, 2], &[0, 1, 0, -1]),
                stored("12", &[2, 1, 1], HALF, vec![0x00, 0x3c, 0x00, 0xc0]),
            ];
            let mut bytes = Model { graph: Some(Graph { node, initializer }) }.encode_to_vec();
            let (at, end) = (at % bytes.len(), end % bytes.len());
            bytes[at] = byte;
            let _ = parse(&bytes);
            let _ = parse(&bytes[..end]);
        }
    }
}
