//! openraft.

use crate::options::MemberOptions;

/// Not there yet.
pub(crate) fn member(_options: &MemberOptions) -> Result<(), String> {
    Err("openraft is not there yet".to_owned())
}
