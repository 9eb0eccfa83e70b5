//! From the model to code. Everything it calls is in `vsync::__private`.
//!
//! Names that a user could have chosen, too, begin with two underscores.

mod describe;
mod dispatch;
mod handles;
mod messages;
mod plain;
mod requests;
mod state;
mod versions;

use proc_macro2::TokenStream;
use quote::quote;

#[cfg(test)]
pub(crate) use self::describe::text;

use crate::model::{self, Method};

/// The struct, its `State`, and its companions; an earlier version has none.
pub(crate) fn state(model: &model::State, good: bool) -> TokenStream {
    let item = &model.item;
    if !model.expandable {
        return quote!(#item);
    }
    let state = state::implementation(model, good);
    if model.past {
        return quote!(#item #state);
    }
    let handles = handles::types(model);
    let aliases = messages::aliases(model);
    quote! {
        #item
        #state
        #handles
        #aliases
    }
}

/// The `impl` block, the messages, `Replicated`, and the methods of the handles.
///
/// After an error the same items are made, as far as the signatures allow, with bodies that need
/// nothing: whoever uses them is not to blame.
pub(crate) fn methods(model: &model::Methods, good: bool) -> TokenStream {
    let item = &model.item;
    let Some(base) = &model.base else {
        return quote!(#item);
    };
    let Some(ident) = base.ident() else {
        return quote!(#item);
    };
    let block = Block { model, base, ident, good };
    let messages = messages::types(&block);
    let dispatch = dispatch::implementation(&block);
    let handles = handles::methods(&block);
    let effects = requests::effects(&block);
    quote! {
        #item
        const _: () = {
            #messages
            #dispatch
            #handles
            #effects
        };
    }
}

/// Lints that generated items keep quiet about. What of theirs is the user's (names, bodies) is
/// linted where the user wrote it.
fn quiet() -> TokenStream {
    quote! {
        #[allow(
            missing_docs, unreachable_pub, private_interfaces, private_bounds, dead_code,
            deprecated, unused_variables, nonstandard_style, unused_qualifications,
            missing_copy_implementations,
            rustdoc::broken_intra_doc_links, rustdoc::private_intra_doc_links,
            clippy::all, clippy::pedantic, clippy::nursery
        )]
    }
}

/// What the parts of an `impl` block's expansion share.
struct Block<'a> {
    model: &'a model::Methods,
    base: &'a model::Base,
    /// The struct's name.
    ident: &'a proc_macro2::Ident,
    /// Whether there was no error.
    good: bool,
}

impl Block<'_> {
    /// The path of what generated code calls.
    fn private(&self) -> TokenStream {
        let krate = &self.model.krate;
        quote!(#krate::__private)
    }

    fn updates(&self) -> impl Iterator<Item = &Method> {
        self.model.updates.iter().filter(|method| method.usable)
    }

    fn queries(&self) -> impl Iterator<Item = &Method> {
        self.model.queries.iter().filter(|method| method.usable)
    }

    fn requests(&self) -> impl Iterator<Item = &Method> {
        self.model.requests.iter().filter(|method| method.usable)
    }

    /// Whether the type has requests, also under a `cfg`.
    fn has_requests(&self) -> bool {
        self.good && self.requests().next().is_some()
    }

    /// Whether it has them, usable or not: their bodies, which stand there anyhow, use the effects.
    fn has_effects(&self) -> bool {
        !self.model.requests.is_empty()
    }

    /// All of them, in the order in which they are described.
    fn methods(&self) -> impl Iterator<Item = &Method> {
        self.updates().chain(self.queries()).chain(self.requests())
    }
}
