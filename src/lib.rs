//! A mutating admission webhook that makes Pods pull their images through an internal proxy
//! registry.

pub mod admin;
pub mod cli;
pub mod http;
pub mod image;
mod json;
pub mod logging;
pub mod metrics;
pub mod mutate;
pub mod patch;
pub mod review;
pub mod rules;
pub mod serve;
pub mod server;
pub mod settings;
pub mod shutdown;
pub mod tls;
