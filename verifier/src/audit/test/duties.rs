//! Who missed which check, who was not to check, and a broker that tells something else than follows.

use super::*;
use nearlight_proof::beacon::drand::fixture::Signer;
use nearlight_proof::beacon::used::{Beacon, Timetable};
use nearlight_proof::porc::committee::{Checker, set_of, set_root};
use nearlight_proof::porc::panel::{Drawn, Panel};
use nearlight_proof::porc::schedule;
use nearlight_proof::receipt::fixture::Network;
use nearlight_proof::receipt::predicate::Verdict as Settled;
use nearlight_proof::receipt::statement::Countersign;
use serde_json::{Value, json};

pub(super) mod streams;

/// Two-hour rounds: twelve a day, so that some are due and some are not.
const ROUND_MS: u64 = 2 * 3600 * 1000;
const ROUND_S: u64 = ROUND_MS / 1000;
const COMMITTEE: usize = 3;
pub(super) const ROUNDS: u64 = 36;
/// Who runs the node: whose group is due by the schedule.
const HOST: &str = "host";

/// A network of checkers, its referee, and the node.
pub(super) struct World {
    pub(super) network: Network,
    pub(super) now_s: u64,
    /// Who signs rounds of drand, and which rounds take their values from it.
    pub(super) drand: Option<(Signer, Timetable)>,
    /// The beacon that the audit is told to believe.
    pub(super) believed: Option<Beacon>,
}

/// A round as the broker tells it, and the receipts of it.
pub(super) struct Played {
    pub(super) number: u64,
    order: Vec<KeyId>,
    pub(super) told: Value,
    pub(super) entries: Vec<Vec<u8>>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::of(8)
    }

    /// A network of so many checkers.
    pub(super) fn of(checkers: u8) -> Self {
        Self::since(checkers, START_S - 301)
    }

    /// As [`World::of`], with a node whose key counts from then.
    pub(super) fn since(checkers: u8, from_s: u64) -> Self {
        let for_ever = (0, START_S * 2);
        let mut keys: Vec<_> = (10..10 + checkers)
            .map(|n| listed(&key(n).public(), Role::Checker, &format!("op{n}"), for_ever))
            .collect();
        keys.push(listed(&key(4).public(), Role::Referee, "broker", for_ever));
        keys.push(listed(&key(5).public(), Role::Broker, "broker", for_ever));
        keys.push(listed(
            &key(9).public(),
            Role::Node,
            HOST,
            (from_s, START_S * 2),
        ));
        Self {
            network: Network::new((START_S * 1000, ROUND_MS), keys, &key(8)),
            now_s: START_S + ROUNDS * ROUND_S - 1,
            drand: None,
            believed: None,
        }
    }

    pub(super) fn signature(&self, number: u64) -> Option<[u8; 48]> {
        let (signer, table) = self.drand.as_ref()?;
        let (_, of) = table.drand(number)?;
        Some(signer.sign(of))
    }

    fn value(&self, number: u64) -> KeyId {
        let drawn = self.signature(number).map(|of| sha256(&[&of]));
        KeyId(drawn.unwrap_or_else(|| self.network.value(number).unwrap()))
    }

    fn schedule(&self, number: u64) -> schedule::Round {
        schedule::Round {
            number,
            value: self.value(number).0,
            a_day: 12,
        }
    }

    /// The rounds in which a check is due by the schedule, oldest first.
    pub(super) fn due(&self) -> Vec<u64> {
        let has = |n: &u64| schedule::capacity_is_due(&self.schedule(*n), HOST);
        (1..=ROUNDS).filter(has).collect()
    }

    /// A round in which the committee passes the node.
    pub(super) fn played(&self, number: u64) -> Played {
        let value = self.value(number).0;
        let panel = Panel {
            directory: &self.network.directory,
            chain: Some(&self.network.anchor),
            committee: COMMITTEE,
            capacity_s: 900,
        };
        let (_, order) = panel
            .order(
                &Drawn {
                    round: number,
                    value,
                },
                &node(),
            )
            .unwrap();
        let mut played = Played {
            number,
            told: self.told(number),
            entries: Vec::new(),
            order: order.clone(),
        };
        for (place, checker) in (0_u32..).zip(order.iter().take(COMMITTEE)) {
            let entry = self.check(number, checker, Found::Pass);
            let leaf = hex(&leaf(&entry));
            played.row(place, checker, ("done", "", &leaf));
            played.entries.push(entry);
        }
        played
    }

    /// A round in which the first of the order finds that the node is not there.
    pub(super) fn unreachable(&self, number: u64) -> Played {
        let played = self.played(number);
        let entry = self.check(number, &played.order[0], Found::Inconclusive);
        Played {
            told: self.told(number),
            entries: vec![entry],
            ..played
        }
    }

    fn told(&self, number: u64) -> Value {
        let began_s = self.network.anchor.begins_ms(number) / 1000;
        let set = set_of(&self.network.directory, began_s);
        let shown =
            |of: &Checker| json!({ "key_id": of.key, "operator": of.operator, "running": true });
        json!({
            "round": number, "value": self.value(number).to_string(),
            "began_unix_ms": began_s * 1000, "committees": [1, COMMITTEE],
            "checkers_root": hex(&set_root(&set)),
            "checkers": set.iter().map(shown).collect::<Vec<_>>(), "assignments": [],
        })
    }

    /// A receipt of a round, as whoever is of it writes it.
    fn check(&self, number: u64, checker: &KeyId, finding: Found) -> Vec<u8> {
        let issuer = (10..19)
            .map(key)
            .find(|key| key.public().id() == *checker)
            .unwrap();
        let began_s = self.network.anchor.begins_ms(number) / 1000;
        let predicate = Predicate::Porc(Box::new(Porc {
            round: number,
            beacon: self.value(number),
            checkers: KeyId(set_root(&set_of(&self.network.directory, began_s))),
            ..fixture::porc(finding)
        }));
        let mut said = statement(&issuer, node(), began_s + 60, predicate);
        said.head.countersign = Countersign::Node(node());
        entry(&said, &[&issuer, &key(9)])
    }

    pub(super) fn log(&self, played: &[Played]) -> Served {
        let mut entries = vec![self.network.envelope.clone()];
        entries.push(self.network.anchor.sign(&key(8)).unwrap());
        let uses = self.drand.iter().flat_map(|(_, table)| table.uses());
        entries.extend(uses.map(|of| of.sign(&key(8)).unwrap()));
        entries.extend(played.iter().flat_map(|of| of.entries.clone()));
        let mut served = Served::of(entries);
        for round in 1..=ROUNDS {
            let signature = self.signature(round).map(|of| hex(&of));
            served.signatures.extend(signature.map(|of| (round, of)));
        }
        for of in played {
            served
                .told
                .insert(of.number, of.told.to_string().into_bytes());
        }
        served
    }

    pub(super) fn trust(&self) -> Trust {
        let log = VerifierKey::new(ORIGIN, Algorithm::Ed25519, key(1).public()).unwrap();
        let believed = Believed {
            directory: self.network.envelope.clone(),
            authority: Some(hex(PublicKey::as_bytes(&key(8).public()))),
            policy: Some(format!("log {log}\nquorum none\n").into_bytes()),
            beacon: self.believed,
        };
        believed.trust().unwrap()
    }

    pub(super) fn audit(&self, log: &mut Served, rounds: Rounds) -> Audit {
        let newest = Newest::ask(log).unwrap();
        let wanted = Wanted {
            node: &node().to_string(),
            remembered: None,
            now_s: self.now_s,
            evidence: true,
            rounds,
        };
        run(log, &self.trust(), newest, wanted).unwrap().audit
    }

    /// All due rounds, played as they should be, and what tells the newest value.
    pub(super) fn all(&self) -> Vec<Played> {
        let mut all: Vec<Played> = self
            .due()
            .into_iter()
            .map(|number| self.played(number))
            .collect();
        if all.last().is_none_or(|of| of.number < ROUNDS) {
            all.push(Played {
                number: ROUNDS,
                order: Vec::new(),
                told: self.told(ROUNDS),
                entries: Vec::new(),
            });
        }
        all
    }
}

impl Played {
    fn row(&mut self, place: u32, checker: &KeyId, (state, why, leaf): (&str, &str, &str)) {
        let row = json!({
            "round": self.number, "duty": "capacity", "node": "nod_1", "node_key_id": node(),
            "checker": checker, "place": place, "due_unix_ms": 0,
            "until_unix_ms": START_S * 1000, "state": state, "why": why, "leaf": leaf,
        });
        self.told["assignments"].as_array_mut().unwrap().push(row);
    }

    /// The checker in this place says nothing, and the next of the order stands in.
    fn misses(&mut self, world: &World, place: usize) {
        let rows = self.told["assignments"].as_array_mut().unwrap();
        rows[place]["state"] = json!("missed");
        rows[place]["why"] = json!("its checker said nothing until its time was over");
        rows[place]["leaf"] = json!("");
        let stand_in = self.order[COMMITTEE];
        let entry = world.check(self.number, &stand_in, Found::Pass);
        let leaf = hex(&leaf(&entry));
        self.entries[place] = entry;
        self.row(COMMITTEE as u32, &stand_in, ("done", "", &leaf));
    }
}

pub(super) fn words_of(audit: &Audit, oddity: Oddity) -> Vec<&str> {
    let of = audit.findings.iter().filter(|of| of.oddity == oddity);
    of.map(|of| of.words.as_str()).collect()
}

#[test]
fn a_node_that_was_checked_whenever_it_was_due_is_clean() {
    let world = World::new();
    let mut log = world.log(&world.all());
    let audit = world.audit(&mut log, Rounds::UntilNow);
    assert_eq!(audit.verdict, Verdict::Clean, "{:?}", audit.findings);
    assert!(audit.rounds_compared > 3, "{audit:?}");
    assert_eq!(audit.rounds.len(), world.due().len());
    assert!(
        audit
            .rounds
            .iter()
            .all(|of| of.state == "passed" && of.entries.len() == 3)
    );
    let said = words::text(&audit);
    assert!(said.contains("were worked out and compared"), "{said}");
    // The same of an export, which ends earlier.
    let last = world.due()[2];
    log.told.retain(|round, _| *round <= last);
    let earlier = world.audit(&mut log, Rounds::Until(last));
    assert_eq!(words_of(&earlier, Oddity::WrongAssignment), [""; 0]);
}

#[test]
fn who_missed_which_check_is_named() {
    let world = World::new();
    let mut all = world.all();
    let (round, missing) = (all[1].number, all[1].order[2]);
    all[1].misses(&world, 2);
    let audit = world.audit(&mut world.log(&all), Rounds::UntilNow);
    let missed = words_of(&audit, Oddity::Missed);
    assert_eq!(missed.len(), 1, "{:?}", audit.findings);
    let says = format!("capacity of round {round} was missed by checker {missing}");
    assert!(
        missed[0].starts_with(&says) && missed[0].contains("said nothing"),
        "{missed:?}"
    );
    assert_eq!(
        oddities(&audit),
        [Oddity::Missed],
        "whoever stood in counts"
    );
    assert!(audit.rounds.iter().all(|of| of.state == "passed"));
}

/// A stranger says fail of what the committee passed, with its own receipt in the log.
#[test]
fn who_was_not_assigned_is_named_and_outvotes_nobody() {
    let world = World::new();
    let mut all = world.all();
    let of = &mut all[0];
    let strangers: Vec<KeyId> = (10..18)
        .map(|n| key(n).public().id())
        .filter(|id| !of.order.contains(id))
        .collect();
    assert_eq!(strangers.len(), 3);
    let round = of.number;
    for stranger in &strangers {
        of.entries.push(world.check(round, stranger, Found::Fail));
    }
    let audit = world.audit(&mut world.log(&all), Rounds::UntilNow);
    assert_eq!(
        oddities(&audit),
        [Oddity::Unassigned; 3],
        "{:?}",
        audit.findings
    );
    let held = audit.rounds.iter().find(|of| of.round == round).unwrap();
    assert_eq!((held.state, held.entries.len()), ("passed", 3));
}

#[test]
fn a_broker_that_tells_something_else_than_follows_is_caught() {
    let world = World::new();
    let check = |change: fn(&mut Played), expected: &str| {
        let mut all = world.all();
        change(&mut all[0]);
        let audit = world.audit(&mut world.log(&all), Rounds::UntilNow);
        let wrong = words_of(&audit, Oddity::WrongAssignment);
        assert!(
            wrong.iter().any(|words| words.contains(expected)),
            "{expected}: {:?}",
            audit.findings
        );
    };
    check(
        |of| of.told["value"] = json!(KeyId([7; 32])),
        "does not lead to the chain's anchor",
    );
    check(
        |of| of.told["checkers_root"] = json!(KeyId([7; 32])),
        "another set of checkers",
    );
    check(
        |of| drop(of.told["checkers"].as_array_mut().unwrap().pop()),
        "another set of checkers",
    );
    check(
        |of| drop(of.told["assignments"].as_array_mut().unwrap().remove(1)),
        "should have been assigned, and was not",
    );
    check(
        |of| of.told["assignments"][2]["checker"] = json!(key(9).public().id()),
        "was assigned, and was not to be",
    );
    check(
        |of| of.told["assignments"][2]["leaf"] = json!(KeyId([7; 32])),
        "the log has no such receipt",
    );
    let stands_in = |of: &mut Played| {
        let stand_in = of.order[COMMITTEE];
        of.row(COMMITTEE as u32, &stand_in, ("due", "", ""));
    };
    check(stands_in, "1 stand in, and 0 missed it");
}

#[test]
fn a_due_check_that_nobody_was_assigned_shows_and_so_does_silence() {
    let world = World::new();
    let mut all = world.all();
    let round = all[1].number;
    all[1].told["assignments"] = json!([]);
    all[1].entries.clear();
    let mut log = world.log(&all);
    let audit = world.audit(&mut log, Rounds::UntilNow);
    let left_out = words_of(&audit, Oddity::LeftOut);
    assert!(
        left_out[0].contains(&format!("due in round {round}")),
        "{:?}",
        audit.findings
    );
    log.told.remove(&round);
    let audit = world.audit(&mut log, Rounds::UntilNow);
    let not_told = words_of(&audit, Oddity::NotTold);
    assert!(not_told[0].starts_with("of 1 of "), "{:?}", audit.findings);
    let skipped = world.audit(&mut log, Rounds::Skipped);
    assert_eq!(skipped.rounds_compared, 0);
    assert!(words::text(&skipped).contains("no assignments were compared"));
}

/// A referee that executed nothing, and decides against those who were assigned.
#[test]
fn a_verdict_against_those_who_were_assigned_shows() {
    let world = World::new();
    let mut all = world.all();
    let weighed = KeyId(leaf(&all[0].entries[0]));
    let verdict = |step: &str| {
        let settled = Predicate::Verdict(Settled {
            receipts: vec![weighed],
            dispute: None,
            finding: Found::Fail,
            score_permille: 0,
            liars: Vec::new(),
            step: step.to_owned(),
            reason: "most say so".to_owned(),
        });
        let said = statement(&key(4), node(), START_S + 10 * ROUND_S, settled);
        entry(&said, &[&key(4)])
    };
    all.last_mut()
        .unwrap()
        .entries
        .push(verdict("row 3 was executed again"));
    let audit = world.audit(&mut world.log(&all), Rounds::UntilNow);
    assert_eq!(words_of(&audit, Oddity::AgainstAssigned), [""; 0]);
    all.last_mut().unwrap().entries.push(verdict(""));
    let audit = world.audit(&mut world.log(&all), Rounds::UntilNow);
    assert_eq!(
        words_of(&audit, Oddity::AgainstAssigned).len(),
        1,
        "{:?}",
        audit.findings
    );
}
