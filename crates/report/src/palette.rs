//! The colours of page, plots and annotated video. A number always stands beside the colour of a cluster,
//! because colours repeat and not all people can distinguish them.

/// Name, colour on light ground, colour on dark ground.
type Colour = (&'static str, &'static str, &'static str);

/// Colours of clusters, in turn.
const CLUSTERS: [Colour; 12] = [
    ("k0", "#3b62c9", "#86a6ff"),
    ("k1", "#d0690a", "#ffa552"),
    ("k2", "#1f8f5f", "#5fd3a0"),
    ("k3", "#c2385d", "#ff7f9e"),
    ("k4", "#7a4fc4", "#b99bff"),
    ("k5", "#0f8a9d", "#56cfe0"),
    ("k6", "#94661b", "#d9b26a"),
    ("k7", "#cf4f9d", "#ff93d0"),
    ("k8", "#5d7d1a", "#b4d45f"),
    ("k9", "#56698a", "#a3b5cf"),
    ("k10", "#a8432b", "#ff9277"),
    ("k11", "#2a86dd", "#7fc0ff"),
];
/// Noise, and branches of several clusters.
const OTHERS: [Colour; 2] = [("kn", "#a09a90", "#7d786f"), ("kx", "#77726a", "#9a948a")];
/// Everything else on the page.
const PAGE: [Colour; 11] = [
    ("paper", "#faf9f6", "#151413"),
    ("card", "#ffffff", "#1e1d1b"),
    ("ink", "#1c1b19", "#ece8e1"),
    ("soft", "#65615a", "#aaa49a"),
    ("faint", "#736e66", "#9a948a"),
    ("line", "#e4e0d8", "#33312d"),
    ("wash", "#f1eee8", "#262421"),
    ("warn", "#8a4b00", "#ffc774"),
    ("warn-wash", "#fdf1dc", "#2e2414"),
    ("bad", "#b3261e", "#ff9b92"),
    ("accent", "#3557b7", "#9db4ff"),
];

/// CSS class of a cluster's colour; `None` is noise.
pub(crate) fn class(cluster_id: Option<i64>) -> String {
    cluster(cluster_id).0.into()
}

/// A cluster's colour on dark ground, as red, green and blue in hexadecimal; `None` is noise.
pub(crate) fn bright(cluster_id: Option<i64>) -> &'static str {
    cluster(cluster_id).2.trim_start_matches('#')
}

fn cluster(cluster_id: Option<i64>) -> &'static Colour {
    let at = cluster_id.map(|id| id.rem_euclid(CLUSTERS.len() as i64) as usize);
    at.map_or(&OTHERS[0], |at| &CLUSTERS[at])
}

/// Style sheet that defines every colour by name, for light and dark, and a class for each of clusters.
pub(crate) fn style() -> String {
    let define = |of: fn(&Colour) -> &'static str| -> String {
        all().map(|colour| format!("--{}:{};", colour.0, of(colour))).collect()
    };
    let classes: String =
        CLUSTERS.iter().chain(&OTHERS).map(|(name, ..)| format!(".{name}{{--k:var(--{name})}}")).collect();
    format!(
        ":root{{{}}}@media(prefers-color-scheme:dark){{:root{{{}}}}}{classes}",
        define(|colour| colour.1),
        define(|colour| colour.2)
    )
}

/// A style sheet for drawings with the colours of light ground put in: few programs that read SVG know
/// variables. The colour of a cluster is that of its text.
pub(crate) fn resolved(style: &str) -> String {
    let names = all().map(|(name, light, _)| (format!("var(--{name})"), *light));
    let style =
        names.fold(style.replace("var(--k)", "currentColor"), |s, (name, light)| s.replace(&name, light));
    let clusters = CLUSTERS.iter().chain(&OTHERS).map(|(name, light, _)| format!(".{name}{{color:{light}}}"));
    clusters.collect::<String>() + &style
}

fn all() -> impl Iterator<Item = &'static Colour> {
    PAGE.iter().chain(&CLUSTERS).chain(&OTHERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawings_know_no_variables() {
        let style = resolved(include_str!("plots.css"));
        assert!(style.contains("currentColor") && !style.contains("var("), "{style}");
        assert!(!style.contains("color-mix"), "few programs mix colours");
    }

    #[test]
    fn every_variable_of_the_page_is_a_colour_of_ours_or_set_there() {
        let page = [include_str!("style.css"), include_str!("plots.css")].concat();
        let own = ["k", "s", "row", "serif", "sans"];
        for used in page.split("var(--").skip(1).map(|rest| rest.split([')', ',']).next().unwrap_or_default())
        {
            assert!(own.contains(&used) || all().any(|(name, ..)| *name == used), "--{used} has no colour");
        }
    }

    #[test]
    fn colours_repeat_and_noise_has_its_own() {
        assert_eq!([class(Some(0)), class(Some(12)), class(None)], ["k0", "k0", "kn"]);
        assert_eq!(bright(Some(1)), "ffa552");
    }
}
