//! Certificates that change while the program runs: as the kubelet changes them, as people do, and
//! as they should not.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use image_swapper::metrics::Metrics;
use image_swapper::mutate::Mode;
use image_swapper::rules::Rules;
use image_swapper::settings::TlsFiles;
use image_swapper::tls::watch::Reloader;
use tokio::time::{Instant, sleep};

use crate::support::{
    Authority, Directory, Pair, Program, connect, connect_with, get, review, service_env, showing,
    within,
};

/// The program, and the directory with its certificate.
pub(crate) struct Service {
    program: Program,
    pub(crate) addr: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) authority: Authority,
    pub(crate) directory: Directory,
}

impl Service {
    /// Starts the program with a certificate of a new authority.
    async fn start() -> Self {
        Self::start_with(Authority::new("a CA"), Authority::issue, &[]).await
    }

    pub(crate) async fn start_with(
        authority: Authority,
        first: impl FnOnce(&Authority) -> Pair,
        env: &[(&'static str, String)],
    ) -> Self {
        let (directory, mut service_env) = service_env(&authority);
        first(&authority).write(&directory, &[]);
        service_env.extend_from_slice(env);
        let env: Vec<_> = service_env
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let mut program = Program::start(&["serve"], &env);
        let (addr, admin) = program.serving().await;
        Self {
            program,
            addr,
            admin,
            authority,
            directory,
        }
    }

    /// The certificate that a new connection is shown.
    async fn shown(&self) -> Vec<u8> {
        let client = connect(self.addr, self.authority.roots()).await;
        let (_, connection) = client.stream.get_ref();
        connection.peer_certificates().unwrap()[0].to_vec()
    }

    /// Waits until new connections are shown this certificate.
    pub(crate) async fn shows(&self, pair: &Pair) {
        let expected = pair.certificate.der().to_vec();
        within("the new certificate", async {
            while self.shown().await != expected {
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    async fn reloads(&self, result: &str) -> u64 {
        let scrape = get(self.admin, "/metrics").await.1;
        let series = format!("image_swapper_tls_reloads_total{{result=\"{result}\"}} ");
        let value = scrape.lines().find_map(|line| line.strip_prefix(&series));
        value.unwrap().parse().unwrap()
    }

    /// Waits until so many changes have been refused.
    pub(crate) async fn refuses(&self, count: u64) {
        within("a refused change", async {
            while self.reloads("error").await != count {
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }
}

/// Puts a pair into a directory as the kubelet projects a Secret: into a new directory, to which
/// the symlink `..data` is then swapped. The files are symlinks through it.
pub(crate) fn project(directory: &Directory, version: u32, pair: &Pair) {
    let name = format!("..version-{version}");
    let path = |name: &str| directory.path().join(name);
    fs::create_dir(path(&name)).unwrap();
    fs::write(path(&name).join("tls.crt"), pair.certificate.pem()).unwrap();
    fs::write(path(&name).join("tls.key"), pair.key.serialize_pem()).unwrap();
    symlink(&name, path("..data_tmp")).unwrap();
    fs::rename(path("..data_tmp"), path("..data")).unwrap();
    for file in ["tls.crt", "tls.key"] {
        if !path(file).is_symlink() {
            let _ = fs::remove_file(path(file));
            symlink(format!("..data/{file}"), path(file)).unwrap();
        }
    }
    if version > 0 {
        fs::remove_dir_all(path(&format!("..version-{}", version - 1))).unwrap();
    }
}

/// A watch on the files themselves would see the first renewal and miss all others.
#[tokio::test]
async fn renewals_by_the_kubelet_serve_new_connections_and_cut_none() {
    let service = Service::start().await;
    let mut kept = connect(service.addr, service.authority.roots()).await;
    for version in 0..4 {
        let pair = service.authority.issue();
        project(&service.directory, version, &pair);
        service.shows(&pair).await;
        assert_eq!(kept.review(review("1", "nginx")).await.status, 200);
    }
    assert_eq!(service.reloads("error").await, 0);
}

#[tokio::test]
async fn files_may_be_written_in_place_or_renamed_over() {
    let service = Service::start().await;
    let in_place = service.authority.issue();
    in_place.write(&service.directory, &[]);
    service.shows(&in_place).await;

    let renamed = service.authority.issue();
    let path = |name: &str| service.directory.path().join(name);
    service
        .directory
        .write("new.crt", renamed.certificate.pem());
    service
        .directory
        .write("new.key", renamed.key.serialize_pem());
    fs::rename(path("new.crt"), path("tls.crt")).unwrap();
    fs::rename(path("new.key"), path("tls.key")).unwrap();
    service.shows(&renamed).await;
    assert_eq!(service.reloads("error").await, 0);
}

/// The key comes half a second after its certificate: what is read in between is read again.
#[tokio::test]
async fn a_pair_caught_half_way_is_not_counted_as_wrong() {
    let service = Service::start().await;
    let pair = service.authority.issue();
    service.directory.write("tls.crt", pair.certificate.pem());
    sleep(Duration::from_millis(500)).await;
    service.directory.write("tls.key", pair.key.serialize_pem());
    service.shows(&pair).await;
    assert_eq!(service.reloads("error").await, 0);
}

#[tokio::test]
async fn what_is_wrong_never_serves_and_is_counted_and_named_once() {
    let service = Service::start().await;
    let first = service.shown().await;
    let (one, other) = (service.authority.issue(), service.authority.issue());
    let swapped = Instant::now();
    service.directory.write("tls.crt", one.certificate.pem());
    service
        .directory
        .write("tls.key", other.key.serialize_pem());
    service.refuses(1).await;
    assert!(swapped.elapsed() < Duration::from_secs(10));
    assert_eq!(service.shown().await, first);
    assert!(
        service.program.stderr().contains("tls.crt"),
        "{}",
        service.program.stderr()
    );

    // Not PEM at all; then gone.
    service.directory.write("tls.key", "no key");
    service.refuses(2).await;
    fs::remove_file(service.directory.path().join("tls.key")).unwrap();
    service.refuses(3).await;
    assert_eq!(service.shown().await, first);
    let stays = |line: &&str| line.contains("the last good certificate stays");
    assert_eq!(service.program.stderr().lines().filter(stays).count(), 3);

    let right = service.authority.issue();
    right.write(&service.directory, &[]);
    service.shows(&right).await;
    assert_eq!(service.reloads("error").await, 3);
}

#[tokio::test]
async fn a_renewal_that_is_not_valid_now_is_refused() {
    let service = Service::start().await;
    let first = service.shown().await;
    service
        .authority
        .issue_for(2000..2001)
        .write(&service.directory, &[]);
    service.refuses(1).await;
    service
        .authority
        .issue_for(4000..4001)
        .write(&service.directory, &[]);
    service.refuses(2).await;
    assert_eq!(service.shown().await, first);
    let expected = "expected a certificate that is valid now, and this one is from 2000-01-01";
    assert!(
        service.program.stderr().contains(expected),
        "{}",
        service.program.stderr()
    );
}

/// No crash loop over a renewal that is late.
#[tokio::test]
async fn it_starts_with_an_expired_certificate_unready_until_the_renewal() {
    for years in [2000..2001, 4000..4001] {
        let authority = Authority::new("a CA");
        let service =
            Service::start_with(authority, |authority| authority.issue_for(years), &[]).await;
        let (status, text) = get(service.admin, "/readyz").await;
        assert_eq!(
            (status, text.as_str()),
            (503, "the certificate is not valid at this time\n")
        );
        assert_eq!(get(service.admin, "/livez").await.0, 200);

        let pair = service.authority.issue();
        pair.write(&service.directory, &[]);
        within("readiness", async {
            while get(service.admin, "/readyz").await.0 != 200 {
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        service.shows(&pair).await;
    }
}

#[tokio::test]
async fn the_client_ca_is_followed_too() {
    let (old, new) = (
        Authority::new("old client CA"),
        Authority::new("new client CA"),
    );
    let directory = Directory::new();
    let file = directory.write("ca.crt", old.pem());
    let path = file.to_str().unwrap().to_owned();
    let env = [("TLS_CLIENT_CA_FILE", path)];
    let service = Service::start_with(Authority::new("a CA"), Authority::issue, &env).await;
    let gets_through = async |client: &Pair| {
        let config = showing(service.authority.roots(), client);
        let Ok(mut client) = connect_with(service.addr, config).await else {
            return false;
        };
        client
            .try_review(review("1", "nginx"))
            .await
            .is_some_and(|answer| answer.status == 200)
    };
    let (old_client, new_client) = (old.issue(), new.issue());
    assert!(gets_through(&old_client).await);
    assert!(!gets_through(&new_client).await);
    fs::write(&file, new.pem()).unwrap();
    within("the new client CA", async {
        while !gets_through(&new_client).await {}
    })
    .await;
    assert!(!gets_through(&old_client).await);
}

/// Such a directory is another one, of which the watch sees nothing.
#[tokio::test]
async fn a_directory_that_is_replaced_is_found_by_the_timer() {
    let authority = Authority::new("a CA");
    let parent = Directory::new();
    let directory = parent.path().join("tls");
    let write = |directory: &PathBuf, pair: &Pair| {
        fs::create_dir(directory).unwrap();
        fs::write(directory.join("tls.crt"), pair.certificate.pem()).unwrap();
        fs::write(directory.join("tls.key"), pair.key.serialize_pem()).unwrap();
    };
    write(&directory, &authority.issue());
    let files = TlsFiles {
        cert: directory.join("tls.crt"),
        key: directory.join("tls.key"),
        client_ca: None,
    };
    let rules = Rules::parse("registry.example.com", "docker.io={proxy}", "").unwrap();
    let metrics = Arc::new(Metrics::new(&rules, Mode::Swap));
    let period = Duration::from_millis(200);
    let (reloader, mut credentials) = Reloader::start(files, period, metrics).unwrap();
    tokio::spawn(reloader.run());
    for round in 0..3 {
        fs::rename(&directory, parent.path().join(format!("old-{round}"))).unwrap();
        write(&directory, &authority.issue());
        within("the new directory", credentials.changed())
            .await
            .unwrap();
    }
    // And the new one is watched.
    let pair = authority.issue();
    fs::write(directory.join("tls.crt"), pair.certificate.pem()).unwrap();
    fs::write(directory.join("tls.key"), pair.key.serialize_pem()).unwrap();
    within("the new pair", credentials.changed()).await.unwrap();
}
