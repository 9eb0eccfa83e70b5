//! How long a test may take, of those that wait for something.

use std::time::Duration;

/// Nothing in these tests may take longer, on a machine that has other things to do as well.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(60), future).await {
        Ok(value) => value,
        Err(_) => panic!("not done in time"),
    }
}
