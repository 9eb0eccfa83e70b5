//! Generic state: bounds on the struct, on the `impl`, in `where` clauses; parameters that no
//! update mentions; a default.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use isis::replicated;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Anything that can be stored.
pub trait Value: Serialize + DeserializeOwned + Clone + Send + 'static {
    /// What it is found by.
    type Key: Serialize + DeserializeOwned + Ord + Send + 'static;

    /// What it is found by.
    fn key(&self) -> Self::Key;
}

impl Value for String {
    type Key = usize;

    fn key(&self) -> usize {
        self.len()
    }
}

/// A store of values.
#[replicated(crate = "isis")]
#[derive(Debug)]
pub struct Store<V: Value, T = (), const N: usize = 2>
where
    T: Send + 'static,
{
    values: BTreeMap<V::Key, V>,
    tag: PhantomData<fn() -> T>,
}

#[replicated(crate = "isis")]
impl<V: Value, T, const N: usize> Store<V, T, N>
where
    T: Send + 'static,
    Self: Sized,
{
    /// Puts a value in.
    #[update(order = "total")]
    pub fn put(&mut self, value: V) -> Option<V> {
        if self.values.len() >= N {
            drop(self.values.pop_first());
        }
        self.values.insert(value.key(), value)
    }

    /// Takes everything from another.
    #[update(order = "fifo")]
    pub fn merge(&mut self, others: Vec<(V::Key, V)>) {
        self.values.extend(others);
    }

    /// Finds a value.
    #[query]
    #[must_use]
    pub fn get(&self, key: V::Key) -> Option<V> {
        self.values.get(&key).cloned()
    }
}

/// A state of which one instance only is replicated.
#[replicated(crate = "isis")]
#[derive(Debug)]
pub struct Pool<V>
where
    V: Default,
{
    free: Vec<V>,
}

#[replicated(crate = "isis")]
impl Pool<u8> {
    /// Puts one back.
    #[update(order = "causal")]
    pub fn put(&mut self, one: u8) {
        self.free.push(one);
    }
}

impl<V: Default> Pool<V> {
    /// Takes one, of any instance.
    pub fn any(&mut self) -> V {
        self.free.pop().unwrap_or_default()
    }
}

/// Uses the instance.
pub fn pooled(handle: &PoolHandle<u8>) -> isis::Call<Pool<u8>, ()> {
    handle.put(1)
}

/// Uses one instance of it.
#[must_use]
pub fn strings(handle: &StoreHandle<String>) -> StoreUpdate<String> {
    let _ = handle.put("four".to_owned());
    let _ = handle.get(4);
    StoreUpdate::<String>::Put { value: "five".to_owned() }
}

/// Uses all of them.
pub fn all<V: Value>(handle: &StoreHandle<V>, value: V) -> isis::Call<Store<V>, Option<V>> {
    handle.put(value)
}
