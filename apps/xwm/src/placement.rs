//! Where a window goes. Pure.
//!
//! A game's window fills the screen. A window that cannot be that large, or belongs to another, is
//! put in the middle at its own size.

/// A place on the screen, pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) x: i32,
    pub(crate) y: i32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// What is known of a window when it wants to be shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Its own size.
    pub(crate) size: (u32, u32),
    /// The largest size that it bears, where it says so.
    pub(crate) size_max: Option<(u32, u32)>,
    /// It belongs to another window, as dialogs and menus do.
    pub(crate) transient: bool,
    /// It asked to be fullscreen.
    pub(crate) fullscreen: bool,
}

/// Where a window goes on a screen of this size.
pub(crate) fn place(wish: &Wish, screen: (u32, u32)) -> Place {
    if fills(wish, screen) {
        return Place {
            x: 0,
            y: 0,
            width: screen.0,
            height: screen.1,
        };
    }
    let width = wish.size.0.clamp(1, screen.0.max(1));
    let height = wish.size.1.clamp(1, screen.1.max(1));
    Place {
        x: (screen.0.saturating_sub(width) / 2) as i32,
        y: (screen.1.saturating_sub(height) / 2) as i32,
        width,
        height,
    }
}

/// Whether a window fills the screen.
pub(crate) fn fills(wish: &Wish, screen: (u32, u32)) -> bool {
    let bears = wish
        .size_max
        .is_none_or(|(width, height)| width >= screen.0 && height >= screen.1);
    wish.fullscreen || (bears && !wish.transient)
}

#[cfg(test)]
mod test {
    use super::*;

    const SCREEN: (u32, u32) = (1280, 720);

    fn check(wish: Wish, x: i32, y: i32, width: u32, height: u32) {
        let expected = Place {
            x,
            y,
            width,
            height,
        };
        assert_eq!(place(&wish, SCREEN), expected, "{wish:?}");
    }

    #[test]
    fn games_fill_the_screen_and_dialogs_do_not() {
        let small = Wish {
            size: (640, 480),
            ..Wish::default()
        };
        check(small, 0, 0, 1280, 720);
        let dialog = Wish {
            transient: true,
            ..small
        };
        check(dialog, 320, 120, 640, 480);
        let fixed = Wish {
            size_max: Some((640, 480)),
            ..small
        };
        check(fixed, 320, 120, 640, 480);
        let fullscreen = Wish {
            fullscreen: true,
            ..fixed
        };
        check(fullscreen, 0, 0, 1280, 720);
    }

    #[test]
    fn nothing_leaves_the_screen() {
        let huge = Wish {
            size: (9_000, 9_000),
            transient: true,
            ..Wish::default()
        };
        check(huge, 0, 0, 1280, 720);
        let empty = Wish {
            transient: true,
            ..Wish::default()
        };
        check(empty, 639, 359, 1, 1);
    }
}
