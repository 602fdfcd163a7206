//! The XMP sidecar is well-formed XML, and says what the run says.

#![allow(clippy::unwrap_used, reason = "a failed test should stop where it fails")]

use formats::export::FORMATS;
use formats::run::Run;
use roxmltree::{Document, Node};
use testkit::linked::{self, Spec};

const MWG: &str = "http://www.metadataworkinggroup.com/schemas/regions/";
const AREA: &str = "http://ns.adobe.com/xmp/sType/Area#";
const DIMENSIONS: &str = "http://ns.adobe.com/xap/1.0/sType/Dimensions#";
const IPTC: &str = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/";
const DIGIKAM: &str = "http://www.digikam.org/ns/1.0/";
const DC: &str = "http://purl.org/dc/elements/1.1/";
const MEDIA: &str = "http://ns.adobe.com/xmp/1.0/DynamicMedia/";
const RDF: &str = "http://www.w3.org/1999/02/22-rdf-syntax-ns#";

fn run(text: Option<&str>) -> (tempfile::TempDir, Run) {
    let folder = tempfile::tempdir().unwrap();
    let spec = Spec { tracks: 12, people: 3, noise: 1, text: text.map(str::to_owned), ..Spec::default() };
    linked::write(folder.path(), &spec);
    let run = Run::read(folder.path()).unwrap();
    (folder, run)
}

fn written(run: &Run) -> String {
    let (_, write) = FORMATS.into_iter().find(|(name, _)| *name == "xmp").unwrap();
    write(run)
}

fn all<'a>(document: &'a Document<'a>, name: (&'a str, &'a str)) -> Vec<Node<'a, 'a>> {
    document.descendants().filter(|node| node.has_tag_name(name)).collect()
}

/// The texts of the list in an element.
fn items(document: &Document<'_>, name: (&str, &str)) -> Vec<String> {
    let of = |node: Node<'_, '_>| {
        node.descendants()
            .filter(|li| li.has_tag_name((RDF, "li")))
            .map(|li| li.text().unwrap().to_owned())
            .collect()
    };
    document.descendants().find(|node| node.has_tag_name(name)).map(of).unwrap_or_default()
}

#[test]
fn every_person_has_a_region_and_every_appearance_a_marker() {
    let (_folder, run) = run(None);
    let text = written(&run);
    let document = Document::parse(&text).unwrap();
    let regions = all(&document, (MWG, "Area"));
    assert_eq!(regions.len(), run.people.len());
    for (area, person) in regions.iter().zip(&run.people) {
        assert_eq!(area.attribute((AREA, "unit")), Some("normalized"));
        let row = run.boxes.iter().find(|row| {
            row.frame_idx == person.exemplar_frame_idx && row.track_id == Some(person.exemplar_track_id)
        });
        let row = row.unwrap();
        let number = |name: &str| area.attribute((AREA, name)).unwrap().parse::<f64>().unwrap();
        let centre = f64::from(row.x_min + row.x_max) / 2.0 / run.video.width as f64;
        let height = f64::from(row.y_max - row.y_min) / run.video.height as f64;
        assert!((number("x") - centre).abs() < 1e-5 && (number("h") - height).abs() < 1e-5, "{row:?}");
    }
    let types: Vec<_> =
        all(&document, (MWG, "Type")).iter().map(|node| node.text().unwrap().to_owned()).collect();
    assert!(types.iter().all(|kind| kind == "Face"));
    let size = all(&document, (MWG, "AppliedToDimensions"))[0];
    assert_eq!(size.attribute((DIMENSIONS, "w")), Some(run.video.width.to_string().as_str()));
    assert_eq!(size.attribute((DIMENSIONS, "unit")), Some("pixel"));
    let times: Vec<f64> = all(&document, (MEDIA, "startTime"))
        .iter()
        .map(|node| node.text().unwrap().parse().unwrap())
        .collect();
    assert_eq!(times.len(), run.appearances.len());
    assert!(times.is_sorted());
    let first = run.appearances.iter().map(|row| run.appearance_secs(row).0).fold(f64::INFINITY, f64::min);
    assert!((times[0] - first * 1e3).abs() < 1.0);
    // A person without a name is not a name.
    assert_eq!(all(&document, (IPTC, "PersonInImage")).len() + all(&document, (MWG, "Name")).len(), 0);
}

#[test]
fn names_are_those_of_the_run_whatever_they_contain() {
    let name = "Ida <b>&\"' /Ål\u{1b}[2J";
    let (_folder, run) = run(Some(name));
    let text = written(&run);
    assert!(!text.contains('\u{1b}'));
    let document = Document::parse(&text).unwrap();
    let shown = name.replace('\u{1b}', " ");
    assert_eq!(items(&document, (IPTC, "PersonInImage")), std::slice::from_ref(&shown), "a name counts once");
    assert_eq!(items(&document, (DC, "subject")), std::slice::from_ref(&shown));
    assert_eq!(items(&document, (DIGIKAM, "TagsList")), [format!("People/{}", shown.replace('/', " "))]);
    let names = all(&document, (MWG, "Name"));
    assert_eq!(names.len(), run.people.len());
    assert!(names.iter().all(|node| node.text() == Some(shown.as_str())));
}
