//! What moves with rounds.

use super::*;

const TERMS: StakeTerms = StakeTerms {
    slash_permille: 100,
    reward_micro: 5,
    dispute_ms: 1_000,
};

fn of() -> RoundOf {
    RoundOf {
        node: "n".to_owned(),
        round: 7,
        gpu: "cpu".to_owned(),
    }
}

fn row(state: &str, finding: &str, liars: &[&str]) -> VerdictRow {
    VerdictRow {
        of: of(),
        state: state.to_owned(),
        finding: finding.to_owned(),
        score_permille: 900,
        at_s: 1,
        places: vec![3, 4],
        liars: liars.iter().map(|key| (*key).to_owned()).collect(),
        ground: String::new(),
        blocks: None,
    }
}

fn check(place: u64, checker: &str, finding: &str) -> CheckRow {
    CheckRow {
        place,
        of: of(),
        checker: checker.to_owned(),
        leaf: format!("leaf{place}"),
        finding: finding.to_owned(),
        score_permille: 900,
        issued_at_s: 1,
        reason: String::new(),
        seat: Some(0),
        blocks: None,
        revoked: None,
    }
}

fn held(id: &str, debit: &str, credit: &str, holds_with: &str) -> TransferRow {
    TransferRow {
        id: id.to_owned(),
        kind: "pending".to_owned(),
        debit: debit.to_owned(),
        credit: credit.to_owned(),
        amount_micro: 9,
        ends: None,
        receipts: vec![3],
        reason: String::new(),
        at_ms: 1,
        until_ms: Some(2),
        round: Some(of()),
        holds_with: holds_with.to_owned(),
    }
}

fn ids(
    before: Option<&VerdictRow>,
    after: &VerdictRow,
    checks: &[CheckRow],
    pending: &[TransferRow],
) -> Vec<String> {
    ids_of((before, after), checks, (pending, &[]), &[])
}

fn ids_of(
    (before, after): (Option<&VerdictRow>, &VerdictRow),
    checks: &[CheckRow],
    (pending, moved): (&[TransferRow], &[TransferRow]),
    revoked: &[CheckRow],
) -> Vec<String> {
    let changed = Changed {
        before,
        after,
        checks,
        weighing: checks,
        strangers: &[],
        operator: "host",
        pending,
        moved,
        revoked,
        at_ms: 10,
    };
    let moves = moves(&changed, &TERMS);
    let by = revoked.iter().filter_map(|check| check.revoked);
    let cites = |of: &Transfer| by.clone().all(|place| of.receipts.contains(&place));
    let undoes = |of: &Transfer| matches!(of.does, Move::Void(_) | Move::Posted);
    let mut undone = moves.iter().filter(|of| undoes(of));
    assert!(undone.all(cites), "each cites what revokes it");
    assert!(
        moves.iter().all(|of| !of.receipts.is_empty()),
        "each cites its receipts"
    );
    let verb = |of: &Transfer| match &of.does {
        Move::Posted => "posted",
        Move::Pending { .. } => "pending",
        Move::Post(_) => "post",
        Move::Void(_) => "void",
    };
    moves
        .iter()
        .map(|of| format!("{} {} {}>{}", verb(of), of.id, of.debit, of.credit))
        .collect()
}

#[test]
fn a_pass_rewards_and_a_failure_is_held_from_the_operator() {
    let passes = [check(3, "a", "pass"), check(4, "b", "pass")];
    let passed = row("passed", "pass", &[]);
    let expected = [
        "pending reward/leaf3 pool>earned/a",
        "pending reward/leaf4 pool>earned/b",
    ];
    assert_eq!(ids(None, &passed, &passes, &[]), expected);
    let open = row("open", "inconclusive", &[]);
    assert!(ids(None, &open, &passes, &[]).is_empty());
    let fails = [check(3, "a", "fail"), check(4, "b", "fail")];
    let failed = row("failed", "fail", &[]);
    let expected = [
        "pending slash/n/7/cpu/2 operator/host>slashed",
        "pending reward/leaf3 pool>earned/a",
        "pending reward/leaf4 pool>earned/b",
    ];
    assert_eq!(ids(Some(&open), &failed, &fails, &[]), expected);
    let split = row("split", "inconclusive", &[]);
    assert!(
        ids(Some(&failed), &split, &fails, &[]).is_empty(),
        "what is held waits"
    );
}

#[test]
fn a_won_dispute_gives_back_and_takes_from_the_liar() {
    let checks = [check(3, "a", "pass"), check(4, "l", "fail")];
    let pending = [
        held("slash", "operator/host", "slashed", "fail"),
        held("reward/leaf4", POOL, "earned/l", "fail"),
        held("reward/leaf3", POOL, "earned/a", "pass"),
    ];
    let failed = row("failed", "fail", &[]);
    let won = row("settled", "pass", &["l"]);
    let expected = [
        "void end/slash operator/host>slashed",
        "pending slash/n/7/cpu/liar/l checker/l>slashed",
        "pending reward/leaf3 pool>earned/a",
    ];
    let of_liar = due(&pending[1], Some(&won), 9).does;
    assert_eq!(of_liar, Move::Void("reward/leaf4".to_owned()));
    assert_eq!(ids(Some(&failed), &won, &checks, &pending), expected);
    assert!(
        !ids(Some(&won), &won, &checks, &[])
            .iter()
            .any(|id| id.contains("liar")),
        "once"
    );
    let lost = row("settled", "fail", &[]);
    assert_eq!(
        ids(Some(&failed), &lost, &checks, &pending),
        ["pending reward/leaf4 pool>earned/l"],
        "what is held stays so until nobody can dispute it any more"
    );
}

/// A lying committee has the round settled its way; the node wins a dispute of its own afterwards, and one of the
/// refuted shows at last that the node had signed something wrong.
#[test]
fn a_round_that_is_settled_anew_holds_anew_and_gives_back() {
    let checks = [check(3, "a", "fail"), check(4, "b", "fail")];
    let slash = [held("slash", "operator/host", SLASHED, "fail")];
    let most = row("settled", "fail", &[]);
    let mut won = row("settled", "pass", &["a", "b"]);
    won.ground = "right".to_owned();
    let expected = [
        "void end/slash operator/host>slashed",
        "pending slash/n/7/cpu/liar/a checker/a>slashed",
        "pending slash/n/7/cpu/liar/b checker/b>slashed",
    ];
    assert_eq!(ids(Some(&most), &won, &checks, &slash), expected);
    let liars = [
        held("liar/a", "checker/a", SLASHED, LIAR),
        held("liar/b", "checker/b", SLASHED, LIAR),
    ];
    let taken = |verdict| due(&liars[0], Some(verdict), 9).does;
    assert_eq!(taken(&won), Move::Post("liar/a".to_owned()));
    let mut lost = row("settled", "fail", &[]);
    lost.ground = "wrong".to_owned();
    assert_eq!(taken(&lost), Move::Void("liar/a".to_owned()));
    let expected = [
        "void end/liar/a checker/a>slashed",
        "void end/liar/b checker/b>slashed",
        "pending slash/n/7/cpu/settled operator/host>slashed",
        "pending reward/leaf3 pool>earned/a",
        "pending reward/leaf4 pool>earned/b",
    ];
    assert_eq!(ids(Some(&won), &lost, &checks, &liars), expected);
    assert_eq!(ids(Some(&lost), &lost, &checks, &slash), expected[3..]);
}

/// Two whose key was stolen fail a node, and are revoked: what is held is given back, and what was taken; the third keeps
/// its pay.
#[test]
fn what_rests_on_what_is_revoked_is_given_back() {
    let checks = [3, 4, 5].map(|place| check(place, &format!("c{place}"), "fail"));
    let mut void = checks[..2].to_vec();
    void.iter_mut().for_each(|check| check.revoked = Some(8));
    let (failed, open) = (row("failed", "fail", &[]), row("open", "inconclusive", &[]));
    let slash = held("slash", "operator/host", SLASHED, "fail");
    let paid = [3, 5].map(|place| {
        let (id, to) = (format!("reward/leaf{place}"), format!("earned/c{place}"));
        held(&id, POOL, &to, "fail")
    });
    let liar = held("liar/a", "checker/a", SLASHED, LIAR);
    let rows = [vec![slash, liar], paid.to_vec()].concat();
    let change = (Some(&failed), &open);
    let mut named = open.clone();
    named.liars = vec!["a".to_owned()];
    let expected = [
        "void end/slash operator/host>slashed",
        "void end/reward/leaf3 pool>earned/c3",
    ];
    let refuted = (Some(&failed), &named);
    assert_eq!(ids_of(refuted, &[], (&rows, &[]), &void), expected);
    let expected = [
        "posted back/slash slashed>operator/host",
        "posted back/liar/a slashed>checker/a",
        "posted back/reward/leaf3 earned/c3>pool",
    ];
    assert_eq!(ids_of(change, &[], (&[], &rows), &void), expected);
    assert!(ids_of(change, &[], (&rows, &rows), &[]).is_empty());
    // It comes to the same without them: nothing is held or taken twice.
    let same = (Some(&row("settled", "fail", &[])), &failed);
    let kept = &rows[..1];
    assert!(ids_of(same, &[], (kept, &[]), &void).is_empty());
    assert!(ids_of(same, &[], (&[], kept), &void).is_empty());
}

/// Of three fails one is revoked, and another one fails it in its place: the second hold has a name of its own. One that was
/// taken and stays is not taken again.
#[test]
fn a_second_fail_of_a_round_is_held_under_another_name() {
    let mut checks = [3, 4, 5].map(|place| check(place, &format!("c{place}"), "fail"));
    let (failed, open) = (row("failed", "fail", &[]), row("open", "inconclusive", &[]));
    let slash = |checks: &[CheckRow]| ids(Some(&open), &failed, checks, &[]).remove(0);
    let first = slash(&checks);
    checks[0].revoked = Some(8);
    let more = [checks.to_vec(), vec![check(9, "c9", "fail")]].concat();
    assert!(first.starts_with("pending slash/") && slash(&more).starts_with("pending slash/"));
    assert_ne!(first, slash(&more));
    let taken = [held("slash", "operator/host", SLASHED, "fail")];
    let again = ids_of((Some(&open), &failed), &more, (&[], &taken), &[]);
    assert!(again.iter().all(|id| !id.contains("slash/")), "{again:?}");
}

#[test]
fn what_is_due_is_decided_by_its_round() {
    let slash = held("slash", "operator/host", SLASHED, "fail");
    let does = |verdict: Option<&VerdictRow>| due(&slash, verdict, 9).does;
    let (post, void) = (
        Move::Post("slash".to_owned()),
        Move::Void("slash".to_owned()),
    );
    assert_eq!(does(Some(&row("failed", "fail", &[]))), post);
    assert_eq!(does(Some(&row("split", "inconclusive", &[]))), void);
    assert_eq!(does(Some(&row("settled", "pass", &[]))), void);
    assert_eq!(does(None), void);
}
