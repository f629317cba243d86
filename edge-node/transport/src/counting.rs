//! For tests: an allocator that counts what the running thread allocates.
#![allow(
    unsafe_code,
    reason = "an allocator is unsafe by its trait; this one only counts and passes on"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
    /// Whether it is noted who allocates.
    static NOTING: Cell<bool> = const { Cell::new(false) };
    static NOTED: RefCell<Vec<Backtrace>> = const { RefCell::new(Vec::new()) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: every call goes to the system's allocator with what was given.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that ends allocates too, and counts no more.
        let _ = ALLOCATED.try_with(|count| count.set(count.get() + 1));
        // Noting allocates, too, and is not noted.
        if NOTING.try_with(|noting| noting.replace(false)) == Ok(true) {
            let backtrace = Backtrace::force_capture();
            NOTED.with_borrow_mut(|noted| noted.push(backtrace));
            NOTING.set(true);
        }
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and `alloc` above gave the memory.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// How often `run` allocates; growing counts.
pub(crate) fn allocations(run: impl FnOnce()) -> usize {
    let before = ALLOCATED.with(Cell::get);
    run();
    ALLOCATED.with(Cell::get) - before
}

/// Who allocates while `run` runs, and how often: the innermost function that is not the standard
/// library's or `bytes`'.
pub(crate) fn sites(run: impl FnOnce()) -> BTreeMap<String, usize> {
    NOTING.set(true);
    run();
    NOTING.set(false);
    let mut sites = BTreeMap::new();
    for backtrace in NOTED.take() {
        *sites.entry(site(&backtrace.to_string())).or_default() += 1;
    }
    sites
}

fn site(backtrace: &str) -> String {
    const NOBODYS: [&str; 9] = [
        "std::", "realloc", "alloc::", "core::", "bytes::", "__rust", "__rustc", "<alloc::",
        "<bytes::",
    ];
    let frames = backtrace
        .lines()
        .filter_map(|line| line.trim().split_once(": "));
    let mut names = frames.map(|(_, name)| name).filter(|name| {
        let is_nobodys = NOBODYS.iter().any(|nobody| name.starts_with(nobody));
        !is_nobodys && !name.contains("counting::")
    });
    names.next().unwrap_or("unknown").to_owned()
}
