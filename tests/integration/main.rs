//! The tests that use the library from outside, in one binary: it links once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test helper that fails should stop its test"
)]

/// Building the tools in Go that the project is compared with.
mod go;
/// Whole AdmissionReviews, recorded and generated, through the core.
mod mutate;
/// A small deterministic generator of random numbers.
mod random;
/// What README says of the settings and the commands.
mod readme;
/// Image references and the rules about them, on generated input.
mod references;
