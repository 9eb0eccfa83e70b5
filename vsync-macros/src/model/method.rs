//! The model of an annotated `impl` block.

use syn::ext::IdentExt;
use syn::{
    Attribute, ExprPath, GenericParam, Ident, ImplItem, ImplItemFn, ItemImpl, Path, PathArguments,
    Type,
};

use super::signature::{self, Kind};
use super::state::policy;
use super::{Base, Delivery, Id, Method, Methods, OnView, Order, Request};
use crate::names;
use crate::parse::{self, Errors, Opt};

/// Reads an `impl` block and takes this macro's attributes off it.
pub(crate) fn methods(item: ItemImpl, options: Vec<Opt>, errors: &mut Errors) -> Methods {
    let mut krate = None;
    for option in &options {
        match option.name.to_string().as_str() {
            "crate" => krate = Some(option),
            other @ ("name" | "version" | "from" | "event" | "requests") => {
                errors.push(&option.name, format!("`{other}` goes on the struct"));
            }
            other => errors.push(
                &option.name,
                format!("unknown option `{other}`; an `impl` block has `crate`"),
            ),
        }
    }
    let krate = parse::krate(krate, errors);
    let base = base(&item, errors);
    let mut model = Methods {
        item,
        krate,
        base,
        updates: Vec::new(),
        queries: Vec::new(),
        requests: Vec::new(),
        on_view: Vec::new(),
    };
    let mut items = std::mem::take(&mut model.item.items);
    for item in &mut items {
        match item {
            ImplItem::Fn(function) => read(function, &mut model, errors),
            ImplItem::Macro(call) => errors.push(
                &call.mac.path,
                "#[replicated] cannot see what a macro makes: write the methods out, or put the \
                 call into another `impl` block",
            ),
            ImplItem::Const(other) => misplaced(&mut other.attrs, errors),
            ImplItem::Type(other) => misplaced(&mut other.attrs, errors),
            _ => {}
        }
    }
    model.item.items = items;
    model
}

/// The type of the block, if code can be generated for it.
fn base(item: &ItemImpl, errors: &mut Errors) -> Option<Base> {
    if let Some((path, _)) = &item.trait_ {
        errors.push(path, "#[replicated] goes on an `impl` block of the struct, not of a trait");
        return None;
    }
    let path = match &*item.self_ty {
        Type::Path(ty) if ty.qself.is_none() => ty.path.clone(),
        other => {
            errors.push(other, "#[replicated] needs the name of a struct here");
            return None;
        }
    };
    let mut generics = item.generics.clone();
    for param in &generics.params {
        if let GenericParam::Lifetime(lifetime) = param {
            errors.push(lifetime, "a replicated state owns what it has: no lifetimes");
            return None;
        }
    }
    let ty = (*item.self_ty).clone();
    if let Some(clause) = &mut generics.where_clause {
        *clause = signature::without_self(clause, &ty);
    }
    Some(Base { ty, path, generics })
}

impl Base {
    /// The path of a companion: `atc::Sector<V>` has `atc::SectorHandle<V>`.
    pub(crate) fn companion(&self, suffix: &str) -> Path {
        let mut path = self.path.clone();
        if let Some(last) = path.segments.last_mut() {
            last.ident = companion(&last.ident, suffix);
            if let PathArguments::AngleBracketed(arguments) = &mut last.arguments {
                arguments.colon2_token = None;
            }
        }
        path
    }

    /// The struct's own name.
    pub(crate) fn ident(&self) -> Option<&Ident> {
        self.path.segments.last().map(|last| &last.ident)
    }
}

/// The name of a generated item.
pub(crate) fn companion(base: &Ident, suffix: &str) -> Ident {
    Ident::new(&format!("{}{suffix}", base.unraw()), base.span())
}

/// What an attribute makes of a method.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Update,
    Query,
    OnView,
    Request,
    Merge,
}

const ROLES: [&str; 5] = ["update", "query", "on_view", "request", "merge"];

fn role(attribute: &Attribute) -> Option<Role> {
    let ident = attribute.path().get_ident()?;
    match ident.to_string().as_str() {
        "update" => Some(Role::Update),
        "query" => Some(Role::Query),
        "on_view" => Some(Role::OnView),
        "request" => Some(Role::Request),
        "merge" => Some(Role::Merge),
        _ => None,
    }
}

/// Takes the attribute of this macro off a method; a second one is an error.
fn take_role(function: &mut ImplItemFn, errors: &mut Errors) -> Option<(Role, Attribute)> {
    let mut found: Option<(Role, Attribute)> = None;
    function.attrs.retain(|attribute| {
        let Some(role) = role(attribute) else {
            return parse::not_conditional(attribute, &ROLES, errors);
        };
        if found.is_some() {
            errors.push(attribute, "a method is one of `update`, `query`, `request` and `on_view`");
        } else {
            found = Some((role, attribute.clone()));
        }
        false
    });
    found
}

/// Takes this macro's attributes off what is no method.
fn misplaced(attributes: &mut Vec<Attribute>, errors: &mut Errors) {
    attributes.retain(|attribute| {
        if role(attribute).is_none() {
            return true;
        }
        errors.push(attribute, "this goes on a method");
        false
    });
}

fn read(function: &mut ImplItemFn, model: &mut Methods, errors: &mut Errors) {
    let Some((role, attribute)) = take_role(function, errors) else {
        return;
    };
    let before = errors.count();
    let options = parse::attribute(&attribute, errors);
    let broken = errors.count() > before;
    let Some(base) = &model.base else { return };
    match role {
        Role::Update => {
            let (delivery, id) = update_options(&attribute, &options, broken, errors);
            let update = method(function, &base.ty, Kind::Update, id, errors);
            model.updates.push(Method { delivery: Some(delivery), ..update });
        }
        Role::Query => {
            let read = query_options(&options, errors);
            let query = method(function, &base.ty, Kind::Query, read.id, errors);
            let QueryOptions { scatter, gather, snapshot, .. } = read;
            if scatter && !query.ctx && !signature::mentions_context(&function.sig) {
                errors.push(&query.ident, NO_SHARE);
            }
            let gather = gather.map(|path| signature::without_self(&path, &base.ty));
            model.queries.push(Method { gather, snapshot, ..query });
        }
        Role::OnView => {
            for option in &options {
                errors.push(&option.name, "`#[on_view]` has no options");
            }
            let ctx = signature::on_view(&function.sig, errors);
            let cfgs = parse::named(&function.attrs, "cfg");
            // Methods under different `cfg`s may stand in for each other.
            let mut others = model.on_view.iter();
            if let Some(first) = others.find(|it| it.cfgs.is_empty() || cfgs.is_empty()) {
                let why = format!("`{}` is the `#[on_view]` method already", first.ident);
                errors.push(&function.sig.ident, why);
                return;
            }
            model.on_view.push(OnView { ident: function.sig.ident.clone(), cfgs, ctx });
        }
        Role::Request => {
            let read = request_options(&options, errors);
            let mut request = method(function, &base.ty, Kind::Request, read.id, errors);
            if let Some(key) = &read.key
                && !request.args.iter().any(|arg| arg.ident == *key)
                && request.usable
            {
                errors.push(key, KEY);
                request.usable = false;
            }
            if let Some(own) = &mut request.request {
                own.key = read.key;
                own.policy = read.policy;
            }
            model.requests.push(Method { delivery: Some(read.delivery), ..request });
        }
        Role::Merge => errors.push(&attribute, "`#[merge]` is not supported yet"),
    }
}

fn method(
    function: &ImplItemFn,
    ty: &Type,
    kind: Kind,
    id: Option<(u32, proc_macro2::TokenStream)>,
    errors: &mut Errors,
) -> Method {
    let signature = signature::read(&function.sig, ty, kind, errors);
    let ident = function.sig.ident.clone();
    let name = ident.unraw().to_string();
    let id = match id {
        Some((number, given)) => Id { number, given: Some(given) },
        None => Id { number: names::id(&name), given: None },
    };
    Method {
        docs: parse::named(&function.attrs, "doc"),
        deprecated: parse::named(&function.attrs, "deprecated"),
        cfgs: parse::named(&function.attrs, "cfg"),
        vis: function.vis.clone(),
        variant: names::variant(&ident),
        ident,
        name,
        id,
        ctx: signature.ctx,
        args: signature.args,
        output: signature.output,
        gather: None,
        snapshot: None,
        delivery: None,
        request: (kind == Kind::Request).then_some(Request {
            key: None,
            policy: None,
            effect: signature.effect,
        }),
        usable: signature.usable,
        stub: Some(signature.stub),
    }
}

type Given = Option<(u32, proc_macro2::TokenStream)>;

fn given_id(option: &Opt, errors: &mut Errors) -> Given {
    let number = option.number(errors)?;
    Some((number, quote::ToTokens::to_token_stream(&option.value)))
}

const ORDERS: &str = "`order = \"fifo\"`, `\"causal\"` or `\"total\"`";

fn update_options(
    attribute: &Attribute,
    options: &[Opt],
    broken: bool,
    errors: &mut Errors,
) -> (Delivery, Given) {
    let mut order = None;
    let mut stable = false;
    let mut id = None;
    let (mut since, mut until) = (1, None);
    for option in options {
        match option.name.to_string().as_str() {
            "order" => order = Some(read_order(option, errors)),
            "level" => stable = read_level(option, errors),
            "id" => id = given_id(option, errors),
            "since" => since = read_version(option, errors).unwrap_or(1),
            "until" => until = read_version(option, errors),
            other @ ("role" | "key") => {
                errors.push(&option.name, format!("`{other}` is not supported yet"));
            }
            other => errors.push(
                &option.name,
                format!(
                    "unknown option `{other}`; an update has `order`, `level`, `id`, `since` and \
                     `until`"
                ),
            ),
        }
    }
    if let Some(until) = until.filter(|until| *until <= since) {
        let why = format!("the version {until} has it no more, but it is there since {since}");
        errors.push(attribute, why);
    }
    // Where the options cannot be read the order may be among them.
    if order.is_none() && !broken {
        errors.push(attribute, format!("an update needs an order: {ORDERS}"));
    }
    let order = order.unwrap_or(Order::Total);
    (Delivery { order, stable, since, until }, id)
}

fn read_version(option: &Opt, errors: &mut Errors) -> Option<u32> {
    let number = option.number(errors)?;
    if number == 0 {
        errors.push(&option.value, "versions begin at 1");
    }
    Some(number)
}

fn read_order(option: &Opt, errors: &mut Errors) -> Order {
    let Some(text) = option.string(errors) else {
        return Order::Total;
    };
    match text.value().as_str() {
        "fifo" => Order::Fifo,
        "causal" => Order::Causal,
        "total" => Order::Total,
        other => {
            errors.push(&text, format!("unknown order \"{other}\": write {ORDERS}"));
            Order::Total
        }
    }
}

fn read_level(option: &Opt, errors: &mut Errors) -> bool {
    let Some(text) = option.string(errors) else {
        return false;
    };
    match text.value().as_str() {
        "stable" => true,
        "optimistic" => false,
        other => {
            let why = format!(
                "unknown level \"{other}\": write `level = \"stable\"`, or leave it out for \
                 \"optimistic\""
            );
            errors.push(&text, why);
            false
        }
    }
}

const NO_SHARE: &str = "a scattered query takes `ctx: &QueryCtx` first: by it each member knows \
                        its share";

/// The options of a query.
struct QueryOptions {
    id: Given,
    /// Whether the members divide its work.
    scatter: bool,
    /// What gathers their answers.
    gather: Option<ExprPath>,
    /// Where it is said that it is answered from a copy of the state.
    snapshot: Option<Ident>,
}

fn query_options(options: &[Opt], errors: &mut Errors) -> QueryOptions {
    let (mut id, mut snapshot) = (None, None);
    let (mut scatter, mut gather, mut function) = (None, None, None);
    for option in options {
        match option.name.to_string().as_str() {
            "id" => id = given_id(option, errors),
            "scatter" => {
                scatter = Some(&option.name);
                if option.value.is_some() {
                    errors.push(option, "write `scatter`, without a value");
                }
            }
            "snapshot" => {
                snapshot = Some(option.name.clone());
                if option.value.is_some() {
                    errors.push(option, "write `snapshot`, without a value");
                }
            }
            "gather" => {
                gather = Some(&option.name);
                function = option.function(errors);
            }
            other @ "role" => {
                errors.push(&option.name, format!("`{other}` is not supported yet"));
            }
            other @ ("since" | "until") => errors.push(
                &option.name,
                format!("a query has no `{other}`: it reads what is there in any version"),
            ),
            other => errors.push(
                &option.name,
                format!(
                    "unknown option `{other}`; a query has `scatter`, `gather`, `snapshot` and `id`"
                ),
            ),
        }
    }
    match (scatter, gather) {
        (Some(scatter), None) => errors.push(
            scatter,
            "a scattered query has `gather = …`, the function that makes one answer of the \
             members' answers: `fn(Vec<R>) -> R`",
        ),
        (None, Some(gather)) => {
            errors.push(gather, "`gather` goes with `scatter`: `#[query(scatter, gather = …)]`");
        }
        _ => {}
    }
    let gather = function.filter(|_| scatter.is_some());
    QueryOptions { id, scatter: scatter.is_some(), gather, snapshot }
}

const KEY: &str = "the key is an argument of the request: write `key = argument`";

/// The options of a request.
struct RequestOptions {
    id: Given,
    key: Option<Ident>,
    policy: Option<proc_macro2::TokenStream>,
    delivery: Delivery,
}

fn request_options(options: &[Opt], errors: &mut Errors) -> RequestOptions {
    let usual = Delivery { order: Order::Total, stable: false, since: 1, until: None };
    let mut read = RequestOptions { id: None, key: None, policy: None, delivery: usual };
    for option in options {
        match option.name.to_string().as_str() {
            "id" => read.id = given_id(option, errors),
            "since" => read.delivery.since = read_version(option, errors).unwrap_or(1),
            "until" => read.delivery.until = read_version(option, errors),
            "key" => match &option.value {
                Some(syn::Expr::Path(path)) if path.path.get_ident().is_some() => {
                    read.key = path.path.get_ident().cloned();
                }
                _ => errors.push(option, KEY),
            },
            "policy" => read.policy = policy(option, errors),
            "requests" => errors.push(
                &option.name,
                "`requests` goes on the struct, for all its requests; one has `policy`",
            ),
            other @ ("order" | "level") => errors.push(
                &option.name,
                format!("a request has no `{other}`: its updates are applied as one total update"),
            ),
            other => errors.push(
                &option.name,
                format!(
                    "unknown option `{other}`; a request has `key`, `policy`, `id`, `since` and \
                     `until`"
                ),
            ),
        }
    }
    let Delivery { since, until, .. } = read.delivery;
    if let Some(until) = until.filter(|until| *until <= since) {
        let why = format!("the version {until} has it no more, but it is there since {since}");
        for option in options.iter().filter(|option| option.name == "until") {
            errors.push(&option.value, &why);
        }
    }
    read
}
