//! What no tool writes into an mp4 for us. Boxes are those of ISO/IEC 14496-12: size, type, content.

/// Upper left of a display matrix: where the stored x axis goes, where the y axis goes, in parts of 1 << 16.
pub type Matrix = [i32; 4];

/// Says of the first track how its pictures are to be shown.
pub fn set_matrix(bytes: &mut [u8], matrix: Matrix) {
    // The track header: box type, version and flags, then 36 bytes before the matrix.
    let header = start_of(bytes, b"tkhd") + 8;
    for (entry, value) in [0, 1, 3, 4].into_iter().zip(matrix) {
        bytes[header + 40 + 4 * entry..][..4].copy_from_slice(&value.to_be_bytes());
    }
}

/// Gives so many more tracks to a movie whose boxes about tracks come last, each like its first.
pub fn add_tracks(bytes: &mut Vec<u8>, n: u32) {
    let (movie, first) = (start_of(bytes, b"moov"), start_of(bytes, b"trak"));
    let mut track = bytes[first..][..size_at(bytes, first)].to_vec();
    // The track's number: after the header's version and flags, and two times.
    let number = start_of(&track, b"tkhd") + 20;
    assert_eq!(movie + size_at(bytes, movie), bytes.len(), "the movie box is not the last");
    for added in 2..n + 2 {
        track[number..][..4].copy_from_slice(&added.to_be_bytes());
        bytes.extend_from_slice(&track);
    }
    let size = u32::try_from(bytes.len() - movie).unwrap();
    bytes[movie..][..4].copy_from_slice(&size.to_be_bytes());
}

/// Where the first box of a kind begins.
fn start_of(bytes: &[u8], kind: &[u8; 4]) -> usize {
    bytes.windows(4).position(|w| w == kind).unwrap() - 4
}

fn size_at(bytes: &[u8], start: usize) -> usize {
    u32::from_be_bytes(bytes[start..][..4].try_into().unwrap()) as usize
}
