//! The cookies of the API: a guest's, a player's, and that of a login under way.
//!
//! Where browsers come over TLS a cookie has the prefix `__Host-`: no other host can set it (RFC 6265bis section
//! 4.1.3.2), and the pages of jobs are on hosts beside ours. It wins over the plain one of the same name, which is
//! written beside it for brokers of before, and read where there is none with the prefix, for whoever was known before.
//! It is written until the next release, and read for as long as a guest of before may have one: a year from this one.
//!
//! **Invariants.** Whoever shows a cookie with the prefix that holds is nobody else by a plain one, whatever that is of.
//! Of a login under way the one with the prefix alone counts: a plain one could be of somebody else's login, and end as
//! that somebody's cookie under the better name. And no plain one is ever written again with the prefix: nothing says
//! whether it was ours to begin with. Who has none but it goes on by it, and gets the better one by logging in.
//!
//! **What it does not know:** what a secret stands for.

use super::problem::Refusal;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue};
use nearlight_kit::problem::ProblemResponse;

/// Cookies that only this host can have set have it before their name.
const PREFIX: &str = "__Host-";

/// A cookie of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// Its name, without the prefix.
    pub(super) name: &'static str,
    /// Where the plain one is sent. With the prefix it is everywhere.
    path: &'static str,
    same_site: &'static str,
}

/// The guest's.
pub(super) const GUEST: Kept = Kept {
    name: "nearlight_guest",
    path: "/",
    same_site: "Strict",
};
/// Of a player who logged in.
pub(super) const PLAYER: Kept = Kept {
    name: "nearlight_player",
    path: "/",
    same_site: "Strict",
};
/// Of a login under way. The browser comes back from another site.
pub(super) const ATTEMPT: Kept = Kept {
    name: "nearlight_login",
    path: "/v1/login",
    same_site: "Lax",
};

/// What a request shows of these, best first: all with the prefix before any without. Over plain http there are none
/// with it.
pub(super) fn shown<const N: usize>(
    headers: &HeaderMap,
    of: [Kept; N],
    https: bool,
) -> impl Iterator<Item = &str> {
    let prefixed = of.map(|kept| value_of(headers, PREFIX, kept.name).filter(|_| https));
    let plain = of.map(|kept| value_of(headers, "", kept.name));
    prefixed.into_iter().chain(plain).flatten()
}

/// What only this host can have set; over plain http, what there is. For what may be begun anew, and that another
/// host must not choose.
pub(super) fn own(headers: &HeaderMap, kept: Kept, https: bool) -> Option<&str> {
    value_of(headers, if https { PREFIX } else { "" }, kept.name)
}

/// Has a browser keep it, for so long; with no time, forget it.
pub(super) fn set(
    headers: &mut HeaderMap,
    kept: Kept,
    (value, age_s): (&str, u64),
    https: bool,
) -> Result<(), Refusal> {
    let Kept {
        name,
        path,
        same_site,
    } = kept;
    let secure = if https { "; Secure" } else { "" };
    let line = |prefix: &str, path: &str| {
        let text = format!(
            "{prefix}{name}={value}; Path={path}; HttpOnly; SameSite={same_site}; Max-Age={age_s}{secure}"
        );
        HeaderValue::from_str(&text).map_err(ProblemResponse::internal)
    };
    if https {
        headers.append(SET_COOKIE, line(PREFIX, "/")?);
    }
    headers.append(SET_COOKIE, line("", path)?);
    Ok(())
}

/// The first of this name.
fn value_of<'a>(headers: &'a HeaderMap, prefix: &str, name: &str) -> Option<&'a str> {
    let is_it = |shown: &str| shown.strip_prefix(prefix) == Some(name);
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(shown, _)| is_it(shown))
        .map(|(_, value)| value)
}

#[cfg(test)]
mod test {
    use super::*;

    fn check(cookies: &str, https: bool, expected: &[&str]) {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, cookies.parse().unwrap());
        let found: Vec<&str> = shown(&headers, [PLAYER, GUEST], https).collect();
        assert_eq!(found, expected, "{cookies}");
    }

    #[test]
    fn over_tls_what_another_host_can_set_counts_last() {
        let planted = "nearlight_player=planted; nearlight_guest=planted-too";
        let own = "__Host-nearlight_guest=own";
        let all = format!("{planted}; {own}");
        check(&all, true, &["own", "planted", "planted-too"]);
        check(planted, true, &["planted", "planted-too"]);
        let both = format!("{own}; __Host-nearlight_player=me");
        check(&both, true, &["me", "own"]);
        // Over plain http anybody can set one with the prefix.
        check(own, false, &[]);
        check("a=b; nearlight_guest=x; nearlight_guest=y", false, &["x"]);
        check("Xnearlight_guest=x", false, &[]);
    }

    #[test]
    fn over_tls_a_login_that_another_host_has_planted_is_none() {
        let check = |cookies: &str, https, expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, cookies.parse().unwrap());
            assert_eq!(own(&headers, ATTEMPT, https), expected, "{cookies}");
        };
        let planted = "nearlight_login=planted";
        check(planted, true, None);
        let both = format!("{planted}; __Host-nearlight_login=own");
        check(&both, true, Some("own"));
        check(planted, false, Some("planted"));
        // Over plain http anybody can set one with the prefix.
        check("__Host-nearlight_login=x", false, None);
    }

    #[test]
    fn over_tls_it_is_kept_under_both_names_and_of_this_host_alone() {
        let lines = |kept, https| {
            let mut headers = HeaderMap::new();
            set(&mut headers, kept, ("s", 9), https).unwrap();
            let lines = headers.get_all(SET_COOKIE).iter();
            let lines = lines.map(|line| line.to_str().unwrap().to_owned());
            lines.collect::<Vec<_>>()
        };
        let plain = "nearlight_login=s; Path=/v1/login; HttpOnly; SameSite=Lax; Max-Age=9";
        assert_eq!(lines(ATTEMPT, false), [plain]);
        let prefixed =
            "__Host-nearlight_login=s; Path=/; HttpOnly; SameSite=Lax; Max-Age=9; Secure";
        let secure = format!("{plain}; Secure");
        assert_eq!(lines(ATTEMPT, true), [prefixed, secure.as_str()]);
    }
}
