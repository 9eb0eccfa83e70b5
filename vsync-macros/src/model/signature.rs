//! What the signature of an update, a query or an `#[on_view]` method must be.

use proc_macro2::{Spacing, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::parse::Parse;
use syn::{
    FnArg, GenericArgument, Pat, PatType, PathArguments, Receiver, ReceiverKind, ReturnType,
    Safety, Signature, Type, TypeReference,
};

use super::state::hashed;
use super::{Arg, Output, Stub};
use crate::parse::Errors;

/// Whether a method changes the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Update,
    Query,
    OnView,
    Request,
}

impl Kind {
    fn article(self) -> &'static str {
        match self {
            Kind::Update => "an update",
            Kind::Query => "a query",
            Kind::OnView => "an `#[on_view]` method",
            Kind::Request => "a request",
        }
    }
}

/// What of a signature goes into the model.
pub(crate) struct Read {
    pub(crate) ctx: bool,
    pub(crate) args: Vec<Arg>,
    pub(crate) output: Output,
    pub(crate) usable: bool,
    pub(crate) stub: Stub,
    /// Whether the result is declared as an `Effect` of this.
    pub(crate) effect: bool,
}

/// Reads the signature of an update or query of the type `ty`.
pub(crate) fn read(sig: &Signature, ty: &Type, kind: Kind, errors: &mut Errors) -> Read {
    let mut usable = qualifiers(sig, kind, errors);
    receiver(sig, kind, errors);
    let mut ctx = false;
    let mut args = Vec::new();
    let mut stub = Stub { generics: sig.generics.clone(), args: Vec::new() };
    for (index, typed) in typed(sig).enumerate() {
        match context(&typed.ty) {
            Some(found) => {
                let takes = !matches!(kind, Kind::OnView);
                let good = takes && index == 0 && found == Context::good(kind);
                ctx |= good;
                if !good {
                    misplaced_context(typed, found, kind, errors);
                }
            }
            None => {
                stub.args.push(without_self(&*typed.ty, ty));
                match argument(typed, ty, kind, errors) {
                    Some(arg) => args.push(arg),
                    None => usable = false,
                }
            }
        }
    }
    // rustc reports names that are there twice, wherever they are: once is enough.
    let mut names = std::collections::HashSet::new();
    usable &= args.iter().all(|arg: &Arg| names.insert(arg.name.clone()));
    if kind == Kind::Request && !ctx && !sig.inputs.iter().any(is_context) {
        errors.push(&sig.ident, REQUEST_CONTEXT);
    }
    let (declared, effect) = match kind {
        Kind::Request => {
            no_effect_inside(&sig.output, errors);
            without_effect(&sig.output)
        }
        _ => (sig.output.clone(), false),
    };
    let output = match output(&declared, ty, errors) {
        Some(output) => output,
        None => {
            usable = false;
            Output::Unit
        }
    };
    Read { ctx, args, output, usable, stub, effect }
}

/// Reads the signature of the `#[on_view]` method; gives whether it takes a context.
pub(crate) fn on_view(sig: &Signature, errors: &mut Errors) -> bool {
    const FORM: &str = "write `fn view(&mut self, ctx: &Ctx<Self>, view: &View)`; the context may \
                        be left out";
    qualifiers(sig, Kind::OnView, errors);
    receiver(sig, Kind::OnView, errors);
    if let ReturnType::Type(_, ty) = &sig.output {
        errors.push(ty, "an `#[on_view]` method gives nothing");
    }
    let mut rest = typed(sig).peekable();
    let ctx =
        rest.next_if(|typed| context(&typed.ty) == Some(Context::good(Kind::OnView))).is_some();
    match rest.next() {
        Some(view) if is_reference_to(&view.ty, "View") => {}
        Some(other) => errors.push(other, FORM),
        None => errors.push(&sig.ident, FORM),
    }
    for more in rest {
        errors.push(more, FORM);
    }
    ctx
}

fn typed(sig: &Signature) -> impl Iterator<Item = &PatType> {
    sig.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(typed) => Some(typed),
        FnArg::Receiver(_) => None,
    })
}

/// `async`, `unsafe`, generics and their like. Gives whether code can be made for it all the same.
fn qualifiers(sig: &Signature, kind: Kind, errors: &mut Errors) -> bool {
    let what = kind.article();
    if kind == Kind::Request {
        if sig.asyncness.is_none() {
            errors.push(sig.fn_token, "a request is async: write `async fn`");
        }
    } else if let Some(token) = &sig.asyncness {
        let why = format!("{what} cannot be async: it runs to its end at one point of the order");
        errors.push(token, why);
    }
    if let Safety::Unsafe(token) = &sig.safety {
        errors.push(token, format!("{what} cannot be unsafe: other nodes call it"));
    }
    if let Some(abi) = &sig.abi {
        errors.push(abi, format!("{what} is an ordinary Rust method"));
    }
    if let Some(variadic) = &sig.variadic {
        errors.push(variadic, format!("{what} has a fixed list of arguments"));
    }
    if sig.generics.params.is_empty() {
        return true;
    }
    let why = format!("{what} cannot be generic: other nodes must know the types from its name");
    errors.push(&sig.generics, why);
    false
}

fn receiver(sig: &Signature, kind: Kind, errors: &mut Errors) {
    if kind == Kind::Request {
        return no_receiver(sig, errors);
    }
    let (form, other) = match kind {
        Kind::Update | Kind::OnView => ("&mut self", "it may change the state"),
        Kind::Query | Kind::Request => ("&self", "it reads the state"),
    };
    let Some(receiver) = sig.receiver() else {
        let why = format!("{} takes `{form}`: {other}", kind.article());
        return errors.push(&sig.ident, why);
    };
    let exclusive = match &receiver.kind {
        ReceiverKind::Reference(_, _, mutability) => Some(mutability.is_some()),
        // `self: &mut Self` is `&mut self`.
        ReceiverKind::Typed(_, ty) => match &**ty {
            Type::Reference(reference) if is_self(&reference.elem) => {
                Some(reference.mutability.is_some())
            }
            _ => None,
        },
        _ => None,
    };
    let why = match (exclusive, kind) {
        (Some(true), Kind::Update | Kind::OnView) | (Some(false), Kind::Query) => return,
        (Some(false), Kind::Update) => {
            "an update takes `&mut self`; what only reads the state is a `#[query]`".to_owned()
        }
        (Some(true), Kind::Query) => {
            "a query takes `&self`; what changes the state is an `#[update]`".to_owned()
        }
        _ => format!("{} takes `{form}`", kind.article()),
    };
    errors.push(receiver_tokens(receiver), why);
}

/// A request has the state at arm's length only: it runs while updates go on.
fn no_receiver(sig: &Signature, errors: &mut Errors) {
    if let Some(receiver) = sig.receiver() {
        let why = "a request has no `self`, since updates go on while it runs: it reads with \
                   `ctx.read(…)` and changes with `ctx.update()`";
        errors.push(receiver_tokens(receiver), why);
    }
}

const REQUEST_CONTEXT: &str = "a request takes `ctx: &RequestCtx<Self>` first";

fn is_context(input: &FnArg) -> bool {
    matches!(input, FnArg::Typed(typed) if context(&typed.ty).is_some())
}

fn is_self(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.path.is_ident("Self"))
}

fn receiver_tokens(receiver: &Receiver) -> TokenStream {
    receiver.to_token_stream()
}

/// A parameter that is a context, rightly or wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Context {
    of: Of,
    /// Whether it is taken by `&`.
    shared: bool,
}

/// Whose context it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// `Ctx<…>`.
    Update,
    /// `QueryCtx`.
    Query,
    /// `RequestCtx<…>`.
    Request,
}

impl Context {
    /// What such a method may take.
    fn good(kind: Kind) -> Context {
        let of = match kind {
            Kind::Query => Of::Query,
            Kind::Request => Of::Request,
            Kind::Update | Kind::OnView => Of::Update,
        };
        Context { of, shared: true }
    }
}

/// Whether there is a context anywhere among the arguments.
pub(crate) fn mentions_context(sig: &Signature) -> bool {
    typed(sig).any(|typed| context(&typed.ty).is_some())
}

fn context(ty: &Type) -> Option<Context> {
    let (inner, shared) = match ty {
        Type::Reference(TypeReference { elem, mutability, lifetime, .. }) => {
            (&**elem, mutability.is_none() && lifetime.is_none())
        }
        other => (other, false),
    };
    let of = match last_name(inner)?.as_str() {
        "Ctx" => Of::Update,
        "QueryCtx" => Of::Query,
        "RequestCtx" => Of::Request,
        _ => return None,
    };
    Some(Context { of, shared })
}

fn misplaced_context(typed: &PatType, found: Context, kind: Kind, errors: &mut Errors) {
    let why = match (found.of, kind) {
        (Of::Request, Kind::Request) if !found.shared => "the context is `ctx: &RequestCtx<Self>`",
        (_, Kind::Request) => REQUEST_CONTEXT,
        (Of::Request, _) => "only a `#[request]` has a `RequestCtx`",
        (Of::Update, Kind::Query) => {
            "a query has no `Ctx`: it runs at one replica, outside the order of updates; what it \
             may know is in `ctx: &QueryCtx`"
        }
        (Of::Query, Kind::Update | Kind::OnView) => {
            "an update has no `QueryCtx`, which differs between replicas: take `ctx: &Ctx<Self>`"
        }
        (Of::Query, Kind::Query) if found.shared => {
            "the context comes first: `(&self, ctx: &QueryCtx, …)`"
        }
        (Of::Query, Kind::Query) => "the context is `ctx: &QueryCtx`",
        (Of::Update, _) if found.shared => {
            "the context comes first: `(&mut self, ctx: &Ctx<Self>, …)`"
        }
        (Of::Update, _) => "the context is `ctx: &Ctx<Self>`",
    };
    errors.push(typed, why);
}

fn is_reference_to(ty: &Type, name: &str) -> bool {
    match ty {
        Type::Reference(reference) => {
            reference.mutability.is_none()
                && last_name(&reference.elem).is_some_and(|last| last == name)
        }
        _ => false,
    }
}

fn last_name(ty: &Type) -> Option<String> {
    match ty {
        Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
        Type::Group(group) => last_name(&group.elem),
        Type::Paren(paren) => last_name(&paren.elem),
        _ => None,
    }
}

/// An argument that travels; errors are reported, and `None` then.
fn argument(typed: &PatType, ty: &Type, kind: Kind, errors: &mut Errors) -> Option<Arg> {
    let before = errors.count();
    for attribute in &typed.attrs {
        if attribute.path().is_ident("cfg") || attribute.path().is_ident("cfg_attr") {
            errors.push(attribute, "all nodes must agree on the arguments: no `cfg` here");
        }
    }
    let ident = match &*typed.pat {
        Pat::Ident(pat) if pat.by_ref.is_none() && pat.subpat.is_none() => Some(pat.ident.clone()),
        other => {
            errors.push(other, "an argument is a plain name here: take it apart in the body");
            None
        }
    };
    travels(&typed.ty, "an argument", errors);
    if kind == Kind::Update {
        hashed(typed.ty.to_token_stream(), "", errors);
    }
    if errors.count() > before {
        return None;
    }
    let ident = ident?;
    let name = ident.unraw().to_string();
    Some(Arg { ident, name, ty: without_self(&*typed.ty, ty) })
}

/// What a request is declared to give, without the `Effect` around it.
fn without_effect(output: &ReturnType) -> (ReturnType, bool) {
    let ReturnType::Type(arrow, declared) = output else { return (output.clone(), false) };
    match effect_of(declared) {
        Some(inner) => (ReturnType::Type(*arrow, Box::new(inner.clone())), true),
        None => (output.clone(), false),
    }
}

/// Whether there is one is known at the end only: an `Effect` is no part of an answer.
fn no_effect_inside(output: &ReturnType, errors: &mut Errors) {
    let ReturnType::Type(_, declared) = output else { return };
    let Type::Path(path) = &**declared else { return };
    let Some(last) = path.path.segments.last().filter(|last| last.ident == "Result") else {
        return;
    };
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return };
    if let Some(GenericArgument::Type(value)) = arguments.args.first()
        && effect_of(value).is_some()
    {
        let why = "an `Effect` is all of an answer: declare `Effect<Result<T, E>>`, and say no \
                   with `Effect::value(Err(…))`";
        errors.push(value, why);
    }
}

fn effect_of(ty: &Type) -> Option<&Type> {
    let path = match ty {
        Type::Path(path) => path,
        Type::Group(group) => return effect_of(&group.elem),
        _ => return None,
    };
    let last = path.path.segments.last().filter(|last| last.ident == "Effect")?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match (arguments.args.first()?, arguments.args.len()) {
        (GenericArgument::Type(inner), 1) => Some(inner),
        _ => None,
    }
}

fn output(output: &ReturnType, ty: &Type, errors: &mut Errors) -> Option<Output> {
    let ReturnType::Type(_, declared) = output else {
        return Some(Output::Unit);
    };
    let before = errors.count();
    travels(declared, "a result", errors);
    if errors.count() > before {
        return None;
    }
    Some(match result_of(declared) {
        Some((value, error)) => Output::Fallible(without_self(value, ty), without_self(error, ty)),
        None if matches!(&**declared, Type::Tuple(tuple) if tuple.elems.is_empty()) => Output::Unit,
        None => Output::Plain(without_self(&**declared, ty)),
    })
}

/// The two types of a `Result<V, E>`.
fn result_of(ty: &Type) -> Option<(&Type, &Type)> {
    let path = match ty {
        Type::Path(path) => path,
        // What a macro by example was given.
        Type::Group(group) => return result_of(&group.elem),
        _ => return None,
    };
    let last = path.path.segments.last().filter(|last| last.ident == "Result")?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    let mut types = arguments.args.iter().map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    match (types.next()??, types.next()??, types.next()) {
        (value, error, None) => Some((value, error)),
        _ => None,
    }
}

/// Refuses types that cannot travel, by their form.
fn travels(ty: &Type, what: &str, errors: &mut Errors) {
    match ty {
        Type::ImplTrait(found) => {
            let why = format!("{what} has one known type: no `impl Trait`");
            errors.push(found, why);
        }
        Type::Reference(found) => {
            let why = format!("{what} travels to other nodes: take {}", owned(found));
            errors.push(found, why);
        }
        Type::Never(found) => errors.push(found, format!("{what} has a value: no `!`")),
        Type::Ptr(found) => {
            errors.push(found, format!("{what} travels to other nodes: no pointer"))
        }
        Type::Path(path) => {
            for segment in &path.path.segments {
                let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
                    continue;
                };
                for argument in &arguments.args {
                    match argument {
                        GenericArgument::Type(inner) => travels(inner, what, errors),
                        GenericArgument::Lifetime(lifetime) if lifetime.ident != "static" => {
                            let why = format!("{what} travels to other nodes: it borrows nothing");
                            errors.push(lifetime, why);
                        }
                        _ => {}
                    }
                }
            }
        }
        Type::Tuple(tuple) => tuple.elems.iter().for_each(|inner| travels(inner, what, errors)),
        Type::Array(array) => travels(&array.elem, what, errors),
        Type::Slice(slice) => travels(&slice.elem, what, errors),
        Type::Group(group) => travels(&group.elem, what, errors),
        Type::Paren(paren) => travels(&paren.elem, what, errors),
        _ => {}
    }
}

/// What to write instead of a reference.
fn owned(reference: &TypeReference) -> String {
    match &*reference.elem {
        Type::Slice(slice) => {
            let elem = slice.elem.to_token_stream();
            format!("it by value, `Vec<{elem}>` for `&[{elem}]`")
        }
        inner if last_name(inner).is_some_and(|name| name == "str") => {
            "it by value, `String` for `&str`".to_owned()
        }
        _ => "it by value".to_owned(),
    }
}

/// `Self` means another type in generated items: it is written out.
pub(crate) fn without_self<T: ToTokens + Parse + Clone>(tokens: &T, ty: &Type) -> T {
    let replaced = replace_self(tokens.to_token_stream(), ty);
    // A type stays one when a name in it is replaced by a type; if not, rustc says what is wrong.
    syn::parse2(replaced).unwrap_or_else(|_| tokens.clone())
}

fn replace_self(tokens: TokenStream, ty: &Type) -> TokenStream {
    let mut out = TokenStream::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(ident) if ident == "Self" => {
                // `Self::Item`, but not `Self: Bound`.
                let path = matches!(
                    tokens.peek(),
                    Some(TokenTree::Punct(p)) if p.as_char() == ':' && p.spacing() == Spacing::Joint
                );
                out.extend(if path { quote!(<#ty>) } else { quote!(#ty) });
            }
            TokenTree::Group(group) => {
                let inner = replace_self(group.stream(), ty);
                let mut replaced = proc_macro2::Group::new(group.delimiter(), inner);
                replaced.set_span(group.span());
                out.extend([TokenTree::Group(replaced)]);
            }
            other => out.extend([other]),
        }
    }
    out
}
