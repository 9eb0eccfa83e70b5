//! Types whose encoding always decodes again.

use syn::{GenericArgument, PathArguments, Type};

/// Types without parameters.
const VALUES: [&str; 16] = [
    "bool", "char", "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128",
    "isize", "f32", "f64",
];
/// Types that are plain if what is in them is.
const CONTAINERS: [&str; 6] = ["Vec", "VecDeque", "Option", "Box", "BTreeMap", "BTreeSet"];

/// Whether a type is known to decode from whatever it was encoded to, so that nobody needs to try.
///
/// It goes by names: a type of the user's that is called like one of the standard library's is
/// believed to be like it.
pub(super) fn plain(ty: &Type) -> bool {
    match ty {
        Type::Path(path) if path.qself.is_none() => {
            let Some(last) = path.path.segments.last() else { return false };
            let name = last.ident.to_string();
            match &last.arguments {
                PathArguments::None => VALUES.contains(&name.as_str()) || name == "String",
                PathArguments::AngleBracketed(arguments) => CONTAINERS.contains(&name.as_str())
                    && arguments.args.iter().all(
                        |argument| matches!(argument, GenericArgument::Type(inner) if plain(inner)),
                    ),
                PathArguments::Parenthesized(_) => false,
            }
        }
        Type::Tuple(tuple) => tuple.elems.iter().all(plain),
        Type::Array(array) => plain(&array.elem),
        Type::Group(group) => plain(&group.elem),
        Type::Paren(paren) => plain(&paren.elem),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use quote::ToTokens;
    use syn::parse_quote;

    use super::*;

    #[test]
    fn only_what_is_known_is_plain() {
        let known: [Type; 8] = [
            parse_quote!(u64),
            parse_quote!(String),
            parse_quote!(std::string::String),
            parse_quote!(()),
            parse_quote!((u8, [bool; 3])),
            parse_quote!(Option<Vec<Box<f64>>>),
            parse_quote!(BTreeMap<String, BTreeSet<char>>),
            parse_quote!(std::collections::VecDeque<i128>),
        ];
        let unknown: [Type; 8] = [
            parse_quote!(Plan),
            parse_quote!(Vec<Plan>),
            parse_quote!((u8, Plan)),
            parse_quote!([Plan; 2]),
            parse_quote!(Vec),
            parse_quote!(u64<u8>),
            parse_quote!(<T as Trait>::String),
            parse_quote!(fn(u8) -> u8),
        ];
        for ty in known {
            assert!(plain(&ty), "{}", ty.to_token_stream());
        }
        for ty in unknown {
            assert!(!plain(&ty), "{}", ty.to_token_stream());
        }
    }
}
