//! What is asked, and the files that it names.

use crate::audit::Source;
use crate::given::{Believed, GivenError, Proved, Trust};
use crate::rerun::{Found, RerunError, Wanted, rerun};
use nearlight_proof::encoding::{hex, sha256};
use std::convert::Infallible;
use std::path::{Path, PathBuf};

/// What is to be verified, and whom to believe.
#[derive(Clone, Debug, clap::Args)]
pub struct Ask {
    /// The receipt: a file as GET /v1/receipts/INDEX answers, or the envelope alone.
    pub file: PathBuf,
    /// The receipt's .tlog-proof; FILE.tlog-proof if FILE is an envelope alone.
    #[arg(long)]
    pub proof: Option<PathBuf>,
    /// Whom to believe.
    #[command(flatten)]
    pub trust: TrustFiles,
    /// Later entries of the log about the receipt, or about its issuer: files as FILE.
    #[arg(long)]
    pub later: Vec<PathBuf>,
}

/// Whom to believe, in files.
#[derive(Clone, Debug, clap::Args)]
pub struct TrustFiles {
    /// Your policy (c2sp.org/tlog-policy): which logs and witnesses you believe. Without it the log's
    /// operator says so in --directory, which proves little.
    #[arg(long)]
    pub policy: Option<PathBuf>,
    /// Whose keys are whose: a file as GET /v1/directory answers, or a directory's envelope.
    #[arg(long)]
    pub directory: PathBuf,
    /// The key that signed the directory, 64 hex digits. Without it the operator says so.
    #[arg(long)]
    pub authority: Option<String>,
}

/// A check that is to be computed anew, from files.
#[derive(Clone, Debug, clap::Args)]
pub struct RerunFiles {
    /// The receipt: a file as GET /v1/receipts/INDEX answers, or the envelope alone.
    pub file: PathBuf,
    /// Pieces of its evidence, as GET /v1/evidence/SHA256 answers, in any order.
    #[arg(long)]
    pub evidence: Vec<PathBuf>,
    /// How many rows of C to compute, of the 256 that were opened. At full size one takes about a second.
    #[arg(long, default_value_t = 256)]
    pub rows: usize,
    /// Compute whole legs of large checks, too. It can take days.
    #[arg(long)]
    pub whole: bool,
}

/// Evidence in files, found by its hash.
struct Pieces(Vec<Vec<u8>>);

impl Source for Pieces {
    type Error = Infallible;

    fn read(&mut self, _path: &str) -> Result<Vec<u8>, Infallible> {
        Ok(Vec::new())
    }

    fn assignments(&mut self, _round: u64) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(None)
    }

    fn round(&mut self, _round: u64, _before: u64) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(None)
    }

    fn evidence(&mut self, wanted: &str) -> Result<Option<Vec<u8>>, Infallible> {
        let is = |bytes: &&Vec<u8>| hex(&sha256(&[bytes])) == wanted;
        Ok(self.0.iter().find(is).cloned())
    }
}

impl RerunFiles {
    /// Computes it anew.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn rerun(&self) -> Result<Found, AskError> {
        let envelope = Ask::envelope(&self.file)?;
        let pieces: Result<_, _> = self.evidence.iter().map(|file| read(file)).collect();
        let wanted = Wanted {
            rows_max: self.rows,
            whole: self.whole,
        };
        Ok(rerun(&envelope, &mut Pieces(pieces?), wanted)?)
    }
}

/// Why nothing can be verified.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// A file cannot be read.
    #[error("cannot read {}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What is in the files.
    #[error(transparent)]
    Given(#[from] GivenError),
    /// It cannot be computed anew.
    #[error(transparent)]
    Rerun(#[from] RerunError<Infallible>),
}

impl TrustFiles {
    /// Reads them.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn trust(&self) -> Result<Trust, AskError> {
        let believed = Believed {
            directory: read(&self.directory)?,
            authority: self.authority.clone(),
            policy: self.policy.as_deref().map(read).transpose()?,
            beacon: None,
        };
        Ok(believed.trust()?)
    }
}

impl Ask {
    /// The receipt and its proof.
    pub(crate) fn receipt(&self) -> Result<Proved, AskError> {
        proved(&self.file, self.proof.as_deref())
    }

    pub(crate) fn later(&self) -> Result<Vec<Proved>, AskError> {
        self.later.iter().map(|file| proved(file, None)).collect()
    }

    /// The envelope alone.
    ///
    /// # Errors
    /// [`AskError::File`].
    pub fn envelope(file: &Path) -> Result<Vec<u8>, AskError> {
        let bytes = read(file)?;
        Ok(Proved::answered(&bytes).map_or(bytes, |both| both.envelope))
    }
}

fn proved(file: &Path, proof: Option<&Path>) -> Result<Proved, AskError> {
    let bytes = read(file)?;
    let beside = || {
        let mut name = file.as_os_str().to_owned();
        name.push(".tlog-proof");
        PathBuf::from(name)
    };
    let proof = match (proof, Proved::answered(&bytes)) {
        (Some(proof), _) => Some(read(proof)?),
        (None, Some(_)) => None,
        (None, None) => Some(read(&beside())?),
    };
    Ok(Proved::of(bytes, proof)?)
}

fn read(file: &Path) -> Result<Vec<u8>, AskError> {
    std::fs::read(file).map_err(|source| AskError::File {
        file: file.to_owned(),
        source,
    })
}
