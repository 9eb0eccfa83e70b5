//! What was annotated, in the terms of replication.

mod method;
mod signature;
mod state;

use proc_macro2::{Ident, TokenStream};
use syn::{Attribute, ExprPath, Generics, ItemImpl, ItemStruct, Member, Path, Type, Visibility};

pub(crate) use method::{companion, methods};
pub(crate) use state::state;

/// An annotated struct.
pub(crate) struct State {
    /// The struct as it is emitted: without this macro's attributes.
    pub(crate) item: ItemStruct,
    /// Where the `vsync` crate is.
    pub(crate) krate: TokenStream,
    /// What the type is called in the cluster.
    pub(crate) name: String,
    /// The version of state and methods.
    pub(crate) version: u32,
    /// What its updates emit.
    pub(crate) event: Option<Path>,
    /// Whether clients may read what is emitted.
    pub(crate) published: bool,
    /// Who coordinates its requests: a variant of the policy.
    pub(crate) requests: Option<TokenStream>,
    /// The version before.
    pub(crate) from: Option<Path>,
    /// Whether it is itself an earlier version, kept for its checkpoints.
    pub(crate) past: bool,
    /// The fields that are part of the replicated state.
    pub(crate) fields: Vec<Field>,
    /// The fields that are this node's own.
    pub(crate) local: Vec<Local>,
    /// The fields that are computed from these.
    pub(crate) derived: Vec<Derived>,
    /// Whether generated items can be made at all: a struct with lifetimes has none.
    pub(crate) expandable: bool,
}

/// A field that is part of the replicated state.
pub(crate) struct Field {
    pub(crate) member: Member,
    pub(crate) name: String,
    pub(crate) ty: Type,
    pub(crate) cfgs: Vec<Attribute>,
    /// Functions from `#[serde(with = …)]` and its like.
    pub(crate) serialize_with: Option<Path>,
    pub(crate) deserialize_with: Option<Path>,
}

/// A field that is no part of the replicated state.
pub(crate) struct Local {
    pub(crate) member: Member,
    pub(crate) cfgs: Vec<Attribute>,
}

/// A field that is computed from the replicated ones.
pub(crate) struct Derived {
    pub(crate) member: Member,
    pub(crate) cfgs: Vec<Attribute>,
    /// From `&Self` to its value.
    pub(crate) with: Path,
}

/// An annotated `impl` block.
pub(crate) struct Methods {
    /// The block as it is emitted: without this macro's attributes.
    pub(crate) item: ItemImpl,
    /// Where the `vsync` crate is.
    pub(crate) krate: TokenStream,
    /// The type, if generated items can be made for it.
    pub(crate) base: Option<Base>,
    pub(crate) updates: Vec<Method>,
    pub(crate) queries: Vec<Method>,
    pub(crate) requests: Vec<Method>,
    /// More than one only under different `cfg`s.
    pub(crate) on_view: Vec<OnView>,
}

/// The type that an `impl` block is for.
pub(crate) struct Base {
    /// The type as it is written.
    pub(crate) ty: Type,
    /// The same as a path, from which the names of its companions are made.
    pub(crate) path: Path,
    /// The generics of the block, with `Self` written out.
    pub(crate) generics: Generics,
}

/// An update, a query or a request.
pub(crate) struct Method {
    /// Documentation and `#[deprecated]`: for the handles' methods and the variant.
    pub(crate) docs: Vec<Attribute>,
    pub(crate) deprecated: Vec<Attribute>,
    pub(crate) cfgs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) ident: Ident,
    pub(crate) name: String,
    pub(crate) variant: Ident,
    pub(crate) id: Id,
    /// Whether it takes `&Ctx<Self>`, or a query `&QueryCtx`.
    pub(crate) ctx: bool,
    pub(crate) args: Vec<Arg>,
    pub(crate) output: Output,
    /// What gathers the answers of a query whose work the members divide.
    pub(crate) gather: Option<ExprPath>,
    /// Where a query says that it is answered from a copy of the state.
    pub(crate) snapshot: Option<Ident>,
    /// How an update is delivered, or a request's `Commit`; queries have none.
    pub(crate) delivery: Option<Delivery>,
    /// What only a request has.
    pub(crate) request: Option<Request>,
    /// Whether its arguments and result are good enough to generate code for it.
    pub(crate) usable: bool,
    /// What the handles have instead, for the sake of callers, if it is not usable.
    pub(crate) stub: Option<Stub>,
}

/// What a request has that no other method has.
pub(crate) struct Request {
    /// The argument by which its coordinator is chosen.
    pub(crate) key: Option<Ident>,
    /// Who coordinates it, if not who coordinates the type's: a variant of the policy.
    pub(crate) policy: Option<TokenStream>,
    /// Whether its answer may be what one of its updates gives: it is declared as an `Effect`.
    pub(crate) effect: bool,
}

/// A method's generics and the types of its arguments, whatever they are.
pub(crate) struct Stub {
    pub(crate) generics: Generics,
    pub(crate) args: Vec<Type>,
}

/// A method's id and where it comes from.
pub(crate) struct Id {
    pub(crate) number: u32,
    /// The option, if it was given one.
    pub(crate) given: Option<TokenStream>,
}

/// The order class and the level of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) order: Order,
    pub(crate) stable: bool,
    /// The first version of the type that has it, and the first that has it no more.
    pub(crate) since: u32,
    pub(crate) until: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Fifo,
    Causal,
    Total,
}

/// An argument that travels.
pub(crate) struct Arg {
    pub(crate) ident: Ident,
    pub(crate) name: String,
    /// The type, with `Self` written out.
    pub(crate) ty: Type,
}

/// What a method gives.
#[expect(clippy::large_enum_variant, reason = "a few live for the time of one expansion")]
pub(crate) enum Output {
    /// Nothing.
    Unit,
    /// A value of this type.
    Plain(Type),
    /// A `Result` of these types.
    Fallible(Type, Type),
}

/// The `#[on_view]` method.
pub(crate) struct OnView {
    pub(crate) ident: Ident,
    pub(crate) cfgs: Vec<Attribute>,
    pub(crate) ctx: bool,
}
