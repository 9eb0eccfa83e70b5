//! A state owns what it has.
//! Cure: own the value (`String`, `Vec<T>`, `Arc<T>`), and take the lifetime off struct and `impl`.
#![allow(unused_variables, dead_code)]

use vsync::replicated;

#[replicated]
struct Board<'a> {
    name: &'a str,
}

#[replicated]
impl<'a> Board<'a> {
    #[query]
    fn length(&self) -> usize {
        self.name.len()
    }
}

fn main() {}
