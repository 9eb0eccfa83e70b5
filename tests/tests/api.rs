//! The public API of `vsync` as a list, so that a change of it is seen in review.
//!
//! `UPDATE_API=1 cargo test -p vsync-tests --test api` writes the list anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::{Attribute, Fields, ImplItem, Item, TraitItem, UseTree, Visibility};

const LIST: &str = "vsync/public-api.txt";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All items of the crate by name, and the implementations by the name of their type.
#[derive(Default)]
struct Crate {
    items: BTreeMap<String, Vec<Item>>,
    impls: BTreeMap<String, Vec<syn::ItemImpl>>,
    /// Traits that nobody else can name.
    private: BTreeSet<String>,
    /// What modules pass on from other crates.
    passed_on: BTreeMap<String, String>,
}

impl Crate {
    fn read(&mut self, folder: &Path) {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                self.read(&path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                self.take(syn::parse_file(&text).unwrap().items);
            }
        }
    }

    fn take(&mut self, items: Vec<Item>) {
        for item in items {
            match item {
                Item::Impl(item) => {
                    if let syn::Type::Path(path) = &*item.self_ty
                        && let Some(last) = path.path.segments.last()
                    {
                        self.impls.entry(last.ident.to_string()).or_default().push(item);
                    }
                }
                Item::Use(item) if is_public(&item.vis) => {
                    let mut names = BTreeSet::new();
                    exported(&item.tree, "", &mut names);
                    self.passed_on.extend(names.into_iter().filter(|(_, from)| is_foreign(from)));
                }
                item => {
                    if let Item::Trait(item) = &item
                        && !is_public(&item.vis)
                    {
                        self.private.insert(item.ident.to_string());
                    }
                    if let Some(name) = name(&item) {
                        self.items.entry(name).or_default().push(item);
                    }
                }
            }
        }
    }

    /// Whether it is that of a trait which nobody else can name.
    fn is_private(&self, item: &syn::ItemImpl) -> bool {
        let name =
            item.trait_.as_ref().and_then(|of| Some(of.0.segments.last()?.ident.to_string()));
        name.is_some_and(|name| self.private.contains(&name) && !self.items.contains_key(&name))
    }
}

/// The name of an item that may be public.
fn name(item: &Item) -> Option<String> {
    let (visibility, ident) = match item {
        Item::Struct(item) => (&item.vis, &item.ident),
        Item::Enum(item) => (&item.vis, &item.ident),
        Item::Trait(item) => (&item.vis, &item.ident),
        Item::Type(item) => (&item.vis, &item.ident),
        Item::Const(item) => (&item.vis, &item.ident),
        Item::Fn(item) => (&item.vis, &item.sig.ident),
        Item::Macro(item) => return item.ident.as_ref().map(ToString::to_string),
        _ => return None,
    };
    is_public(visibility).then(|| ident.to_string())
}

fn is_foreign(from: &str) -> bool {
    from.starts_with("vsync_")
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// Only what is a promise of its own.
fn promises(attributes: &mut Vec<Attribute>) {
    let kept = ["derive", "must_use", "non_exhaustive", "deprecated"];
    attributes.retain(|attribute| kept.iter().any(|name| attribute.path().is_ident(name)));
    for attribute in attributes.iter_mut().filter(|it| !it.path().is_ident("derive")) {
        // The text is documentation.
        if let Some(name) = attribute.path().get_ident().cloned() {
            attribute.meta = syn::Meta::Path(name.into());
        }
    }
}

fn is_hidden(attributes: &[Attribute]) -> bool {
    let hidden = |attribute: &&Attribute| {
        attribute.path().is_ident("doc")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|word| word == "hidden")
    };
    attributes.iter().any(|attribute| hidden(&attribute) || attribute.path().is_ident("test"))
}

fn public_fields(fields: &mut Fields) {
    let strip = |field: &mut syn::Field| promises(&mut field.attrs);
    match fields {
        Fields::Named(fields) => {
            let all = std::mem::take(&mut fields.named);
            fields.named = all.into_iter().filter(|field| is_public(&field.vis)).collect();
            fields.named.iter_mut().for_each(strip);
        }
        Fields::Unnamed(fields) => {
            let all = std::mem::take(&mut fields.unnamed);
            fields.unnamed = all.into_iter().filter(|field| is_public(&field.vis)).collect();
            fields.unnamed.iter_mut().for_each(strip);
        }
        Fields::Unit => {}
    }
}

/// An item without its documentation, its bodies and what is private in it.
fn outline(mut item: Item) -> Item {
    match &mut item {
        Item::Struct(item) => {
            promises(&mut item.attrs);
            public_fields(&mut item.fields);
        }
        Item::Enum(item) => {
            promises(&mut item.attrs);
            for variant in &mut item.variants {
                promises(&mut variant.attrs);
                variant.fields.iter_mut().for_each(|field| promises(&mut field.attrs));
            }
        }
        Item::Trait(item) => {
            promises(&mut item.attrs);
            for item in &mut item.items {
                match item {
                    TraitItem::Fn(method) => {
                        promises(&mut method.attrs);
                        method.default = None;
                    }
                    TraitItem::Type(item) => promises(&mut item.attrs),
                    TraitItem::Const(item) => promises(&mut item.attrs),
                    _ => {}
                }
            }
        }
        Item::Type(item) => promises(&mut item.attrs),
        Item::Const(item) => promises(&mut item.attrs),
        Item::Fn(item) => {
            promises(&mut item.attrs);
            item.block.stmts.clear();
        }
        _ => {}
    }
    item
}

/// The public part of an implementation: methods of the type itself, or that a trait is
/// implemented. Nothing if that is nothing.
fn outline_impl(mut item: syn::ItemImpl) -> Option<Item> {
    if item.attrs.iter().any(|attribute| attribute.path().is_ident("cfg")) {
        // Tests and planted bugs.
        return None;
    }
    promises(&mut item.attrs);
    if item.trait_.is_some() {
        item.items.retain(|item| matches!(item, ImplItem::Type(_)));
        return Some(Item::Impl(item));
    }
    item.items.retain(|item| match item {
        ImplItem::Fn(method) => is_public(&method.vis) && !is_hidden(&method.attrs),
        ImplItem::Const(item) => is_public(&item.vis),
        _ => false,
    });
    for item in &mut item.items {
        if let ImplItem::Fn(method) = item {
            promises(&mut method.attrs);
            method.block.stmts.clear();
            for input in &mut method.sig.inputs {
                // Whether an argument is `mut` is nobody's business.
                if let syn::FnArg::Typed(argument) = input
                    && let syn::Pat::Ident(name) = &mut *argument.pat
                {
                    name.mutability = None;
                } else if let syn::FnArg::Receiver(receiver) = input
                    && matches!(receiver.kind, syn::ReceiverKind::Value)
                {
                    receiver.mutability = None;
                }
            }
        }
    }
    (!item.items.is_empty()).then_some(Item::Impl(item))
}

/// The names that a `use` makes public, with where they are from.
fn exported(tree: &UseTree, path: &str, names: &mut BTreeSet<(String, String)>) {
    match tree {
        UseTree::Path(tree) => exported(&tree.tree, &format!("{path}{}::", tree.ident), names),
        UseTree::Name(tree) => drop(names.insert((tree.ident.to_string(), path.to_owned()))),
        UseTree::Rename(tree) => {
            let from = format!("{path}{} as ", tree.ident);
            names.insert((tree.rename.to_string(), from));
        }
        UseTree::Group(tree) => tree.items.iter().for_each(|tree| exported(tree, path, names)),
        UseTree::Glob(_) => panic!("a glob in the public API hides what is in it"),
    }
}

fn text(items: Vec<Item>) -> String {
    let mut file = syn::parse_file("").unwrap();
    file.items = items;
    prettyplease::unparse(&file)
}

/// A module's public names, and those of its public modules.
fn list(all: &Crate, items: &[Item], folder: &Path, here: &str, out: &mut String) {
    let mut names = BTreeSet::new();
    for item in items {
        match item {
            Item::Use(item) if is_public(&item.vis) => exported(&item.tree, "", &mut names),
            Item::Mod(item) if is_public(&item.vis) && !is_hidden(&item.attrs) => {
                let name = item.ident.to_string();
                let files = [format!("{name}.rs"), format!("{name}/mod.rs")];
                let file = files.iter().map(|file| folder.join(file)).find(|file| file.exists());
                let file = file.unwrap_or_else(|| panic!("no file of the module {name}"));
                let parsed = syn::parse_file(&fs::read_to_string(&file).unwrap()).unwrap();
                let inner = folder.join(&name);
                list(all, &parsed.items, &inner, &format!("{here}::{name}"), out);
            }
            item => {
                let public = match item {
                    Item::Struct(item) => is_public(&item.vis),
                    Item::Enum(item) => is_public(&item.vis),
                    Item::Trait(item) => is_public(&item.vis),
                    Item::Type(item) => is_public(&item.vis),
                    Item::Const(item) => is_public(&item.vis),
                    Item::Fn(item) => is_public(&item.vis),
                    _ => false,
                };
                if let Some(name) = name(item).filter(|_| public) {
                    names.insert((name, String::new()));
                }
            }
        }
    }
    for (name, from) in names {
        let told = format!("// vsync::error::{name}\n");
        if from == "error::" && out.contains(&told) {
            out.push_str(&format!("// {here}::{name}: as vsync::error::{name}\n\n"));
            continue;
        }
        out.push_str(&format!("// {here}::{name}\n"));
        let passed_on = all.passed_on.get(&name).filter(|_| !all.items.contains_key(&name));
        if let Some(from) = Some(&from).filter(|from| is_foreign(from)).or(passed_on) {
            out.push_str(&format!("pub use {from}{name};\n\n"));
            continue;
        }
        let found = all.items.get(&name).cloned().unwrap_or_default();
        assert!(!found.is_empty(), "{here}::{name} is exported, and nowhere to be found");
        let mut outlines: Vec<Item> = found.into_iter().map(outline).collect();
        let impls = all.impls.get(&name).cloned().unwrap_or_default();
        let impls = impls.into_iter().filter(|item| !all.is_private(item));
        outlines.extend(impls.filter_map(outline_impl));
        out.push_str(&text(outlines));
        out.push('\n');
    }
}

#[test]
fn the_public_api_is_as_listed() {
    let folder = root().join("vsync/src");
    let mut all = Crate::default();
    all.read(&folder);
    let lib = syn::parse_file(&fs::read_to_string(folder.join("lib.rs")).unwrap()).unwrap();
    let mut list_of_all = String::from(
        "// The public API of `vsync`, without documentation: written by\n\
         // UPDATE_API=1 cargo test -p vsync-tests --test api\n\n",
    );
    list(&all, &lib.items, &folder, "vsync", &mut list_of_all);
    let path = root().join(LIST);
    if std::env::var_os("UPDATE_API").is_some() {
        fs::write(&path, list_of_all).unwrap();
        return;
    }
    let listed = fs::read_to_string(&path).unwrap_or_default();
    let first = listed.lines().zip(list_of_all.lines()).find(|(one, other)| one != other);
    assert!(
        listed == list_of_all,
        "the public API is not what {LIST} says; the first difference:\n{first:#?}\nIf it is \
         meant: UPDATE_API=1 cargo test -p vsync-tests --test api"
    );
}
