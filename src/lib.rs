//! A mutating admission webhook that makes Pods pull their images through an internal proxy
//! registry.

pub mod image;
pub mod rules;
