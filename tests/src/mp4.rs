//! What no tool writes into an mp4 for us.

/// Upper left of a display matrix: where the stored x axis goes, where the y axis goes, in parts of 1 << 16.
pub type Matrix = [i32; 4];

/// Says of the first track how its pictures are to be shown.
pub fn set_matrix(bytes: &mut [u8], matrix: Matrix) {
    // The track header: box type, version and flags, then 36 bytes before the matrix (ISO/IEC 14496-12).
    let header = bytes.windows(4).position(|w| w == b"tkhd").unwrap() + 4;
    for (entry, value) in [0, 1, 3, 4].into_iter().zip(matrix) {
        bytes[header + 40 + 4 * entry..][..4].copy_from_slice(&value.to_be_bytes());
    }
}
