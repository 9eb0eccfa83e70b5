//! What must hold between the methods of a block: one name, one variant and one id for each.

use syn::ImplItem;
use syn::ext::IdentExt;

use crate::model::{Method, Methods};
use crate::parse::Errors;

/// Names that the handles use themselves.
const RESERVED: [&str; 2] = ["group", "clone"];

/// Checks the methods against each other. A duplicate is taken out, so that it is reported once.
pub(crate) fn methods(model: &mut Methods, errors: &mut Errors) {
    let mut duplicates = Vec::new();
    let mut unusable = Vec::new();
    let all: Vec<&Method> =
        model.updates.iter().chain(&model.queries).chain(&model.requests).collect();
    for (index, method) in all.iter().enumerate() {
        if RESERVED.contains(&method.name.as_str()) {
            let why = format!("`{}` is a method of the handles: take another name", method.name);
            errors.push(&method.ident, why);
            unusable.push(method.name.clone());
        }
        // Methods under different `cfg`s may stand in for each other.
        let earlier =
            all[..index].iter().filter(|other| method.cfgs.is_empty() || other.cfgs.is_empty());
        for other in earlier {
            if method.name == other.name {
                let why = format!("`{}` is there already", method.name);
                errors.push(&method.ident, why);
                duplicates.push(method.name.clone());
                break;
            }
            if let Some(why) = clash(method, other) {
                match &method.id.given {
                    Some(given) if method.id.number == other.id.number => errors.push(given, why),
                    _ => errors.push(&method.ident, why),
                }
                if method.variant == other.variant {
                    unusable.push(method.name.clone());
                }
                break;
            }
        }
    }
    for name in duplicates {
        keep_first(model, &name);
    }
    let queries = model.queries.iter_mut();
    for method in model.updates.iter_mut().chain(queries).chain(&mut model.requests) {
        method.usable &= !unusable.contains(&method.name);
        // The handles have such a method already.
        if RESERVED.contains(&method.name.as_str()) {
            method.stub = None;
        }
    }
}

fn clash(method: &Method, other: &Method) -> Option<String> {
    if method.id.number == other.id.number {
        let number = method.id.number;
        return Some(match (&method.id.given, &other.id.given) {
            (Some(_), _) => format!("the id {number} is that of `{}` already", other.name),
            (None, _) => format!(
                "the id {number} of `{}`, a hash of its name, is that of `{}` already: give one of \
                 them another `id = …`",
                method.name, other.name
            ),
        });
    }
    if method.variant == other.variant && method.delivery.is_some() == other.delivery.is_some() {
        return Some(format!(
            "`{}` and `{}` would both be the variant `{}`: take another name",
            other.name, method.name, method.variant
        ));
    }
    None
}

fn keep_first(model: &mut Methods, name: &str) {
    let mut seen = false;
    model.item.items.retain(|item| match item {
        ImplItem::Fn(function) if function.sig.ident.unraw() == name => {
            !std::mem::replace(&mut seen, true)
        }
        _ => true,
    });
    let mut seen = false;
    for list in [&mut model.updates, &mut model.queries, &mut model.requests] {
        list.retain(|method| method.name != name || !std::mem::replace(&mut seen, true));
    }
}
