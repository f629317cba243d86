//! A log as it is after years: tiles and bundles, and the rows of the ledger beside them, written at once.
//!
//! The broker has begun the log and does not run. Its own first entries stay; after them come short ones, each a row as a
//! receipt's, about one of some thousand nodes. Tiles are core/proof's, and the root is read back from them.
//!
//! **What it does not know:** who signs. The broker signs what the ledger has when it starts.

use anyhow::{Context, Result, ensure};
use nearlight_proof::encoding::hex;
use nearlight_proof::log::tile::{self, TILE_WIDTH, Tile};
use nearlight_proof::log::tree::{self, Hash, LogHasher};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, Row, SqliteConnection};
use std::path::{Path, PathBuf};

/// Rows that are added together.
const ROWS: usize = 8_192;
/// Nodes that the rows are about.
const NODES: u64 = 5_000;

/// Makes the log of the broker whose data these are one of `size` entries.
pub(super) async fn fill(data: &Path, size: u64) -> Result<()> {
    let options = SqliteConnectOptions::new().filename(data.join("ledger.sqlite"));
    let mut ledger = SqliteConnection::connect_with(&options).await?;
    let row = sqlx::query("SELECT size FROM receipt_log WHERE one = 1");
    let before: i64 = row.fetch_one(&mut ledger).await?.get("size");
    let before = u64::try_from(before)?;
    ensure!(before < TILE_WIDTH, "the log has {before} entries already");
    if before >= size {
        return Ok(());
    }
    // The sorted way is the quicker one by far.
    let indexes = "SELECT name, sql FROM sqlite_master WHERE tbl_name = 'receipt' AND sql LIKE 'CREATE%INDEX%'";
    let indexes: Vec<(String, String)> = sqlx::query_as(indexes).fetch_all(&mut ledger).await?;
    let mut tx = ledger.begin().await?;
    for (name, _) in &indexes {
        let drop = AssertSqlSafe(format!("DROP INDEX {name}"));
        tx.execute(sqlx::query(drop)).await?;
    }
    let mut tiles = Tiles::open(data.join("log"), before)?;
    let mut leaves = Vec::with_capacity(ROWS);
    for place in before..size {
        leaves.push(hex(&tiles.push(format!("entry {place}").as_bytes())?));
        if leaves.len() == ROWS || place + 1 == size {
            add(&mut tx, place + 1 - leaves.len() as u64, &leaves).await?;
            leaves.clear();
        }
    }
    let root = tiles.close()?;
    let changes = [
        format!(
            "UPDATE receipt_log SET size = {size}, root = '{}'",
            hex(&root)
        ),
        // What came of them is known.
        format!(
            "INSERT INTO receipts_folded (one, next) VALUES (1, {size}) ON CONFLICT (one) DO UPDATE SET next = excluded.next"
        ),
    ];
    let made = indexes.into_iter().map(|(_, sql)| sql);
    for sql in made.chain(changes).chain(["ANALYZE".to_owned()]) {
        tx.execute(sqlx::query(AssertSqlSafe(sql))).await?;
    }
    tx.commit().await?;
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    ledger.execute(sqlx::query(checkpoint)).await?;
    ledger.close().await?;
    // All of it is on the disk before anything is timed.
    tokio::task::spawn_blocking(nix::unistd::sync).await?;
    Ok(())
}

async fn add(ledger: &mut SqliteConnection, first: u64, leaves: &[String]) -> Result<()> {
    let sql = "
        INSERT INTO receipt (place, leaf, kind, issuer, about, issued_at_s)
        SELECT $1 + key, value, 'porc/v1', printf('%064x', ($1 + key) % 3),
            printf('%064x', ($1 + key) % $2), 1700000000 + ($1 + key) / 16
        FROM json_each($3)";
    let adding = sqlx::query(sql)
        .bind(i64::try_from(first)?)
        .bind(i64::try_from(NODES)?)
        .bind(serde_json::to_string(leaves)?);
    adding.execute(ledger).await?;
    Ok(())
}

/// The tiles of a log that grows.
struct Tiles {
    dir: PathBuf,
    size: u64,
    /// Hashes of the tile that is not full, by level.
    levels: Vec<Vec<Hash>>,
    bundle: Vec<u8>,
}

impl Tiles {
    /// Those of a log of so many entries, fewer than a tile has.
    fn open(dir: PathBuf, size: u64) -> Result<Self> {
        let mut tiles = Self {
            dir,
            size: 0,
            levels: Vec::new(),
            bundle: Vec::new(),
        };
        let Some(part) = Tile::within(size, 0, 0) else {
            return Ok(tiles);
        };
        let path = tiles.dir.join(part.bundle_path());
        let bundle = std::fs::read(&path).with_context(|| path.display().to_string())?;
        let entries = tile::entries(&bundle).context("the log's bundle is damaged")?;
        for entry in entries {
            tiles.push(entry)?;
        }
        Ok(tiles)
    }

    /// Appends an entry; its leaf.
    fn push(&mut self, entry: &[u8]) -> Result<Hash> {
        self.bundle
            .extend(tile::bundle([entry]).context("an entry is too long")?);
        self.size += 1;
        let leaf = tree::leaf(entry);
        self.add(0, leaf)?;
        Ok(leaf)
    }

    fn add(&mut self, level: usize, hash: Hash) -> Result<()> {
        if self.levels.len() <= level {
            self.levels.push(Vec::new());
        }
        self.levels[level].push(hash);
        if self.levels[level].len() as u64 == TILE_WIDTH {
            self.write(level)?;
            let full = std::mem::take(&mut self.levels[level]);
            self.add(level + 1, tree::root::<LogHasher>(&full))?;
        }
        Ok(())
    }

    /// Writes the last tile of a level, and its bundle.
    fn write(&mut self, level: usize) -> Result<()> {
        let of = u32::try_from(level)?;
        let index = ((self.size >> (8 * of)) - 1) / TILE_WIDTH;
        let part = Tile::within(self.size, of, index).context("the tile has hashes")?;
        self.put(&part.to_string(), &self.levels[level].concat())?;
        if level == 0 {
            let bundle = std::mem::take(&mut self.bundle);
            self.put(&part.bundle_path(), &bundle)?;
        }
        Ok(())
    }

    fn put(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let path = self.dir.join(path);
        let dir = path.parent().context("it is below the log's directory")?;
        std::fs::create_dir_all(dir)?;
        std::fs::write(&path, bytes).with_context(|| path.display().to_string())
    }

    /// Writes what is not full; the root, as the tiles have it.
    fn close(mut self) -> Result<Hash> {
        for level in 0..self.levels.len() {
            if !self.levels[level].is_empty() {
                self.write(level)?;
            }
        }
        let fetch = |part: Tile| {
            let bytes = std::fs::read(self.dir.join(part.to_string())).ok()?;
            tile::hashes(&part, &bytes)
        };
        tile::root(self.size, fetch).context("a tile is missing")
    }
}
