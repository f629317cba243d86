use super::*;
use crate::encoding::array_from_base64;
use proptest::prelude::*;
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../vectors/public.json")).unwrap()
}

fn leaves(count: usize) -> Vec<Hash> {
    (0..count).map(|i| leaf(&i.to_le_bytes())).collect()
}

#[test]
fn an_inclusion_proof_of_oak() {
    let vector = &vectors()["oak"]["inclusion"];
    let number = |name: &str| vector[name].as_u64().unwrap();
    let hash = |value: &Value| array_from_base64(value.as_str().unwrap()).unwrap();
    let path: Vec<Hash> = vector["path"]
        .as_array()
        .unwrap()
        .iter()
        .map(hash)
        .collect();
    let entry = leaf(vector["entry"].as_str().unwrap().as_bytes());
    let (root, size, index) = (hash(&vector["root"]), number("size"), number("index"));
    assert!(includes::<LogHasher>(&root, size, index, &entry, &path));
    assert!(!includes::<LogHasher>(
        &root,
        size,
        index - 1,
        &entry,
        &path
    ));
    assert!(!includes::<LogHasher>(
        &root,
        size,
        index,
        &entry,
        &path[1..]
    ));
}

#[test]
fn every_proof_of_every_small_tree() {
    for size in 1..=33_usize {
        let leaves = leaves(size);
        let whole = root::<LogHasher>(&leaves);
        for index in 0..size {
            let path = path::<LogHasher>(&leaves, index).unwrap();
            let at = |i: usize, path: &[Hash]| {
                includes::<LogHasher>(&whole, size as u64, i as u64, &leaves[index], path)
            };
            assert!(at(index, &path), "{index} of {size}");
            (0..size)
                .filter(|i| *i != index)
                .for_each(|i| assert!(!at(i, &path)));
            assert!(!at(index, &[&path[..], &[[0; 32]]].concat()));
        }
        for old in 0..=size {
            let proof = consistency::<LogHasher>(&leaves, old).unwrap();
            let before = (old as u64, &root::<LogHasher>(&leaves[..old]));
            assert!(
                extends::<LogHasher>(before, (size as u64, &whole), &proof),
                "{old} to {size}"
            );
            assert!(!extends::<LogHasher>(
                before,
                (size as u64, &whole),
                &[&proof[..], &[[0; 32]]].concat()
            ));
            if old > 0 {
                let other = (old as u64, &[7; 32]);
                assert!(!extends::<LogHasher>(other, (size as u64, &whole), &proof));
            }
        }
    }
}

proptest! {
    #[test]
    fn a_changed_proof_proves_nothing(
        size in 2_usize..200, at in any::<prop::sample::Index>(), old in any::<prop::sample::Index>(),
        byte in any::<prop::sample::Index>(), bit in 0_u8..8,
    ) {
        let leaves = leaves(size);
        let (index, old) = (at.index(size), old.index(size - 1) + 1);
        let whole = root::<LogHasher>(&leaves);
        let mut path = path::<LogHasher>(&leaves, index).unwrap();
        let place = byte.index(path.len() * 32);
        path[place / 32][place % 32] ^= 1 << bit;
        prop_assert!(!includes::<LogHasher>(&whole, size as u64, index as u64, &leaves[index], &path));
        let mut proof = consistency::<LogHasher>(&leaves, old).unwrap();
        if !proof.is_empty() {
            let place = byte.index(proof.len() * 32);
            proof[place / 32][place % 32] ^= 1 << bit;
            let before = (old as u64, &root::<LogHasher>(&leaves[..old]));
            prop_assert!(!extends::<LogHasher>(before, (size as u64, &whole), &proof));
        }
    }

    #[test]
    fn no_numbers_panic(size in any::<u64>(), index in any::<u64>(), count in 0_usize..70) {
        let path = vec![[0; 32]; count];
        let _ = includes::<LogHasher>(&[1; 32], size, index, &[2; 32], &path);
        let _ = extends::<LogHasher>((index, &[1; 32]), (size, &[2; 32]), &path);
    }
}
