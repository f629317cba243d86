//! What is to be fetched next, and when what failed is tried again: pure.

use nearlight_protocol::control::{ImageFault, ImagesWanted};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// Before what failed is tried again, at first; it doubles.
const AGAIN_MIN: Duration = Duration::from_secs(10);
/// At most.
const AGAIN_MAX: Duration = Duration::from_secs(600);

/// What is said of why an image cannot be had, bytes.
const FAULT_BYTES_MAX: usize = 400;

/// An image that could not be had.
#[derive(Clone, Debug)]
struct Failure {
    detail: String,
    times: u32,
    again_at: Instant,
}

/// What the broker wants, and how far that is.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// `None` until it has said: what it will want is not known.
    wanted: Option<ImagesWanted>,
    here: BTreeSet<String>,
    under_way: BTreeSet<String>,
    /// What was fetched, and until when nobody asks for it again: an engine may not know it by that name yet.
    rests: BTreeMap<String, Instant>,
    failures: BTreeMap<String, Failure>,
}

impl Order {
    /// The newest wish is the one that counts.
    pub(super) fn want(&mut self, wanted: ImagesWanted) {
        self.failures.retain(|image, _| wanted.pull.contains(image));
        self.wanted = Some(wanted);
    }

    /// What is here now.
    pub(super) fn found(&mut self, here: impl IntoIterator<Item = String>) {
        self.here = here.into_iter().collect();
        let here = &self.here;
        self.failures.retain(|image, _| !here.contains(image));
    }

    /// What the broker names and a list of what is here does not: an engine lists an image under one of the names
    /// that it goes by.
    pub(super) fn unlisted(&self, listed: &[String]) -> Vec<String> {
        let listed: BTreeSet<_> = listed.iter().collect();
        let wanted = self.wanted.iter();
        let named = wanted.flat_map(|wanted| wanted.pull.iter().chain(&wanted.keep));
        let named: BTreeSet<_> = named.filter(|image| !listed.contains(image)).collect();
        named.into_iter().cloned().collect()
    }

    /// At most so many of those that are here, to be told: first those that the broker names.
    pub(super) fn told(&self, max: usize) -> Vec<String> {
        let (named, others): (Vec<_>, Vec<_>) =
            self.here.iter().partition(|image| self.is_named(image));
        named.into_iter().chain(others).take(max).cloned().collect()
    }

    fn is_named(&self, image: &str) -> bool {
        let wanted = self.wanted.as_ref();
        wanted.is_some_and(|wanted| {
            let mut named = wanted.pull.iter().chain(&wanted.keep);
            named.any(|named| named == image)
        })
    }

    /// What to fetch now, if so many may be fetched at a time.
    pub(super) fn next(&mut self, at_a_time: usize, now: Instant) -> Option<String> {
        if self.under_way.len() >= at_a_time {
            return None;
        }
        let due = |image: &&String| {
            let failed = self.failures.get(*image).is_some_and(|f| f.again_at > now);
            let waits = failed || self.rests.get(*image).is_some_and(|until| *until > now);
            !waits && !self.here.contains(*image) && !self.under_way.contains(*image)
        };
        let next = self.wanted.as_ref()?.pull.iter().find(due)?.clone();
        self.under_way.insert(next.clone());
        Some(next)
    }

    /// When the next one that failed is due; `None` while as many are fetched as may be: the end of one is waited for.
    pub(super) fn due(&self, at_a_time: usize) -> Option<Instant> {
        if self.under_way.len() >= at_a_time {
            return None;
        }
        let waiting = self.failures.iter();
        let waiting = waiting.filter(|(image, _)| !self.under_way.contains(*image));
        waiting.map(|(_, failure)| failure.again_at).min()
    }

    pub(super) fn fetched(&mut self, image: &str, now: Instant) {
        self.under_way.remove(image);
        self.rests.retain(|_, until| *until > now);
        self.rests.insert(image.to_owned(), now + AGAIN_MIN);
        self.failures.remove(image);
        self.here.insert(image.to_owned());
    }

    pub(super) fn failed(&mut self, image: &str, mut detail: String, now: Instant) {
        // A registry may say anything, and an inventory is one message.
        detail.truncate(detail.floor_char_boundary(FAULT_BYTES_MAX));
        self.under_way.remove(image);
        let wanted = self.wanted.as_ref();
        if !wanted.is_some_and(|wanted| wanted.pull.iter().any(|name| name == image)) {
            return;
        }
        let times = self.failures.get(image).map_or(0, |f| f.times) + 1;
        let wait = AGAIN_MIN.saturating_mul(1 << (times - 1).min(16));
        let failure = Failure {
            detail,
            times,
            again_at: now + wait.min(AGAIN_MAX),
        };
        self.failures.insert(image.to_owned(), failure);
    }

    /// Whether some version needs it, or may: an agent that has just begun removes nothing.
    pub(super) fn needs(&self, image: &str) -> bool {
        self.wanted.is_none() || self.is_named(image) || self.under_way.contains(image)
    }

    /// What could not be had, for the operator.
    pub(super) fn faults(&self) -> Vec<ImageFault> {
        let fault = |(image, failure): (&String, &Failure)| ImageFault {
            image: image.clone(),
            detail: failure.detail.clone(),
        };
        self.failures.iter().map(fault).collect()
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn order(pull: &[&str], keep: &[&str]) -> Order {
        let owned = |list: &[&str]| list.iter().map(|image| (*image).to_owned()).collect();
        let mut order = Order::default();
        order.want(ImagesWanted {
            pull: owned(pull),
            keep: owned(keep),
            ..ImagesWanted::default()
        });
        order
    }

    #[test]
    fn what_is_missing_is_fetched_in_order_and_few_at_a_time() {
        let now = Instant::now();
        let mut order = order(&["a", "b", "c"], &["d"]);
        order.found(["b".to_owned()]);
        assert_eq!(order.next(1, now).as_deref(), Some("a"));
        assert_eq!(order.next(1, now), None);
        assert_eq!(order.next(2, now).as_deref(), Some("c"));
        order.fetched("a", now);
        order.fetched("c", now);
        assert_eq!(
            order.next(2, now),
            None,
            "what is to be kept is not fetched"
        );
        assert!(order.needs("d") && !order.needs("e"));
    }

    #[test]
    fn what_is_due_waits_for_the_end_of_another_and_not_for_its_time() {
        let now = Instant::now();
        let mut order = order(&["a", "b"], &[]);
        assert_eq!(order.next(1, now).as_deref(), Some("a"));
        order.failed("a", "no such host".to_owned(), now);
        let due = order.due(1).unwrap();
        assert_eq!(order.next(1, now).as_deref(), Some("b"));
        // Its time comes while the other takes long.
        assert_eq!((order.next(1, due), order.due(1)), (None, None));
        assert_eq!(order.due(2), Some(due));
        order.fetched("b", now);
        assert_eq!(order.due(1), Some(due));
        assert_eq!(order.next(1, due).as_deref(), Some("a"));
    }

    #[test]
    fn what_was_fetched_and_is_not_listed_is_not_fetched_over_and_over() {
        let now = Instant::now();
        let mut order = order(&["docker.io/a:1"], &["docker.io/b:1", "c:1"]);
        let listed = ["a:1", "b:1", "c:1"].map(str::to_owned);
        assert_eq!(order.unlisted(&listed), ["docker.io/a:1", "docker.io/b:1"]);
        assert_eq!(order.next(1, now).as_deref(), Some("docker.io/a:1"));
        order.fetched("docker.io/a:1", now);
        order.found(listed.clone());
        assert_eq!((order.next(1, now), order.due(1)), (None, None));
        // An engine that was asked for it by that name knows it.
        order.found(listed.into_iter().chain(["docker.io/a:1".to_owned()]));
        assert_eq!(order.next(1, now + AGAIN_MAX), None);
        assert_eq!(order.told(2), ["c:1", "docker.io/a:1"], "named ones first");
        assert_eq!(order.told(9).len(), 4);
        // Somebody has removed it.
        order.found(["b:1".to_owned()]);
        let later = now + AGAIN_MIN;
        assert_eq!(order.next(1, later).as_deref(), Some("docker.io/a:1"));
        order.failed("docker.io/a:1", "\u{e9}".repeat(1000), later);
        assert!(order.faults()[0].detail.len() <= FAULT_BYTES_MAX);
    }

    #[test]
    fn before_the_broker_has_said_what_it_wants_nothing_may_go() {
        let mut order = Order::default();
        assert!(order.needs("a"));
        assert_eq!(order.next(1, Instant::now()), None);
        order.want(ImagesWanted::default());
        assert!(!order.needs("a"));
    }

    #[test]
    fn what_failed_waits_longer_each_time_and_is_said() {
        let mut now = Instant::now();
        let mut order = order(&["a", "b"], &[]);
        let mut waits = Vec::new();
        for _ in 0..8 {
            assert_eq!(order.next(1, now).as_deref(), Some("a"));
            order.failed("a", "no such host".to_owned(), now);
            // It holds nothing else up.
            assert_eq!(order.next(1, now).as_deref(), Some("b"));
            order.under_way.clear();
            let due = order.due(1).unwrap();
            waits.push((due - now).as_secs());
            now = due;
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 600, 600]);
        assert_eq!(order.faults()[0].detail, "no such host");
        // Somebody else has brought it, or nobody wants it any more.
        order.found(["a".to_owned()]);
        assert_eq!(order.faults(), []);
        order.failed("x", String::new(), now);
        assert_eq!(order.faults(), []);
    }
}
