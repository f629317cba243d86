//! Streams: the log has a session of a player, and whoever reads it knows the rounds in which a checker was to play.

use super::*;
use nearlight_proof::porw::{Played as Game, statement as found};
use nearlight_proof::receipt::quality::Quality;
use nearlight_proof::receipt::session::{EdgeSide, SUBJECT, Session, commitment};
use nearlight_proof::receipt::statement::Subject;

/// A session of a player of these rounds, from just after the first began until just before the last does.
pub(in super::super) fn session(world: &World, id: &str, rounds: (u64, u64)) -> Vec<u8> {
    let began_s = |round| world.network.anchor.begins_ms(round) / 1000;
    let edge = EdgeSide {
        node: node(),
        started_at_s: began_s(rounds.0) + 60,
        stopped_at_s: began_s(rounds.1) - 60,
        segments: KeyId([0; 32]),
        quality: Quality::default(),
    };
    let body = Predicate::Session(Box::new(Session::new(edge, Vec::new())));
    let mut said = statement(&key(5), node(), began_s(rounds.1), body);
    said.subject = Subject {
        name: SUBJECT.to_owned(),
        sha256: commitment(&[0; 32], id),
    };
    said.head.countersign = Countersign::Node(node());
    entry(&said, &[&key(5), &key(9)])
}

/// What a checker found of a session that it played in a round.
pub(in super::super) fn stream(world: &World, id: &str, round: u64, checker: &KeyId) -> Vec<u8> {
    let issuer = (10..18).map(key).find(|key| key.public().id() == *checker);
    let issuer = issuer.unwrap();
    let game = Game {
        session: id.to_owned(),
        node: "node_1".to_owned(),
        app: "calibrate".to_owned(),
        input: KeyId([0; 32]),
        presses: Some([9, 9]),
        signs: None,
        quality: Quality {
            seconds: 15,
            frames: 900,
            ..Quality::default()
        },
        faults: Vec::new(),
        receipt: 1,
        salt: KeyId([0; 32]),
        bytes: 0,
    };
    let began_s = world.network.anchor.begins_ms(round) / 1000;
    let said = found(&game, node(), issuer.public().id(), began_s + 60);
    entry(&said, &[&issuer])
}

/// All due checks of capacity; and, from a round on in which a checker played, a player in the two rounds after it, in
/// both of which the first of the order who can plays.
struct Streams {
    world: World,
    all: Vec<Played>,
    /// The rounds in which a stream was due for the player's session.
    due: Vec<u64>,
}

impl Streams {
    fn new() -> Self {
        let world = World::new();
        let mut all = world.all();
        // Rounds that no check of capacity and no draw is of.
        let is_free = |n: u64| !schedule::stream_is_due(&world.schedule(n), &node(), false);
        let first = (2..ROUNDS - 4).find(|n| (*n..*n + 4).all(is_free)).unwrap();
        let due = vec![first + 1, first + 2];
        for number in first..ROUNDS {
            if !all.iter().any(|of| of.number == number) {
                let told = world.told(number);
                let (order, entries) = (Vec::new(), Vec::new());
                all.push(Played {
                    number,
                    order,
                    told,
                    entries,
                });
            }
        }
        all.sort_by_key(|of| of.number);
        let mut streams = Self { world, all, due };
        for of in &mut streams.all {
            of.told["committees"] = json!([1, COMMITTEE, 1]);
            // One of two has a decoder.
            for (n, checker) in of.told["checkers"]
                .as_array_mut()
                .unwrap()
                .iter_mut()
                .enumerate()
            {
                if n % 2 == 0 {
                    checker["plays_since_s"] = json!(1);
                }
            }
        }
        for number in first..ROUNDS {
            let is_drawn = schedule::stream_is_due(&streams.world.schedule(number), &node(), false);
            if is_drawn || (first..first + 3).contains(&number) {
                streams.plays(number);
            }
        }
        let player = session(&streams.world, "of a player", (first, first + 3));
        streams.round(first).entries.push(player);
        streams
    }

    fn round(&mut self, number: u64) -> &mut Played {
        self.all.iter_mut().find(|of| of.number == number).unwrap()
    }

    fn order(&self, number: u64) -> Vec<KeyId> {
        let panel = Panel {
            directory: &self.world.network.directory,
            chain: Some(&self.world.network.anchor),
            committee: COMMITTEE,
            capacity_s: 900,
        };
        let value = self.world.network.value(number).unwrap();
        let drawn = Drawn {
            round: number,
            value,
        };
        panel.whole_order(&drawn, &node()).unwrap().1
    }

    /// Who can play in a round, and where in its order they stand.
    fn able(&mut self, number: u64) -> Vec<(u32, KeyId)> {
        let told = self.round(number).told["checkers"].clone();
        let plays = |key: &KeyId| {
            let mut of = told.as_array().unwrap().iter();
            of.any(|of| of["key_id"] == json!(key) && of["plays_since_s"] == 1)
        };
        let numbered = (0_u32..).zip(self.order(number));
        numbered.filter(|(_, key)| plays(key)).collect()
    }

    fn plays(&mut self, number: u64) {
        let (place, checker) = self.able(number)[0];
        let receipt = stream(&self.world, &format!("of round {number}"), number, &checker);
        let leaf = hex(&leaf(&receipt));
        self.row(number, (place, &checker), ("done", "", &leaf));
        self.round(number).entries.push(receipt);
    }

    fn row(&mut self, number: u64, (place, checker): (u32, &KeyId), said: (&str, &str, &str)) {
        let of = self.round(number);
        of.row(place, checker, said);
        of.told["assignments"]
            .as_array_mut()
            .unwrap()
            .last_mut()
            .unwrap()["duty"] = json!("stream");
    }

    /// The row of a round's stream.
    fn told(&mut self, number: u64) -> &mut Value {
        let rows = self.round(number).told["assignments"]
            .as_array_mut()
            .unwrap();
        rows.iter_mut().find(|row| row["duty"] == "stream").unwrap()
    }

    fn audit(&self) -> Audit {
        self.world
            .audit(&mut self.world.log(&self.all), Rounds::UntilNow)
    }

    fn wrong(&self, expected: &str) {
        let audit = self.audit();
        let wrong = words_of(&audit, Oddity::WrongAssignment);
        assert!(
            wrong.iter().any(|words| words.contains(expected)),
            "{expected}: {:?}",
            audit.findings
        );
    }
}

#[test]
fn a_node_whose_streams_were_played_whenever_they_were_due_is_clean() {
    let audit = Streams::new().audit();
    assert_eq!(audit.verdict, Verdict::Clean, "{:?}", audit.findings);
    let streams = audit.receipts.iter().filter(|of| of.kind == "porw/v1");
    assert!(streams.count() >= 3, "{audit:?}");
}

#[test]
fn a_stream_that_was_due_by_the_log_and_that_nobody_was_assigned_shows() {
    let mut streams = Streams::new();
    let round = streams.due[1];
    let rows = streams.round(round).told["assignments"]
        .as_array_mut()
        .unwrap();
    rows.retain(|row| row["duty"] != "stream");
    let audit = streams.audit();
    let left_out = words_of(&audit, Oddity::LeftOut);
    let says = format!("a stream was due in round {round}");
    assert!(
        left_out.len() == 1 && left_out[0].starts_with(&says),
        "{:?}",
        audit.findings
    );
    // Where nobody could play, nobody was left out.
    for checker in streams.round(round).told["checkers"]
        .as_array_mut()
        .unwrap()
    {
        checker["plays_since_s"] = Value::Null;
    }
    assert_eq!(words_of(&streams.audit(), Oddity::LeftOut), [""; 0]);
}

#[test]
fn another_player_than_follows_and_a_receipt_that_is_none_are_caught() {
    let mut second = Streams::new();
    let round = second.due[0];
    let (place, checker) = second.able(round)[1];
    let row = second.told(round);
    row["checker"] = json!(checker);
    row["place"] = json!(place);
    second.wrong("should have been assigned, and was not");

    let mut moved = Streams::new();
    moved.told(round)["place"] = json!(7);
    moved.wrong("was assigned, and was not to be");

    let mut unheld = Streams::new();
    unheld.told(round)["leaf"] = json!(KeyId([7; 32]));
    unheld.wrong("the log has no such receipt");

    let mut doubled = Streams::new();
    doubled.row(round, (place, &checker), ("due", "", ""));
    doubled.wrong("1 stand in, and 0 missed it");
}

#[test]
fn who_missed_a_stream_is_named_and_who_found_no_slot_is_not() {
    let mut streams = Streams::new();
    let [one, other] = [streams.due[0], streams.due[1]];
    let missing = streams.able(one)[0].1;
    for (round, state, why) in [
        (one, "missed", "the checker was stopped"),
        (other, "void", "no free slot"),
    ] {
        let row = streams.told(round);
        row["state"] = json!(state);
        row["why"] = json!(why);
        row["leaf"] = json!("");
        let entries = &mut streams.round(round).entries;
        entries.clear();
    }
    let audit = streams.audit();
    let missed = words_of(&audit, Oddity::Missed);
    let says = format!("stream of round {one} was missed by checker {missing}");
    assert!(
        missed.len() == 1 && missed[0].starts_with(&says),
        "{:?}",
        audit.findings
    );
}
