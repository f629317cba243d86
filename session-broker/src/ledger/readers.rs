//! The connections that read, and plans of theirs that a broker of another version made void.
//!
//! A connection to PostgreSQL keeps its statements with their plans. When a newer broker changes a table, a
//! statement whose columns are others now fails for good on that connection (0A000), and another one reads as ever.
//! So statements name their columns, which a column more leaves as they are; and where one fails so all the same,
//! every connection that was there by then is closed when its turn comes, and the read is made again.
//!
//! Does not know what is read.

use super::StoreError;
use super::dialect::Engine;
use super::source::Source;
use futures_util::future::BoxFuture;
use sqlx::AnyPool;
use sqlx::any::AnyPoolOptions;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// For what is found at once: HTTP looks up credentials and tickets that are not cached.
pub(super) const SHORT: u32 = 2;
/// For what reads many rows, of which a caller may ask page after page: it keeps no look-up waiting.
pub(super) const LONG: u32 = 1;
/// For what the broker itself looks at, and acts on: budgets. No caller's pages keep it waiting.
pub(super) const OWN: u32 = 1;
/// How long a reader waits for a connection.
const READER_WITHIN: Duration = Duration::from_secs(5);
/// How often a read is made whose plan is void: a newer broker makes several changes, one after the other.
const TRIES_MAX: u32 = 4;

/// See the module.
#[derive(Debug)]
pub(super) struct Readers {
    pool: AnyPool,
    voided: Arc<Voided>,
}

/// Plans that were found void.
#[derive(Debug, Default)]
struct Voided(Mutex<Found>);

#[derive(Debug, Default)]
struct Found {
    last: Option<Instant>,
    times: u64,
}

impl Voided {
    fn found(&self) -> std::sync::MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self) {
        let mut found = self.found();
        found.last = Some(Instant::now());
        found.times += 1;
    }

    /// Whether a connection of this age may have such a plan.
    fn may_be_of(&self, age: Duration) -> bool {
        let last = self.found().last;
        last.is_some_and(|last| last.elapsed() <= age)
    }
}

impl Readers {
    /// Up to so many connections.
    pub(super) async fn open(source: &Source, most: u32) -> Result<Self, sqlx::Error> {
        let voided = Arc::<Voided>::default();
        let of_pool = voided.clone();
        let pool = AnyPoolOptions::new()
            .max_connections(most)
            .acquire_timeout(READER_WITHIN)
            // A file does not go away as a server does, and asking costs as much as most reads.
            .test_before_acquire(source.engine == Engine::Postgres)
            .before_acquire(move |_, connection| {
                let is_good = !of_pool.may_be_of(connection.age);
                Box::pin(async move { Ok(is_good) })
            })
            .connect_with(source.read.clone())
            .await?;
        Ok(Self { pool, voided })
    }

    /// What `read` reads, which is called again where its plan was void.
    pub(super) fn read<'a, T, F>(
        &'a self,
        mut read: impl FnMut(&'a AnyPool) -> F + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreError>>
    where
        T: Send + 'a,
        F: Future<Output = Result<T, StoreError>> + Send + 'a,
    {
        Box::pin(async move {
            let mut tries = 0;
            loop {
                let result = read(&self.pool).await;
                tries += 1;
                match result {
                    Err(error) if is_plan_void(&error) => {
                        self.voided.add();
                        tracing::info!(
                            "a newer broker has changed the ledger's tables: reading anew"
                        );
                        if tries == TRIES_MAX {
                            return Err(error);
                        }
                    }
                    result => return result,
                }
            }
        })
    }

    /// How often a plan was found void.
    #[cfg(test)]
    pub(super) fn voided(&self) -> u64 {
        self.voided.found().times
    }
}

/// Whether the engine refuses a statement because its plan, made before a table was changed, has other columns:
/// "cached plan must not change result type". It goes with its connection.
pub(super) fn is_plan_void(error: &StoreError) -> bool {
    let (StoreError::NotApplied(sqlx::Error::Database(error))
    | StoreError::Unknown(sqlx::Error::Database(error))) = error
    else {
        return false;
    };
    // PostgreSQL has the code for whatever else it does not support, too: that is why tries are counted.
    error.code().as_deref() == Some("0A000")
}
