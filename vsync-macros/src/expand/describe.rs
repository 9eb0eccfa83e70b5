//! What a type says of itself beyond what running it takes: the types of its fields, arguments and
//! results as text, and messages decoded back into values. For tools and tests.

use proc_macro2::{Delimiter, Ident, Spacing, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::Path;

use super::{Block, dispatch};
use crate::model::{self, Method, Output, State};

/// The fields of the state, with their types.
pub(super) fn fields(model: &State) -> TokenStream {
    let fields = model.fields.iter().map(|field| {
        let (name, cfgs, ty) = (&field.name, &field.cfgs, text(&field.ty));
        quote!(#(#cfgs)* (#name, #ty),)
    });
    quote!(const FIELDS: &'static [(&'static str, &'static str)] = &[#(#fields)*];)
}

/// What these types look like on the wire.
fn shapes(private: &TokenStream, types: impl Iterator<Item = TokenStream>) -> TokenStream {
    quote! {
        use #private::{Shaped as _, Unshaped as _};
        ::std::vec::Vec::from([#(#types)*])
    }
}

fn shape(private: &TokenStream, ty: &impl ToTokens) -> TokenStream {
    quote!((&#private::Probe::<#ty>::new()).shape())
}

/// The shapes of the fields.
pub(super) fn field_shapes(model: &State, private: &TokenStream) -> TokenStream {
    let fields = model.fields.iter().map(|field| {
        let (cfgs, ty) = (&field.cfgs, &field.ty);
        let shape = match &field.deserialize_with {
            Some(with) => quote! {
                #private::shape_with(|__probe| -> ::core::result::Result<#ty, _> { #with(__probe) })
            },
            None => shape(private, ty),
        };
        quote!(#(#cfgs)* #shape,)
    });
    let shapes = shapes(private, fields);
    quote! {
        fn field_shapes() -> ::std::vec::Vec<::std::string::String> {
            #shapes
        }
    }
}

/// What the events are that clients may read.
pub(super) fn published(event: &Path, private: &TokenStream) -> TokenStream {
    let (text, shape) = (text(event), shape(private, event));
    quote! {
        fn published() -> ::core::option::Option<(&'static str, ::std::string::String)> {
            use #private::{Shaped as _, Unshaped as _};
            ::core::option::Option::Some((#text, #shape))
        }
    }
}

/// The shapes of what the methods take and give.
pub(super) fn method_shapes(block: &Block<'_>, private: &TokenStream) -> TokenStream {
    let methods = block.methods().map(|method| {
        let cfgs = &method.cfgs;
        let args = method.args.iter().map(|arg| shape(private, &arg.ty));
        let result = match &method.output {
            Output::Unit => None,
            Output::Plain(ty) => Some(shape(private, ty)),
            Output::Fallible(value, error) => {
                Some(shape(private, &quote!(::core::result::Result<#value, #error>)))
            }
        };
        let all = args.chain(result);
        quote!(#(#cfgs)* ::std::vec::Vec::from([#(#all,)*]),)
    });
    let shapes = shapes(private, methods);
    quote! {
        fn method_shapes() -> ::std::vec::Vec<::std::vec::Vec<::std::string::String>> {
            #shapes
        }
    }
}

/// The signatures of all methods.
pub(super) fn signatures(block: &Block<'_>, private: &TokenStream) -> TokenStream {
    let signatures = block.methods().map(|method| {
        let Method { cfgs, name, args, .. } = method;
        let id = method.id.number;
        let arguments = args.iter().map(|arg| {
            let (name, ty) = (&arg.name, text(&arg.ty));
            quote!((#name, #ty))
        });
        let result = match &method.output {
            Output::Unit => "()".to_owned(),
            Output::Plain(ty) => text(ty),
            Output::Fallible(value, error) => format!("Result<{}, {}>", text(value), text(error)),
        };
        quote! {
            #(#cfgs)*
            #private::Signature {
                id: #id, method: #name, arguments: &[#(#arguments),*], result: #result,
            },
        }
    });
    quote!(const SIGNATURES: &'static [#private::Signature] = &[#(#signatures)*];)
}

/// The function that decodes the messages of one kind.
pub(super) fn decode<'a>(
    block: &Block<'_>,
    private: &TokenStream,
    (function, suffix): (&str, &str),
    methods: impl Iterator<Item = &'a Method>,
) -> TokenStream {
    let function = Ident::new(function, proc_macro2::Span::call_site());
    let message = model::companion(block.ident, suffix);
    let associated = Ident::new(suffix, proc_macro2::Span::call_site());
    let arms = methods.map(|method| {
        let Method { cfgs, variant, .. } = method;
        let id = method.id.number;
        let takes = dispatch::take_arguments(method, private);
        let fields = method.args.iter().map(|arg| &arg.ident);
        quote! {
            #(#cfgs)*
            #id => {
                #takes
                __parameters.end(#message::#variant { #(#fields,)* })
            }
        }
    });
    quote! {
        fn #function(__message: &[u8])
            -> ::core::result::Result<Self::#associated, #private::ApplyError>
        {
            let (__id, __parameters) = #private::Parameters::new(__message)?;
            match __id {
                #(#arms)*
                _ => ::core::result::Result::Err(#private::unknown_method(__id)),
            }
        }
    }
}

/// The same functions with nothing in them, for after an error.
pub(super) fn stubs(private: &TokenStream) -> TokenStream {
    let result = quote!(::core::result::Result);
    quote! {
        fn method_shapes() -> ::std::vec::Vec<::std::vec::Vec<::std::string::String>> {
            ::core::unreachable!()
        }
        fn decode(_: &[u8]) -> #result<Self::Update, #private::ApplyError> {
            ::core::unreachable!()
        }
        fn decode_query(_: &[u8]) -> #result<Self::Query, #private::ApplyError> {
            ::core::unreachable!()
        }
    }
}

/// A type as one writes it. It is compared between builds, so it may not depend on how the compiler
/// spaces tokens.
pub(crate) fn text(ty: &impl ToTokens) -> String {
    let mut out = String::new();
    write(ty.to_token_stream(), &mut out);
    out
}

fn write(tokens: TokenStream, out: &mut String) {
    let (mut word, mut commas) = (false, 0);
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let wordy = matches!(token, TokenTree::Ident(_) | TokenTree::Literal(_));
        if wordy && word {
            out.push(' ');
        }
        word = wordy;
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::None => ("", ""),
                };
                out.push_str(open);
                write(group.stream(), out);
                out.push_str(close);
            }
            TokenTree::Punct(punct) => match (punct.as_char(), punct.spacing()) {
                // A comma behind the last is none of the type, but in a tuple of one.
                (',', _) if is_last(tokens.peek()) && commas > 0 => {}
                (',', _) if is_last(tokens.peek()) => out.push(','),
                (',', _) => {
                    commas += 1;
                    out.push_str(", ");
                }
                (';', _) => out.push_str("; "),
                ('-', Spacing::Joint) => out.push_str(" -"),
                ('>', _) if out.ends_with('-') => out.push_str("> "),
                (mark @ ('+' | '='), _) => out.extend([' ', mark, ' ']),
                (mark, _) => out.push(mark),
            },
            other => out.push_str(&other.to_string()),
        }
    }
}

/// Whether nothing of a list follows.
fn is_last(next: Option<&TokenTree>) -> bool {
    match next {
        None => true,
        Some(TokenTree::Punct(punct)) => punct.as_char() == '>',
        Some(_) => false,
    }
}
