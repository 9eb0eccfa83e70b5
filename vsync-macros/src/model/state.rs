//! The model of an annotated struct.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::punctuated::Punctuated;
use syn::{Attribute, Field as SynField, GenericParam, ItemStruct, Member, Meta, Path, Token};

use super::{Field, State};
use crate::parse::{self, Errors, Opt};

/// Reads a struct and takes this macro's attributes off it.
pub(crate) fn state(mut item: ItemStruct, options: Vec<Opt>, errors: &mut Errors) -> State {
    let mut name = item.ident.unraw().to_string();
    let mut version = 1;
    let mut krate = None;
    let mut event = None;
    let mut published = None;
    for option in &options {
        match option.name.to_string().as_str() {
            "name" => match option.string(errors) {
                Some(text) if text.value().is_empty() => errors.push(text, "the name is empty"),
                Some(text) => name = text.value(),
                None => {}
            },
            "version" => match option.number(errors) {
                Some(0) => errors.push(&option.value, "versions begin at 1"),
                Some(number) => version = number,
                None => {}
            },
            "crate" => krate = Some(option),
            "event" => event = option.path(errors),
            "published" => {
                published = Some(&option.name);
                if option.value.is_some() {
                    errors.push(option, "write `published`, without a value");
                }
            }
            other @ "from" => {
                errors.push(&option.name, format!("`{other}` is not supported yet"));
            }
            other => errors.push(
                &option.name,
                format!(
                    "unknown option `{other}`; a struct has `name`, `version`, `event`, \
                     `published` and `crate`"
                ),
            ),
        }
    }
    if let (Some(published), None) = (published, &event) {
        let why = "`published` goes with `event = …`: it lets clients read the events";
        errors.push(published, why);
    }
    let published = published.is_some();
    let krate = parse::krate(krate, errors);
    let expandable = check_generics(&item, errors);
    let fields = fields(&mut item, errors);
    State { item, krate, name, version, event, published, fields, expandable }
}

fn check_generics(item: &ItemStruct, errors: &mut Errors) -> bool {
    let mut expandable = true;
    for param in &item.generics.params {
        if let GenericParam::Lifetime(lifetime) = param {
            errors.push(
                lifetime,
                "a replicated state owns what it has: no lifetimes; use `String` for `&str`",
            );
            expandable = false;
        }
    }
    expandable
}

/// The fields that are not `#[local]`.
fn fields(item: &mut ItemStruct, errors: &mut Errors) -> Vec<Field> {
    // Attributes of serde's derives stay if a derive below this macro still wants them.
    let derives = item.attrs.iter().any(derives_serde);
    let mut fields = Vec::new();
    for (index, field) in item.fields.iter_mut().enumerate() {
        let local = take_local(field, errors);
        if !local {
            check_type(field, errors);
            fields.push(replicated_field(index, field, errors));
        }
        if !derives {
            field.attrs.retain(|attribute| !attribute.path().is_ident("serde"));
        }
    }
    fields
}

fn derives_serde(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else { return false };
    let derives = list.path.is_ident("derive") || list.path.is_ident("cfg_attr");
    derives && names_serde(list.tokens.clone())
}

fn names_serde(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == "Serialize" || ident == "Deserialize",
        TokenTree::Group(group) => names_serde(group.stream()),
        _ => false,
    })
}

fn take_local(field: &mut SynField, errors: &mut Errors) -> bool {
    let mut local = false;
    field.attrs.retain(|attribute| {
        if attribute.path().is_ident("derived") {
            errors.push(attribute, "`#[derived]` is not supported yet");
            return false;
        }
        if !attribute.path().is_ident("local") {
            return parse::not_conditional(attribute, &["local"], errors);
        }
        match &attribute.meta {
            Meta::Path(_) if local => errors.push(attribute, "`#[local]` is given twice"),
            Meta::Path(_) => {}
            _ => errors.push(attribute, "`#[local]` has no options"),
        }
        local = true;
        false
    });
    local
}

fn replicated_field(index: usize, field: &SynField, errors: &mut Errors) -> Field {
    let member = match &field.ident {
        Some(ident) => Member::Named(ident.clone()),
        None => Member::Unnamed(index.into()),
    };
    let name = match &field.ident {
        Some(ident) => ident.unraw().to_string(),
        None => index.to_string(),
    };
    let cfgs = parse::named(&field.attrs, "cfg");
    let mut model = Field {
        member,
        name,
        ty: field.ty.clone(),
        cfgs,
        serialize_with: None,
        deserialize_with: None,
    };
    for attribute in &field.attrs {
        if attribute.path().is_ident("serde") {
            read_serde(attribute, &mut model, errors);
        }
    }
    model
}

/// A checkpoint goes by serde's rules where they mean something for it, and says so where not.
fn read_serde(attribute: &Attribute, field: &mut Field, errors: &mut Errors) {
    let Meta::List(list) = &attribute.meta else {
        return;
    };
    let Ok(metas) = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated) else {
        // serde's own derive reports what it cannot read.
        return;
    };
    for meta in metas {
        let Some(name) = meta.path().get_ident().map(ToString::to_string) else {
            continue;
        };
        match name.as_str() {
            "with" => {
                if let Some(module) = path_value(&meta, errors) {
                    field.serialize_with = Some(child(&module, "serialize"));
                    field.deserialize_with = Some(child(&module, "deserialize"));
                }
            }
            "serialize_with" => field.serialize_with = path_value(&meta, errors),
            "deserialize_with" => field.deserialize_with = path_value(&meta, errors),
            "skip" | "skip_serializing" | "skip_deserializing" | "skip_serializing_if" => errors
                .push(&meta, "checkpoints skip no field by serde's rules; `#[local]` keeps it out"),
            "flatten" => errors.push(&meta, "checkpoints cannot flatten a field"),
            // Names and defaults mean nothing where fields go by position.
            _ => {}
        }
    }
}

fn path_value(meta: &Meta, errors: &mut Errors) -> Option<Path> {
    let text = match meta {
        Meta::NameValue(pair) => syn::parse2::<syn::LitStr>(pair.value.to_token_stream()).ok(),
        _ => None,
    };
    let path = text.and_then(|text| text.parse::<Path>().ok());
    if path.is_none() {
        errors.push(meta, "not a path in quotes");
    }
    path
}

fn child(module: &Path, name: &str) -> Path {
    let name = syn::Ident::new(name, parse::place(module));
    syn::parse_quote!(#module::#name)
}

/// Refuses what iterates in another order at every replica.
fn check_type(field: &SynField, errors: &mut Errors) {
    hashed(field.ty.to_token_stream(), ", or `#[local]` if it is no part of the state", errors);
}

/// Refuses hashed collections anywhere in a type; `or` is what else may be done about it.
pub(crate) fn hashed(tokens: TokenStream, or: &str, errors: &mut Errors) {
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => {
                let name = ident.to_string();
                for (hashed, sorted) in [("HashMap", "BTreeMap"), ("HashSet", "BTreeSet")] {
                    if name.ends_with(hashed) {
                        errors.push(
                            &ident,
                            format!(
                                "a `{name}` iterates in another order at every replica: use a \
                                 `{sorted}`{or}"
                            ),
                        );
                    }
                }
            }
            TokenTree::Group(group) => hashed(group.stream(), or, errors),
            _ => {}
        }
    }
}
