//! A mutating admission webhook that makes Pods pull their images through an internal proxy
//! registry.

pub mod image;
mod json;
pub mod mutate;
pub mod patch;
pub mod review;
pub mod rules;
