//! QR codes: in the terminal, as SVG and as PNG.

use std::fmt::Write as _;

use qrcode::{Color, EcLevel, QrCode};

use super::Failure;

/// The light border around a code, in modules (ISO/IEC 18004 asks for four).
const BORDER: usize = 4;
/// The width of a module in a PNG, in pixels.
const SCALE: usize = 6;

/// A QR code, with its border.
pub(super) struct Qr {
    /// The modules, row by row: whether each is dark.
    dark: Vec<bool>,
    width: usize,
}

impl Qr {
    /// Makes the code of a text.
    pub(super) fn new(text: &str) -> Result<Self, Failure> {
        let code = QrCode::with_error_correction_level(text, EcLevel::M)
            .map_err(|error| Failure::failed(format!("cannot make a QR code: {error}")))?;
        let inner = code.width();
        let width = inner + 2 * BORDER;
        let mut dark = vec![false; width * width];
        for (at, color) in code.to_colors().into_iter().enumerate() {
            let place = (at / inner + BORDER) * width + at % inner + BORDER;
            if let Some(module) = dark.get_mut(place) {
                *module = color == Color::Dark;
            }
        }
        Ok(Self { dark, width })
    }

    fn rows(&self) -> impl Iterator<Item = &[bool]> {
        self.dark.chunks(self.width)
    }

    /// Lines for a terminal, two modules a character. Colours are set, because a reader needs dark on light.
    pub(super) fn for_terminal(&self) -> String {
        let rows: Vec<&[bool]> = self.rows().collect();
        let mut text = String::new();
        for pair in rows.chunks(2) {
            let [upper, lower @ ..] = pair else { continue };
            text.push_str("\x1b[30;47m");
            for (column, upper) in upper.iter().enumerate() {
                let lower = lower.first().and_then(|row| row.get(column)).copied();
                text.push(match (upper, lower.unwrap_or(false)) {
                    (false, false) => ' ',
                    (true, false) => '▀',
                    (false, true) => '▄',
                    (true, true) => '█',
                });
            }
            text.push_str("\x1b[0m\n");
        }
        text
    }

    /// An SVG document.
    pub(super) fn to_svg(&self) -> String {
        let width = self.width;
        let mut path = String::new();
        for (y, row) in self.rows().enumerate() {
            for (x, _) in row.iter().enumerate().filter(|(_, dark)| **dark) {
                write!(path, "M{x} {y}h1v1h-1z").ok();
            }
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {width}\" shape-rendering=\"crispEdges\">\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/><path d=\"{path}\"/></svg>\n"
        )
    }

    /// A PNG file (ISO/IEC 15948) of one bit a pixel. It is not compressed: it has some kilobytes.
    pub(super) fn to_png(&self) -> Vec<u8> {
        let pixels = self.width * SCALE;
        let mut data = Vec::new();
        for row in self.rows() {
            let light: Vec<bool> =
                row.iter().flat_map(|dark| std::iter::repeat_n(!dark, SCALE)).collect();
            let octet = |bits: &[bool]| {
                let value = bits.iter().fold(0_u8, |value, bit| value << 1 | u8::from(*bit));
                value << (8 - bits.len())
            };
            let octets: Vec<u8> = light.chunks(8).map(octet).collect();
            for _ in 0..SCALE {
                // The filter of the row: none.
                data.push(0);
                data.extend(&octets);
            }
        }
        let side = u32::try_from(pixels).unwrap_or_default().to_be_bytes();
        // One bit, grey, and the only methods there are.
        let header = [&side[..], &side, &[1, 0, 0, 0, 0]].concat();
        let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
        for (kind, content) in [(b"IHDR", header), (b"IDAT", stored(&data)), (b"IEND", Vec::new())]
        {
            png.extend(u32::try_from(content.len()).unwrap_or_default().to_be_bytes());
            let checked = [&kind[..], &content].concat();
            png.extend(&checked);
            png.extend(crc32(&checked).to_be_bytes());
        }
        png
    }
}

/// A zlib stream of stored blocks (RFC 1950, RFC 1951 §3.2.4).
fn stored(data: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let mut blocks = data.chunks(usize::from(u16::MAX)).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or_default();
        stream.push(u8::from(blocks.peek().is_none()));
        stream.extend(length.to_le_bytes());
        stream.extend((!length).to_le_bytes());
        stream.extend(block);
    }
    let (mut a, mut b) = (1_u32, 0_u32);
    for octet in data {
        a = (a + u32::from(*octet)) % 65_521;
        b = (b + a) % 65_521;
    }
    stream.extend((b << 16 | a).to_be_bytes());
    stream
}

/// The checksum of a chunk (ISO/IEC 15948 annex D).
fn crc32(octets: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { 0xedb8_8320 ^ crc >> 1 } else { crc >> 1 };
    let crc = octets
        .iter()
        .fold(u32::MAX, |crc, octet| (0..8).fold(crc ^ u32::from(*octet), |crc, _| step(crc)));
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standards() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(&stored(b"Wikipedia")[16..], 0x11e6_0398_u32.to_be_bytes());
    }

    #[test]
    fn all_forms_have_the_same_modules() {
        let qr = Qr::new("otpauth://totp/a").expect("a code");
        let dark = qr.dark.iter().filter(|dark| **dark).count();
        assert_eq!(qr.to_svg().matches("h1v1h-1z").count(), dark);
        assert_eq!(qr.for_terminal().lines().count(), qr.width.div_ceil(2));
        let png = qr.to_png();
        assert!(png.starts_with(b"\x89PNG") && png.ends_with(b"IEND\xae\x42\x60\x82"));
    }
}
