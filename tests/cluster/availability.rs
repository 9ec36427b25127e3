//! Replicas go away while Pods are created: by a drain of their node, by rollouts, by force, and at once.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{Cluster, Load, NAMESPACE, name, until, words};

const DEPLOYMENT: &str = "deployment/swapper-k8s-proxy-image-swapper";

#[test]
fn no_pod_is_lost_when_replicas_go() {
    let cluster = Cluster::start();
    cluster.install(&["--set=webhook.failurePolicy=Fail"]);
    let (calls_before, lost_before) = cluster.webhook_calls();
    let mut load = Load::start(&cluster.api);
    let mut lossless = |what: &str, act: &dyn Fn()| {
        let before = cluster.two_replicas();
        load.during(what, || {
            act();
            let changed = || (cluster.two_replicas() != before).then_some(());
            until("a replica is replaced", changed);
        })
        .assert_whole();
    };
    let delete = || {
        let [replica, _] = cluster.two_replicas();
        cluster.kubectl(&format!("delete pod -n {NAMESPACE} {replica}"));
    };
    let force = || {
        let [replica, _] = cluster.two_replicas();
        let options = "--force --grace-period=0 --wait=false";
        cluster.kubectl(&format!("delete pod -n {NAMESPACE} {replica} {options}"));
    };
    let restart = || {
        cluster.kubectl(&format!("rollout restart -n {NAMESPACE} {DEPLOYMENT}"));
        cluster.kubectl(&format!("rollout status -n {NAMESPACE} {DEPLOYMENT}"));
    };

    lossless("one of two is deleted", &delete);
    lossless("one of two is evicted", &|| evict(&cluster));
    lossless("a rollout", &restart);
    // With connections as short as these, the API server opens one for most Pods, to any replica that
    // it believes to be there.
    lossless("an upgrade", &|| {
        upgrade(&cluster, "settings.MAX_CONNECTION_AGE=1ms");
    });
    lossless("one of two is deleted, over new connections", &delete);
    lossless("a rollout, over new connections", &restart);
    lossless(
        "one of two is deleted by force, over new connections",
        &force,
    );

    load.stop().assert_whole();
    let (calls, lost) = cluster.webhook_calls();
    println!("the API server counts {} reviews", calls - calls_before);
    assert!(lost - lost_before < 1.0, "{} lost", lost - lost_before);
}

/// A process that ends without a word is still an endpoint until the node has told, and the API server
/// has heard; and it does not ask twice. So some Pods may be refused, which is what `Fail` means; then
/// no more are. None is missed.
#[test]
fn pods_are_refused_for_a_moment_after_a_crash() {
    let cluster = Cluster::start();
    cluster.install(&[
        "--set=webhook.failurePolicy=Fail",
        "--set=settings.MAX_CONNECTION_AGE=1ms",
    ]);
    let replicas = cluster.two_replicas();
    let mut load = Load::start(&cluster.api);
    load.during("before", || ()).assert_whole();
    for replica in &replicas {
        let tally = load.during(&format!("SIGKILL to {replica}"), || {
            crash(replica);
            until("the container is restarted", || {
                (restarts(&cluster, replica) > 0).then_some(())
            });
            assert_eq!(cluster.two_replicas(), replicas);
        });
        assert!(tally.missed.is_empty(), "{tally}");
        for message in &tally.refused {
            let of_ours = r#"failed calling webhook "pods.k8s-proxy-image-swapper.io""#;
            assert!(message.contains(of_ours), "{message}");
        }
        load.during("after", || ()).assert_whole();
    }
    assert!(load.stop().missed.is_empty());
}

/// Asks as `kubectl drain` does, and waits until the replica is gone.
fn evict(cluster: &Cluster) {
    let [replica, _] = cluster.two_replicas();
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{replica}");
    let eviction = json!({
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": replica, "namespace": NAMESPACE},
    });
    // Refused until the disruption controller has seen that both are ready.
    until("the eviction is allowed", || {
        let answer = cluster.api.create(&format!("{path}/eviction"), &eviction);
        answer
            .inspect_err(|refused| assert_eq!(refused.code, 429, "{refused:?}"))
            .ok()
    });
    // The other may not go as long as this one does.
    until("the replica is gone", || {
        cluster.api.find(&path).is_none().then_some(())
    });
}

/// Upgrades the release, with one value set anew.
fn upgrade(cluster: &Cluster, value: &str) {
    let line = format!(
        "upgrade swapper ./chart --namespace {NAMESPACE} --reset-then-reuse-values --set {value} --wait"
    );
    cluster.succeed("helm", &words(&line), "");
}

/// Ends a replica's process with SIGKILL. It is seen outside the cluster too, under another number.
fn crash(replica: &str) {
    let variable = format!("HOSTNAME={replica}");
    let environment = |process: &str| fs::read(format!("/proc/{process}/environ"));
    let found = fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let process = entry.file_name().into_string().ok()?;
        let environment = environment(&process).ok()?;
        let mut variables = environment.split(|byte| *byte == 0);
        variables
            .any(|each| each == variable.as_bytes())
            .then_some(process)
    });
    let process = found.unwrap().parse().unwrap();
    kill_process(Pid::from_raw(process).unwrap(), Signal::KILL).unwrap();
}

/// How often a replica's container was restarted.
fn restarts(cluster: &Cluster, replica: &str) -> u64 {
    let pods = cluster.replicas();
    let pod = pods.iter().find(|pod| name(pod) == replica);
    let status: &Value = &pod.unwrap()["status"]["containerStatuses"][0];
    status["restartCount"].as_u64().unwrap()
}
