//! A panic in a simulated world is a failure of its run: it is told there, not on the terminal.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// Where this thread panicked, while it is to be quiet about it.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs something; a panic becomes a text that says where.
pub fn catch<T>(what: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let quiet = PLACE.with_borrow_mut(|place| {
                place.as_mut().map(|place| {
                    *place = info.location().map_or(String::new(), ToString::to_string);
                })
            });
            if quiet.is_none() {
                loud(info);
            }
        }));
    });
    PLACE.with_borrow_mut(|place| *place = Some(String::new()));
    let caught = panic::catch_unwind(AssertUnwindSafe(what));
    let place = PLACE.take().unwrap_or_default();
    caught.map_err(|payload| format!("{} ({place})", message(payload.as_ref())))
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().cloned();
    let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "no message".into())
}

#[cfg(test)]
mod tests {
    use super::catch;

    #[test]
    fn a_panic_becomes_a_text() {
        assert_eq!(catch(|| 7), Ok(7));
        let text = catch(|| panic!("no {}", "way")).expect_err("a panic");
        assert!(text.starts_with("no way (") && text.contains("quiet.rs"), "{text}");
    }
}
