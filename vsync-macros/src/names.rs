//! Names that are derived from a method's name: its variant and its id on the wire.

use proc_macro2::Ident;
use syn::ext::IdentExt;

/// The variant of a method: `file_plan` becomes `FilePlan`.
pub(crate) fn variant(method: &Ident) -> Ident {
    let mut name = String::new();
    for word in method.unraw().to_string().split('_') {
        let mut letters = word.chars();
        if let Some(first) = letters.next() {
            name.extend(first.to_uppercase());
            name.push_str(letters.as_str());
        }
    }
    // No raw identifier can be `Self`, and none begins with a digit.
    if name == "Self" {
        name.push('_');
    }
    if !name.starts_with(|first: char| first.is_alphabetic()) {
        name.insert(0, 'X');
    }
    Ident::new(&name, method.span())
}

/// The id of a method that is given none: 32-bit FNV-1a of its name, brought into 128..2²¹.
///
/// Ids outlive versions: this function may never change.
pub(crate) fn id(method: &str) -> u32 {
    let mut hash: u32 = 0x811c_9dc5;
    for byte in method.bytes() {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    128 + hash % ((1 << 21) - 128)
}
