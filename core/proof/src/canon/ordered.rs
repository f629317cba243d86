//! Types of ours as RFC 8785 has them, written straight from their fields.
//!
//! A type whose fields are declared in the order of their names needs no tree of values in between, and
//! nothing sorted. Whoever reads such a type and writes it again has checked with one comparison that the bytes
//! are in the one form, that nothing stands twice, and that nothing was skipped.
//!
//! **Invariant.** What [`write()`] gives out, [`super::strict`] takes: a number of more than 53 bits, a float, and a
//! member that is not behind the one before it are errors here, too.

use super::CanonError;
use crate::INTEGER_MAX;
use serde::Serialize;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter, Serializer};
use std::io::{self, Write};

/// A value as RFC 8785 bytes, in which every number is an integer below 2^53.
///
/// # Errors
/// [`CanonError::Number`]; [`CanonError::Form`] for fields that are declared in another order, or names that are
/// not plain ASCII.
pub fn write<T: Serialize>(value: &T) -> Result<Vec<u8>, CanonError> {
    let mut out = Vec::new();
    let mut form = Form::default();
    let written = value.serialize(&mut Serializer::with_formatter(&mut out, &mut form));
    match (form.wrong, written) {
        (Some(wrong), _) => Err(wrong),
        (None, Err(_)) => Err(CanonError::Json),
        (None, Ok(())) => Ok(out),
    }
}

/// What is checked while `serde_json` writes. It escapes as little as RFC 8785 does.
#[derive(Default)]
struct Form {
    /// The last name of each object that is open.
    last: Vec<String>,
    /// The name that is being written.
    name: Option<String>,
    wrong: Option<CanonError>,
}

impl Form {
    fn refuse<T>(&mut self, wrong: CanonError) -> io::Result<T> {
        self.wrong = Some(wrong);
        Err(io::Error::other(wrong))
    }

    fn integer<W: ?Sized + Write>(&mut self, to: &mut W, size: u64, less: bool) -> io::Result<()> {
        if size > INTEGER_MAX {
            return self.refuse(CanonError::Number);
        }
        let sign = if less { "-" } else { "" };
        write!(to, "{sign}{size}")
    }
}

impl Formatter for &mut Form {
    fn write_u8<W: ?Sized + Write>(&mut self, to: &mut W, value: u8) -> io::Result<()> {
        self.integer(to, value.into(), false)
    }

    fn write_u16<W: ?Sized + Write>(&mut self, to: &mut W, value: u16) -> io::Result<()> {
        self.integer(to, value.into(), false)
    }

    fn write_u32<W: ?Sized + Write>(&mut self, to: &mut W, value: u32) -> io::Result<()> {
        self.integer(to, value.into(), false)
    }

    fn write_u64<W: ?Sized + Write>(&mut self, to: &mut W, value: u64) -> io::Result<()> {
        self.integer(to, value, false)
    }

    fn write_i8<W: ?Sized + Write>(&mut self, to: &mut W, value: i8) -> io::Result<()> {
        self.write_i64(to, value.into())
    }

    fn write_i16<W: ?Sized + Write>(&mut self, to: &mut W, value: i16) -> io::Result<()> {
        self.write_i64(to, value.into())
    }

    fn write_i32<W: ?Sized + Write>(&mut self, to: &mut W, value: i32) -> io::Result<()> {
        self.write_i64(to, value.into())
    }

    fn write_i64<W: ?Sized + Write>(&mut self, to: &mut W, value: i64) -> io::Result<()> {
        self.integer(to, value.unsigned_abs(), value < 0)
    }

    fn write_u128<W: ?Sized + Write>(&mut self, to: &mut W, value: u128) -> io::Result<()> {
        self.integer(to, u64::try_from(value).unwrap_or(u64::MAX), false)
    }

    fn write_i128<W: ?Sized + Write>(&mut self, _: &mut W, _: i128) -> io::Result<()> {
        self.refuse(CanonError::Number)
    }

    fn write_f32<W: ?Sized + Write>(&mut self, _: &mut W, _: f32) -> io::Result<()> {
        self.refuse(CanonError::Number)
    }

    fn write_f64<W: ?Sized + Write>(&mut self, _: &mut W, _: f64) -> io::Result<()> {
        self.refuse(CanonError::Number)
    }

    fn write_number_str<W: ?Sized + Write>(&mut self, _: &mut W, _: &str) -> io::Result<()> {
        self.refuse(CanonError::Number)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.last.push(String::new());
        to.write_all(b"{")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        self.name = Some(String::new());
        if first { Ok(()) } else { to.write_all(b",") }
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        to: &mut W,
        part: &str,
    ) -> io::Result<()> {
        if let Some(name) = &mut self.name {
            name.push_str(part);
        }
        to.write_all(part.as_bytes())
    }

    fn write_char_escape<W: ?Sized + Write>(
        &mut self,
        to: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        match self.name {
            Some(_) => self.refuse(CanonError::Form),
            None => CompactFormatter.write_char_escape(to, escape),
        }
    }

    fn end_object_key<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        let name = self.name.take().unwrap_or_default();
        let plain = name.bytes().all(|byte| byte.is_ascii_graphic());
        match self.last.last_mut() {
            // Of plain ASCII alone the order of bytes is that of UTF-16.
            Some(last) if plain && *last < name => {
                *last = name;
                Ok(())
            }
            _ => self.refuse(CanonError::Form),
        }
    }

    fn end_object<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.last.pop();
        to.write_all(b"}")
    }
}

#[cfg(test)]
mod test {
    use super::super::{strict, to_bytes};
    use super::*;
    use serde_json::{Value, json};

    #[derive(Serialize)]
    struct Ordered<'a> {
        #[serde(rename = "_b")]
        first: &'a str,
        a: Vec<Inner>,
        aa: Option<i64>,
        n: u64,
    }

    #[derive(Serialize)]
    struct Inner {
        z: bool,
    }

    #[test]
    fn what_is_declared_in_order_is_written_as_its_value_is() {
        for text in ["", "plain", "\"\\/\u{8}\t\n\u{c}\r\u{1f}\u{7f}é\u{2028}😀"] {
            let value = Ordered {
                first: text,
                a: vec![Inner { z: true }, Inner { z: false }],
                aa: Some(-5),
                n: INTEGER_MAX,
            };
            let written = write(&value).unwrap();
            assert_eq!(written, to_bytes(&serde_json::to_value(&value).unwrap()));
            assert!(strict(&written).is_ok());
        }
    }

    #[test]
    fn what_has_no_one_form_is_refused() {
        #[derive(Serialize)]
        struct Disordered {
            b: u8,
            a: u8,
        }
        assert_eq!(write(&Disordered { b: 0, a: 0 }), Err(CanonError::Form));
        let in_array = json!([{ "a": 1 }, { "a": 2 }]);
        assert_eq!(write(&in_array), Ok(to_bytes(&in_array)));
        for name in ["", "é", "a\"b", " "] {
            let mut object = serde_json::Map::new();
            object.insert(name.to_owned(), Value::Null);
            assert_eq!(write(&object), Err(CanonError::Form), "{name:?}");
        }
        assert_eq!(write(&(INTEGER_MAX + 1)), Err(CanonError::Number));
        assert_eq!(write(&(-(INTEGER_MAX as i64) - 1)), Err(CanonError::Number));
        assert_eq!(write(&1.0), Err(CanonError::Number));
        assert_eq!(write(&u128::MAX), Err(CanonError::Number));
    }
}
