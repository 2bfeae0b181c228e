//! Layers as they are compressed.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

/// The longest layer that is read, in bytes after decompression (64 GiB): a bomb's end.
pub(super) const MAX_LAYER_BYTES: u64 = 64 * 1024 * 1024 * 1024;

/// The archive in a layer: gzip and zstd by how they begin, whatever the media type says. Beyond `limit` bytes it is an error.
pub(super) fn archive<'r>(mut layer: impl Read + 'r, limit: u64) -> io::Result<Box<dyn Read + 'r>> {
    let mut start = Vec::new();
    layer.by_ref().take(4).read_to_end(&mut start)?;
    let whole = BufReader::new(Cursor::new(start.clone()).chain(layer));
    Ok(match start.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(Bounded { reader: MultiGzDecoder::new(whole), limit, left: limit }),
        // A frame, or one to be skipped, as zstd:chunked has at its end (RFC 8878, 3.1).
        [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => {
            Box::new(Bounded { reader: Frames::new(whole), limit, left: limit })
        }
        _ => Box::new(Bounded { reader: whole, limit, left: limit }),
    })
}

/// An error, not an end, where there are too many bytes.
struct Bounded<R> {
    reader: R,
    limit: u64,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            io::Error::other(format!("it has more than {} bytes when decompressed", self.limit))
        })?;
        Ok(read)
    }
}

/// The content of a sequence of zstd frames; the decoder reads one. Windows over 128 MiB are refused by it.
struct Frames<R> {
    source: R,
    decoder: FrameDecoder,
    inside: bool,
}

impl<R: BufRead> Frames<R> {
    fn new(source: R) -> Self {
        Self { source, decoder: FrameDecoder::new(), inside: false }
    }

    /// Begins the next frame that has content; false at the end.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.init(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    io::copy(&mut self.source.by_ref().take(length.into()), &mut io::sink())?;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.inside && !self.begin()? {
                return Ok(0);
            }
            self.inside = true;
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let blocks = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.source, blocks).map_err(io::Error::other)?;
            }
            let read = self.decoder.read(buffer)?;
            if read > 0 {
                return Ok(read);
            }
            self.inside = !self.decoder.is_finished();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn read(layer: &[u8]) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        archive(layer, MAX_LAYER_BYTES)?.read_to_end(&mut content)?;
        Ok(content)
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn every_member_and_frame_is_read() {
        let zstd = |text: &[u8]| compress_to_vec(text, CompressionLevel::Fastest);
        let skipped = [&[0x5e, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"toc"].concat();
        let long = vec![7; 300_000];
        assert_eq!(read(b"plain").unwrap(), b"plain");
        assert_eq!(read(b"").unwrap(), b"");
        assert_eq!(read(&[gzip(b"one"), gzip(b"two")].concat()).unwrap(), b"onetwo");
        let frames =
            [skipped.clone(), zstd(b"one"), skipped.clone(), zstd(&long), zstd(b""), skipped].concat();
        assert_eq!(read(&frames).unwrap(), [b"one", long.as_slice()].concat());
    }

    #[test]
    fn what_is_damaged_or_cut_off_is_an_error() {
        assert!(read(&gzip(b"one")[..12]).is_err());
        let zstd = compress_to_vec(&[1, 2, 3, 4, 5, 6, 7, 8][..], CompressionLevel::Fastest);
        assert!(read(&zstd[..zstd.len() - 6]).is_err());
        assert!(read(&[0x28, 0xb5, 0x2f, 0xfd, 0xff, 0xff, 0xff]).is_err());
    }

    #[test]
    fn too_many_bytes_are_an_error() {
        let mut bounded = Bounded { reader: io::repeat(0).take(11), limit: 10, left: 10 };
        assert!(bounded.read_to_end(&mut Vec::new()).unwrap_err().to_string().contains("decompressed"));
        let mut bounded = Bounded { reader: io::repeat(0).take(10), limit: 10, left: 10 };
        assert_eq!(bounded.read_to_end(&mut Vec::new()).unwrap(), 10);
    }
}
