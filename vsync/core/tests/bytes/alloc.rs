//! What a call allocates at its peak.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Bytes that this thread has allocated and not freed; what others free may make it negative.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn count(bytes: isize) {
    // While a thread ends its counters are gone, and nobody asks.
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

#[allow(unsafe_code, reason = "an allocator is the only way to see what is allocated")]
// SAFETY: every call goes on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's layout is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: it came from `System`, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Runs something; returns its result and the most bytes that it had allocated at a time.
pub(crate) fn peak<R>(run: impl FnOnce() -> R) -> (R, usize) {
    let before = LIVE.get();
    PEAK.set(before);
    let result = run();
    (result, (PEAK.get() - before).unsigned_abs())
}

/// Bytes that this thread holds.
pub(crate) fn live() -> isize {
    LIVE.get()
}

/// Bytes that a frame may make the engine allocate, for each of its own: a batch without updates
/// has six bytes on the wire, takes eighty decoded, and is in a vector that doubles.
const FACTOR: usize = 32;

/// What an answer may take on top of that: a window, checkpoint pieces, reserved lists.
const SLACK: usize = 1 << 20;

/// What taking in a frame may allocate at its peak, by the frame's length.
pub(crate) fn bound(length: usize) -> usize {
    length * FACTOR + SLACK
}
