//! The compute leg: C = A * B over the field of p = 2^31 - 1.
//!
//! Element (i, j) of A is `mix(row[i] ^ column[j])` without its top bit, and p counts as 0; B has
//! the same with other keys. A prover commits to the rows of C. A checker opens some of them and
//! tests `C_i * r = A_i * (B * r)` for random r that nobody could know (Freivalds, row by row): a
//! wrong row passes with 1/p a vector. A product C * r from the prover would prove nothing, for it
//! can compute A * (B * r) without C.

use super::mixer::{hash, mix, words};
use crate::log::tree::Hash;

/// The field's prime.
pub const P: u32 = (1 << 31) - 1;
/// Rows at full size: 4.4e12 multiplications.
pub const ROWS_FULL: u32 = 16_384;
/// The most rows: sums of so many products fit 64 bits.
pub const ROWS_MAX: u32 = 65_536;
/// Random vectors of a check.
pub const VECTORS: usize = 2;
/// Sums side by side.
const SIDE: usize = 4;
/// Products that are added together: four for each of the sums.
const GROUP: usize = 4 * SIDE;
/// Elements that are made together.
const PIECE: usize = 4 * GROUP;

/// One of the two factors, by its keys alone.
#[derive(Clone, Debug)]
pub struct Factor {
    rows: Vec<u32>,
    columns: Vec<u32>,
}

/// A sum of products of elements below 2^31, in sums side by side that a compiler makes vectors of.
#[derive(Clone, Copy, Default)]
struct Sum([u64; SIDE]);

impl Sum {
    /// Adds the products of two pieces of one length.
    #[inline]
    fn add(&mut self, a: &[u32], b: &[u32]) {
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<GROUP>(), b.as_chunks::<GROUP>());
        for (a, b) in a.iter().zip(b) {
            // Four products fit 64 bits, so they are folded together.
            let mut four = [0; SIDE];
            for (n, (a, b)) in a.iter().zip(b).enumerate() {
                four[n % SIDE] += u64::from(*a) * u64::from(*b);
            }
            self.0
                .iter_mut()
                .zip(four)
                .for_each(|(sum, four)| *sum += folded(four));
        }
        for (a, b) in a_rest.iter().zip(b_rest) {
            self.0[0] += folded(u64::from(*a) * u64::from(*b));
        }
    }

    fn value(self) -> u32 {
        let whole: u64 = self.0.into_iter().map(|sum| sum % u64::from(P)).sum();
        (whole % u64::from(P)) as u32
    }
}

/// The same modulo p, where 2^31 is 1, and below 2^34.
#[inline]
const fn folded(word: u64) -> u64 {
    (word & P as u64) + (word >> 31)
}

/// A row of a factor, or a column, times vectors of its length: its elements are made once, a piece at a
/// time, for all of them.
fn times<const N: usize>(key: u32, keys: &[u32], vectors: [&[u32]; N]) -> [u32; N] {
    let mut sums = [Sum::default(); N];
    let mut piece = [0; PIECE];
    for (turn, keys) in keys.chunks(PIECE).enumerate() {
        let piece = &mut piece[..keys.len()];
        let elements = keys.iter().map(|of| element(key, *of));
        piece
            .iter_mut()
            .zip(elements)
            .for_each(|(place, element)| *place = element);
        let at = turn * PIECE..turn * PIECE + keys.len();
        for (sum, vector) in sums.iter_mut().zip(vectors) {
            sum.add(piece, &vector[at.clone()]);
        }
    }
    sums.map(Sum::value)
}

/// Element of a row's key and a column's, in either order. p itself is left standing: it is 0 in every product.
#[inline]
const fn element(one: u32, other: u32) -> u32 {
    mix(one ^ other) & P
}

impl Factor {
    /// A of a probe.
    #[must_use]
    pub fn a(seed: &Hash, size: u32) -> Self {
        Self::new(&words(&hash("porc/v1 a", &[seed])), size)
    }

    /// B of a probe.
    #[must_use]
    pub fn b(seed: &Hash, size: u32) -> Self {
        Self::new(&words(&hash("porc/v1 b", &[seed])), size)
    }

    fn new(s: &[u32; 8], size: u32) -> Self {
        let keys = |x: u32, y: u32| {
            (0..size.min(ROWS_MAX))
                .map(|i| mix(mix(i ^ x).wrapping_add(y)))
                .collect()
        };
        Self {
            rows: keys(s[0], s[1]),
            columns: keys(s[2], s[3]),
        }
    }

    /// What its rows are mixed with: element (i, j) is `mix(row[i] ^ column[j])` without its top bit.
    #[must_use]
    pub fn row_keys(&self) -> &[u32] {
        &self.rows
    }

    /// The same of its columns.
    #[must_use]
    pub fn column_keys(&self) -> &[u32] {
        &self.columns
    }

    /// This matrix times vectors of its size.
    fn times<const N: usize>(&self, vectors: [&[u32]; N]) -> [Vec<u32>; N] {
        let mut products = [(); N].map(|()| Vec::with_capacity(self.rows.len()));
        for key in &self.rows {
            let sums = times(*key, &self.columns, vectors);
            products
                .iter_mut()
                .zip(sums)
                .for_each(|(product, sum)| product.push(sum));
        }
        products
    }
}

/// Row `i` of C, computed in full: n^2 multiplications; nothing but zeros if there is none. The oracle of the leg.
#[must_use]
pub fn product_row(a: &Factor, b: &Factor, i: usize) -> Vec<u32> {
    let row = a.rows.get(i).into_iter();
    let mut left: Vec<u32> = row
        .flat_map(|key| a.columns.iter().map(|column| element(*key, *column)))
        .collect();
    left.resize(b.rows.len(), 0);
    let column = |key: &u32| times(*key, &b.rows, [&left])[0];
    b.columns.iter().map(column).collect()
}

/// What a checker needs to test rows: its vectors, and B times each.
#[derive(Clone, Debug)]
pub struct RowTest {
    a: Factor,
    vectors: [Vec<u32>; VECTORS],
    products: [Vec<u32>; VECTORS],
}

impl RowTest {
    /// Draws the vectors from a key that was not known when C was committed, and multiplies B by
    /// them: the checker's whole cost, 2 n^2 multiplications.
    #[must_use]
    pub fn new(seed: &Hash, size: u32, open_key: &Hash) -> Self {
        let (a, b) = (Factor::a(seed, size), Factor::b(seed, size));
        let vectors: [Vec<u32>; VECTORS] = std::array::from_fn(|n| {
            let s = words(&hash("porc/v1 r", &[open_key, &[n as u8]]));
            let word = |j: u32| mix(mix(j ^ s[0]).wrapping_add(s[1]) ^ s[2]) & P;
            (0..size.min(ROWS_MAX)).map(word).collect()
        });
        let products = b.times(both(&vectors));
        Self {
            a,
            vectors,
            products,
        }
    }

    /// Whether `row` is row `i` of C: right length, elements below p, and the sums agree.
    #[must_use]
    pub fn accepts(&self, i: usize, row: &[u32]) -> bool {
        let Some(key) = self.a.rows.get(i) else {
            return false;
        };
        row.len() == self.a.columns.len()
            && row.iter().all(|element| *element < P)
            && both(&self.vectors).map(|vector| dot(row, vector))
                == times(*key, &self.a.columns, both(&self.products))
    }
}

fn both(vectors: &[Vec<u32>; VECTORS]) -> [&[u32]; VECTORS] {
    std::array::from_fn(|n| vectors[n].as_slice())
}

fn dot(a: &[u32], b: &[u32]) -> u32 {
    let mut sum = Sum::default();
    sum.add(a, b);
    sum.value()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn right_rows_pass_and_wrong_ones_do_not() {
        let (seed, key, size) = ([1; 32], [2; 32], 48);
        let (a, b) = (Factor::a(&seed, size), Factor::b(&seed, size));
        let test = RowTest::new(&seed, size, &key);
        for i in 0..48 {
            let row = product_row(&a, &b, i);
            assert!(test.accepts(i, &row));
            assert!(!test.accepts((i + 1) % 48, &row), "another row's place");
            for j in [0, 17, 47] {
                let mut wrong = row.clone();
                wrong[j] = (wrong[j] + 1) % P;
                assert!(!test.accepts(i, &wrong));
                wrong[j] = row[j].wrapping_add(P);
                assert!(!test.accepts(i, &wrong), "another spelling of the element");
            }
            assert!(!test.accepts(i, &row[1..]));
        }
        assert!(!test.accepts(48, &product_row(&a, &b, 48)));
    }

    /// Sizes that fit pieces and groups evenly, and others, against the sums as they are written.
    #[test]
    fn rows_are_what_the_formula_says() {
        let p = u128::from(P);
        for size in [1, 3, 15, 16, 17, 63, 64, 65, 79, 130] {
            let (a, b) = (Factor::a(&[6; 32], size), Factor::b(&[6; 32], size));
            let n = size as usize;
            let of = |f: &Factor, i: usize, j: usize| {
                u128::from(mix(f.rows[i] ^ f.columns[j]) & 0x7fff_ffff)
            };
            let vectors: [Vec<u32>; 2] =
                [7, 8].map(|s| (0..size).map(|j| mix(j ^ s) & P).collect());
            let products = b.times([&vectors[0], &vectors[1]]);
            for i in 0..n {
                let sum =
                    |j| ((0..n).map(|k| of(&a, i, k) * of(&b, k, j)).sum::<u128>() % p) as u32;
                let row: Vec<u32> = (0..n).map(sum).collect();
                assert_eq!(product_row(&a, &b, i), row, "row {i} of {size}");
                for (vector, product) in vectors.iter().zip(&products) {
                    let terms = (0..n).map(|j| of(&b, i, j) * u128::from(vector[j]));
                    assert_eq!(product[i], (terms.sum::<u128>() % p) as u32);
                }
            }
            assert_eq!(product_row(&a, &b, n), vec![0; n], "there is no such row");
        }
    }

    /// The most rows, and the largest elements.
    #[test]
    fn sums_do_not_overflow() {
        let n = ROWS_MAX as usize;
        assert_eq!(dot(&vec![P; n], &vec![P; n]), 0);
        assert_eq!(dot(&vec![P - 1; n], &vec![P - 1; n]), ROWS_MAX);
        assert_eq!(
            dot(&vec![P - 1; n - 1], &vec![1; n - 1]),
            P - (ROWS_MAX - 1)
        );
    }

    /// A prover that knows only A * (B * r') for a vector of its own, and makes C up to fit it.
    #[test]
    fn a_made_up_c_that_fits_another_vector_fails() {
        let (seed, size) = ([3; 32], 32);
        let mine = RowTest::new(&seed, size, &[4; 32]);
        let drawn = RowTest::new(&seed, size, &[5; 32]);
        let mut row = vec![0; 32];
        // Two unknowns, two sums: a row of zeros but two that satisfies both vectors of its own.
        let inverse = |x: u32| {
            (0..31).rev().fold(1_u64, |r, bit| {
                let r = r * r % u64::from(P);
                if (P - 2) >> bit & 1 == 1 {
                    r * u64::from(x) % u64::from(P)
                } else {
                    r
                }
            })
        };
        let p = i128::from(P);
        let [r, s] = &mine.vectors;
        let want =
            |n: usize| i128::from(times(mine.a.rows[0], &mine.a.columns, both(&mine.products))[n]);
        let det = (i128::from(r[0]) * i128::from(s[1]) - i128::from(r[1]) * i128::from(s[0]))
            .rem_euclid(p);
        let inv = i128::from(inverse(det as u32));
        row[0] = ((want(0) * i128::from(s[1]) - want(1) * i128::from(r[1])) % p * inv).rem_euclid(p)
            as u32;
        row[1] = ((want(1) * i128::from(r[0]) - want(0) * i128::from(s[0])) % p * inv).rem_euclid(p)
            as u32;
        assert!(
            mine.accepts(0, &row),
            "it fits the vectors that it was made for"
        );
        assert!(!drawn.accepts(0, &row));
    }
}
