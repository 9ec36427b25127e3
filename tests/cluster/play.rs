//! `cargo run --example cluster`: the webhook on a cluster of this machine, for a person to try.

#![allow(clippy::unwrap_used, reason = "what fails here is shown to a person")]

#[allow(dead_code, unused_imports, reason = "the tests use the rest")]
mod support;

use support::{Cluster, NAMESPACE, PROXY};

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    eprintln!("starting Kubernetes, cert-manager and the webhook");
    let cluster = Cluster::start();
    cluster.install(&["--set", "settings.LOG=debug"]);
    let kubectl = support::tools().join("kubectl");
    println!(
        "
A cluster with the webhook is ready. It pulls through {PROXY}. In another terminal:

  export KUBECONFIG={kubeconfig}
  alias kubectl={kubectl}

  kubectl run web --image=nginx:1.27
  kubectl get pod web -o jsonpath='{{.spec.containers[0].image}}{{\"\\n\"}}{{.metadata}}{{\"\\n\"}}'
  kubectl debug web --image=busybox -c shell
  kubectl run own --image=nginx:1.27 --labels=k8s-proxy-image-swapper=skip
  kubectl get pods -o custom-columns=POD:.metadata.name,IMAGE:.spec.containers[*].image,DEBUG:.spec.ephemeralContainers[*].image

  kubectl get pods,certificates -n {NAMESPACE}
  kubectl logs -n {NAMESPACE} -l app.kubernetes.io/instance=swapper
  kubectl get --raw /api/v1/namespaces/{NAMESPACE}/services/swapper-{name}:metrics/proxy/metrics

No container runs but the webhook's: other Pods stay Pending, and their images are what to look at.
Ctrl-C stops the cluster and removes it.",
        kubeconfig = cluster.dir.join("kubeconfig").display(),
        kubectl = kubectl.display(),
        name = env!("CARGO_PKG_NAME"),
    );
    runtime.block_on(tokio::signal::ctrl_c()).unwrap();
    drop(cluster);
    println!("the cluster is gone");
}
