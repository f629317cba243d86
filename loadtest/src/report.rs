//! What a command measured, as JSON on stdout.

use anyhow::Result;
use serde::Serialize;

/// Measures on a runtime of its own, and prints what came of it.
pub(crate) fn measured<R: Serialize>(measure: impl Future<Output = Result<R>>) -> Result<R> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(measure)?;
    #[allow(clippy::print_stdout, reason = "the report")]
    {
        println!("{}", serde_json::to_string_pretty(&report)?);
    }
    Ok(report)
}
