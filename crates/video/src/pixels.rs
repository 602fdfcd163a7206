//! Upright pixels at a wanted size, straight from the decoder's planes.

use pulp::Arch;

use crate::decoder::Picture;
use crate::orientation::{Orientation, Region};
use crate::planes::{Plane, Planes, Unpacker};
use crate::resample::Resampler;

/// Share of the area of a picture above which combs are no detail of the picture, 0 to 1.
pub(crate) const COMBED: f64 = 0.02;

/// An upright picture, rows from top to bottom without padding, channels interleaved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Width, pixels.
    pub width: usize,
    /// Height, pixels.
    pub height: usize,
    /// Bytes per pixel: 3 for RGB, 1 for luma.
    pub channels: usize,
    /// `height × width × channels` bytes.
    pub data: Vec<u8>,
}

impl Image {
    /// The picture turned clockwise by 0, 90, 180 or 270 degrees.
    pub fn turned(self, degrees: u32) -> Self {
        self.upright(Orientation { is_mirrored: false, rotation_degrees: degrees })
    }

    /// The mirror image: left and right change places.
    pub fn mirrored(self) -> Self {
        self.upright(Orientation { is_mirrored: true, rotation_degrees: 0 })
    }

    fn upright(self, orientation: Orientation) -> Self {
        let (size, channels) = ((self.width, self.height), self.channels);
        let (width, height) = orientation.size(size);
        let data = match channels {
            1 => orientation.upright::<1>(self.data, size),
            _ => orientation.upright::<3>(self.data, size),
        };
        Self { width, height, channels, data }
    }
}

/// Scales, converts and rotates pictures; keeps its tables while the sizes stay the same.
///
/// RGB follows what the stream says of its colours (BT.601, BT.709, BT.2020; full or limited range).
/// Where it says nothing, pictures from 1280 pixels across or 577 down are BT.709, smaller ones
/// BT.601. Sizes change without linearising light. High dynamic range is mapped to standard range, and interlaced
/// pictures lose their combs.
pub struct Converter {
    rotation_degrees: u32,
    unpacker: Unpacker,
    luma: Option<Resampler>,
    chroma: Option<Resampler>,
}

impl Converter {
    /// For pictures that need a clockwise turn of `rotation_degrees` (0, 90, 180, 270) to be upright.
    pub fn new(rotation_degrees: u32) -> Self {
        Self { rotation_degrees, unpacker: Unpacker::new(), luma: None, chroma: None }
    }

    /// Removes combs from pictures that are not declared as interlaced, too, if `is_woven`.
    #[must_use]
    pub fn woven(mut self, is_woven: bool) -> Self {
        self.unpacker.is_woven = is_woven;
        self
    }

    /// Returns whether a picture has plain combs, whatever the stream declares: its rows show two moments.
    ///
    /// # Errors
    /// A message, if the pixel format cannot be converted.
    pub fn is_combed(&mut self, picture: &Picture) -> Result<bool, String> {
        Ok(self.unpacker.combed_share(&picture.frame)? > COMBED)
    }

    /// Upright RGB of `width × height` pixels.
    ///
    /// # Errors
    /// A message, if the pixel format cannot be converted or the size is zero.
    pub fn rgb(&mut self, picture: &Picture, width: usize, height: usize) -> Result<Image, String> {
        self.rgb_region(picture, width, height, Region { x: 0, y: 0, width, height })
    }

    /// A region of what [`rgb`](Self::rgb) gives for the same size, without the work for the rest.
    ///
    /// # Errors
    /// Those of [`rgb`](Self::rgb), and when the region is empty or not inside the picture.
    pub fn rgb_region(
        &mut self,
        picture: &Picture,
        width: usize,
        height: usize,
        region: Region,
    ) -> Result<Image, String> {
        check(region, width, height)?;
        let orientation = self.orientation(picture);
        let size = orientation.size((width, height));
        let stored = orientation.stored_region(region, size);
        let mut data = vec![0; 3 * region.width * region.height];
        let Self { unpacker, luma, chroma, .. } = self;
        let planes = unpacker.planes(&picture.frame)?;
        if planes.y.size() == size {
            Arch::new().dispatch(
                #[inline(always)]
                || cut(&planes, stored, &mut data),
            );
        } else {
            let (luma, chroma) = (resampler(luma, planes.y, size), resampler(chroma, planes.u, size));
            Arch::new().dispatch(
                #[inline(always)]
                || scale(&planes, [luma, chroma], size, stored, &mut data),
            );
        }
        planes.tone.iter().for_each(|tone| tone.rgb_row(&mut data));
        let data = orientation.upright::<3>(data, (stored.width, stored.height));
        Ok(Image { width: region.width, height: region.height, channels: 3, data })
    }

    /// Upright luma of full range, `width × height` pixels.
    ///
    /// # Errors
    /// A message, if the pixel format cannot be converted or the size is zero.
    pub fn luma(&mut self, picture: &Picture, width: usize, height: usize) -> Result<Image, String> {
        self.luma_region(picture, width, height, Region { x: 0, y: 0, width, height })
    }

    /// A region of what [`luma`](Self::luma) gives for the same size, without the work for the rows above and
    /// below.
    ///
    /// # Errors
    /// Those of [`luma`](Self::luma), and when the region is empty or not inside the picture.
    pub fn luma_region(
        &mut self,
        picture: &Picture,
        width: usize,
        height: usize,
        region: Region,
    ) -> Result<Image, String> {
        check(region, width, height)?;
        let orientation = self.orientation(picture);
        let size = orientation.size((width, height));
        let stored = orientation.stored_region(region, size);
        let (mut data, mut row) = (vec![0; region.width * region.height], vec![0; size.0]);
        let planes = self.unpacker.planes(&picture.frame)?;
        let luma = resampler(&mut self.luma, planes.y, size);
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for (y, out) in (stored.y..).zip(data.chunks_exact_mut(stored.width)) {
                    luma.row(&planes.y, y, &mut row);
                    out.copy_from_slice(&row[stored.x..][..stored.width]);
                    planes.matrix.widen(out);
                }
            },
        );
        planes.tone.iter().for_each(|tone| tone.luma_row(&mut data));
        let data = orientation.upright::<1>(data, (stored.width, stored.height));
        Ok(Image { width: region.width, height: region.height, channels: 1, data })
    }

    fn orientation(&self, picture: &Picture) -> Orientation {
        Orientation { is_mirrored: picture.is_mirrored, rotation_degrees: self.rotation_degrees }
    }
}

fn check(region: Region, width: usize, height: usize) -> Result<(), String> {
    let Region { x, y, .. } = region;
    let fits = |from: usize, size: usize, whole: usize| size > 0 && from < whole && size <= whole - from;
    if fits(x, region.width, width) && fits(y, region.height, height) {
        return Ok(());
    }
    Err(format!(
        "region of {}×{} pixels at ({x}, {y}) is outside a picture of {width}×{height}",
        region.width, region.height
    ))
}

fn resampler<'a>(
    kept: &'a mut Option<Resampler>,
    plane: Plane<'_>,
    size: (usize, usize),
) -> &'a mut Resampler {
    let known = kept.take().filter(|kept| kept.fits(plane.size(), size));
    kept.insert(known.unwrap_or_else(|| Resampler::new(plane.size(), size)))
}

/// RGB of a region at the picture's own size.
#[inline(always)]
fn cut(planes: &Planes<'_>, Region { x, y, width, .. }: Region, data: &mut [u8]) {
    let (across, down) = planes.chroma_shift();
    // Whole colour pixels: the first may begin left of the region.
    let (first, skip) = (x >> across, x - (x >> across << across));
    let count = (skip + width).div_ceil(1 << across);
    let (mut u, mut v) = (vec![0; count << across], vec![0; count << across]);
    let mut widened = None;
    for (y, out) in (y..).zip(data.chunks_exact_mut(3 * width)) {
        if widened != Some(y >> down) {
            repeat(&planes.u.row(y >> down)[first..][..count], across, &mut u);
            repeat(&planes.v.row(y >> down)[first..][..count], across, &mut v);
            widened = Some(y >> down);
        }
        let luma = &planes.y.row(y)[x..][..width];
        planes.matrix.rgb_row(luma, &u[skip..][..width], &v[skip..][..width], out);
    }
}

/// Every byte `1 << shift` times.
#[inline(always)]
fn repeat(from: &[u8], shift: u32, to: &mut [u8]) {
    if shift == 0 {
        to.copy_from_slice(from);
    } else {
        to.as_chunks_mut::<2>().0.iter_mut().zip(from).for_each(|(to, from)| *to = [*from; 2]);
    }
}

/// RGB of a region at another size than the picture's own; `size` is that of the whole picture.
#[inline(always)]
fn scale(
    planes: &Planes<'_>,
    [luma, chroma]: [&mut Resampler; 2],
    size: (usize, usize),
    region: Region,
    data: &mut [u8],
) {
    let mut rows = vec![0; 3 * size.0];
    let (y_row, rest) = rows.split_at_mut(size.0);
    let (u_row, v_row) = rest.split_at_mut(size.0);
    for (y, out) in (region.y..).zip(data.chunks_exact_mut(3 * region.width)) {
        luma.row(&planes.y, y, y_row);
        chroma.row(&planes.u, y, u_row);
        chroma.row(&planes.v, y, v_row);
        let [y, u, v] = [&*y_row, u_row, v_row].map(|row| &row[region.x..][..region.width]);
        planes.matrix.rgb_row(y, u, v, out);
    }
}
