//! The Python binding: convert the arguments, release the interpreter, call the engine, convert the result.
//!
//! - No engine thread attaches to the interpreter on the data path: a descriptor wakes the event loop, which fetches
//!   its frames.
//! - The binding takes no decisions.

mod bus;
mod convert;
mod errors;
mod event;
mod executor;
mod home;
mod hub;
mod leaf;
mod log;
mod principal;
mod request;
mod session;
mod walker;

use pyo3::prelude::*;

/// The module `rowcast._engine`.
#[pymodule]
mod _engine {
    #[pymodule_export]
    use super::bus::EventBusConfig;
    #[pymodule_export]
    use super::event::{Call, Event};
    #[pymodule_export]
    use super::executor::SubscriptionExecutor;
    #[pymodule_export]
    use super::hub::Hub;
    #[pymodule_export]
    use super::log::{set_log_level, take_log};
    #[pymodule_export]
    use super::request::GraphQLRequest;
    #[pymodule_export]
    use super::session::Session;

    #[pymodule_export]
    #[allow(non_upper_case_globals)] // the name that Python gives a version
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
