//! Turns `rtc`'s answer to the reduced offer into the answer that the viewer gets: as many sections
//! as the offer had, and our own candidates, for `rtc` sees one nominal address only.

use crate::sdp::offer::{Offer, Role, Section};
use std::fmt::Write as _;

/// The answer for the viewer. `None` if `rtc` answered with other sections than were asked for.
pub(crate) fn complete(rtc: &str, offer: &Offer, candidates: &[String]) -> Option<String> {
    let start = rtc.find("m=")?;
    let (session, media) = rtc.split_at(start);
    let mut answered: Vec<(&str, &str)> = Vec::new();
    for part in split_sections(media) {
        let mid = part.lines().find_map(|l| l.strip_prefix("a=mid:"))?;
        answered.push((mid, part));
    }
    let mut out = String::with_capacity(rtc.len() + 1024);
    keep(&mut out, session);
    let mut first = true;
    for section in &offer.sections {
        if section.role == Role::Refused {
            refuse(&mut out, section);
            continue;
        }
        let (_, part) = answered.iter().find(|(mid, _)| *mid == section.mid)?;
        keep(&mut out, part);
        if std::mem::take(&mut first) {
            for candidate in candidates {
                out.push_str(candidate);
                out.push_str("\r\n");
            }
            out.push_str("a=end-of-candidates\r\n");
        }
    }
    Some(out)
}

fn split_sections(media: &str) -> impl Iterator<Item = &str> {
    let starts: Vec<usize> = media
        .match_indices("m=")
        .map(|(at, _)| at)
        .filter(|at| *at == 0 || media[..*at].ends_with('\n'))
        .collect();
    let ends: Vec<usize> = starts
        .iter()
        .skip(1)
        .copied()
        .chain([media.len()])
        .collect();
    starts
        .into_iter()
        .zip(ends)
        .map(move |(start, end)| &media[start..end])
}

fn keep(out: &mut String, lines: &str) {
    for line in lines.lines() {
        let ours = line.starts_with("a=candidate:") || line.starts_with("a=end-of-candidates");
        if !ours && !line.is_empty() {
            out.push_str(line);
            out.push_str("\r\n");
        }
    }
}

fn refuse(out: &mut String, section: &Section) {
    let Section {
        mid,
        media,
        protocol,
        format,
        ..
    } = section;
    // Writing into a String cannot fail. Firefox insists on the c= line.
    let _ = write!(
        out,
        "m={media} 0 {protocol} {format}\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na=inactive\r\n"
    );
}
