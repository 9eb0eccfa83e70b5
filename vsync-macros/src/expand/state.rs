//! `State`: name, version, checkpoints.

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Attribute, GenericParam, Type, parse_quote};

use super::{describe, versions};
use crate::model::{Derived, Field, State};
use crate::parse;

/// The implementation of `State`.
pub(super) fn implementation(model: &State, good: bool) -> TokenStream {
    let krate = &model.krate;
    let private = quote!(#krate::__private);
    let ident = &model.item.ident;
    let (impl_generics, ty_generics, _) = model.item.generics.split_for_impl();
    let bounds = where_clause(model, &private);
    let (name, version) = (&model.name, model.version);
    let event = match &model.event {
        Some(event) => quote!(#event),
        None => quote!(#private::NoEvents),
    };
    let emits = model.event.as_ref().map(|event| {
        quote! {
            #[automatically_derived]
            impl #impl_generics #private::Emits<#event> for #ident #ty_generics #bounds {}
        }
    });
    let policy = model
        .requests
        .as_ref()
        .map(|policy| quote!(const REQUESTS_BY: #private::Policy = #private::Policy::#policy;));
    let fields = describe::fields(model);
    let (publish, publishes) = publishing(model, good, &private, &bounds);
    let save = if good { save(model, &private) } else { quote!(::core::unreachable!()) };
    let load = if good { load(model, &private) } else { quote!(::core::unreachable!()) };
    let shapes = match good {
        true => describe::field_shapes(model, &private),
        false => quote! {
            fn field_shapes() -> ::std::vec::Vec<::std::string::String> {
                ::core::unreachable!()
            }
        },
    };
    let versions = good.then(|| versions::functions(model, &private));
    let items = good.then(|| versions::items(model, &private, &bounds));
    quote! {
        #[automatically_derived]
        #[allow(unused_mut, unused_variables, unused_imports, deprecated)]
        impl #impl_generics #private::State for #ident #ty_generics #bounds {
            const NAME: &'static str = #name;
            const VERSION: u32 = #version;
            #fields
            #policy
            type Event = #event;
            #publish

            fn save_to(&self, __out: &mut #private::CheckpointWriter)
                -> ::core::result::Result<(), #private::CheckpointError>
            {
                #save
            }

            fn restore(&mut self, __from: &mut #private::CheckpointReader)
                -> ::core::result::Result<(), #private::CheckpointError>
            {
                #load
            }

            #shapes
            #versions
        }

        #emits
        #publishes
        #items
    }
}

/// What a type has that publishes its events: in its `State`, and beside it.
fn publishing(
    model: &State,
    good: bool,
    private: &TokenStream,
    bounds: &TokenStream,
) -> (Option<TokenStream>, Option<TokenStream>) {
    let ident = &model.item.ident;
    let (impl_generics, ty_generics, _) = model.item.generics.split_for_impl();
    let publishes = model.event.as_ref().filter(|_| model.published).map(|event| {
        quote! {
            #[automatically_derived]
            impl #impl_generics #private::Publishes<#event> for #ident #ty_generics #bounds {}
        }
    });
    let publish = model.event.as_ref().filter(|_| model.published && good).map(|event| {
        let publish = call(private, "publish", &parse_quote!(#event));
        let published = describe::published(event, private);
        quote! {
            const PUBLISHED: bool = true;

            #published

            fn publish(__event: &Self::Event)
                -> ::core::result::Result<::std::vec::Vec<u8>, ::std::string::String>
            {
                #publish(__event)
            }
        }
    });
    (publish, publishes)
}

/// The struct's own bounds, and that its replicated fields can travel where that depends on its
/// parameters.
fn where_clause(model: &State, private: &TokenStream) -> TokenStream {
    let generics = &model.item.generics;
    let own = generics.where_clause.iter().flat_map(|clause| &clause.predicates);
    let params: Vec<String> = generics
        .params
        .iter()
        .filter_map(|param| match param {
            GenericParam::Type(param) => Some(param.ident.to_string()),
            _ => None,
        })
        .collect();
    if params.is_empty() {
        return quote!(where #(#own,)*);
    }
    let fields = model
        .fields
        .iter()
        .filter(|field| mentions(field.ty.to_token_stream(), &params))
        .map(|field| field_bounds(field, private));
    let from = model
        .from
        .as_ref()
        .map(|from| quote!(#from: #private::Past, Self: #private::Succeeds<#from>,));
    quote! {
        where
            #(#own,)*
            Self: ::core::marker::Send + 'static,
            #(#fields)*
            #from
    }
}

fn field_bounds(field: &Field, private: &TokenStream) -> TokenStream {
    let ty = &field.ty;
    let serialize = match field.serialize_with {
        Some(_) => quote!(),
        None => quote!(#ty: #private::serde::Serialize,),
    };
    let deserialize = match field.deserialize_with {
        Some(_) => quote!(),
        None => quote!(#ty: #private::serde::de::DeserializeOwned,),
    };
    quote!(#serialize #deserialize)
}

fn mentions(tokens: TokenStream, params: &[String]) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => params.iter().any(|param| ident == param),
        TokenTree::Group(group) => mentions(group.stream(), params),
        _ => false,
    })
}

fn save(model: &State, private: &TokenStream) -> TokenStream {
    let fields = model.fields.iter().map(|field| {
        let Field { member, name, ty, cfgs, .. } = field;
        let step = match &field.serialize_with {
            Some(with) => quote! {
                #private::save_with(#name, __out, |__serializer| {
                    #with(&self.#member, __serializer)
                })?;
            },
            None => {
                let save = call(private, "save", ty);
                quote!(#save(#name, &self.#member, __out)?;)
            }
        };
        under_cfgs(cfgs, &step)
    });
    quote! {
        #(#fields)*
        ::core::result::Result::Ok(())
    }
}

/// A statement that is there when its field is.
pub(super) fn under_cfgs(cfgs: &[Attribute], step: &TokenStream) -> TokenStream {
    if cfgs.is_empty() { quote!(#step) } else { quote!(#(#cfgs)* { #step }) }
}

/// Fields are assigned one by one: what is local stays.
fn load(model: &State, private: &TokenStream) -> TokenStream {
    let fields = model.fields.iter().map(|field| {
        let Field { member, cfgs, .. } = field;
        let value = load_field(field, private);
        under_cfgs(cfgs, &quote!(__state.#member = #value;))
    });
    let derive = derive(model);
    quote! {
        let __state = self;
        #(#fields)*
        #derive
        ::core::result::Result::Ok(())
    }
}

/// A field's value, taken from `__from`.
pub(super) fn load_field(field: &Field, private: &TokenStream) -> TokenStream {
    let Field { name, ty, .. } = field;
    match &field.deserialize_with {
        Some(with) => quote! {
            #private::load_with(#name, __from, |__deserializer| #with(__deserializer))?
        },
        None => {
            let load = call(private, "load", ty);
            quote!(#load(#name, __from)?)
        }
    }
}

/// Computes the derived fields of what `__state` refers to, in the order of their declaration.
pub(super) fn derive(model: &State) -> TokenStream {
    let fields = model.derived.iter().map(|Derived { member, cfgs, with }| {
        let step = quote_spanned!(parse::place(with)=> __state.#member = #with(&*__state););
        under_cfgs(cfgs, &step)
    });
    quote!(#(#fields)*)
}

/// `save::<Ty>`, at the place of the type, for rustc's errors.
fn call(private: &TokenStream, name: &str, ty: &Type) -> TokenStream {
    let name = proc_macro2::Ident::new(name, parse::place(ty));
    quote_spanned!(parse::place(ty)=> #private::#name::<#ty>)
}
