use super::*;
use crate::encoding::from_base64;
use crate::log::checkpoint::Checkpoint;
use crate::log::note::Note;
use crate::log::tree::{self, extends, includes, leaf};
use serde_json::Value;
use std::collections::BTreeMap;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../vectors/public.json")).unwrap()
}

/// The leaves of a log as its tiles, built level by level.
fn tiles_of(leaves: &[Hash]) -> BTreeMap<Tile, Vec<Hash>> {
    let (mut tiles, mut nodes, size) = (BTreeMap::new(), leaves.to_vec(), leaves.len() as u64);
    for level in 0.. {
        for (index, hashes) in nodes.chunks(256).enumerate() {
            let tile = Tile::within(size, level, index as u64).unwrap();
            tiles.insert(tile, hashes.to_vec());
        }
        nodes = nodes
            .chunks_exact(256)
            .map(tree::root::<LogHasher>)
            .collect();
        if nodes.is_empty() {
            return tiles;
        }
    }
    unreachable!("a tree has few levels")
}

#[test]
fn paths_as_the_specification_has_them() {
    let tile = Tile {
        level: 1,
        index: 1_234_067,
        width: 256,
    };
    assert_eq!(tile.to_string(), "tile/1/x001/x234/067");
    assert_eq!(
        Tile::within(70_000, 0, 273).unwrap().to_string(),
        "tile/0/273.p/112"
    );
    assert_eq!(
        Tile::within(256, 1, 0).unwrap().to_string(),
        "tile/1/000.p/1"
    );
    assert_eq!(Tile::within(256, 0, 1), None);
    for path in ["tile/0/000", "tile/63/x999/999.p/255", "tile/2/005.p/1"] {
        assert_eq!(Tile::parse(path).unwrap().to_string(), path);
    }
    for path in [
        "tile/00/000",
        "tile/64/000",
        "tile/0/0",
        "tile/0/x000/000",
        "tile/0/001/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/x001",
        "tile/0/",
    ] {
        assert_eq!(Tile::parse(path), None, "{path}");
    }
    // 273 full tiles and one partial of level 0, one full and one partial of level 1, one of 2.
    assert_eq!(written(0, 70_000).unwrap().len(), 274 + 2 + 1);
    let grown: Vec<_> = written(255, 257)
        .unwrap()
        .iter()
        .map(Tile::to_string)
        .collect();
    assert_eq!(grown, ["tile/0/000", "tile/0/001.p/1", "tile/1/000.p/1"]);
}

#[test]
fn tiles_and_bundles_of_tessera() {
    let vectors = vectors();
    let file =
        |name: String| from_base64(vectors["tessera"]["files"][name].as_str().unwrap()).unwrap();
    for size in 1..=15_u64 {
        let note = Note::parse(&file(format!("checkpoint.{size}"))).unwrap();
        let checkpoint = Checkpoint::parse(note.text()).unwrap();
        let tile = Tile::within(size, 0, 0).unwrap();
        let held = hashes(&tile, &file(tile.to_string())).unwrap();
        assert_eq!(root(size, |_| Some(held.clone())), Some(checkpoint.root));
        let bundle_bytes = file(tile.bundle_path());
        let read = entries(&bundle_bytes).unwrap();
        assert_eq!(
            read.iter().map(|entry| leaf(entry)).collect::<Vec<_>>(),
            held
        );
        assert_eq!(bundle(read).unwrap(), bundle_bytes);
    }
}

#[test]
fn the_mirror_of_sunlight() {
    let vectors = vectors();
    let tiles = &vectors["sunlight"]["tiles"];
    let fetch = |tile: Tile| {
        let name = tile.to_string();
        let text = tiles[name.strip_prefix("tile/").unwrap()].as_str()?;
        hashes(&tile, &from_base64(text).unwrap())
    };
    let note = vectors["sunlight"]["cosigned"]["mirror.example.org"][1]
        .as_str()
        .unwrap();
    let checkpoint = Checkpoint::parse(Note::parse(note.as_bytes()).unwrap().text()).unwrap();
    assert_eq!(root(300, fetch), Some(checkpoint.root));
    let leaves = fetch(Tile::within(300, 0, 0).unwrap()).unwrap();
    let path = inclusion(300, 77, fetch).unwrap();
    assert!(includes::<LogHasher>(
        &checkpoint.root,
        300,
        77,
        &leaves[77],
        &path
    ));
}

#[test]
fn proofs_from_tiles_are_those_from_leaves() {
    let leaves: Vec<_> = (0..1500_u32).map(|i| leaf(&i.to_be_bytes())).collect();
    for size in [1, 2, 255, 256, 257, 511, 512, 1000, 1500] {
        let leaves = &leaves[..size];
        let tiles = tiles_of(leaves);
        let fetch = |tile: Tile| tiles.get(&tile).cloned();
        let whole = root(size as u64, fetch).unwrap();
        assert_eq!(whole, tree::root::<LogHasher>(leaves));
        for index in [0, size / 3, size - 1] {
            let path = inclusion(size as u64, index as u64, fetch).unwrap();
            assert_eq!(Some(path), tree::path::<LogHasher>(leaves, index));
        }
        for old in [0, 1, size / 2, size - 1, size] {
            let proof = consistency(old as u64, size as u64, fetch).unwrap();
            assert_eq!(
                Some(&proof),
                tree::consistency::<LogHasher>(leaves, old).as_ref()
            );
            let before = tree::root::<LogHasher>(&leaves[..old]);
            assert!(extends::<LogHasher>(
                (old as u64, &before),
                (size as u64, &whole),
                &proof
            ));
        }
    }
}

#[test]
fn what_is_no_bundle() {
    assert_eq!(entries(&[0, 2, 1]), None);
    assert_eq!(entries(&[0]), None);
    assert_eq!(entries(&[0; 2 * 256]).map(|e| e.len()), Some(256));
    assert_eq!(entries(&[0; 2 * 257]), None);
    assert!(bundle([&[0; ENTRY_BYTES_MAX + 1][..]]).is_none());
}
