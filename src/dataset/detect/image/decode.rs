//! PNG and JPEG bytes to pixels, bounded and without panics: at most 64 Mpixel, so at most 256 MiB of samples, and beside
//! them 64 MiB for a PNG, or up to 6 bytes a pixel for a progressive JPEG.
//!
//! What is lost: 16-bit samples keep their upper 8 bits; palettes are expanded; transparency is composed over black;
//! CMYK and YCCK become RGB without a colour profile; an animation gives its first picture. Orientation tags are not
//! applied: poison is looked for in the samples a trainer reads.

use crate::dataset::detect::example::Pixels;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Pixels a picture may have.
pub const MOST_PIXELS: usize = 64 << 20;
/// Pixels a side may have.
const MOST_SIDE: usize = 1 << 16;
/// Scans of a progressive JPEG: each costs time for the whole picture.
const MOST_SCANS: usize = 64;
/// Memory a decoder may use beside the samples, in bytes.
const MOST_MEMORY: usize = 64 << 20;

/// Decodes a picture known by its first bytes.
///
/// # Errors
/// What is wrong in a few words, for bytes that are neither PNG nor JPEG, are broken, or are a picture of more than
/// [`MOST_PIXELS`].
pub fn decode(bytes: &[u8]) -> Result<Pixels, String> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        png(bytes)
    } else if bytes.starts_with(b"\xff\xd8\xff") {
        jpeg(bytes)
    } else {
        Err("neither PNG nor JPEG".into())
    }
}

/// The product of the sides, if it is allowed.
fn area(width: usize, height: usize) -> Result<usize, String> {
    match width.checked_mul(height) {
        Some(0) => Err("a picture without pixels".into()),
        Some(area) if area <= MOST_PIXELS && width <= MOST_SIDE && height <= MOST_SIDE => Ok(area),
        _ => Err(format!("{width} x {height} pixels are too many")),
    }
}

fn png(bytes: &[u8]) -> Result<Pixels, String> {
    let fail = |error: png::DecodingError| short("PNG", &error.to_string());
    let limits = png::Limits { bytes: MOST_MEMORY };
    let mut decoder = png::Decoder::new_with_limits(std::io::Cursor::new(bytes), limits);
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let header = decoder.read_header_info().map_err(fail)?;
    let (width, height) = (header.width as usize, header.height as usize);
    area(width, height)?;
    let mut reader = decoder.read_info().map_err(fail)?;
    let size = reader.output_buffer_size().ok_or("a PNG too large")?;
    // At most 4 channels of 8 bits after the transformations.
    if size > MOST_PIXELS * 4 {
        return Err("a PNG too large".into());
    }
    let mut samples = vec![0; size];
    let frame = reader.next_frame(&mut samples).map_err(fail)?;
    samples.truncate(frame.buffer_size());
    let (channels, samples) = match (frame.color_type, frame.bit_depth) {
        (png::ColorType::Grayscale, png::BitDepth::Eight) => (1, samples),
        (png::ColorType::Rgb, png::BitDepth::Eight) => (3, samples),
        (png::ColorType::GrayscaleAlpha, png::BitDepth::Eight) => (1, over_black(&samples, 2)),
        (png::ColorType::Rgba, png::BitDepth::Eight) => (3, over_black(&samples, 4)),
        _ => return Err("a PNG of a kind that is not read".into()),
    };
    whole(Pixels { width, height, channels, samples })
}

/// Samples whose last channel is opacity, shown over black.
fn over_black(samples: &[u8], channels: usize) -> Vec<u8> {
    let mut shown = Vec::with_capacity(samples.len() / channels * (channels - 1));
    for pixel in samples.chunks_exact(channels) {
        if let Some((&opacity, colours)) = pixel.split_last() {
            // Never above 255.
            shown.extend(colours.iter().map(|&colour| ((u32::from(colour) * u32::from(opacity) + 127) / 255) as u8));
        }
    }
    shown
}

fn jpeg(bytes: &[u8]) -> Result<Pixels, String> {
    let fail = |error: zune_jpeg::errors::DecodeErrors| short("JPEG", &format!("{error:?}"));
    let options = DecoderOptions::default()
        .set_max_width(MOST_SIDE)
        .set_max_height(MOST_SIDE)
        .set_strict_mode(false)
        .jpeg_set_max_scans(MOST_SCANS);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(fail)?;
    let (width, height) = decoder.dimensions().ok_or("a JPEG without size")?;
    area(width, height)?;
    let grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let (channels, wanted) = if grey { (1, ColorSpace::Luma) } else { (3, ColorSpace::RGB) };
    decoder.set_options(options.jpeg_set_out_colorspace(wanted));
    let samples = decoder.decode().map_err(fail)?;
    whole(Pixels { width, height, channels, samples })
}

fn whole(pixels: Pixels) -> Result<Pixels, String> {
    if pixels.is_whole() { Ok(pixels) } else { Err("a picture whose samples are not of its size".into()) }
}

/// The first words of a decoder's complaint.
fn short(kind: &str, complaint: &str) -> String {
    let words: String = complaint.chars().filter(|c| !c.is_control()).take(80).collect();
    format!("a broken {kind}: {words}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png_of(
        colour: png::ColorType,
        depth: png::BitDepth,
        palette: Option<&[u8]>,
        width: u32,
        samples: &[u8],
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, 1);
        encoder.set_color(colour);
        encoder.set_depth(depth);
        if let Some(palette) = palette {
            encoder.set_palette(palette);
        }
        encoder.write_header().expect("header").write_image_data(samples).expect("data");
        bytes
    }

    #[test]
    fn each_kind_of_png_is_read() {
        use png::{BitDepth::*, ColorType::*};
        let grey = decode(&png_of(Grayscale, Eight, None, 3, &[1, 2, 3])).expect("grey");
        assert_eq!((grey.channels, grey.samples), (1, vec![1, 2, 3]));
        let deep = decode(&png_of(Grayscale, Sixteen, None, 2, &[7, 255, 9, 0])).expect("16 bits");
        assert_eq!(deep.samples, [7, 9]);
        let bits = decode(&png_of(Grayscale, One, None, 3, &[0b1010_0000])).expect("1 bit");
        assert_eq!(bits.samples, [255, 0, 255]);
        let palette = decode(&png_of(Indexed, Eight, Some(&[1, 2, 3, 4, 5, 6]), 2, &[1, 0])).expect("palette");
        assert_eq!((palette.channels, palette.samples), (3, vec![4, 5, 6, 1, 2, 3]));
        let clear = decode(&png_of(Rgba, Eight, None, 2, &[200, 100, 50, 255, 200, 100, 50, 0])).expect("alpha");
        assert_eq!(clear.samples, [200, 100, 50, 0, 0, 0]);
    }

    #[test]
    fn a_jpeg_is_read() {
        let image = decode(GREY_JPEG).expect("jpeg");
        assert_eq!((image.width, image.height, image.channels), (8, 8, 1));
    }

    #[test]
    fn a_progressive_jpeg_in_colour_is_read() {
        let image = decode(RGB_JPEG).expect("jpeg");
        assert_eq!((image.width, image.height, image.channels), (8, 8, 3));
    }

    #[test]
    fn hostile_bytes_are_errors_or_pictures_of_the_stated_size() {
        let png = png_of(png::ColorType::Rgb, png::BitDepth::Eight, None, 4, &[9; 12]);
        for whole in [png.as_slice(), GREY_JPEG, RGB_JPEG] {
            for end in 0..whole.len() {
                assert!(decode(&whole[..end]).map_or(true, |image| image.is_whole()));
            }
            for bit in 0..whole.len() * 8 {
                let mut flipped = whole.to_vec();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(decode(&flipped).map_or_else(|error| error.len() < 200, |image| image.is_whole()));
            }
        }
    }

    #[test]
    fn a_header_that_promises_too_much_is_refused_before_memory_is_taken() {
        let mut png = png_of(png::ColorType::Rgb, png::BitDepth::Eight, None, 4, &[9; 12]);
        png[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
        assert!(decode(&png).is_err());
    }

    /// 8 x 8 pixels of quality 75, grey, and RGB with progressive scans.
    const RGB_JPEG: &[u8] = include_bytes!("samples/rgb8.jpg");
    const GREY_JPEG: &[u8] = include_bytes!("samples/grey8.jpg");
}
