//! What holds for any image reference and any rules, and that the parser agrees with the Go module
//! that the kubelet uses.

/// The parser against the Go module, on hundreds of thousands of references.
mod differential;
/// References to try, from a seed.
mod generate;
/// Properties of references, rules and decisions.
mod properties;
