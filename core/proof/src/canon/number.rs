//! Numbers as ECMAScript's `Number::toString` writes them, which RFC 8785 section 3.2.2.3 asks for.
//!
//! Rust's shortest digits that read back as the same double are the digits that ECMAScript wants,
//! but for a tie, where it takes the even one; and point and exponent go elsewhere.

use serde_json::Number;

/// Writes a number. An integer of more than 53 bits is written as the double that is nearest.
pub(super) fn write(number: &Number, out: &mut String) {
    if let Some(integer) = number.as_u64().filter(|n| *n <= crate::INTEGER_MAX) {
        out.push_str(&integer.to_string());
    } else if let Some(double) = number.as_f64() {
        write_double(double, out);
    }
}

fn write_double(double: f64, out: &mut String) {
    if double == 0.0 {
        out.push('0');
        return;
    }
    if double < 0.0 {
        out.push('-');
    }
    // "d.ddde-7": the shortest digits, and the exponent of the first.
    let shortest = format!("{:e}", double.abs());
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let mut digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    to_even(double.abs(), &mut digits);
    let exponent: i32 = exponent.parse().unwrap_or(0);
    place_point(&digits, exponent + 1, out);
}

/// A double half-way between two shortest spellings is written as the even one: if it is exactly
/// half a unit below its odd last digit, that digit goes down by one.
fn to_even(double: f64, digits: &mut String) {
    // All the digits that any double has.
    let exact: String = format!("{double:.1100e}")
        .chars()
        .take_while(|c| *c != 'e')
        .filter(|c| *c != '.')
        .collect();
    let (head, tail) = exact.split_at(digits.len());
    let half = tail
        .strip_prefix('5')
        .is_some_and(|rest| rest.bytes().all(|b| b == b'0'));
    if half && head.bytes().last().is_some_and(|last| last % 2 == 0) {
        digits.clear();
        digits.push_str(head);
    }
}

/// `digits` times ten to the power of `point - digits.len()`, in the notation of ECMAScript.
fn place_point(digits: &str, point: i32, out: &mut String) {
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    if (count..=21).contains(&point) {
        out.push_str(digits);
        (count..point).for_each(|_| out.push('0'));
    } else if (1..=21).contains(&point) {
        let (whole, fraction) = digits.split_at(usize::try_from(point).unwrap_or(0));
        out.push_str(whole);
        out.push('.');
        out.push_str(fraction);
    } else if (-5..=0).contains(&point) {
        out.push_str("0.");
        (point..0).for_each(|_| out.push('0'));
        out.push_str(digits);
    } else {
        let (first, rest) = digits.split_at(1);
        out.push_str(first);
        if !rest.is_empty() {
            out.push('.');
            out.push_str(rest);
        }
        out.push_str(if point > 0 { "e+" } else { "e-" });
        out.push_str(&(point - 1).unsigned_abs().to_string());
    }
}
