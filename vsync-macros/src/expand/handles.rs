//! The typed handles: of members, and of clients outside the group.

use proc_macro2::{Ident, TokenStream};
use quote::quote;

use super::{Block, quiet};
use crate::model::{self, Method, Order, Output};

/// The handle types, next to the struct.
pub(super) fn types(model: &model::State) -> TokenStream {
    let ident = &model.item.ident;
    let handle = handle(
        model,
        "Handle",
        "Group",
        &format!(" What members of a group of [`{ident}`] use: a method per update and query."),
        " The membership: views, flush, leave.",
    );
    let client = handle_client(model, ident);
    quote!(#handle #client)
}

fn handle_client(model: &model::State, ident: &Ident) -> TokenStream {
    let doc = format!(" What clients of a group of [`{ident}`] use, from outside of it.");
    handle(model, "Client", "RemoteGroup", &doc, " The group, seen from outside.")
}

fn handle(
    model: &model::State,
    suffix: &str,
    group: &str,
    doc: &str,
    group_doc: &str,
) -> TokenStream {
    let krate = &model.krate;
    let private = quote!(#krate::__private);
    let (vis, ident, params) = (&model.item.vis, &model.item.ident, &model.item.generics);
    let name = model::companion(ident, suffix);
    let group = Ident::new(group, ident.span());
    let (impl_generics, ty_generics, own) = params.split_for_impl();
    let own = own.map(|clause| &clause.predicates).into_iter().flatten();
    // Without parameters the bound holds or not whatever is written here.
    let bound =
        (!params.params.is_empty()).then(|| quote!(#ident #ty_generics: #private::Replicated,));
    let bounds = quote!(where #(#own,)* #bound);
    let text = name.to_string();
    quote! {
        #[doc = #doc]
        ///
        /// Cheap to clone.
        #[allow(dead_code)]
        #vis struct #name #params #bounds {
            group: #private::#group<#ident #ty_generics>,
        }

        #[allow(dead_code, unreachable_pub)]
        impl #impl_generics #name #ty_generics #bounds {
            #[doc = #group_doc]
            pub fn group(&self) -> &#private::#group<#ident #ty_generics> {
                &self.group
            }
        }

        #[automatically_derived]
        impl #impl_generics ::core::clone::Clone for #name #ty_generics #bounds {
            fn clone(&self) -> Self {
                Self { group: ::core::clone::Clone::clone(&self.group) }
            }
        }

        #[automatically_derived]
        impl #impl_generics ::core::fmt::Debug for #name #ty_generics #bounds {
            fn fmt(&self, __f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                __f.debug_struct(#text).field("group", &self.group).finish()
            }
        }

        #[automatically_derived]
        impl #impl_generics ::core::convert::From<#private::#group<#ident #ty_generics>>
            for #name #ty_generics #bounds
        {
            fn from(group: #private::#group<#ident #ty_generics>) -> Self {
                Self { group }
            }
        }
    }
}

/// The methods of both handles.
pub(super) fn methods(block: &Block<'_>) -> TokenStream {
    let (impl_generics, _, where_clause) = block.base.generics.split_for_impl();
    let (handle, client) = (block.base.companion("Handle"), block.base.companion("Client"));
    let updates = block.updates().map(|method| update(block, method));
    let queries = block.queries().map(|method| query(block, method));
    let calls = block.updates().map(|method| remote_call(block, method));
    let remote = block.queries().map(|method| remote_query(block, method));
    let requests = block.requests().map(|method| request(block, method, "RequestCall", "request"));
    let remote_requests =
        block.requests().map(|method| request(block, method, "RemoteRequest", "remote_request"));
    let (private, state, quiet) = (block.private(), &block.base.ty, quiet());
    let call_stubs = block.model.updates.iter().map(|method| stub(block, method, "Call"));
    let query_stubs = block.model.queries.iter().map(|method| {
        stub(block, method, if method.gather.is_some() { "Scatter" } else { "Query" })
    });
    let remote_call_stubs =
        block.model.updates.iter().map(|method| stub(block, method, "RemoteCall"));
    let request_stubs =
        block.model.requests.iter().map(|method| stub(block, method, "RequestCall"));
    let remote_request_stubs =
        block.model.requests.iter().map(|method| stub(block, method, "RemoteRequest"));
    let remote_stubs = block.model.queries.iter().map(|method| {
        let scatter = method.gather.is_some();
        stub(block, method, if scatter { "RemoteScatter" } else { "RemoteQuery" })
    });
    quote! {
        #quiet
        impl #impl_generics #handle #where_clause {
            #(#updates)*
            #(#queries)*
            #(#requests)*
            #(#call_stubs)*
            #(#query_stubs)*
            #(#request_stubs)*
        }

        #quiet
        impl #impl_generics #client #where_clause {
            #(#calls)*
            #(#remote)*
            #(#remote_requests)*
            #(#remote_call_stubs)*
            #(#remote_stubs)*
            #(#remote_request_stubs)*
        }

        #[automatically_derived]
        impl #impl_generics #private::Remote for #client #where_clause {
            type State = #state;
        }
    }
}

fn update(block: &Block<'_>, method: &Method) -> TokenStream {
    let private = block.private();
    let ty = &block.base.ty;
    let message = model::companion(block.ident, "Update");
    let Method { variant, args, .. } = method;
    let answer = answer(&method.output, &private);
    let fields = args.iter().map(|arg| &arg.ident);
    let body = quote!(#private::call(self.group(), #message::#variant { #(#fields,)* }));
    signature(block, method, &quote!(#private::Call<#ty, #answer>), &body)
}

fn remote_call(block: &Block<'_>, method: &Method) -> TokenStream {
    let private = block.private();
    let ty = &block.base.ty;
    let message = model::companion(block.ident, "Update");
    let Method { variant, args, .. } = method;
    let answer = answer(&method.output, &private);
    let fields = args.iter().map(|arg| &arg.ident);
    let body = quote! {
        #private::remote_call(self.group(), &#message::#variant { #(#fields,)* })
    };
    signature(block, method, &quote!(#private::RemoteCall<#ty, #answer>), &body)
}

fn request(block: &Block<'_>, method: &Method, future: &str, function: &str) -> TokenStream {
    let private = block.private();
    let ty = &block.base.ty;
    let message = model::companion(block.ident, "Request");
    let Method { variant, args, .. } = method;
    let answer = answer(&method.output, &private);
    let fields = args.iter().map(|arg| &arg.ident);
    let name = |name| Ident::new(name, proc_macro2::Span::call_site());
    let (future, function) = (name(future), name(function));
    let body = quote! {
        #private::#function(self.group(), &#message::#variant { #(#fields,)* })
    };
    signature(block, method, &quote!(#private::#future<#ty, #answer>), &body)
}

/// What awaiting a call of a method gives: its value, and whether it may say no.
pub(super) fn answer(output: &Output, private: &TokenStream) -> TokenStream {
    match output {
        Output::Unit => quote!(()),
        Output::Plain(value) => quote!(#value),
        Output::Fallible(value, error) => quote!(#value, #private::Fallible<#error>),
    }
}

fn query(block: &Block<'_>, method: &Method) -> TokenStream {
    let private = block.private();
    let ty = &block.base.ty;
    let message = model::companion(block.ident, "Query");
    let Method { ident, variant, args, .. } = method;
    let value = declared(&method.output);
    let args: Vec<_> = args.iter().map(|arg| &arg.ident).collect();
    if method.gather.is_some() {
        let body = quote! {
            #private::scatter(self.group(), &#message::#variant { #(#args,)* })
        };
        return signature(block, method, &quote!(#private::Scatter<#ty, #value>), &body);
    }
    let ctx = method.ctx.then(|| quote!(&__here.ctx(),));
    let function = match method.snapshot {
        Some(_) => quote!(snapshot_query),
        None => quote!(query),
    };
    let body = quote! {
        #private::#function(
            self.group(),
            (#(#args,)*),
            |__state: &#ty, __here, (#(#args,)*)| <#ty>::#ident(__state, #ctx #(#args,)*),
            |(#(#args,)*)| #message::#variant { #(#args,)* },
        )
    };
    signature(block, method, &quote!(#private::Query<#ty, #value>), &body)
}

fn remote_query(block: &Block<'_>, method: &Method) -> TokenStream {
    let private = block.private();
    let ty = &block.base.ty;
    let message = model::companion(block.ident, "Query");
    let Method { variant, args, .. } = method;
    let value = declared(&method.output);
    let fields = args.iter().map(|arg| &arg.ident);
    let (function, future) = match method.gather.is_some() {
        true => (quote!(remote_scatter), quote!(RemoteScatter)),
        false => (quote!(remote_query), quote!(RemoteQuery)),
    };
    let body = quote! {
        #private::#function(self.group(), &#message::#variant { #(#fields,)* })
    };
    signature(block, method, &quote!(#private::#future<#ty, #value>), &body)
}

/// What callers see of a method that is not usable: its name, and arguments as they are.
fn stub(block: &Block<'_>, method: &Method, future: &str) -> Option<TokenStream> {
    let private = block.private();
    let future = Ident::new(future, method.ident.span());
    let ty = &block.base.ty;
    let answer = match &method.output {
        Output::Fallible(value, error) if method.delivery.is_some() => {
            quote!(#value, #private::Fallible<#error>)
        }
        other => declared(other),
    };
    stub_giving(method, &quote!(#private::#future<#ty, #answer>))
}

/// The same, with what it gives.
pub(super) fn stub_giving(method: &Method, output: &TokenStream) -> Option<TokenStream> {
    let stub = method.stub.as_ref().filter(|_| !method.usable)?;
    let Method { cfgs, vis, ident, .. } = method;
    let (generics, args) = (&stub.generics, &stub.args);
    let where_clause = &generics.where_clause;
    Some(quote! {
        #(#cfgs)*
        #vis fn #ident #generics (&self, #(_: #args),*) -> #output
        #where_clause
        {
            ::core::unreachable!()
        }
    })
}

pub(super) fn declared(output: &Output) -> TokenStream {
    match output {
        Output::Unit => quote!(()),
        Output::Plain(value) => quote!(#value),
        Output::Fallible(value, error) => quote!(::core::result::Result<#value, #error>),
    }
}

pub(super) fn signature(
    block: &Block<'_>,
    method: &Method,
    output: &TokenStream,
    body: &TokenStream,
) -> TokenStream {
    let Method { docs, deprecated, cfgs, vis, ident, args, .. } = method;
    let params = args.iter().map(|arg| {
        let (ident, ty) = (&arg.ident, &arg.ty);
        quote!(#ident: #ty)
    });
    let body = if block.good { body.clone() } else { quote!(::core::unreachable!()) };
    let kind = kind(method);
    let gap = (!docs.is_empty()).then(|| quote!(#[doc = ""]));
    quote! {
        #(#docs)*
        #gap
        #[doc = #kind]
        #(#deprecated)*
        #(#cfgs)*
        #vis fn #ident(&self, #(#params),*) -> #output {
            #body
        }
    }
}

/// One line for the documentation of a handle's method.
fn kind(method: &Method) -> String {
    match method.delivery {
        _ if method.request.is_some() => " Request.".to_owned(),
        None => {
            let divided =
                method.gather.as_ref().map_or("", |_| ", its work divided among the members");
            let copy =
                method.snapshot.as_ref().map_or("", |_| ", answered from a copy of the state");
            format!(" Query{divided}{copy}.")
        }
        Some(delivery) => {
            let order = match delivery.order {
                Order::Fifo => "fifo",
                Order::Causal => "causal",
                Order::Total => "total",
            };
            let level = if delivery.stable { ", applied when stable" } else { "" };
            let since = match delivery.since {
                1 => String::new(),
                since => format!(", since version {since}"),
            };
            let until =
                delivery.until.map_or(String::new(), |until| format!(", until version {until}"));
            format!(" Update in {order} order{level}{since}{until}.")
        }
    }
}
