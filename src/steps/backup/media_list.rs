//! The list of a media volume: every entry with its rights, every file with the SHA-256 under which its content is kept.
//! One JSON object a line, compressed: `media.jsonl.gz`.

use std::collections::BTreeSet;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use crate::stack::media::{FileState, MediaPath};

/// The list's file name.
pub(crate) const MEDIA_LIST: &str = "media.jsonl.gz";

/// The digests of all contents that the list names, each of 32 bytes, in order: which contents are still needed must be
/// known without a key.
pub(crate) const MEDIA_DIGESTS: &str = "media.digests";

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct MediaEntry {
    /// Below the volume; `.` is its own folder.
    pub path: MediaPath,
    pub mode: u32,
    pub owner: u32,
    pub group: u32,
    #[serde(flatten)]
    pub what: What,
}

/// What it is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub(crate) enum What {
    File {
        state: FileState,
        /// Of its content, in lower-case hexadecimal.
        sha256: String,
        /// It was being written all the while: the content may be no state that it ever had.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unstable: bool,
    },
    Folder,
    /// The target is written as a path is.
    Link {
        target: String,
    },
}

/// The list as it is kept.
pub(super) fn encode(entries: &[MediaEntry]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let mut line = Vec::new();
    for entry in entries {
        // A line at once: the encoder is slow at many small pieces.
        line.clear();
        serde_json::to_writer(&mut line, entry)?;
        line.push(b'\n');
        encoder.write_all(&line)?;
    }
    encoder.finish()
}

/// Reads a list, entry by entry. Its checksum is proven at its end.
pub(super) fn read(
    compressed: impl Read,
    mut take: impl FnMut(MediaEntry) -> io::Result<()>,
) -> io::Result<()> {
    let mut lines = BufReader::new(MultiGzDecoder::new(BufReader::new(compressed)));
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 {
        take(serde_json::from_str(&line)?)?;
        line.clear();
    }
    Ok(())
}

/// The digests of the contents of these files.
pub(super) fn digests(entries: &[MediaEntry]) -> Vec<u8> {
    let mut digests = BTreeSet::new();
    for entry in entries {
        match &entry.what {
            What::File { sha256, .. } => {
                digests.insert(sha256.as_str());
            }
            What::Folder | What::Link { .. } => {}
        }
    }
    digests.into_iter().flat_map(crate::digest::bytes).collect()
}

/// Reads [`MEDIA_DIGESTS`].
///
/// # Errors
/// A file that is cut.
pub(super) fn parse_digests(content: &[u8]) -> io::Result<Vec<String>> {
    const LENGTH: usize = 32;
    if !content.len().is_multiple_of(LENGTH) {
        let what = format!("{MEDIA_DIGESTS} is cut");
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
    }
    let digests = content.chunks_exact(LENGTH);
    Ok(digests.map(crate::digest::hexadecimal).collect())
}
