//! The certificate of a checker that runs: shown, renewed by itself, and back by its key after an absence.

use crate::scripted::{Asked, Member, PROGRAM, Scripted, duty, reports};
use nearlight_kit::clock::WallClock;
use nearlight_kit::pki::{Ca, Credentials, Identity, checker_of};
use std::process::Command;
use std::time::{Duration, SystemTime};

const DAY_S: i64 = 24 * 3600;
const RENEWAL: &str = "/v1/checkers/me/certificate";
const DOOR: &str = "/v1/renew";

impl Member {
    fn shown(&self) -> Credentials {
        Credentials::load(&self.dir.path().join("tls"), "checker").unwrap()
    }

    /// Its certificate as it would be if it was that old: of the same CA, for the same checker.
    fn aged(&self, broker: &Scripted, seconds: i64) {
        let name = checker_of(&self.shown().spiffe).unwrap();
        let tls = self.dir.path().join("tls");
        let then = Ca::ensure(broker.pki.dir.path(), WallClock::ahead_by(-seconds)).unwrap();
        then.issue(&tls, "checker", Identity::checker(&name))
            .unwrap();
        // Key and certificate are in one file.
        let [own, key] = ["checker.pem", "checker.key.pem"].map(|name| tls.join(name));
        let both = [&own, &key].map(|path| std::fs::read_to_string(path).unwrap());
        std::fs::write(&own, both.concat()).unwrap();
        std::fs::remove_file(&key).unwrap();
    }

    /// What the program says, and with which status it ends.
    fn says(&self, command: &str) -> (i32, String) {
        let mut checker = Command::new(PROGRAM);
        let words = command.split(' ');
        let output = checker.arg("--data").arg(self.dir.path()).args(words);
        let output = output.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.code().unwrap(),
            String::from_utf8(said).unwrap(),
        )
    }
}

fn came_to(asked: &[Asked], path: &str) -> usize {
    asked.iter().filter(|of| of.path == path).count()
}

fn is_at_work(asked: &[Asked]) -> bool {
    asked.iter().any(Asked::is_for_assignments)
}

#[test]
fn what_a_member_does_it_does_with_its_certificate_and_without_a_secret() {
    let broker = Scripted::start();
    let member = Member::new(&broker);
    let kept = std::fs::read_to_string(member.dir.path().join("network.json")).unwrap();
    assert!(
        !kept.contains("token") && kept.contains(&broker.at),
        "{kept}"
    );
    // The key of the certificate is another one than that which signs.
    let own = std::fs::read_to_string(member.dir.path().join("checker.key")).unwrap();
    let shown = std::fs::read_to_string(member.dir.path().join("tls/checker.pem")).unwrap();
    assert!(shown.contains("PRIVATE KEY") && !shown.contains(own.trim()));

    let running = member.run();
    broker.change(|script| script.due = vec![duty(7)]);
    let asked = broker.until("a report", |asked| !reports(asked).is_empty());
    running.signal("-TERM");
    assert!(running.ended().status.success());
    let (join, rest) = asked.split_first().unwrap();
    assert_eq!(
        (join.path.as_str(), join.certified),
        ("/v1/checkers", false)
    );
    assert!(rest.iter().all(|of| of.certified), "{rest:?}");
    assert_eq!(came_to(rest, RENEWAL), 0, "it holds for a day");
}

#[test]
fn a_running_checker_renews_its_certificate_before_its_end() {
    let broker = Scripted::start();
    let member = Member::new(&broker);
    member.aged(&broker, 17 * 3600);
    let before = member.shown();
    assert!(before.validity.not_after > SystemTime::now());
    let (_, doctor) = member.says("doctor");
    assert!(doctor.contains("is `checker run` at work"), "{doctor}");

    let running = member.run();
    broker.until("it to have a new one and work on", |asked| {
        came_to(asked, RENEWAL) == 1 && is_at_work(asked)
    });
    broker.change(|script| (script.due, script.asked) = (vec![duty(7)], Vec::new()));
    let asked = broker.until("a report", |asked| !reports(asked).is_empty());
    assert!(asked.iter().all(|of| of.certified), "{asked:?}");
    assert_eq!(came_to(&asked, RENEWAL), 0, "once is enough");
    running.signal("-TERM");
    assert!(running.ended().status.success());
    let after = member.shown();
    assert_eq!(after.spiffe, before.spiffe);
    assert!(after.validity.not_after > before.validity.not_after + Duration::from_secs(16 * 3600));
    let (_, doctor) = member.says("doctor");
    assert!(doctor.contains("the certificate holds until"), "{doctor}");
    assert!(
        doctor.contains(&format!("{} takes the certificate", broker.at)),
        "{doctor}"
    );
}

#[test]
fn a_checker_that_was_off_for_weeks_works_again_without_a_token() {
    let broker = Scripted::start();
    let member = Member::new(&broker);
    member.aged(&broker, 40 * DAY_S);
    let before = member.shown();
    let (status, said) = member.says("status");
    assert_eq!(status, 4, "{said}");
    assert!(
        said.contains("`checker run` renews it by its key, without a token"),
        "{said}"
    );
    let (_, doctor) = member.says("doctor");
    assert!(
        doctor.contains("ok      cert     the certificate ended"),
        "{doctor}"
    );

    let running = member.run();
    let asked = broker.until("it to be back", is_at_work);
    assert_eq!(came_to(&asked, DOOR), 1);
    assert_eq!(
        came_to(&asked, "/v1/checkers"),
        1,
        "it came in once, with a token"
    );
    running.signal("-TERM");
    assert!(running.ended().status.success());
    assert_eq!(member.shown().spiffe, before.spiffe);
    assert!(member.shown().validity.not_after > SystemTime::now());
}

/// A `join` that was killed between the files looked as if it was done.
#[test]
fn a_join_that_was_cut_short_says_to_join_again() {
    let broker = Scripted::start();
    let member = Member::new(&broker);
    let files = ["network.json", "tls/ca.pem", "tls/checker.pem"];
    let path = |name: &str| member.dir.path().join(name);
    let kept = files.map(|name| std::fs::read(path(name)).unwrap());
    std::fs::remove_dir_all(path("tls")).unwrap();
    std::fs::remove_file(path("network.json")).unwrap();
    std::fs::create_dir(path("tls")).unwrap();
    for (name, bytes) in files.iter().zip(kept) {
        let (status, said) = member.says("status");
        assert_eq!(status, 1, "{name}: {said}");
        assert!(said.contains("`checker join URL --token T`"), "{said}");
        std::fs::write(path(name), bytes).unwrap();
    }
    let (_, doctor) = member.says("doctor");
    assert!(doctor.contains("takes the certificate"), "{doctor}");
}

#[test]
fn another_address_of_the_listener_is_looked_at_where_it_is_given() {
    let broker = Scripted::start();
    let member = Member::new(&broker);
    let path = member.dir.path().join("network.json");
    let kept = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, kept.replace(&broker.at, "127.0.0.1:1")).unwrap();
    let (_, doctor) = member.says("doctor");
    assert!(doctor.contains("missing listener 127.0.0.1:1"), "{doctor}");
    let (_, doctor) = member.says(&format!("doctor --at {}", broker.at));
    let takes = format!("{} takes the certificate", broker.at);
    assert!(doctor.contains(&takes), "{doctor}");
    let (_, status) = member.says(&format!("status --at {}", broker.at));
    assert!(status.contains("the certificate holds until"), "{status}");
}

/// It ended by itself, though the next attempt would have been taken.
#[test]
fn a_late_renewal_that_is_refused_for_now_is_asked_for_again() {
    let broker = Scripted::start();
    let member = Member::new(&broker);
    member.aged(&broker, 40 * DAY_S);
    broker.change(|script| script.busy = 1);
    let running = member.run();
    let asked = broker.until("it to be back", is_at_work);
    assert_eq!(came_to(&asked, DOOR), 2);
    running.signal("-TERM");
    assert!(running.ended().status.success());
}

/// Whoever starts it learns why it ends, and does not wait for it in vain.
#[test]
fn a_checker_that_was_shut_out_ends_and_says_so() {
    let broker = Scripted::start();
    for age_s in [0, 17 * 3600, 40 * DAY_S] {
        broker.change(|script| script.shut_out = false);
        let member = Member::new(&broker);
        if age_s > 0 {
            member.aged(&broker, age_s);
        }
        broker.change(|script| script.shut_out = true);
        let output = member.run().ended();
        assert!(!output.status.success(), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("The checker was shut out"), "{age_s}: {said}");
    }
    // One that is too old is of no use to anybody, and the broker need not be asked for that.
    let member = Member::new(&broker);
    member.aged(&broker, 92 * DAY_S);
    let (status, doctor) = member.says("doctor");
    assert!(status == 1 && doctor.contains("missing cert"), "{doctor}");
    assert!(doctor.contains("`checker join`"), "{doctor}");
}

#[test]
fn a_broker_of_another_ca_is_told_nothing() {
    let (broker, other) = (Scripted::start(), Scripted::start());
    let member = Member::new(&broker);
    // Somebody else is at the listener's address.
    let running = member.run_as(PROGRAM.as_ref(), &["--at", &other.at]);
    let asked = other.until_script("it to hang up", |script| script.hung_up > 0);
    assert!(asked.is_empty(), "{asked:?}");
    running.signal("-TERM");
    assert!(running.ended().status.success());
    let asked = other.until("nothing", |_| true);
    assert!(asked.is_empty(), "{asked:?}");
}
