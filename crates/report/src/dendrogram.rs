//! The tree of merges: leaves are tracks, heights are distances, colours are clusters.

use schema::tables::{Identity, Linkage};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::format::{self, units};
use crate::palette::{Colour, MIXED};

/// A leaf of the tree.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Leaf {
    /// Its track.
    pub(crate) track_id: i64,
    /// The track's cluster; `None` for noise.
    pub(crate) cluster_id: Option<i64>,
    /// Quality of its best face, 0 to 1.
    pub(crate) quality: f32,
}

/// Most leaves drawn; below that many top merges, branches are closed into one leaf each.
const MAX_LEAVES: usize = 500;
/// Heights above this mean that a constraint forbids the merge.
const FORBIDDEN: f64 = 2.0;
/// Drawing units, which are CSS pixels at full width: left margin, least inner width, width of a leaf.
const LEFT: f64 = 40.0;
const MIN_INNER: f64 = 960.0;
const LEAF: f64 = 9.0;
/// Top edge of the tree, height of the band of forbidden merges, height of the rest.
const TOP: f64 = 12.0;
const BAND: f64 = 40.0;
const BODY: f64 = 240.0;
/// Room below the leaves for clusters' numbers.
const BOTTOM: f64 = 34.0;

/// What lies under a node.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Node {
    size: usize,
    owner: Owner,
    children: Option<(usize, usize)>,
    height: f64,
    /// The track under it with the clearest face.
    track: i64,
    quality: f32,
}

/// Colours of people.
type Colours<'a> = &'a dyn Fn(Option<i64>) -> &'static Colour;

/// Owner of the tracks under a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Cluster(Option<i64>),
    Several,
}

impl Owner {
    fn class(self, colours: Colours<'_>) -> &'static str {
        match self {
            Self::Cluster(id) => colours(id).0,
            Self::Several => MIXED,
        }
    }

    fn name(self) -> String {
        match self {
            Self::Cluster(Some(id)) => Identity::numbered(id),
            Self::Cluster(None) => "not sorted".into(),
            Self::Several => "several people".into(),
        }
    }
}

/// Draws the tree, in user units of its view box; `None` when there is no merge to draw. `threshold` is where
/// the tree was cut; heights above `limit` are merges that a constraint forbids, [`FORBIDDEN`] unless given.
pub(crate) fn draw(
    tracks: &[Leaf],
    linkage: &[Linkage],
    threshold: Option<f64>,
    limit: Option<f64>,
    colours: Colours<'_>,
) -> Result<Option<Value>> {
    if linkage.is_empty() {
        return Ok(None);
    }
    let nodes = build(tracks, linkage)?;
    let opened = linkage.len().saturating_sub(MAX_LEAVES - 1) + tracks.len();
    let leaves = leaves(&nodes, tracks.len(), opened);
    let scale = Scale::new(linkage, threshold, limit.unwrap_or(FORBIDDEN), leaves.len());
    let mut places = vec![(0.0, 0.0); nodes.len()];
    for (at, leaf) in leaves.iter().enumerate() {
        places[*leaf] = (scale.x(at), scale.y(0.0));
    }
    let links: Vec<_> =
        (opened..nodes.len()).filter_map(|at| link(&nodes, at, &mut places, &scale, colours)).collect();
    let tip = |(at, leaf): (usize, &usize)| {
        let node = nodes[*leaf];
        let what = match tracks.get(*leaf) {
            Some(track) => format!("track {}", track.track_id),
            None => format!("{} tracks, merged below distance {:.3}", format::count(node.size), node.height),
        };
        json!({
            "x": units(scale.x(at)), "y": units(scale.base()), "class": node.owner.class(colours),
            "title": format!("{what}, {}", node.owner.name()), "track": node.track,
        })
    };
    let cut = |cut: f64| json!({ "y": units(scale.y(cut)), "label": format!("cut at {cut:.2}") });
    Ok(Some(json!({
        "width": units(scale.width),
        "height": units(scale.base() + BOTTOM),
        "left": LEFT,
        "base": units(scale.base()),
        "links": links,
        "tips": leaves.iter().enumerate().map(tip).collect::<Vec<_>>(),
        "groups": groups(&nodes, &leaves, &scale, colours),
        "ticks": scale.ticks(),
        "cut": threshold.map(cut),
        "threshold": threshold.unwrap_or(0.0),
        // Lower edge of the band of forbidden merges.
        "band": scale.forbidden.then(|| units(TOP + BAND)),
        "n_tracks": tracks.len(),
        // The distance at the top of the tree, its upper edge, and its height.
        "top": scale.top,
        "body_top": units(scale.body_top()),
        "body": BODY,
        // Number of branches that are closed into one leaf.
        "closed": leaves.iter().filter(|leaf| nodes[**leaf].size > 1).count(),
    })))
}

/// Every node of the tree; an error when a merge names a node that is not there or not free.
fn build(tracks: &[Leaf], linkage: &[Linkage]) -> Result<Vec<Node>> {
    let leaf = |c: &Leaf| Node {
        size: 1,
        owner: Owner::Cluster(c.cluster_id),
        children: None,
        height: 0.0,
        track: c.track_id,
        quality: c.quality,
    };
    let mut nodes: Vec<Node> = tracks.iter().map(leaf).collect();
    let mut free = vec![true; tracks.len() + linkage.len()];
    for (step, merge) in linkage.iter().enumerate() {
        let take = |node: i64| usize::try_from(node).ok().filter(|node| *node < nodes.len());
        let (left, right) = take(merge.left).zip(take(merge.right)).ok_or(Error::Linkage { step })?;
        if left == right || !std::mem::take(&mut free[left]) || !std::mem::take(&mut free[right]) {
            return Err(Error::Linkage { step });
        }
        let (a, b) = (nodes[left], nodes[right]);
        let clearest = if b.quality > a.quality { b } else { a };
        nodes.push(Node {
            track: clearest.track,
            quality: clearest.quality,
            size: a.size + b.size,
            owner: if a.owner == b.owner { a.owner } else { Owner::Several },
            children: Some((left, right)),
            height: merge.distance,
        });
    }
    Ok(nodes)
}

/// Nodes drawn as leaves, from left to right. Nodes before `opened` are not looked into.
fn leaves(nodes: &[Node], n_tracks: usize, opened: usize) -> Vec<usize> {
    let mut is_child = vec![false; nodes.len()];
    for (a, b) in nodes.iter().filter_map(|node| node.children) {
        (is_child[a], is_child[b]) = (true, true);
    }
    let mut leaves = Vec::new();
    // Trees may be as deep as they are large, so no recursion; a stack turns the order around.
    let mut stack: Vec<usize> = (0..nodes.len()).filter(|at| !is_child[*at]).collect();
    while let Some(at) = stack.pop() {
        match nodes[at].children.filter(|_| at >= opened.max(n_tracks)) {
            Some((left, right)) => stack.extend([right, left]),
            None => leaves.push(at),
        }
    }
    leaves
}

/// From leaf numbers and distances to user units.
struct Scale {
    width: f64,
    step: f64,
    /// The distance at the top of the body.
    top: f64,
    /// Merges above are forbidden.
    limit: f64,
    forbidden: bool,
}

impl Scale {
    fn new(linkage: &[Linkage], threshold: Option<f64>, limit: f64, n_leaves: usize) -> Self {
        let allowed = linkage.iter().map(|l| l.distance).filter(|d| *d <= limit);
        let highest = allowed.chain(threshold).fold(0.0, f64::max);
        let inner = (n_leaves as f64 * LEAF).max(MIN_INNER);
        Self {
            width: LEFT + inner,
            step: inner / n_leaves.max(1) as f64,
            top: if highest > 0.0 { (highest * 1.05).min(limit) } else { 1.0 },
            limit,
            forbidden: linkage.iter().any(|l| l.distance > limit),
        }
    }

    fn x(&self, leaf: usize) -> f64 {
        LEFT + (leaf as f64 + 0.5) * self.step
    }

    fn body_top(&self) -> f64 {
        if self.forbidden { TOP + BAND } else { TOP }
    }

    fn base(&self) -> f64 {
        self.body_top() + BODY
    }

    /// Forbidden merges share a narrow band: how far above the limit they lie says little.
    fn y(&self, distance: f64) -> f64 {
        if distance > self.limit {
            return TOP + BAND * (1.0 - (0.2 + 0.6 * ((distance - self.limit) / self.limit).clamp(0.0, 1.0)));
        }
        self.base() - BODY * (distance / self.top).clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<Value> {
        let steps = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];
        let step = steps.into_iter().find(|s| self.top / s <= 6.0).unwrap_or((self.top / 6.0).ceil());
        let values = (0..).map(|i| f64::from(i) * step).take_while(|v| *v <= self.top);
        let label = |v: f64| if step < 0.1 { format!("{v:.2}") } else { format!("{v:.1}") };
        values.map(|v| json!({ "y": units(self.y(v)), "label": label(v) })).collect()
    }
}

/// The bracket of a merge, which also becomes the place of its node.
fn link(
    nodes: &[Node],
    at: usize,
    places: &mut [(f64, f64)],
    scale: &Scale,
    colours: Colours<'_>,
) -> Option<Value> {
    let node = nodes[at];
    let (left, right) = node.children?;
    let ((xl, yl), (xr, yr)) = (places[left], places[right]);
    let y = scale.y(node.height);
    places[at] = (f64::midpoint(xl, xr), y);
    let why = if node.height > scale.limit { ", forbidden by a constraint" } else { "" };
    let distance = if node.height > scale.limit { node.height - scale.limit } else { node.height };
    let [xl, yl, xr, yr, y] = [xl, yl, xr, yr, y].map(units);
    let (size, owner) = (format::count(node.size), node.owner.name());
    Some(json!({
        "d": format!("M{xl} {yl}V{y}H{xr}V{yr}"),
        // The script compares the height with a moved cut; merges above the tree stay forbidden.
        "at": format!("{:.4}", node.height),
        // The clearest track of either branch.
        "tracks": [nodes[left].track, nodes[right].track],
        "class": node.owner.class(colours),
        "title": format!("distance {distance:.3}{why}, {size} tracks, {owner}"),
    }))
}

/// Neighbouring leaves of one cluster.
fn groups(nodes: &[Node], leaves: &[usize], scale: &Scale, colours: Colours<'_>) -> Vec<Value> {
    /// Drawing units that a number needs.
    const DIGIT: f64 = 7.0;
    let mut groups = Vec::new();
    let mut first = 0;
    for run in leaves.chunk_by(|a, b| nodes[*a].owner == nodes[*b].owner) {
        let width = run.len() as f64 * scale.step;
        let x = LEFT + first as f64 * scale.step;
        first += run.len();
        let Some(owner) = run.first().map(|leaf| nodes[*leaf].owner) else { continue };
        let tracks: usize = run.iter().map(|leaf| nodes[*leaf].size).sum();
        let number =
            if let Owner::Cluster(Some(id)) = owner { Some(Identity::number(id).to_string()) } else { None };
        groups.push(json!({
            "x": units(x + 1.0), "width": units((width - 2.0).max(1.0)), "middle": units(x + width / 2.0),
            "class": owner.class(colours),
            "title": format!("{}, {}", owner.name(), format::counted(tracks, "track", "tracks")),
            "number": number.filter(|number| number.len() as f64 * DIGIT <= width + 2.0),
        }));
    }
    groups
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test should stop where it fails")]

    use super::*;
    use crate::palette;

    const COLOURS: Colours<'_> = &|id| palette::colour(id, |_| true);

    fn tracks(clusters: &[Option<i64>]) -> Vec<Leaf> {
        (0..)
            .zip(clusters)
            .map(|(track_id, &cluster_id)| Leaf { track_id, cluster_id, quality: track_id as f32 })
            .collect()
    }

    fn merges(merges: &[(i64, i64, f64)]) -> Vec<Linkage> {
        let merge = |(step, &(left, right, distance)): (i64, &(i64, i64, f64))| Linkage {
            video_id: "v".into(),
            step,
            left,
            right,
            distance,
            size: 0,
        };
        (0..).zip(merges).map(merge).collect()
    }

    #[test]
    fn nothing_is_drawn_without_merges() {
        assert_eq!(draw(&[], &[], Some(0.6), None, COLOURS).unwrap(), None);
        assert_eq!(draw(&tracks(&[Some(0)]), &[], None, None, COLOURS).unwrap(), None);
    }

    #[test]
    fn branches_of_one_cluster_have_its_colour_and_number() {
        let leaves = tracks(&[Some(0), Some(1), Some(0), None]);
        let linkage = merges(&[(0, 2, 0.1), (1, 3, 0.8), (4, 5, 2.9)]);
        let tree = draw(&leaves, &linkage, Some(0.6), None, COLOURS).unwrap().unwrap();
        let links = &tree["links"];
        assert_eq!([0, 1, 2].map(|at| &links[at]["class"]), ["k0", "kx", "kx"]);
        assert!(links[2]["title"].as_str().unwrap().contains("0.900, forbidden"));
        assert_eq!(links[2]["tracks"], json!([2, 3]));
        let numbers = [0, 1, 2].map(|at| tree["groups"][at]["number"].as_str());
        assert_eq!(numbers, [Some("1"), Some("2"), None]);
        assert!(!tree["band"].is_null());
    }

    #[test]
    fn a_merge_of_what_is_gone_is_an_error() {
        let leaves = tracks(&[Some(0), Some(0), Some(0)]);
        let twice = merges(&[(0, 1, 0.1), (0, 2, 0.2)]);
        assert!(matches!(draw(&leaves, &twice, None, None, COLOURS), Err(Error::Linkage { step: 1 })));
        let ahead = merges(&[(0, 4, 0.1)]);
        assert!(matches!(draw(&leaves, &ahead, None, None, COLOURS), Err(Error::Linkage { step: 0 })));
    }

    #[test]
    fn thousands_of_tracks_are_closed_into_500_leaves() {
        let n = 3000;
        let leaves = tracks(&vec![Some(0); n]);
        // A chain, the deepest tree there is.
        let chain: Vec<_> = (1..n as i64)
            .map(|i| (i, if i == 1 { 0 } else { n as i64 + i - 2 }, i as f64 / n as f64))
            .collect();
        let tree = draw(&leaves, &merges(&chain), None, None, COLOURS).unwrap().unwrap();
        let count = |name: &str| tree[name].as_array().unwrap().len();
        assert_eq!((count("tips"), count("links"), &tree["closed"]), (500, 499, &json!(1)));
    }

    #[test]
    fn several_roots_stand_side_by_side() {
        let leaves = tracks(&[Some(0), Some(0), Some(1), Some(1)]);
        let tree = draw(&leaves, &merges(&[(0, 1, 0.1), (2, 3, 0.2)]), None, None, COLOURS).unwrap().unwrap();
        assert_eq!(["tips", "links", "groups"].map(|name| tree[name].as_array().unwrap().len()), [4, 2, 2]);
    }
}
