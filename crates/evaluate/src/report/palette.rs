//! Which colour a cluster has. The page defines the colours, for light and dark; a number always
//! stands beside them, for people who cannot tell them apart and because they repeat.

/// Number of colours, as many as the page defines.
const COLOURS: i64 = 12;

/// CSS class of a cluster's colour; `None` is noise.
pub fn class(cluster_id: Option<i64>) -> String {
    cluster_id.map_or("kn".into(), |id| format!("k{}", id.rem_euclid(COLOURS)))
}
