//! [`Probe`]: what a type looks like on the wire, as far as serde can tell.
//!
//! A deserializer that makes values up: it writes down what a type asks for and gives it that, one
//! element for a sequence, something for an option, and one variant after the other for an enum, as
//! often as it takes to have seen all of them. Whoever asks for the same in the same order reads
//! the same bytes.
//!
//! What it cannot see: what comes after a part that refuses a value made up (a string that is
//! parsed, a number that is checked); what bytes and numbers mean; a `Serialize` that does not
//! write what `Deserialize` reads.

use std::any::type_name;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};
use std::marker::PhantomData;
use std::mem;

use serde::de::value::U32Deserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use xxhash_rust::xxh3::xxh3_64;

/// Values made up for one type; what is left unseen then, is.
const PASSES: usize = 4096;

/// Asks a type for its shape, if it can be deserialized at all.
#[derive(Debug)]
pub struct Probe<T>(PhantomData<fn() -> T>);

impl<T> Probe<T> {
    /// Of the type `T`.
    #[allow(clippy::new_without_default, reason = "generated code says what it means")]
    pub fn new() -> Self {
        Probe(PhantomData)
    }
}

/// The type can be deserialized.
pub trait Shaped {
    /// Its shape, in 16 hexadecimal digits; with a `~` behind them if a part of it is unseen.
    fn shape(&self) -> String;
}

impl<T: DeserializeOwned> Shaped for Probe<T> {
    fn shape(&self) -> String {
        shape_with(|probe| T::deserialize(probe))
    }
}

/// It cannot, as far as is known where this is asked.
pub trait Unshaped {
    /// Nothing is known of it.
    fn shape(&self) -> String;
}

impl<T> Unshaped for &Probe<T> {
    fn shape(&self) -> String {
        "?".to_owned()
    }
}

/// The shape of what this function deserializes.
pub fn shape_with<T>(deserialize: impl Fn(Deserializer<'_>) -> Result<T, Refused>) -> String {
    let (text, whole) = trace(deserialize);
    format!("{:016x}{}", xxh3_64(text.as_bytes()), if whole { "" } else { "~" })
}

/// The shape in words, and whether all was seen.
fn trace<T>(deserialize: impl Fn(Deserializer<'_>) -> Result<T, Refused>) -> (String, bool) {
    let mut tracer = Tracer::default();
    let mut root = String::new();
    let mut whole = true;
    for _ in 0..PASSES {
        let before = tracer.seen();
        let done = deserialize(Deserializer(&mut tracer));
        whole &= done.is_ok();
        let text = mem::take(&mut tracer.text);
        let used = mem::take(&mut tracer.used);
        if root.is_empty() {
            root = text;
        }
        let open = used.iter().any(|&node| tracer.leads_on(node));
        if !open || tracer.seen() == before {
            whole &= !open;
            break;
        }
    }
    whole &= !tracer.refused;
    for node in &tracer.nodes {
        let _ = write!(root, "\n{}", node.name);
        for part in &node.parts {
            let _ = write!(root, "|{}({})", part.name, part.text.as_deref().unwrap_or("?"));
        }
    }
    (root, whole)
}

/// A type said no to a value that was made up, or is made for self-describing formats only.
#[derive(Debug)]
pub struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl de::Error for Refused {
    fn custom<T: fmt::Display>(why: T) -> Self {
        Refused(why.to_string())
    }
}

/// What is known so far.
#[derive(Debug, Default)]
struct Tracer {
    nodes: Vec<Node>,
    index: BTreeMap<(&'static str, &'static str, Vec<&'static str>), usize>,
    /// What the part that is being looked at has asked for, and which nodes are in it.
    text: String,
    used: BTreeSet<usize>,
    /// How many parts are being looked at for the second time: what can end does.
    again: usize,
    /// How many parts were seen to their end.
    ended: usize,
    /// Whether something was refused.
    refused: bool,
}

/// A struct or an enum. A struct has one part, an enum its variants.
#[derive(Debug)]
struct Node {
    name: &'static str,
    parts: Vec<Part>,
}

#[derive(Debug, Default)]
struct Part {
    name: &'static str,
    /// What it asks for, once it was looked at.
    text: Option<String>,
    used: BTreeSet<usize>,
    /// When it was seen to its end: it needs none that was seen later.
    ended: Option<usize>,
    /// Whether it is being looked at.
    busy: bool,
}

impl Tracer {
    fn node<V>(
        &mut self,
        name: &'static str,
        inside: &'static [&'static str],
        parts: &[&'static str],
    ) -> usize {
        let key = (type_name::<V>(), name, inside.to_vec());
        let next = self.nodes.len();
        let node = *self.index.entry(key).or_insert(next);
        if node == next {
            let part = |name: &&'static str| Part { name, ..Part::default() };
            self.nodes.push(Node { name, parts: parts.iter().map(part).collect() });
        }
        let _ = write!(self.text, "@{node}");
        self.used.insert(node);
        node
    }

    /// How many parts were looked at.
    fn seen(&self) -> usize {
        self.nodes.iter().flat_map(|node| &node.parts).filter(|part| part.text.is_some()).count()
    }

    /// Whether there is something below a node that was not looked at.
    fn leads_on(&self, node: usize) -> bool {
        let mut known = BTreeSet::from([node]);
        let mut queue = vec![node];
        while let Some(node) = queue.pop() {
            for part in &self.nodes[node].parts {
                if part.text.is_none() {
                    return true;
                }
                queue.extend(part.used.iter().filter(|&&node| known.insert(node)));
            }
        }
        false
    }

    /// Which variant to look at now; `None` if each would need itself.
    fn choose(&self, node: usize) -> Option<usize> {
        let parts = &self.nodes[node].parts;
        let first_ended = || {
            let ended = parts.iter().enumerate().filter_map(|(at, part)| Some((part.ended?, at)));
            ended.min().map(|(_, at)| at)
        };
        let busy = parts.iter().any(|part| part.busy);
        if (busy || self.again > 0)
            && let Some(at) = first_ended()
        {
            return Some(at);
        }
        let unseen = parts.iter().position(|part| part.text.is_none() && !part.busy);
        let leads_on =
            |part: &Part| !part.busy && part.used.iter().any(|&node| self.leads_on(node));
        unseen.or_else(|| parts.iter().position(leads_on)).or_else(first_ended)
    }

    /// Looks at a part.
    fn look<R>(
        &mut self,
        (node, at): (usize, usize),
        run: impl FnOnce(&mut Self) -> Result<R, Refused>,
    ) -> Result<R, Refused> {
        let again = self.nodes[node].parts[at].busy;
        self.again += usize::from(again);
        self.nodes[node].parts[at].busy = true;
        let text = mem::take(&mut self.text);
        let used = mem::take(&mut self.used);
        let done = run(self);
        let text = mem::replace(&mut self.text, text);
        let used = mem::replace(&mut self.used, used);
        self.again -= usize::from(again);
        if again || self.again > 0 {
            self.nodes[node].parts[at].busy = again;
            return done;
        }
        self.refused |= done.is_err();
        let ended = self.ended;
        let part = &mut self.nodes[node].parts[at];
        part.busy = false;
        part.text.get_or_insert(text);
        part.used.extend(used);
        if done.is_ok() && part.ended.is_none() {
            part.ended = Some(ended);
            self.ended += 1;
        }
        done
    }

    /// Whether something optional is there.
    fn is_there(&self) -> bool {
        self.again == 0
    }
}

/// Gives a type what it asks for.
#[derive(Debug)]
pub struct Deserializer<'a>(&'a mut Tracer);

/// Simple values: what is written down, and what is given.
macro_rules! simple {
    ($($deserialize:ident $text:literal $visit:ident $value:expr;)*) => {
        $(fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
            self.0.text.push_str(concat!($text, ","));
            visitor.$visit($value)
        })*
    };
}

impl<'de> de::Deserializer<'de> for Deserializer<'_> {
    type Error = Refused;

    simple! {
        deserialize_bool "bool" visit_bool false;
        deserialize_i8 "i8" visit_i8 1;
        deserialize_i16 "i16" visit_i16 1;
        deserialize_i32 "i32" visit_i32 1;
        deserialize_i64 "i64" visit_i64 1;
        deserialize_i128 "i128" visit_i128 1;
        deserialize_u8 "u8" visit_u8 1;
        deserialize_u16 "u16" visit_u16 1;
        deserialize_u32 "u32" visit_u32 1;
        deserialize_u64 "u64" visit_u64 1;
        deserialize_u128 "u128" visit_u128 1;
        deserialize_f32 "f32" visit_f32 1.0;
        deserialize_f64 "f64" visit_f64 1.0;
        deserialize_char "char" visit_char 'a';
        deserialize_str "str" visit_str "";
        deserialize_string "str" visit_string String::new();
        deserialize_bytes "bytes" visit_bytes &[];
        deserialize_byte_buf "bytes" visit_byte_buf Vec::new();
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        // Nothing is read for it.
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_unit()
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refused> {
        Err(de::Error::custom("it is made for formats that describe themselves"))
    }

    forward_to_deserialize_any! { identifier ignored_any }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.0.text.push('?');
        if self.0.is_there() { visitor.visit_some(self) } else { visitor.visit_none() }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let left = usize::from(self.0.is_there());
        self.0.text.push('[');
        let value = visitor.visit_seq(Elements { tracer: &mut *self.0, names: &[], left })?;
        self.0.text.push(']');
        Ok(value)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let left = usize::from(self.0.is_there());
        self.0.text.push('{');
        let value = visitor.visit_map(Elements { tracer: &mut *self.0, names: &[], left })?;
        self.0.text.push('}');
        Ok(value)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        left: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_seq(Elements { tracer: self.0, names: &[], left })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        left: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        let node = self.0.node::<V::Value>(name, &[], &[""]);
        self.0.look((node, 0), |tracer| visitor.visit_seq(Elements { tracer, names: &[], left }))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        let node = self.0.node::<V::Value>(name, names, &[""]);
        let left = names.len();
        self.0.look((node, 0), |tracer| visitor.visit_seq(Elements { tracer, names, left }))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        let node = self.0.node::<V::Value>(name, variants, variants);
        let Some(at) = self.0.choose(node) else {
            return Err(de::Error::custom("it has no value that ends"));
        };
        let index = u32::try_from(at).unwrap_or(u32::MAX);
        self.0.look((node, at), |tracer| visitor.visit_enum(Variant { tracer, index }))
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The elements of a sequence, a map, a tuple or a struct.
struct Elements<'a> {
    tracer: &'a mut Tracer,
    /// The names of a struct's fields.
    names: &'static [&'static str],
    left: usize,
}

impl<'de> de::SeqAccess<'de> for Elements<'_> {
    type Error = Refused;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refused> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        if let Some((first, rest)) = self.names.split_first() {
            self.names = rest;
            let _ = write!(self.tracer.text, "{first}:");
        }
        seed.deserialize(Deserializer(self.tracer)).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> de::MapAccess<'de> for Elements<'_> {
    type Error = Refused;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refused> {
        de::SeqAccess::next_element_seed(self, seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refused> {
        seed.deserialize(Deserializer(self.tracer))
    }
}

/// The chosen variant of an enum.
struct Variant<'a> {
    tracer: &'a mut Tracer,
    index: u32,
}

impl<'de, 'a> de::EnumAccess<'de> for Variant<'a> {
    type Error = Refused;
    type Variant = Deserializer<'a>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Deserializer<'a>), Refused> {
        let index: U32Deserializer<Refused> = self.index.into_deserializer();
        Ok((seed.deserialize(index)?, Deserializer(self.tracer)))
    }
}

impl<'de> de::VariantAccess<'de> for Deserializer<'_> {
    type Error = Refused;

    fn unit_variant(self) -> Result<(), Refused> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Refused> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, left: usize, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_seq(Elements { tracer: self.0, names: &[], left })
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_seq(Elements { tracer: self.0, names, left: names.len() })
    }
}

#[cfg(test)]
mod tests;
