//! The constants of a frozen TensorFlow graph.
//!
//! Only what weight files need is read (graph.proto, node_def.proto, attr_value.proto,
//! tensor.proto, tensor_shape.proto of TensorFlow 1 and 2).

use std::collections::{HashMap, HashSet};

use candle_core::Tensor;
use prost::Message;

use super::{Parsed, Tensors, first_line, floats, tensor};

/// Most values that stored values may stand for in a file, so that a few bytes do not become gigabytes.
const MAX_REPEATED: usize = 1 << 20;

/// Float constants by node name: of convolutions as (out, in, h, w), of products as (out, in).
pub(super) fn parse(bytes: &[u8]) -> Parsed<Tensors> {
    let graph = Graph::decode(bytes).map_err(|e| e.to_string())?;
    let read_by = |op: &str| -> HashSet<&str> {
        let nodes = graph.node.iter().filter(|node| node.op == op);
        nodes.filter_map(|node| node.input.get(1)).map(String::as_str).collect()
    };
    let (convolutions, products) = (read_by("Conv2D"), read_by("MatMul"));
    let (mut tensors, mut repeated) = (HashMap::new(), MAX_REPEATED);
    for node in graph.node.iter().filter(|node| node.op == "Const") {
        let stored = node.attr.get("value").and_then(|value| value.tensor.as_ref());
        let Some(stored) = stored.filter(|t| t.dtype == FLOAT) else { continue };
        let stored =
            tensor(&node.name, values(&node.name, stored, &mut repeated)?, stored.shape(&node.name)?)?;
        let turned = match node.name.as_str() {
            name if convolutions.contains(name) => turn(&stored, &[3, 2, 0, 1]),
            name if products.contains(name) => turn(&stored, &[1, 0]),
            _ => Ok(stored),
        };
        tensors.insert(node.name.clone(), turned.map_err(|reason| format!("`{}`: {reason}", node.name))?);
    }
    if tensors.is_empty() {
        return Err("the file contains no float constant".into());
    }
    Ok(tensors)
}

fn turn(tensor: &Tensor, order: &[usize]) -> Parsed<Tensor> {
    if tensor.rank() != order.len() {
        return Err(format!("unsupported weights of {} dimensions", tensor.rank()));
    }
    tensor.permute(order).and_then(|t| t.contiguous()).map_err(|e| first_line(&e))
}

/// Raw bytes, a list, or one value for all, of which there may be `left`.
fn values(name: &str, stored: &TensorProto, left: &mut usize) -> Parsed<Vec<f32>> {
    if !stored.tensor_content.is_empty() {
        return floats(&stored.tensor_content).map_err(|reason| format!("`{name}`: {reason}"));
    }
    let sizes = stored.shape(name)?;
    let count = sizes.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
    match (stored.float_val.as_slice(), count) {
        ([value], Some(count)) if count <= *left => {
            *left -= count;
            Ok(vec![*value; count])
        }
        (values, _) => Ok(values.to_vec()),
    }
}

const FLOAT: i32 = 1;

#[derive(Clone, PartialEq, Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    node: Vec<Node>,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    op: String,
    #[prost(string, repeated, tag = "3")]
    input: Vec<String>,
    #[prost(map = "string, message", tag = "5")]
    attr: HashMap<String, Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(message, optional, tag = "8")]
    tensor: Option<TensorProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int32, tag = "1")]
    dtype: i32,
    #[prost(message, optional, tag = "2")]
    tensor_shape: Option<Shape>,
    #[prost(bytes = "vec", tag = "4")]
    tensor_content: Vec<u8>,
    #[prost(float, repeated, tag = "5")]
    float_val: Vec<f32>,
}

impl TensorProto {
    fn shape(&self, name: &str) -> Parsed<Vec<usize>> {
        let sizes = self.tensor_shape.iter().flat_map(|shape| &shape.dim);
        sizes.map(|dim| usize::try_from(dim.size).map_err(|_| format!("`{name}`: a negative size"))).collect()
    }
}

#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(message, repeated, tag = "2")]
    dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(int64, tag = "1")]
    size: i64,
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn constant(name: &str, dims: &[i64], raw: &[f32], listed: &[f32]) -> Node {
        let tensor = TensorProto {
            dtype: FLOAT,
            tensor_shape: Some(Shape { dim: dims.iter().map(|size| Dimension { size: *size }).collect() }),
            tensor_content: raw.iter().flat_map(|v| v.to_le_bytes()).collect(),
            float_val: listed.to_vec(),
        };
        let attr = HashMap::from([("value".to_owned(), Attribute { tensor: Some(tensor) })]);
        Node { name: name.into(), op: "Const".into(), attr, ..Default::default() }
    }

    fn reader(op: &str, weights: &str) -> Node {
        Node { op: op.into(), input: vec!["x".into(), weights.into()], ..Default::default() }
    }

    fn parsed(node: Vec<Node>) -> Parsed<Tensors> {
        parse(&Graph { node }.encode_to_vec())
    }

    fn seen(tensor: &Tensor) -> (Vec<usize>, Vec<f32>) {
        (tensor.dims().to_vec(), tensor.flatten_all().unwrap().to_vec1().unwrap())
    }

    #[test]
    fn weights_are_turned_for_whoever_reads_them() {
        let six = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let tensors = parsed(vec![
            constant("c", &[1, 1, 2, 3], &six, &[]),
            constant("m", &[2, 3], &six, &[]),
            constant("b", &[3, 2], &six, &[]),
            reader("Conv2D", "c"),
            reader("MatMul", "m"),
        ])
        .unwrap();
        let turned = vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0];
        assert_eq!(seen(&tensors["c"]), (vec![3, 2, 1, 1], turned.clone()));
        assert_eq!(seen(&tensors["m"]), (vec![3, 2], turned));
        assert_eq!(seen(&tensors["b"]), (vec![3, 2], six.to_vec()));
    }

    #[test]
    fn windows_keep_their_rows_and_columns() {
        let values: Vec<f32> = (0..6).map(|v| v as f32).collect();
        let tensors =
            parsed(vec![constant("c", &[2, 3, 1, 1], &values, &[]), reader("Conv2D", "c")]).unwrap();
        assert_eq!(seen(&tensors["c"]), (vec![1, 1, 2, 3], values));
    }

    #[test]
    fn values_may_be_listed_or_one_for_all() {
        let tensors = parsed(vec![
            constant("listed", &[2], &[], &[1.0, 2.0]),
            constant("one", &[2, 2], &[], &[3.0]),
            constant("scalar", &[], &[], &[0.5]),
        ])
        .unwrap();
        assert_eq!(seen(&tensors["listed"]), (vec![2], vec![1.0, 2.0]));
        assert_eq!(seen(&tensors["one"]), (vec![2, 2], vec![3.0; 4]));
        assert_eq!(seen(&tensors["scalar"]), (vec![], vec![0.5]));
    }

    #[test]
    fn few_bytes_do_not_become_many() {
        let half = MAX_REPEATED as i64 / 2;
        let many = |n: usize| (0..n).map(|i| constant(&format!("c{i}"), &[half], &[], &[0.5])).collect();
        assert_eq!(parsed(many(2)).unwrap().len(), 2);
        assert_eq!(parsed(many(3)).unwrap_err(), format!("`c2`: found 1 values for the shape [{half}]"));
    }

    #[test]
    fn impossible_constants_are_errors() {
        let huge = 1 << 40;
        for wrong in [
            constant("w", &[2], &[1.0], &[]),
            constant("w", &[huge, huge], &[1.0], &[]),
            constant("w", &[huge], &[], &[1.0]),
            constant("w", &[huge, huge], &[], &[1.0]),
            constant("w", &[-1], &[1.0], &[]),
        ] {
            assert!(parsed(vec![wrong]).unwrap_err().starts_with("`w`: "));
        }
        let flat = parsed(vec![constant("w", &[1], &[1.0], &[]), reader("Conv2D", "w")]);
        assert_eq!(flat.unwrap_err(), "`w`: unsupported weights of 1 dimensions");
        assert!(parse(b"\x0a\xff").is_err());
        assert_eq!(parsed(vec![]).unwrap_err(), "the file contains no float constant");
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 0_usize..1000, byte: u8, end in 0_usize..1000) {
            let node = vec![
                constant("c", &[1, 1, 2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[]),
                constant("one", &[2, 2], &[], &[3.0]),
                reader("Conv2D", "c"),
            ];
            let mut bytes = Graph { node }.encode_to_vec();
            let (at, end) = (at % bytes.len(), end % bytes.len());
            bytes[at] = byte;
            let _ = parse(&bytes);
            let _ = parse(&bytes[..end]);
        }
    }
}
