//! CVAT 1.1, for video or for images, as XML.

use roxmltree::{Document, Node};

use super::{Face, Labels, Line, MOST_FRAMES, Wrong, bbox, frame, identity};

/// Attributes of a box that may hold the identity, in order of preference.
const IDENTITY: [&str; 4] = ["identity", "name", "person", "id"];

pub(super) fn read(content: &str) -> Result<Labels, Wrong> {
    let document = Document::parse(content)
        .map_err(|e| (u64::from(e.pos().row), format!("failed to parse the XML: {e}")))?;
    let root = document.root_element();
    let name = root.tag_name().name();
    if name != "annotations" {
        return Err((1, format!("the root element is <{name}>, not <annotations>")));
    }
    let mut labels = Labels::default();
    let mut images = Vec::new();
    for node in root.children().filter(Node::is_element) {
        match node.tag_name().name() {
            "track" => track(node, &mut labels)?,
            "image" => images.push(image(node, &mut labels)?),
            _ => {}
        }
    }
    labels.looked_at = looked_at(root).chain(images).collect();
    Ok(labels)
}

/// Every frame of the task or of the job: labelling with CVAT goes through all of them.
fn looked_at(root: Node<'_, '_>) -> std::ops::Range<i64> {
    let number = |name: &str| {
        let meta = root.children().find(|node| node.has_tag_name("meta"))?;
        let node = meta.descendants().find(|node| node.has_tag_name(name))?;
        frame(name, node.text()?).ok()
    };
    let first = number("start_frame").unwrap_or(0);
    let end = number("stop_frame").map(|last| last + 1).or_else(|| Some(first + number("size")?));
    let end = end.filter(|end| end - first <= MOST_FRAMES);
    end.map_or(0..0, |end| first..end)
}

fn track(node: Node<'_, '_>, labels: &mut Labels) -> Result<(), Wrong> {
    let label = node.attribute("label").unwrap_or("track");
    let own = format!("{label} {}", node.attribute("id").unwrap_or("?"));
    for node in boxes(node).filter(|node| node.attribute("outside") != Some("1")) {
        let frame = frame_of(node, "frame")?;
        labels.lines.push(Line { line: line(node), frame, face: Some(face(node, &own)?) });
    }
    Ok(())
}

/// Reads the faces of an image; gives its frame.
fn image(node: Node<'_, '_>, labels: &mut Labels) -> Result<i64, Wrong> {
    let frame = frame_of(node, "id")?;
    for node in boxes(node) {
        let face = face(node, node.attribute("label").unwrap_or(""))?;
        labels.lines.push(Line { line: line(node), frame, face: Some(face) });
    }
    Ok(frame)
}

fn boxes<'a, 'b>(node: Node<'a, 'b>) -> impl Iterator<Item = Node<'a, 'b>> {
    node.children().filter(|node| node.has_tag_name("box"))
}

/// A face, whose identity is an attribute of the box, or else `own`.
fn face(node: Node<'_, '_>, own: &str) -> Result<Face, Wrong> {
    let [x, y] = [number(node, "xtl")?, number(node, "ytl")?];
    let bbox = bbox(x, y, number(node, "xbr")? - x, number(node, "ybr")? - y);
    let named = IDENTITY.iter().find_map(|name| attribute(node, name));
    Ok(Face {
        bbox: bbox.map_err(|reason| (line(node), reason))?,
        identity: identity(named.unwrap_or(own)),
        shot: attribute(node, "shot").and_then(|shot| shot.trim().parse().ok()),
    })
}

/// The text of `<attribute name="…">`.
fn attribute<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    let mut all = node.children().filter(|node| node.has_tag_name("attribute"));
    let found = all.find(|node| node.attribute("name") == Some(name))?;
    Some(found.text().unwrap_or(""))
}

fn frame_of(node: Node<'_, '_>, name: &str) -> Result<i64, Wrong> {
    frame(name, given(node, name)?).map_err(|reason| (line(node), reason))
}

fn given<'a>(node: Node<'a, '_>, name: &str) -> Result<&'a str, Wrong> {
    let kind = node.tag_name().name();
    node.attribute(name).ok_or_else(|| (line(node), format!("the {kind} has no attribute `{name}`")))
}

fn number(node: Node<'_, '_>, name: &str) -> Result<f64, Wrong> {
    super::number(name, given(node, name)?).map_err(|reason| (line(node), reason))
}

fn line(node: Node<'_, '_>) -> u64 {
    u64::from(node.document().text_pos_at(node.range().start).row)
}
