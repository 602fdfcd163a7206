//! The colours of page, plots and annotated video: eight for the main people, grey for all others. A name always stands
//! beside the colour of a person, because not all people can distinguish colours.

/// Name, colour on light ground, colour on dark ground.
pub(crate) type Colour = (&'static str, &'static str, &'static str);

/// Colours of the first main people.
const CLUSTERS: [Colour; 8] = [
    ("k0", "#3b62c9", "#86a6ff"),
    ("k1", "#d0690a", "#ffa552"),
    ("k2", "#1f8f5f", "#5fd3a0"),
    ("k3", "#c2385d", "#ff7f9e"),
    ("k4", "#7a4fc4", "#b99bff"),
    ("k5", "#0f8a9d", "#56cfe0"),
    ("k6", "#94661b", "#d9b26a"),
    ("k7", "#cf4f9d", "#ff93d0"),
];
/// Noise, all other people, and branches of several clusters.
const OTHERS: [Colour; 3] =
    [("kn", "#b9b3a8", "#5f5b54"), ("kr", "#807a70", "#98928a"), ("kx", "#77726a", "#9a948a")];
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

/// Name of the colour of branches of several people.
pub(crate) const MIXED: &str = OTHERS[2].0;

/// Colour of a person: its own for the first eight people if they are main people, grey for all others; `None` is
/// noise.
pub(crate) fn colour(cluster_id: Option<i64>, is_main: impl Fn(i64) -> bool) -> &'static Colour {
    let Some(id) = cluster_id else { return &OTHERS[0] };
    let own = usize::try_from(id).ok().and_then(|at| CLUSTERS.get(at));
    own.filter(|_| is_main(id)).unwrap_or(&OTHERS[1])
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
    fn the_first_main_people_have_colours_and_all_others_are_grey() {
        let is_main = |id: i64| id != 3;
        let names = [Some(0), Some(3), Some(7), Some(8), Some(-1), None].map(|id| colour(id, is_main).0);
        assert_eq!(names, ["k0", "kr", "k7", "kr", "kr", "kn"]);
    }
}
