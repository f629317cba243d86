use super::*;
use crate::encoding::from_base64;
use proptest::prelude::*;

#[test]
fn the_vectors_that_rfc_8785_refers_to() {
    let vectors: Value = serde_json::from_str(include_str!("../../vectors/public.json")).unwrap();
    let jcs = vectors["jcs"].as_object().unwrap();
    assert_eq!(jcs.len(), 6);
    for (name, vector) in jcs {
        let input = from_base64(vector["input"].as_str().unwrap()).unwrap();
        let output = from_base64(vector["output"].as_str().unwrap()).unwrap();
        assert_eq!(to_bytes(&read(&input).unwrap()), output, "{name}");
        assert!(parse(&output).is_ok(), "{name}");
        assert_eq!(parse(&input), Err(CanonError::Form), "{name}");
    }
}

#[test]
fn numbers_of_rfc_8785_appendix_b() {
    for (bits, text) in [
        (0x0000_0000_0000_0000_u64, "0"),
        (0x8000_0000_0000_0000, "0"),
        (0x0000_0000_0000_0001, "5e-324"),
        (0x8000_0000_0000_0001, "-5e-324"),
        (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
        (0x4340_0000_0000_0000, "9007199254740992"),
        (0x4430_0000_0000_0000, "295147905179352830000"),
        (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
        (0x44b5_2d02_c7e1_4af6, "1e+23"),
        (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
        (0x444b_1ae4_d6e2_ef50, "1e+21"),
        (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
        (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
        (0x41b3_de43_5555_5553, "333333333.3333332"),
        (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
        (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
    ] {
        let value = Value::from(f64::from_bits(bits));
        assert_eq!(
            String::from_utf8(to_bytes(&value)).unwrap(),
            text,
            "{bits:x}"
        );
    }
}

#[test]
fn other_spellings_are_refused() {
    for text in [
        r#"{"a":1, "b":2}"#,
        r#"{"b":2,"a":1}"#,
        r#"{"a":1,"a":1}"#,
        r#"{"a":1.0}"#,
        r#"{"a":1e0}"#,
        r#"{"a":-0}"#,
        r#"{"a":"\u0041"}"#,
        r#"{"a":"\/"}"#,
        "{\"a\":1}\n",
        "\u{feff}{}",
    ] {
        assert!(parse(text.as_bytes()).is_err(), "{text}");
    }
    assert_eq!(strict(b"{\"a\":0.5}"), Err(CanonError::Number));
    assert_eq!(strict(b"9007199254740992"), Err(CanonError::Number));
    assert!(strict(b"-9007199254740991").is_ok());
    let deep = [b"[".repeat(33), b"]".repeat(33)].concat();
    assert_eq!(strict(&deep), Err(CanonError::Json));
}

fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-(1_i64 << 52)..1_i64 << 52).prop_map(Value::from),
        any::<f64>()
            .prop_filter("finite", |f| f.is_finite())
            .prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_canonical(value in documents()) {
        let bytes = to_bytes(&value);
        // A reader may miss the last bit of a double, and then the form is another one.
        if integers_only(&value) {
            prop_assert_eq!(to_bytes(&strict(&bytes).unwrap()), bytes);
        }
    }

    #[test]
    fn any_bytes_are_refused_or_canonical(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(value) = parse(&bytes) {
            prop_assert_eq!(to_bytes(&value), bytes);
        }
    }
}
