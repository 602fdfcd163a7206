#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use testkit::people::{people, quality};

use super::quality::View;
use super::*;
use crate::items::Vectors;
use crate::method::Crop;

/// Largest difference of two gains that count as equal, because the sums have single precision.
const ROUNDING: f64 = 1e-3;

fn search(k: usize, threads: usize) -> Search {
    Search { k, exact_pairs: usize::MAX, probes: 1, threads }
}

/// Generates a view of `n` tracks with arbitrary gains and noise. In a view after the first, some tracks have no
/// vector.
fn view(n: usize, is_first: bool) -> impl Strategy<Value = View> {
    (1..7_usize, 0.3..0.8_f64, 5.0..20.0_f64).prop_flat_map(move |(width, person, dim)| {
        let values = prop::collection::vec(-1.0..1.0_f32, n * width);
        let gain = prop::collection::vec(0.1..1.2_f64, n);
        let noise = prop::collection::vec(0.05..0.9_f64, n);
        let is_seen = prop::collection::vec(prop::bool::weighted(if is_first { 1.0 } else { 0.8 }), n);
        (values, gain, noise, is_seen).prop_map(move |(mut values, mut gain, mut noise, is_seen)| {
            for track in (0..n).filter(|track| !is_seen[*track]) {
                values[track * width..][..width].fill(0.0);
                (gain[track], noise[track]) = (0.0, f64::INFINITY);
            }
            View {
                vectors: Vectors::trusted(width, values),
                gain,
                noise_variance: noise,
                person_variance: person,
                evidence_dim: dim,
            }
        })
    })
}

/// Generates tracks in one view or two, cannot-link pairs, and log odds of clothes.
fn cases() -> impl Strategy<Value = (Tracks, Vec<(usize, usize)>, ClothesOdds)> {
    (1..24_usize, prop::bool::ANY).prop_flat_map(|(n, is_alone)| {
        let further = prop::collection::vec(view(n, false), usize::from(!is_alone));
        let pairs = prop::collection::vec((0..n, 0..n), 0..n);
        let clothes = prop::collection::vec((0..n, 0..n, -2.0..2.0_f32), 0..2 * n);
        (view(n, true), further, pairs, clothes).prop_map(move |(first, further, pairs, clothes)| {
            let mut worn: ClothesOdds = vec![Vec::new(); n];
            for (a, b, odds) in clothes.into_iter().filter(|(a, b, _)| a != b) {
                worn[a].push((b as u32, odds));
                worn[b].push((a as u32, odds));
            }
            let tracks = Tracks { views: [vec![first], further].concat() };
            (tracks, pairs.into_iter().filter(|(a, b)| a < b).collect(), worn)
        })
    })
}

fn unit(row: &[f32]) -> Vec<f32> {
    let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
    row.iter().map(|x| x / length).collect()
}

/// Returns the sums of single tracks with the same offset in each view.
fn shifted(tracks: &Tracks, by: f64) -> Sums {
    let offsets: Vec<_> = tracks.views.iter().map(|view| vec![by; view.vectors.dim()]).collect();
    Sums::new(tracks, &offsets, 1)
}

/// Merges greedily by the definition: for every pair of clusters, all tracks of both are added up again. Returns the
/// clusters, and the smallest difference in log odds between a decision and its alternative.
fn naive(
    singles: &Sums,
    prior: &Prior,
    cannot_link: &[(usize, usize)],
    worn: &ClothesOdds,
    stop: f64,
) -> (Vec<Vec<usize>>, f64) {
    let n = singles.vectors().len();
    let mut clusters: Vec<Vec<usize>> = (0..n).map(|track| vec![track]).collect();
    let mut closest = f64::INFINITY;
    let gain = |a: &[usize], b: &[usize]| {
        let label = |track: usize| {
            if a.contains(&track) {
                0
            } else if b.contains(&track) {
                1
            } else {
                2
            }
        };
        let labels: Vec<usize> = (0..n).map(label).collect();
        let evidence = singles.grouped(&labels, 3).merge_gain(0, 1);
        let clothes: Vec<f64> = a
            .iter()
            .flat_map(|track| &worn[*track])
            .filter(|(other, _)| b.contains(&(*other as usize)))
            .map(|(_, odds)| f64::from(*odds))
            .collect();
        let clothes = clothes.iter().sum::<f64>() / clothes.len().max(1) as f64;
        evidence + prior.merge(a.len() as u32, b.len() as u32) + clothes
    };
    loop {
        let mut pairs = Vec::new();
        for i in 0..clusters.len() {
            for j in i + 1..clusters.len() {
                let crosses = |(a, b): &(usize, usize)| {
                    (clusters[i].contains(a) && clusters[j].contains(b))
                        || (clusters[i].contains(b) && clusters[j].contains(a))
                };
                if !cannot_link.iter().any(crosses) {
                    pairs.push((gain(&clusters[i], &clusters[j]), i, j));
                }
            }
        }
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
        let Some(&(best, i, j)) = pairs.first() else { return (clusters, closest) };
        closest = closest.min((best - stop).abs());
        if best <= stop {
            return (clusters, closest);
        }
        closest = closest.min(pairs.get(1).map_or(f64::INFINITY, |next| best - next.0));
        let other = clusters.remove(j);
        clusters[i].extend(other);
    }
}

fn partition(labels: &[usize]) -> Vec<Vec<usize>> {
    let mut clusters = vec![Vec::new(); labels.iter().max().map_or(0, |last| last + 1)];
    labels.iter().enumerate().for_each(|(track, label)| clusters[*label].push(track));
    clusters
}

proptest! {
    /// Compares merging over all pairs, and over complete neighbour lists, with the naive definition.
    #[test]
    fn merging_equals_the_naive_definition((tracks, pairs, worn) in cases(), alpha in 0.1..20.0_f64, stop in -3.0..3.0_f64) {
        let n = tracks.len();
        let singles = shifted(&tracks, 0.05);
        let prior = Prior::new(n, alpha);
        let (mut expected, closest) = naive(&singles, &prior, &pairs, &worn, stop);
        // Rounding can decide a tie either way.
        prop_assume!(closest > ROUNDING);
        expected.iter_mut().for_each(|cluster| cluster.sort_unstable());
        expected.sort();
        for all_pairs in [usize::MAX, 0] {
            let limits = Limits { all_pairs, known: n, search: search(n, 1) };
            let mut merger = Merger::new(singles.clone(), &prior, &pairs, limits).with_clothes(&worn);
            merger.run(Stop::Gain(stop), &mut |_| ());
            prop_assert_eq!(&partition(&merger.labels()), &expected);
        }
    }

    /// The labels satisfy the constraints, the tree has n − 1 merges, and cutting the tree at the stop gives
    /// the labels.
    #[test]
    fn cutting_the_tree_at_the_stop_gives_the_labels((tracks, pairs, worn) in cases(), stop in -3.0..3.0_f64) {
        let n = tracks.len();
        let singles = shifted(&tracks, 0.0);
        let prior = Prior::new(n, 2.0);
        let limits = Limits { all_pairs: 4, known: 2, search: search(2, 1) };
        let mut merger = Merger::new(singles, &prior, &pairs, limits).with_clothes(&worn);
        merger.run(Stop::Gain(stop), &mut |_| ());
        let labels = merger.labels();
        prop_assert!(pairs.iter().all(|(a, b)| labels[*a] != labels[*b]));
        merger.complete(1);
        let merges = tree(n, merger.joined());
        prop_assert_eq!(merges.len(), n - 1);
        prop_assert!(merges.is_sorted_by(|a, b| a.height <= b.height));
        prop_assert_eq!(linkage::cut(n, &merges, distance(stop).next_down()), labels);
    }

    /// With a stop by gain, the labels satisfy the constraints and every track is in its best cluster; with a
    /// number of clusters, there are at most `k`.
    #[test]
    fn reassigned_tracks_are_in_their_best_cluster((tracks, pairs, worn) in cases(), k in 1..24_usize) {
        let n = tracks.len();
        let singles = shifted(&tracks, 0.0);
        let prior = Prior::new(n, 2.0);
        let limits = Limits { all_pairs: 100, known: 100, search: search(24, 1) };
        let cannot_link_of = cannot_link_of(n, &pairs);
        for stop in [Stop::Gain(0.0), Stop::Clusters(k.min(n))] {
            let mut merger = Merger::new(singles.clone(), &prior, &pairs, limits).with_clothes(&worn);
            merger.run(stop, &mut |_| ());
            let clusters = Clusters::new(&singles, &prior, &cannot_link_of, merger.labels(), limits.search);
            let mut clusters = clusters.with_clothes(&worn);
            let is_settled = clusters.reassign(&tracks.least_clear_first(), stop, &mut |_| ());
            prop_assert!(is_settled || worn.iter().any(|pairs| !pairs.is_empty()), "without clothes, reassignment ends");
            let labels = clusters.labels().to_vec();
            let count = labels.iter().max().unwrap() + 1;
            if stop == Stop::Gain(0.0) {
                prop_assert!(pairs.iter().all(|(a, b)| labels[*a] != labels[*b]));
                for standing in clusters.standings().into_iter().filter(|_| is_settled) {
                    let next = standing.next.map_or(f64::NEG_INFINITY, |(_, gain)| gain);
                    prop_assert!(standing.own >= next.max(0.0) - ROUNDING);
                    prop_assert!((0.0..=1.0).contains(&standing.certainty));
                }
            } else {
                // There are fewer clusters if no further merge is allowed or reassignment empties a cluster.
                prop_assert!(count <= k.min(n));
            }
        }
    }
}

/// Compares linking by lists of 24 neighbours, of an exact search and of one in cells, as for very many tracks, with linking
/// over all pairs.
#[test]
fn linking_by_neighbours_is_close_to_all_pairs() {
    let n = 1500;
    let made = people(n, 32, 3);
    let norms: Vec<_> = made.norms.clone();
    let rows: Vec<&[f32]> = (0..n).map(|row| made.vector(row)).collect();
    let crops = rows.iter().zip(&norms).enumerate();
    let crops =
        crops.map(|(item, (vector, norm))| crate::method::Crop { item, vector, norm: *norm }).collect();
    let items = Items::new(rows.clone(), made.cannot_link.clone()).unwrap().with_crops(crops).unwrap();
    let tracks = Tracks::new(&items, &Norms::new(&items, 1.0), &quality(32), true).unwrap();
    let linked = |all_pairs, search| {
        let limits = Limits { all_pairs, known: 64, search };
        let learned = Learned { offsets: vec![vec![0.0; 32]], alpha: 60.0, clothes: None };
        let round = Round {
            tracks: &tracks,
            cannot_link: &made.cannot_link,
            worn: ClothesOdds::new(),
            second_look: None,
            without: &[],
            limits,
        };
        round.run(&learned, Stop::Gain(0.0), false, &mut |_| ()).labels
    };
    let exact = search(24, 2);
    let all = linked(usize::MAX, exact);
    let together =
        |labels: &[usize]| partition(labels).iter().map(|c| c.len() * (c.len() - 1) / 2).sum::<usize>();
    for search in [exact, Search { exact_pairs: 0, probes: 32, ..exact }] {
        let some = linked(0, search);
        let moved = all.iter().zip(&some).filter(|(a, b)| a != b).count();
        assert!(
            together(&all).abs_diff(together(&some)) * 50 < together(&all),
            "{moved} of {n} tracks have another label with {search:?}"
        );
    }
}

#[test]
fn the_result_does_not_depend_on_the_number_of_threads() {
    let made = people(600, 16, 5);
    let rows: Vec<&[f32]> = (0..600).map(|row| made.vector(row)).collect();
    let items = Items::new(rows, made.cannot_link.clone()).unwrap();
    for scale in [Scale::Evidence(quality(16)), Scale::Distance(0.5)] {
        let of = |threads| {
            Link {
                scale: scale.clone(),
                cut: Cut::Best,
                clothes: Clothes::Both,
                without: Vec::new(),
                threads,
            }
            .assign(&items, &mut |_, _| ())
            .unwrap()
        };
        assert_eq!(of(1), of(3));
    }
}

#[test]
fn every_threshold_that_is_shown_gives_its_people() {
    let made = people(150, 64, 7);
    let rows: Vec<&[f32]> = (0..150).map(|row| made.vector(row)).collect();
    let items = Items::new(rows, made.cannot_link.clone()).unwrap();
    for scale in [Scale::Evidence(quality(64)), Scale::Distance(0.5)] {
        for cut in [Cut::Best, Cut::Clusters(12)] {
            let assign = |cut| {
                let link = Link {
                    scale: scale.clone(),
                    cut,
                    clothes: Clothes::Both,
                    without: Vec::new(),
                    threads: 2,
                };
                link.assign(&items, &mut |_, _| ()).unwrap()
            };
            let found = assign(cut);
            assert!(found.cuts.len() >= 5, "{} thresholds", found.cuts.len());
            if cut == Cut::Best {
                let own = found.tree.as_ref().unwrap().cut;
                assert!(found.cuts.contains(&(own, found.labels.clone())), "the threshold of the run");
            }
            for (threshold, labels) in found.cuts {
                assert_eq!(assign(Cut::Height(threshold)).labels, labels, "{threshold}");
            }
        }
    }
}

/// Two people of three tracks each in two directions, and a track between them.
fn two_people_and_one_between() -> (Tracks, Vec<usize>) {
    let rows = [[1.0, 0.0], [0.95, 0.05], [0.9, -0.05], [0.0, 1.0], [0.05, 0.95], [-0.05, 0.9], [0.5, 0.5]];
    let vectors = Vectors::trusted(2, rows.concat());
    let view = View {
        vectors,
        gain: vec![0.8; 7],
        noise_variance: vec![0.2; 7],
        person_variance: 0.6,
        evidence_dim: 20.0,
    };
    (Tracks { views: vec![view] }, vec![0, 0, 0, 1, 1, 1, 0])
}

#[test]
fn a_track_between_two_people_has_a_low_confidence() {
    let (tracks, labels) = two_people_and_one_between();
    let singles = shifted(&tracks, 0.0);
    let (prior, cannot_link_of) = (Prior::new(7, 1.0), cannot_link_of(7, &[]));
    let clusters = Clusters::new(&singles, &prior, &cannot_link_of, labels, search(24, 1));
    let of = |threads| posterior::confidences(&clusters, &tracks, &[1.0; 7], threads);
    let found = of(1);
    assert_eq!(found, of(3), "the result does not depend on threads");
    assert!(found.iter().all(|confidence| (0.0..=1.0).contains(confidence)));
    let least = found[..6].iter().copied().fold(1.0, f64::min);
    assert!(found[6] < 0.9 && least > found[6], "{found:?}");
}

#[test]
fn a_second_look_merges_similar_people_whom_nothing_keeps_apart() {
    let (tracks, _) = two_people_and_one_between();
    let units: Vec<_> = (0..7).map(|track| unit(tracks.views[0].vectors.row(track))).collect();
    let items = Items::new(units.iter().map(Vec::as_slice).collect(), Vec::new()).unwrap();
    // The cosine is even at 0.8.
    let table =
        Quality { mean: vec![0.8, 0.4], gain: vec![0.0], norms: vec![1.0], noise: vec![1.0], ..quality(2) };
    let (singles, prior) = (shifted(&tracks, 0.0), Prior::new(7, 1.0));
    let look = |labels: [usize; 7], cannot_link: &[(usize, usize)], clarity: Clarity, stop: f64| {
        let cannot_link_of = cannot_link_of(7, cannot_link);
        let mut clusters = Clusters::new(&singles, &prior, &cannot_link_of, labels.to_vec(), search(24, 1));
        let clarity = (0..7).map(|track| if track == 2 { clarity } else { Clarity::Clear }).collect();
        let look = SecondLook { faces: Faces::new(&items, &table), clarity };
        let looked = look.merge(&mut clusters, stop, search(24, 1));
        (clusters.labels().to_vec(), looked)
    };
    let apart = [0, 0, 2, 1, 1, 1, 3];
    let (labels, Looked { right, .. }) = look(apart, &[], Clarity::Clear, 0.0);
    let joined = [0, 0, 0, 1, 1, 1, 2];
    assert_eq!(labels, joined, "track 2 is similar to the first person, track 6 to no person");
    assert!((0.75..1.0).contains(&right[2]) && right.iter().filter(|right| **right == 1.0).count() == 6);
    assert_eq!(look(apart, &[(1, 2)], Clarity::Clear, 0.0).0, apart, "a constraint keeps track 2 apart");
    assert_eq!(look(apart, &[], Clarity::Clear, 9.0).0, apart, "a higher stop asks for more evidence");
    // At this stop, the odds are as if the probability were 0.7.
    let stop = (right[2] / (1.0 - right[2])).ln() - (0.7_f64 / 0.3).ln();
    assert_eq!(look(apart, &[], Clarity::Clear, stop).0, apart);
    assert_eq!(look(apart, &[], Clarity::Poor, stop).0, joined, "a poor track joins more easily");
    assert_eq!(look(apart, &[], Clarity::Unclear, stop).0, joined);
    // At this one, as if it were 0.4 or 0.2.
    for (probability, clarity, is_undecided) in
        [(0.4, Clarity::Poor, true), (0.4, Clarity::Clear, false), (0.2, Clarity::Poor, false)]
    {
        let stop = (right[2] / (1.0 - right[2])).ln() - (probability / (1.0_f64 - probability)).ln();
        let (labels, looked) = look(apart, &[], clarity, stop);
        assert_eq!(labels, apart);
        let expected: Vec<bool> = (0..7).map(|track| track == 2 && is_undecided).collect();
        assert_eq!(looked.is_undecided, expected, "{probability} {clarity:?}");
    }
    // Track 1 is another single track.
    let alone = [0, 1, 2, 3, 3, 3, 4];
    let is_joined = |clarity| {
        let labels = look(alone, &[(0, 1), (0, 2)], clarity, 0.0).0;
        labels[1] == labels[2]
    };
    assert!(is_joined(Clarity::Clear) && is_joined(Clarity::Poor));
    assert!(!is_joined(Clarity::Unclear), "an unclear track founds no person");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Scores of detection change nothing but which single tracks are noise, where the second look is left out; and
    /// nothing where a number of people is given.
    #[test]
    fn scores_leave_out_unclear_tracks_and_change_nothing_else(seed in 0..1000_u64, scores in prop::collection::vec(0.5..1.0_f32, 60)) {
        let made = people(60, 16, seed);
        let rows: Vec<&[f32]> = (0..60).map(|row| made.vector(row)).collect();
        let crops = (0..60).map(|item| Crop { item, vector: made.vector(item), norm: made.norms[item] });
        let plain = Items::new(rows, made.cannot_link.clone()).unwrap().with_crops(crops.collect()).unwrap();
        let scored = plain.clone().with_scores(scores).unwrap();
        let labels = |items: &Items<'_>, cut, without: &[Part]| {
            let scale = Scale::Evidence(quality(16));
            let link = Link { scale, cut, clothes: Clothes::Off, without: without.to_vec(), threads: 1 };
            link.assign(items, &mut |_, _| ()).unwrap().labels
        };
        prop_assert_eq!(labels(&scored, Cut::Clusters(9), &[]), labels(&plain, Cut::Clusters(9), &[]));
        let (with, without) = (labels(&scored, Cut::Best, &[Part::SecondLook]), labels(&plain, Cut::Best, &[Part::SecondLook]));
        let norms = Norms::new(&scored, 1.0);
        let is_alone = |item: usize| without.iter().filter(|label| **label == without[item]).count() == 1;
        let left_out = |item: usize| without[item].is_none() || (is_alone(item) && norms.is_unclear(item));
        let expected = (0..60).map(|item| if left_out(item) { None } else { without[item] });
        prop_assert_eq!(with, super::super::numbered(expected.collect()));
        // With the second look, no unclear track is a person of its own.
        let looked = labels(&scored, Cut::Best, &[]);
        for item in (0..60).filter(|item| norms.is_unclear(*item)) {
            prop_assert!(looked[item].is_none() || looked.iter().filter(|label| **label == looked[item]).count() > 1);
        }
    }
}

/// The odds of a partition are those by which linking merges and reassigns.
#[test]
fn odds_are_the_gains_of_linking() {
    let made = people(60, 16, 5);
    let rows: Vec<&[f32]> = (0..60).map(|row| made.vector(row)).collect();
    let items = Items::new(rows, Vec::new()).unwrap();
    let labels: Vec<usize> = (0..60).map(|item| item % 7).collect();
    let model = VideoModel::new(&items, &quality(16), Clothes::Off, &labels, 1).unwrap();
    let odds = model.odds(labels.clone());
    // A track that moves from one cluster to another gains what the difference of its odds says.
    let mut moved = labels.clone();
    moved[7] = 1;
    let after = model.odds(moved);
    assert!((odds.membership(7)(1).unwrap() - after.membership(7)(1).unwrap()).abs() < ROUNDING);
    assert!((odds.same_person(2, 3) - odds.same_person(3, 2)).abs() < ROUNDING);
    // A cluster of one track joins as the track does.
    let mut alone = labels;
    alone[7] = 7;
    let alone = model.odds(alone);
    assert!((alone.same_person(7, 3) - alone.membership(7)(3).unwrap()).abs() < ROUNDING);
}

/// All heights of the tree from what the table `link_vectors` holds, with clothes and constraints.
#[test]
fn heights_follow_from_the_evidence_of_the_items() {
    let n = 120;
    let made = people(n, 64, 5);
    let rows: Vec<&[f32]> = (0..n).map(|row| made.vector(row)).collect();
    let torso = |item: usize| {
        let mut torso = [0.05_f32; 8];
        torso[made.truth[item] % 8] = 0.65;
        torso
    };
    let torsos: Vec<[f32; 8]> = (0..n).map(torso).collect();
    let first_secs = |item: usize| 5.0 * item as f64;
    let outfits = torsos.iter().enumerate().map(|(item, torso)| Outfit {
        item,
        torso,
        first_secs: first_secs(item),
        last_secs: first_secs(item) + 3.0,
        shot: item as i64,
    });
    let crops = (0..n).map(|item| Crop { item, vector: made.vector(item), norm: made.norms[item] });
    let items = Items::new(rows, made.cannot_link.clone()).unwrap().with_crops(crops.collect()).unwrap();
    let items = items.with_outfits(outfits.collect()).unwrap();
    let scale = Scale::Evidence(quality(64));
    let link = Link { scale, cut: Cut::Best, clothes: Clothes::Both, without: Vec::new(), threads: 2 };
    let found = link.assign(&items, &mut |_, _| ()).unwrap();
    let (tree, evidence) = (found.tree.unwrap(), found.evidence.unwrap());
    let line = evidence.clothes.unwrap();
    let view = &evidence.views[0];
    let likelihood = |members: &[usize]| {
        let (mut sum, mut precision) = (vec![0.0; 64], 0.0);
        for item in members {
            let (vector, own) = view.seen[*item].as_ref().unwrap();
            sum.iter_mut().zip(vector).for_each(|(sum, x)| *sum += f64::from(*x));
            precision += own;
        }
        let square: f64 = sum.iter().map(|x| x * x).sum();
        let spread = view.person_variance * precision;
        view.evidence_dim / 2.0 * (view.person_variance * square / (1.0 + spread) - spread.ln_1p())
    };
    let log_gamma = |n: usize| (1..n).map(|i| (i as f64).ln()).sum::<f64>();
    let clothes = |a: usize, b: usize| {
        let (first, second) = (a.min(b), a.max(b));
        (first_secs(second) <= first_secs(first) + 3.0 + 240.0).then(|| {
            let overlap: f64 = torsos[a].iter().zip(&torsos[b]).map(|(p, q)| f64::from(p * q).sqrt()).sum();
            let distance = (1.0 - overlap).max(0.0).sqrt();
            (line.intercept + line.slope * distance).clamp(line.bounds[0], line.bounds[1])
        })
    };
    let mut nodes: Vec<Vec<usize>> = (0..n).map(|item| vec![item]).collect();
    let (mut highest, mut singles) = (0.0_f64, 0);
    for merge in &tree.merges {
        let (a, b) = (nodes[merge.left].clone(), nodes[merge.right].clone());
        let both = [a.clone(), b.clone()].concat();
        let between: Vec<(usize, usize)> = a.iter().flat_map(|x| b.iter().map(move |y| (*x, *y))).collect();
        let worn: Vec<f64> = between.iter().filter_map(|(x, y)| clothes(*x, *y)).collect();
        let mut gain = likelihood(&both) - likelihood(&a) - likelihood(&b) - evidence.alpha.ln()
            + log_gamma(both.len())
            - log_gamma(a.len())
            - log_gamma(b.len());
        if !worn.is_empty() {
            gain += worn.iter().sum::<f64>() / worn.len() as f64;
        }
        // A merge behind the cut counts as one at the cut, if it gains more.
        if highest >= 1.0 {
            gain = gain.min(0.0);
        }
        let apart = |(x, y): &(usize, usize)| made.cannot_link.binary_search(&(*x.min(y), *x.max(y))).is_ok();
        let forbidden = if between.iter().any(apart) { FORBIDDEN } else { 0.0 };
        highest = highest.max(distance(gain) + forbidden);
        assert!((highest - merge.height).abs() < 1e-4, "{highest} is not the height of {merge:?}");
        singles += usize::from(both.len() == 2);
        nodes.push(both);
    }
    assert!(singles > 10 && tree.merges.iter().any(|merge| merge.height > 2.0), "{singles}");
}
