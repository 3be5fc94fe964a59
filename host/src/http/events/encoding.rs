//! `Content-Encoding`: gzip (RFC 1952) and zstd (RFC 8878), decoded within the limit of a body. A body that would decode to more is refused before
//! more of it is decoded, so what a few kilobytes can cost is bounded by `events.max_body`.

use std::io::{self, Read as _, Write};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::http::body::Held;
use crate::http::problem::Problem;

/// As the answer 415 lists them.
pub(super) const ENCODINGS: &str = "gzip, zstd, identity";

/// How far back a zstd frame may refer: what RFC 8878 asks every decoder to support, and no more.
const WINDOW_BYTES_MAX: u64 = 8 << 20;

/// How a body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    /// One encoding, said once; a body that is encoded twice is not taken.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut said = headers.get_all(CONTENT_ENCODING).into_iter();
        let (first, more) = (said.next(), said.next());
        let Some(first) = first else { return Ok(Self::Identity) };
        let name = String::from_utf8_lossy(first.as_bytes()).trim().to_ascii_lowercase();
        match (name.as_str(), more) {
            ("identity" | "", None) => Ok(Self::Identity),
            ("gzip" | "x-gzip", None) => Ok(Self::Gzip),
            ("zstd", None) => Ok(Self::Zstd),
            (_, None) => Err(Problem::ContentEncoding { said: name, accept: ENCODINGS }),
            (_, Some(_)) => Err(Problem::ContentEncoding { said: format!("{name}, …"), accept: ENCODINGS }),
        }
    }

    /// Decodes a whole body. What it decodes to is counted in `held`.
    pub(super) fn decode(self, body: Bytes, max: usize, held: &mut Held) -> Result<Bytes, Problem> {
        let out = Decoded { bytes: Vec::with_capacity(body.len().saturating_mul(2).min(max)), max, held, full: None };
        match self {
            Self::Identity => Ok(body),
            Self::Gzip => gunzip(&body, out),
            Self::Zstd => unzstd(&body, out),
        }
    }
}

/// What was decoded so far.
struct Decoded<'h> {
    bytes: Vec<u8>,
    max: usize,
    held: &'h mut Held,
    /// Why no more is taken.
    full: Option<Problem>,
}

impl Decoded<'_> {
    fn end(self, done: io::Result<()>) -> Result<Bytes, Problem> {
        match (self.full, done) {
            (Some(problem), _) => Err(problem),
            (None, Ok(())) => Ok(self.bytes.into()),
            (None, Err(error)) => Err(Problem::Malformed(format!("the body cannot be decoded: {error}"))),
        }
    }
}

impl Write for Decoded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.bytes.len() + bytes.len();
        let refused = if length > self.max {
            let what = "the body decodes to more bytes".into();
            Err(Problem::TooLarge { what, limit: self.max, setting: Some("events.max_body") })
        } else {
            self.held.grow(length)
        };
        if let Err(problem) = refused {
            self.full = Some(problem);
            return Err(io::Error::other("a limit is reached"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn gunzip(body: &[u8], mut out: Decoded<'_>) -> Result<Bytes, Problem> {
    let mut decoder = MultiGzDecoder::new(&mut out);
    // An empty body is no gzip member; the decoder would take it for the end of one.
    let whole = if body.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { decoder.write_all(body) };
    let done = whole.and_then(|()| decoder.try_finish());
    drop(decoder);
    out.end(done)
}

/// Frame after frame; skippable ones are passed over.
fn unzstd(mut body: &[u8], mut out: Decoded<'_>) -> Result<Bytes, Problem> {
    let done = (|| {
        if body.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(WINDOW_BYTES_MAX);
        while !body.is_empty() {
            match decoder.reset(&mut body) {
                Ok(()) => frame(&mut decoder, &mut body, &mut out)?,
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let length = length as usize;
                    body = body.get(length..).ok_or(io::ErrorKind::UnexpectedEof)?;
                }
                Err(error) => return Err(io::Error::other(error.to_string())),
            }
        }
        Ok(())
    })();
    out.end(done)
}

fn frame(decoder: &mut FrameDecoder, body: &mut &[u8], out: &mut Decoded<'_>) -> io::Result<()> {
    let mut piece = vec![0; 64 << 10];
    loop {
        let ended =
            decoder.decode_blocks(&mut *body, BlockDecodingStrategy::UptoBlocks(1)).map_err(|error| io::Error::other(error.to_string()))?;
        while decoder.can_collect() > 0 {
            let length = decoder.read(&mut piece)?;
            out.write_all(&piece[..length])?;
        }
        if ended {
            break;
        }
    }
    match (decoder.get_checksum_from_data(), decoder.get_calculated_checksum()) {
        (Some(said), Some(found)) if said != found => Err(io::Error::other("the checksum does not match")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "{\"source\":\"shop\",\"event\":\"sold\"}";

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
    }

    fn decode(encoding: Encoding, bytes: Vec<u8>, max: usize) -> Result<Bytes, Problem> {
        encoding.decode(bytes.into(), max, &mut Held::default())
    }

    #[test]
    fn members_and_frames_follow_each_other() {
        let twice = [gzip(TEXT.as_bytes()), gzip(TEXT.as_bytes())].concat();
        assert_eq!(decode(Encoding::Gzip, twice, 1000).unwrap(), TEXT.repeat(2));
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3].to_vec();
        let twice = [zstd(TEXT.as_bytes()), skippable, zstd(TEXT.as_bytes())].concat();
        assert_eq!(decode(Encoding::Zstd, twice, 1000).unwrap(), TEXT.repeat(2));
        assert_eq!(decode(Encoding::Identity, TEXT.into(), 1).unwrap(), TEXT);
    }

    #[test]
    fn a_bomb_is_refused_at_the_limit() {
        let bomb = vec![b' '; 64 << 20];
        for (encoding, bytes) in [(Encoding::Gzip, gzip(&bomb)), (Encoding::Zstd, zstd(&bomb))] {
            assert!(bytes.len() < 100_000, "{encoding:?} makes it small");
            let refused = decode(encoding, bytes, 1 << 20);
            assert!(matches!(refused, Err(Problem::TooLarge { limit: 1_048_576, setting: Some("events.max_body"), .. })), "{encoding:?}");
        }
        let exact = vec![b'x'; 1 << 20];
        for (encoding, bytes) in [(Encoding::Gzip, gzip(&exact)), (Encoding::Zstd, zstd(&exact))] {
            assert_eq!(decode(encoding, bytes, 1 << 20).unwrap().len(), 1 << 20, "{encoding:?}");
        }
    }

    #[test]
    fn what_is_cut_or_flipped_is_malformed_and_never_a_panic() {
        for (encoding, good) in [(Encoding::Gzip, gzip(TEXT.as_bytes())), (Encoding::Zstd, zstd(TEXT.as_bytes()))] {
            for length in 0..good.len() {
                let cut = decode(encoding, good[..length].to_vec(), 1000);
                assert!(matches!(cut, Err(Problem::Malformed(_))), "{encoding:?} cut at {length}: {cut:?}");
            }
            for bit in 0..good.len() * 8 {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                // A flip in a field that means nothing to us may still decode; it must not panic.
                let _ = decode(encoding, bad, 1000);
            }
            let behind = [good, b"more".to_vec()].concat();
            assert!(decode(encoding, behind, 1000).is_err(), "{encoding:?}");
        }
        // A window of 128 MiB, which the decoder would have to set aside before the first byte.
        let wide = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x88, 0x01, 0x00, 0x00];
        assert!(matches!(decode(Encoding::Zstd, wide.to_vec(), 1000), Err(Problem::Malformed(message)) if message.contains("indow")));
    }
}
