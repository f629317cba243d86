//! Where addresses are said to be: a MaxMind DB of cities that the operator supplies. A prior: it puts
//! mobile players hundreds of kilometres off, so whatever was measured outranks it.

use maxminddb::{MaxMindDbError, Reader, geoip2};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;

/// Between two looks whether the file is another one.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// A larger file is no database of cities; the largest known are a tenth of it.
const BYTES_MAX: u64 = 2 << 30;
/// The mean radius of the earth, kilometres.
const EARTH_KM: f64 = 6371.0;
/// Light in fibre, kilometres a millisecond.
const FIBRE_KM_MS: f64 = 200.0;
/// Cables go round: so much longer than the great circle.
const DETOUR: f64 = 1.5;
/// The last mile, milliseconds there and back.
const LAST_MILE_MS: f64 = 5.0;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GeoError {
    /// It cannot be read.
    #[error("cannot read geoip.file {path}; is it there, and may the broker read it?")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is no such database.
    #[error(
        "geoip.file {path} is no sound MaxMind DB with places; get a City database, or fetch it again"
    )]
    Corrupt {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: MaxMindDbError,
    },
    /// It is far too large.
    #[error("geoip.file {path} has {bytes} bytes, more than any database of cities")]
    Large {
        /// Which.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
}

/// The database, as the file had it last.
#[derive(Debug)]
pub(crate) struct Geo {
    path: PathBuf,
    current: RwLock<Current>,
}

#[derive(Clone, Debug)]
struct Current {
    database: Arc<Reader<Vec<u8>>>,
    stamp: Stamp,
}

/// Tells one state of the file from another.
type Stamp = (u64, Option<SystemTime>);

impl Geo {
    /// Reads the file.
    ///
    /// # Errors
    /// [`GeoError`] with what to do.
    pub(crate) fn open(path: &Path) -> Result<Self, GeoError> {
        let stamp = stamp(path)?;
        let database = Arc::new(read(path)?);
        Ok(Self {
            path: path.to_owned(),
            current: RwLock::new(Current { database, stamp }),
        })
    }

    /// Degrees north and east of an address, if the file has it.
    pub(crate) fn place(&self, address: IpAddr) -> Option<(f64, f64)> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let database = current.database.clone();
        drop(current);
        let found = database.lookup(address.to_canonical()).ok()?;
        let city: geoip2::City<'_> = found.decode().ok()??;
        let (north, east) = (city.location.latitude?, city.location.longitude?);
        let is_place = north.abs() <= 90.0 && east.abs() <= 180.0;
        is_place.then_some((north, east))
    }

    /// Reads the file again if it is another one. One that cannot be used changes nothing.
    ///
    /// # Errors
    /// [`GeoError`] with what to do.
    pub(crate) fn look(&self) -> Result<bool, GeoError> {
        let fresh = stamp(&self.path)?;
        let known = self.current.read().unwrap_or_else(PoisonError::into_inner);
        if known.stamp == fresh {
            return Ok(false);
        }
        drop(known);
        let database = Arc::new(read(&self.path)?);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Current {
            database,
            stamp: fresh,
        };
        Ok(true)
    }

    /// Looks now and then until the shutdown. Reading is the disk's time, so it has a thread.
    pub(crate) async fn keep(of: Arc<super::Nearness>, stop: CancellationToken) {
        let mut beat = tokio::time::interval(LOOK_EVERY);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = beat.tick() => {}
            }
            let of = of.clone();
            let looked = tokio::task::spawn_blocking(move || of.geo().map(Self::look)).await;
            match looked {
                Ok(Some(Ok(true))) => tracing::info!("geoip.file is read again"),
                Ok(Some(Ok(false)) | None) => {}
                Ok(Some(Err(error))) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "geoip.file has changed and cannot be used; going on with what was read before"
                ),
                Err(error) => tracing::error!(%error, "looking at geoip.file failed"),
            }
        }
    }
}

fn stamp(path: &Path) -> Result<Stamp, GeoError> {
    let meta = std::fs::metadata(path).map_err(|source| GeoError::Read {
        path: path.to_owned(),
        source,
    })?;
    if meta.len() > BYTES_MAX {
        return Err(GeoError::Large {
            path: path.to_owned(),
            bytes: meta.len(),
        });
    }
    Ok((meta.len(), meta.modified().ok()))
}

/// The whole file, checked from end to end: a broken one says so now, and not to some player.
fn read(path: &Path) -> Result<Reader<Vec<u8>>, GeoError> {
    let bytes = std::fs::read(path).map_err(|source| GeoError::Read {
        path: path.to_owned(),
        source,
    })?;
    let checked = Reader::from_source(bytes).and_then(|database| {
        database.verify()?;
        Ok(database)
    });
    checked.map_err(|source| GeoError::Corrupt {
        path: path.to_owned(),
        source,
    })
}

/// The round trip that a distance suggests, milliseconds.
pub(super) fn rtt_ms(a: (f64, f64), b: (f64, f64)) -> u32 {
    let ms = LAST_MILE_MS + 2.0 * DETOUR * great_circle_km(a, b) / FIBRE_KM_MS;
    // Half round the earth is 305 ms.
    ms.round() as u32
}

/// By the haversine, which holds for near points and far ones.
fn great_circle_km((north_a, east_a): (f64, f64), (north_b, east_b): (f64, f64)) -> f64 {
    let half = |from: f64, to: f64| ((to - from).to_radians() / 2.0).sin().powi(2);
    let across = north_a.to_radians().cos() * north_b.to_radians().cos() * half(east_a, east_b);
    let share = (half(north_a, north_b) + across).clamp(0.0, 1.0);
    2.0 * EARTH_KM * share.sqrt().asin()
}

#[cfg(test)]
#[path = "geo/test.rs"]
mod test;
