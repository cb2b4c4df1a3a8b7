//! Media: proving that a tar archive of the volume is whole by reading it to its end.

use std::io::Read;

/// What an archive holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Contents {
    pub files: u64,
    /// Bytes of the files.
    pub bytes: u64,
}

/// Reads a tar archive to its end, every byte of it.
///
/// # Errors
/// Where it is cut, or is no archive: `tar` stops in silence at a cut between two entries, so the end mark (two
/// blocks of zeros) is asked for.
pub fn read_back(archive: impl Read) -> std::io::Result<Contents> {
    let mut contents = Contents::default();
    let mut tail = TailReader {
        inner: archive,
        zeros: 0,
    };
    {
        let mut reader = tar::Archive::new(&mut tail);
        for entry in reader.entries()? {
            let mut entry = entry?;
            let bytes = std::io::copy(&mut entry, &mut std::io::sink())?;
            if entry.header().entry_type().is_file() {
                contents.files += 1;
                contents.bytes += bytes;
            }
        }
    }
    std::io::copy(&mut tail, &mut std::io::sink())?;
    if tail.zeros < 1024 {
        return Err(std::io::Error::new(
            std::io::ErrorKind::UnexpectedEof,
            "the archive's end mark is missing",
        ));
    }
    Ok(contents)
}

/// Counts the zeros at the end of what was read.
struct TailReader<R> {
    inner: R,
    zeros: u64,
}

impl<R: Read> Read for TailReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let read = buffer.get(..count).unwrap_or_default();
        let zeros = read.iter().rev().take_while(|byte| **byte == 0).count();
        self.zeros = if zeros == count {
            self.zeros + count as u64
        } else {
            zeros as u64
        };
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for name in ["a", "b"] {
            let mut header = tar::Header::new_gnu();
            header.set_size(700);
            header.set_cksum();
            builder
                .append_data(&mut header, name, [7u8; 700].as_slice())
                .unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn a_whole_archive_is_counted() {
        assert_eq!(
            read_back(archive().as_slice()).unwrap(),
            Contents {
                files: 2,
                bytes: 1400
            }
        );
    }

    #[test]
    fn a_cut_archive_is_refused_wherever_it_is_cut() {
        let whole = archive();
        for length in (0..whole.len() - 1024).step_by(100) {
            assert!(
                read_back(&whole[..length]).is_err(),
                "cut at {length} of {}",
                whole.len()
            );
        }
        // Exactly between two entries: what `tar` itself takes for a whole archive.
        assert!(read_back(&whole[..1536]).is_err());
    }
}
