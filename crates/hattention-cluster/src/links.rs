//! Connections that notice that the other side is gone.
//!
//! The engine's own wait for ever for a machine that stands still: those that fetch partial states, and those by which
//! executors report what they did.

use std::sync::Arc;
use std::time::Duration;

use ballista_core::extension::EndpointOverrideFn;
use ballista_core::utils::create_grpc_client_endpoint;

use crate::client::Address;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// Seconds of silence after which the other side is asked for a sign of life.
const ASK: Duration = Duration::from_secs(5);

/// How long it may take to give one.
const SIGN: Duration = Duration::from_secs(20);

/// Connections that break when the other side gives no sign of life.
pub(crate) fn watched() -> EndpointOverrideFn {
    Arc::new(|endpoint| {
        let endpoint = endpoint.connect_timeout(CONNECT).http2_keep_alive_interval(ASK);
        Ok(endpoint.keep_alive_timeout(SIGN).keep_alive_while_idle(true))
    })
}

/// The same, all to this scheduler: the name that it has for itself may mean another machine where an executor is, and reports
/// that go there are lost, with the job waiting for them for ever.
pub(crate) fn to_scheduler(scheduler: &Address) -> EndpointOverrideFn {
    let (here, watched) = (format!("{}:{}", scheduler.host(), scheduler.port()), watched());
    Arc::new(move |endpoint| {
        let is_here = endpoint.uri().authority().is_some_and(|other| other.as_str() == here);
        let endpoint = if is_here { endpoint } else { create_grpc_client_endpoint(format!("http://{here}"), None)? };
        watched(endpoint)
    })
}
