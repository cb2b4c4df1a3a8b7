//! The accounts of runs, each a file of its own, compressed: they are read with everything else, and asked for rarely. Each
//! is written by its own run alone, so that no lock is needed for it.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::{Ledger, LedgerError, decode};
use crate::account::{ACCOUNT_FORMAT, Account};
use crate::release::RunId;

/// Where they are.
pub(super) const FOLDER: &str = "accounts/";
/// What their names end in.
pub(super) const ENDING: &str = ".json.gz";
/// No account is longer than this, in bytes: what is, is no account.
const LONGEST: u64 = 16 << 20;

/// As it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAccount(pub(super) Vec<u8>);

impl KeptAccount {
    /// Whether it has been forgotten.
    pub(super) fn is_forgotten(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads it.
    ///
    /// # Errors
    /// One that is damaged, or written by a newer version of the tool.
    pub fn read(&self, run: &RunId) -> Result<Account, LedgerError> {
        let path = account_file(run);
        let mut text = Vec::new();
        let unpacked = GzDecoder::new(self.0.as_slice())
            .take(LONGEST)
            .read_to_end(&mut text);
        match unpacked {
            Ok(_) => decode(&path, &text, ACCOUNT_FORMAT),
            Err(error) => Err(LedgerError::Damaged {
                file: path,
                message: error.to_string(),
            }),
        }
    }
}

impl Ledger<'_> {
    /// Keeps the account of a run that is over, instead of what was kept of it before.
    ///
    /// # Errors
    /// The engine's.
    pub async fn keep_account(&self, account: &Account) -> Result<(), LedgerError> {
        let path = account_file(&account.run);
        let damaged = |message: String| LedgerError::Damaged {
            file: path.clone(),
            message,
        };
        let text = serde_json::to_vec(account).map_err(|error| damaged(error.to_string()))?;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        let packed = encoder.write_all(&text).and_then(|()| encoder.finish());
        let packed = packed.map_err(|error| damaged(error.to_string()))?;
        self.write(&[(path, packed)]).await
    }
}

/// What the file of a run's account is called.
pub(super) fn account_file(run: &RunId) -> String {
    format!("{FOLDER}{run}{ENDING}")
}
