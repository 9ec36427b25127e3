//! That the parser agrees with the Go module that the kubelet uses.

/// The parser against the Go module, on hundreds of thousands of references.
mod differential;
/// References to try, from a seed.
mod generate;
