//! Requests: their handlers, and what they change the state with.

use proc_macro2::TokenStream;
use quote::quote;

use super::{Block, dispatch, handles, messages, quiet};
use crate::model::{self, Method, Output};

/// The part of `Replicated` that has to do with requests.
pub(super) fn implementation(block: &Block<'_>, private: &TokenStream) -> TokenStream {
    let (_, ty_generics, _) = block.base.generics.split_for_impl();
    let (request, effects) =
        (model::companion(block.ident, "Request"), model::companion(block.ident, "Effects"));
    if !block.has_requests() {
        let effects = match block.has_effects() {
            true => quote!(#effects #ty_generics),
            false => quote!(#private::NoEffects),
        };
        return quote! {
            type Request = #private::Infallible;
            type Effects = #effects;
        };
    }
    let table = block.requests().map(|method| {
        let (entry, cfgs) = (dispatch::method_value(method, private), &method.cfgs);
        quote!(#(#cfgs)* #entry,)
    });
    let encode = dispatch::encode(block, private, "encode_request", "Request", block.requests());
    let decode =
        super::describe::decode(block, private, ("decode_request", "Request"), block.requests());
    let (method, key) = (method_function(block, private), key_function(block, private));
    let policy = policy_function(block, private);
    let respond = respond(block, private);
    quote! {
        type Request = #request #ty_generics;
        type Effects = #effects #ty_generics;
        const REQUESTS: &'static [#private::Method] = &[#(#table)*];
        #method
        #encode
        #decode
        #key
        #policy
        #respond
    }
}

/// Who coordinates which request; nothing where all go by the type's policy.
fn policy_function(block: &Block<'_>, private: &TokenStream) -> Option<TokenStream> {
    let arms: Vec<_> = block
        .requests()
        .filter_map(|method| {
            let policy = method.request.as_ref()?.policy.as_ref()?;
            let (cfgs, id) = (&method.cfgs, method.id.number);
            Some(quote!(#(#cfgs)* #id => #private::Policy::#policy,))
        })
        .collect();
    let any = !arms.is_empty();
    any.then(|| {
        quote! {
            fn request_policy(__id: u32) -> #private::Policy {
                match __id {
                    #(#arms)*
                    _ => <Self as #private::State>::REQUESTS_BY,
                }
            }
        }
    })
}

fn method_function(block: &Block<'_>, private: &TokenStream) -> TokenStream {
    let request = model::companion(block.ident, "Request");
    let arms = block.requests().map(|method| {
        let Method { cfgs, variant, .. } = method;
        let value = dispatch::method_value(method, private);
        quote!(#(#cfgs)* #request::#variant { .. } => &#value,)
    });
    let never = messages::never_arm(block, "Request");
    quote! {
        fn request_method(__request: &Self::Request) -> &'static #private::Method {
            match *__request {
                #(#arms)*
                #never
            }
        }
    }
}

fn key_function(block: &Block<'_>, private: &TokenStream) -> TokenStream {
    let request = model::companion(block.ident, "Request");
    let arms = block.requests().map(|method| {
        let Method { cfgs, variant, .. } = method;
        match method.request.as_ref().and_then(|request| request.key.as_ref()) {
            Some(key) => quote! {
                #(#cfgs)*
                #request::#variant { ref #key, .. } => #private::key(#key),
            },
            None => quote! {
                #(#cfgs)*
                #request::#variant { .. } => ::core::option::Option::None,
            },
        }
    });
    let never = messages::never_arm(block, "Request");
    quote! {
        fn request_key(__request: &Self::Request) -> ::core::option::Option<u64> {
            match *__request {
                #(#arms)*
                #never
            }
        }
    }
}

/// The handlers, by their requests.
fn respond(block: &Block<'_>, private: &TokenStream) -> TokenStream {
    let request = model::companion(block.ident, "Request");
    let arms = block.requests().map(|method| {
        let Method { cfgs, ident, variant, args, .. } = method;
        let effect = method.request.as_ref().is_some_and(|request| request.effect);
        let function = if effect { "respond_effect" } else { "respond" };
        let respond = dispatch::hand_over(method, private, function);
        let args: Vec<_> = args.iter().map(|arg| &arg.ident).collect();
        let ctx = method.ctx.then(|| quote!(&__ctx,));
        quote! {
            #(#cfgs)*
            #request::#variant { #(#args,)* } => #private::responding(async move {
                let __answer = Self::#ident(#ctx #(#args,)*).await;
                #respond(__answer)
            }),
        }
    });
    let never = messages::never_arm(block, "Request");
    quote! {
        fn respond(__ctx: #private::RequestCtx<Self>, __request: Self::Request)
            -> #private::Responding
        {
            match __request {
                #(#arms)*
                #never
            }
        }
    }
}

/// The type by which handlers change the state: a method per update.
pub(super) fn effects(block: &Block<'_>) -> Option<TokenStream> {
    if !block.has_effects() {
        return None;
    }
    let (private, ty, quiet) = (block.private(), &block.base.ty, quiet());
    let params = &block.base.generics;
    let (impl_generics, ty_generics, where_clause) = params.split_for_impl();
    let name = model::companion(block.ident, "Effects");
    let methods = block.updates().map(|method| effect(block, method));
    let stubs = block.model.updates.iter().map(|method| {
        let value = handles::declared(&method.output);
        handles::stub_giving(method, &quote!(#private::Effect<#value>))
    });
    Some(quote! {
        #quiet
        pub struct #name #params #where_clause {
            effects: #private::Effects<#ty>,
        }

        #[automatically_derived]
        impl #impl_generics ::core::convert::From<#private::Effects<#ty>>
            for #name #ty_generics #where_clause
        {
            fn from(effects: #private::Effects<#ty>) -> Self {
                Self { effects }
            }
        }

        #quiet
        impl #impl_generics #name #ty_generics #where_clause {
            #(#methods)*
            #(#stubs)*
        }
    })
}

fn effect(block: &Block<'_>, method: &Method) -> TokenStream {
    let private = block.private();
    let message = model::companion(block.ident, "Update");
    let Method { variant, args, .. } = method;
    let value = match &method.output {
        Output::Unit => quote!(()),
        other => handles::declared(other),
    };
    let fields = args.iter().map(|arg| &arg.ident);
    let body = quote! {
        #private::effect(&self.effects, &#message::#variant { #(#fields,)* })
    };
    // Private updates are the type's own: its requests are in the same `impl`.
    handles::signature(block, method, &quote!(#private::Effect<#value>), &body)
}
