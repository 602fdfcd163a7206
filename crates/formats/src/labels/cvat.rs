//! CVAT 1.1, for video or for images, as XML.

use std::collections::BTreeSet;

use roxmltree::{Document, Node};

use super::{Face, Labels, MOST_FRAMES, Wrong, frame, identity, rect};

/// Attributes of a box that may say who it is, the first that is there.
const IDENTITY: [&str; 4] = ["identity", "name", "person", "id"];

pub(super) fn read(content: &str) -> Result<Labels, Wrong> {
    let document =
        Document::parse(content).map_err(|e| (u64::from(e.pos().row), format!("it is no XML: {e}")))?;
    let root = document.root_element();
    let name = root.tag_name().name();
    if name != "annotations" {
        return Err((1, format!("the document is <{name}>, not <annotations>")));
    }
    let mut labels = Labels { looked_at: looked_at(root), ..Labels::default() };
    for node in root.children().filter(Node::is_element) {
        match node.tag_name().name() {
            "track" => track(node, &mut labels)?,
            "image" => image(node, &mut labels)?,
            _ => {}
        }
    }
    Ok(labels)
}

/// Every frame of the task, or of the job: whoever labels with CVAT goes through all.
fn looked_at(root: Node<'_, '_>) -> BTreeSet<i64> {
    let number = |name: &str| {
        let meta = root.children().find(|node| node.has_tag_name("meta"))?;
        let node = meta.descendants().find(|node| node.has_tag_name(name))?;
        frame(name, node.text()?).ok()
    };
    let first = number("start_frame").unwrap_or(0);
    let end = number("stop_frame").map(|last| last + 1).or_else(|| Some(first + number("size")?));
    let end = end.filter(|end| end - first <= MOST_FRAMES);
    end.map_or(0..0, |end| first..end).collect()
}

fn track(node: Node<'_, '_>, labels: &mut Labels) -> Result<(), Wrong> {
    let label = node.attribute("label").unwrap_or("track");
    let own = format!("{label} {}", node.attribute("id").unwrap_or("?"));
    for node in boxes(node).filter(|node| node.attribute("outside") != Some("1")) {
        let frame = frame_of(node, "frame")?;
        labels.faces.push(face(node, frame, &own)?);
    }
    Ok(())
}

fn image(node: Node<'_, '_>, labels: &mut Labels) -> Result<(), Wrong> {
    let frame = frame_of(node, "id")?;
    labels.looked_at.insert(frame);
    for node in boxes(node) {
        labels.faces.push(face(node, frame, node.attribute("label").unwrap_or(""))?);
    }
    Ok(())
}

fn boxes<'a, 'b>(node: Node<'a, 'b>) -> impl Iterator<Item = Node<'a, 'b>> {
    node.children().filter(|node| node.has_tag_name("box"))
}

/// Who it is stands in an attribute; without one, `own` is said.
fn face(node: Node<'_, '_>, frame: i64, own: &str) -> Result<Face, Wrong> {
    let [x, y] = [number(node, "xtl")?, number(node, "ytl")?];
    let rect = rect(x, y, number(node, "xbr")? - x, number(node, "ybr")? - y);
    let named = IDENTITY.iter().find_map(|name| attribute(node, name));
    Ok(Face {
        frame,
        rect: rect.map_err(|reason| (line(node), reason))?,
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
    node.attribute(name).ok_or_else(|| (line(node), format!("the {kind} has no `{name}`")))
}

fn number(node: Node<'_, '_>, name: &str) -> Result<f64, Wrong> {
    let text = given(node, name)?;
    text.trim().parse().map_err(|_| (line(node), format!("`{name}` is {text:?}, not a number")))
}

fn line(node: Node<'_, '_>) -> u64 {
    u64::from(node.document().text_pos_at(node.range().start).row)
}
