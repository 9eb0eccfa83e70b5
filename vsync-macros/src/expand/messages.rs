//! The enums of updates and queries.

use proc_macro2::TokenStream;
use quote::quote;
use syn::GenericParam;

use super::{Block, quiet};
use crate::model::{self, Method};

/// Names for the enums, next to the struct.
///
/// The enums themselves are where the `impl` block is: nominally public, so that they may have
/// private types in them, and reachable by these names only, which are as visible as the struct.
pub(super) fn aliases(model: &model::State) -> TokenStream {
    let krate = &model.krate;
    let (vis, ident) = (&model.item.vis, &model.item.ident);
    let (_, ty_generics, _) = model.item.generics.split_for_impl();
    // Bounds in an alias would not be enforced.
    let mut generics = model.item.generics.clone();
    for param in &mut generics.params {
        if let GenericParam::Type(param) = param {
            param.bounds.clear();
            param.colon_token = None;
        }
    }
    let aliases = ["Update", "Query", "Request"].map(|suffix| {
        let alias = model::companion(ident, suffix);
        let associated = proc_macro2::Ident::new(suffix, ident.span());
        let what = suffix.to_lowercase();
        let doc = format!(" The {} of [`{ident}`] as values.", plural(&what));
        quote! {
            #[doc = #doc]
            ///
            /// A variant for each method, named after it, with its arguments as fields.
            #[allow(dead_code)]
            #vis type #alias #generics =
                <#ident #ty_generics as #krate::__private::Replicated>::#associated;
        }
    });
    quote!(#(#aliases)*)
}

fn plural(what: &str) -> &'static str {
    match what {
        "query" => "queries",
        "request" => "requests",
        _ => "updates",
    }
}

/// Both enums.
pub(super) fn types(block: &Block<'_>) -> TokenStream {
    let updates = message(block, "Update", block.updates());
    let queries = message(block, "Query", block.queries());
    // Most types have none.
    let requests = block.has_requests().then(|| message(block, "Request", block.requests()));
    quote!(#updates #queries #requests)
}

fn message<'a>(
    block: &Block<'_>,
    suffix: &str,
    methods: impl Iterator<Item = &'a Method>,
) -> TokenStream {
    let name = model::companion(block.ident, suffix);
    let doc = format!(" The {} of `{}` as values.", plural(&suffix.to_lowercase()), block.ident);
    let (impl_generics, ty_generics, where_clause) = block.base.generics.split_for_impl();
    let params = &block.base.generics;
    let methods: Vec<&Method> = methods.collect();
    let variants = methods.iter().map(|method| variant(method));
    let debug = methods.iter().map(|method| {
        let Method { cfgs, variant, name: text, .. } = method;
        quote!(#(#cfgs)* #name::#variant { .. } => #text,)
    });
    let quiet = quiet();
    let (unused, unused_debug) = unused_parameters(block, &name);
    quote! {
        #[doc = #doc]
        #quiet
        pub enum #name #params #where_clause {
            #(#variants)*
            #unused
        }

        #[automatically_derived]
        #[allow(deprecated, unreachable_code)]
        impl #impl_generics ::core::fmt::Debug for #name #ty_generics #where_clause {
            fn fmt(&self, __f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                let __name: &str = match *self {
                    #(#debug)*
                    #unused_debug
                };
                __f.debug_struct(__name).finish_non_exhaustive()
            }
        }
    }
}

fn variant(method: &Method) -> TokenStream {
    let Method { docs, deprecated, cfgs, variant, args, .. } = method;
    let fields = args.iter().map(|arg| {
        let (ident, ty) = (&arg.ident, &arg.ty);
        quote!(#ident: #ty,)
    });
    let fields = if args.is_empty() { quote!() } else { quote!({ #(#fields)* }) };
    quote!(#(#docs)* #(#deprecated)* #(#cfgs)* #variant #fields,)
}

/// A variant that never is, to use the type parameters that no method mentions, and its arm.
fn unused_parameters(block: &Block<'_>, name: &proc_macro2::Ident) -> (TokenStream, TokenStream) {
    let params: Vec<_> = block.base.generics.type_params().map(|param| &param.ident).collect();
    if params.is_empty() {
        return (quote!(), quote!());
    }
    let variant = quote! {
        #[doc(hidden)]
        __Never(::core::convert::Infallible, ::core::marker::PhantomData<fn() -> (#(#params,)*)>),
    };
    (variant, quote!(#name::__Never(__never, _) => match __never {},))
}

/// The arm of the variant that never is.
pub(super) fn never_arm(block: &Block<'_>, suffix: &str) -> TokenStream {
    unused_parameters(block, &model::companion(block.ident, suffix)).1
}
