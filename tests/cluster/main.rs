//! The chart and the webhook on a real control plane: etcd, kube-apiserver, kube-controller-manager and
//! cert-manager, with an agent that stands in for the kubelet (tests/go/cluster).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod admission;
mod availability;
mod chart;
mod pull;
mod renewal;
mod support;
