use super::thrifty::Seen;
use super::*;

#[test]
fn a_lane_reads_what_the_fill_holds() {
    let fill = Fill::new(&[1; 32]);
    let blocks: Vec<_> = (0..5).map(|i| fill.block(i)).collect();
    let reads = Reads::new(&[1; 32], &[2; 32], 5);
    let mut found = Vec::new();
    let kept = reads.run(3, 2_500, |place| {
        let word = blocks[place.block as usize][place.word];
        found.push(word);
        word
    });
    assert_eq!(kept.len(), 3);
    let places = reads
        .replay(kept[0], 1_000, &found[1_000..2_000], kept[1])
        .unwrap();
    let distinct: std::collections::BTreeSet<_> =
        places.iter().map(|p| (p.block, p.word)).collect();
    assert!(
        distinct.len() > 950,
        "reads go everywhere: {}",
        distinct.len()
    );
    found[1_500] ^= 1;
    assert_eq!(
        reads.replay(kept[0], 1_000, &found[1_000..2_000], kept[1]),
        None
    );
}

/// A word that is wrong early in the making of a block changes all of it: no part stands alone.
#[test]
fn blocks_differ_everywhere() {
    let fill = Fill::new(&[1; 32]);
    let (a, b) = (fill.block(0), fill.block(1));
    assert!(a.iter().zip(&b).filter(|(x, y)| x == y).count() < 4);
    assert_ne!(fill.digest(0), fill.digest(1));
}

#[test]
fn blocks_are_the_same_one_by_one_and_side_by_side() {
    let fill = Fill::new(&[1; 32]);
    let indices = [9, 2, 2, 0, 7, 1 << 20];
    let mut seen = 0;
    fill.each(&indices, |at, block| {
        assert_eq!(block, fill.block(indices[at]));
        seen += 1;
    });
    assert_eq!(seen, indices.len());
    let leaves: Vec<_> = indices.iter().map(|index| fill.digest(*index)).collect();
    assert_eq!(fill.digests(&indices), leaves);
    let places = indices.map(|block| Place {
        block,
        word: 16_000,
    });
    let words = indices.map(|index| fill.block(index)[16_000]);
    assert_eq!(fill.words(&places), words);
}

/// What is counted below is counted on the blocks that a probe has.
#[test]
fn whoever_has_seen_a_block_made_has_the_same_block() {
    let fill = Fill::new(&[1; 32]);
    let seen = Seen::make(fill.key(), 5, BLOCK_WORDS);
    assert_eq!(seen.block(), fill.block(5));
}

/// Every second word of a block, and every sixteenth of the chain: with one pass after it that answered each read in some
/// eight steps.
#[test]
fn every_second_word_of_a_block_does_not_answer_for_all_of_it() {
    let key = Fill::new(&[1; 32]).key();
    let seen = Seen::make(key, 0, BLOCK_WORDS);
    let cost = seen.cost(&seen.every_other(), 100);
    assert_eq!(cost.missing_permille, 500);
    assert!(cost.steps_a_read > BLOCK_WORDS as f64, "{cost:?}");
}

/// The words that save the most do not save enough: a word that was not kept takes nearly all of its block, and its
/// steps one after the other.
#[test]
fn whichever_part_of_a_block_is_kept_a_word_takes_nearly_all_of_it() {
    const SIZE: usize = 2_048;
    let key = Fill::new(&[1; 32]).key();
    let seen = Seen::make(key, 0, SIZE);
    for (kept, least) in [(500, 0.9), (750, 0.4), (900, 0.1)] {
        let (_, cost) = seen.cheapest(kept);
        let least = least * SIZE as f64;
        assert!(cost.deep_a_read > least, "{kept} of 1000: {cost:?}");
    }
}
