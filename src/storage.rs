//! Places where copies of backups are kept, on another machine or another disk: S3-compatible storage or a folder. Through
//! object_store: the only file that names it. What is copied, and when, is `steps::backup`'s business.
//!
//! A name is a path below the place, of letters that need no quoting. What has a name there is whole: half of it never
//! gets one.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Name;
use object_store::{ObjectStore, ObjectStoreExt as _, RetryConfig, WriteMultipart};
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::compose::read_variables;
use crate::config::{BackupCopy, CopyPlace};
use crate::digest::hexadecimal;

/// Bytes: what is not larger is sent in one piece; S3 takes no smaller ones but the last.
const PIECE: usize = 8 << 20;
/// Pieces of one file that are under way at once: with the one being filled, three in memory.
const AT_ONCE: usize = 2;
/// A request is tried again for so long, where the other side is busy or gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// A place.
#[derive(Clone)]
pub struct Storage {
    store: Arc<dyn ObjectStore>,
    prefix: Name,
    /// Where it is a folder of this machine.
    folder: Option<PathBuf>,
}

/// Bytes, and their SHA-256 in lower-case hexadecimal.
pub type Digest = (u64, String);

impl Storage {
    /// Opens a place. A folder must stand: one that does not may be a disk that is not mounted. `here` is where its path
    /// is meant from. Who may write to S3 is in the environment: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
    ///
    /// # Errors
    /// A folder that does not stand, and settings that do not fit together; nothing is asked of S3 yet.
    pub fn open(copy: &BackupCopy, here: &Path) -> Result<Self> {
        match &copy.to {
            CopyPlace::Folder(folder) => {
                let folder = here.join(folder);
                let what = || format!("opening {}: is its disk mounted?", folder.display());
                let metadata = std::fs::metadata(&folder).with_context(what)?;
                anyhow::ensure!(metadata.is_dir(), "{} is no folder", folder.display());
                let store = LocalFileSystem::new_with_prefix(&folder).with_context(what)?;
                Ok(Self {
                    store: Arc::new(store.with_fsync(true)),
                    prefix: Name::default(),
                    folder: Some(folder),
                })
            }
            CopyPlace::Bucket { bucket, prefix } => {
                crate::tls::prepare();
                let mut builder = AmazonS3Builder::from_env()
                    .with_bucket_name(bucket)
                    // Not every S3-compatible storage knows it.
                    .with_disable_bulk_delete(true)
                    .with_retry(RetryConfig {
                        max_retries: 8,
                        retry_timeout: PATIENCE,
                        ..RetryConfig::default()
                    });
                if let Some(file) = &copy.credentials {
                    builder = with_credentials(builder, &here.join(file))?;
                }
                if let Some(region) = &copy.region {
                    builder = builder.with_region(region);
                }
                if let Some(endpoint) = &copy.endpoint {
                    builder = builder
                        .with_endpoint(endpoint)
                        .with_allow_http(endpoint.starts_with("http://"));
                }
                Ok(Self {
                    store: Arc::new(builder.build().context("opening the bucket")?),
                    prefix: Name::from(prefix.as_str()),
                    folder: None,
                })
            }
        }
    }

    /// Nobody but its owner may enter what is made here: object_store makes files that everybody can read.
    fn make_private(&self, name: &str) -> Result<()> {
        let (Some(folder), Some((top, _))) = (&self.folder, name.split_once('/')) else {
            return Ok(());
        };
        let folder = folder.join(top);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("making {}", folder.display()))
    }

    fn at(&self, name: &str) -> Name {
        let parts = self.prefix.parts();
        let own: Name = name.split('/').collect();
        parts.chain(own.parts()).collect()
    }

    /// Sends a file there. What was sent.
    ///
    /// # Errors
    /// A file that cannot be read, a place that does not take it.
    pub async fn upload(&self, file: &Path, name: &str, mut sent: impl FnMut(u64)) -> Result<Digest> {
        let what = || format!("copying {}", file.display());
        self.make_private(name)?;
        let mut content = File::open(file).await.with_context(what)?;
        let length = content.metadata().await.with_context(what)?.len();
        let mut digest = Sha256::new();
        if length <= PIECE as u64 {
            let mut whole = Vec::new();
            content.read_to_end(&mut whole).await.with_context(what)?;
            digest.update(&whole);
            let bytes = whole.len() as u64;
            self.store
                .put(&self.at(name), whole.into())
                .await
                .with_context(what)?;
            sent(bytes);
            return Ok((bytes, hexadecimal(&digest.finalize())));
        }
        let upload = self
            .store
            .put_multipart(&self.at(name))
            .await
            .with_context(what)?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PIECE);
        let mut buffer = vec![0; 1 << 18];
        let mut bytes = 0;
        let written: Result<()> = async {
            loop {
                let count = content.read(&mut buffer).await?;
                let piece = buffer.get(..count).unwrap_or_default();
                if piece.is_empty() {
                    return Ok(());
                }
                upload.wait_for_capacity(AT_ONCE).await?;
                digest.update(piece);
                upload.write(piece);
                bytes += piece.len() as u64;
                sent(piece.len() as u64);
            }
        }
        .await;
        match written {
            Ok(()) => upload.finish().await.with_context(what)?,
            Err(error) => {
                // What has come of it goes; if that cannot be said either, the storage forgets it by its own rules.
                if let Err(second) = upload.abort().await {
                    tracing::debug!(%second, "an upload could not be given up");
                }
                return Err(error.context(what()));
            }
        };
        Ok((bytes, hexadecimal(&digest.finalize())))
    }

    /// Reads what is there to its end.
    ///
    /// # Errors
    /// What is not there, or cannot be read.
    pub async fn digest(&self, name: &str) -> Result<Digest> {
        self.read_to(name, None).await
    }

    /// Fetches a file; it is on the disk when this returns. Overwrites what stands there.
    ///
    /// # Errors
    /// What is not there or cannot be read, and a disk that is full.
    pub async fn fetch(&self, name: &str, file: &Path) -> Result<Digest> {
        let mut options = tokio::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut to = options
            .open(file)
            .await
            .with_context(|| format!("writing {}", file.display()))?;
        let read = self.read_to(name, Some(&mut to)).await?;
        to.sync_all()
            .await
            .with_context(|| format!("writing {}", file.display()))?;
        Ok(read)
    }

    async fn read_to(&self, name: &str, mut to: Option<&mut File>) -> Result<Digest> {
        let what = || format!("reading {name}");
        let got = self.store.get(&self.at(name)).await.with_context(what)?;
        let mut pieces = got.into_stream();
        let mut digest = Sha256::new();
        let mut bytes = 0;
        while let Some(piece) = pieces.next().await {
            let piece = piece.with_context(what)?;
            digest.update(&piece);
            bytes += piece.len() as u64;
            if let Some(to) = &mut to {
                to.write_all(&piece).await.context("writing what was fetched")?;
            }
        }
        if let Some(to) = &mut to {
            to.flush().await.context("writing what was fetched")?;
        }
        Ok((bytes, hexadecimal(&digest.finalize())))
    }

    /// All of a small file; `None` where there is none of that name.
    ///
    /// # Errors
    /// What cannot be read.
    pub async fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let got = match self.store.get(&self.at(name)).await {
            Ok(got) => got,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(anyhow::Error::new(error).context(format!("reading {name}"))),
        };
        let bytes = got.bytes().await.with_context(|| format!("reading {name}"))?;
        Ok(Some(bytes.to_vec()))
    }

    /// The names of the folders at the top.
    ///
    /// # Errors
    /// A place that cannot be asked.
    pub async fn folders(&self) -> Result<Vec<String>> {
        let prefix = (!self.prefix.as_ref().is_empty()).then_some(&self.prefix);
        let listed = self.store.list_with_delimiter(prefix).await;
        let listed = listed.context("listing what is there")?;
        let folders = listed
            .common_prefixes
            .iter()
            .filter_map(|folder| folder.filename());
        Ok(folders.map(ToOwned::to_owned).collect())
    }

    /// The names of all that is below a folder, from that folder.
    ///
    /// # Errors
    /// A place that cannot be asked.
    pub async fn names(&self, folder: &str) -> Result<Vec<String>> {
        let below = self.at(folder);
        let listed = self.store.list(Some(&below)).try_collect::<Vec<_>>().await;
        let listed = listed.with_context(|| format!("listing {folder}"))?;
        let names = listed.iter().filter_map(|one| {
            let parts: Vec<String> = one
                .location
                .prefix_match(&below)?
                .map(|part| part.as_ref().to_owned())
                .collect();
            Some(parts.join("/"))
        });
        Ok(names.collect())
    }

    /// Removes it; what is not there is gone already.
    ///
    /// # Errors
    /// A place that does not let it go.
    pub async fn remove(&self, name: &str) -> Result<()> {
        match self.store.delete(&self.at(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(anyhow::Error::new(error).context(format!("removing {name}"))),
        }
    }
}

fn with_credentials(builder: AmazonS3Builder, file: &Path) -> Result<AmazonS3Builder> {
    let variables = read_variables(&[file.to_owned()], std::iter::empty())
        .with_context(|| format!("reading the credentials in {}", file.display()))?;
    let of = |name: &str| variables.get(name).map(|value| value.reveal().clone());
    let (Some(id), Some(secret)) = (of("AWS_ACCESS_KEY_ID"), of("AWS_SECRET_ACCESS_KEY")) else {
        anyhow::bail!(
            "{} has no AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            file.display()
        );
    };
    let builder = builder.with_access_key_id(id).with_secret_access_key(secret);
    Ok(match of("AWS_SESSION_TOKEN") {
        Some(token) => builder.with_token(token),
        None => builder,
    })
}
