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

/// One of the two factors, by its keys alone.
#[derive(Clone, Debug)]
pub struct Factor {
    rows: Vec<u32>,
    columns: Vec<u32>,
}

/// A sum of products, reduced now and then: each part is below 2^31.
#[derive(Clone, Copy, Default)]
struct Sum(u64);

impl Sum {
    #[inline]
    fn add(&mut self, a: u32, b: u32) {
        let product = u64::from(a) * u64::from(b);
        self.0 += (product & u64::from(P)) + (product >> 31);
    }

    const fn value(self) -> u32 {
        (self.0 % P as u64) as u32
    }
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

    /// Row `i`, or nothing if there is none.
    #[inline]
    fn row(&self, i: usize) -> impl Iterator<Item = u32> + '_ {
        let key = self.rows.get(i).copied();
        let columns = self
            .columns
            .iter()
            .take(if key.is_some() { usize::MAX } else { 0 });
        let key = key.unwrap_or(0);
        // p itself is left standing: it is 0 in every product.
        columns.map(move |column| mix(key ^ column) & P)
    }

    /// This matrix times a vector.
    #[must_use]
    pub fn times(&self, vector: &[u32]) -> Vec<u32> {
        (0..self.rows.len())
            .map(|i| dot(self.row(i), vector))
            .collect()
    }
}

/// Row `i` of C, computed in full: n^2 multiplications. The oracle of the leg.
#[must_use]
pub fn product_row(a: &Factor, b: &Factor, i: usize) -> Vec<u32> {
    let mut sums = vec![Sum::default(); b.columns.len()];
    for (k, left) in a.row(i).enumerate() {
        sums.iter_mut()
            .zip(b.row(k))
            .for_each(|(sum, right)| sum.add(left, right));
    }
    sums.into_iter().map(Sum::value).collect()
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
        let vectors = std::array::from_fn(|n| {
            let s = words(&hash("porc/v1 r", &[open_key, &[n as u8]]));
            let element = |j: u32| mix(mix(j ^ s[0]).wrapping_add(s[1]) ^ s[2]) & P;
            (0..size.min(ROWS_MAX)).map(element).collect()
        });
        let products = std::array::from_fn(|n: usize| {
            let vectors: &[Vec<u32>; VECTORS] = &vectors;
            b.times(&vectors[n])
        });
        Self {
            a,
            vectors,
            products,
        }
    }

    /// Whether `row` is row `i` of C: right length, elements below p, and the sums agree.
    #[must_use]
    pub fn accepts(&self, i: usize, row: &[u32]) -> bool {
        let whole = row.len() == self.a.columns.len() && i < self.a.rows.len();
        whole
            && row.iter().all(|element| *element < P)
            && self
                .vectors
                .iter()
                .zip(&self.products)
                .all(|(vector, product)| {
                    dot(row.iter().copied(), vector) == dot(self.a.row(i), product)
                })
    }
}

#[inline]
fn dot(elements: impl Iterator<Item = u32>, vector: &[u32]) -> u32 {
    let mut sum = Sum::default();
    elements.zip(vector).for_each(|(a, b)| sum.add(a, *b));
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
        let want = |n: usize| i128::from(dot(mine.a.row(0), &mine.products[n]));
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
