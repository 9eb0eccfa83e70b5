//! `Replicated`: encoding, decoding, and the calls of the methods.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::Type;

use super::{Block, describe, handles, messages, plain, requests};
use crate::model::{self, Delivery, Method, Order, Output};
use crate::parse;

/// The implementation of `Replicated`.
pub(super) fn implementation(block: &Block<'_>) -> TokenStream {
    let private = block.private();
    let ty = &block.base.ty;
    let (impl_generics, _, where_clause) = block.base.generics.split_for_impl();
    let (_, ty_generics, _) = block.base.generics.split_for_impl();
    let update = model::companion(block.ident, "Update");
    let query = model::companion(block.ident, "Query");
    let (handle, client) = (block.base.companion("Handle"), block.base.companion("Client"));
    let tables = tables(block, &private);
    let scattered = scattered(block, &private);
    let snapshots = snapshots(block, &private);
    let signatures = describe::signatures(block, &private);
    let functions = if block.good { functions(block, &private) } else { stubs(&private) };
    let of_requests = requests::implementation(block, &private);
    let check = (block.good && block.base.generics.params.is_empty())
        .then(|| quote!(const _: () = #private::methods_of_version::<#ty>();));
    quote! {
        #check

        #[automatically_derived]
        #[allow(unused_mut, unused_variables, unreachable_code, deprecated, clippy::all)]
        impl #impl_generics #private::Replicated for #ty #where_clause {
            type Update = #update #ty_generics;
            type Query = #query #ty_generics;
            type Handle = #handle;
            type Client = #client;
            #tables
            #scattered
            #snapshots
            #signatures
            #functions
            #of_requests
        }
    }
}

/// The lists of methods.
fn tables(block: &Block<'_>, private: &TokenStream) -> TokenStream {
    let updates = block.updates().map(|method| {
        let entry = method_value(method, private);
        let cfgs = &method.cfgs;
        quote!(#(#cfgs)* #entry,)
    });
    let queries = block.queries().map(|method| {
        let Method { cfgs, name, .. } = method;
        let id = method.id.number;
        quote!(#(#cfgs)* (#id, #name),)
    });
    quote! {
        const UPDATES: &'static [#private::Method] = &[#(#updates)*];
        const QUERIES: &'static [(u32, &'static str)] = &[#(#queries)*];
    }
}

/// Which queries the members divide, and what gathers the answers; nothing where there is none.
fn scattered(block: &Block<'_>, private: &TokenStream) -> TokenStream {
    let all = || block.queries().filter_map(|query| Some((query, query.gather.as_ref()?)));
    if all().next().is_none() || !block.good {
        return quote!();
    }
    let ids = all().map(|(Method { cfgs, id, .. }, _)| {
        let id = id.number;
        quote!(#(#cfgs)* #id,)
    });
    let arms = all().map(|(Method { cfgs, id, name, output, .. }, gather)| {
        let (id, answer) = (id.number, handles::declared(output));
        quote! {
            #(#cfgs)*
            #id => #private::gather::<#answer>(#name, #gather, __shares, __out),
        }
    });
    quote! {
        const SCATTERED: &'static [u32] = &[#(#ids)*];

        fn gather(
            __id: u32,
            __shares: &[::std::vec::Vec<u8>],
            __out: &mut ::std::vec::Vec<u8>,
        ) -> ::core::result::Result<(), #private::QueryError> {
            match __id {
                #(#arms)*
                _ => ::core::result::Result::Err(::core::convert::From::from(
                    #private::unknown_method(__id),
                )),
            }
        }
    }
}

/// Which queries are answered from a copy of the state, and how it is made; nothing where there is
/// none.
fn snapshots(block: &Block<'_>, private: &TokenStream) -> TokenStream {
    let all = || block.queries().filter_map(|query| Some((query, query.snapshot.as_ref()?)));
    if all().next().is_none() || !block.good {
        return quote!();
    }
    let ids = all().map(|(Method { cfgs, id, .. }, _)| {
        let id = id.number;
        quote!(#(#cfgs)* #id,)
    });
    // Once for each, so that a type that is not `Clone` is told so wherever that is needed; what is
    // under a `cfg` asks for it only where it is there.
    let copies = all().map(|(Method { cfgs, .. }, snapshot)| {
        let copied = respan(quote!(#private::copied), snapshot.span());
        let copied = quote_spanned!(snapshot.span()=> #copied::<Self>(self));
        quote!(#(#cfgs)* { return #copied; })
    });
    quote! {
        const SNAPSHOTS: &'static [u32] = &[#(#ids)*];

        fn copied(&self) -> Self {
            #(#copies)*
            ::core::unreachable!()
        }
    }
}

pub(super) fn method_value(method: &Method, private: &TokenStream) -> TokenStream {
    let (id, name) = (method.id.number, &method.name);
    let usual = Delivery { order: Order::Total, stable: false, since: 1, until: None };
    let Delivery { order, stable, since, until } = method.delivery.unwrap_or(usual);
    let class = match order {
        Order::Fifo => quote!(Fifo),
        Order::Causal => quote!(Causal),
        Order::Total => quote!(Total),
    };
    let level = if stable { quote!(Stable) } else { quote!(Optimistic) };
    let until = match until {
        Some(until) => quote!(::core::option::Option::Some(#until)),
        None => quote!(::core::option::Option::None),
    };
    let plain = method.args.iter().all(|arg| plain::plain(&arg.ty));
    quote! {
        #private::Method {
            id: #id,
            name: #name,
            class: #private::Class::#class,
            level: #private::Level::#level,
            since: #since,
            until: #until,
            plain: #plain,
        }
    }
}

fn functions(block: &Block<'_>, private: &TokenStream) -> TokenStream {
    [
        method_function(block, private),
        encode(block, private, "encode", "Update", block.updates()),
        perform(block, private),
        encode(block, private, "encode_query", "Query", block.queries()),
        answer(block, private),
        describe::method_shapes(block, private),
        describe::decode(block, private, ("decode", "Update"), block.updates()),
        describe::decode(block, private, ("decode_query", "Query"), block.queries()),
        on_view(block, private),
    ]
    .into_iter()
    .collect()
}

fn method_function(block: &Block<'_>, private: &TokenStream) -> TokenStream {
    let update = model::companion(block.ident, "Update");
    let arms = block.updates().map(|method| {
        let Method { cfgs, variant, .. } = method;
        let value = method_value(method, private);
        // A constant expression behind a reference lives for ever.
        quote!(#(#cfgs)* #update::#variant { .. } => &#value,)
    });
    let never = messages::never_arm(block, "Update");
    quote! {
        fn method(__update: &Self::Update) -> &'static #private::Method {
            match *__update {
                #(#arms)*
                #never
            }
        }
    }
}

pub(super) fn encode<'a>(
    block: &Block<'_>,
    private: &TokenStream,
    function: &str,
    suffix: &str,
    methods: impl Iterator<Item = &'a Method>,
) -> TokenStream {
    let function = Ident::new(function, proc_macro2::Span::call_site());
    let message = model::companion(block.ident, suffix);
    let associated = Ident::new(suffix, proc_macro2::Span::call_site());
    let arms = methods.map(|method| {
        let Method { cfgs, variant, name, args, .. } = method;
        let id = method.id.number;
        let fields = args.iter().map(|arg| &arg.ident);
        let puts = args.iter().map(|arg| {
            let (ident, name, ty) = (&arg.ident, &arg.name, &arg.ty);
            let put = spanned(ty, quote!(#private::put));
            quote!(#put(#name, #ident, &mut __arguments);)
        });
        quote! {
            #(#cfgs)*
            #message::#variant { #(ref #fields,)* } => {
                let mut __arguments = #private::Arguments::new(#name, #id, __out);
                #(#puts)*
                __arguments.end()
            }
        }
    });
    let never = messages::never_arm(block, suffix);
    quote! {
        fn #function(__message: &Self::#associated, __out: &mut ::std::vec::Vec<u8>)
            -> ::core::result::Result<(), #private::EncodeError>
        {
            match *__message {
                #(#arms)*
                #never
            }
        }
    }
}

/// `path::<Ty>`, at the place of the type, for rustc's errors.
pub(super) fn spanned(ty: &Type, path: TokenStream) -> TokenStream {
    let path = respan(path, parse::place(ty));
    quote_spanned!(parse::place(ty)=> #path::<#ty>)
}

fn respan(tokens: TokenStream, span: proc_macro2::Span) -> TokenStream {
    tokens
        .into_iter()
        .map(|mut token| {
            // The crate's root must still be found from where the macro is called.
            token.set_span(span.resolved_at(token.span()));
            token
        })
        .collect()
}

/// Takes the arguments of a call. (`?` would cost the compiler twice as much as `match`.)
pub(super) fn take_arguments(method: &Method, private: &TokenStream) -> TokenStream {
    let name = &method.name;
    let takes = method.args.iter().map(|arg| {
        let (ident, name, ty) = (&arg.ident, &arg.name, &arg.ty);
        let take = spanned(ty, quote!(#private::take));
        quote! {
            let #ident = match #take(#name, &mut __parameters) {
                ::core::result::Result::Ok(__value) => __value,
                ::core::result::Result::Err(__error) => {
                    return ::core::result::Result::Err(__error);
                }
            };
        }
    });
    quote! {
        let mut __parameters = __parameters.of(#name);
        #(#takes)*
    }
}

/// The call that hands a result over; its types are checked by it, each at its place.
pub(super) fn hand_over(method: &Method, private: &TokenStream, function: &str) -> TokenStream {
    match &method.output {
        Output::Unit => {
            let function = Ident::new(function, proc_macro2::Span::call_site());
            quote!(#private::#function::<()>)
        }
        Output::Plain(ty) => {
            let function = Ident::new(function, parse::place(ty));
            spanned(ty, quote!(#private::#function))
        }
        Output::Fallible(value, error) => {
            let function = Ident::new(&format!("{function}_fallible"), parse::place(value));
            let path = respan(quote!(#private::#function), parse::place(value));
            quote!(#path::<#value, #error>)
        }
    }
}

fn perform(block: &Block<'_>, private: &TokenStream) -> TokenStream {
    let update = model::companion(block.ident, "Update");
    let arms = block.updates().map(|method| {
        let Method { cfgs, ident, variant, args, .. } = method;
        let ctx = method.ctx.then(|| quote!(__ctx,));
        let reply = hand_over(method, private, "reply");
        let args: Vec<_> = args.iter().map(|arg| &arg.ident).collect();
        quote! {
            #(#cfgs)*
            #update::#variant { #(#args,)* } => {
                let __result = Self::#ident(self, #ctx #(#args,)*);
                #reply(__result, __reply);
            }
        }
    });
    let never = messages::never_arm(block, "Update");
    quote! {
        fn perform(
            &mut self,
            __ctx: &#private::Ctx<Self>,
            __update: Self::Update,
            __reply: &mut #private::Reply<'_>,
        ) {
            match __update {
                #(#arms)*
                #never
            }
        }
    }
}

fn answer(block: &Block<'_>, private: &TokenStream) -> TokenStream {
    let query = model::companion(block.ident, "Query");
    let arms = block.queries().map(|method| {
        let Method { cfgs, ident, name, variant, args, .. } = method;
        let answer = hand_over(method, private, "answer");
        let ctx = method.ctx.then(|| quote!(__ctx,));
        let args: Vec<_> = args.iter().map(|arg| &arg.ident).collect();
        quote! {
            #(#cfgs)*
            #query::#variant { #(#args,)* } => {
                let __result = Self::#ident(self, #ctx #(#args,)*);
                #answer(&__result, #name, __out)
            }
        }
    });
    let never = messages::never_arm(block, "Query");
    quote! {
        fn answer(
            &self,
            __ctx: &#private::QueryCtx,
            __query: Self::Query,
            __out: &mut ::std::vec::Vec<u8>,
        ) -> ::core::result::Result<(), #private::QueryError> {
            match __query {
                #(#arms)*
                #never
            }
        }
    }
}

fn on_view(block: &Block<'_>, private: &TokenStream) -> TokenStream {
    let calls = block.model.on_view.iter().map(|on_view| {
        let model::OnView { ident, cfgs, ctx } = on_view;
        let ctx = ctx.then(|| quote!(__ctx,));
        quote!(#(#cfgs)* { Self::#ident(self, #ctx __view); })
    });
    // As many as are left of them when attributes have been seen to.
    let units = block.model.on_view.iter().map(|on_view| {
        let cfgs = &on_view.cfgs;
        quote!(#(#cfgs)* (),)
    });
    quote! {
        const ON_VIEW: bool = {
            let __methods: &[()] = &[#(#units)*];
            !__methods.is_empty()
        };

        fn on_view(&mut self, __ctx: &#private::Ctx<Self>, __view: &#private::View) {
            #(#calls)*
        }
    }
}

/// The same functions with nothing in them, for after an error.
fn stubs(private: &TokenStream) -> TokenStream {
    let body = quote!({ ::core::unreachable!() });
    let result = quote!(::core::result::Result);
    let describe = describe::stubs(private);
    quote! {
        #describe
        fn method(_: &Self::Update) -> &'static #private::Method #body
        fn encode(_: &Self::Update, _: &mut ::std::vec::Vec<u8>)
            -> #result<(), #private::EncodeError> #body
        fn perform(
            &mut self,
            _: &#private::Ctx<Self>,
            _: Self::Update,
            _: &mut #private::Reply<'_>,
        ) #body
        fn encode_query(_: &Self::Query, _: &mut ::std::vec::Vec<u8>)
            -> #result<(), #private::EncodeError> #body
        fn answer(
            &self,
            _: &#private::QueryCtx,
            _: Self::Query,
            _: &mut ::std::vec::Vec<u8>,
        ) -> #result<(), #private::QueryError> #body
        const ON_VIEW: bool = false;
        fn on_view(&mut self, _: &#private::Ctx<Self>, _: &#private::View) #body
    }
}
