//! `#[sim_test]`: a function that says what is simulated becomes a test.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{ItemFn, ReturnType, Safety};

use crate::parse::{self, Errors, Opt};

/// What an option may set: methods of a simulation, with one argument each.
const SETTINGS: [&str; 4] = ["seeds", "members", "length", "faults"];

/// The attribute as a function on tokens.
pub(crate) fn sim_test(options: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let options = parse::options(options, &mut errors);
    let krate = options.iter().find(|option| option.name == "crate");
    let krate = parse::krate(krate, &mut errors);
    let settings: Vec<_> =
        options.iter().filter_map(|option| setting(option, &mut errors)).collect();
    let function = match syn::parse2::<ItemFn>(item.clone()) {
        Ok(function) => function,
        Err(_) => {
            errors.push_at_call("#[sim_test] goes on a function that gives a `Simulation`");
            return errors.followed_by(item);
        }
    };
    check(&function, &mut errors);
    if !errors.is_empty() {
        // Not as a test: it would be one that cannot fail.
        return errors.followed_by(quote!(#[allow(dead_code)] #item));
    }
    expand(&function, &settings, &krate)
}

/// A call that sets something.
fn setting(option: &Opt, errors: &mut Errors) -> Option<TokenStream> {
    let name = &option.name;
    if name == "crate" {
        return None;
    }
    if !SETTINGS.iter().any(|known| name == known) {
        let known = "`seeds`, `members`, `length`, `faults` and `crate`";
        errors.push(name, format!("unknown option `{name}`; a simulation has {known}"));
        return None;
    }
    let Some(value) = &option.value else {
        let example = match name.to_string().as_str() {
            "seeds" => "0..100",
            "faults" => "Faults::all()",
            _ => "4",
        };
        errors.push(option, format!("write `{name} = {example}`"));
        return None;
    };
    Some(quote!(.#name(#value)))
}

/// Refuses what no test can be.
fn check(function: &ItemFn, errors: &mut Errors) {
    let signature = &function.sig;
    if let Some(token) = &signature.asyncness {
        errors.push(token, "a simulation has no runtime: it runs in virtual time, not async");
    }
    if let Safety::Unsafe(token) = &signature.safety {
        errors.push(token, "a test is not unsafe");
    }
    if !signature.generics.params.is_empty() {
        errors.push(&signature.generics, "a test is not generic: name the type to simulate");
    }
    if !signature.inputs.is_empty() {
        let why = "a test takes nothing: make the simulation in the body, and give it back";
        errors.push(&signature.inputs, why);
    }
    if matches!(signature.output, ReturnType::Default) {
        let why = "give the simulation back: `-> Simulation<MyType>`";
        errors.push(&signature.ident, why);
    }
    for attribute in &function.attrs {
        if attribute.path().segments.last().is_some_and(|last| last.ident == "test") {
            errors.push(attribute, "#[sim_test] makes the test: without `#[test]`");
        }
    }
}

fn expand(function: &ItemFn, settings: &[TokenStream], krate: &TokenStream) -> TokenStream {
    let ItemFn { attrs, vis, sig, block, .. } = function;
    let ident = &sig.ident;
    // As the test harness names it, also where the identifier is raw.
    let name = ident.to_string();
    // What is given back is compared where it is named.
    let simulation = quote_spanned! {sig.output.span()=>
        let __simulation: #krate::testing::Simulation<_> = #ident()
    };
    let inner = sig.to_token_stream();
    quote! {
        #(#attrs)*
        #[::core::prelude::v1::test]
        #vis fn #ident() {
            #inner #block
            #simulation;
            #krate::__private::sim_test(
                __simulation #(#settings)*,
                ::core::option_env!("CARGO_PKG_NAME"),
                ::core::concat!(::core::module_path!(), "::", #name),
            );
        }
    }
}
