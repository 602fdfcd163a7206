//! Panics of libraries become errors.
//!
//! The Parquet reader divides, shifts and asserts on numbers that it takes from the file, so a damaged
//! file can make it panic. We hold such a file to be as unreadable as any other. CUDA's bindings panic
//! where there is no driver.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// Whether this thread is inside [`contain`], where a panic is no news for people.
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`; a panic in it becomes an error.
///
/// What `work` has borrowed must not be used after a panic.
///
/// # Errors
/// The words of the panic.
pub fn contain<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    silence();
    let before = CONTAINED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    CONTAINED.set(before);
    result.map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        text.unwrap_or("no reason given").to_owned()
    })
}

/// Keeps the panics of [`contain`] from being printed; all others are printed as before.
fn silence() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !CONTAINED.get() {
                print(info);
            }
        }));
    });
}
