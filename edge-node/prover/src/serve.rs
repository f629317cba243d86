//! One probe over two pipes: lines of JSON in, lines and bytes out (core/proof, `porc::exchange::program`).
//!
//! **Invariants.** Orders are taken in their order, and one that is none ends it. Whatever fails is said as the last line.

use crate::gpu::{Gpu, GpuError};
use crate::legs::Legs;
use nearlight_proof::key::KeyId;
use nearlight_proof::porc::exchange::begin::EDITION;
use nearlight_proof::porc::exchange::program::{LINE_BYTES_MAX, Order, Rooted, Said};
use std::io::{self, BufRead, Write};

/// Why a probe ends before its end.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The GPU.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// What came is no order, or not in its place.
    #[error(
        "the agent says something that this program does not know; install both from one version"
    )]
    Order,
    /// The agent is gone, or does not listen.
    #[error("the agent does not listen")]
    Pipe(#[from] io::Error),
}

/// Serves a probe on the GPU that `open` opens; `Ok` at its end, or when the agent went away before.
///
/// # Errors
/// [`ServeError`], after it was said.
pub fn serve(
    open: impl FnOnce() -> Result<Gpu, GpuError>,
    mut orders: impl BufRead,
    mut out: impl Write,
) -> Result<(), ServeError> {
    let served = probe(open, &mut orders, &mut out);
    if let Err(error) = &served {
        let why = error.to_string();
        say(&mut out, &Said::Failed { why })?;
    }
    served
}

fn probe(
    open: impl FnOnce() -> Result<Gpu, GpuError>,
    orders: &mut impl BufRead,
    out: &mut impl Write,
) -> Result<(), ServeError> {
    let gpu = open()?;
    say(out, &Said::Ready { edition: EDITION })?;
    let Some(first) = next(orders)? else {
        return Ok(());
    };
    let Order::Start { seed, sizes } = first else {
        return Err(ServeError::Order);
    };
    let mut told = Ok(());
    let mut legs = Legs::run(&gpu, (&seed.0, &sizes), |of, root| {
        if told.is_ok() {
            told = root_of(out, of, root);
        }
    })?;
    told?;
    loop {
        match next(orders)? {
            None => return Ok(()),
            Some(Order::Start { .. }) => return Err(ServeError::Order),
            Some(Order::Read { reads }) => {
                let root = legs.read(&reads)?;
                root_of(out, Rooted::Reads, root)?;
            }
            Some(Order::Open { plan, reads }) => {
                let opening = legs.open(&plan, &reads)?;
                let bytes = opening.len() as u64;
                say(out, &Said::Opening { bytes })?;
                out.write_all(&opening)?;
                return Ok(out.flush()?);
            }
        }
    }
}

fn root_of(out: &mut impl Write, of: Rooted, root: [u8; 32]) -> io::Result<()> {
    let root = KeyId(root);
    say(out, &Said::Root { of, root })
}

/// The next order; `None` once the agent has nothing more to say.
fn next(orders: &mut impl BufRead) -> Result<Option<Order>, ServeError> {
    let mut line = String::new();
    let mut limited = io::Read::take(orders, LINE_BYTES_MAX as u64);
    match limited.read_line(&mut line)? {
        0 => Ok(None),
        _ => serde_json::from_str(&line)
            .map_err(|_| ServeError::Order)
            .map(Some),
    }
}

fn say(out: &mut impl Write, said: &Said) -> io::Result<()> {
    serde_json::to_writer(&mut *out, said)?;
    out.write_all(b"\n")?;
    out.flush()
}
