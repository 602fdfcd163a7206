//! A decoded frame as three planes of bytes, whatever its pixel format.

use ffmpeg::color::{Range, Space};
use ffmpeg::format::Pixel;
use ffmpeg::frame;
use ffmpeg::software::scaling::{Context, Flags};

use crate::colour::Matrix;

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
}

impl<'a> Planes<'a> {
    fn new(frame: &'a frame::Video, matrix: Matrix) -> Self {
        let plane = |i| Plane {
            data: frame.data(i),
            stride: frame.stride(i),
            width: frame.plane_width(i) as usize,
            height: frame.plane_height(i) as usize,
        };
        Self { y: plane(0), u: plane(1), v: plane(2), matrix }
    }

    /// How many luma pixels a colour pixel covers across and down, as powers of two: 0 or 1.
    pub(crate) fn chroma_shift(&self) -> (u32, u32) {
        (u32::from(self.u.width < self.y.width), u32::from(self.u.height < self.y.height))
    }
}

/// Gives the planes of frames. The usual formats need no work; FFmpeg's scaler brings the others
/// (more than eight bits, packed, RGB, grey) to one of the usual ones first.
pub(crate) struct Unpacker {
    scaler: Option<Context>,
    unpacked: frame::Video,
}

impl Unpacker {
    pub(crate) fn new() -> Self {
        Self { scaler: None, unpacked: frame::Video::empty() }
    }

    /// The planes of a frame.
    ///
    /// # Errors
    /// FFmpeg's words when it cannot convert the pixel format.
    pub(crate) fn planes<'a>(&'a mut self, frame: &'a frame::Video) -> Result<Planes<'a>, String> {
        let format = frame.format();
        if is_planar(format) && (0..3).all(|i| has_plain_rows(frame, i)) {
            return Ok(Planes::new(frame, Matrix::new(space(frame), is_full_range(frame, format))));
        }
        let target = nearest_planar(format);
        self.unpack(frame, target).map_err(|e| e.to_string())?;
        let matrix = if is_ycbcr(format) {
            Matrix::new(space(frame), is_full_range(frame, target))
        } else {
            // The scaler makes BT.601 of limited range out of what is no Y'CbCr.
            Matrix::new(Space::SMPTE170M, false)
        };
        Ok(Planes::new(&self.unpacked, matrix))
    }

    fn unpack(&mut self, frame: &frame::Video, target: Pixel) -> Result<(), ffmpeg::Error> {
        let (format, width, height) = (frame.format(), frame.width(), frame.height());
        let known = self.scaler.take().filter(|scaler| {
            let (from, to) = (scaler.input(), scaler.output());
            (from.format, from.width, from.height, to.format) == (format, width, height, target)
        });
        let mut scaler = match known {
            Some(scaler) => scaler,
            None => {
                self.unpacked = frame::Video::empty();
                let flags = Flags::BILINEAR | Flags::ACCURATE_RND | Flags::BITEXACT;
                Context::get(format, width, height, target, width, height, flags)?
            }
        };
        scaler.run(frame, &mut self.unpacked)?;
        self.scaler = Some(scaler);
        Ok(())
    }
}

/// Whether a format is three planes of bytes: luma and two colour differences.
fn is_planar(format: Pixel) -> bool {
    use Pixel::{YUV420P, YUV422P, YUV444P, YUVJ420P, YUVJ422P, YUVJ444P};
    matches!(format, YUV420P | YUV422P | YUV444P | YUVJ420P | YUVJ422P | YUVJ444P)
}

/// Rows that are stored from bottom to top have a negative stride, which the bindings show as a huge one.
fn has_plain_rows(frame: &frame::Video, plane: usize) -> bool {
    let width = frame.plane_width(plane) as usize;
    (width..1 << 31).contains(&frame.stride(plane))
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

/// What a stream that says nothing of its colours has: BT.709 from HD upwards, BT.601 below. This
/// is what players assume.
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
            (Pixel::YUV420P10LE, Pixel::YUV420P, true),
            (Pixel::YUV422P12LE, Pixel::YUV422P, true),
            (Pixel::YUV444P10LE, Pixel::YUV444P, true),
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
