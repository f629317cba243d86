//! Places by address, from files that the tests write themselves.

use super::*;

/// A city: a network of IPv4 and its degrees north and east.
type City = ([u8; 3], (f64, f64));

const FRANKFURT: (f64, f64) = (50.11, 8.68);
const SINGAPORE: (f64, f64) = (1.35, 103.82);

fn text(of: &str) -> Vec<u8> {
    let length = u8::try_from(of.len()).unwrap();
    assert!(length < 29, "short texts alone");
    [&[0x40 | length], of.as_bytes()].concat()
}

fn u16_of(value: u16) -> Vec<u8> {
    [&[0xa2], value.to_be_bytes().as_slice()].concat()
}

fn map(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut out = vec![0xe0 | u8::try_from(entries.len()).unwrap()];
    for (key, value) in entries {
        out.extend(text(key));
        out.extend(value);
    }
    out
}

fn place(degrees: (f64, f64)) -> Vec<u8> {
    let double = |value: f64| [&[0x68], value.to_be_bytes().as_slice()].concat();
    let location = map(&[
        ("latitude", double(degrees.0)),
        ("longitude", double(degrees.1)),
    ]);
    map(&[("location", location)])
}

/// The smallest MaxMind DB (format 2.0) with these networks of 24 bits.
fn database(cities: &[City]) -> Vec<u8> {
    #[derive(Clone, Copy)]
    enum Record {
        Nothing,
        Node(usize),
        Data(usize),
    }
    let mut nodes = vec![[Record::Nothing; 2]];
    let mut data = Vec::new();
    for (network, degrees) in cities {
        let mut at = 0;
        for bit in 0..24 {
            let side = usize::from(network[bit / 8] >> (7 - bit % 8) & 1);
            if bit == 23 {
                nodes[at][side] = Record::Data(data.len());
            } else if let Record::Node(next) = nodes[at][side] {
                at = next;
            } else {
                nodes.push([Record::Nothing; 2]);
                nodes[at][side] = Record::Node(nodes.len() - 1);
                at = nodes.len() - 1;
            }
        }
        data.extend(place(*degrees));
    }
    let mut out = Vec::new();
    for record in nodes.iter().flatten() {
        let value = match record {
            Record::Nothing => nodes.len(),
            Record::Node(at) => *at,
            Record::Data(at) => nodes.len() + 16 + at,
        };
        out.extend(&u32::try_from(value).unwrap().to_be_bytes()[1..]);
    }
    out.extend([0; 16]);
    out.extend(data);
    out.extend(b"\xab\xcd\xefMaxMind.com");
    let count = u32::try_from(nodes.len()).unwrap();
    out.extend(map(&[
        ("binary_format_major_version", u16_of(2)),
        ("binary_format_minor_version", u16_of(0)),
        (
            "build_epoch",
            [&[0x08, 0x02], 1_u64.to_be_bytes().as_slice()].concat(),
        ),
        ("database_type", text("Test-City")),
        ("description", map(&[("en", text("For a test"))])),
        ("ip_version", u16_of(4)),
        ("languages", [vec![0x01, 0x04], text("en")].concat()),
        (
            "node_count",
            [&[0xc4], count.to_be_bytes().as_slice()].concat(),
        ),
        ("record_size", u16_of(24)),
    ]));
    out
}

fn at(address: &str, geo: &Geo) -> Option<(f64, f64)> {
    geo.place(address.parse().unwrap())
}

/// A database in a file, and the directory that it is in.
fn written(cities: &[City]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("city.mmdb");
    std::fs::write(&path, database(cities)).unwrap();
    (dir, path)
}

#[test]
fn an_address_has_the_place_of_its_network_or_none() {
    let cities = [([192, 0, 2], FRANKFURT), ([203, 0, 113], SINGAPORE)];
    let (_dir, path) = written(&cities);
    let geo = Geo::open(&path).unwrap();
    assert_eq!(at("192.0.2.200", &geo), Some(FRANKFURT));
    assert_eq!(at("::ffff:192.0.2.1", &geo), Some(FRANKFURT));
    assert_eq!(at("203.0.113.1", &geo), Some(SINGAPORE));
    assert_eq!(at("192.0.3.1", &geo), None);
    assert_eq!(at("2001:db8::1", &geo), None);
}

#[test]
fn a_file_that_changes_is_read_again_and_a_broken_one_changes_nothing() {
    let (_dir, path) = written(&[([192, 0, 2], FRANKFURT)]);
    let geo = Geo::open(&path).unwrap();
    assert!(!geo.look().unwrap());

    let whole = database(&[([192, 0, 2], SINGAPORE), ([192, 0, 3], SINGAPORE)]);
    std::fs::write(&path, &whole).unwrap();
    assert!(geo.look().unwrap());
    assert_eq!(at("192.0.2.1", &geo), Some(SINGAPORE));

    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = geo.look().unwrap_err();
    assert!(matches!(error, GeoError::Corrupt { .. }), "{error}");
    assert_eq!(at("192.0.2.1", &geo), Some(SINGAPORE));

    std::fs::remove_file(&path).unwrap();
    let error = geo.look().unwrap_err();
    assert!(matches!(error, GeoError::Read { .. }), "{error}");
    assert_eq!(at("192.0.2.1", &geo), Some(SINGAPORE));
}

#[test]
fn a_file_that_is_not_there_or_is_none_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("city.mmdb");
    let error = Geo::open(&path).unwrap_err().to_string();
    assert!(error.contains("is it there"), "{error}");
    for text in ["", "nothing of the kind"] {
        std::fs::write(&path, text).unwrap();
        let error = Geo::open(&path).unwrap_err().to_string();
        assert!(error.contains("City database"), "{error}");
    }
}

/// Whatever byte is wrong, it is refused or answers something, and never panics.
#[test]
fn a_damaged_file_harms_nobody() {
    let (_dir, path) = written(&[]);
    let whole = database(&[([192, 0, 2], FRANKFURT)]);
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0xff;
        std::fs::write(&path, &damaged).unwrap();
        if let Ok(geo) = Geo::open(&path) {
            let place = geo.place("192.0.2.1".parse().unwrap());
            assert!(place.is_none_or(|(north, east)| north.abs() <= 90.0 && east.abs() <= 180.0));
        }
    }
}

#[test]
fn a_distance_is_a_round_trip() {
    assert_eq!(rtt_ms(FRANKFURT, FRANKFURT), 5);
    let km = great_circle_km(FRANKFURT, SINGAPORE);
    assert!((10_200.0..10_320.0).contains(&km), "{km}");
    assert_eq!(rtt_ms(FRANKFURT, SINGAPORE), 159);
    let half_round = rtt_ms((0.0, 0.0), (0.0, 180.0));
    assert_eq!(half_round, 305);
}
