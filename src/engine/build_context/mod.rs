//! What of a folder is sent to the builder: `.dockerignore` semantics and the tar stream. Knows no engine.
//!
//! The archive is sorted and belongs to root; modes and times are the files' own. BuildKit's cache goes by content,
//! mode and name, so a fresh checkout with other times still hits it. The Dockerfile and `.dockerignore` are sent
//! even where they are ignored, because the builder reads them from the archive; so `COPY . .` sees them.

mod ignore;

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

pub use ignore::{IgnorePatterns, InvalidPattern};

use crate::compose::Build;

/// What a Dockerfile is called in the archive that does not stand in the context.
const OUTSIDE_DOCKERFILE: &str = ".viatique-deploy.Dockerfile";
const IGNORE_FILE: &str = ".dockerignore";

/// A context that cannot be sent: which path, and why.
#[derive(Debug, thiserror::Error)]
#[error("{}: {message}", path.display())]
pub struct ContextError {
    pub path: PathBuf,
    pub message: String,
}

impl ContextError {
    fn new(path: &Path, error: impl ToString) -> Self {
        Self {
            path: path.to_owned(),
            message: error.to_string(),
        }
    }

    /// An error that is not about one file.
    pub(crate) fn other(message: String) -> Self {
        Self {
            path: PathBuf::from("build context"),
            message,
        }
    }
}

/// How much has been written so far; read by another thread.
#[derive(Debug, Default)]
pub struct Counted {
    files: AtomicU64,
    bytes: AtomicU64,
}

impl Counted {
    fn add_file(&self) {
        self.files.fetch_add(1, Ordering::Relaxed);
    }

    fn add_bytes(&self, length: usize) {
        self.bytes
            .fetch_add(u64::try_from(length).unwrap_or_default(), Ordering::Relaxed);
    }

    /// Files, and bytes of their content.
    pub fn so_far(&self) -> (u64, u64) {
        (
            self.files.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        )
    }
}

/// The list of what is sent. Contents are read when the archive is written.
#[derive(Debug)]
pub struct BuildContext {
    folder: PathBuf,
    /// Relative to the folder, sorted.
    paths: Vec<PathBuf>,
    dockerfile: String,
    dockerfile_text: String,
    dockerfile_is_outside: bool,
}

impl BuildContext {
    /// Walks the context's folder. Blocks.
    ///
    /// # Errors
    /// A path that cannot be read, or an ignore file that means nothing.
    pub fn collect(build: &Build) -> Result<Self, ContextError> {
        let folder = &build.context;
        let canonical = fs::canonicalize(folder).map_err(|error| ContextError::new(folder, error))?;
        let (dockerfile, text) = match &build.dockerfile_inline {
            Some(text) => (None, text.clone()),
            None => {
                let path = build
                    .dockerfile
                    .clone()
                    .unwrap_or_else(|| folder.join("Dockerfile"));
                let text = fs::read(&path).map_err(|error| ContextError::new(&path, error))?;
                (Some(path), String::from_utf8_lossy(&text).into_owned())
            }
        };
        // A link that leads out of the context cannot be followed by the builder.
        let inside = dockerfile
            .as_ref()
            .and_then(|path| fs::canonicalize(path).ok())
            .and_then(|path| path.strip_prefix(&canonical).ok().map(Path::to_owned))
            .and_then(|path| path.to_str().map(str::to_owned));
        let patterns = ignore_patterns(folder, dockerfile.as_deref())?;
        let mut paths = Vec::new();
        walk(folder, Path::new(""), &patterns, &mut paths)?;
        let mut always = vec![IGNORE_FILE];
        always.extend(inside.as_deref());
        for path in always.into_iter().map(PathBuf::from) {
            if folder.join(&path).is_file() && !paths.contains(&path) {
                paths.push(path);
            }
        }
        if inside.is_none() {
            paths.retain(|path| path != Path::new(OUTSIDE_DOCKERFILE));
        }
        paths.sort();
        Ok(Self {
            folder: folder.clone(),
            paths,
            dockerfile_is_outside: inside.is_none(),
            dockerfile: inside.unwrap_or_else(|| OUTSIDE_DOCKERFILE.to_owned()),
            dockerfile_text: text,
        })
    }

    /// The Dockerfile's path in the archive.
    pub fn dockerfile(&self) -> &str {
        &self.dockerfile
    }

    /// What the Dockerfile says.
    pub fn dockerfile_text(&self) -> &str {
        &self.dockerfile_text
    }

    /// What is sent of the folder, relative to it and sorted.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Writes everything as a tar archive. Blocks.
    ///
    /// # Errors
    /// A file that cannot be read, or changes while it is read; or the writer's own error.
    pub fn write_archive(&self, out: &mut dyn Write, counted: &Counted) -> Result<(), ContextError> {
        let mut archive = tar::Builder::new(out);
        if self.dockerfile_is_outside {
            let text = self.dockerfile_text.as_bytes();
            let mut header = header(tar::EntryType::Regular, 0o644, 0);
            header.set_size(u64::try_from(text.len()).unwrap_or_default());
            archive
                .append_data(&mut header, &self.dockerfile, text)
                .map_err(|error| ContextError::new(Path::new(&self.dockerfile), error))?;
            counted.add_file();
            counted.add_bytes(text.len());
        }
        for path in &self.paths {
            let source = self.folder.join(path);
            append(&mut archive, path, &source, counted)
                .map_err(|error| ContextError::new(&source, error))?;
        }
        archive
            .finish()
            .map_err(|error| ContextError::new(&self.folder, error))
    }
}

/// The Dockerfile's own ignore file stands over the context's.
fn ignore_patterns(folder: &Path, dockerfile: Option<&Path>) -> Result<IgnorePatterns, ContextError> {
    let own = dockerfile.map(|path| {
        let mut name = path.as_os_str().to_owned();
        name.push(IGNORE_FILE);
        PathBuf::from(name)
    });
    for file in own.into_iter().chain([folder.join(IGNORE_FILE)]) {
        match fs::read(&file) {
            Ok(text) => {
                return IgnorePatterns::parse(&String::from_utf8_lossy(&text))
                    .map_err(|error| ContextError::new(&file, error));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(ContextError::new(&file, error)),
        }
    }
    Ok(IgnorePatterns::default())
}

fn walk(
    folder: &Path,
    below: &Path,
    patterns: &IgnorePatterns,
    found: &mut Vec<PathBuf>,
) -> Result<(), ContextError> {
    let here = folder.join(below);
    let failed = |error| ContextError::new(&here, error);
    for entry in fs::read_dir(&here).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        let path = below.join(entry.file_name());
        let text = path.to_string_lossy();
        let excluded = patterns.excludes(&text);
        if kind.is_dir() {
            if !excluded || patterns.may_take_back_below(&text) {
                walk(folder, &path, patterns, found)?;
            }
        } else if kind.is_socket() || kind.is_fifo() || kind.is_block_device() || kind.is_char_device() {
            // Nothing that an image could hold.
            continue;
        }
        if !excluded {
            found.push(path);
        }
    }
    Ok(())
}

fn append(
    archive: &mut tar::Builder<&mut dyn Write>,
    path: &Path,
    source: &Path,
    counted: &Counted,
) -> io::Result<()> {
    let metadata = fs::symlink_metadata(source)?;
    let kind = metadata.file_type();
    if kind.is_dir() {
        let mut header = header_of(tar::EntryType::Directory, &metadata);
        header.set_size(0);
        archive.append_data(&mut header, path, io::empty())
    } else if kind.is_symlink() {
        let mut header = header_of(tar::EntryType::Symlink, &metadata);
        header.set_size(0);
        archive.append_link(&mut header, path, fs::read_link(source)?)
    } else {
        let file = File::open(source)?;
        let metadata = file.metadata()?;
        let mut header = header_of(tar::EntryType::Regular, &metadata);
        header.set_size(metadata.len());
        let content = ExactContent {
            file,
            left: metadata.len(),
            counted,
        };
        archive.append_data(&mut header, path, content)?;
        counted.add_file();
        Ok(())
    }
}

fn header_of(kind: tar::EntryType, metadata: &Metadata) -> tar::Header {
    header(
        kind,
        metadata.mode() & 0o7777,
        u64::try_from(metadata.mtime()).unwrap_or_default(),
    )
}

fn header(kind: tar::EntryType, mode: u32, modified: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(modified);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// As many bytes as the archive's header has promised: a file that grows meanwhile is cut, one that shrinks is an
/// error, since neither may shift what follows it.
struct ExactContent<'counted> {
    file: File,
    left: u64,
    counted: &'counted Counted,
}

impl Read for ExactContent<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(room) = buffer.get_mut(..wanted).filter(|room| !room.is_empty()) else {
            return Ok(0);
        };
        let length = self.file.read(room)?;
        if length == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "became shorter while it was read",
            ));
        }
        self.left = self
            .left
            .saturating_sub(u64::try_from(length).unwrap_or_default());
        self.counted.add_bytes(length);
        Ok(length)
    }
}
