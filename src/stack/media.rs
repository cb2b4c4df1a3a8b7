//! Media, the volume of uploaded files: how a script lists, reads and restores it, how its answers are understood, and how
//! a tar archive is proven whole by reading it to its end. Which files are read, and where they are kept, is
//! `steps::backup`'s business.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read, Write};

use serde::{Deserialize, Serialize};

const SCRIPT: &str = include_str!("media.py");
/// What the script marks entries of its archive with.
const STAT: &str = "VIATIQUE.stat";
const UNSTABLE: &str = "VIATIQUE.unstable";
/// What marks entries of the archive that it is given.
const ASIDE: &str = "VIATIQUE.aside";
const MODIFIED: &str = "VIATIQUE.modified";

/// The command that lists what is below a folder; see [`Listing`].
pub fn list(python: &str, folder: &str) -> Vec<String> {
    super::python::script(python, SCRIPT, &["list", folder])
}

/// The command that reads the files whose paths it is given, one a line; see [`unpack`].
pub fn read(python: &str, folder: &str) -> Vec<String> {
    super::python::script(python, SCRIPT, &["read", folder])
}

/// The command that puts what [`Packing`] has packed in its place; what gives way is set aside under this name.
pub fn put(python: &str, folder: &str, aside: &str) -> Vec<String> {
    super::python::script(python, SCRIPT, &["put", folder, aside])
}

/// The command that puts back what was set aside under one name, and sets aside under the other what gives way.
pub fn back(python: &str, folder: &str, from: &str, to: &str) -> Vec<String> {
    super::python::script(python, SCRIPT, &["back", folder, from, to])
}

/// The command that says under which names something is set aside; see [`lines`].
pub fn asides(python: &str, folder: &str) -> Vec<String> {
    super::python::script(python, SCRIPT, &["asides", folder])
}

/// The lines that a command printed before its last one, which says that it came to its end.
///
/// # Errors
/// Where it broke off.
pub fn lines(printed: &str) -> anyhow::Result<Vec<&str>> {
    let mut lines: Vec<&str> = printed.lines().collect();
    let end = lines.pop().and_then(|last| last.strip_prefix("end\t"));
    anyhow::ensure!(
        end.is_some_and(|count| count.parse::<u64>().is_ok()),
        "what the script says of the volume breaks off"
    );
    Ok(lines)
}

/// A path below the volume, every byte outside of printable ASCII, and `%`, as `%XX`: a file's name need not be text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MediaPath(pub String);

impl MediaPath {
    /// Of a path as it is.
    pub fn of(path: &[u8]) -> Self {
        let mut quoted = String::new();
        for byte in path {
            if (0x21..0x7f).contains(byte) && *byte != b'%' {
                quoted.push(char::from(*byte));
            } else {
                quoted.push_str(&format!("%{byte:02X}"));
            }
        }
        Self(quoted)
    }
}

impl fmt::Display for MediaPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = percent_encoding::percent_decode_str(&self.0);
        f.write_str(&bytes.decode_utf8_lossy())
    }
}

/// By what a file is known to be the same as it was: nobody can change its content and leave all of this as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileState {
    /// Nanoseconds since 1970.
    pub modified: i64,
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970: when its content, name or rights were last changed, which no program can set.
    pub changed: i64,
    pub inode: u64,
}

/// One entry of the volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub path: MediaPath,
    pub kind: Kind,
    pub mode: u32,
    pub owner: u32,
    pub group: u32,
    pub state: FileState,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    File,
    Folder,
    /// A symbolic link; its target, written as a path is.
    Link(String),
    /// A socket, a pipe, a device: nothing that was uploaded.
    Other,
}

/// Understands what [`list`] prints, piece by piece as it comes.
#[derive(Debug, Default)]
pub struct Listing {
    entries: Vec<Listed>,
    pending: Vec<u8>,
    ended: bool,
}

impl Listing {
    /// Takes a piece.
    ///
    /// # Errors
    /// Where it is not what the script prints.
    pub fn push(&mut self, mut bytes: &[u8]) -> anyhow::Result<()> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            self.pending.extend_from_slice(line);
            bytes = rest.get(1..).unwrap_or_default();
            let line = std::mem::take(&mut self.pending);
            self.line(&String::from_utf8_lossy(&line))?;
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    /// All of it.
    ///
    /// # Errors
    /// Where it broke off.
    pub fn finish(self) -> anyhow::Result<Vec<Listed>> {
        anyhow::ensure!(self.ended, "the listing of the volume broke off");
        Ok(self.entries)
    }

    fn line(&mut self, line: &str) -> anyhow::Result<()> {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields.as_slice() {
            ["end", count] => self.ended = count.parse() == Ok(self.entries.len()),
            [
                kind,
                path,
                mode,
                owner,
                group,
                modified,
                size,
                changed,
                inode,
                target,
            ] => self.entries.push(Listed {
                path: MediaPath((*path).to_owned()),
                kind: match *kind {
                    "file" => Kind::File,
                    "folder" => Kind::Folder,
                    "link" => Kind::Link((*target).to_owned()),
                    _ => Kind::Other,
                },
                mode: mode.parse()?,
                owner: owner.parse()?,
                group: group.parse()?,
                state: FileState {
                    modified: modified.parse()?,
                    size: size.parse()?,
                    changed: changed.parse()?,
                    inode: inode.parse()?,
                },
            }),
            _ => anyhow::bail!("a line of the listing is not understood: {line:?}"),
        }
        Ok(())
    }
}

/// A file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadFile<T> {
    pub content: T,
    pub state: FileState,
    /// It was being written all the while: what was read of it may be no state that it ever had.
    pub unstable: bool,
}

/// Takes apart what [`read`] wrote, to its end. What became of each file that was there, by path: of one that follows
/// again, the last.
///
/// # Errors
/// Where it is cut or no such archive, and whatever `take` fails with.
pub fn unpack<T>(
    archive: impl Read,
    mut take: impl FnMut(&mut dyn Read) -> std::io::Result<T>,
) -> std::io::Result<BTreeMap<MediaPath, ReadFile<T>>> {
    let mut taken = BTreeMap::new();
    to_the_end(archive, |entry| {
        let path = MediaPath(String::from_utf8_lossy(&entry.path_bytes()).into_owned());
        let mut state = None;
        let mut unstable = false;
        for mark in entry.pax_extensions()?.into_iter().flatten() {
            let mark = mark?;
            match mark.key() {
                Ok(STAT) => state = mark.value().ok().and_then(parse_state),
                Ok(UNSTABLE) => unstable = true,
                Ok(_) | Err(_) => {}
            }
        }
        if unstable {
            if let Some(ReadFile { unstable, .. }) = taken.get_mut(&path) {
                *unstable = true;
            }
            return Ok(());
        }
        let state = state.ok_or_else(|| {
            std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                format!("the archive does not say how {path} stood"),
            )
        })?;
        let content = take(entry)?;
        taken.insert(
            path,
            ReadFile {
                content,
                state,
                unstable: false,
            },
        );
        Ok(())
    })?;
    Ok(taken)
}

fn parse_state(text: &str) -> Option<FileState> {
    let mut fields = text.split(' ');
    Some(FileState {
        modified: fields.next()?.parse().ok()?,
        size: fields.next()?.parse().ok()?,
        changed: fields.next()?.parse().ok()?,
        inode: fields.next()?.parse().ok()?,
    })
}

/// What is to stand at a path.
pub enum Put<'a> {
    /// Nothing: what stands there is set aside.
    Nothing,
    Folder,
    /// The target is written as a path is.
    Link {
        target: &'a str,
    },
    /// Just so many bytes, last changed so many nanoseconds after 1970.
    File {
        size: u64,
        modified: i64,
        content: &'a mut dyn Read,
    },
}

/// Packs what [`put`] puts in its place.
pub struct Packing<W: Write>(tar::Builder<W>);

impl<W: Write> Packing<W> {
    pub fn new(output: W) -> Self {
        Self(tar::Builder::new(output))
    }

    /// Adds a path, with its rights: mode, owner and group.
    ///
    /// # Errors
    /// Output that cannot be written, and a content that cannot be read or has another length.
    pub fn add(
        &mut self,
        path: &MediaPath,
        (mode, owner, group): (u32, u32, u32),
        put: Put<'_>,
    ) -> std::io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_uid(owner.into());
        header.set_gid(group.into());
        header.set_size(0);
        match put {
            Put::Nothing => {
                self.0.append_pax_extensions([(ASIDE, &b"1"[..])])?;
                header.set_entry_type(tar::EntryType::Regular);
                self.0.append_data(&mut header, &path.0, std::io::empty())
            }
            Put::Folder => {
                header.set_entry_type(tar::EntryType::Directory);
                self.0.append_data(&mut header, &path.0, std::io::empty())
            }
            Put::Link { target } => {
                header.set_entry_type(tar::EntryType::Symlink);
                self.0.append_link(&mut header, &path.0, target)
            }
            Put::File {
                size,
                modified,
                content,
            } => {
                let modified = modified.to_string();
                self.0.append_pax_extensions([(MODIFIED, modified.as_bytes())])?;
                header.set_entry_type(tar::EntryType::Regular);
                header.set_size(size);
                let mut content = Exactly { content, left: size };
                self.0.append_data(&mut header, &path.0, &mut content)?;
                content.end()
            }
        }
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// Output that cannot be written.
    pub fn finish(self) -> std::io::Result<W> {
        self.0.into_inner()
    }
}

/// A content whose length was said before.
struct Exactly<'a> {
    content: &'a mut dyn Read,
    left: u64,
}

impl Exactly<'_> {
    fn end(self) -> std::io::Result<()> {
        if self.left == 0 && self.content.read(&mut [0])? == 0 {
            return Ok(());
        }
        Err(std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            "a content has another length than it had",
        ))
    }
}

impl Read for Exactly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = match buffer.get_mut(..most) {
            Some(buffer) => self.content.read(buffer)?,
            None => 0,
        };
        self.left -= count as u64;
        Ok(count)
    }
}

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
    to_the_end(archive, |entry| {
        let bytes = std::io::copy(entry, &mut std::io::sink())?;
        if entry.header().entry_type().is_file() {
            contents.files += 1;
            contents.bytes += bytes;
        }
        Ok(())
    })?;
    Ok(contents)
}

/// Reads a tar archive entry by entry, up to its end mark.
fn to_the_end<R: Read>(
    archive: R,
    mut each: impl FnMut(&mut tar::Entry<'_, &mut TailReader<R>>) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut tail = TailReader {
        inner: archive,
        zeros: 0,
    };
    for entry in tar::Archive::new(&mut tail).entries()? {
        each(&mut entry?)?;
    }
    tail.end()
}

/// Counts the zeros at the end of what was read.
struct TailReader<R> {
    inner: R,
    zeros: u64,
}

impl<R: Read> TailReader<R> {
    /// Reads what is left, which must end with the archive's end mark.
    fn end(mut self) -> std::io::Result<()> {
        std::io::copy(&mut self, &mut std::io::sink())?;
        if self.zeros < 1024 {
            return Err(std::io::Error::new(
                std::io::ErrorKind::UnexpectedEof,
                "the archive's end mark is missing",
            ));
        }
        Ok(())
    }
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
    fn a_path_is_written_as_the_script_writes_it() {
        let path = MediaPath::of("scans/Élève 100%.pdf".as_bytes());
        assert_eq!(path.0, "scans/%C3%89l%C3%A8ve%20100%25.pdf");
        assert_eq!(path.to_string(), "scans/Élève 100%.pdf");
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

    #[test]
    fn a_listing_that_broke_off_is_refused() {
        let whole = "folder\t.\t493\t0\t0\t7\t4096\t8\t1\t\nfile\ta%20b\t420\t1\t2\t3\t5\t4\t6\t\nlink\tl\t511\t0\t0\t1\t1\t1\t9\ta\nend\t3\n";
        let parse = |text: &str| {
            let mut listing = Listing::default();
            for piece in text.as_bytes().chunks(7) {
                listing.push(piece)?;
            }
            listing.finish()
        };
        let entries = parse(whole).unwrap();
        assert_eq!(entries.len(), 3);
        assert_eq!(entries[1].path.to_string(), "a b");
        assert_eq!(
            entries[1].state,
            FileState {
                modified: 3,
                size: 5,
                changed: 4,
                inode: 6
            }
        );
        assert_eq!(entries[2].kind, Kind::Link("a".to_owned()));
        for length in 0..whole.len() {
            assert!(parse(&whole[..length]).is_err(), "{length}");
        }
    }
}
