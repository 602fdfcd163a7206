//! XMP: a sidecar of the video for programs that manage photos and videos.
//!
//! | of the run | in XMP |
//! |---|---|
//! | people with a name | `dc:subject`, `Iptc4xmpExt:PersonInImage`, `digiKam:TagsList` as `People/NAME` |
//! | the clearest face of each person | a region of the Metadata Working Group, `mwg-rs:Regions`, of the type `Face` |
//! | appearances | markers of `xmpDM:Tracks`, in milliseconds |
//!
//! A region of the Metadata Working Group belongs to a picture. In the sidecar of a video, it is the face in the frame at
//! the time that `mwg-rs:Description` says. A person without a name has a region without a name, as programs write a
//! face that is not confirmed; "Person 3" would be another person in every video.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use schema::tables::Identity;

use super::boxes::clipped;
use crate::run::Run;
use crate::xml::escape;

/// Prefixes of names and their addresses.
const NAMESPACES: [(&str, &str); 8] = [
    ("xmp", "http://ns.adobe.com/xap/1.0/"),
    ("dc", "http://purl.org/dc/elements/1.1/"),
    ("Iptc4xmpExt", "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"),
    ("digiKam", "http://www.digikam.org/ns/1.0/"),
    ("mwg-rs", "http://www.metadataworkinggroup.com/schemas/regions/"),
    ("stDim", "http://ns.adobe.com/xap/1.0/sType/Dimensions#"),
    ("stArea", "http://ns.adobe.com/xmp/sType/Area#"),
    ("xmpDM", "http://ns.adobe.com/xmp/1.0/DynamicMedia/"),
];
/// Tag above the people in programs with a tree of tags.
const PEOPLE: &str = "People";
/// Rate of the markers: milliseconds.
const MARKER_RATE: &str = "f1000";

pub(super) fn xmp(run: &Run) -> String {
    let mut xml = String::from(
        "<?xpacket begin=\"\u{feff}\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n<x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\n\
         <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\n<rdf:Description rdf:about=\"\"",
    );
    for (prefix, address) in NAMESPACES {
        let _ = write!(xml, "\n    xmlns:{prefix}=\"{address}\"");
    }
    let _ = write!(xml, "\n    xmp:CreatorTool=\"facetrack {}\">\n", env!("CARGO_PKG_VERSION"));
    let names: BTreeSet<&str> = run.people.iter().filter_map(|person| person.name.as_deref()).collect();
    if !names.is_empty() {
        let name = |name: &&str| escape(name);
        list(&mut xml, "dc:subject", "Bag", names.iter().map(name));
        list(&mut xml, "Iptc4xmpExt:PersonInImage", "Bag", names.iter().map(name));
        // A slash parts the levels of the tree.
        let tag = |name: &&str| format!("{PEOPLE}/{}", escape(&name.replace('/', " ")));
        list(&mut xml, "digiKam:TagsList", "Seq", names.iter().map(tag));
    }
    regions(&mut xml, run);
    markers(&mut xml, run);
    xml += "</rdf:Description>\n</rdf:RDF>\n</x:xmpmeta>\n<?xpacket end=\"w\"?>\n";
    xml
}

fn list(xml: &mut String, name: &str, kind: &str, items: impl Iterator<Item = String>) {
    let _ = write!(xml, " <{name}><rdf:{kind}>");
    items.for_each(|item| _ = write!(xml, "<rdf:li>{item}</rdf:li>"));
    let _ = writeln!(xml, "</rdf:{kind}></{name}>");
}

/// The clearest face of every person, as a region in shares of the frame.
fn regions(xml: &mut String, run: &Run) {
    let (width, height) = (run.video.width, run.video.height);
    let mut regions = String::new();
    for person in &run.people {
        let Some((share, t_secs)) = exemplar(run, person) else { continue };
        let [x, y, w, h] = share;
        let name = person.name.as_ref();
        let name =
            name.map_or_else(String::new, |name| format!("<mwg-rs:Name>{}</mwg-rs:Name>", escape(name)));
        let _ = writeln!(
            regions,
            "   <rdf:li rdf:parseType=\"Resource\"><mwg-rs:Type>Face</mwg-rs:Type>{name}<mwg-rs:Description>{} at {t_secs:.3} s\
             </mwg-rs:Description><mwg-rs:Area stArea:x=\"{x:.6}\" stArea:y=\"{y:.6}\" stArea:w=\"{w:.6}\" \
             stArea:h=\"{h:.6}\" stArea:unit=\"normalized\"/></rdf:li>",
            Identity::numbered(person.cluster_id),
        );
    }
    if regions.is_empty() {
        return;
    }
    let _ = writeln!(
        xml,
        " <mwg-rs:Regions rdf:parseType=\"Resource\">\n  <mwg-rs:AppliedToDimensions stDim:w=\"{width}\" \
         stDim:h=\"{height}\" stDim:unit=\"pixel\"/>\n  <mwg-rs:RegionList><rdf:Bag>\n{regions}  </rdf:Bag>\
         </mwg-rs:RegionList>\n </mwg-rs:Regions>"
    );
}

/// Centre, width and height of a person's clearest face as shares of the frame, and its time in seconds; `None` if no
/// box of it is in the frame.
fn exemplar(run: &Run, person: &Identity) -> Option<([f64; 4], f64)> {
    let frame = person.exemplar_frame_idx;
    let from = run.boxes.partition_point(|row| row.frame_idx < frame);
    let mut rows = run.boxes[from..].iter().take_while(|row| row.frame_idx == frame);
    let row = rows.find(|row| row.track_id == Some(person.exemplar_track_id))?;
    let [x, y, w, h] = clipped(run, row);
    let [width, height] = [run.video.width, run.video.height].map(|side| side as f64);
    let share = [(x + w / 2.0) / width, (y + h / 2.0) / height, w / width, h / height];
    (w > 0.0 && h > 0.0).then(|| (share, run.times.t_secs(frame)))
}

/// The appearances as markers, by time.
fn markers(xml: &mut String, run: &Run) {
    if run.appearances.is_empty() {
        return;
    }
    let mut rows: Vec<_> =
        run.appearances.iter().map(|row| (run.appearance_secs(row), row.cluster_id)).collect();
    rows.sort_by(|a, b| a.0.0.total_cmp(&b.0.0).then(a.1.cmp(&b.1)));
    let _ = write!(
        xml,
        " <xmpDM:Tracks><rdf:Bag><rdf:li rdf:parseType=\"Resource\">\n  <xmpDM:trackName>{PEOPLE}</xmpDM:trackName>\
         <xmpDM:trackType>Comment</xmpDM:trackType><xmpDM:frameRate>{MARKER_RATE}</xmpDM:frameRate>\n  \
         <xmpDM:markers><rdf:Seq>\n"
    );
    for ((start, end), cluster_id) in rows {
        let millis = |secs: f64| (secs.max(0.0) * 1e3).round() as i64;
        let _ = writeln!(
            xml,
            "   <rdf:li rdf:parseType=\"Resource\"><xmpDM:startTime>{}</xmpDM:startTime><xmpDM:duration>{}\
             </xmpDM:duration><xmpDM:name>{}</xmpDM:name><xmpDM:type>Comment</xmpDM:type></rdf:li>",
            millis(start),
            millis(end) - millis(start),
            escape(&run.name(cluster_id)),
        );
    }
    *xml += "  </rdf:Seq></xmpDM:markers>\n </rdf:li></rdf:Bag></xmpDM:Tracks>\n";
}
