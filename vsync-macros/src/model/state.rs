//! The model of an annotated struct.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::punctuated::Punctuated;
use syn::{Attribute, Field as SynField, GenericParam, ItemStruct, Member, Meta, Path, Token};

use super::{Derived, Field, Local, State};
use crate::parse::{self, Errors, Opt};

/// The options of a struct.
struct Options<'a> {
    name: Option<String>,
    version: u32,
    event: Option<Path>,
    published: bool,
    requests: Option<&'a Opt>,
    from: Option<Path>,
    past: bool,
    krate: Option<&'a Opt>,
}

fn read_options<'a>(options: &'a [Opt], errors: &mut Errors) -> Options<'a> {
    let mut published = None;
    let mut read = Options {
        name: None,
        version: 1,
        event: None,
        published: false,
        requests: None,
        from: None,
        past: false,
        krate: None,
    };
    for option in options {
        match option.name.to_string().as_str() {
            "name" => match option.string(errors) {
                Some(text) if text.value().is_empty() => errors.push(text, "the name is empty"),
                Some(text) => read.name = Some(text.value()),
                None => {}
            },
            "version" => match option.number(errors) {
                Some(0) => errors.push(&option.value, "versions begin at 1"),
                Some(number) => read.version = number,
                None => {}
            },
            "crate" => read.krate = Some(option),
            "event" => read.event = option.path(errors),
            "published" => {
                published = Some(&option.name);
                if option.value.is_some() {
                    errors.push(option, "write `published`, without a value");
                }
            }
            "requests" => read.requests = Some(option),
            "from" => read.from = option.path(errors),
            "past" if option.value.is_some() => errors.push(option, "`past` has no value"),
            "past" => read.past = true,
            other => errors.push(
                &option.name,
                format!(
                    "unknown option `{other}`; a struct has `name`, `version`, `from`, `past`, \
                     `event`, `published`, `requests` and `crate`"
                ),
            ),
        }
    }
    if let (Some(published), None) = (published, &read.event) {
        let why = "`published` goes with `event = …`: it lets clients read the events";
        errors.push(published, why);
    }
    read.published = published.is_some();
    if let Some(from) = &read.from
        && read.version == 1
    {
        errors.push(from, "`from` needs a `version = …` above that of the earlier type");
    }
    read
}

/// Reads a struct and takes this macro's attributes off it.
pub(crate) fn state(mut item: ItemStruct, options: Vec<Opt>, errors: &mut Errors) -> State {
    let read = read_options(&options, errors);
    let name = read.name.unwrap_or_else(|| item.ident.unraw().to_string());
    let krate = parse::krate(read.krate, errors);
    let requests = read.requests.and_then(|option| policy(option, errors));
    let expandable = check_generics(&item, errors);
    let mut model = State {
        krate,
        name,
        version: read.version,
        event: read.event,
        published: read.published,
        from: read.from,
        past: read.past,
        requests,
        fields: Vec::new(),
        local: Vec::new(),
        derived: Vec::new(),
        expandable,
        item: item.clone(),
    };
    fields(&mut item, &mut model, errors);
    model.item = item;
    model
}

/// Who coordinates requests: a variant of the policy, by its name or with a function that names a
/// rank.
pub(super) fn policy(option: &Opt, errors: &mut Errors) -> Option<TokenStream> {
    if let Some(syn::Expr::Path(path)) = &option.value {
        return Some(quote::quote!(Named(#path)));
    }
    let text = option.string(errors)?;
    Some(match text.value().as_str() {
        "rendezvous" => quote::quote!(Rendezvous),
        "primary" => quote::quote!(Primary),
        "load" => quote::quote!(Load),
        "active" => quote::quote!(Active),
        other => {
            let name = &option.name;
            let why = format!(
                "unknown policy \"{other}\": write `{name} = \"rendezvous\"`, `\"primary\"`, \
                 `\"load\"`, `\"active\"`, or the name of a function"
            );
            errors.push(&text, why);
            return None;
        }
    })
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

/// The fields that are in checkpoints, and those that are not.
fn fields(item: &mut ItemStruct, model: &mut State, errors: &mut Errors) {
    // Attributes of serde's derives stay if a derive below this macro still wants them.
    let derives = item.attrs.iter().any(derives_serde);
    for (index, field) in item.fields.iter_mut().enumerate() {
        let local = take_local(field, errors);
        let derived = take_derived(field, errors);
        if let (Some(_), Some(attribute)) = (&local, &derived) {
            errors.push(attribute, "a field is `#[local]` or `#[derived]`, not both");
        }
        if model.past {
            for attribute in local.iter().chain(&derived) {
                let why = "an earlier version is only read from checkpoints, and this is in none: \
                           leave the field out";
                errors.push(attribute, why);
            }
        }
        match (local, derived) {
            (Some(_), _) => {
                model.local.push(Local {
                    member: member(index, field),
                    cfgs: parse::named(&field.attrs, "cfg"),
                });
            }
            (None, Some(attribute)) => {
                check_type(field, errors);
                model.derived.extend(derived_field(index, field, &attribute, errors));
            }
            (None, None) => {
                check_type(field, errors);
                model.fields.push(replicated_field(index, field, errors));
            }
        }
        if !derives {
            field.attrs.retain(|attribute| !attribute.path().is_ident("serde"));
        }
    }
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

fn take_local(field: &mut SynField, errors: &mut Errors) -> Option<Attribute> {
    let mut local = None;
    field.attrs.retain(|attribute| {
        if !attribute.path().is_ident("local") {
            return parse::not_conditional(attribute, &["local", "derived"], errors);
        }
        match &attribute.meta {
            Meta::Path(_) if local.is_some() => errors.push(attribute, "`#[local]` is given twice"),
            Meta::Path(_) => {}
            _ => errors.push(attribute, "`#[local]` has no options"),
        }
        local = Some(attribute.clone());
        false
    });
    local
}

fn take_derived(field: &mut SynField, errors: &mut Errors) -> Option<Attribute> {
    let mut found = None;
    field.attrs.retain(|attribute| {
        if !attribute.path().is_ident("derived") {
            return true;
        }
        if found.is_some() {
            errors.push(attribute, "`#[derived]` is given twice");
        } else {
            found = Some(attribute.clone());
        }
        false
    });
    found
}

fn derived_field(
    index: usize,
    field: &SynField,
    attribute: &Attribute,
    errors: &mut Errors,
) -> Option<Derived> {
    const FORM: &str = "write `#[derived(with = Self::index)]`: a function from `&Self` to the \
                        field's value";
    let before = errors.count();
    let mut with = None;
    for option in &parse::attribute(attribute, errors) {
        match (&option.value, option.name == "with") {
            (Some(syn::Expr::Path(path)), true) => with = Some(path.path.clone()),
            _ => errors.push(option, FORM),
        }
    }
    if with.is_none() && errors.count() == before {
        errors.push(attribute, FORM);
    }
    Some(Derived {
        member: member(index, field),
        cfgs: parse::named(&field.attrs, "cfg"),
        with: with?,
    })
}

fn member(index: usize, field: &SynField) -> Member {
    match &field.ident {
        Some(ident) => Member::Named(ident.clone()),
        None => Member::Unnamed(index.into()),
    }
}

fn replicated_field(index: usize, field: &SynField, errors: &mut Errors) -> Field {
    let name = match &field.ident {
        Some(ident) => ident.unraw().to_string(),
        None => index.to_string(),
    };
    let mut model = Field {
        member: member(index, field),
        name,
        ty: field.ty.clone(),
        cfgs: parse::named(&field.attrs, "cfg"),
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
