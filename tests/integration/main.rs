//! The tests that use the library from outside, in one binary: it links once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test helper that fails should stop its test"
)]

/// What clients can hold, and for how long.
mod bounds;
/// The command line of the real program.
mod cli;
/// A clock that jumps.
mod clock;
/// What the dashboard shows of a run.
mod dashboard;
/// The end of the service.
mod drain;
/// Faults of the machine.
mod faults;
/// As many hostile clients as there are places.
mod flood;
/// Building the tools in Go that the project is compared with.
mod go;
/// Requests and answers over TLS.
mod http;
/// Reviews in great number, from a client in Go.
mod load;
/// What is logged.
mod logs;
/// The memory of the program under load.
mod memory;
/// What is counted, and Prometheus' own view of it.
mod metrics;
/// Whole AdmissionReviews, recorded and generated, through the core.
mod mutate;
/// A small deterministic generator of random numbers.
mod random;
/// What README says of the settings, the rules and the commands.
mod readme;
/// Ready-made rules, as values for the chart.
mod recipes;
/// Image references and the rules about them, on generated input.
mod references;
/// Certificates that change.
mod reload;
/// Renewals and restarts under steady load.
mod steady;
/// Servers, clients and certificates.
mod support;
/// TLS, its files included.
mod tls;
/// What people are told.
mod warnings;
