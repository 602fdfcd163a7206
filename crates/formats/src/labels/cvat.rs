//! CVAT 1.1, for video or for images, as XML.

use std::collections::BTreeSet;

use roxmltree::{Document, Node};

use super::{Face, IDENTITY, Labels, Line, MOST_FRAMES, Wrong, bbox, frame, identity};

/// Shapes that surround a face. A mask, a skeleton or a line does not.
const SHAPES: [&str; 3] = ["box", "ellipse", "polygon"];

pub(super) fn read(content: &str) -> Result<Labels, Wrong> {
    let document = Document::parse(content)
        .map_err(|e| (u64::from(e.pos().row), format!("failed to parse the XML: {e}")))?;
    let root = document.root_element();
    let name = root.tag_name().name();
    if name != "annotations" {
        return Err((1, format!("the root element is <{name}>, not <annotations>")));
    }
    let lines = &Lines::of(content);
    let mut labels = Labels::default();
    let mut images = Vec::new();
    let tracks = || root.children().filter(|node| node.has_tag_name("track"));
    let is_named =
        tracks().flat_map(shapes).any(|node| IDENTITY.iter().any(|name| attribute(node, name).is_some()));
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
            "track" => track(node, lines, label_is_person, &mut labels)?,
            "image" => images.push(image(node, lines, &mut labels)?),
            _ => {}
        }
    }
    let others = root.children().filter(|node| node.has_tag_name("track") || node.has_tag_name("image"));
    let others = others.flat_map(|node| node.children()).filter(Node::is_element);
    let is_known = |node: &Node<'_, '_>| node.has_tag_name("tag") || is_shape(node);
    let others = others.filter(|node| !is_known(node)).count();
    labels.warn(others, "shapes of the labels that surround no face and are left out");
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

fn track(node: Node<'_, '_>, lines: &Lines, label_is_person: bool, labels: &mut Labels) -> Result<(), Wrong> {
    let label = node.attribute("label").unwrap_or("track");
    let own = match label_is_person {
        true => label.to_owned(),
        false => format!("{label} {}", node.attribute("id").unwrap_or("?")),
    };
    if !label_is_person {
        labels.made_up.insert(own.clone());
    }
    for node in shapes(node).filter(|node| node.attribute("outside") != Some("1")) {
        let frame = frame_of(node, lines, "frame")?;
        labels.lines.push(Line { line: lines.of_node(node), frame, face: Some(face(node, lines, &own)?) });
    }
    Ok(())
}

/// Reads the faces of an image; gives its frame.
fn image(node: Node<'_, '_>, lines: &Lines, labels: &mut Labels) -> Result<i64, Wrong> {
    let frame = frame_of(node, lines, "id")?;
    for node in shapes(node) {
        let face = face(node, lines, node.attribute("label").unwrap_or(""))?;
        labels.lines.push(Line { line: lines.of_node(node), frame, face: Some(face) });
    }
    Ok(frame)
}

fn shapes<'a, 'b>(node: Node<'a, 'b>) -> impl Iterator<Item = Node<'a, 'b>> {
    node.children().filter(is_shape)
}

fn is_shape(node: &Node<'_, '_>) -> bool {
    SHAPES.contains(&node.tag_name().name())
}

/// A face, whose identity is an attribute of the box, or else `own`.
fn face(node: Node<'_, '_>, lines: &Lines, own: &str) -> Result<Face, Wrong> {
    let [left, top, right, bottom] = extent(node, lines)?;
    let bbox = bbox(left, top, right - left, bottom - top);
    let named = IDENTITY.iter().find_map(|name| attribute(node, name));
    Ok(Face {
        bbox: bbox.map_err(|reason| (lines.of_node(node), reason))?,
        identity: identity(named.unwrap_or(own)),
        shot: attribute(node, "shot").and_then(|shot| shot.trim().parse().ok()),
    })
}

/// Left, top, right and bottom edge of a shape, pixels.
fn extent(node: Node<'_, '_>, lines: &Lines) -> Result<[f64; 4], Wrong> {
    match node.tag_name().name() {
        "ellipse" => {
            let [x, y, rx, ry] = ["cx", "cy", "rx", "ry"].map(|name| number(node, lines, name));
            let [x, y, rx, ry] = [x?, y?, rx?, ry?];
            Ok([x - rx, y - ry, x + rx, y + ry])
        }
        "polygon" => {
            let none = [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
            given(node, lines, "points")?.split(';').try_fold(none, |[left, top, right, bottom], point| {
                let wrong = || (lines.of_node(node), format!("`points`: {point:?} is not a point"));
                let (x, y) = point.split_once(',').ok_or_else(wrong)?;
                let [x, y] = [x, y].map(|text| super::number("points", text).map_err(|_| wrong()));
                let (x, y) = (x?, y?);
                Ok([left.min(x), top.min(y), right.max(x), bottom.max(y)])
            })
        }
        _ => {
            let [left, top, right, bottom] =
                ["xtl", "ytl", "xbr", "ybr"].map(|name| number(node, lines, name));
            Ok([left?, top?, right?, bottom?])
        }
    }
}

/// The text of `<attribute name="…">`.
fn attribute<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    let mut all = node.children().filter(|node| node.has_tag_name("attribute"));
    let found = all.find(|node| node.attribute("name") == Some(name))?;
    Some(found.text().unwrap_or(""))
}

fn frame_of(node: Node<'_, '_>, lines: &Lines, name: &str) -> Result<i64, Wrong> {
    frame(name, given(node, lines, name)?).map_err(|reason| (lines.of_node(node), reason))
}

fn given<'a>(node: Node<'a, '_>, lines: &Lines, name: &str) -> Result<&'a str, Wrong> {
    let kind = node.tag_name().name();
    node.attribute(name).ok_or_else(|| (lines.of_node(node), format!("the {kind} has no attribute `{name}`")))
}

fn number(node: Node<'_, '_>, lines: &Lines, name: &str) -> Result<f64, Wrong> {
    super::number(name, given(node, lines, name)?).map_err(|reason| (lines.of_node(node), reason))
}

/// Places at which the lines of a file begin. The reader of XML counts the lines anew for every node, which takes hours
/// for a long file.
struct Lines(Vec<usize>);

impl Lines {
    fn of(content: &str) -> Self {
        let breaks = content.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self(breaks.map(|(at, _)| at + 1).collect())
    }

    /// Number of the line in which a node begins, from 1.
    fn of_node(&self, node: Node<'_, '_>) -> u64 {
        1 + self.0.partition_point(|begin| *begin <= node.range().start) as u64
    }
}
