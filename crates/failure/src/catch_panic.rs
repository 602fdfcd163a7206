//! Panics of third-party libraries become errors.
//!
//! The Parquet reader divides, shifts and asserts on numbers that it takes from the file, so a damaged
//! file can make it panic; such a file counts as unreadable. CUDA's bindings panic where there is no
//! driver.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// Whether this thread is inside [`catch_panic`], where a panic is not printed.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` and turns a panic in it into an error.
///
/// After a panic, do not use what `work` has borrowed mutably.
///
/// # Errors
/// The message of the panic.
pub fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    silence();
    let before = CAUGHT.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    CAUGHT.set(before);
    result.map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        text.unwrap_or("no reason given").to_owned()
    })
}

/// Stops panics inside [`catch_panic`] from being printed; all others are printed as before.
fn silence() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !CAUGHT.get() {
                print(info);
            }
        }));
    });
}
