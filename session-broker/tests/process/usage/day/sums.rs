//! What the claims of the day come to by hand, and that everything that tells of it says the same.

use super::*;
use nearlight_protocol::usage::UsageGroup;
use std::collections::BTreeSet;

/// A claim that is over.
pub(super) struct Billed {
    pub(super) kind: &'static Kind,
    pub(super) rises_ms: u64,
    pub(super) entry: UsageEntry,
}

/// Claims with a second in it, seconds, micro-units.
type Sum = (u64, u64, u64);

impl Billed {
    /// Second by second: each costs what holds when it begins. What is less than a micro-unit is left out once.
    fn by_hand(&self, counts: impl Fn(u64) -> bool) -> Sum {
        let ended_ms = self.entry.ended_unix_ms.unwrap();
        let (mut quarters, mut seconds, mut micro) = (0, 0, 0);
        for second in 0..(ended_ms - self.entry.began_unix_ms) / 1000 {
            let at_ms = self.entry.began_unix_ms + second * 1000;
            let before = quarters / 4;
            quarters += self.kind.quarters[usize::from(at_ms >= self.rises_ms)];
            if counts(at_ms) {
                seconds += 1;
                micro += quarters / 4 - before;
            }
        }
        (u64::from(seconds > 0), seconds, micro)
    }
}

/// What several come to by hand, of the seconds that count.
fn sum<'a>(all: impl IntoIterator<Item = &'a Billed>, counts: impl Fn(u64) -> bool) -> Sum {
    let sums = all.into_iter().map(|billed| billed.by_hand(&counts));
    sums.fold((0, 0, 0), |a, b| (a.0 + b.0, a.1 + b.1, a.2 + b.2))
}

const fn always(_at_ms: u64) -> bool {
    true
}

fn shown(group: &UsageGroup) -> (String, Sum) {
    let sum = (group.claims, group.seconds, group.amount_micro);
    (group.group.clone(), sum)
}

async fn grouped(client: &Client, query: &str) -> BTreeMap<String, Sum> {
    usage(client, query)
        .await
        .groups
        .iter()
        .map(shown)
        .collect()
}

/// The lines of the CSV of all pages, of that many lines each: how many, and the sum of that column.
async fn summed_csv(client: &Client, query: &str, column: &str) -> (usize, u64) {
    let csv = client.with("accept", "text/csv");
    let mut page = csv.get(&format!("/v1/usage?limit=3&{query}")).await;
    let head = page.body.lines().next().unwrap().to_owned();
    // Labels have commas in them, and what comes after the amounts has none.
    let from_right = head.rsplit(',').position(|name| name == column).unwrap();
    let rows = |page: &Answer| -> Vec<String> {
        let rows = page.body.lines().skip(1);
        rows.map(str::to_owned).collect()
    };
    let mut lines = rows(&page);
    while let Some(link) = page.header("link") {
        let next = link.strip_prefix('<').unwrap().split('>').next();
        let next = next.unwrap().to_owned();
        page = csv.get(&next).await;
        lines.extend(rows(&page));
    }
    let of = |line: &String| line.rsplit(',').nth(from_right).unwrap().parse::<u64>();
    (
        lines.len(),
        lines.iter().map(|line| of(line).unwrap()).sum(),
    )
}

/// Line by line, by customer, by day, in CSV, before and after the rise: the same to the micro-unit.
pub(super) async fn adds_up(day: &Day, client: &Client, all: &[Billed]) {
    for billed in all {
        let (_, seconds, micro) = billed.by_hand(always);
        let entry = &billed.entry;
        assert_eq!(
            (entry.seconds, entry.amount_micro),
            (seconds, micro),
            "{entry:?}"
        );
        assert!(seconds > 0, "{entry:?}");
    }
    let whole = sum(all, always);
    let since = day.since();
    let mut by_customer = BTreeMap::new();
    for customer in ["acme", "zeta"] {
        let its = all.iter().filter(|billed| billed.kind.customer == customer);
        by_customer.insert(customer.to_owned(), sum(its, always));
        let entries = usage(client, &format!("{since}&label.customer={customer}")).await;
        let micro: u64 = entries.entries.iter().map(|entry| entry.amount_micro).sum();
        assert_eq!(micro, by_customer[customer].2, "{customer}");
    }
    let customers = grouped(client, &format!("{since}&group=label.customer")).await;
    assert_eq!(customers, by_customer);

    let day_of = |at_ms: u64| rfc3339(at_ms)[..10].to_owned();
    let ends = |of: &Billed| [of.entry.began_unix_ms, of.entry.ended_unix_ms.unwrap()];
    let days: BTreeSet<String> = all.iter().flat_map(ends).map(day_of).collect();
    let by_day = days.into_iter().map(|day| {
        let sum = sum(all, |at_ms| day_of(at_ms) == day);
        (day, sum)
    });
    let by_day: BTreeMap<String, Sum> = by_day.filter(|(_, sum)| sum.0 > 0).collect();
    assert_eq!(grouped(client, &format!("{since}&group=day")).await, by_day);

    let csv = (
        summed_csv(client, &since, "amount_micro").await,
        summed_csv(client, &since, "seconds").await,
    );
    assert_eq!(csv, ((all.len(), whole.2), (all.len(), whole.1)));

    let rises_ms = day.rises_ms;
    let before = grouped(client, &format!("{since}&to={rises_ms}&group=app")).await;
    let after = grouped(client, &format!("from={rises_ms}&group=app")).await;
    let parts = [before, after].map(|part| part.into_values().next().expect("one image"));
    assert_eq!(parts[0], sum(all, |at_ms| at_ms < rises_ms));
    assert_eq!(parts[1], sum(all, |at_ms| at_ms >= rises_ms));
    assert!(parts[0].1 > 0 && parts[1].1 > 0, "on both sides: {parts:?}");
    assert_eq!(parts[0].2 + parts[1].2, whole.2);
}

/// What a tenant sees of itself, and what its budget of the month saw: that much, and not a micro-unit more.
pub(super) async fn is_spent(day: &Day, broker: &Program, client: &Client, all: &[Billed]) {
    for (which, (tenant, _)) in day.tenants.iter().enumerate() {
        let owner = day.tenant(which, broker);
        let its = || all.iter().filter(|billed| billed.kind.tenant == which);
        let own = grouped(&owner, &format!("{}&group=app", day.since())).await;
        let own: Vec<Sum> = own.into_values().collect();
        assert_eq!(own, [sum(its(), always)]);

        let month = rfc3339(now_ms())[..7].to_owned();
        let spent = sum(its(), |at_ms| rfc3339(at_ms)[..7] == month).2;
        let set = async |budget: u64| {
            let body = json!({ "budget_micro_per_month": budget }).to_string();
            let (path, json) = (
                format!("/v1/tenants/{tenant}"),
                ("content-type", "application/json"),
            );
            let set = client.request("PATCH", &path, &[json], &body).await;
            assert_eq!(set.status, 200, "{set:?}");
        };
        let waits = id(&owner.create("demo").await);
        set(spent).await;
        ended_as(&owner, &waits, "budget-reached").await;
        owner.create("demo").await.refused(402, "budget-reached");
        set(spent + 1).await;
        eventually("a micro-unit to be left", || async {
            owner.create("demo").await.status == 201
        })
        .await;
    }
}
