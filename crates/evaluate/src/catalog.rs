//! What every figure means, in words that the page shows.

/// One figure, explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explained {
    /// Name, as in the column `name` of `metrics`.
    pub name: &'static str,
    /// Name for people.
    pub title: &'static str,
    /// Whether it compares with labels.
    pub needs_labels: bool,
    /// How it is computed.
    pub formula: &'static str,
    /// Lowest to highest value; which end is good.
    pub range: &'static str,
    /// What it does not show.
    pub hides: &'static str,
    /// Where it comes from; empty for plain counts.
    pub source: &'static str,
}

/// The explanation of the figure called `name`.
pub fn explain(name: &str) -> Option<&'static Explained> {
    CATALOG.iter().find(|e| e.name == name)
}

/// Place of the figure called `name` in the order of the page.
pub fn position(name: &str) -> usize {
    CATALOG.iter().position(|e| e.name == name).unwrap_or(CATALOG.len())
}

const fn explained(
    name: &'static str,
    title: &'static str,
    needs_labels: bool,
    formula: &'static str,
    range: &'static str,
    hides: &'static str,
    source: &'static str,
) -> Explained {
    Explained { name, title, needs_labels, formula, range, hides, source }
}

/// Every figure, the most telling first.
pub const CATALOG: [Explained; 30] = [
    explained(
        "id_f1",
        "Identity F1",
        true,
        "Every cluster is matched to at most one person so that the number of boxes with the right identity is largest; twice that number over found plus labelled boxes. A missed face, a false face, a split and a merge all cost.",
        "0 to 1, higher is better",
        "Which of the four went wrong; people who are seldom on screen hardly count.",
        "IDF1, Ristani et al. 2016, over the whole video",
    ),
    explained(
        "id_precision",
        "Identity precision",
        true,
        "Boxes with the right identity over found boxes on labelled frames.",
        "0 to 1, higher is better",
        "Faces that were never found.",
        "Ristani et al. 2016",
    ),
    explained(
        "id_recall",
        "Identity recall",
        true,
        "Boxes with the right identity over labelled boxes of known people.",
        "0 to 1, higher is better",
        "Faces found where there are none.",
        "Ristani et al. 2016",
    ),
    explained(
        "det_precision",
        "Detection precision",
        true,
        "Found boxes that match a labelled face one-to-one, over found boxes on labelled frames. Matches with faces of unknown identity are left out.",
        "0 to 1, higher is better",
        "Who the faces are; faces that were never found.",
        "standard; IoU threshold in the configuration",
    ),
    explained(
        "det_recall",
        "Detection recall",
        true,
        "Labelled faces of known people that a found box matches, over all of them.",
        "0 to 1, higher is better",
        "Who the faces are; false faces.",
        "standard; IoU threshold in the configuration",
    ),
    explained(
        "b3_f1",
        "B-cubed F1",
        true,
        "Harmonic mean of B-cubed precision and recall.",
        "0 to 1, higher is better",
        "Faces that were never found: only tracks that match a labelled person are judged.",
        "Bagga and Baldwin 1998; Amigó et al. 2009",
    ),
    explained(
        "b3_precision",
        "B-cubed precision",
        true,
        "For each track the share of its cluster that shows its person, averaged.",
        "0 to 1, higher is better",
        "Splits: every track alone scores 1.",
        "Bagga and Baldwin 1998",
    ),
    explained(
        "b3_recall",
        "B-cubed recall",
        true,
        "For each track the share of its person that is in its cluster, averaged.",
        "0 to 1, higher is better",
        "Merges: one cluster for all scores 1.",
        "Bagga and Baldwin 1998",
    ),
    explained(
        "wcp",
        "Weighted cluster purity",
        true,
        "The largest person of every cluster, summed, over all.",
        "above 0 to 1, higher is better",
        "Splits: every track alone scores 1. Read it beside the number of clusters.",
        "Zhao and Karypis 2001; usual for faces in TV series",
    ),
    explained(
        "nmi",
        "Normalised mutual information",
        true,
        "2 I(cluster; person) / (H(cluster) + H(person)).",
        "0 to 1, higher is better",
        "Chance: random labels with many clusters score well above 0.",
        "Strehl and Ghosh 2002; as scikit-learn",
    ),
    explained(
        "ari",
        "Adjusted Rand index",
        true,
        "Agreement over pairs of tracks, less what chance gives, over its largest value.",
        "−0.5 to 1, 0 is chance, higher is better",
        "People with few tracks: pairs grow with the square.",
        "Hubert and Arabie 1985; as scikit-learn",
    ),
    explained(
        "pairs_f1",
        "Pairwise F1",
        true,
        "Harmonic mean of pairwise precision and recall.",
        "0 to 1, higher is better",
        "People with a single track, who form no pair.",
        "Levine and Domany 2001",
    ),
    explained(
        "pairs_precision",
        "Pairwise precision",
        true,
        "Pairs of tracks in one cluster that show one person, over pairs in one cluster.",
        "0 to 1, higher is better; 1 without pairs",
        "Splits.",
        "Levine and Domany 2001",
    ),
    explained(
        "pairs_recall",
        "Pairwise recall",
        true,
        "Pairs of tracks in one cluster that show one person, over pairs that show one person.",
        "0 to 1, higher is better; 1 without pairs",
        "Merges.",
        "Levine and Domany 2001",
    ),
    explained(
        "oci",
        "Operator clicks",
        true,
        "Clicks to perfect labels: relabel every track that is not of its cluster's majority person, then merge the clusters of one person.",
        "0 to tracks − 1, lower is better",
        "The time it takes to find what is wrong.",
        "operator clicks index, after Guillaumin et al. 2009",
    ),
    explained(
        "ratio",
        "Clusters per person",
        true,
        "Clusters with at least one track of a known person, noise tracks counted one each, over known people.",
        "0 upwards, 1 is right",
        "Which clusters are split or merged; both at once can give 1.",
        "",
    ),
    explained("persons", "Labelled people", true, "Known people in the labels.", "a count", "", ""),
    explained(
        "clusters",
        "Clusters with a known person",
        true,
        "Clusters with at least one track of a known person; a noise track counts as one of its own.",
        "a count",
        "",
        "",
    ),
    explained(
        "track_purity",
        "Track purity",
        true,
        "Matched boxes that show their track's majority person, over matched boxes.",
        "above 0 to 1, higher is better",
        "Broken tracks: tracks of one frame each score 1.",
        "",
    ),
    explained(
        "matched_tracks",
        "Tracks with a known person",
        true,
        "Tracks with at least one box that matches a known person's face; figures about linking are over these.",
        "a count",
        "",
        "",
    ),
    explained("identities", "People", false, "Clusters found.", "a count", "Whether they are right.", ""),
    explained(
        "screen_secs",
        "Screen time",
        false,
        "Time on screen, summed over people, seconds.",
        "0 upwards",
        "Overlap: two people at once count twice.",
        "",
    ),
    explained("tracks", "Tracks", false, "Faces followed through a shot.", "a count", "", ""),
    explained("shots", "Shots", false, "Stretches between two transitions.", "a count", "", ""),
    explained(
        "detections",
        "Boxes",
        false,
        "Faces in frames, whether or not they became part of a track.",
        "a count",
        "",
        "",
    ),
    explained(
        "noise_share",
        "Noise",
        false,
        "Tracks (or their boxes) that were linked to nobody, over all.",
        "0 to 1",
        "Whether they deserve it.",
        "",
    ),
    explained(
        "constraint_violations",
        "Violated constraints",
        false,
        "Constrained pairs of tracks, such as two faces in one frame, that the result goes against.",
        "0 upwards, lower is better",
        "Mistakes between tracks that never meet.",
        "",
    ),
    explained(
        "silhouette",
        "Silhouette",
        false,
        "(b − a) / max(a, b) per track: a is the mean cosine distance to its own cluster, b that to the nearest other one; the mean.",
        "−1 to 1, higher is better",
        "Wrong merges of people who look alike: it judges the vectors by themselves.",
        "Rousseeuw 1987; as scikit-learn",
    ),
    explained(
        "within_distance",
        "Distance within clusters",
        false,
        "Mean cosine distance over pairs of tracks of one cluster.",
        "0 to 2, lower is tighter",
        "Its spread; large clusters dominate.",
        "",
    ),
    explained(
        "between_distance",
        "Distance between clusters",
        false,
        "Mean cosine distance over pairs of tracks of different clusters.",
        "0 to 2, higher is clearer",
        "The nearest pairs, which decide.",
        "",
    ),
];
