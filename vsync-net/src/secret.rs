//! The one secret that makes processes a cluster.

use std::fmt;
use std::path::Path;

use crate::SecretError;

/// The secret shared by all processes of a cluster: whoever has it belongs to it.
///
/// It comes from a file or the environment, never from the command line, where every user of the
/// host can read it. White space around it is not part of it, so a file may end in a newline.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// The least length in bytes.
    pub const MIN: usize = 16;

    /// Takes the secret from memory.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, SecretError> {
        let bytes = bytes.as_ref().trim_ascii();
        if bytes.len() < Self::MIN {
            return Err(SecretError::TooShort { len: bytes.len(), min: Self::MIN });
        }
        Ok(Self(bytes.into()))
    }

    /// Reads the secret from a file.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, SecretError> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|error| SecretError::File {
            path: path.display().to_string(),
            reason: error.to_string(),
        })?;
        Self::new(bytes)
    }

    /// Reads the secret from an environment variable.
    pub fn from_env(variable: &str) -> Result<Self, SecretError> {
        match std::env::var_os(variable) {
            Some(value) => Self::new(value.as_encoded_bytes()),
            None => Err(SecretError::NotSet { variable: variable.to_owned() }),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_secrets_are_refused_after_trimming() {
        let short = Secret::new("fifteen bytes..\n\n\n").unwrap_err();
        assert_eq!(short, SecretError::TooShort { len: 15, min: 16 });
        assert!(short.to_string().contains("15 bytes"));
        assert!(Secret::new("sixteen bytes...\n").is_ok());
    }

    #[test]
    fn absent_sources_are_named() {
        let file = Secret::from_file("/nowhere/cluster.key").unwrap_err();
        assert!(file.to_string().contains("/nowhere/cluster.key"));
        let variable = Secret::from_env("VSYNC_NO_SUCH_VARIABLE").unwrap_err();
        assert!(variable.to_string().contains("VSYNC_NO_SUCH_VARIABLE"));
    }

    #[test]
    fn it_does_not_show_itself() {
        let secret = Secret::new("a secret that nobody sees").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }
}
