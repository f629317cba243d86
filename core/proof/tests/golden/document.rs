//! The golden vectors, made from fixed seeds: what another verifier must agree with.

use nearlight_proof::beacon::chain;
use nearlight_proof::canon;
use nearlight_proof::encoding::hex;
use nearlight_proof::key::{KeyId, SecretKey};
use nearlight_proof::log::note::{Algorithm, VerifierKey};
use nearlight_proof::log::tree::{self, Hash, LogHasher, leaf};
use nearlight_proof::log::{Checkpoint, LogProof, Policy, cosignature};
use nearlight_proof::porc::commit::{CommitHasher, Commitment, draw};
use nearlight_proof::porc::committee::{Candidate, Checker, assign, due, set_root};
use nearlight_proof::porc::compute::{Factor, product_row};
use nearlight_proof::porc::memory::{Fill, Reads};
use nearlight_proof::porc::mixer::{digest, hash, mix};
use nearlight_proof::porc::render::{Scene, frame_key};
use nearlight_proof::porc::seed::{Probe, Secrets, seed};
use nearlight_proof::receipt::directory::{Entry, Role};
use nearlight_proof::receipt::envelope::Envelope;
use nearlight_proof::receipt::predicate::{Dispute, Predicate, Revoke};
use nearlight_proof::receipt::statement::{Assurance, Countersign, Head, Statement, Subject};
use nearlight_proof::receipt::verify::PolicySource;
use nearlight_proof::receipt::{Directory, Given, verify};
use serde_json::{Value, json};

mod contested;
mod due;
mod others;
mod pages;
mod played;
mod rounds;

const NOW: u64 = 1_800_000_000;
/// Witnesses enough for the policy.
const TWO: [u8; 2] = [21, 23];

/// The whole document, as the file has it.
pub(crate) fn document() -> String {
    let value = json!({
        "receipts": receipts(), "porc": porc(), "beacon_chain": beacon(), "rounds": rounds::rounds(),
        "directory_pages": pages::pages(), "due": due::due(),
    });
    let mut text = serde_json::to_string_pretty(&value).expect("plain JSON");
    text.push('\n');
    text
}

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn vkey(name: &str, algorithm: Algorithm, seed: u8) -> String {
    VerifierKey::new(name, algorithm, secret(seed).public())
        .expect("a plain name")
        .to_string()
}

fn directory() -> Vec<u8> {
    let entry = |seed: u8, role, operator: &str| Entry {
        key: hex(secret(seed).public().as_bytes()),
        role,
        operator: operator.to_owned(),
        licence: None,
        from_s: NOW - 1000,
        until_s: NOW + 1000,
        revoked_at_s: None,
    };
    let keys = vec![
        entry(10, Role::Node, "north"),
        entry(11, Role::Checker, "east"),
        entry(12, Role::Broker, "near"),
        entry(13, Role::Referee, "west"),
        entry(14, Role::Checker, "south"),
        entry(20, Role::Log, "near"),
        entry(21, Role::Witness, "w1"),
        entry(22, Role::Witness, "w2"),
        entry(23, Role::Witness, "w3"),
    ];
    Directory::sign(1, NOW, keys, &secret(99)).expect("a directory that fits")
}

fn policy() -> String {
    let mut text = format!("log {}\n", vkey("log.example", Algorithm::Ed25519, 20));
    for seed in [21, 22, 23] {
        let key = vkey(&format!("w{seed}"), Algorithm::CosignatureV1, seed);
        text.push_str(&format!("witness w{seed} {key}\n"));
    }
    text + "group two 2 w21 w22 w23\nquorum two\n"
}

fn signed(
    issuer: u8,
    subject: KeyId,
    countersign: Countersign,
    predicate: Predicate,
    by: &[u8],
) -> Vec<u8> {
    let statement = Statement {
        subject: Subject {
            name: "receipt".to_owned(),
            sha256: subject,
        },
        head: Head {
            issuer: secret(issuer).public().id(),
            issued_at_s: NOW,
            countersign,
            assurance: Assurance::Timing,
            does_not_prove: vec!["that the card is the one it is said to be".to_owned()],
            evidence: Vec::new(),
        },
        predicate,
    };
    let mut envelope = statement.envelope().expect("a statement that fits");
    by.iter().for_each(|seed| envelope.sign(&secret(*seed)));
    envelope.to_bytes()
}

fn proof_of(receipt: &[u8], witnesses: &[u8]) -> Vec<u8> {
    let mut leaves: Vec<_> = (0..9_u8).map(|i| leaf(&[i])).collect();
    leaves.insert(4, leaf(receipt));
    let root = tree::root::<LogHasher>(&leaves);
    let checkpoint = Checkpoint {
        origin: "log.example".to_owned(),
        size: 10,
        root,
    };
    let mut checkpoint = checkpoint.sign(&secret(20)).expect("a plain origin");
    for seed in witnesses {
        let name = format!("w{seed}");
        let line = cosignature::sign(checkpoint.text(), &name, &secret(*seed), NOW + 5);
        checkpoint.add(line.expect("a plain name"));
    }
    let path = tree::path::<LogHasher>(&leaves, 4).expect("a leaf of the tree");
    LogProof {
        index: 4,
        path,
        checkpoint,
    }
    .to_string()
    .into_bytes()
}

/// A receipt, its proof and the later entries that a verifier is given with it.
type Case = (&'static str, Vec<u8>, Vec<u8>, Vec<Vec<u8>>);

fn revoke(reason: &str) -> Predicate {
    Predicate::Revoke(Revoke {
        reason: reason.to_owned(),
        from_s: 0,
    })
}

fn dispute(claim: &str) -> Predicate {
    Predicate::Dispute(Dispute {
        claim: claim.to_owned(),
        deadline_s: NOW + 60,
    })
}

fn cases() -> Vec<Case> {
    let node = secret(10).public().id();
    let claim = dispute("the reads were late: 1 \u{b5}s, \u{1f600}");
    let good = signed(11, node, Countersign::Node(node), claim, &[11, 10]);
    let target = KeyId(leaf(&good));
    let revoked = signed(
        12,
        target,
        Countersign::None,
        revoke("a \"lost\" key\n"),
        &[12],
    );
    let contested = signed(10, target, Countersign::None, dispute("no"), &[10]);
    let unsigned = signed(11, node, Countersign::Node(node), revoke(""), &[11, 12]);
    let stranger = signed(50, node, Countersign::None, revoke(""), &[50]);
    let spaced = [&good[..], b" "].concat();
    let right = |entry: &Vec<u8>| (entry.clone(), proof_of(entry, &TWO));
    let case = |name, (entry, proof), later| (name, entry, proof, later);
    let mut cases = vec![
        case("right in everything", right(&good), vec![]),
        case(
            "a third witness",
            (good.clone(), proof_of(&good, &[21, 22, 23])),
            vec![],
        ),
        case(
            "one witness",
            (good.clone(), proof_of(&good, &[22])),
            vec![],
        ),
        case(
            "another entry's proof",
            (good.clone(), proof_of(&revoked, &TWO)),
            vec![],
        ),
        case("revoked later", right(&good), vec![revoked]),
        case(
            "what is no check is contested",
            right(&good),
            vec![contested],
        ),
        case("somebody signed for the node", right(&unsigned), vec![]),
        case("an issuer that nobody listed", right(&stranger), vec![]),
        case("a space more", right(&spaced), vec![]),
    ];
    cases.extend(contested::cases());
    cases.extend(played::cases());
    cases.extend(others::cases());
    cases
}

fn receipts() -> Value {
    let (directory_bytes, policy_text) = (directory(), policy());
    let authority = secret(99).public();
    let directory = Directory::open(&directory_bytes, &authority).expect("signed above");
    let policy = Policy::parse(&policy_text).expect("a policy");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let judged = |(name, receipt, proof, later): Case| {
        let later: Vec<_> = later
            .iter()
            .map(|e| (e.clone(), proof_of(e, &TWO)))
            .collect();
        let pairs: Vec<_> = later.iter().map(|(a, b)| (&a[..], &b[..])).collect();
        let given = Given {
            policy: &policy,
            policy_source: PolicySource::Own,
            directory: &directory,
            later: &pairs,
        };
        let outcome = verify(&receipt, &proof, &given).outcome;
        let later: Vec<_> = later
            .iter()
            .map(|(a, b)| json!([text(a), text(b)]))
            .collect();
        json!({
            "name": name, "envelope": text(&receipt), "proof": text(&proof), "later": later,
            "outcome": outcome, "exit_code": outcome.exit_code(),
        })
    };
    json!({
        "authority": hex(authority.as_bytes()),
        "directory": text(&directory_bytes),
        "policy": policy_text,
        "cases": cases().into_iter().map(judged).collect::<Vec<_>>(),
    })
}

fn porc() -> Value {
    let secrets = Secrets {
        nonce: [1; 32],
        read: [2; 32],
        open: [3; 32],
    };
    let probe = Probe {
        beacon: [4; 32],
        node: KeyId([5; 32]),
        gpu: "GPU-0000".to_owned(),
        id: "probe-1".to_owned(),
    };
    let seed = seed(&probe, &secrets.nonce);
    let (rows, blocks, lanes, reads, frames, tiles, steps) = (12, 3, 2, 1_200, 2, 2, 2);
    let (a, b) = (Factor::a(&seed, rows), Factor::b(&seed, rows));
    let matrix: Vec<_> = (0..rows as usize).map(|i| product_row(&a, &b, i)).collect();
    let fill = Fill::new(&seed);
    let filled: Vec<_> = (0..blocks).map(|i| fill.block(i)).collect();
    let chains = Reads::new(&seed, &secrets.read, blocks);
    let word =
        |place: nearlight_proof::porc::memory::Place| filled[place.block as usize][place.word];
    let kept: Vec<_> = (0..lanes)
        .map(|lane| chains.run(lane, reads, word))
        .collect();
    let (mut roots, mut previous) = (Vec::new(), [0; 32]);
    for frame in 0..frames {
        let scene = Scene::new(&frame_key(&seed, frame, &previous));
        let leaves: Vec<_> = (0..tiles).map(|i| scene.digest(i, steps)).collect();
        previous = tree::root::<CommitHasher>(&leaves);
        roots.push(previous);
    }
    let over = |lists: &[Vec<u32>]| {
        tree::root::<CommitHasher>(&lists.iter().map(|list| digest(list)).collect::<Vec<_>>())
    };
    let commitment = Commitment {
        matrix: over(&matrix),
        fill: over(&filled),
        reads: over(&kept),
        frames: tree::root::<CommitHasher>(&roots),
    };
    let open_key = commitment.open_key(&secrets.open);
    let mixed = [0_u32, 1, 0xffff_ffff, 0x1234_5678].map(|word| [word, mix(word)]);
    let hexes = |hashes: &[Hash]| hashes.iter().map(|hash| hex(hash)).collect::<Vec<_>>();
    json!({
        "mix": mixed,
        "hash": hex(&hash("a label", &[b"one", b""])),
        "secret_commitments": hexes(&secrets.commitments()),
        "seed": hex(&seed),
        "sizes": { "rows": rows, "blocks": blocks, "lanes": lanes, "reads": reads, "frames": frames, "tiles": tiles, "steps": steps },
        "matrix": matrix,
        "block_0_begins": filled[0][..8].to_vec(),
        "kept": kept,
        "frame_roots": hexes(&roots),
        "commitment": hexes(&[commitment.matrix, commitment.fill, commitment.reads, commitment.frames]),
        "open_key": hex(&open_key),
        "draw_rows_5_of_1000": draw(&open_key, "rows", 1000, 5),
        "committee": committee(),
        "refused": refused(),
    })
}

/// What is of the first edition of the memory leg, as it once was right: the same seed's blocks, and how a probe began.
fn refused() -> Value {
    let key = secret(1);
    let none = "00".repeat(32);
    let begin = json!({
        "beacon": none, "checker": hex(key.public().as_bytes()), "checkers": none, "class": "golden", "gpu": "GPU-0000",
        "node": none, "probe": "probe-1", "round": 7, "secrets": [none, none, none], "table": none,
        "sizes": { "rows": 12, "blocks": 3, "lanes": 2, "reads": 1_200, "frames": 2, "tiles": 2, "steps": 96 },
    });
    let kind = "application/vnd.nearlight.porc-begin.v1+json";
    let mut begin = Envelope::new(kind, canon::to_bytes(&begin));
    begin.sign(&key);
    json!({
        "begin": String::from_utf8_lossy(&begin.to_bytes()),
        "block_0_begins": [
            3_631_957_783_u32, 1_003_371_385, 2_331_703_070_u32, 3_312_103_285_u32, 2_929_452_794_u32, 1_013_251_216,
            863_076_738, 1_059_894_807
        ],
        "fill_root": "4dba460fd8495cc96f9792f02aff6243297db305f36b5f122bf2ca613a5f8c61",
    })
}

fn committee() -> Value {
    let checkers: Vec<_> = (0..8_u8)
        .map(|i| Checker {
            key: KeyId([i; 32]),
            operator: format!("op{}", i % 3),
        })
        .collect();
    let node = Candidate {
        key: KeyId([5; 32]),
        operator: "op1".to_owned(),
    };
    let chosen: Vec<_> = assign(&[4; 32], &node, &checkers, 3)
        .iter()
        .map(|c| c.key.to_string())
        .collect();
    let rounds: Vec<_> = (0..20_u64)
        .filter(|round| due(*round, "host-1", 7))
        .collect();
    json!({ "set_root": hex(&set_root(&checkers)), "assigned": chosen, "due_host_1_every_7": rounds })
}

fn beacon() -> Value {
    let value = |round| hex(&chain::value(&[6; 32], 50, round).expect("a round of the chain"));
    json!({ "secret": hex(&[6; 32]), "length": 50, "anchor": value(0), "round_20": value(20) })
}

/// The document is JSON of ours.
pub(crate) fn is_plain(text: &str) -> bool {
    canon::read(text.as_bytes()).is_ok_and(|value| canon::integers_only(&value))
}
