//! From tokens to options, and the collection of errors.

use proc_macro2::{Ident, Span, TokenStream};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Attribute, Expr, ExprPath, Lit, LitStr, Meta, Path, Token};

/// The errors found so far. All are reported, in one pass.
#[derive(Default)]
pub(crate) struct Errors(Option<syn::Error>);

impl Errors {
    /// An error at these tokens.
    pub(crate) fn push(&mut self, at: impl ToTokens, why: impl std::fmt::Display) {
        self.add(syn::Error::new_spanned(at, why));
    }

    /// An error at the attribute itself.
    pub(crate) fn push_at_call(&mut self, why: impl std::fmt::Display) {
        self.add(syn::Error::new(Span::call_site(), why));
    }

    pub(crate) fn add(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(all) => all.combine(error),
            None => self.0 = Some(error),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.iter().flat_map(|all| all.clone()).count()
    }

    /// The errors, then what is emitted in spite of them.
    pub(crate) fn followed_by(self, output: TokenStream) -> TokenStream {
        let mut all = self.0.map(|error| error.into_compile_error()).unwrap_or_default();
        all.extend(output);
        all
    }
}

/// One option of an attribute: `scatter`, or `order = "total"`.
pub(crate) struct Opt {
    pub(crate) name: Ident,
    pub(crate) value: Option<Expr>,
}

impl Parse for Opt {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        // `crate` is a keyword.
        let name = Ident::parse_any(input)?;
        let value = match input.parse::<Option<Token![=]>>()? {
            Some(_) => Some(input.parse()?),
            None => None,
        };
        Ok(Opt { name, value })
    }
}

impl ToTokens for Opt {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.name.to_tokens(tokens);
        self.value.to_tokens(tokens);
    }
}

impl Opt {
    /// The value as a string.
    pub(crate) fn string(&self, errors: &mut Errors) -> Option<LitStr> {
        match self.literal() {
            Some(Lit::Str(text)) => Some(text.clone()),
            _ => {
                errors.push(self, format!("write `{} = \"…\"`", self.name));
                None
            }
        }
    }

    /// The value as a number.
    pub(crate) fn number(&self, errors: &mut Errors) -> Option<u32> {
        let number = match self.literal() {
            Some(Lit::Int(number)) => number.base10_parse().ok(),
            _ => None,
        };
        if number.is_none() {
            errors.push(self, format!("write `{} = 7`, a number of 32 bits", self.name));
        }
        number
    }

    /// The value as the name of a type.
    pub(crate) fn path(&self, errors: &mut Errors) -> Option<Path> {
        match &self.value {
            Some(Expr::Path(path)) if path.qself.is_none() => Some(path.path.clone()),
            _ => {
                errors.push(self, format!("write `{} = MyType`, a type's name", self.name));
                None
            }
        }
    }

    /// The value as the name of a function.
    pub(crate) fn function(&self, errors: &mut Errors) -> Option<ExprPath> {
        match &self.value {
            Some(Expr::Path(path)) => Some(path.clone()),
            _ => {
                errors.push(self, format!("write `{} = merge`, a function's name", self.name));
                None
            }
        }
    }

    fn literal(&self) -> Option<&Lit> {
        let mut value = self.value.as_ref()?;
        // What a macro by example was given stands in a group without marks.
        while let Expr::Group(group) = value {
            value = &group.expr;
        }
        match value {
            Expr::Lit(literal) => Some(&literal.lit),
            _ => None,
        }
    }
}

/// The options between an attribute's parentheses; each at most once.
pub(crate) fn options(tokens: TokenStream, errors: &mut Errors) -> Vec<Opt> {
    let list = match Punctuated::<Opt, Token![,]>::parse_terminated.parse2(tokens) {
        Ok(list) => list,
        Err(error) => {
            errors.add(error);
            return Vec::new();
        }
    };
    let mut options: Vec<Opt> = Vec::new();
    for option in list {
        if options.iter().any(|other| other.name == option.name) {
            errors.push(&option.name, format!("`{}` is given twice", option.name));
        } else {
            options.push(option);
        }
    }
    options
}

/// The options of an attribute inside the item.
pub(crate) fn attribute(attribute: &Attribute, errors: &mut Errors) -> Vec<Opt> {
    match &attribute.meta {
        Meta::Path(_) => Vec::new(),
        Meta::List(list) => options(list.tokens.clone(), errors),
        Meta::NameValue(pair) => {
            errors.push(pair, "options go between parentheses");
            Vec::new()
        }
    }
}

/// The attributes of this name, also those that a `cfg_attr` may bring.
pub(crate) fn named(attributes: &[Attribute], name: &str) -> Vec<Attribute> {
    let mut found = Vec::new();
    for attribute in attributes {
        if attribute.path().is_ident(name) {
            found.push(attribute.clone());
        } else if let Some((condition, metas)) = conditional(attribute) {
            let metas = metas.iter().filter(|meta| meta.path().is_ident(name));
            found.extend(metas.map(|meta| syn::parse_quote!(#[cfg_attr(#condition, #meta)])));
        }
    }
    found
}

/// Refuses attributes of this macro in a `cfg_attr`, which rustc resolves too late for it. `true`
/// if there are none.
pub(crate) fn not_conditional(attribute: &Attribute, names: &[&str], errors: &mut Errors) -> bool {
    let found = conditional(attribute).and_then(|(_, metas)| {
        metas.into_iter().find(|meta| names.iter().any(|name| meta.path().is_ident(name)))
    });
    if let Some(meta) = &found {
        let why = "all nodes must agree on this: no `cfg_attr` here; put a `cfg` on the whole item";
        errors.push(meta, why);
    }
    found.is_none()
}

/// Condition and attributes of a `cfg_attr`.
fn conditional(attribute: &Attribute) -> Option<(Meta, Vec<Meta>)> {
    let Meta::List(list) = &attribute.meta else { return None };
    if !list.path.is_ident("cfg_attr") {
        return None;
    }
    let metas = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).ok()?;
    let mut metas = metas.into_iter();
    Some((metas.next()?, metas.collect()))
}

/// Where the `vsync` crate is: `crate = "…"` or the usual place.
pub(crate) fn krate(option: Option<&Opt>, errors: &mut Errors) -> TokenStream {
    let usual = quote::quote!(::vsync);
    let Some(text) = option.and_then(|option| option.string(errors)) else {
        return usual;
    };
    match text.parse_with(syn::Path::parse_mod_style) {
        Ok(path) => path.into_token_stream(),
        Err(_) => {
            errors.push(&text, "not a path; write `crate = \"my_vsync\"`");
            usual
        }
    }
}

/// The first token's place: what a generated call about `tokens` points at.
pub(crate) fn place(tokens: &impl Spanned) -> Span {
    tokens.span()
}
