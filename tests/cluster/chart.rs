//! Installing, upgrading and removing the chart.

use crate::support::Cluster;

#[test]
fn installs() {
    let cluster = Cluster::start();
    println!("{}", cluster.kubectl("get nodes"));
}
