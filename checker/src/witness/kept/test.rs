use super::*;
use nearlight_proof::log::tree::{Hash, LogHasher, consistency, leaf, root};
use std::os::unix::fs::PermissionsExt;

const NOW_S: u64 = 1_800_000_000;

fn secret() -> SecretKey {
    SecretKey::from_seed(&[4; 32])
}

fn log() -> VerifierKey {
    VerifierKey::new("log.example", Algorithm::Ed25519, secret().public()).unwrap()
}

fn leaves(of: &str, count: usize) -> Vec<Hash> {
    let one = |n: usize| leaf(if n < 4 { "same" } else { of }.as_bytes());
    (0..count).map(one).collect()
}

/// What a log with these leaves asks of who has seen `old` of them.
fn asked(leaves: &[Hash], old: usize) -> Candidate {
    let head = Checkpoint {
        origin: "log.example".to_owned(),
        size: leaves.len() as u64,
        root: root::<LogHasher>(leaves),
    };
    Candidate {
        old: old as u64,
        proof: consistency::<LogHasher>(leaves, old).unwrap(),
        note: head.sign(&secret()).unwrap(),
    }
}

fn refused(signed: Result<(Checkpoint, NoteSignature), Unsigned>) -> NotCosigned {
    match signed {
        Err(Unsigned::Refused(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_signed_is_there_again_after_every_end() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (leaves("one", 20), leaves("other", 20));
    let mut kept = Kept::open(dir.path()).unwrap();
    let key = kept.key();
    let (head, line) = kept.cosign(&log(), &asked(&one[..7], 0), NOW_S).unwrap();
    let mut note = asked(&one[..7], 0).note;
    note.add(line);
    assert_eq!(cosignature::verify(&note, &key), Ok(NOW_S));
    assert_eq!(kept.seen(&log()), Some(&head));
    assert!(matches!(
        Kept::open(dir.path()),
        Err(Failure::WitnessRuns(_))
    ));
    drop(kept);

    let mut kept = Kept::open(dir.path()).unwrap();
    assert_eq!((kept.key(), kept.seen(&log())), (key, Some(&head)));
    let fork = refused(kept.cosign(&log(), &asked(&other[..7], 7), NOW_S));
    assert_eq!(fork, NotCosigned::Fork { size: 7 });
    let again = kept.cosign(&log(), &asked(&one[..7], 7), NOW_S + 1);
    assert_eq!(
        again.unwrap().0,
        head,
        "what was signed may be signed again"
    );
    let behind = refused(kept.cosign(&log(), &asked(&one[..5], 0), NOW_S));
    assert_eq!(behind, NotCosigned::Behind { size: 5, seen: 7 });
    let candidate = asked(&other[..7], 7);
    let file = kept
        .keep_evidence(&log(), &candidate, (&fork, NOW_S))
        .unwrap();
    let same = kept.keep_evidence(&log(), &candidate, (&fork, NOW_S + 9));
    assert_eq!(same.unwrap(), file, "once");
    let evidence: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let signed = [
        Note::parse(evidence["cosigned"].as_str().unwrap().as_bytes()).unwrap(),
        Candidate::parse(evidence["refused"].as_str().unwrap())
            .unwrap()
            .note,
    ];
    let heads = signed.map(|note| Checkpoint::open(&note, &log()).unwrap());
    assert_eq!(heads[0].size, heads[1].size);
    assert_ne!(
        heads[0].root, heads[1].root,
        "which the log's key alone can make"
    );
    let told = standing(dir.path()).unwrap();
    assert!(
        told.contains("cosigned 7 entries") && told.contains("refused 1 heads"),
        "{told}"
    );
}

/// The disk takes nothing: the file's directory cannot be written.
#[test]
fn a_head_that_is_not_on_the_disk_is_not_signed() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (one, other) = (leaves("one", 20), leaves("other", 20));
    let mut kept = Kept::open(&data).unwrap();
    kept.cosign(&log(), &asked(&one[..7], 0), NOW_S).unwrap();
    let (away, path) = (dir.path().join("away"), data.join(FILE));
    std::fs::rename(&data, &away).unwrap();
    let unsigned = kept.cosign(&log(), &asked(&one, 7), NOW_S);
    assert!(matches!(unsigned, Err(Unsigned::Disk(_))), "{unsigned:?}");
    std::fs::rename(&away, &data).unwrap();
    // Nobody has a line for that head: another one that goes on from the last is as good.
    let mut forked = one[..7].to_vec();
    forked.extend(&other[7..12]);
    let (head, _) = kept.cosign(&log(), &asked(&forked, 7), NOW_S).unwrap();
    assert_eq!(head.size, 12);
    let why = refused(kept.cosign(&log(), &asked(&one, 12), NOW_S));
    assert_eq!(why, NotCosigned::NotProven { size: 20, seen: 12 });
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it has the key");
}

#[test]
fn a_key_without_what_it_has_signed_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut kept = Kept::open(dir.path()).unwrap();
    let key = kept.key();
    let one = leaves("one", 9);
    kept.cosign(&log(), &asked(&one, 0), NOW_S).unwrap();
    drop(kept);
    let path = dir.path().join(FILE);
    let whole = std::fs::read_to_string(&path).unwrap();
    for damaged in [
        &whole[..whole.len() / 2],
        "",
        "{}",
        &whole.replace("log.example", "log.other"),
    ] {
        std::fs::write(&path, damaged).unwrap();
        let opened = Kept::open(dir.path());
        assert!(
            matches!(opened, Err(Failure::WitnessDamaged(_))),
            "{damaged}"
        );
    }
    std::fs::remove_file(&path).unwrap();
    let kept = Kept::open(dir.path()).unwrap();
    assert_ne!(kept.key(), key);
    assert_eq!(kept.seen(&log()), None);
}

#[test]
fn a_log_keeps_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let mut kept = Kept::open(dir.path()).unwrap();
    let one = leaves("one", 9);
    kept.cosign(&log(), &asked(&one, 0), NOW_S).unwrap();
    let other = SecretKey::from_seed(&[5; 32]);
    let key = VerifierKey::new("log.example", Algorithm::Ed25519, other.public()).unwrap();
    let mut candidate = asked(&one, 9);
    let head = Checkpoint::parse(candidate.note.text()).unwrap();
    candidate.note = head.sign(&other).unwrap();
    let unsigned = kept.cosign(&key, &candidate, NOW_S);
    assert!(
        matches!(unsigned, Err(Unsigned::OtherKey(_))),
        "{unsigned:?}"
    );
}
