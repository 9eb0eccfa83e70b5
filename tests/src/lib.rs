//! What the protocol core of vsync is tested with: a simulator that derives whole runs from seeds
//! ([`sim`]), directed stories as text files ([`stories`]), and a bank of planted bugs that both
//! must catch. What the programs print: [`output`].

#[cfg(feature = "bug-bank")]
pub mod bank;
pub mod output;
pub mod scale;
pub mod sim;
pub mod stories;
