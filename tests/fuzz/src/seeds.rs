//! Small good files of every kind, made here: random mutations do not produce valid Parquet.

use arbitrary::Unstructured;
use picture::Format;

use crate::read::READERS;
use crate::{damage, shape};

/// What to begin with, by target.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    match target {
        "tables" => (0..READERS.len()).map(table).collect(),
        "shapes" => {
            (0..READERS.len()).flat_map(|number| [vec![number as u8], choices(number as u8, 6)]).collect()
        }
        "runs" => (0..6).map(|number| choices(number, 40)).collect(),
        "footers" => texts(&[FOOTER]),
        "manifests" => texts(&[MANIFEST]),
        "indexes" => texts(&[INDEX]),
        "weights" => vec![safetensors(), onnx(), dlib(), tensorflow()],
        "labels" => LABELS.iter().map(|(how, text)| [&[*how], text.as_bytes()].concat()).collect(),
        "linking" | "judging" | "galleries" | "reviews" | "redactions" => damage::seeds(),
        "imports" => {
            LABELS.iter().map(|(how, text)| [&[format_of(*how)], text.as_bytes()].concat()).collect()
        }
        "edits" => texts(&[EDITS]),
        "settings" => texts(&[SETTINGS]),
        "pictures" => {
            [Format::Jpeg, Format::Png].map(|format| picture::encode(&SMOOTH, 4, 2, format).unwrap()).into()
        }
        _ => Vec::new(),
    }
}

/// The number of a format, as [`crate::imports`] has it, of the first byte of [`crate::labels`].
fn format_of(how: u8) -> u8 {
    if how < 16 { (how % 4).saturating_sub(1) } else { 2 + how / 16 }
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn table(number: usize) -> Vec<u8> {
    let file = shape::file(&mut Unstructured::new(&[]), READERS[number].0);
    [vec![number as u8], file].concat()
}

/// Bytes that choose at random, the first of them this one.
pub(crate) fn choices(first: u8, blocks: u8) -> Vec<u8> {
    let digits: String = (0..blocks).map(|block| hash::bytes(&[first, block])).collect();
    let bytes =
        (0..digits.len()).step_by(2).filter_map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok());
    std::iter::once(first).chain(bytes).collect()
}

const FOOTER: &str = r#"{"table":"tracks","version":"1.0.0","producer":"p","run_id":"r","fingerprint":"f","embedders":[{"name":"sface","dim":128,"weights_sha256":"0","license":"MIT","same_up_to":0.5,"similarity":{"different":0.0,"same":0.6}}]}"#;
const MANIFEST: &str = r#"{"format":1,"run_id":"r","video":{"path":"/v.mkv","size_bytes":1,"modified_ns":2,"sha256":"0a"},"stages":[{"stage":"ingest","version":1,"fingerprint":"f","producer":"p","config":{"a":[1]},"inputs":[{"name":"video","sha256":"0a"}],"outputs":[{"file":"report/index.html","table_version":null,"rows":null,"size_bytes":3,"sha256":"0a"}],"warnings":["w"],"figures":{"n":1},"duration_secs":0.5}],"pinned":["embed"]}"#;
const INDEX: &str = r#"{"format":1,"next_person_id":3,"embedder":{"name":"sface","dim":2,"weights_sha256":"0","license":"MIT"},"people_sha256":"0a","vectors":{"n_records":1,"crc32":7},"videos":[]}"#;
const EDITS: &str = "track_a,track_b,kind,why\n0,1,must_link,x\n1,2,must_link,\n5,2,cannot_link,\"a, b\"\n";
const SETTINGS: &str = "\0[ingest]\n[cluster]\nmethod = 'agglomerative'\nlinkage = \"average\"\nthreshold = 0.5\n[evaluate]\nthumbnail_px = 96\n";
/// The first byte is that of [`crate::labels`].
const LABELS: [(u8, &str); 17] = [
    (0, "frame,x,y,w,h,identity,shot\n0,1,2,3.5,4,ida,0\n0,1,2,3,4,?,\n7,0,0,0,0,-,\n"),
    (1, "frame_idx,name,x_min,y_min,x_max,y_max,shot\n4,ida,1,2,11,22,0\n4,,50,2,61,22,\n"),
    (2, "1,7,10,20,30,40,1,1,1\n3,7,11,20,30,40,1,1,0.5\n3,8,50,20,30,40,0,1,1\n"),
    (
        16,
        r#"{"images":[{"id":1,"file_name":"a_000004.png"}],"categories":[{"id":1,"name":"face"}],"annotations":[{"id":3,"image_id":1,"category_id":1,"bbox":[1,2,10,20.5],"attributes":{"name":"ida"}},{"image_id":1,"bbox":[3,2,10,20],"track_id":7,"iscrowd":1}]}"#,
    ),
    (
        3,
        "<?xml version=\"1.0\"?><annotations><meta><job><size>4</size><start_frame>0</start_frame><stop_frame>3</stop_frame></job></meta><track id=\"0\" label=\"face\"><box frame=\"0\" outside=\"0\" xtl=\"1\" ytl=\"2\" xbr=\"11\" ybr=\"22\"><attribute name=\"identity\">ida &amp; eva</attribute></box></track></annotations>",
    ),
    (
        3,
        "<annotations><image id=\"3\" name=\"a.png\"><box label=\"ida\" xtl=\"1\" ytl=\"2\" xbr=\"11\" ybr=\"22\"/></image></annotations>",
    ),
    (32, include_str!("../../../crates/formats/samples/rekognition-faces.json")),
    (32, include_str!("../../../crates/formats/samples/rekognition-celebrities.json")),
    (32, include_str!("../../../crates/formats/samples/rekognition-tracking.json")),
    (48, include_str!("../../../crates/formats/samples/google.json")),
    (48, include_str!("../../../crates/formats/samples/google-celebrities.json")),
    (64, include_str!("../../../crates/formats/samples/azure.json")),
    (80, include_str!("../../../crates/formats/samples/pyannote.rttm")),
    (80, include_str!("../../../crates/formats/samples/pyannote.json")),
    (96, include_str!("../../../crates/formats/samples/mmif-faces.json")),
    (96, include_str!("../../../crates/formats/samples/mmif.json")),
    (
        3,
        "<!DOCTYPE a [<!ENTITY e \"ida\">]><annotations><image id=\"3\"><box label=\"&e;\" xtl=\"1\" ytl=\"2\" xbr=\"11\" ybr=\"22\"/></image></annotations>",
    ),
];

/// 4 × 2 pixels.
const SMOOTH: [u8; 24] =
    [90, 80, 70, 94, 84, 74, 98, 88, 78, 102, 92, 82, 91, 81, 71, 95, 85, 75, 99, 89, 79, 103, 93, 83];

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Two values named `w`.
fn safetensors() -> Vec<u8> {
    let header = br#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"h":{"dtype":"F16","shape":[1],"data_offsets":[8,10]}}"#;
    [&(header.len() as u64).to_le_bytes(), header.as_slice(), &floats(&[0.5, 1.0]), &[0, 0x38]].concat()
}

/// A field of a protocol buffer whose value is bytes.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    assert!(value.len() < 128, "one byte of length");
    [&[number << 3 | 2, value.len() as u8], value].concat()
}

/// A field of a protocol buffer whose value is a small number.
fn number(number: u8, value: u8) -> Vec<u8> {
    vec![number << 3, value]
}

/// A matrix as it is, a quantised one, and who reads them.
fn onnx() -> Vec<u8> {
    let tensor = |name: &str, kind: u8, dims: &[u8], raw: &[u8]| {
        let dims: Vec<u8> = dims.iter().flat_map(|dim| number(1, *dim)).collect();
        field(5, &[dims, number(2, kind), field(8, name.as_bytes()), field(9, raw)].concat())
    };
    let attribute = |name: &str, value: u8| field(5, &[field(1, name.as_bytes()), number(3, value)].concat());
    let inputs: Vec<u8> =
        ["q_quantized", "q_scales", "q_zero"].iter().flat_map(|name| field(1, name.as_bytes())).collect();
    let quantised =
        [inputs, field(4, b"DequantizeLinear"), attribute("axis", 1), attribute("block_size", 2)].concat();
    let graph = [
        field(1, &quantised),
        field(1, &[field(1, b"12"), field(4, b"Conv")].concat()),
        tensor("12", 1, &[1, 2], &floats(&[0.5, 1.0])),
        tensor("q_quantized", 3, &[1, 2], &[3, 255]),
        tensor("q_scales", 1, &[1, 1], &floats(&[0.5])),
        tensor("q_zero", 3, &[1, 1], &[1]),
    ];
    let graph = graph.concat();
    let length = [(graph.len() & 127) as u8 | 128, (graph.len() >> 7) as u8];
    [number(1, 7), vec![7 << 3 | 2], length.to_vec(), graph].concat()
}

/// A convolution of one filter, an affine layer and a fully connected one.
fn dlib() -> Vec<u8> {
    let numbers = |values: &[u8]| values.iter().flat_map(|value| [1, *value]).collect::<Vec<_>>();
    let values = |count: u8, of: &[f32]| [numbers(&[2, count, 1, 1, 1]), floats(of)].concat();
    [
        b"\x01\x01\x01\x0dloss_metric_2\x01\x05con_4".to_vec(),
        values(3, &[1.0, 2.0, 3.0]),
        numbers(&[1, 1, 2, 1, 1, 0, 0, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1]),
        b"\x01\x07affine_".to_vec(),
        values(2, &[1.0, 2.0]),
        numbers(&[1, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
        b"\x01\x04fc_2".to_vec(),
        numbers(&[2, 1, 2, 1, 2, 1, 1]),
        floats(&[1.0, 2.0]),
        numbers(&[1, 1, 2, 1, 1]),
    ]
    .concat()
}

/// A constant, one that repeats, and who reads them.
fn tensorflow() -> Vec<u8> {
    let constant = |name: &str, sizes: &[u8], values: Vec<u8>| {
        let shape: Vec<u8> = sizes.iter().flat_map(|size| field(2, &number(1, *size))).collect();
        let tensor = field(8, &[number(1, 1), field(2, &shape), values].concat());
        let value = field(5, &[field(1, b"value"), field(2, &tensor)].concat());
        field(1, &[field(1, name.as_bytes()), field(2, b"Const"), value].concat())
    };
    let reader = |op: &str, weights: &str| {
        field(1, &[field(2, op.as_bytes()), field(3, b"x"), field(3, weights.as_bytes())].concat())
    };
    [
        constant("m", &[1, 2], field(4, &floats(&[1.0, 2.0]))),
        constant("r", &[3], [vec![5 << 3 | 5], floats(&[0.5])].concat()),
        reader("MatMul", "m"),
        reader("Conv2D", "r2"),
    ]
    .concat()
}
