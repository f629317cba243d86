//! What things cost: the operator's file of rate cards, and the book of them that the ledger keeps.
//!
//! The ledger is the truth. A broker adds the cards of its file to it when it starts: one that holds
//! already is never changed, so no bill changes with a price, and one that is read after it should
//! have begun holds from that moment on. To go back to an old price is to write another card.
//!
//! **What it does not know:** intervals, and what they come to ([`nearlight_session::bill`] does).

use crate::ledger::{CardRow, Ledger, Op, StoreError};
use nearlight_placement::{self as placement, PriceCap, SessionRequest};
use nearlight_protocol::job::Resources;
use nearlight_protocol::unit::UnixMillis;
use nearlight_session::bill::{ByScore, Metered, Month, RATE_MAX, RateBook, RateCard, Rates};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::value::{Datetime, Offset};

/// Models of GPUs with a rate of their own, and bytes of a name.
const GPU_MODELS_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 64;
/// The highest factor of a price, thousandths: ten times the card's.
const FACTOR_MAX: u32 = 10_000;
const DAY_MS: u64 = 24 * 3600 * 1000;

/// Why the file of rate cards cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RatesError {
    /// It cannot be read.
    #[error("the rate cards in {path} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not what it should be.
    #[error("the rate cards in {path}: {problem}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// It contradicts what is billed already.
    #[error(
        "the rate card that is valid from {valid_from} holds already, with other rates than the file \
         says; put it back as it was, and add a [[card]] with a later valid_from"
    )]
    Holds {
        /// The card, as the file names it.
        valid_from: String,
    },
    /// The currency is one for all.
    #[error(
        "the ledger bills in `{ledger}`, and the file says `{file}`; a ledger has one currency"
    )]
    Currency {
        /// That of the ledger.
        ledger: String,
        /// That of the file.
        file: String,
    },
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] StoreError),
}

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    currency: String,
    #[serde(default)]
    card: Vec<FileCard>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileCard {
    valid_from: Datetime,
    #[serde(default)]
    slot: u64,
    #[serde(default)]
    cpu_core: u64,
    #[serde(default)]
    mem_gib: u64,
    #[serde(default)]
    gpu_other: u64,
    #[serde(default)]
    gpu: BTreeMap<String, u64>,
    #[serde(default)]
    volume_gib_hour: u64,
    by_score: Option<Factors>,
}

/// How prices follow scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Factors {
    cap_permille: u32,
    unproven_permille: u32,
}

/// A card as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Card {
    currency: String,
    slot: u64,
    cpu_core: u64,
    mem_gib: u64,
    gpu_other: u64,
    gpu: BTreeMap<String, u64>,
    /// Cards of before have none, and brokers of before read none.
    #[serde(default, skip_serializing_if = "is_free")]
    volume_gib_hour: u64,
    /// The same goes for this: brokers of before bill what is measured as what is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by_score: Option<Factors>,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
const fn is_free(rate: &u64) -> bool {
    *rate == 0
}

/// A card of the file, and since when it is to hold.
#[derive(Debug)]
struct Declared {
    valid_from: String,
    declared_ms: UnixMillis,
    card: Card,
}

/// Every card, and the currency.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    /// Its name, as the operator writes it; empty without a card.
    pub currency: String,
    /// The cards.
    pub book: RateBook,
}

impl Prices {
    /// As the ledger has them.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read, or a card is none.
    pub async fn read(ledger: &Arc<dyn Ledger>) -> Result<Self, StoreError> {
        Self::of(&ledger.rate_cards().await?)
    }

    fn of(rows: &[CardRow]) -> Result<Self, StoreError> {
        let mut currency = String::new();
        let mut cards = Vec::new();
        for row in rows {
            let card = read(&row.card)?;
            currency = card.currency;
            cards.push(RateCard {
                from_ms: row.from_ms,
                rates: Rates {
                    slot: card.slot,
                    cpu_core: card.cpu_core,
                    mem_gib: card.mem_gib,
                    gpu: card.gpu,
                    gpu_other: card.gpu_other,
                    volume_gib_hour: card.volume_gib_hour,
                    by_score: card.by_score.map(|by| ByScore {
                        cap_permille: by.cap_permille,
                        unproven_permille: by.unproven_permille,
                    }),
                },
            });
        }
        Ok(Self {
            currency,
            book: RateBook::new(cards),
        })
    }
}

fn read(card: &str) -> Result<Card, StoreError> {
    serde_json::from_str(card).map_err(|e| StoreError::Corrupt(format!("rate card: {e}")))
}

/// What is left for each GPU of a job that may cost `max` millionths a second, whatever its node's score. Without rates
/// nobody knows, and nothing is.
pub(crate) fn cap_of(rates: Option<&Rates>, needs: &Resources, max: u32) -> PriceCap {
    let Some(rates) = rates else {
        return PriceCap::default();
    };
    let rates = &rates.dearest();
    let left = u64::from(max).checked_sub(without_gpus(rates, needs));
    let count = needs.gpu.as_ref().map_or(1, |gpu| gpu.count.max(1));
    PriceCap {
        gpu_max: left.map(|left| left / u64::from(count)),
        gpus: Arc::new(rates.gpu.clone()),
        gpu_other: rates.gpu_other,
    }
}

/// What a session costs an hour that holds this of a node, millionths, where that costs what the card says.
pub(crate) fn hourly(card: &Rates, request: &SessionRequest) -> placement::Rates {
    let whole = Rates {
        slot: card.slot,
        cpu_core: card.cpu_core,
        mem_gib: card.mem_gib,
        ..Rates::default()
    };
    let own = whole.per_hour(&Metered {
        cpu_milli: request.cpu_milli,
        mem_mib: request.mem_mib,
        gpus: Vec::new(),
        score_permille: None,
    });
    let an_hour = |rate: u64| rate.saturating_mul(3600);
    let of_gpus = if request.gpus() > 0 {
        Some(&card.gpu)
    } else {
        None
    };
    let gpus = of_gpus.into_iter().flatten();
    placement::Rates {
        own,
        cpu_core: an_hour(card.cpu_core),
        gpus: Arc::new(
            gpus.map(|(model, rate)| (model.clone(), an_hour(*rate)))
                .collect(),
        ),
        gpu_other: an_hour(card.gpu_other),
    }
}

/// What a job costs a second wherever it is, millionths, rounded up.
pub(crate) fn without_gpus(rates: &Rates, needs: &Resources) -> u64 {
    rates.per_second(&Metered {
        cpu_milli: needs.cpu_milli,
        mem_mib: needs.mem_mib,
        gpus: Vec::new(),
        score_permille: None,
    })
}

/// Adds the cards of `file` to the ledger.
///
/// # Errors
/// [`RatesError`] with what to do.
pub async fn add(
    ledger: &Arc<dyn Ledger>,
    file: &Path,
    now_ms: UnixMillis,
) -> Result<(), RatesError> {
    let text = std::fs::read_to_string(file).map_err(|source| RatesError::Read {
        path: file.to_owned(),
        source,
    })?;
    let declared = parse(&text).map_err(|problem| RatesError::Wrong {
        path: file.to_owned(),
        problem,
    })?;
    let known = Prices::read(ledger).await?;
    if let Some(first) = declared.first()
        && !known.currency.is_empty()
        && known.currency != first.card.currency
    {
        return Err(RatesError::Currency {
            ledger: known.currency,
            file: first.card.currency.clone(),
        });
    }
    let put = |one: &Declared| {
        let card = serde_json::to_string(&one.card);
        Ok(Op::PutRateCard {
            declared_ms: one.declared_ms,
            card: card.map_err(|e| StoreError::Corrupt(e.to_string()))?,
            at_ms: now_ms,
        })
    };
    let ops = declared
        .iter()
        .map(put)
        .collect::<Result<_, StoreError>>()?;
    ledger.write(ops).await?;
    let rows = ledger.rate_cards().await?;
    for one in declared {
        let row = rows.iter().find(|row| row.declared_ms == one.declared_ms);
        let kept = row.map(|row| read(&row.card)).transpose()?;
        if kept.as_ref() != Some(&one.card) {
            return Err(RatesError::Holds {
                valid_from: one.valid_from,
            });
        }
    }
    Ok(())
}

/// The cards of a file, or what is wrong with it.
fn parse(text: &str) -> Result<Vec<Declared>, String> {
    let File { currency, card } = toml::from_str(text).map_err(|e| e.to_string())?;
    if !(1..=NAME_BYTES_MAX).contains(&currency.len()) || currency.chars().any(char::is_control) {
        return Err("`currency` is a short name, such as EUR".to_owned());
    }
    let declared = card.into_iter().map(|card| declared(&currency, card));
    let declared: Vec<Declared> = declared.collect::<Result<_, _>>()?;
    let twice = declared
        .windows(2)
        .find(|two| two[0].declared_ms >= two[1].declared_ms);
    if let Some(two) = twice {
        return Err(format!(
            "the card valid from {} does not come after the one before it; write the oldest first",
            two[1].valid_from
        ));
    }
    Ok(declared)
}

fn declared(currency: &str, card: FileCard) -> Result<Declared, String> {
    let valid_from = card.valid_from.to_string();
    let declared_ms = unix_ms(&card.valid_from).ok_or_else(|| {
        format!("`valid_from` is `{valid_from}`; write an instant such as 2026-01-01T00:00:00Z")
    })?;
    let named = card.gpu.values().copied();
    let all = named.chain([
        card.slot,
        card.cpu_core,
        card.mem_gib,
        card.gpu_other,
        card.volume_gib_hour,
    ]);
    if all.into_iter().any(|rate| rate > RATE_MAX) {
        return Err(format!(
            "a rate of the card valid from {valid_from} is above {RATE_MAX} millionths"
        ));
    }
    let is_factor = |of: u32| (1..=FACTOR_MAX).contains(&of);
    let factors = card.by_score;
    if factors.is_some_and(|by| !is_factor(by.cap_permille) || !is_factor(by.unproven_permille)) {
        return Err(format!(
            "a factor in `by_score` of the card valid from {valid_from} is not 1 to {FACTOR_MAX} thousandths"
        ));
    }
    let is_name = |name: &String| (1..=NAME_BYTES_MAX).contains(&name.len());
    if card.gpu.len() > GPU_MODELS_MAX || !card.gpu.keys().all(is_name) {
        return Err(format!(
            "the card valid from {valid_from} has too many models of GPUs, or one without a name"
        ));
    }
    Ok(Declared {
        valid_from,
        declared_ms,
        card: Card {
            currency: currency.to_owned(),
            slot: card.slot,
            cpu_core: card.cpu_core,
            mem_gib: card.mem_gib,
            gpu_other: card.gpu_other,
            gpu: card.gpu,
            volume_gib_hour: card.volume_gib_hour,
            by_score: card.by_score,
        },
    })
}

/// A day, an instant, or milliseconds since 1970, as people ask for them; in UTC unless it says otherwise.
pub(crate) fn instant(text: &str) -> Option<UnixMillis> {
    if let Ok(ms) = text.parse::<u64>() {
        return Some(ms);
    }
    let mut at: Datetime = text.parse().ok()?;
    if at.time.is_none() {
        at.time = "00:00:00".parse::<Datetime>().ok()?.time;
    }
    at.offset = at.offset.or(Some(Offset::Z));
    unix_ms(&at)
}

/// An instant, if it has date, time and offset, and none of it is before 1970.
fn unix_ms(at: &Datetime) -> Option<UnixMillis> {
    let (date, time, offset) = (at.date?, at.time?, at.offset?);
    let month = Month {
        year: u32::from(date.year),
        month: u32::from(date.month),
    };
    if month.year < 1970 {
        return None;
    }
    let day_ms = month.range().from_ms + (u64::from(date.day) - 1) * DAY_MS;
    let minutes = u64::from(time.hour) * 60 + u64::from(time.minute);
    let second_ms = u64::from(time.second.unwrap_or(0)) * 1000;
    let part_ms = u64::from(time.nanosecond.unwrap_or(0)) / 1_000_000;
    let local_ms = day_ms + minutes * 60_000 + second_ms + part_ms;
    let offset_min = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    local_ms.checked_add_signed(-offset_min * 60_000)
}

#[cfg(test)]
mod test;
