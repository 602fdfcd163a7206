//! The constants of a network in OpenVINO's intermediate representation (IR).
//!
//! An IR is two files: the graph as XML, whose layers of type `Const` give element type, shape, offset and size
//! (OpenVINO, "Operation sets", version 11 of `net`), and beside it a `.bin` of the same name with the values,
//! little-endian. Read are constants in single and half precision. The names of constants are made up by the
//! converter, so they are numbered in the order of the file: `constant.0` is the first.

use candle_core::{DType, Device, Tensor};
use roxmltree::{Document, Node, ParsingOptions};

use super::{Parsed, Tensors, check_count, first_line};

/// Limit on the size of the XML, bytes. A network of a thousand layers takes half a megabyte.
const MAX_XML: usize = 32 << 20;
/// Limit on its nodes, which take a hundred bytes of memory each.
const MAX_NODES: u32 = 1 << 20;

/// The constants that `xml` describes and `values` holds.
pub(super) fn parse(xml: &[u8], values: &[u8]) -> Parsed<Tensors> {
    if xml.len() > MAX_XML {
        return Err(format!("the XML has {} bytes, above the limit of {MAX_XML}", xml.len()));
    }
    let text = str::from_utf8(xml).map_err(|e| format!("the XML is not UTF-8: {e}"))?;
    let options = ParsingOptions { nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|e| e.to_string())?;
    let layers = document.root_element().children().find(|child| child.has_tag_name("layers"));
    let layers = layers.ok_or("the XML has no element `layers`")?;
    let constants = layers.children().filter(|layer| layer.attribute("type") == Some("Const"));
    let mut tensors = Tensors::new();
    // Constants may not share values: a small file would otherwise fill the memory.
    let mut left = values.len();
    for layer in constants {
        let data = layer.children().find(|child| child.has_tag_name("data"));
        let data = data.ok_or_else(|| wrong(layer, "has no element `data`"))?;
        let dtype = match data.attribute("element_type") {
            Some("f16") => DType::F16,
            Some("f32") => DType::F32,
            _ => continue,
        };
        let number = |name| number(layer, data, name);
        let (offset, size, shape) = (number("offset")?, number("size")?, shape(layer, data)?);
        let bytes = offset.checked_add(size).and_then(|end| values.get(offset..end));
        let bytes = bytes.ok_or_else(|| wrong(layer, "lies beyond the end of the file of values"))?;
        left = left.checked_sub(size).ok_or_else(|| wrong(layer, "shares values with another constant"))?;
        if size % dtype.size_in_bytes() != 0 {
            return Err(wrong(layer, "ends within a number"));
        }
        let name = format!("constant.{}", tensors.len());
        check_count(&name, &shape, size / dtype.size_in_bytes())?;
        let read = Tensor::from_raw_buffer(bytes, dtype, &shape, &Device::Cpu);
        let tensor = read.and_then(|t| t.to_dtype(DType::F32)).map_err(|e| first_line(&e))?;
        tensors.insert(name, tensor);
    }
    if tensors.is_empty() {
        return Err("the XML has no constant".into());
    }
    Ok(tensors)
}

fn wrong(layer: Node<'_, '_>, what: &str) -> String {
    format!("the constant `{}` {what}", layer.attribute("name").unwrap_or_default())
}

fn number(layer: Node<'_, '_>, data: Node<'_, '_>, name: &str) -> Parsed<usize> {
    let number = data.attribute(name).and_then(|text| text.trim().parse().ok());
    number.ok_or_else(|| wrong(layer, &format!("has no number `{name}`")))
}

/// Sizes, separated by commas; none for a single value.
fn shape(layer: Node<'_, '_>, data: Node<'_, '_>) -> Parsed<Vec<usize>> {
    let text = data.attribute("shape").unwrap_or_default();
    let sizes = text.split(',').map(str::trim).filter(|size| !size.is_empty());
    let shape: Option<Vec<usize>> = sizes.map(|size| size.parse().ok()).collect();
    shape.ok_or_else(|| wrong(layer, "has no shape"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Two constants of half and single precision, and one that is no weight.
    const XML: &str = r#"<?xml version="1.0"?><net name="n" version="11"><layers>
        <layer id="0" name="a" type="Const"><data element_type="f16" shape="1, 2" offset="0" size="4" /></layer>
        <layer id="1" name="p" type="Const"><data element_type="i64" shape="1" offset="0" size="8" /></layer>
        <layer id="2" name="b" type="Const"><data element_type="f32" shape="1" offset="4" size="4" /></layer>
        <layer id="3" name="r" type="ReLU" /></layers></net>"#;
    /// 1, −2 in half precision, 0.5 in single.
    const VALUES: [u8; 8] = [0x00, 0x3c, 0x00, 0xc0, 0, 0, 0, 0x3f];

    #[test]
    fn constants_of_both_precisions_are_read_in_their_order() {
        let tensors = parse(XML.as_bytes(), &VALUES).unwrap();
        let values = |name: &str| tensors[name].flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!((tensors.len(), tensors["constant.0"].dims()), (2, [1, 2].as_slice()));
        assert_eq!((values("constant.0"), values("constant.1")), (vec![1.0, -2.0], vec![0.5]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let with = |old: &str, new: &str| parse(XML.replace(old, new).as_bytes(), &VALUES).unwrap_err();
        let cases = [
            (
                with("offset=\"4\"", "offset=\"6\""),
                "the constant `b` lies beyond the end of the file of values",
            ),
            (with("offset=\"4\"", "offset=\"18446744073709551615\""), "the constant `b` lies beyond the end"),
            (with("offset=\"4\"", "offset=\"-4\""), "the constant `b` has no number `offset`"),
            (
                with("shape=\"1\" offset=\"4\"", "shape=\"3\" offset=\"4\""),
                "found 1 values for the shape [3]",
            ),
            (with("1, 2", "1, x"), "the constant `a` has no shape"),
            (
                with(
                    "size=\"4\" /></layer>\n        <layer id=\"1\"",
                    "size=\"3\" /></layer><layer id=\"1\"",
                ),
                "ends within a number",
            ),
            (with("Const", "Other"), "the XML has no constant"),
            (with("layers", "others"), "the XML has no element `layers`"),
            (
                with("\"a\" type=\"Const\">", "\"a\" type=\"Const\"/><layer>"),
                "the constant `a` has no element `data`",
            ),
        ];
        for (found, expected) in cases {
            assert!(found.contains(expected), "{found:?} for {expected:?}");
        }
        let shared =
            XML.replace("shape=\"1\" offset=\"4\" size=\"4\"", "shape=\"2\" offset=\"0\" size=\"8\"");
        let message = parse(shared.as_bytes(), &VALUES).unwrap_err();
        assert_eq!(message, "the constant `b` shares values with another constant");
    }

    #[test]
    fn xml_that_would_fill_the_memory_is_refused() {
        let many = format!("<net><layers>{}</layers></net>", "<a/>".repeat(1 << 20));
        assert!(parse(many.as_bytes(), &VALUES).is_err());
        assert!(parse(&vec![b' '; MAX_XML + 1], &VALUES).unwrap_err().contains("above the limit"));
        let entities = "<!DOCTYPE n [<!ENTITY a \"b\">]><net>&a;</net>";
        assert!(parse(entities.as_bytes(), &VALUES).is_err());
        let deep = format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
        assert!(parse(deep.as_bytes(), &VALUES).is_err());
    }

    proptest! {
        /// Damaged files give an error or tensors, never a panic.
        #[test]
        fn damage_is_survived(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..9), cut in 0..9usize,
        ) {
            let mut xml = XML.as_bytes().to_vec();
            for (at, byte) in changes {
                let at = at.index(xml.len());
                xml[at] = byte;
            }
            let _ = parse(&xml, &VALUES[..cut.min(8)]);
        }
    }
}
