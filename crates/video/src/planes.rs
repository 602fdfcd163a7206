//! A decoded frame as three planes of bytes, whatever its pixel format.

use ffmpeg::color::{Range, Space};
use ffmpeg::format::Pixel;
use ffmpeg::frame;
use ffmpeg::software::scaling::{Context, Flags};
use pulp::Arch;

use crate::colour::Matrix;
use crate::interlace::{Deinterlacer, combed_share};
use crate::tone::ToneMap;

/// A plane of bytes; rows may be padded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plane<'a> {
    pub(crate) data: &'a [u8],
    /// Bytes from the start of a row to the start of the next.
    pub(crate) stride: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

impl<'a> Plane<'a> {
    #[inline(always)]
    pub(crate) fn row(&self, y: usize) -> &'a [u8] {
        &self.data[y * self.stride..][..self.width]
    }

    /// Width and height.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }
}

/// Luma and two colour differences, and what they mean.
pub(crate) struct Planes<'a> {
    pub(crate) y: Plane<'a>,
    pub(crate) u: Plane<'a>,
    pub(crate) v: Plane<'a>,
    pub(crate) matrix: Matrix,
    /// `None` for standard dynamic range.
    pub(crate) tone: Option<&'a ToneMap>,
}

impl<'a> Planes<'a> {
    fn new(plane: impl Fn(usize) -> Plane<'a>, matrix: Matrix) -> Self {
        Self { y: plane(0), u: plane(1), v: plane(2), matrix, tone: None }
    }

    /// How many luma pixels a colour pixel covers across and down, as powers of two: 0 or 1.
    pub(crate) fn chroma_shift(&self) -> (u32, u32) {
        (u32::from(self.u.width < self.y.width), u32::from(self.u.height < self.y.height))
    }
}

/// Provides the planes of frames. The usual formats need no work, formats of ten and twelve bits little;
/// FFmpeg's scaler first converts others (packed, RGB, grey) to one of the usual ones.
/// Combs of interlaced pictures are removed.
pub(crate) struct Unpacker {
    bytes: Bytes,
    /// Whether frames may have combs although they are not declared as interlaced.
    pub(crate) is_woven: bool,
    deinterlacer: Deinterlacer,
    tone: Option<ToneMap>,
}

/// Buffers for formats that are not stored as planes of bytes.
struct Bytes {
    scaler: Option<Context>,
    unpacked: frame::Video,
    narrowed: [Vec<u8>; 3],
}

impl Unpacker {
    pub(crate) fn new() -> Self {
        let narrowed = [const { Vec::new() }; 3];
        let bytes = Bytes { scaler: None, unpacked: frame::Video::empty(), narrowed };
        Self { bytes, is_woven: false, deinterlacer: Deinterlacer::default(), tone: None }
    }

    /// The share of blocks with a comb, 0 to 1; see [`combed_share`].
    ///
    /// # Errors
    /// The message of FFmpeg, if it cannot convert the pixel format.
    pub(crate) fn combed_share(&mut self, frame: &frame::Video) -> Result<f64, String> {
        Ok(combed_share(&self.bytes.planes(frame)?.y))
    }

    /// The planes of a frame.
    ///
    /// # Errors
    /// The message of FFmpeg, if it cannot convert the pixel format.
    pub(crate) fn planes<'a>(&'a mut self, frame: &'a frame::Video) -> Result<Planes<'a>, String> {
        let mut planes = self.bytes.planes(frame)?;
        if let Some(kind) = ToneMap::kind(frame) {
            let known = self.tone.take().filter(|tone| tone.fits(kind));
            planes.tone = Some(self.tone.insert(known.unwrap_or_else(|| ToneMap::new(kind))));
        }
        Ok(match (frame.is_interlaced(), self.is_woven) {
            (true, _) => self.deinterlacer.planes(planes, frame.is_top_first()),
            // Nothing says which field is the first one.
            (false, true) => self.deinterlacer.planes(planes, true),
            (false, false) => planes,
        })
    }
}

impl Bytes {
    fn planes<'a>(&'a mut self, frame: &'a frame::Video) -> Result<Planes<'a>, String> {
        let format = frame.format();
        let has_plain_rows = |bytes| (0..3).all(|i| has_plain_rows(frame, i, bytes));
        if is_planar(format) && has_plain_rows(1) {
            let matrix = Matrix::new(space(frame), is_full_range(frame, format));
            return Ok(Planes::new(|i| stored(frame, i), matrix));
        }
        if let Some(excess) = excess_bits(format).filter(|_| has_plain_rows(2)) {
            for (i, bytes) in self.narrowed.iter_mut().enumerate() {
                let from = stored(frame, i);
                Arch::new().dispatch(
                    #[inline(always)]
                    || narrow(from, excess, bytes),
                );
            }
            let plane = |i: usize| {
                let Plane { width, height, .. } = stored(frame, i);
                Plane { data: &self.narrowed[i], stride: width, width, height }
            };
            return Ok(Planes::new(plane, Matrix::new(space(frame), is_full_range(frame, format))));
        }
        let target = nearest_planar(format);
        let (width, height) = (frame.width(), frame.height());
        let known = self.scaler.take().filter(|scaler| {
            let (from, to) = (scaler.input(), scaler.output());
            (from.format, from.width, from.height, to.format) == (format, width, height, target)
        });
        let message = |e: ffmpeg::Error| e.to_string();
        let scaler = match known {
            Some(scaler) => self.scaler.insert(scaler),
            None => {
                self.unpacked = frame::Video::empty();
                let flags = Flags::BILINEAR | Flags::ACCURATE_RND | Flags::BITEXACT;
                let scaler = Context::get(format, width, height, target, width, height, flags);
                self.scaler.insert(scaler.map_err(message)?)
            }
        };
        scaler.run(frame, &mut self.unpacked).map_err(message)?;
        let matrix = match is_ycbcr(format) {
            true => Matrix::new(space(frame), is_full_range(frame, target)),
            // The scaler makes BT.601 of limited range out of what is no Y'CbCr.
            false => Matrix::new(Space::SMPTE170M, false),
        };
        Ok(Planes::new(|i| stored(&self.unpacked, i), matrix))
    }
}

/// A plane as the decoder has it; width and height count its pixels, whatever their bytes.
fn stored(frame: &frame::Video, plane: usize) -> Plane<'_> {
    Plane {
        data: frame.data(plane),
        stride: frame.stride(plane),
        width: frame.plane_width(plane) as usize,
        height: frame.plane_height(plane) as usize,
    }
}

/// Rounds pixels of two bytes, the lower one first, to one byte.
#[inline(always)]
fn narrow(from: Plane<'_>, excess: u32, to: &mut Vec<u8>) {
    let half = 1 << (excess - 1);
    to.resize(from.width * from.height, 0);
    for (row, to) in from.data.chunks(from.stride).zip(to.chunks_exact_mut(from.width)) {
        for (pair, byte) in row.as_chunks().0.iter().zip(to) {
            *byte = (u16::from_le_bytes(*pair).saturating_add(half) >> excess).min(255) as u8;
        }
    }
}

/// Whether a format is three planes of bytes: luma and two colour differences.
fn is_planar(format: Pixel) -> bool {
    use Pixel::{YUV420P, YUV422P, YUV444P, YUVJ420P, YUVJ422P, YUVJ444P};
    matches!(format, YUV420P | YUV422P | YUV444P | YUVJ420P | YUVJ422P | YUVJ444P)
}

/// Bits beyond eight, of formats that are three such planes of two bytes a pixel.
fn excess_bits(format: Pixel) -> Option<u32> {
    use Pixel::{YUV420P10LE, YUV420P12LE, YUV422P10LE, YUV422P12LE, YUV444P10LE, YUV444P12LE};
    match format {
        YUV420P10LE | YUV422P10LE | YUV444P10LE => Some(2),
        YUV420P12LE | YUV422P12LE | YUV444P12LE => Some(4),
        _ => None,
    }
}

/// Rows that are stored from bottom to top have a negative stride, which the bindings show as a huge one.
fn has_plain_rows(frame: &frame::Video, plane: usize, bytes_per_pixel: usize) -> bool {
    let row = frame.plane_width(plane) as usize * bytes_per_pixel;
    (row..1 << 31).contains(&frame.stride(plane))
}

/// The planar format that keeps most of another one.
fn nearest_planar(format: Pixel) -> Pixel {
    let Some(descriptor) = format.descriptor() else { return Pixel::YUV444P };
    match (descriptor.log2_chroma_w(), descriptor.log2_chroma_h()) {
        // FFmpeg's old way to say full range, which the scaler would otherwise limit.
        _ if descriptor.name().starts_with("yuvj") => Pixel::YUVJ444P,
        (1, 1) => Pixel::YUV420P,
        (1, 0) => Pixel::YUV422P,
        _ => Pixel::YUV444P,
    }
}

fn is_ycbcr(format: Pixel) -> bool {
    format
        .descriptor()
        .is_some_and(|d| d.log2_chroma_w() > 0 || d.name().starts_with("yuv") || d.name().starts_with("nv"))
}

/// Default colour matrix of a stream without a declaration: BT.709 for HD and larger, BT.601 below, as
/// players assume.
fn space(frame: &frame::Video) -> Space {
    let is_hd = frame.width() >= 1280 || frame.height() > 576;
    match frame.color_space() {
        Space::Unspecified | Space::Reserved if is_hd => Space::BT709,
        known => known,
    }
}

fn is_full_range(frame: &frame::Video, format: Pixel) -> bool {
    use Pixel::{YUVJ420P, YUVJ422P, YUVJ444P};
    frame.color_range() == Range::JPEG || matches!(format, YUVJ420P | YUVJ422P | YUVJ444P)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_formats_keep_as_much_colour_as_they_have() {
        for (format, target, ycbcr) in [
            (Pixel::YUV420P16LE, Pixel::YUV420P, true),
            (Pixel::YUV422P10BE, Pixel::YUV422P, true),
            (Pixel::YUVA444P, Pixel::YUV444P, true),
            (Pixel::NV12, Pixel::YUV420P, true),
            (Pixel::YUYV422, Pixel::YUV422P, true),
            (Pixel::YUVJ440P, Pixel::YUVJ444P, true),
            (Pixel::GBRP, Pixel::YUV444P, false),
            (Pixel::RGB24, Pixel::YUV444P, false),
            (Pixel::GRAY10LE, Pixel::YUV444P, false),
        ] {
            assert_eq!((nearest_planar(format), is_ycbcr(format)), (target, ycbcr), "{format:?}");
        }
    }

    #[test]
    fn deep_pixels_are_rounded() {
        let deep: Vec<u8> =
            [0, 1, 2, 9, 4000, 1023, 512, 513].iter().flat_map(|v: &u16| v.to_le_bytes()).collect();
        let mut bytes = Vec::new();
        // Two rows of three pixels, the fourth is padding.
        let from = Plane { data: &deep, stride: 8, width: 3, height: 2 };
        narrow(from, 2, &mut bytes);
        assert_eq!(bytes, [0, 0, 1, 255, 255, 128]);
    }

    #[test]
    fn streams_without_a_word_about_colour_follow_their_size() {
        let sized = |width, height| space(&frame::Video::new(Pixel::YUV420P, width, height));
        assert_eq!(sized(1280, 720), Space::BT709);
        assert_eq!(sized(720, 1280), Space::BT709);
        assert_eq!(sized(1024, 576), Space::Unspecified);
        let mut tagged = frame::Video::new(Pixel::YUV420P, 1280, 720);
        tagged.set_color_space(Space::SMPTE170M);
        assert_eq!(space(&tagged), Space::SMPTE170M);
    }
}
