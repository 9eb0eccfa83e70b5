//! From one version of a type to another: what `from = …` and `past` add to `State`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};

use super::state;
use crate::model::{Field, Local, State};
use crate::parse;

/// The functions of `State` that have to do with versions and with copies.
pub(super) fn functions(model: &State, private: &TokenStream) -> TokenStream {
    let from = model.from.as_ref();
    let save_as = from.map(|from| {
        quote! {
            fn save_as_to(&self, __version: u32, __out: &mut #private::CheckpointWriter)
                -> ::core::result::Result<(), #private::CheckpointError>
            {
                use #private::{Back as _, NoBack as _};
                if #private::own_version::<Self>(__version)? {
                    return #private::State::save_to(self, __out);
                }
                let __way = &#private::Way::<'_, Self, #from>::new(self);
                match __way.back() {
                    ::core::option::Option::Some(__past) => {
                        <#from as #private::State>::save_as_to(&__past, __version, __out)
                    }
                    ::core::option::Option::None => ::core::result::Result::Err(
                        #private::CheckpointError::NoWayBack {
                            here: Self::VERSION,
                            there: __version,
                        },
                    ),
                }
            }
        }
    });
    let load_from = from.map(|from| {
        let succeed = succeed(from, private);
        let local = model.local.iter().map(|Local { member, cfgs }| {
            state::under_cfgs(
                cfgs,
                &quote!(::core::mem::swap(&mut __state.#member, &mut __local.#member);),
            )
        });
        let derive = state::derive(model);
        quote! {
            fn restore_from(
                &mut self,
                __version: u32,
                __from: &mut #private::CheckpointReader,
            ) -> ::core::result::Result<(), #private::CheckpointError> {
                if #private::own_version::<Self>(__version)? {
                    return #private::State::restore(self, __from);
                }
                let __local = self;
                let mut __loaded = #succeed;
                let __state = &mut __loaded;
                #(#local)*
                #derive
                *__local = __loaded;
                ::core::result::Result::Ok(())
            }
        }
    });
    let earlier = from.map(|from| {
        quote! {
            fn earlier() -> ::std::vec::Vec<(u32, ::std::vec::Vec<::std::string::String>)> {
                #private::earlier::<#from>()
            }
        }
    });
    quote! {
        #save_as
        #load_from
        #earlier

        fn snapshot(&self) -> ::core::option::Option<Self> {
            use #private::{Cloned as _, NotCloned as _};
            let __snapshot = &#private::Snapshot(self);
            __snapshot.snapshot()
        }
    }
}

/// The state that the earlier version's checkpoint becomes.
fn succeed(from: &syn::Path, private: &TokenStream) -> TokenStream {
    let (read, succeed) = (
        quote_spanned!(parse::place(from)=> <#from as #private::Past>::read_from),
        quote_spanned!(parse::place(from)=> <Self as #private::Succeeds<#from>>::succeed),
    );
    quote!(#succeed(#read(__version, __from)?))
}

/// `Past`, of an earlier version; and what is checked of `from = …` when the program is compiled.
pub(super) fn items(model: &State, private: &TokenStream, bounds: &TokenStream) -> TokenStream {
    let ident = &model.item.ident;
    let generics = &model.item.generics;
    let check = model.from.as_ref().filter(|_| generics.params.is_empty()).map(|from| {
        quote_spanned!(parse::place(from)=> const _: () = #private::succession::<#ident, #from>();)
    });
    let past = model.past.then(|| past(model, private, bounds));
    quote!(#check #past)
}

fn past(model: &State, private: &TokenStream, bounds: &TokenStream) -> TokenStream {
    let ident = &model.item.ident;
    let (impl_generics, ty_generics, _) = model.item.generics.split_for_impl();
    let fields = model.fields.iter().map(|field| {
        let Field { member, cfgs, .. } = field;
        let value = state::load_field(field, private);
        quote!(#(#cfgs)* #member: #value,)
    });
    let earlier = match &model.from {
        Some(from) => {
            let succeed = succeed(from, private);
            quote!(::core::result::Result::Ok(#succeed))
        }
        None => quote! {
            ::core::result::Result::Err(#private::CheckpointError::Older {
                here: <Self as #private::State>::VERSION,
                there: __version,
            })
        },
    };
    quote! {
        #[automatically_derived]
        #[allow(unused_mut, unused_variables, deprecated)]
        impl #impl_generics #private::Past for #ident #ty_generics #bounds {
            fn read_from(__version: u32, __from: &mut #private::CheckpointReader)
                -> ::core::result::Result<Self, #private::CheckpointError>
            {
                if !#private::own_version::<Self>(__version)? {
                    return #earlier;
                }
                ::core::result::Result::Ok(Self { #(#fields)* })
            }
        }
    }
}
