//! What is no video is refused, each in its own way.

use tempfile::TempDir;
use video::{Error, index};

use crate::clip::ffmpeg;

#[test]
fn what_is_no_video_is_refused() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("empty.mp4"), "").unwrap();
    std::fs::write(at("text.mp4"), "so long, and thanks for all the fish").unwrap();
    std::fs::write(at("list.mkv"), "#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n").unwrap();
    assert!(matches!(index(&at("missing.mp4"), |_| {}), Err(Error::Unreadable { .. })));
    assert!(matches!(index(folder.path(), |_| {}), Err(Error::NotAFile { .. })));
    assert!(matches!(index(&at("empty.mp4"), |_| {}), Err(Error::Empty { .. })));
    assert!(matches!(index(&at("text.mp4"), |_| {}), Err(Error::NotVideo { .. })));
    assert!(matches!(index(&at("list.mkv"), |_| {}), Err(Error::NotVideo { .. })));
    let sound = at("audio.mp4");
    if ffmpeg(&["-f", "lavfi", "-i", "sine=duration=1", sound.to_str().unwrap()]).is_some() {
        assert!(matches!(index(&sound, |_| {}), Err(Error::NoVideoStream { .. })));
    }
}
