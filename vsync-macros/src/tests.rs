//! The expansion as a function on tokens: read as code, and its errors counted.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;

use crate::{names, replicate};

/// The expansion as formatted code.
fn expanded(options: TokenStream, item: TokenStream) -> String {
    let output = replicate(options, item);
    let file = syn::parse2(output.clone()).unwrap_or_else(|error| panic!("{error}: {output}"));
    prettyplease::unparse(&file)
}

/// Compares with the committed expansion: `INSTA_UPDATE=always` renews it.
macro_rules! snapshot {
    ($code:expr) => {
        insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!($code) })
    };
}

/// The messages of the errors in an expansion.
fn errors(options: TokenStream, item: TokenStream) -> Vec<String> {
    let file: syn::File = syn::parse2(replicate(options, item)).expect("items");
    let mut messages = Vec::new();
    for item in file.items {
        let syn::Item::Macro(call) = item else { continue };
        assert!(call.mac.path.segments.last().is_some_and(|last| last.ident == "compile_error"));
        let text: syn::LitStr = call.mac.parse_body().expect("a message");
        messages.push(text.value());
    }
    messages
}

#[test]
fn a_struct() {
    snapshot!(expanded(
        quote!(name = "atc.sector", version = 2, event = atc::Event, published),
        quote! {
            /// A sector.
            #[derive(Default)]
            pub struct Sector {
                plans: BTreeMap<u64, Plan>,
                #[cfg(feature = "marks")]
                #[serde(with = "as_text")]
                marks: Marks,
                #[local]
                hits: Hits,
            }
        }
    ));
}

/// The test that is made, as formatted code; or the errors.
fn simulated(options: TokenStream, item: TokenStream) -> String {
    let output = crate::sim_test::sim_test(options, item);
    let file = syn::parse2(output.clone()).unwrap_or_else(|error| panic!("{error}: {output}"));
    prettyplease::unparse(&file)
}

#[test]
fn a_simulation() {
    snapshot!(simulated(
        quote!(seeds = 0..50, crate = "isis", faults = Faults::none()),
        quote! {
            /// The sum stays.
            #[ignore = "slow"]
            fn r#type() -> Simulation<Ledger> {
                simulation().invariant("sum", |ledger| ledger.sum() == 0)
            }
        }
    ));
}

#[test]
fn a_simulation_that_is_refused_is_no_test() {
    let code = simulated(
        quote!(seeds),
        quote!(
            fn nothing() {}
        ),
    );
    assert_eq!(code.matches("compile_error").count(), 2, "{code}");
    assert!(!code.contains("::test]") && code.contains("fn nothing() {}"), "{code}");
}

#[test]
fn an_impl() {
    snapshot!(expanded(
        quote!(),
        quote! {
            impl Sector {
                /// Files a plan.
                #[update(order = "total")]
                pub fn file_plan(&mut self, ctx: &Ctx<Self>, plan: Plan) -> Result<u64, Refused> {
                    self.file(plan)
                }
                #[cfg(feature = "marks")]
                #[deprecated]
                #[update(order = "fifo", level = "stable", id = 7)]
                fn mark(&mut self, r#where: u64) {}
                /// Counts.
                #[query]
                pub fn count(&self) -> usize {
                    0
                }
                /// Looks for it.
                #[query(scatter, gather = Self::merge)]
                pub fn search(&self, ctx: &QueryCtx, area: Area) -> Vec<Hit> {
                    self.find(ctx.share(0..9), area)
                }
                #[cfg(feature = "marks")]
                #[query(snapshot)]
                fn report(&self, ctx: &QueryCtx, year: u16) -> Vec<Hit> {
                    self.all(year)
                }
                #[on_view]
                fn view(&mut self, view: &View) {}
                fn helper(&self) {}
            }
        }
    ));
}

#[test]
fn a_generic_struct_and_impl() {
    let item = quote! {
        struct Store<V: Ord = u8, const N: usize = 3> where V: Clone {
            all: Vec<V>,
            count: usize,
        }
    };
    let methods = quote! {
        impl<V: Ord, const N: usize> Store<V, N> where V: Clone, Self: Sized {
            #[query]
            fn merge(&self, other: Self, key: Self::Key) -> Option<V> {
                None
            }
        }
    };
    let both = [expanded(quote!(crate = "crate"), item), expanded(quote!(crate = "isis"), methods)];
    snapshot!(both.join("\n"));
}

#[test]
fn after_an_error_the_same_items_stand() {
    snapshot!(expanded(
        quote!(),
        quote! {
            impl Board {
                #[update(order = "totl")]
                fn wrong(&mut self, value: u64) -> u64 {
                    value
                }
                #[update(order = "fifo")]
                fn hopeless(&mut self, value: &str) {}
                #[query]
                fn count(&self) -> u64 {
                    0
                }
            }
        }
    ));
}

/// What the compiler has to read for each method, ten lines of it for clients. It may grow only
/// knowingly.
#[test]
fn the_expansion_stays_small() {
    let methods = |count: usize| {
        let methods = (0..count).map(|number| {
            let name = quote::format_ident!("method_{number}");
            quote! {
                #[update(order = "total")]
                pub fn #name(&mut self, key: u64, plan: Plan) -> Result<u64, String> {
                    self.file(key, plan)
                }
            }
        });
        expanded(quote!(), quote!(impl Board { #(#methods)* })).lines().count()
    };
    let each = (methods(60) - methods(10)) / 50;
    assert!(each <= 96, "{each} lines for each method");
}

#[test]
fn all_errors_come_in_one_pass() {
    let found = errors(
        quote!(name = "x"),
        quote! {
            impl Board {
                #[update(order = "totl", id = "x", since = 0)]
                fn one<T>(&self, (a, b): (u8, u8), text: &str, ctx: &Ctx<Self>) -> impl Sized {}
                #[query(scatter)]
                async fn two(&mut self) -> &u8 {}
                more!();
            }
        },
    );
    assert_eq!(found.len(), 16, "{found:#?}");
}

#[test]
fn the_item_is_kept_whatever_is_wrong() {
    for item in [
        quote!(
            enum Choice {
                One,
            }
        ),
        quote!(
            fn function() {}
        ),
        quote!(impl A for B {}),
    ] {
        let output = replicate(quote!(), item.clone()).to_string();
        assert!(output.contains("compile_error"), "{output}");
        assert!(output.ends_with(&item.to_string()), "{output}");
    }
}

#[test]
fn attributes_of_the_macro_are_taken_off() {
    let output = replicate(
        quote!(),
        quote!(
            struct Board {
                #[local]
                #[serde(rename = "x")]
                cache: u8,
            }
        ),
    );
    let output = output.to_string();
    assert!(output.starts_with("struct Board { cache : u8"), "{output}");
    let derive = quote!(#[cfg_attr(unix, derive(Serialize))]);
    let output = replicate(quote!(), quote!(#derive struct Board { #[serde(rename = "x")] a: u8 }));
    assert!(output.to_string().contains("rename"), "the derive below wants it");
}

#[test]
fn methods_may_stand_in_for_each_other() {
    let found = errors(
        quote!(),
        quote! {
            impl Board {
                #[cfg(unix)]
                #[query]
                fn home(&self) -> String {}
                #[cfg(not(unix))]
                #[query]
                fn home(&self) -> String {}
            }
        },
    );
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn what_a_cfg_attr_brings_comes_along() {
    let output = replicate(
        quote!(),
        quote! {
            impl Board {
                #[cfg_attr(a, cfg(b), deprecated, must_use)]
                #[cfg_attr(c, doc = "d")]
                #[query]
                fn home(&self) {}
            }
        },
    );
    let count = |what: TokenStream| output.to_string().matches(&what.to_string()).count();
    // The method itself, its variant, the methods of both handles.
    assert_eq!(count(quote!(cfg_attr(c, doc = "d"))), 4, "{output}");
    assert_eq!(count(quote!(cfg_attr(a, deprecated))), 3, "{output}");
    assert_eq!(count(quote!(must_use)), 1, "{output}");
    // A condition is wherever the method is.
    let plain = quote!(impl Board { #[cfg(b)] #[query] fn home(&self) {} });
    let plain = replicate(quote!(), plain).to_string();
    let everywhere = plain.matches(&quote!(cfg(b)).to_string()).count();
    assert_eq!(count(quote!(cfg_attr(a, cfg(b)))), everywhere - 1, "{output}");
}

#[test]
fn hashed_ids_that_collide_are_an_error() {
    // Found by trying: both names have the same id.
    let (one, other) = colliding();
    let found = errors(
        quote!(),
        quote! {
            impl Board {
                #[query]
                fn #one(&self) {}
                #[query]
                fn #other(&self) {}
            }
        },
    );
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("give one of them another `id = …`"), "{found:?}");
}

/// Two names with one id.
fn colliding() -> (Ident, Ident) {
    let mut seen = std::collections::HashMap::new();
    for number in 0..1_000_000 {
        let name = format!("method_{number}");
        if let Some(earlier) = seen.insert(names::id(&name), name.clone()) {
            let ident = |name: &str| Ident::new(name, Span::call_site());
            return (ident(&earlier), ident(&name));
        }
    }
    panic!("a million ids in a space of two million without a collision")
}

#[test]
fn ids_are_as_documented() {
    // FNV-1a of "" is its basis; of "a" the published 0xe40c292c.
    assert_eq!(names::id(""), 128 + 0x811c_9dc5 % ((1 << 21) - 128));
    assert_eq!(names::id("a"), 128 + 0xe40c_292c % ((1 << 21) - 128));
    let all = (0..10_000).map(|number| names::id(&format!("m{number}")));
    assert!(all.into_iter().all(|id| (128..1 << 21).contains(&id)));
}

#[test]
fn variants_are_named_after_methods() {
    let names = [
        ("file_plan", "FilePlan"),
        ("track", "Track"),
        ("r#move", "Move"),
        ("self_", "Self_"),
        ("_1", "X1"),
        ("__", "X"),
        ("a__b2_c", "AB2C"),
    ];
    for (method, variant) in names {
        let method: Ident = syn::parse_str(method).expect("an identifier");
        assert_eq!(names::variant(&method).to_string(), variant);
    }
}

#[test]
fn types_are_written_as_one_writes_them() {
    for ty in [
        "BTreeMap<u64, Vec<Plan>>",
        "Option<(u8, String)>",
        "(u8,)",
        "[[u8; 4]; N]",
        "Box<dyn Fn(u8) -> i64 + Send>",
        "<K as vsync::State>::Key",
        "Wrap<{ N + 1 }>",
        "PhantomData<&'static str>",
    ] {
        let parsed: syn::Type = syn::parse_str(ty).expect("a type");
        let text = crate::expand::text(&parsed);
        assert_eq!(text, ty.replace("{ ", "{").replace(" }", "}"));
    }
    let spread: syn::Type = syn::parse_str("Vec < ( u8 , i8 , ) >").expect("a type");
    assert_eq!(crate::expand::text(&spread), "Vec<(u8, i8)>");
}
