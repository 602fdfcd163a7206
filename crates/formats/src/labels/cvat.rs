//! CVAT 1.1, for video or for images, as XML.

use std::collections::BTreeSet;

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
    let tracks = || root.children().filter(|node| node.has_tag_name("track"));
    let is_named =
        tracks().flat_map(boxes).any(|node| IDENTITY.iter().any(|name| attribute(node, name).is_some()));
    let different: BTreeSet<_> = tracks().filter_map(|node| node.attribute("label")).collect();
    // Where the labels alone differ, they are the people.
    let label_is_person = !is_named && different.len() > 1;
    if !is_named && different.len() == 1 && tracks().count() > 1 {
        labels
            .warnings
            .push("the tracks of the labels do not say who is who: each counts as one person".into());
    }
    for node in root.children().filter(Node::is_element) {
        match node.tag_name().name() {
            "track" => track(node, label_is_person, &mut labels)?,
            "image" => images.push(image(node, &mut labels)?),
            _ => {}
        }
    }
    let others = root.children().filter(|node| node.has_tag_name("track") || node.has_tag_name("image"));
    let others = others.flat_map(|node| node.children()).filter(Node::is_element);
    let others = others.filter(|node| !["box", "tag"].contains(&node.tag_name().name())).count();
    if others > 0 {
        labels.warnings.push(format!("shapes of the labels that are no boxes and are left out: {others}"));
    }
    labels.looked_at = looked_at(root).chain(images).collect();
    Ok(labels)
}

/// The frames of the task or of the job: labelling with CVAT goes through all that its frame filter leaves.
fn looked_at(root: Node<'_, '_>) -> std::iter::StepBy<std::ops::Range<i64>> {
    let text = |name: &str| {
        let meta = root.children().find(|node| node.has_tag_name("meta"))?;
        meta.descendants().find(|node| node.has_tag_name(name))?.text()
    };
    let number = |name: &str| frame(name, text(name)?).ok();
    let step =
        text("frame_filter").and_then(|filter| filter.trim().strip_prefix("step=")?.trim().parse().ok());
    let step = step.filter(|step| *step > 0).unwrap_or(1);
    let first = number("start_frame").unwrap_or(0);
    let length = |size: i64| size.saturating_mul(i64::try_from(step).unwrap_or(i64::MAX));
    let end = number("stop_frame").map(|last| last + 1);
    let end = end.or_else(|| Some(first.saturating_add(length(number("size")?))));
    let end = end.filter(|end| end.saturating_sub(first) <= MOST_FRAMES);
    end.map_or(0..0, |end| first..end).step_by(step)
}

fn track(node: Node<'_, '_>, label_is_person: bool, labels: &mut Labels) -> Result<(), Wrong> {
    let label = node.attribute("label").unwrap_or("track");
    let own = match label_is_person {
        true => label.to_owned(),
        false => format!("{label} {}", node.attribute("id").unwrap_or("?")),
    };
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
