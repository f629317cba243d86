//! How many spare desktops there are to be, and of which kind: pure.

use super::Kind;
use nearlight_protocol::control::WarmWanted;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::limits::WARM_PER_APP_MAX;

/// What a spare desktop counts for, MiB. It takes less, and its session's app is counted by itself.
const SPARE_MIB: u32 = 256;

/// What the sessions of a node leave over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Room {
    /// Slots.
    pub(crate) slots: usize,
    /// Memory, MiB.
    pub(crate) mem_mib: u32,
}

impl Room {
    /// Spares that it is enough for, of `max` that the operator allows.
    fn spares(self, max: usize) -> usize {
        let by_memory = (self.mem_mib / SPARE_MIB) as usize;
        self.slots.min(by_memory).min(max)
    }
}

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Spares that are one too many.
    pub(super) end: Vec<SessionId>,
    /// The next to be started, if there is room for one.
    pub(super) begin: Option<Kind>,
}

/// What to do, given what is wanted and what is there. Where not all have room, each app gets its first one
/// before any gets its second.
pub(super) fn plan(
    wanted: &[WarmWanted],
    room: Room,
    max: usize,
    there: &[(SessionId, Kind)],
) -> Plan {
    let places = room.spares(max);
    let mut missing: Vec<Kind> = Vec::new();
    for round in 0..WARM_PER_APP_MAX {
        let more = wanted.iter().filter(|wish| wish.count > round);
        missing.extend(more.map(|wish| Kind {
            app: wish.app.clone(),
            display: wish.display,
        }));
        if missing.len() >= places {
            break;
        }
    }
    missing.truncate(places);
    let mut plan = Plan::default();
    for (name, kind) in there {
        match missing.iter().position(|wanted| wanted == kind) {
            Some(at) => drop(missing.remove(at)),
            None => plan.end.push(name.clone()),
        }
    }
    plan.begin = missing.into_iter().next();
    plan
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_protocol::app::DisplayMode;

    fn wish(app: &str, width: u32, count: u32) -> WarmWanted {
        WarmWanted {
            app: app.parse().unwrap(),
            display: DisplayMode {
                width,
                ..DisplayMode::default()
            },
            count,
        }
    }

    fn spare(wish: &WarmWanted) -> (SessionId, Kind) {
        let kind = Kind {
            app: wish.app.clone(),
            display: wish.display,
        };
        (nearlight_kit::ids::session(), kind)
    }

    /// Starts what is planned until nothing is, and returns the apps.
    fn all(wanted: &[WarmWanted], room: Room, max: usize) -> Vec<String> {
        let mut there = Vec::new();
        while let Some(kind) = plan(wanted, room, max, &there).begin {
            there.push((nearlight_kit::ids::session(), kind));
            assert!(there.len() <= 100);
        }
        assert_eq!(plan(wanted, room, max, &there).end, []);
        there.into_iter().map(|(_, k)| k.app.to_string()).collect()
    }

    const ROOMY: Room = Room {
        slots: 8,
        mem_mib: 8192,
    };

    #[test]
    fn each_app_gets_its_first_before_any_gets_its_second() {
        let wanted = [wish("a", 640, 2), wish("b", 640, 1)];
        assert_eq!(all(&wanted, ROOMY, 16), ["a", "b", "a"]);
        assert_eq!(all(&wanted, ROOMY, 2), ["a", "b"]);
        assert_eq!(all(&wanted, ROOMY, 0), Vec::<String>::new());
        let huge = [wish("a", 640, u32::MAX)];
        assert_eq!(all(&huge, ROOMY, 16).len(), 8, "no more than slots");
    }

    #[test]
    fn slots_and_memory_bound_them() {
        let wanted = [wish("a", 640, 4)];
        let with = |slots, mem_mib| all(&wanted, Room { slots, mem_mib }, 16).len();
        assert_eq!(with(3, 8192), 3);
        assert_eq!(with(0, 8192), 0);
        assert_eq!(with(8, 2 * SPARE_MIB), 2);
        assert_eq!(with(8, SPARE_MIB - 1), 0);
    }

    #[test]
    fn what_has_no_room_or_is_not_wanted_any_more_ends() {
        let (a, b) = (wish("a", 640, 1), wish("b", 640, 1));
        let there = [spare(&b), spare(&a)];
        let names = |of: &[usize]| -> Vec<_> { of.iter().map(|i| there[*i].0.clone()).collect() };
        let both = [a.clone(), b];
        assert_eq!(plan(&both, ROOMY, 16, &there), Plan::default());
        let one = Room { slots: 1, ..ROOMY };
        assert_eq!(plan(&both, one, 16, &there).end, names(&[0]));
        assert_eq!(plan(&[a], ROOMY, 16, &there).end, names(&[0]));
        // A version with another display.
        let next = plan(&[wish("a", 800, 1)], ROOMY, 16, &there);
        assert_eq!(next.end, names(&[0, 1]));
        assert_eq!(next.begin.unwrap().display.width, 800);
    }
}
